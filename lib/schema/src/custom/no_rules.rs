//! Stands in for rules in CEL where the crate is built without them: a definition that has some is refused.

use serde_json::Value;

use crate::status::FieldError;

/// There are none.
pub(super) enum Rules {}

impl Rules {
    /// Always an error.
    pub(super) fn compile(_: &Value) -> Result<Self, String> {
        Err("x-kubernetes-validations: rules in CEL need the feature `cel`".to_owned())
    }

    /// Never called: there is no value to call it on.
    pub(super) fn check(&self, _: &Value, _: Option<&Value>) -> Vec<FieldError> {
        match *self {}
    }
}

/// Always an error.
pub(super) fn wrong(_: &Value, _: usize) -> Option<String> {
    Some("rules in CEL need the feature `cel`".to_owned())
}

/// Nothing is known of it.
pub(super) fn expression_error(_: &str, _: &[&str]) -> Option<String> {
    None
}
