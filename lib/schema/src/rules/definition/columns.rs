//! What a version says beside its schema: columns, subresources, fields for selectors.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::custom::jsonpath::Path;
use crate::status::FieldError;

const TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
const FORMATS: [&str; 9] = ["binary", "byte", "date", "date-time", "double", "float", "int32", "int64", "password"];
/// Fields that selectors may name, at most.
const SELECTABLE_MAX: usize = 8;

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// A path that starts with a dot and can be followed.
fn path(path: &str, at: String) -> Option<FieldError> {
    let invalid = |why: &str| Some(FieldError::invalid_text(at.clone(), path, why));
    if !path.starts_with('.') {
        return invalid("must be a simple json path starting with .");
    }
    match Path::parse(path) {
        Ok(_) => None,
        Err(why) => invalid(&format!("must be a simple json path: {why}")),
    }
}

/// Printer columns.
pub(super) fn printed(columns: &Value, at: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (index, column) in columns.as_array().into_iter().flatten().enumerate() {
        let at = format!("{at}[{index}]");
        if text(column, "name").is_empty() {
            errors.push(FieldError::required(format!("{at}.name"), ""));
        }
        let known = format!("must be one of {}", TYPES.join(","));
        match text(column, "type") {
            "" => errors.push(FieldError::required(format!("{at}.type"), known)),
            kind if !TYPES.contains(&kind) => {
                errors.push(FieldError::invalid_text(format!("{at}.type"), kind, &known));
            }
            _ => {}
        }
        let format = text(column, "format");
        if !format.is_empty() && !FORMATS.contains(&format) {
            let why = format!("must be one of {}", FORMATS.join(","));
            errors.push(FieldError::invalid_text(format!("{at}.format"), format, &why));
        }
        match text(column, "jsonPath") {
            "" => errors.push(FieldError::required(format!("{at}.JSONPath"), "")),
            given => errors.extend(path(given, format!("{at}.JSONPath"))),
        }
    }
    errors
}

/// The paths of a scale.
pub(super) fn subresources(parts: &Value, at: &str) -> Vec<FieldError> {
    let scale = &parts["scale"];
    if !scale.is_object() {
        return Vec::new();
    }
    let rules: [(&str, bool, &[&str], &str); 3] = [
        ("specReplicasPath", true, &[".spec."], "should be a json path under .spec"),
        ("statusReplicasPath", true, &[".status."], "should be a json path under .status"),
        ("labelSelectorPath", false, &[".spec.", ".status."], "should be a json path under either .spec or .status"),
    ];
    let one = |(field, required, roots, why): (&str, bool, &[&str], &str)| {
        let (given, at) = (text(scale, field), format!("{at}.scale.{field}"));
        match given {
            "" => required.then(|| FieldError::required(at, "")),
            _ => path(given, at.clone()).or_else(|| {
                let fits = roots.iter().any(|root| given.starts_with(root));
                (!fits).then(|| FieldError::invalid_text(at, given, why))
            }),
        }
    };
    rules.into_iter().filter_map(one).collect()
}

/// Fields for selectors: paths to texts, numbers and truths of the schema.
pub(super) fn selectable(fields: &Value, schema: &Value, at: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut seen = BTreeSet::new();
    for (index, field) in fields.as_array().into_iter().flatten().enumerate() {
        let (given, at) = (text(field, "jsonPath"), format!("{at}[{index}].jsonPath"));
        if given.is_empty() {
            errors.push(FieldError::required(at, ""));
            continue;
        }
        let segments: Vec<&str> = given.trim_start_matches('.').split('.').collect();
        let found = segments.iter().try_fold(schema, |schema, name| schema["properties"].get(name));
        let Some(found) = found.filter(|_| given.starts_with('.') || segments[0] == "metadata") else {
            let why = "is an invalid path: does not refer to a valid field";
            errors.push(FieldError::invalid_text(at, given, why));
            continue;
        };
        if segments[0] == "metadata" {
            errors.push(FieldError::invalid_text(at.clone(), given, "must not point to fields in metadata"));
        }
        if !["string", "boolean", "integer"].contains(&text(found, "type")) {
            let why = "must point to a field of type string, boolean or integer. Enum string fields and strings with \
                       formats are allowed.";
            errors.push(FieldError::invalid_text(at.clone(), given, why));
        }
        if !seen.insert(given.to_owned()) {
            errors.push(FieldError::duplicate(at, &given.into()));
        }
    }
    if seen.len() > SELECTABLE_MAX {
        errors.push(FieldError::too_many(at, seen.len(), SELECTABLE_MAX));
    }
    errors
}
