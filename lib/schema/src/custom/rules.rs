//! Rules of a custom resource in CEL, `x-kubernetes-validations`.

use kube_cel::{CompiledSchema, ErrorKind, ValidationError, Validator, compile_schema};
use serde_json::Value;

use crate::status::{FieldError, FieldErrorKind};

/// The rules of a schema, compiled.
pub(super) struct Rules(CompiledSchema);

impl Rules {
    /// Compiles the rules of a schema. Errors say which one is not understood.
    pub(super) fn compile(schema: &Value) -> Result<Self, String> {
        let compiled = compile_schema(schema);
        match compiled.compilation_errors().first() {
            Some(error) => Err(format!("x-kubernetes-validations: {error}")),
            None => Ok(Self(compiled)),
        }
    }

    /// The rules that an object breaks. What an update leaves unchanged is not looked at again.
    pub(super) fn check(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let Err(errors) = Validator::new().validate_compiled(&self.0, object, old) else { return Vec::new() };
        let changed = |error: &ValidationError| {
            let path = pointer(&error.field_path);
            old.is_none_or(|old| old.pointer(&path).is_none() || old.pointer(&path) != object.pointer(&path))
        };
        errors.into_vec().iter().filter(|error| changed(error)).map(|error| told(error, object)).collect()
    }
}

/// `spec.ports[0].port` as a JSON pointer.
fn pointer(path: &str) -> String {
    let parts = path.split(['.', '[']).map(|part| part.trim_end_matches(']')).filter(|part| !part.is_empty());
    parts.fold(String::new(), |pointer, part| pointer + "/" + &part.replace('~', "~0").replace('/', "~1"))
}

fn told(error: &ValidationError, object: &Value) -> FieldError {
    let kind = match error.reason.as_deref() {
        Some("FieldValueRequired") => FieldErrorKind::Required,
        Some("FieldValueForbidden") => FieldErrorKind::Forbidden,
        Some("FieldValueDuplicate") => FieldErrorKind::Duplicate,
        _ => FieldErrorKind::Invalid,
    };
    let message = match error.kind {
        ErrorKind::ValidationFailure => error.message.clone(),
        _ => format!("{} evaluation error: {}", error.rule, error.message),
    };
    let value = object.pointer(&pointer(&error.field_path)).filter(|value| !value.is_object() && !value.is_array());
    let detail = match (kind, value) {
        (FieldErrorKind::Invalid, Some(value)) => format!("{value}: {message}"),
        _ => message,
    };
    let field = if error.field_path.is_empty() { "<nil>" } else { &error.field_path };
    FieldError::new(kind, field, detail)
}
