//! What went wrong, in the words and codes of a `Status`.

use jiff::Timestamp;
use kprov_schema::{FieldError, Kind, Resource, Status};
use serde_json::{Map, Value, json};

use crate::store::{CommitError, ReadError};

fn details(resource: &Resource, kind: &str, name: &str) -> Map<String, Value> {
    let mut details = Map::new();
    for (key, value) in [("name", name), ("group", &resource.group), ("kind", kind)] {
        if !value.is_empty() {
            details.insert(key.to_owned(), value.into());
        }
    }
    details
}

fn with_details(code: u16, reason: &str, message: String, details: Map<String, Value>) -> Status {
    Status { details: Some(details), ..Status::failure(code, reason, message) }
}

/// The object is not there.
pub(crate) fn not_found(resource: &Resource, name: &str) -> Status {
    let message = format!("{resource} \"{name}\" not found");
    with_details(404, "NotFound", message, details(resource, &resource.plural, name))
}

/// The path names nothing that is served.
pub(crate) fn no_such_path() -> Status {
    with_details(404, "NotFound", "the server could not find the requested resource".into(), Map::new())
}

/// The path is served, but not for this method.
pub(crate) fn method_not_allowed() -> Status {
    let message = "the server does not allow this method on the requested resource";
    with_details(405, "MethodNotAllowed", message.into(), Map::new())
}

/// An object of that name is there.
pub(crate) fn already_exists(resource: &Resource, name: &str, deleting: bool) -> Status {
    let prefix = if deleting { "object is being deleted: " } else { "" };
    let message = format!("{prefix}{resource} \"{name}\" already exists");
    with_details(409, "AlreadyExists", message, details(resource, &resource.plural, name))
}

/// The object is not in the state that the request rests on. `what` is a plural, a kind or `pods/binding`.
pub(crate) fn conflict(resource: &Resource, what: &str, name: &str, message: &str) -> Status {
    let shown = if what == resource.plural { resource.to_string() } else { what.to_owned() };
    let message = format!("Operation cannot be fulfilled on {shown} \"{name}\": {message}");
    with_details(409, "Conflict", message, details(resource, what, name))
}

/// The object changed since the client read it.
pub(crate) fn modified(resource: &Resource, name: &str) -> Status {
    const MESSAGE: &str = "the object has been modified; please apply your changes to the latest version and try again";
    conflict(resource, &resource.plural, name, MESSAGE)
}

/// The object can't be written as it is.
pub(crate) fn invalid(kind: &Kind, name: &str, errors: &[FieldError]) -> Status {
    invalid_as(&kind.stored_resource().group, &kind.kind, name, errors)
}

