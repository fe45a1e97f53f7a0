//! Errors as Kubernetes says them: one field that is wrong, and the `Status` that a client gets.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::key::Resource;

/// What is wrong with one field. Its text is `<field>: <kind>: <detail>`.
///
/// Source: apimachinery `field.Error`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// What sort of mistake.
    pub kind: FieldErrorKind,
    /// Path of the field, such as `spec.containers[0].name`.
    pub field: String,
    /// What stands behind the kind, the bad value included where upstream shows it; may be empty.
    pub detail: String,
}

/// The sorts of mistakes, with upstream's names for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FieldErrorKind {
    /// A value is missing.
    Required,
    /// A value is malformed or out of range.
    Invalid,
    /// A value is not one of a closed set.
    NotSupported,
    /// A value that must be unique is there twice.
    Duplicate,
    /// A value may not be set or changed here.
    Forbidden,
    /// A text or list of bytes is too long.
    TooLong,
    /// A list has too many items.
    TooMany,
    /// A value refers to something that is not there.
    NotFound,
    /// A value has the wrong type.
    TypeInvalid,
    /// Something broke that is not the client's fault.
    Internal,
}

impl FieldErrorKind {
    /// Upstream's text for the kind, such as `Invalid value`.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Duplicate => "Duplicate value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::NotFound => "Not found",
            Self::Internal => "Internal error",
        }
    }

    /// The `reason` of the cause in a `Status`, such as `FieldValueInvalid`.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::NotFound => "FieldValueNotFound",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::Internal => "InternalError",
        }
    }
}

impl FieldError {
    /// A mistake of `kind` at `field`, with upstream's words behind it.
    pub fn new(kind: FieldErrorKind, field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { kind, field: field.into(), detail: detail.into() }
    }

    /// A missing value.
    pub fn required(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Required, field, detail)
    }

    /// A bad value, shown as upstream shows it: texts quoted, structures as JSON.
    pub fn invalid(field: impl Into<String>, value: &Value, detail: &str) -> Self {
        Self::new(FieldErrorKind::Invalid, field, format!("{}: {detail}", shown(value)))
    }

    /// A bad text.
    pub fn invalid_text(field: impl Into<String>, text: &str, detail: &str) -> Self {
        Self::new(FieldErrorKind::Invalid, field, format!("{}: {detail}", quoted(text)))
    }

    /// A text, or the texts of a map, that hold too many bytes.
    pub fn too_long(field: impl Into<String>, max: usize) -> Self {
        Self::new(FieldErrorKind::TooLong, field, format!("may not be more than {max} bytes"))
    }

    /// A list with too many items.
    pub fn too_many(field: impl Into<String>, count: usize, max: usize) -> Self {
        let items = if max == 1 { "item" } else { "items" };
        Self::new(FieldErrorKind::TooMany, field, format!("{count}: must have at most {max} {items}"))
    }

    /// A value that refers to something that is not there.
    pub fn not_found(field: impl Into<String>, value: &Value) -> Self {
        Self::new(FieldErrorKind::NotFound, field, shown(value))
    }

    /// A value that may not be set or changed.
    pub fn forbidden(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Forbidden, field, detail)
    }

    /// A value outside a closed set, which is listed in the order given.
    pub fn not_supported(field: impl Into<String>, value: &Value, supported: &[&str]) -> Self {
        let listed: Vec<String> = supported.iter().map(|one| format!("{one:?}")).collect();
        let detail = format!("{}: supported values: {}", shown(value), listed.join(", "));
        Self::new(FieldErrorKind::NotSupported, field, detail)
    }

    /// A value that is there twice.
    pub fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        Self::new(FieldErrorKind::Duplicate, field, shown(value))
    }

    /// The mistake as a cause of a [`Status`].
    #[must_use]
    pub fn cause(&self) -> Value {
        json!({"reason": self.kind.reason(), "message": self.body(), "field": self.field})
    }

    /// What stands behind the field in a cause: `Invalid value: "x": must be ...`.
    #[must_use]
    pub fn body(&self) -> String {
        if self.detail.is_empty() {
            self.kind.text().to_owned()
        } else {
            format!("{}: {}", self.kind.text(), self.detail)
        }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}

/// A text between quotes, escaped as Go does.
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for one in text.chars() {
        match one {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            one if u32::from(one) < 0x20 || one == '\u{7f}' => {
                let _ = write!(out, "\\x{:02x}", u32::from(one));
            }
            one if one.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(one));
            }
            one => out.push(one),
        }
    }
    out.push('"');
    out
}

