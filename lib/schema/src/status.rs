//! Errors as Kubernetes says them: one field that is wrong, and the `Status` that a client gets.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

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
        Self::new(FieldErrorKind::Invalid, field, format!("{value}: {detail}"))
    }

    /// A value that may not be set or changed.
    pub fn forbidden(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Forbidden, field, detail)
    }

    /// A value outside a closed set, which is listed in the order given.
    pub fn not_supported(field: impl Into<String>, value: &Value, supported: &[&str]) -> Self {
        let listed: Vec<String> = supported.iter().map(|one| format!("{one:?}")).collect();
        Self::new(FieldErrorKind::NotSupported, field, format!("{value}: supported values: {}", listed.join(", ")))
    }

    /// A value that is there twice.
    pub fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        Self::new(FieldErrorKind::Duplicate, field, value.to_string())
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

    /// Whether the history asked for is gone and a new list is needed.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        matches!(self.reason(), Reason::Expired | Reason::Gone)
    }
}
