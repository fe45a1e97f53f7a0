//! Validating admission policies: what requests must satisfy, in CEL.

use std::collections::BTreeSet;

use k8s_openapi::api::admissionregistration::v1::{
    AuditAnnotation, ParamKind, TypeChecking, ValidatingAdmissionPolicy, ValidatingAdmissionPolicySpec, Validation,
    Variable,
};

use super::matching::{self, FAILURE_POLICIES, expression};
use crate::cel::{Names, Returns};
use crate::kind::{Column, Rules, Subresource, Write};
use crate::meta::MetaRules;
use crate::names;
use crate::rules::check::{Errors, Path};
use crate::rules::fields::{list, text};
use crate::rules::{conditions, parts};
use crate::status::FieldError;
use crate::table;

const REASONS: &[&str] = &["Forbidden", "Invalid", "RequestEntityTooLarge"];
const MAX_ANNOTATIONS: usize = 20;
const MAX_VALUE_EXPRESSION: usize = 5 * 1024;

impl Rules for ValidatingAdmissionPolicy {
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::Status];
    const META: MetaRules = super::META;
    const COLUMNS: &'static [Column<Self>] = &[
        table::name(),
        table::integer(
            "Validations",
            "Validations indicates the number of validation rules defined in this configuration",
            |it, _| it.spec.as_ref().map(|spec| list(&spec.validations).len()).unwrap_or_default().into(),
        ),
        table::text(
            "ParamKind",
            "ParamKind specifies the kind of resources used to parameterize this policy",
            |it, _| {
                let kind = it.spec.as_ref().and_then(|spec| spec.param_kind.as_ref());
                let shown = kind.map(|kind| format!("{}/{}", text(&kind.api_version), text(&kind.kind)));
                shown.unwrap_or_else(|| "<unset>".to_owned()).into()
            },
        ),
        table::age(),
    ];

    fn fill_defaults(&mut self) {
        let spec = self.spec.get_or_insert_default();
        spec.failure_policy.get_or_insert_with(|| "Fail".to_owned());
        if let Some(constraints) = &mut spec.match_constraints {
            matching::fill(constraints);
        }
    }

    fn prepare(&mut self, old: Option<&Self>, write: Write) {
        let old = old.map(|old| (&old.metadata, &old.spec, &old.status));
        parts::prepare_counted((&mut self.metadata, &mut self.spec, &mut self.status), old, write);
    }

    fn validate(&self, old: Option<&Self>, write: Write) -> Vec<FieldError> {
        let mut errors = Errors::default();
        if old.is_some() && write == Write::Status {
            status(&mut errors, self);
        } else {
            let none = ValidatingAdmissionPolicySpec::default();
            let before = old.map(|old| old.spec.as_ref().unwrap_or(&none));
            spec(&mut errors, text(&self.metadata.name), self.spec.as_ref().unwrap_or(&none), before);
        }
        errors.into_vec()
    }

    fn warnings(&self, _: Option<&Self>) -> Vec<String> {
        super::name_warnings(text(&self.metadata.name))
    }
}

fn spec(
    errors: &mut Errors,
    name: &str,
    spec: &ValidatingAdmissionPolicySpec,
    old: Option<&ValidatingAdmissionPolicySpec>,
) {
    let at = Path::root("spec");
    matching::choice(errors, &at.child("failurePolicy"), spec.failure_policy.as_deref(), FAILURE_POLICIES);
    if let Some(kind) = &spec.param_kind {
        param_kind(errors, &at.child("paramKind"), kind);
    }
    let constraints_at = at.child("matchConstraints");
    match &spec.match_constraints {
        None => errors.required(&constraints_at, ""),
        Some(constraints) => {
            matching::resources(errors, &constraints_at, constraints);
            if list(&constraints.resource_rules).is_empty() {
                errors.required(&constraints_at.child("resourceRules"), "");
            }
        }
    }
    let params = spec.param_kind.is_some();
    // What was taken before is not looked at again.
    let unchanged = |old: &ValidatingAdmissionPolicySpec| {
        old.param_kind == spec.param_kind && old.match_conditions == spec.match_conditions
    };
    if !old.is_some_and(unchanged) {
        let names = Names { params, authorizer: true, variables: None };
        matching::conditions(errors, &at.child("matchConditions"), list(&spec.match_conditions), &names);
    }
    let mut defined = Vec::new();
    let variables_at = at.child("variables");
    for (index, variable) in list(&spec.variables).iter().enumerate() {
        self::variable(errors, &variables_at.index(index), variable, params, &mut defined);
    }
    let variables = (!list(&spec.variables).is_empty()).then_some(&defined[..]);
    let names = Names { params, authorizer: true, variables };
    outcomes(errors, &at, name, spec, &names);
}

/// What comes of a request: validations, annotations, at least one of them.
fn outcomes(errors: &mut Errors, at: &Path<'_>, name: &str, spec: &ValidatingAdmissionPolicySpec, names: &Names<'_>) {
    let (validations_at, annotations_at) = (at.child("validations"), at.child("auditAnnotations"));
    let (validations, annotations) = (list(&spec.validations), list(&spec.audit_annotations));
    if validations.is_empty() && annotations.is_empty() {
        let why = "validations or auditAnnotations must contain at least one item";
        errors.required(&validations_at, why);
        errors.required(&annotations_at, why);
    }
    for (index, validation) in validations.iter().enumerate() {
        self::validation(errors, &validations_at.index(index), validation, names);
    }
    if annotations.len() > MAX_ANNOTATIONS {
        let shown = serde_json::to_value(annotations).unwrap_or_default();
        errors.invalid(&annotations_at, shown, &format!("must not have more than {MAX_ANNOTATIONS} auditAnnotations"));
    }
    let mut seen = BTreeSet::new();
    for (index, one) in annotations.iter().enumerate() {
        let at = annotations_at.index(index);
        annotation(errors, &at, name, one, names);
        if !seen.insert(&one.key) {
            errors.duplicate(&at.child("key"), &one.key);
        }
    }
}

