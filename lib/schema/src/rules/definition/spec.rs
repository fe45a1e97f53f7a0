//! What a definition asks for: its group, scope and versions.
//!
//! What all versions have in common is judged once, and said to stand at the top, as upstream does.

use std::collections::BTreeSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Map, Value, json};

use super::{columns, names, schema};
use crate::names::{dns1035_label, dns1123_subdomain};
use crate::rules::fields::listed;
use crate::status::{FieldError, FieldErrorKind, shown};

/// What a version may have of its own, and where it stands when all versions have the same.
const SHARED: [(&str, &str); 4] = [
    ("schema", "validation"),
    ("subresources", "subresources"),
    ("additionalPrinterColumns", "additionalPrinterColumns"),
    ("selectableFields", "selectableFields"),
];

/// The versions of a specification, with what they share taken out of them.
struct Spec {
    versions: Vec<Value>,
    shared: Map<String, Value>,
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(Vec::is_empty)
}

impl Spec {
    fn of(definition: &CustomResourceDefinition) -> Self {
        let versions = definition.spec.versions.iter().filter_map(|version| serde_json::to_value(version).ok());
        let mut spec = Self { versions: versions.collect(), shared: Map::new() };
        for (own, top) in SHARED {
            let Some(first) = spec.versions.first().map(|version| version[own].clone()) else { continue };
            if !is_empty(&first) && spec.versions.iter().all(|version| version[own] == first) {
                spec.shared.insert(top.to_owned(), first);
                spec.versions.iter_mut().for_each(|version| version[own] = Value::Null);
            }
        }
        spec
    }

    fn shared(&self, top: &str) -> &Value {
        self.shared.get(top).unwrap_or(&Value::Null)
    }

    /// The versions as upstream's own structs show them, in the order of their fields.
    fn shown(&self) -> String {
        let fields = [
            ("Name", "name"),
            ("Served", "served"),
            ("Storage", "storage"),
            ("Deprecated", "deprecated"),
            ("DeprecationWarning", "deprecationWarning"),
            ("Schema", "schema"),
            ("Subresources", "subresources"),
            ("AdditionalPrinterColumns", "additionalPrinterColumns"),
            ("SelectableFields", "selectableFields"),
        ];
        let one = |version: &Value| {
            let field = |(name, field): (&str, &str)| {
                let absent = if name == "Deprecated" { json!(false) } else { Value::Null };
                format!("{name:?}:{}", shown(version.get(field).unwrap_or(&absent)))
            };
            format!("{{{}}}", fields.map(field).join(","))
        };
        format!("[{}]", self.versions.iter().map(one).collect::<Vec<_>>().join(","))
    }
}

/// Everything wrong with a specification.
pub(super) fn check(definition: &CustomResourceDefinition, old: Option<&CustomResourceDefinition>) -> Vec<FieldError> {
    let spec = Spec::of(definition);
    let mut errors: Vec<FieldError> = group(&definition.spec.group).into_iter().collect();
    errors.extend(scope(&definition.spec.scope));
    errors.extend(schemas_there(definition, &spec));
    for (index, version) in spec.versions.iter().enumerate() {
        errors.extend(own(version, &format!("spec.versions[{index}]"), spec.shared("subresources")));
    }
    errors.extend(counted(definition, &spec));
    errors.extend(names::asked(&definition.spec.names));
    let status =
        has_status(spec.shared("subresources")) || spec.versions.iter().any(|one| has_status(&one["subresources"]));
    errors.extend(parts(spec.shared("validation"), "spec.validation", status));
    errors.extend(columns::subresources(spec.shared("subresources"), "spec.subresources"));
    errors.extend(columns::printed(spec.shared("additionalPrinterColumns"), "spec.additionalPrinterColumns"));
    let shared = spec.shared("selectableFields");
    let of_all = &spec.shared("validation")["openAPIV3Schema"];
    if !is_empty(shared) && of_all.is_null() {
        let why = "may only be set when validations.schema is included";
        errors.push(FieldError::invalid_text("spec.selectableFields", "", why));
    } else {
        errors.extend(columns::selectable(shared, of_all, "spec.selectableFields"));
    }
    errors.extend(conversion(definition));
    errors.extend(old.map(|old| kept(definition, old)).unwrap_or_default());
    errors
}

fn group(group: &str) -> Option<FieldError> {
    let complaints = dns1123_subdomain(group);
    match group {
        "" => Some(FieldError::required("spec.group", "")),
        _ if !complaints.is_empty() => Some(FieldError::invalid_text("spec.group", group, &complaints.join(","))),
        _ if !group.contains('.') => {
            Some(FieldError::invalid_text("spec.group", group, "should be a domain with at least one dot"))
        }
        _ => None,
    }
}

fn scope(scope: &str) -> Option<FieldError> {
    match scope {
        "Cluster" | "Namespaced" => None,
        "" => Some(FieldError::required("spec.scope", "")),
        other => Some(FieldError::not_supported("spec.scope", &other.into(), &["Cluster", "Namespaced"])),
    }
}

/// Every version has a schema; with defaults in it, unknown fields can't be kept in general.
fn schemas_there(definition: &CustomResourceDefinition, spec: &Spec) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let shared = &spec.shared("validation")["openAPIV3Schema"];
    if shared.is_null() {
        let missing = spec.versions.iter().enumerate().filter(|(_, one)| one["schema"]["openAPIV3Schema"].is_null());
        let at = |index: usize| format!("spec.versions[{index}].schema.openAPIV3Schema");
        errors.extend(missing.map(|(index, _)| FieldError::required(at(index), "")));
    }
    let defaults = schema::has_defaults(shared)
        || spec.versions.iter().any(|one| schema::has_defaults(&one["schema"]["openAPIV3Schema"]));
    if defaults && definition.spec.preserve_unknown_fields == Some(true) {
        let why = "must be false in order to use defaults in the schema";
        errors.push(FieldError::invalid("spec.preserveUnknownFields", &json!(true), why));
    }
    errors
}

