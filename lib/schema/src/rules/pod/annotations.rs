//! Annotations that mean something for pods.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{AppArmorProfile, Container, PodSpec, SeccompProfile};

use super::containers::visit;
use super::mounts;
use crate::rules::check::{Errors, Path};
use crate::rules::fields::text;

/// Marks a pod that a node made from a file of its own.
pub(super) const MIRROR: &str = "kubernetes.io/config.mirror";
/// Starts the annotations that gave containers their AppArmor profiles.
pub(super) const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
/// The annotation that gave a pod its seccomp profile.
pub(super) const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
/// Starts the annotations that gave containers their seccomp profiles.
pub(super) const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
const MISMATCH: &str = "type in annotation and field must match";

/// The annotations of an object.
pub(super) type Annotations = BTreeMap<String, String>;

/// Checks annotations by themselves.
pub(super) fn annotations(errors: &mut Errors, at: &Path<'_>, all: Option<&Annotations>, spec: &PodSpec) {
    let none = Annotations::new();
    let all = all.unwrap_or(&none);
    if let Some(value) = all.get(MIRROR)
        && text(&spec.node_name).is_empty()
    {
        let why = "must set spec.nodeName if mirror pod annotation is set";
        errors.invalid(&at.key(MIRROR), value.as_str(), why);
    }
    if let Some(cost) = all.get(DELETION_COST)
        && !is_cost(cost)
    {
        errors.invalid(&at.key(DELETION_COST), cost.as_str(), "must be a 32bit integer");
    }
    for (key, value) in all {
        if key == SECCOMP_POD || key.starts_with(SECCOMP_CONTAINER) {
            seccomp(errors, &at.child(key), value);
        }
    }
    for (key, value) in all {
        let Some(container) = key.strip_prefix(APP_ARMOR) else { continue };
        let mut known = false;
        visit(spec, &Path::root("spec"), |one, _| known |= one.name == container);
        if !known {
            errors.invalid(&at.key(key), container, "container not found");
        }
        let well_formed =
            matches!(value.as_str(), "" | "runtime/default" | "unconfined") || value.starts_with("localhost/");
        if !well_formed {
            errors.invalid(&at.key(key), value.as_str(), &format!("invalid AppArmor profile name: {value:?}"));
        }
    }
}

/// A 32-bit number written plainly: no plus sign, no leading zeros.
fn is_cost(text: &str) -> bool {
    text.parse::<i32>().is_ok_and(|cost| cost.to_string() == text)
}

fn seccomp(errors: &mut Errors, at: &Path<'_>, profile: &str) {
    match profile {
        "runtime/default" | "docker/default" | "unconfined" => {}
        _ => match profile.strip_prefix("localhost/") {
            Some(path) => mounts::descending(errors, at, path),
            None => errors.invalid(at, profile, "must be a valid seccomp profile"),
        },
    }
}

/// Checks that an update leaves alone what may only be set at first.
pub(super) fn update(
    errors: &mut Errors,
    at: &Path<'_>,
    new: Option<&Annotations>,
    old: Option<&Annotations>,
    spec: &PodSpec,
) {
    let none = Annotations::new();
    let (after, before) = (new.unwrap_or(&none), old.unwrap_or(&none));
    for key in before.iter().filter(|(key, value)| after.get(*key) != Some(value)).map(|(key, _)| key) {
        if key.starts_with(APP_ARMOR) {
            errors.forbidden(&at.key(key), "may not remove or update AppArmor annotations");
        }
        if key == MIRROR {
            errors.forbidden(&at.key(key), "may not remove or update mirror pod annotation");
        }
    }
    for key in after.keys().filter(|key| !before.contains_key(*key)) {
        if key.starts_with(APP_ARMOR) {
            errors.forbidden(&at.key(key), "may not add AppArmor annotations");
        }
        if key == MIRROR {
            errors.forbidden(&at.key(key), "may not add mirror pod annotation");
        }
    }
    annotations(errors, at, new, spec);
}

