//! Where in an object something is wrong, collected as it is found.

use std::fmt;

use serde_json::Value;

use crate::names;
use crate::status::{FieldError, FieldErrorKind};

/// The path of a field, such as `spec.containers[0].name`; it becomes a text only when something is wrong there.
#[derive(Clone, Copy)]
pub(crate) struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Field(&'a str),
    Index(usize),
    Key(&'a str),
}

impl<'a> Path<'a> {
    /// A field of the object itself.
    pub(crate) const fn root(field: &'a str) -> Self {
        Self { parent: None, step: Step::Field(field) }
    }

    /// A field below.
    pub(crate) const fn child(&'a self, field: &'a str) -> Self {
        Self { parent: Some(self), step: Step::Field(field) }
    }

    /// An item of a list.
    pub(crate) const fn index(&'a self, index: usize) -> Self {
        Self { parent: Some(self), step: Step::Index(index) }
    }

    /// A key of a map.
    pub(crate) const fn key(&'a self, key: &'a str) -> Self {
        Self { parent: Some(self), step: Step::Key(key) }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.step {
            Step::Field(name) if self.parent.is_some() => write!(f, ".{name}"),
            Step::Field(name) => f.write_str(name),
            Step::Index(index) => write!(f, "[{index}]"),
            Step::Key(key) => write!(f, "[{key}]"),
        }
    }
}

impl From<&Path<'_>> for String {
    fn from(path: &Path<'_>) -> Self {
        path.to_string()
    }
}

/// What was found wrong, in the order of finding.
#[derive(Default)]
pub(crate) struct Errors {
    found: Vec<FieldError>,
}

impl Errors {
    /// All that was found.
    pub(crate) fn into_vec(self) -> Vec<FieldError> {
        self.found
    }

    /// How many mistakes were found so far.
    pub(crate) fn count(&self) -> usize {
        self.found.len()
    }

    /// Takes over what another check found.
    pub(crate) fn extend(&mut self, errors: impl IntoIterator<Item = FieldError>) {
        self.found.extend(errors);
    }

    /// A value is missing.
    pub(crate) fn required(&mut self, at: &Path<'_>, why: &str) {
        self.found.push(FieldError::required(at, why));
    }

    /// A text is missing when it is empty; says whether it was there.
    pub(crate) fn filled(&mut self, at: &Path<'_>, text: &str) -> bool {
        if text.is_empty() {
            self.required(at, "");
        }
        !text.is_empty()
    }

    /// A text must be there and obey a rule.
    pub(crate) fn filled_all(&mut self, at: &Path<'_>, text: &str, rule: fn(&str) -> Vec<String>) {
        if self.filled(at, text) {
            self.all(at, text, rule(text));
        }
    }

    /// A value is malformed or out of range.
    pub(crate) fn invalid(&mut self, at: &Path<'_>, value: impl Into<Value>, why: &str) {
        self.found.push(FieldError::invalid(at, &value.into(), why));
    }

    /// A value is bad, shown as text that is written already.
    pub(crate) fn invalid_written(&mut self, at: &Path<'_>, written: &str, why: &str) {
        let detail = if why.is_empty() { written.to_owned() } else { format!("{written}: {why}") };
        self.found.push(FieldError::new(FieldErrorKind::Invalid, at, detail));
    }

    /// A text has every one of these complaints.
    pub(crate) fn all(&mut self, at: &Path<'_>, text: &str, complaints: Vec<String>) {
        self.found.extend(complaints.iter().map(|why| FieldError::invalid_text(at, text, why)));
    }

    /// A value may not be set or changed.
    pub(crate) fn forbidden(&mut self, at: &Path<'_>, why: &str) {
        self.found.push(FieldError::forbidden(at, why));
    }

    /// A value is not one of a closed set.
    pub(crate) fn not_supported(&mut self, at: &Path<'_>, value: &str, supported: &[&str]) {
        self.found.push(FieldError::not_supported(at, &value.into(), supported));
    }

    /// A value must be one of a closed set.
    pub(crate) fn one_of(&mut self, at: &Path<'_>, value: &str, supported: &[&str]) {
        if !supported.contains(&value) {
            self.not_supported(at, value, supported);
        }
    }

    /// A value must be there and one of a closed set.
    pub(crate) fn filled_one_of(&mut self, at: &Path<'_>, value: &str, supported: &[&str]) {
        if self.filled(at, value) {
            self.one_of(at, value, supported);
        }
    }

    /// A value is there twice.
    pub(crate) fn duplicate(&mut self, at: &Path<'_>, value: &str) {
        self.found.push(FieldError::duplicate(at, &value.into()));
    }

    /// A value refers to something that is not there.
    pub(crate) fn not_found(&mut self, at: &Path<'_>, value: &str) {
        self.found.push(FieldError::not_found(at, &value.into()));
    }

    /// A text is too long.
    pub(crate) fn too_long(&mut self, at: &Path<'_>, max: usize) {
        self.found.push(FieldError::too_long(at, max));
    }

    /// A list is too long.
    pub(crate) fn too_many(&mut self, at: &Path<'_>, count: usize, max: usize) {
        self.found.push(FieldError::too_many(at, count, max));
    }

    /// A number must be that of a port.
    pub(crate) fn port(&mut self, at: &Path<'_>, number: i32) {
        for why in names::port_number(number.into()) {
            self.invalid(at, number, &why);
        }
    }

    /// A text must be a domain with a path behind it, such as `acme.io/foo`.
    pub(crate) fn domain_prefixed_path(&mut self, at: &Path<'_>, text: &str) {
        if !self.filled(at, text) {
            return;
        }
        let parts = text.split_once('/').filter(|(domain, path)| !domain.is_empty() && !path.is_empty());
        let Some((domain, path)) = parts else {
            return self.invalid(at, text, "must be a domain-prefixed path (such as \"acme.io/foo\")");
        };
        self.all(at, domain, names::dns1123_subdomain(domain));
        let allowed = |c: char| c.is_ascii_alphanumeric() || "/-._~%!$&'()*+,;=:".contains(c);
        if !path.chars().all(allowed) {
            self.invalid(at, path, &names::mismatch("Invalid path", "[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+", &[]));
        }
    }

    /// A number may not be negative.
    pub(crate) fn non_negative(&mut self, at: &Path<'_>, number: i64) {
        if number < 0 {
            self.invalid(at, number, "must be greater than or equal to 0");
        }
    }
}

/// The text of a field that may be absent.
pub(crate) fn text(field: &Option<String>) -> &str {
    field.as_deref().unwrap_or_default()
}

/// The items of a list that may be absent.
pub(crate) fn list<T>(field: &Option<Vec<T>>) -> &[T] {
    field.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_paths_as_upstream_does() {
        let spec = Path::root("spec");
        let containers = spec.child("containers");
        let first = containers.index(0);
        let limits = first.child("limits");
        assert_eq!(limits.key("cpu").to_string(), "spec.containers[0].limits[cpu]");
    }
}