fn param_kind(errors: &mut Errors, at: &Path<'_>, param: &ParamKind) {
    let version_at = at.child("apiVersion");
    let api_version = text(&param.api_version);
    if errors.filled(&version_at, api_version) {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        if version.contains('/') {
            let why = format!("unexpected GroupVersion string: {api_version}");
            errors.invalid(&version_at, api_version, &why);
        } else {
            joined(
                errors,
                &version_at,
                group,
                if group.is_empty() { Vec::new() } else { names::dns1123_subdomain(group) },
            );
            if version.is_empty() {
                errors.invalid(&version_at, api_version, "version must be specified");
            } else {
                joined(errors, &version_at, version, names::dns1035_label(version));
            }
        }
    }
    let (kind_at, kind) = (at.child("kind"), text(&param.kind));
    if errors.filled(&kind_at, kind) {
        let wrong = names::dns1035_label(&kind.to_lowercase());
        if !wrong.is_empty() {
            let why = format!("may have mixed case, but should otherwise match: {}", wrong.join(","));
            errors.invalid(&kind_at, kind, &why);
        }
    }
}

fn joined(errors: &mut Errors, at: &Path<'_>, text: &str, wrong: Vec<String>) {
    if !wrong.is_empty() {
        errors.invalid(at, text, &wrong.join(","));
    }
}

fn variable<'a>(errors: &mut Errors, at: &Path<'_>, variable: &'a Variable, params: bool, defined: &mut Vec<&'a str>) {
    let name_at = at.child("name");
    let name = variable.name.as_str();
    let named = is_identifier(name);
    if name.trim().is_empty() {
        errors.required(&name_at, "name is not specified");
    } else if !named {
        errors.invalid(&name_at, name, "must be a valid CEL identifier");
    }
    let expression_at = at.child("expression");
    if variable.expression.trim().is_empty() {
        return errors.required(&expression_at, "expression is not specified");
    }
    let names = Names { params, authorizer: true, variables: Some(defined) };
    expression(errors, &expression_at, &variable.expression, &names, Returns::Anything);
    // One that does not compile is told once, not by everything that uses it.
    defined.extend(named.then_some(name));
}

/// Words that mean something in CEL itself.
const RESERVED: &[&str] = &[
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

fn is_identifier(name: &str) -> bool {
    names::c_identifier(name).is_empty() && !RESERVED.contains(&name)
}

fn validation(errors: &mut Errors, at: &Path<'_>, validation: &Validation, names: &Names<'_>) {
    let expression_at = at.child("expression");
    if validation.expression.trim().is_empty() {
        errors.required(&expression_at, "expression is not specified");
    } else {
        expression(errors, &expression_at, &validation.expression, names, Returns::Bool);
    }
    let (message_at, said_at) = (at.child("messageExpression"), at.child("message"));
    let blank = |field: &Option<String>| field.as_ref().is_some_and(|text| !text.is_empty() && text.trim().is_empty());
    if blank(&validation.message_expression) {
        errors.invalid(&message_at, text(&validation.message_expression), "must be non-empty if specified");
    } else if matching::trimmed(&validation.message_expression).is_some() {
        let names = Names { authorizer: false, ..*names };
        expression(errors, &message_at, text(&validation.message_expression), &names, Returns::Text);
    }
    if blank(&validation.message) {
        errors.invalid(&said_at, text(&validation.message), "must be non-empty if specified");
    } else if matching::trimmed(&validation.message).is_some_and(|text| text.contains(['\n', '\r'])) {
        errors.invalid(&said_at, text(&validation.message), "must not contain line breaks");
    }
    if let Some(reason) = &validation.reason {
        errors.one_of(&at.child("reason"), reason, REASONS);
    }
}

fn annotation(errors: &mut Errors, at: &Path<'_>, name: &str, annotation: &AuditAnnotation, names: &Names<'_>) {
    let key_at = at.child("key");
    if name.is_empty() {
        errors.invalid(&key_at, annotation.key.as_str(), "requires metadata.name be non-empty");
    } else {
        let whole = format!("{name}/{}", annotation.key);
        errors.all(&key_at, &whole, names::qualified(&whole));
    }
    let value_at = at.child("valueExpression");
    let value = annotation.value_expression.trim();
    if value.is_empty() {
        errors.required(&value_at, "valueExpression is not specified");
    } else if value.len() > MAX_VALUE_EXPRESSION {
        errors.required(&value_at, &format!("must not exceed {MAX_VALUE_EXPRESSION} bytes in length"));
    } else {
        expression(errors, &value_at, value, names, Returns::TextOrNull);
    }
}

fn status(errors: &mut Errors, policy: &ValidatingAdmissionPolicy) {
    let Some(status) = &policy.status else { return };
    let at = Path::root("status");
    let warnings =
        status.type_checking.iter().flat_map(|TypeChecking { expression_warnings }| list(expression_warnings));
    let (checking_at, conditions_at) = (at.child("typeChecking"), at.child("conditions"));
    let warnings_at = checking_at.child("expressionWarnings");
    for (index, warning) in warnings.enumerate() {
        let at = warnings_at.index(index);
        errors.filled(&at.child("warning"), &warning.warning);
        errors.filled(&at.child("fieldRef"), warning.field_ref.trim());
    }
    conditions::all(errors, &conditions_at, list(&status.conditions));
}
