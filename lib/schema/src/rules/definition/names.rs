//! The names that a definition asks for and has been given, and the versions that objects were stored in.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionNames,
};
use serde_json::json;

use crate::names::dns1035_label;
use crate::rules::fields::{list, text};
use crate::status::FieldError;

/// The definition's own name is made of its plural and group.
pub(super) fn own(definition: &CustomResourceDefinition) -> Option<FieldError> {
    let name = text(&definition.metadata.name);
    let wanted = format!("{}.{}", definition.spec.names.plural, definition.spec.group);
    let why = "must be spec.names.plural+\".\"+spec.group";
    (!name.is_empty() && name != wanted).then(|| FieldError::invalid_text("metadata.name", name, why))
}

/// What must be there beside what every name must be.
pub(super) fn asked(names: &CustomResourceDefinitionNames) -> Vec<FieldError> {
    let required = [
        ("plural", names.plural.as_str()),
        ("singular", text(&names.singular)),
        ("kind", &names.kind),
        ("listKind", text(&names.list_kind)),
    ];
    let missing = required.iter().filter(|(_, name)| name.is_empty());
    let mut errors: Vec<FieldError> =
        missing.map(|(field, _)| FieldError::required(format!("spec.names.{field}"), "")).collect();
    errors.extend(form(names, "spec.names"));
    errors
}

/// What names must be.
fn form(names: &CustomResourceDefinitionNames, at: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut check = |field: String, name: &str, mixed: bool| {
        let complaints = dns1035_label(&if mixed { name.to_ascii_lowercase() } else { name.to_owned() });
        if !complaints.is_empty() {
            let prefix = if mixed { "may have mixed case, but should otherwise match: " } else { "" };
            errors.push(FieldError::invalid_text(field, name, &format!("{prefix}{}", complaints.join(","))));
        }
    };
    let (singular, list_kind) = (text(&names.singular), text(&names.list_kind));
    let single = [
        ("plural", names.plural.as_str(), false),
        ("singular", singular, false),
        ("kind", &names.kind, true),
        ("listKind", list_kind, true),
    ];
    for (field, name, mixed) in single.into_iter().filter(|(_, name, _)| !name.is_empty()) {
        check(format!("{at}.{field}"), name, mixed);
    }
    for (index, name) in list(&names.short_names).iter().enumerate() {
        check(format!("{at}.shortNames[{index}]"), name, false);
    }
    let categories = list(&names.categories).iter().enumerate();
    let categories: Vec<(String, &String)> =
        categories.map(|(index, name)| (format!("{at}.categories[{index}]"), name)).collect();
    if !names.kind.is_empty() && names.kind == list_kind {
        let why = "kind and listKind may not be the same";
        errors.push(FieldError::invalid_text(format!("{at}.listKind"), list_kind, why));
    }
    for (field, name) in categories {
        let complaints = dns1035_label(name);
        if !complaints.is_empty() {
            errors.push(FieldError::invalid_text(field, name, &complaints.join(",")));
        }
    }
    errors
}

/// The names that were given.
pub(super) fn status(definition: &CustomResourceDefinition) -> Vec<FieldError> {
    let accepted = definition.status.as_ref().and_then(|status| status.accepted_names.as_ref());
    accepted.map(|names| form(names, "status.acceptedNames")).unwrap_or_default()
}

/// The storage version is among those that objects were stored in, and all of these are still defined.
pub(super) fn stored_versions(definition: &CustomResourceDefinition) -> Vec<FieldError> {
    const AT: &str = "status.storedVersions";
    let stored = definition.status.as_ref().map(|status| list(&status.stored_versions)).unwrap_or_default();
    if stored.is_empty() {
        return vec![FieldError::invalid(AT, &json!(null), "must have at least one stored version")];
    }
    let versions = &definition.spec.versions;
    let mut errors: Vec<FieldError> = versions
        .iter()
        .filter(|version| version.storage && !stored.contains(&version.name))
        .map(|version| {
            FieldError::invalid(AT, &json!(stored), &format!("must have the storage version {}", version.name))
        })
        .collect();
    for (index, name) in stored.iter().enumerate() {
        if versions.iter().all(|version| version.name != *name) {
            let why = format!(
                "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions \
                 until a storage migration ensures no data remains persisted in {name} and removes {name} from \
                 status.storedVersions"
            );
            errors.push(FieldError::invalid_text(format!("{AT}[{index}]"), name, &why));
        }
    }
    errors
}
