//! Validation of a custom resource by its schema, with upstream's words.
//!
//! On an update, what did not change is not looked at again: a stricter schema does not lock old objects.

use std::collections::{HashMap, HashSet};

use regex::Regex;
use serde_json::{Map, Value};

use super::format;
use crate::status::{FieldError, FieldErrorKind};

/// The patterns of a schema, compiled when the definition was taken.
pub(super) type Patterns = HashMap<String, Regex>;

/// Everything wrong with a value.
pub(super) fn check(schema: &Value, value: &Value, old: Option<&Value>, patterns: &Patterns) -> Vec<FieldError> {
    let mut checker = Checker { patterns, errors: Vec::new() };
    checker.value(schema, value, old, "");
    checker.errors
}

struct Checker<'a> {
    patterns: &'a Patterns,
    errors: Vec<FieldError>,
}

fn join(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

fn all_different(items: &[Value]) -> bool {
    let mut seen = HashSet::new();
    items.iter().all(|item| seen.insert(item))
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.as_f64().is_some_and(|value| value.fract() == 0.0) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

impl Checker<'_> {
    fn invalid(&mut self, path: &str, value: &Value, words: &str) {
        self.errors.push(FieldError::invalid(path, value, &format!("{path} in body {words}")));
    }

    fn value(&mut self, schema: &Value, value: &Value, old: Option<&Value>, path: &str) {
        if old == Some(value) || (value.is_null() && schema["nullable"] == Value::Bool(true)) {
            return;
        }
        self.kind(schema, value, path);
        self.allowed(schema, value, path);
        match value {
            Value::String(text) => self.text(schema, text, path),
            Value::Number(number) => self.number(schema, number.as_f64().unwrap_or_default(), value, path),
            Value::Array(items) => self.list(schema, items, old, path),
            Value::Object(map) => self.map(schema, map, old, path),
            Value::Null | Value::Bool(_) => {}
        }
        self.junctors(schema, value, path);
    }

    fn kind(&mut self, schema: &Value, value: &Value, path: &str) {
        let either = schema["x-kubernetes-int-or-string"] == Value::Bool(true);
        let expected = if either { "integer,string" } else { schema["type"].as_str().unwrap_or_default() };
        let found = type_of(value);
        let fits = expected.is_empty()
            || expected.split(',').any(|one| one == found || (one == "number" && found == "integer"));
        if !fits {
            self.type_error(path, found, expected);
        }
    }

    fn type_error(&mut self, path: &str, found: &str, expected: &str) {
        let detail = format!("{found:?}: {path} in body must be of type {expected}: {found:?}");
        self.errors.push(FieldError::new(FieldErrorKind::TypeInvalid, path, detail));
    }

    fn allowed(&mut self, schema: &Value, value: &Value, path: &str) {
        let Some(allowed) = schema["enum"].as_array() else { return };
        if !allowed.contains(value) {
            let words: Vec<String> =
                allowed.iter().map(|one| one.as_str().map_or_else(|| one.to_string(), ToOwned::to_owned)).collect();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            self.errors.push(FieldError::not_supported(path, value, &words));
        }
    }

    fn text(&mut self, schema: &Value, text: &str, path: &str) {
        self.length_or_pattern(schema, text, path);
        if let Some(name) = schema["format"].as_str()
            && !format::fits(name, text)
        {
            self.type_error(path, text, name);
        }
    }

    /// Upstream tells the first of these alone.
    fn length_or_pattern(&mut self, schema: &Value, text: &str, path: &str) {
        let length = text.chars().count() as u64;
        if let Some(most) = schema["maxLength"].as_u64().filter(|most| length > *most) {
            let detail = format!("may not be more than {most} bytes");
            self.errors.push(FieldError::new(FieldErrorKind::TooLong, path, detail));
        } else if let Some(least) = schema["minLength"].as_u64().filter(|least| length < *least) {
            self.invalid(path, &text.into(), &format!("should be at least {least} chars long"));
        } else if let Some(pattern) = schema["pattern"].as_str()
            && self.patterns.get(pattern).is_some_and(|regex| !regex.is_match(text))
        {
            self.invalid(path, &text.into(), &format!("should match '{pattern}'"));
        }
    }

    fn number(&mut self, schema: &Value, number: f64, value: &Value, path: &str) {
        let exclusive = |name: &str| schema[name] == Value::Bool(true);
        if let Some(least) = schema["minimum"].as_f64() {
            let out = exclusive("exclusiveMinimum");
            if number < least || (out && number <= least) {
                let or = if out { "" } else { " or equal to" };
                self.invalid(path, value, &format!("should be greater than{or} {least}"));
            }
        }
        if let Some(most) = schema["maximum"].as_f64() {
            let out = exclusive("exclusiveMaximum");
            if number > most || (out && number >= most) {
                let or = if out { "" } else { " or equal to" };
                self.invalid(path, value, &format!("should be less than{or} {most}"));
            }
        }
        if let Some(step) = schema["multipleOf"].as_f64().filter(|step| (number / step).fract() != 0.0) {
            self.invalid(path, value, &format!("should be a multiple of {step}"));
        }
    }

    fn count(&mut self, schema: &Value, names: [&str; 2], what: &str, length: usize, path: &str) {
        if let Some(most) = schema[names[1]].as_u64().filter(|most| length as u64 > *most) {
            self.errors.push(FieldError::new(
                FieldErrorKind::TooMany,
                path,
                format!("{length}: must have at most {most} items"),
            ));
        }
        if let Some(least) = schema[names[0]].as_u64().filter(|least| (length as u64) < *least) {
            self.invalid(path, &Value::from(length), &format!("should have at least {least} {what}"));
        }
    }

    fn list(&mut self, schema: &Value, items: &[Value], old: Option<&Value>, path: &str) {
        self.count(schema, ["minItems", "maxItems"], "items", items.len(), path);
        if schema["uniqueItems"] == Value::Bool(true) && !all_different(items) {
            self.invalid(path, &Value::from(""), "shouldn't contain duplicates");
        }
        let keys: Vec<&str> =
            schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let key = |item: &Value| -> Map<String, Value> {
            keys.iter().filter_map(|key| Some(((*key).to_owned(), item.get(*key)?.clone()))).collect()
        };
        let mut before = HashMap::new();
        for one in old.and_then(Value::as_array).into_iter().flatten().filter(|_| !keys.is_empty()) {
            before.entry(key(one)).or_insert(one);
        }
        for (index, item) in items.iter().enumerate() {
            let at = format!("{path}[{index}]");
            let same = if before.is_empty() { None } else { before.get(&key(item)).copied() };
            self.value(&schema["items"], item, same, &at);
        }
        match schema["x-kubernetes-list-type"].as_str() {
            Some("set") => self.repeated(items, path, Clone::clone),
            Some("map") => self.repeated(items, path, |item| Value::Object(key(item))),
            _ => {}
        }
    }

    fn repeated(&mut self, items: &[Value], path: &str, identity: impl Fn(&Value) -> Value) {
        let mut seen = HashSet::new();
        for (index, item) in items.iter().enumerate() {
            let own = identity(item);
            if !seen.insert(own.clone()) {
                self.errors.push(FieldError::duplicate(format!("{path}[{index}]"), &own));
            }
        }
    }

    fn map(&mut self, schema: &Value, map: &Map<String, Value>, old: Option<&Value>, path: &str) {
        self.count(schema, ["minProperties", "maxProperties"], "properties", map.len(), path);
        self.required(schema, map, path);
        let properties = schema["properties"].as_object();
        for (name, value) in map {
            let known = properties.and_then(|properties| properties.get(name));
            let more = Some(&schema["additionalProperties"]).filter(|more| more.is_object());
            if let Some(inner) = known.or(more) {
                self.value(inner, value, old.and_then(|old| old.get(name)), &join(path, name));
            }
        }
    }

    fn required(&mut self, schema: &Value, map: &Map<String, Value>, path: &str) {
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !map.contains_key(name) {
                self.errors.push(FieldError::required(join(path, name), ""));
            }
        }
    }

    /// `allOf`, `anyOf`, `oneOf` and `not`.
    fn junctors(&mut self, schema: &Value, value: &Value, path: &str) {
        let failures = |name: &str| -> Option<Vec<Vec<FieldError>>> {
            let schemas = schema[name].as_array()?;
            Some(schemas.iter().map(|one| self.errors_of(one, value, path)).collect())
        };
        let (all, any, one) = (failures("allOf"), failures("anyOf"), failures("oneOf"));
        let none = schema.get("not").map(|not| self.errors_of(not, value, path).is_empty());
        if let Some(any) = any.filter(|any| any.iter().all(|errors| !errors.is_empty())) {
            self.unfit(path, "must validate at least one schema (anyOf)", any.into_iter().next());
        }
        if let Some(one) = one {
            let fitting = one.iter().filter(|errors| errors.is_empty()).count();
            let words = "must validate one and only one schema (oneOf)";
            match fitting {
                0 => self.unfit(path, &format!("{words}. Found none valid"), one.into_iter().next()),
                1 => {}
                more => self.unfit(path, &format!("{words}. Found {more} valid alternatives"), None),
            }
        }
        if let Some(all) = all.filter(|all| all.iter().any(|errors| !errors.is_empty())) {
            let words = "must validate all the schemas (allOf)";
            let first = all.iter().any(Vec::is_empty);
            let words = if first { words.to_owned() } else { format!("{words}. None validated") };
            self.unfit(path, &words, Some(all.into_iter().flatten().collect()));
        }
        if none == Some(true) {
            self.unfit(path, "must not validate the schema (not)", None);
        }
    }

    fn errors_of(&self, schema: &Value, value: &Value, path: &str) -> Vec<FieldError> {
        let mut checker = Checker { patterns: self.patterns, errors: Vec::new() };
        checker.value(schema, value, None, path);
        checker.errors
    }

    /// Upstream names no field for these, but shows the path in the text.
    fn unfit(&mut self, path: &str, words: &str, why: Option<Vec<FieldError>>) {
        let detail = format!("\"\": {path:?} {words}");
        self.errors.push(FieldError::new(FieldErrorKind::Invalid, "<nil>", detail));
        self.errors.extend(why.into_iter().flatten());
    }
}
