//! Where in an object something is wrong, collected as it is found.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use serde::Serialize;
use serde_json::{Value, json};

use crate::meta;
use crate::names;
use crate::status::{FieldError, FieldErrorKind};

/// The transport protocols.
pub(crate) const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];

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

/// Where a mistake is: a [`Path`], or the text of one that has no list or map in it.
pub(crate) trait Place: Into<String> + Copy {}

impl<T: Into<String> + Copy> Place for T {}

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
    pub(crate) fn required(&mut self, at: impl Place, why: &str) {
        self.found.push(FieldError::required(at, why));
    }

    /// A text is missing when it is empty; says whether it was there.
    pub(crate) fn filled(&mut self, at: impl Place, text: &str) -> bool {
        if text.is_empty() {
            self.required(at, "");
        }
        !text.is_empty()
    }

    /// A text must be there and obey a rule.
    pub(crate) fn filled_all(&mut self, at: impl Place, text: &str, rule: fn(&str) -> Vec<String>) {
        if self.filled(at, text) {
            self.all(at, text, rule(text));
        }
    }

    /// A value is malformed or out of range.
    pub(crate) fn invalid(&mut self, at: impl Place, value: impl Into<Value>, why: &str) {
        self.found.push(FieldError::invalid(at, &value.into(), why));
    }

    /// A value is bad, shown as text that is written already.
    pub(crate) fn invalid_written(&mut self, at: impl Place, written: &str, why: &str) {
        let detail = if why.is_empty() { written.to_owned() } else { format!("{written}: {why}") };
        self.found.push(FieldError::new(FieldErrorKind::Invalid, at, detail));
    }

    /// A value may not change.
    pub(crate) fn immutable<T: PartialEq + Serialize>(&mut self, at: impl Place, new: &T, old: &T) {
        if new != old {
            self.invalid(at, json!(new), "field is immutable");
        }
    }

    /// A text has every one of these complaints.
    pub(crate) fn all(&mut self, at: impl Place, text: &str, complaints: Vec<String>) {
        self.found.extend(complaints.iter().map(|why| FieldError::invalid_text(at, text, why)));
    }

    /// A value may not be set or changed.
    pub(crate) fn forbidden(&mut self, at: impl Place, why: &str) {
        self.found.push(FieldError::forbidden(at, why));
    }

    /// A value is not one of a closed set.
    pub(crate) fn not_supported(&mut self, at: impl Place, value: impl Into<Value>, supported: &[&str]) {
        self.found.push(FieldError::not_supported(at, &value.into(), supported));
    }

    /// A value must be one of a closed set.
    pub(crate) fn one_of(&mut self, at: impl Place, value: &str, supported: &[&str]) {
        if !supported.contains(&value) {
            self.not_supported(at, value, supported);
        }
    }

    /// A value must be there and one of a closed set.
    pub(crate) fn filled_one_of(&mut self, at: impl Place, value: &str, supported: &[&str]) {
        if self.filled(at, value) {
            self.one_of(at, value, supported);
        }
    }

    /// A value is there twice.
    pub(crate) fn duplicate(&mut self, at: impl Place, value: &str) {
        self.found.push(FieldError::duplicate(at, &value.into()));
    }

    /// A value is there twice, shown as text that is written already.
    pub(crate) fn duplicate_written(&mut self, at: impl Place, written: &str) {
        self.found.push(FieldError::new(FieldErrorKind::Duplicate, at, written));
    }

    /// A value refers to something that is not there.
    pub(crate) fn not_found(&mut self, at: impl Place, value: &str) {
        self.found.push(FieldError::not_found(at, &value.into()));
    }

    /// A text is too long.
    pub(crate) fn too_long(&mut self, at: impl Place, max: usize) {
        self.found.push(FieldError::too_long(at, max));
    }

    /// A list is too long.
    pub(crate) fn too_many(&mut self, at: impl Place, count: usize, max: usize) {
        self.found.push(FieldError::too_many(at, count, max));
    }

    /// A number must be that of a port.
    pub(crate) fn port(&mut self, at: impl Place, number: i32) {
        for why in names::port_number(number.into()) {
            self.invalid(at, number, &why);
        }
    }

    /// A text must be the transport protocol of a port.
    pub(crate) fn protocol(&mut self, at: impl Place, protocol: &str) {
        self.filled_one_of(at, protocol, PROTOCOLS);
    }

    /// A text must be an application protocol, if it is there.
    pub(crate) fn app_protocol(&mut self, at: impl Place, protocol: &Option<String>) {
        if let Some(text) = protocol {
            self.all(at, text, names::qualified(text));
        }
    }

    /// A text must be an address that an endpoint, or the outside of a service, may have.
    pub(crate) fn endpoint_ip(&mut self, at: impl Place, address: &str) {
        let Some(ip) = names::parse_ip(address) else {
            return self.invalid(at, address, "must be a valid IP address");
        };
        let (link_local, link_local_multicast) = match ip {
            IpAddr::V4(four) => (four.is_link_local(), four.octets().starts_with(&[224, 0, 0])),
            IpAddr::V6(six) => (six.is_unicast_link_local(), six.segments()[0] & 0xff0f == 0xff02),
        };
        let unspecified = format!("may not be unspecified ({address})");
        let rules = [
            (ip.is_unspecified(), unspecified.as_str()),
            (ip.is_loopback(), "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
            (link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
            (link_local_multicast, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
        ];
        for (_, why) in rules.iter().filter(|(broken, _)| *broken) {
            self.invalid(at, address, why);
        }
    }

    /// A text must be a domain with a path behind it, such as `acme.io/foo`.
    pub(crate) fn domain_prefixed_path(&mut self, at: impl Place, text: &str) {
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

    /// A map must be one of labels.
    pub(crate) fn labels(&mut self, at: &Path<'_>, labels: &BTreeMap<String, String>) {
        self.extend(meta::label_pairs(pairs(labels), &at.to_string()));
    }

    /// A map must be one of annotations.
    pub(crate) fn annotations(&mut self, at: &Path<'_>, annotations: &BTreeMap<String, String>) {
        self.extend(meta::annotation_pairs(pairs(annotations), &at.to_string()));
    }

    /// A number may not be negative.
    pub(crate) fn non_negative(&mut self, at: impl Place, number: i64) {
        if number < 0 {
            self.invalid(at, number, "must be greater than or equal to 0");
        }
    }
}

fn pairs(map: &BTreeMap<String, String>) -> impl Iterator<Item = (&str, &str)> {
    map.iter().map(|(key, value)| (key.as_str(), value.as_str()))
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
