//! What makes a schema structural: every field is told apart from the rest, and has one type.
//!
//! Source: apiextensions-apiserver `apiserver/schema/validation.go`, `complete.go`.

use regex::Regex;
use serde_json::{Map, Value};

use super::{EITHER, EMBEDDED, FREE, LIST_KEYS, LIST_TYPE, MAP_TYPE, RULES, is, properties, several, type_of};
use crate::status::FieldError;

/// Where in an object a schema stands.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Level {
    Root,
    Field,
    Item,
}

/// What makes a schema structural.
pub(super) fn invariants(schema: &Value, level: Level, at: &str, errors: &mut Vec<FieldError>) {
    if type_of(schema) == "array" && !schema["items"].is_object() {
        errors.push(FieldError::required(format!("{at}.items"), "must be specified"));
    }
    if schema["items"].is_object() {
        invariants(&schema["items"], Level::Item, &format!("{at}.items"), errors);
    }
    for (name, inner) in properties(schema) {
        invariants(inner, Level::Field, &format!("{at}.properties[{name}]"), errors);
    }
    let more = &schema["additionalProperties"];
    if !more.is_null() {
        if level == Level::Root {
            errors.push(FieldError::forbidden(format!("{at}.additionalProperties"), "must not be used at the root"));
        }
        if more.is_object() {
            invariants(more, Level::Field, &format!("{at}.additionalProperties"), errors);
        }
    }
    extensions(schema, at, errors);
    junctors(schema, is_either(&schema["anyOf"]), is_either(&schema["allOf"][0]["anyOf"]), at, errors);
    typed(schema, level, at, errors);
    metadata(schema, level, at, errors);
}

/// `anyOf` of a whole number and a text, which says what the extension says already.
fn is_either(any: &Value) -> bool {
    *any == serde_json::json!([{"type": "integer"}, {"type": "string"}])
}

fn extensions(schema: &Value, at: &str, errors: &mut Vec<FieldError>) {
    for name in [FREE, EMBEDDED] {
        if is(schema, EITHER) && is(schema, name) {
            let why = "must be false if x-kubernetes-int-or-string is true";
            errors.push(FieldError::invalid(format!("{at}.{name}"), &Value::Bool(true), why));
        }
    }
}

fn typed(schema: &Value, level: Level, at: &str, errors: &mut Vec<FieldError>) {
    let (found, here) = (type_of(schema), format!("{at}.type"));
    if is(schema, EMBEDDED) && found != "object" {
        let why = "must be object if x-kubernetes-embedded-resource is true";
        errors.push(if found.is_empty() {
            FieldError::required(here.clone(), why)
        } else {
            FieldError::invalid_text(here.clone(), found, why)
        });
    } else if found.is_empty() && !is(schema, EITHER) && !is(schema, FREE) {
        let why = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        errors.push(FieldError::required(here.clone(), why));
    }
    if is(schema, EMBEDDED) && !schema["additionalProperties"].is_null() {
        let why = "must not be used if x-kubernetes-embedded-resource is set";
        errors.push(FieldError::forbidden(format!("{at}.additionalProperties"), why));
    }
    if level == Level::Root && !["", "object"].contains(&found) {
        errors.push(FieldError::invalid_text(here, found, "must be object at the root"));
    }
    if is(schema, EMBEDDED) && !is(schema, FREE) && properties(schema).next().is_none() {
        let why = "must not be empty if x-kubernetes-embedded-resource is true without \
                   x-kubernetes-preserve-unknown-fields";
        errors.push(FieldError::required(format!("{at}.properties"), why));
    }
}

/// The fields that every resource has are known already: a schema may only narrow an object's name.
fn metadata(schema: &Value, level: Level, at: &str, errors: &mut Vec<FieldError>) {
    let resource = level == Level::Root || is(schema, EMBEDDED);
    let own = &schema["properties"];
    for name in ["kind", "apiVersion"] {
        if let Some(inner) = own.get(name).filter(|inner| resource && type_of(inner) != "string") {
            let here = format!("{at}.properties[{name}].type");
            errors.push(FieldError::invalid_text(here, type_of(inner), "must be string"));
        }
    }
    let Some(metadata) = own.get("metadata") else { return };
    let here = format!("{at}.properties[metadata]");
    if resource && type_of(metadata) != "object" {
        errors.push(FieldError::invalid_text(format!("{here}.type"), type_of(metadata), "must be object"));
    }
    let names = |inner: &Map<String, Value>| inner.keys().all(|name| ["name", "generateName"].contains(&name.as_str()));
    let narrow = metadata.as_object().is_some_and(|map| {
        map.iter().all(|(name, value)| match name.as_str() {
            "type" | "description" | "default" => true,
            "properties" => value.as_object().is_some_and(names),
            _ => false,
        })
    });
    if level == Level::Root && !narrow {
        let why = "must not specify anything other than name and generateName, but metadata is implicitly specified";
        errors.push(FieldError::forbidden(here, why));
    }
}

