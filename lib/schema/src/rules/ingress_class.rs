//! Ingress classes: which controller acts on the ingresses that name one.

use k8s_openapi::api::networking::v1::{IngressClass, IngressClassParametersReference, IngressClassSpec};

use super::check::{Errors, Path};
use super::fields::text;
use super::{parts, reference};
use crate::kind::{Column, Rules, Write};
use crate::meta::{MetaRules, Repeats};
use crate::names;
use crate::status::FieldError;
use crate::table;

/// The annotation of the class that ingresses without one belong to.
const DEFAULT: &str = "ingressclass.kubernetes.io/is-default-class";
const CONTROLLER_MAX: usize = 250;

impl Rules for IngressClass {
    const META: MetaRules = MetaRules::COMMON.repeating(Repeats::Both);
    const COLUMNS: &'static [Column<Self>] = &[
        Column { cell: |it, _| shown_name(it).into(), ..table::name() },
        table::text("Controller", "Controller that is responsible for handling this class", |it, _| {
            it.spec.as_ref().map(|spec| text(&spec.controller)).unwrap_or_default().into()
        }),
        table::text("Parameters", "A reference to a resource with additional parameters", |it, _| {
            let parameters = it.spec.as_ref().and_then(|spec| spec.parameters.as_ref());
            parameters.map_or_else(|| table::NONE.to_owned(), shown_parameters).into()
        }),
        table::age(),
    ];

    fn fill_defaults(&mut self) {
        if let Some(parameters) = self.spec.as_mut().and_then(|spec| spec.parameters.as_mut()) {
            parameters.scope.get_or_insert_with(|| "Cluster".to_owned());
        }
    }

    fn prepare(&mut self, old: Option<&Self>, write: Write) {
        let old = old.map(|old| (&old.metadata, &old.spec));
        parts::prepare_spec((&mut self.metadata, &mut self.spec), old, write);
    }

    fn validate(&self, old: Option<&Self>, _: Write) -> Vec<FieldError> {
        let mut errors = Errors::default();
        let at = Path::root("spec");
        let none = IngressClassSpec::default();
        let spec = self.spec.as_ref().unwrap_or(&none);
        let (controller_at, controller) = (at.child("controller"), text(&spec.controller));
        let before = old.map(|old| old.spec.as_ref().unwrap_or(&none));
        if before.is_some_and(|before| text(&before.controller) != controller) {
            errors.invalid(&controller_at, controller, "field is immutable");
        }
        if controller.len() > CONTROLLER_MAX {
            errors.too_long(&controller_at, CONTROLLER_MAX);
        }
        errors.domain_prefixed_path(&controller_at, controller);
        if let Some(parameters) = &spec.parameters {
            self::parameters(&mut errors, &at.child("parameters"), parameters);
        }
        errors.into_vec()
    }
}

fn shown_name(class: &IngressClass) -> String {
    let name = class.metadata.name.clone().unwrap_or_default();
    let annotation = class.metadata.annotations.as_ref().and_then(|all| all.get(DEFAULT));
    if annotation.is_some_and(|value| value == "true") { format!("{name} (default)") } else { name }
}

fn shown_parameters(parameters: &IngressClassParametersReference) -> String {
    let group = parameters.api_group.as_ref().map(|group| format!(".{group}")).unwrap_or_default();
    format!("{}{group}/{}", parameters.kind, parameters.name)
}

fn parameters(errors: &mut Errors, at: &Path<'_>, parameters: &IngressClassParametersReference) {
    reference::group(errors, at, parameters.api_group.as_deref());
    reference::segments(errors, at, &[("kind", &parameters.kind), ("name", &parameters.name)]);
    let namespace_at = at.child("namespace");
    match (parameters.scope.as_deref(), &parameters.namespace) {
        (None, _) => errors.required(&at.child("scope"), ""),
        (Some("Namespace"), None) => errors.required(&namespace_at, "`parameters.scope` is set to 'Namespace'"),
        (Some("Namespace"), Some(namespace)) => {
            errors.all(&namespace_at, namespace, names::dns1123_label(namespace));
        }
        (Some("Cluster"), Some(_)) => errors.forbidden(&namespace_at, "`parameters.scope` is set to 'Cluster'"),
        (Some("Cluster"), None) => {}
        (Some(other), _) => errors.not_supported(&at.child("scope"), other, &["Cluster", "Namespace"]),
    }
}
