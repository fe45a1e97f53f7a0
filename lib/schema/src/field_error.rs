//! What is wrong with one field of an object, in upstream's words.

use std::fmt::{self, Write as _};

use serde_json::{Value, json};

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

    /// The mistake as a cause of a [`crate::status::Status`].
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
        other => shown_json(other),
    }
}

/// A value as Go writes JSON.
pub(crate) fn shown_json(value: &Value) -> String {
    value.to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
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
}