/// What stands below `anyOf` and the like only judges values.
fn junctors(schema: &Value, skip_any: bool, skip_first: bool, at: &str, errors: &mut Vec<FieldError>) {
    if !skip_any {
        for (index, inner) in several(schema, "anyOf") {
            nested(inner, false, &format!("{at}.anyOf[{index}]"), errors);
        }
    }
    for (index, inner) in several(schema, "allOf") {
        nested(inner, skip_first && index == 0, &format!("{at}.allOf[{index}]"), errors);
    }
    for (index, inner) in several(schema, "oneOf") {
        nested(inner, false, &format!("{at}.oneOf[{index}]"), errors);
    }
    if schema["not"].is_object() {
        nested(&schema["not"], false, &format!("{at}.not"), errors);
    }
    if let Some(pattern) = schema["pattern"].as_str()
        && let Err(error) = Regex::new(pattern)
    {
        let why = format!("must be a valid regular expression, but isn't: {}", regex_words(pattern, &error));
        errors.push(FieldError::invalid_text(format!("{at}.pattern"), pattern, &why));
    }
}

/// The last line of what the parser says, in the form of upstream's where its words are known.
fn regex_words(pattern: &str, error: &regex::Error) -> String {
    let said = error.to_string();
    let last = said.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
    match last.as_str() {
        "unclosed group" => format!("error parsing regexp: missing closing ): `{pattern}`"),
        "unclosed character class" => format!("error parsing regexp: missing closing ]: `{pattern}`"),
        _ => format!("error parsing regexp: {last}: `{pattern}`"),
    }
}

/// What has a meaning for the structure, in the order of upstream's checks, with how it must be.
const BARRED: [(&str, &str); 11] = [
    ("type", "must be empty to be structural"),
    ("additionalProperties", "must be undefined to be structural"),
    ("default", "must be undefined to be structural"),
    ("title", "must be empty to be structural"),
    ("description", "must be empty to be structural"),
    ("nullable", "must be false to be structural"),
    (FREE, "must be false to be structural"),
    (EMBEDDED, "must be false to be structural"),
    (EITHER, "must be false to be structural"),
    (LIST_TYPE, "must be undefined to be structural"),
    (RULES, "must be empty to be structural"),
];

fn nested(schema: &Value, skip_any: bool, at: &str, errors: &mut Vec<FieldError>) {
    junctors(schema, skip_any, false, at, errors);
    if schema["items"].is_object() {
        nested(&schema["items"], false, &format!("{at}.items"), errors);
    }
    for (name, inner) in properties(schema) {
        nested(inner, false, &format!("{at}.properties[{name}]"), errors);
    }
    for (name, why) in BARRED {
        let set = schema.get(name).is_some_and(|value| !matches!(value, Value::Null | Value::Bool(false)));
        if set {
            errors.push(FieldError::forbidden(format!("{at}.{name}"), why));
        }
    }
    for (name, why) in [(LIST_KEYS, "must be empty"), (MAP_TYPE, "must be undefined")] {
        if !schema[name].is_null() {
            errors.push(FieldError::forbidden(format!("{at}.{name}"), format!("{why} to be structural")));
        }
    }
    if schema["properties"].get("metadata").is_some() {
        let here = format!("{at}.properties[metadata]");
        errors.push(FieldError::forbidden(here, "must not be specified in a nested context"));
    }
}

/// Every field that a junctor speaks of is one of the structure.
pub(super) fn completeness(schema: &Value, at: &str, errors: &mut Vec<FieldError>) {
    for name in ["allOf", "anyOf", "oneOf"] {
        for (index, inner) in several(schema, name) {
            complete(schema, inner, at, &format!("{at}.{name}[{index}]"), errors);
        }
    }
    if schema["not"].is_object() {
        complete(schema, &schema["not"], at, &format!("{at}.not"), errors);
    }
    for (name, inner) in properties(schema) {
        completeness(inner, &format!("{at}.properties[{name}]"), errors);
    }
    for name in ["items", "additionalProperties"].into_iter().filter(|name| schema[*name].is_object()) {
        completeness(&schema[name], &format!("{at}.{name}"), errors);
    }
}

fn complete(of: &Value, nested: &Value, at: &str, from: &str, errors: &mut Vec<FieldError>) {
    let required = |here: String, what: String| FieldError::required(here, format!("because it is defined in {what}"));
    for (name, inner) in properties(nested) {
        match of["properties"].get(name) {
            Some(known) => complete(
                known,
                inner,
                &format!("{at}.properties[{name}]"),
                &format!("{from}.properties[{name}]"),
                errors,
            ),
            None => errors.push(required(format!("{at}.properties[{name}]"), format!("{from}.properties[{name}]"))),
        }
    }
    if nested["items"].is_object() {
        match of.get("items").filter(|items| items.is_object()) {
            Some(known) => complete(known, &nested["items"], &format!("{at}.items"), &format!("{from}.items"), errors),
            None => errors.push(required(format!("{at}.items"), format!("{from}.items"))),
        }
    }
    for name in ["allOf", "anyOf", "oneOf"] {
        for (index, inner) in several(nested, name) {
            complete(of, inner, at, &format!("{from}.{name}[{index}]"), errors);
        }
    }
    if nested["not"].is_object() {
        complete(of, &nested["not"], at, &format!("{from}.not"), errors);
    }
}