fn has_status(subresources: &Value) -> bool {
    subresources["status"].is_object()
}

/// What a version has for itself.
fn own(version: &Value, at: &str, shared_parts: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let name = version["name"].as_str().unwrap_or_default();
    let complaints = dns1035_label(name);
    if !complaints.is_empty() {
        errors.push(FieldError::invalid_text(format!("{at}.name"), name, &complaints.join(",")));
    }
    errors.extend(deprecation(version, at));
    let status = has_status(shared_parts) || has_status(&version["subresources"]);
    errors.extend(parts(&version["schema"], &format!("{at}.schema"), status));
    errors.extend(columns::subresources(&version["subresources"], &format!("{at}.subresources")));
    errors.extend(columns::printed(&version["additionalPrinterColumns"], &format!("{at}.additionalPrinterColumns")));
    let of_version = &version["schema"]["openAPIV3Schema"];
    errors.extend(columns::selectable(&version["selectableFields"], of_version, &format!("{at}.selectableFields")));
    errors
}

fn deprecation(version: &Value, at: &str) -> Vec<FieldError> {
    let Some(warning) = version["deprecationWarning"].as_str() else { return Vec::new() };
    let unprintable = warning.chars().position(char::is_control);
    let mut complaints = Vec::new();
    if version["deprecated"] != Value::Bool(true) {
        complaints.push("can only be set for deprecated versions".to_owned());
    } else {
        if warning.len() > 256 {
            complaints.push("must be <= 256 characters long".to_owned());
        }
        if warning.is_empty() {
            complaints.push("must not be an empty string".to_owned());
        }
        complaints.extend(unprintable.map(|index| {
            format!("must only contain printable UTF-8 characters; non-printable character found at index {index}")
        }));
    }
    let at = format!("{at}.deprecationWarning");
    complaints.iter().map(|why| FieldError::invalid_text(at.clone(), warning, why)).collect()
}

/// A schema, when there is one.
fn parts(validation: &Value, at: &str, has_status: bool) -> Vec<FieldError> {
    let schema = &validation["openAPIV3Schema"];
    if schema.is_null() { Vec::new() } else { schema::check(schema, &format!("{at}.openAPIV3Schema"), has_status) }
}

/// Names of versions are unique, and exactly one of them is stored.
fn counted(definition: &CustomResourceDefinition, spec: &Spec) -> Vec<FieldError> {
    let versions = &definition.spec.versions;
    let unique: BTreeSet<&str> = versions.iter().map(|version| version.name.as_str()).collect();
    let mut errors = Vec::new();
    let mut wrong = |why: &str| {
        let detail = format!("{}: {why}", spec.shown());
        errors.push(FieldError::new(FieldErrorKind::Invalid, "spec.versions", detail));
    };
    if unique.len() < versions.len() {
        wrong("must contain unique version names");
    }
    if versions.iter().filter(|version| version.storage).count() != 1 {
        wrong("must have exactly one version marked as storage version");
    }
    errors
}

/// Objects are served in every version as they are: conversion by a webhook is refused here.
fn conversion(definition: &CustomResourceDefinition) -> Vec<FieldError> {
    let Some(conversion) = &definition.spec.conversion else { return Vec::new() };
    let webhook = conversion.webhook.as_ref();
    match conversion.strategy.as_str() {
        "None" => {
            let why = "should not be set when strategy is not set to Webhook";
            let client = webhook.filter(|webhook| webhook.client_config.is_some());
            let client = client.map(|_| FieldError::forbidden("spec.conversion.webhookClientConfig", why));
            let versions = webhook.filter(|webhook| !webhook.conversion_review_versions.is_empty());
            let versions = versions.map(|_| FieldError::forbidden("spec.conversion.conversionReviewVersions", why));
            client.into_iter().chain(versions).collect()
        }
        "" => vec![FieldError::required("spec.conversion.strategy", "")],
        "Webhook" => {
            let why = "conversion by a webhook is not supported by this server: use None, or serve a single version";
            vec![FieldError::forbidden("spec.conversion.strategy", why)]
        }
        other => vec![FieldError::not_supported("spec.conversion.strategy", &other.into(), &["None", "Webhook"])],
    }
}

/// What may not change: the resource's own name never, how objects are stored and called once they may be there.
fn kept(definition: &CustomResourceDefinition, old: &CustomResourceDefinition) -> Vec<FieldError> {
    let (new, was) = (&definition.spec, &old.spec);
    let conditions = old.status.as_ref().and_then(|status| status.conditions.as_ref());
    let established = conditions.into_iter().flatten().any(|one| one.type_ == "Established" && one.status == "True");
    let always = [("group", &new.group, &was.group), ("names.plural", &new.names.plural, &was.names.plural)];
    let once = [("scope", &new.scope, &was.scope), ("names.kind", &new.names.kind, &was.names.kind)];
    let checked = once.into_iter().filter(|_| established).chain(always);
    checked
        .filter(|(_, new, old)| new != old)
        .map(|(field, new, _)| FieldError::invalid_text(format!("spec.{field}"), new, "field is immutable"))
        .collect()
}

/// A list of words as a value, with a mistake in it.
pub(in crate::rules::definition) fn words(at: String, words: &[String], why: &str) -> FieldError {
    FieldError::new(FieldErrorKind::Invalid, at, format!("{}: {why}", shown(&listed(words))))
}