/// The same for what is no kind of the table, such as options.
pub(crate) fn invalid_as(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Status {
    let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
    let message = format!("{qualified} \"{name}\" is invalid: {}", together(errors));
    let cause =
        |error: &FieldError| json!({"reason": error.kind.reason(), "message": error.body(), "field": error.field});
    let mut details = Map::new();
    for (key, value) in [("name", name), ("group", group), ("kind", kind)] {
        if !value.is_empty() {
            details.insert(key.to_owned(), value.into());
        }
    }
    details.insert("causes".to_owned(), errors.iter().map(cause).collect());
    with_details(422, "Invalid", message, details)
}

/// Errors as one text, equal ones once.
fn together(errors: &[FieldError]) -> String {
    let mut texts: Vec<String> = Vec::with_capacity(errors.len());
    for error in errors {
        let text = error.to_string();
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    match texts.as_slice() {
        [one] => one.clone(),
        all => format!("[{}]", all.join(", ")),
    }
}

/// The request can't be read.
pub(crate) fn bad_request(message: impl Into<String>) -> Status {
    Status::failure(400, "BadRequest", message)
}

/// Nobody was recognized.
pub(crate) fn unauthorized() -> Status {
    Status::failure(401, "Unauthorized", "Unauthorized")
}

/// An admission step refuses.
pub(crate) fn forbidden(resource: &Resource, name: &str, message: &str) -> Status {
    let shown = if name.is_empty() { resource.to_string() } else { format!("{resource} \"{name}\"") };
    let message = format!("{shown} is forbidden: {message}");
    with_details(403, "Forbidden", message, details(resource, &resource.plural, name))
}

/// A path that is no resource is not for this user.
pub(crate) fn forbidden_path(message: String) -> Status {
    with_details(403, "Forbidden", message, Map::new())
}

/// The namespace is being deleted: nothing new goes in.
pub(crate) fn terminating(resource: &Resource, name: &str, namespace: &str) -> Status {
    let message = format!("unable to create new content in namespace {namespace} because it is being terminated");
    let mut status = forbidden(resource, name, &message);
    let cause = json!([{
        "reason": "NamespaceTerminating",
        "message": format!("namespace {namespace} is being terminated"),
        "field": "metadata.namespace",
    }]);
    if let Some(details) = &mut status.details {
        details.insert("causes".to_owned(), cause);
    }
    status
}

/// No representation that the client accepts.
pub(crate) fn not_acceptable() -> Status {
    const MESSAGE: &str = "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, \
                           application/vnd.kubernetes.protobuf, application/json;stream=watch, \
                           application/vnd.kubernetes.protobuf;stream=watch";
    with_details(406, "NotAcceptable", MESSAGE.into(), Map::new())
}

/// A body of an unknown type.
pub(crate) fn unknown_format(accepted: &[&str]) -> Status {
    let message = format!(
        "the body of the request was in an unknown format - accepted media types include: {}",
        accepted.join(", ")
    );
    Status::failure(415, "UnsupportedMediaType", message)
}

/// A patch of an unknown type.
pub(crate) fn unsupported_patch() -> Status {
    with_details(415, "UnsupportedMediaType", "415: Unsupported Media Type".into(), Map::new())
}

/// A body beyond the limit.
pub(crate) fn too_large(limit: usize) -> Status {
    Status::failure(413, "RequestEntityTooLarge", format!("Request entity too large: limit is {limit}"))
}

/// Something broke that is not the client's fault.
pub(crate) fn internal(message: impl std::fmt::Display) -> Status {
    let message = format!("Internal error occurred: {message}");
    let details = json!({"causes": [{"message": message.trim_start_matches("Internal error occurred: ")}]});
    let details = details.as_object().cloned().unwrap_or_default();
    with_details(500, "InternalError", message, details)
}

/// An error that upstream gives no reason for.
pub(crate) fn plain(code: u16, message: impl Into<String>) -> Status {
    Status::failure(code, "", message)
}

/// A moment of the log that has not come yet.
pub(crate) fn too_large_version(asked: u64, head: u64) -> Status {
    let details = json!({
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    });
    let message = format!("Timeout: Too large resource version: {asked}, current: {head}");
    with_details(504, "Timeout", message, details.as_object().cloned().unwrap_or_default())
}

/// A moment of the log that is gone.
pub(crate) fn expired(message: impl Into<String>) -> Status {
    Status::failure(410, "Expired", message)
}

/// The server is going down or can't write.
pub(crate) fn unavailable(message: impl Into<String>) -> Status {
    Status::failure(503, "ServiceUnavailable", message)
}

/// A list at a revision that can't be read.
pub(crate) fn unreadable(error: ReadError) -> Status {
    match error {
        ReadError::Compacted { .. } => expired("The resourceVersion for the provided list is too old."),
        ReadError::Ahead { asked, head } => too_large_version(asked.0, head.0),
    }
}

/// A write that the store did not take, for another reason than a conflict.
pub(crate) fn uncommitted(error: &CommitError) -> Status {
    match error {
        CommitError::Conflict { key, .. } => internal(format!("{key} was not as expected")),
        CommitError::Full { .. } | CommitError::Failed { .. } | CommitError::Closed => unavailable(error.to_string()),
        CommitError::Twice { .. } => internal(error),
    }
}

/// The `Status` as an object on the wire.
pub(crate) fn to_value(status: &Status) -> Value {
    let mut metadata = Map::new();
    if let Some(next) = &status.next {
        metadata.insert("continue".to_owned(), next.as_str().into());
    }
    let mut value = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": metadata,
        "status": "Failure", "message": status.message, "code": status.code,
    });
    if !status.reason.is_empty() {
        value["reason"] = status.reason.as_str().into();
    }
    if let Some(details) = &status.details {
        value["details"] = Value::Object(details.clone());
    }
    value
}

/// That something was done, with what it was done to.
pub(crate) fn success(code: Option<u16>, details: Option<Value>) -> Value {
    let mut value = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"});
    if let Some(code) = code {
        value["code"] = code.into();
    }
    if let Some(details) = details {
        value["details"] = details;
    }
    value
}

/// `details` of a deletion that is done.
pub(crate) fn deleted_details(resource: &Resource, name: &str, uid: &str) -> Value {
    let mut details = details(resource, &resource.plural, name);
    details.insert("uid".to_owned(), uid.into());
    Value::Object(details)
}

/// A moment as `metadata` writes it: whole seconds, UTC.
pub(crate) fn seconds(moment: Timestamp) -> Value {
    let whole = Timestamp::from_second(moment.as_second()).unwrap_or(moment);
    whole.to_string().into()
}