/// Checks that the old annotations and the fields that replaced them say the same.
pub(super) fn match_fields(errors: &mut Errors, at: &Path<'_>, all: Option<&Annotations>, spec: &PodSpec) {
    let Some(all) = all else { return };
    let context = spec.security_context.as_ref();
    let profile = context.and_then(|context| context.seccomp_profile.as_ref());
    if let (Some(annotation), Some(profile)) = (all.get(SECCOMP_POD), profile) {
        let at = at.child("securityContext");
        seccomp_matches(errors, &at.child("seccompProfile"), annotation, profile);
    }
    visit(spec, at, |container, at| {
        let profile = container.security_context.as_ref().and_then(|context| context.seccomp_profile.as_ref());
        let annotation = all.get(&format!("{SECCOMP_CONTAINER}{}", container.name));
        if let (Some(annotation), Some(profile)) = (annotation, profile) {
            let at = at.child("securityContext");
            seccomp_matches(errors, &at.child("seccompProfile"), annotation, profile);
        }
    });
    if spec.os.as_ref().is_some_and(|os| os.name == "windows") {
        return;
    }
    let of_pod = context.and_then(|context| context.app_armor_profile.as_ref());
    visit(spec, at, |container, at| {
        let own = container.security_context.as_ref().and_then(|context| context.app_armor_profile.as_ref());
        let annotation = all.get(&format!("{APP_ARMOR}{}", container.name));
        if let (Some(annotation), Some(profile)) = (annotation, own.or(of_pod)) {
            let at = at.child("securityContext");
            app_armor_matches(errors, &at.child("appArmorProfile"), annotation, profile);
        }
    });
}

fn seccomp_matches(errors: &mut Errors, at: &Path<'_>, annotation: &str, profile: &SeccompProfile) {
    let local = annotation.strip_prefix("localhost/");
    let matches = match profile.type_.as_str() {
        "Unconfined" => annotation == "unconfined",
        "RuntimeDefault" => matches!(annotation, "runtime/default" | "docker/default"),
        "Localhost" => local.is_some(),
        _ => true,
    };
    if !matches {
        errors.forbidden(&at.child("type"), &format!("seccomp {MISMATCH}"));
    } else if profile.type_ == "Localhost" && local != profile.localhost_profile.as_deref() {
        errors.forbidden(&at.child("localhostProfile"), "seccomp profile in annotation and field must match");
    }
}

fn app_armor_matches(errors: &mut Errors, at: &Path<'_>, annotation: &str, profile: &AppArmorProfile) {
    let local = annotation.strip_prefix("localhost/");
    let matches = match profile.type_.as_str() {
        "Unconfined" => annotation == "unconfined",
        "RuntimeDefault" => annotation == "runtime/default",
        "Localhost" => local.is_some(),
        _ => true,
    };
    if !matches {
        errors.forbidden(&at.child("type"), &format!("apparmor {MISMATCH}"));
    } else if profile.type_ == "Localhost" && local != profile.localhost_profile.as_deref() {
        errors.forbidden(&at.child("localhostProfile"), "apparmor profile in annotation and field must match");
    }
}

/// The profile that an old annotation asks for; none when it asks for nothing that can be had.
pub(super) fn app_armor_field(annotation: &str) -> Option<AppArmorProfile> {
    let (type_, local) = match annotation {
        "unconfined" => ("Unconfined", None),
        "runtime/default" => ("RuntimeDefault", None),
        other => ("Localhost", Some(other.strip_prefix("localhost/").filter(|name| !name.is_empty())?)),
    };
    let well_formed = local.is_none_or(|name| name.trim() == name && name.len() <= 4095);
    let profile = AppArmorProfile { type_: type_.to_owned(), localhost_profile: local.map(str::to_owned) };
    well_formed.then_some(profile)
}

/// Gives containers the profiles that their pod's annotations ask for, where no field does.
pub(super) fn take_over_app_armor(spec: &mut PodSpec, all: &Annotations) {
    if spec.os.as_ref().is_some_and(|os| os.name == "windows") {
        return;
    }
    let of_pod = spec.security_context.as_ref().and_then(|context| context.app_armor_profile.clone());
    let containers = spec.init_containers.iter_mut().flatten().chain(&mut spec.containers);
    for container in containers {
        take_over(container, all, of_pod.as_ref());
    }
}

fn take_over(container: &mut Container, all: &Annotations, of_pod: Option<&AppArmorProfile>) {
    let set = container.security_context.as_ref().is_some_and(|context| context.app_armor_profile.is_some());
    let profile = all.get(&format!("{APP_ARMOR}{}", container.name)).and_then(|one| app_armor_field(one));
    if let Some(profile) = profile.filter(|profile| !set && Some(profile) != of_pod) {
        container.security_context.get_or_insert_default().app_armor_profile = Some(profile);
    }
}