/// A bad value as upstream shows it: texts quoted, structures as Go writes JSON.
#[must_use]
pub fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(_) | Value::Object(_) => {
            value.to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
        }
        other => other.to_string(),
    }
}

/// Several mistakes in one line, each said once.
#[must_use]
pub fn aggregate(errors: &[FieldError]) -> String {
    let mut said: Vec<String> = Vec::new();
    for text in errors.iter().map(ToString::to_string) {
        if !said.contains(&text) {
            said.push(text);
        }
    }
    match &said[..] {
        [only] => only.clone(),
        all => format!("[{}]", all.join(", ")),
    }
}

/// Machine-readable reasons of a `Status` that kprov acts on or makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are Kubernetes' own reasons, documented there")]
pub enum Reason {
    Unauthorized,
    Forbidden,
    NotFound,
    AlreadyExists,
    Conflict,
    Gone,
    Invalid,
    ServerTimeout,
    Timeout,
    TooManyRequests,
    BadRequest,
    MethodNotAllowed,
    NotAcceptable,
    RequestEntityTooLarge,
    UnsupportedMediaType,
    InternalError,
    Expired,
    ServiceUnavailable,
    #[serde(rename = "")]
    Unknown,
    #[serde(other)]
    Other,
}

/// A `v1 Status`: how a request ended, as clients read it.
///
/// Source: <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/>
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// HTTP status code.
    pub code: u16,
    /// Machine-readable reason; empty where upstream leaves it out.
    pub reason: String,
    /// Text for people.
    pub message: String,
    /// Fields of `details`; `None` leaves `details` out, an empty map shows `{}`.
    pub details: Option<Map<String, Value>>,
    /// `metadata.continue`, for an expired continue token.
    pub next: Option<String>,
}

