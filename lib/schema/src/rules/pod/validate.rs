//! The checks of pods and pod templates, put together.

use k8s_openapi::api::core::v1::{Binding, Pod, PodSpec, PodTemplateSpec};

use super::annotations::{self, MIRROR};
use super::{Options, affinity, containers, resize, spec, status, update};
use crate::kind::{Subresource, Write};
use crate::rules::check::{Errors, Path};
use crate::rules::fields::{list, text};
use crate::status::FieldError;

/// Checks a pod as it comes through a door.
pub(super) fn pod(pod: &Pod, old: Option<&Pod>, write: Write) -> Vec<FieldError> {
    let mut errors = Errors::default();
    match (old, write) {
        (None, _) => create(&mut errors, pod),
        (Some(old), Write::Status) => {
            annotation_update(&mut errors, pod, old);
            status::update(&mut errors, pod, old);
        }
        (Some(old), Write::Other(Subresource::EphemeralContainers)) => {
            whole(&mut errors, pod, Some(old));
            annotation_update(&mut errors, pod, old);
            if is_mirror(old) {
                return refused("static pods do not support ephemeral containers");
            }
            update::ephemeral(&mut errors, pod, old);
        }
        (Some(old), Write::Other(Subresource::Resize)) => {
            whole(&mut errors, pod, Some(old));
            if is_mirror(old) {
                return refused("static pods cannot be resized");
            }
            if old.spec.as_ref().and_then(|spec| spec.os.as_ref()).is_some_and(|os| os.name == "windows") {
                return refused("windows pods cannot be resized");
            }
            resize::resize(&mut errors, pod, old);
        }
        (Some(old), _) => {
            whole(&mut errors, pod, Some(old));
            annotation_update(&mut errors, pod, old);
            let none = PodSpec::default();
            let spec = |pod: &Pod| pod.spec.clone().unwrap_or_else(|| none.clone());
            update::update(&mut errors, &spec(pod), &spec(old));
        }
    }
    errors.into_vec()
}

fn refused(why: &str) -> Vec<FieldError> {
    vec![FieldError::forbidden("", why)]
}

fn is_mirror(pod: &Pod) -> bool {
    pod.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(MIRROR))
}

fn create(errors: &mut Errors, pod: &Pod) {
    whole(errors, pod, None);
    let Some(spec) = &pod.spec else { return };
    let at = Path::root("spec");
    if !list(&spec.ephemeral_containers).is_empty() {
        errors.forbidden(&at.child("ephemeralContainers"), "cannot be set on create");
    }
    if !text(&spec.node_name).is_empty() && !list(&spec.scheduling_gates).is_empty() {
        errors.forbidden(&at.child("nodeName"), "cannot be set until all schedulingGates have been cleared");
    }
    annotations::match_fields(errors, &at, pod.metadata.annotations.as_ref(), spec);
}

/// The checks of a pod by itself.
fn whole(errors: &mut Errors, pod: &Pod, old: Option<&Pod>) {
    let none = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&none);
    let options = Options {
        is_pod: true,
        lenient_selectors: old.and_then(|old| old.spec.as_ref()).is_some_and(has_bad_selectors),
    };
    let metadata = Path::root("metadata");
    annotations::annotations(errors, &metadata.child("annotations"), pod.metadata.annotations.as_ref(), spec);
    let at = Path::root("spec");
    self::spec::spec(errors, &at, spec, Some(&pod.metadata), options);
    token_volumes(errors, &at, spec);
    for (field, list) in [("containers", spec.containers.as_slice()), ("initContainers", list(&spec.init_containers))] {
        let at = at.child(field);
        for (index, container) in list.iter().enumerate() {
            containers::image_padding(errors, &at.index(index), container);
        }
    }
}

/// What an old object got away with, an update may keep.
fn has_bad_selectors(old: &PodSpec) -> bool {
    let mut errors = Errors::default();
    let at = Path::root("spec");
    if let Some(wanted) = &old.affinity {
        affinity::affinity(&mut errors, &at, wanted, Options::default());
    }
    super::placement::spread(&mut errors, &at, list(&old.topology_spread_constraints), false);
    errors.count() > 0
}

fn token_volumes(errors: &mut Errors, at: &Path<'_>, spec: &PodSpec) {
    if !text(&spec.service_account_name).is_empty() {
        return;
    }
    let volumes = at.child("volumes");
    for (index, volume) in list(&spec.volumes).iter().enumerate() {
        let at = volumes.index(index);
        let at = at.child("projected");
        let sources_at = at.child("sources");
        let sources = volume.projected.as_ref().map(|projected| list(&projected.sources)).unwrap_or_default();
        for (index, _) in sources.iter().enumerate().filter(|(_, one)| one.service_account_token.is_some()) {
            let at = sources_at.index(index);
            let why = "must not be specified when serviceAccountName is not set";
            errors.forbidden(&at.child("serviceAccountToken"), why);
        }
    }
}

fn annotation_update(errors: &mut Errors, new: &Pod, old: &Pod) {
    let at = Path::root("metadata");
    let none = PodSpec::default();
    let spec = new.spec.as_ref().unwrap_or(&none);
    let (after, before) = (new.metadata.annotations.as_ref(), old.metadata.annotations.as_ref());
    annotations::update(errors, &at.child("annotations"), after, before, spec);
}

/// Checks the pod template of a workload; `old` is what it replaces.
pub(crate) fn template(errors: &mut Errors, at: &Path<'_>, template: &PodTemplateSpec, old: Option<&PodTemplateSpec>) {
    let none = PodSpec::default();
    let spec = template.spec.as_ref().unwrap_or(&none);
    let options = Options {
        is_pod: false,
        lenient_selectors: old.and_then(|old| old.spec.as_ref()).is_some_and(has_bad_selectors),
    };
    template_metadata(errors, at, template);
    let spec_at = at.child("spec");
    self::spec::spec(errors, &spec_at, spec, None, options);
    let annotations = template.metadata.as_ref().and_then(|metadata| metadata.annotations.as_ref());
    annotations::match_fields(errors, &spec_at, annotations, spec);
    if !list(&spec.ephemeral_containers).is_empty() {
        let why = "ephemeral containers not allowed in pod template";
        errors.forbidden(&spec_at.child("ephemeralContainers"), why);
    }
}

/// Checks labels and annotations of a template.
pub(crate) fn template_metadata(errors: &mut Errors, at: &Path<'_>, template: &PodTemplateSpec) {
    let (metadata, none) = (template.metadata.clone().unwrap_or_default(), PodSpec::default());
    let spec = template.spec.as_ref().unwrap_or(&none);
    errors.labels(&at.child("labels"), &metadata.labels.clone().unwrap_or_default());
    errors.annotations(&at.child("annotations"), &metadata.annotations.clone().unwrap_or_default());
    annotations::annotations(errors, &at.child("annotations"), metadata.annotations.as_ref(), spec);
}

/// Checks a binding of a pod to a node.
#[must_use]
pub fn binding(binding: &Binding) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let at = Path::root("target");
    let kind = text(&binding.target.kind);
    if !kind.is_empty() && kind != "Node" {
        errors.not_supported(&at.child("kind"), kind, &["Node", "<empty>"]);
    }
    errors.filled(&at.child("name"), text(&binding.target.name));
    errors.into_vec()
}
