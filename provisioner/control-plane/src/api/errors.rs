//! What went wrong here, as a `Status`: how a Status is made stands in `kprov_schema::status`.

use jiff::Timestamp;
use kprov_schema::{FieldError, Kind, Resource, Status};
use serde_json::{Map, Value, json};

use crate::store::{CommitError, ReadError};

/// The forms that every object comes in.
const REPRESENTATIONS: &[&str] = &[
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf;stream=watch",
];

/// The object is not there.
pub(crate) fn not_found(resource: &Resource, name: &str) -> Status {
    Status::not_found(resource, name)
}

/// The path names nothing that is served.
pub(crate) fn no_such_path() -> Status {
    Status::no_route()
}

/// The path is served, but not for this method.
pub(crate) fn method_not_allowed() -> Status {
    Status::method_not_allowed()
}

/// An object of that name is there.
pub(crate) fn already_exists(resource: &Resource, name: &str, deleting: bool) -> Status {
    let mut status = Status::exists(resource, name);
    if deleting {
        status.message.insert_str(0, "object is being deleted: ");
    }
    status
}

/// The object is not in the state that the request rests on. `what` is a plural, a kind or `pods/binding`.
pub(crate) fn conflict(resource: &Resource, what: &str, name: &str, message: &str) -> Status {
    Status::conflict(resource, what, name, message)
}

/// The object is not the one that a deletion means.
pub(crate) fn precondition(kind: &Kind, name: &str, message: &str) -> Status {
    Status::conflict(kind.stored_resource(), &kind.kind, name, message)
}

/// The object changed since the client read it.
pub(crate) fn modified(resource: &Resource, name: &str) -> Status {
    Status::modified(resource, name)
}

/// The object can't be written as it is.
pub(crate) fn invalid(kind: &Kind, name: &str, errors: &[FieldError]) -> Status {
    kind.invalid(name, errors)
}

/// The same for what is no kind of the table, such as options.
pub(crate) fn invalid_as(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Status {
    Status::invalid(group, kind, name, errors)
}

/// The request can't be read.
pub(crate) fn bad_request(message: impl Into<String>) -> Status {
    Status::bad_request(message)
}

/// Nobody was recognized.
pub(crate) fn unauthorized() -> Status {
    Status::unauthorized()
}

/// An admission step refuses.
pub(crate) fn forbidden(resource: &Resource, name: &str, message: &str) -> Status {
    Status::forbidden(resource, name, message)
}

/// A path that is no resource is not for this user.
pub(crate) fn forbidden_path(message: String) -> Status {
    let mut status = Status::failure(403, "Forbidden", message);
    status.details = Some(Map::new());
    status
}

/// The namespace is being deleted: nothing new goes in.
pub(crate) fn terminating(resource: &Resource, name: &str, namespace: &str) -> Status {
    let message = format!("unable to create new content in namespace {namespace} because it is being terminated");
    let cause = format!("namespace {namespace} is being terminated");
    Status::forbidden(resource, name, message).with_cause("NamespaceTerminating", &cause, "metadata.namespace")
}

/// The kind is being deleted: nothing new is created.
pub(crate) fn ending(resource: &Resource) -> Status {
    let mut status = Status::method_not_allowed();
    status.message = "create not allowed while custom resource definition is terminating".to_owned();
    status.detail("group", resource.group.as_ref().into());
    status.detail("kind", resource.plural.as_ref().into());
    status
}

/// No representation that the client accepts.
pub(crate) fn not_acceptable() -> Status {
    Status::not_acceptable(REPRESENTATIONS)
}

/// A body of an unknown type.
pub(crate) fn unknown_format(accepted: &[&str]) -> Status {
    Status::unsupported_body(accepted)
}

/// A patch of an unknown type.
pub(crate) fn unsupported_patch() -> Status {
    Status::unsupported_media()
}

/// A body beyond the limit.
pub(crate) fn too_large(limit: usize) -> Status {
    Status::too_large(limit)
}

/// Something broke that is not the client's fault.
pub(crate) fn internal(message: impl std::fmt::Display) -> Status {
    Status::internal(message)
}

/// An error that upstream gives no reason for.
pub(crate) fn plain(code: u16, message: impl Into<String>) -> Status {
    Status::failure(code, "", message)
}

/// A moment of the log that has not come yet.
pub(crate) fn too_large_version(asked: u64, head: u64) -> Status {
    Status::future_revision(asked, head)
}

/// A moment of the log that is gone.
pub(crate) fn expired(message: impl Into<String>) -> Status {
    Status::expired(message)
}

/// The server is going down or can't write.
pub(crate) fn unavailable(message: impl Into<String>) -> Status {
    Status::unavailable(message)
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
    status.to_json()
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
    let mut status = Status::not_found(resource, name);
    status.detail("uid", uid.into());
    status.details.into_iter().map(Value::Object).next().unwrap_or_default()
}

/// A moment as `metadata` writes it: whole seconds, UTC.
pub(crate) fn seconds(moment: Timestamp) -> Value {
    let whole = Timestamp::from_second(moment.as_second()).unwrap_or(moment);
    whole.to_string().into()
}