impl std::error::Error for Status {}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Status {
    /// A failure without details.
    pub fn failure(code: u16, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code, reason: reason.into(), message: message.into(), details: None, next: None }
    }

    fn about(code: u16, reason: &str, message: String, resource: &Resource, name: &str) -> Self {
        let mut status = Self::failure(code, reason, message);
        status.details = Some(details(name, &resource.group, &resource.plural));
        status
    }

    /// 404: no object of that name.
    #[must_use]
    pub fn not_found(resource: &Resource, name: &str) -> Self {
        Self::about(404, "NotFound", format!("{resource} {} not found", quoted(name)), resource, name)
    }

    /// 404: no such resource or path below the API.
    #[must_use]
    pub fn no_route() -> Self {
        let mut status = Self::failure(404, "NotFound", "the server could not find the requested resource");
        status.details = Some(Map::new());
        status
    }

    /// 409: an object of that name is there already.
    #[must_use]
    pub fn exists(resource: &Resource, name: &str) -> Self {
        Self::about(409, "AlreadyExists", format!("{resource} {} already exists", quoted(name)), resource, name)
    }

    /// 409: the object has changed in between, or `why` says what did not fit.
    #[must_use]
    pub fn conflict(resource: &Resource, name: &str, why: impl fmt::Display) -> Self {
        let message = format!("Operation cannot be fulfilled on {resource} {}: {why}", quoted(name));
        Self::about(409, "Conflict", message, resource, name)
    }

    /// 409: the object was written by someone else since it was read.
    #[must_use]
    pub fn modified(resource: &Resource, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(resource, name, why)
    }

    /// 422: the object, of a kind of a group, has mistakes.
    #[must_use]
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Self {
        let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let mut message = format!("{qualified} {} is invalid", quoted(name));
        if !errors.is_empty() {
            let _ = write!(message, ": {}", aggregate(errors));
        }
        let mut status = Self::failure(422, "Invalid", message);
        let mut all = details(name, group, kind);
        let causes: Vec<Value> = errors.iter().map(FieldError::cause).collect();
        if !causes.is_empty() {
            all.insert("causes".to_owned(), Value::Array(causes));
        }
        status.details = Some(all);
        status
    }

    /// 403: the request on a resource is refused.
    #[must_use]
    pub fn forbidden(resource: &Resource, name: &str, why: impl fmt::Display) -> Self {
        let message = if resource.plural.is_empty() {
            format!("forbidden: {why}")
        } else if name.is_empty() {
            format!("{resource} is forbidden: {why}")
        } else {
            format!("{resource} {} is forbidden: {why}", quoted(name))
        };
        Self::about(403, "Forbidden", message, resource, name)
    }

    /// 400 without details: the request can't be understood.
    pub fn bad_request(why: impl Into<String>) -> Self {
        Self::failure(400, "BadRequest", why)
    }

    /// 401: who asks is not known.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::failure(401, "Unauthorized", "Unauthorized")
    }

    /// 405: the resource does not know the verb.
    #[must_use]
    pub fn method_not_allowed() -> Self {
        let why = "the server does not allow this method on the requested resource";
        let mut status = Self::failure(405, "MethodNotAllowed", why);
        status.details = Some(Map::new());
        status
    }

    /// 406: none of the wanted representations is available.
    #[must_use]
    pub fn not_acceptable(available: &[&str]) -> Self {
        let message = format!("406: Not Acceptable\n\nAvailable representations: {}", available.join(", "));
        let mut status = Self::failure(406, "NotAcceptable", message);
        status.details = Some(Map::new());
        status
    }

    /// 415 of a body in a format that is not known, with those that are.
    #[must_use]
    pub fn unsupported_body(accepted: &[&str]) -> Self {
        let why = "the body of the request was in an unknown format - accepted media types include: ";
        Self::failure(415, "UnsupportedMediaType", format!("{why}{}", accepted.join(", ")))
    }

    /// 415 of a patch whose type is not one of patches.
    #[must_use]
    pub fn unsupported_media() -> Self {
        let mut status = Self::failure(415, "UnsupportedMediaType", "415: Unsupported Media Type");
        status.details = Some(Map::new());
        status
    }

    /// 410: the history asked for is gone.
    pub fn expired(why: impl Into<String>) -> Self {
        Self::failure(410, "Expired", why)
    }

    /// 413: the body is larger than `limit` bytes.
    #[must_use]
    pub fn too_large(limit: usize) -> Self {
        let why = format!("Request entity too large: limit is {limit}");
        Self::failure(413, "RequestEntityTooLarge", why)
    }

    /// 504: it did not happen in time; asking again after some seconds may help.
    pub fn timeout(why: impl fmt::Display, retry_after: u32) -> Self {
        let mut status = Self::failure(504, "Timeout", format!("Timeout: {why}"));
        status.details = Some(retry(retry_after));
        status
    }

    /// 504: the revision asked for has not come to pass yet.
    #[must_use]
    pub fn future_revision(asked: u64, current: u64) -> Self {
        let mut status = Self::timeout(format!("Too large resource version: {asked}, current: {current}"), 1);
        let cause = json!({"reason": "ResourceVersionTooLarge", "message": "Too large resource version"});
        status.detail("causes", json!([cause]));
        status
    }

    /// 429: too much for now, or a budget says no; `retry_after` of 0 gives no time.
    pub fn too_many_requests(why: impl Into<String>, retry_after: u32) -> Self {
        let mut status = Self::failure(429, "TooManyRequests", why);
        status.details = Some(retry(retry_after));
        status
    }

    /// 500: something broke that is not the client's fault.
    pub fn internal(why: impl fmt::Display) -> Self {
        let mut status = Self::failure(500, "InternalError", format!("Internal error occurred: {why}"));
        status.detail("causes", json!([{"message": why.to_string()}]));
        status
    }

    /// 503: the server is not ready for this yet.
    pub fn unavailable(why: impl Into<String>) -> Self {
        Self::failure(503, "ServiceUnavailable", why)
    }

    /// Sets one field of `details`.
    pub fn detail(&mut self, name: &str, value: Value) {
        self.details.get_or_insert_default().insert(name.to_owned(), value);
    }

    /// The same with one more cause: its reason, its text, the field that it is about.
    #[must_use]
    pub fn with_cause(mut self, reason: &str, message: &str, field: &str) -> Self {
        let mut cause = Map::new();
        for (name, text) in [("reason", reason), ("message", message), ("field", field)] {
            if !text.is_empty() {
                cause.insert(name.to_owned(), Value::from(text));
            }
        }
        let details = self.details.get_or_insert_default();
        let causes = details.entry("causes").or_insert_with(|| json!([]));
        if let Value::Array(all) = causes {
            all.push(Value::Object(cause));
        }
        self
    }

    /// The answer's body: `metadata` is always there, an empty reason never.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut body = Map::new();
        let mut metadata = Map::new();
        if let Some(next) = &self.next {
            metadata.insert("continue".to_owned(), Value::from(next.as_str()));
        }
        body.insert("kind".to_owned(), Value::from("Status"));
        body.insert("apiVersion".to_owned(), Value::from("v1"));
        body.insert("metadata".to_owned(), Value::Object(metadata));
        body.insert("status".to_owned(), Value::from(if self.code < 400 { "Success" } else { "Failure" }));
        for (name, text) in [("message", &self.message), ("reason", &self.reason)] {
            if !text.is_empty() {
                body.insert(name.to_owned(), Value::from(text.as_str()));
            }
        }
        if let Some(details) = &self.details {
            body.insert("details".to_owned(), Value::Object(details.clone()));
        }
        // A success says its code in the status line alone, except where upstream writes it too.
        if self.code >= 400 {
            body.insert("code".to_owned(), Value::from(self.code));
        }
        Value::Object(body)
    }

    /// Reads the body of an answer; `None` when it is no Status.
    #[must_use]
    pub fn from_json(body: &Value) -> Option<Self> {
        if body.get("kind")?.as_str()? != "Status" {
            return None;
        }
        let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let code = body.get("code").and_then(Value::as_u64).unwrap_or(200);
        Some(Self {
            code: u16::try_from(code).ok()?,
            reason: text("reason"),
            message: text("message"),
            details: body.get("details").and_then(Value::as_object).cloned(),
            next: body.pointer("/metadata/continue").and_then(Value::as_str).map(str::to_owned),
        })
    }

    /// The fields that are wrong, if that is what it says.
    pub fn causes(&self) -> impl Iterator<Item = &Value> {
        self.details.iter().filter_map(|all| all.get("causes")).filter_map(Value::as_array).flatten()
    }

    /// The reason as one of the known ones.
    #[must_use]
    pub fn reason(&self) -> Reason {
        serde_json::from_value(Value::String(self.reason.clone())).unwrap_or(Reason::Other)
    }

    /// Whether the object was not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.reason() == Reason::NotFound
    }

    /// Whether the object changed in between or a precondition failed.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.reason() == Reason::Conflict
    }

    /// Whether an object of that name is there already.
    #[must_use]
    pub fn already_exists(&self) -> bool {
        self.reason() == Reason::AlreadyExists
    }

    /// Whether the path is served, but not for the verb.
    #[must_use]
    pub fn is_method_not_allowed(&self) -> bool {
        self.reason() == Reason::MethodNotAllowed
    }

    /// Whether the history asked for is gone and a new list is needed.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        matches!(self.reason(), Reason::Expired | Reason::Gone)
    }
}

