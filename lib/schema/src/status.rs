//! How a request ended, as a client reads it.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub use crate::field_error::{FieldError, FieldErrorKind, aggregate, quoted, shown};
use crate::key::Resource;

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
    /// Advice that came up before the failure, see [`Self::warnings`]; mostly there is none.
    pub advice: Option<Arc<Vec<String>>>,
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
        Self { code, reason: reason.into(), message: message.into(), details: None, next: None, advice: None }
    }

    /// The same with advice that came up before.
    #[must_use]
    pub fn advised(mut self, warnings: &[String]) -> Self {
        if !warnings.is_empty() {
            self.advice = Some(Arc::new(warnings.iter().chain(self.warnings()).cloned().collect()));
        }
        self
    }

    /// Texts for the `Warning` headers that go back with the failure.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        self.advice.as_ref().map_or(&[], |advice| advice.as_slice())
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

    /// 409: the object is not in the state that the request rests on; `why` says how.
    ///
    /// `what` is the resource's plural, the kind, or a part such as `pods/binding`: upstream names it differently by place.
    #[must_use]
    pub fn conflict(resource: &Resource, what: &str, name: &str, why: impl fmt::Display) -> Self {
        let shown = match (what == resource.plural, resource.group.as_ref()) {
            (true, _) => resource.to_string(),
            (false, "") => what.to_owned(),
            (false, group) => format!("{what}.{group}"),
        };
        let message = format!("Operation cannot be fulfilled on {shown} {}: {why}", quoted(name));
        let mut status = Self::failure(409, "Conflict", message);
        status.details = Some(details(name, &resource.group, what));
        status
    }

    /// 409: the object was written by someone else since it was read.
    #[must_use]
    pub fn modified(resource: &Resource, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(resource, &resource.plural, name, why)
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
            advice: None,
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
