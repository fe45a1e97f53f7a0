//! Bindings of validating admission policies: where a policy holds, with which parameters, and what breaking it leads to.

use std::collections::BTreeSet;

use k8s_openapi::api::admissionregistration::v1::{
    ParamRef, ValidatingAdmissionPolicyBinding, ValidatingAdmissionPolicyBindingSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::matching;
use crate::kind::{Column, Rules, Write};
use crate::meta::MetaRules;
use crate::names;
use crate::rules::check::{Errors, Path};
use crate::rules::fields::{listed, text};
use crate::rules::parts;
use crate::selector;
use crate::status::FieldError;
use crate::table;

const ACTIONS: &[&str] = &["Audit", "Deny", "Warn"];

impl Rules for ValidatingAdmissionPolicyBinding {
    const META: MetaRules = super::META;
    const COLUMNS: &'static [Column<Self>] = &[
        table::name(),
        table::text(
            "PolicyName",
            "PolicyName indicates the policy definition which the policy binding binded to",
            |it, _| it.spec.policy_name.as_str().into(),
        ),
        table::text("ParamRef", "ParamRef indicates the param resource which sets the configuration param", |it, _| {
            let param = it.spec.param_ref.as_ref();
            param.map_or_else(|| "<unset>".to_owned(), shown_param).into()
        }),
        table::age(),
    ];

    fn fill_defaults(&mut self) {
        if let Some(resources) = &mut self.spec.match_resources {
            matching::fill(resources);
        }
    }

    fn prepare(&mut self, old: Option<&Self>, write: Write) {
        let old = old.map(|old| (&old.metadata, &old.spec));
        parts::prepare_spec((&mut self.metadata, &mut self.spec), old, write);
    }

    fn validate(&self, _: Option<&Self>, _: Write) -> Vec<FieldError> {
        let mut errors = Errors::default();
        spec(&mut errors, &self.spec);
        errors.into_vec()
    }

    fn warnings(&self, _: Option<&Self>) -> Vec<String> {
        super::name_warnings(text(&self.metadata.name))
    }
}

fn shown_param(param: &ParamRef) -> String {
    let (namespace, name) = (text(&param.namespace), text(&param.name));
    match &param.selector {
        _ if !name.is_empty() && namespace.is_empty() => format!("*/{name}"),
        _ if !name.is_empty() => format!("{namespace}/{name}"),
        Some(selector) => shown_selector(selector),
        None => "<unset>".to_owned(),
    }
}

/// A selector as upstream's programs print it.
fn shown_selector(selector: &LabelSelector) -> String {
    let labels = selector.match_labels.iter().flatten().map(|(key, value)| format!("{key}: {value},"));
    let expressions = selector.match_expressions.iter().flatten().map(|one| {
        let values = one.values.as_deref().unwrap_or_default().join(" ");
        format!("LabelSelectorRequirement{{Key:{},Operator:{},Values:[{values}],}},", one.key, one.operator)
    });
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{}}},MatchExpressions:[]LabelSelectorRequirement{{{}}},}}",
        labels.collect::<String>(),
        expressions.collect::<String>()
    )
}

fn spec(errors: &mut Errors, spec: &ValidatingAdmissionPolicyBindingSpec) {
    let at = Path::root("spec");
    errors.filled_all(&at.child("policyName"), &spec.policy_name, names::dns1123_subdomain);
    if let Some(param) = &spec.param_ref {
        param_ref(errors, &at.child("paramRef"), param);
    }
    if let Some(resources) = &spec.match_resources {
        matching::resources(errors, &at.child("matchResources"), resources);
    }
    actions(errors, &at.child("validationActions"), &spec.validation_actions);
}

fn param_ref(errors: &mut Errors, at: &Path<'_>, param: &ParamRef) {
    let (name_at, selector_at, name) = (at.child("name"), at.child("selector"), text(&param.name));
    let both = "name and selector are mutually exclusive";
    if !name.is_empty() {
        errors.all(&name_at, name, names::path_segment(name, false));
        if param.selector.is_some() {
            errors.forbidden(&name_at, both);
        }
    }
    if let Some(selector) = &param.selector {
        errors.extend(selector::validate(selector, &selector_at.to_string()));
        if !name.is_empty() {
            errors.forbidden(&selector_at, both);
        }
    }
    if name.is_empty() && param.selector.is_none() {
        errors.required(at, "one of name or selector must be specified");
    }
    errors.filled_one_of(
        &at.child("parameterNotFoundAction"),
        text(&param.parameter_not_found_action),
        &["Deny", "Allow"],
    );
}

fn actions(errors: &mut Errors, at: &Path<'_>, actions: &[String]) {
    let mut seen = BTreeSet::new();
    for (index, action) in actions.iter().enumerate() {
        let at = at.index(index);
        errors.one_of(&at, action, ACTIONS);
        if !seen.insert(action.as_str()) {
            errors.duplicate(&at, action);
        }
    }
    if seen.contains("Deny") && seen.contains("Warn") {
        let why = "must not contain both Deny and Warn (repeating the same validation failure information in the API \
                   response and headers serves no purpose)";
        errors.invalid(at, listed(actions), why);
    }
    if actions.is_empty() {
        errors.required(at, "at least one validation action is required");
    }
}