fn details(name: &str, group: &str, kind: &str) -> Map<String, Value> {
    let texts = [("name", name), ("group", group), ("kind", kind)].into_iter();
    texts.filter(|(_, text)| !text.is_empty()).map(|(key, text)| (key.to_owned(), Value::from(text))).collect()
}

fn retry(seconds: u32) -> Map<String, Value> {
    let mut details = Map::new();
    if seconds > 0 {
        details.insert("retryAfterSeconds".to_owned(), Value::from(seconds));
    }
    details
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_as_go_shows_them() {
        assert_eq!(quoted("a\"b\n\u{1}"), r#""a\"b\n\x01""#);
        assert_eq!(shown(&json!({"a": "<b>"})), r#"{"a":"\u003cb\u003e"}"#);
        assert_eq!(FieldError::invalid("a.b", &json!(-1), "too low").to_string(), "a.b: Invalid value: -1: too low");
        assert_eq!(
            FieldError::not_supported("a", &json!("x"), &["b", "c"]).to_string(),
            r#"a: Unsupported value: "x": supported values: "b", "c""#
        );
    }

    #[test]
    fn invalid_names_every_mistake_once() {
        let one = FieldError::required("a", "");
        let status = Status::invalid("apps", "Deployment", "d", &[one.clone(), one]);
        assert_eq!(status.message, "Deployment.apps \"d\" is invalid: a: Required value");
        assert_eq!(status.causes().count(), 2);
        let body = status.to_json();
        assert_eq!(body["metadata"], json!({}));
        assert_eq!(body["details"]["causes"][0]["reason"], "FieldValueRequired");
        assert_eq!(Status::from_json(&body), Some(status));
    }
}
