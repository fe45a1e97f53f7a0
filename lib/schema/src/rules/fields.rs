//! Optional fields read as upstream reads them: absent and empty are the same.

use serde_json::{Value, json};

/// A text, empty when absent.
pub(crate) fn text(field: &Option<String>) -> &str {
    field.as_deref().unwrap_or_default()
}

/// A list, empty when absent.
pub(crate) fn list<T>(field: &Option<Vec<T>>) -> &[T] {
    field.as_deref().unwrap_or_default()
}

/// A number, 0 when absent.
pub(crate) fn number(field: Option<i32>) -> i32 {
    field.unwrap_or_default()
}

/// Fills in a text that is absent or empty.
pub(crate) fn fill(field: &mut Option<String>, value: &str) {
    if text(field).is_empty() {
        *field = Some(value.to_owned());
    }
}

/// A list of texts as JSON, for a complaint.
pub(crate) fn listed(texts: &[String]) -> Value {
    if texts.is_empty() { Value::Null } else { json!(texts) }
}
