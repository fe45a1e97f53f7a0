//! Patches of objects: from the current object and a patch to the object that is wanted.
//!
//! Server-side apply is not among them: it needs the owners of fields (`managed`).

use serde_json::{Map, Value, json};

use crate::decode::{self, Decoded, Target, Validation};
use crate::object::Object;
use crate::status::Status;

pub mod json;
pub mod merge;
pub mod strategic;

/// Operations that one JSON patch may have, as upstream's server has it.
const MOST_OPERATIONS: usize = 10_000;
/// Bytes of a patch, or of what it made, that an error shows.
const MOST_SHOWN: usize = 4 << 10;

/// The language of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `application/json-patch+json`: a list of operations.
    Json,
    /// `application/merge-patch+json`: maps are merged, everything else is replaced.
    Merge,
    /// `application/strategic-merge-patch+json`: lists are merged by the keys that the structure names.
    Strategic,
}

/// Applies a patch and reads the outcome as an object of the target's kind.
///
/// Errors: 400 when the patch is malformed, 413 when it has too many operations, 422 when it does not apply or its outcome does not decode,
/// 500 when the structure does not allow a strategic merge there.
pub fn apply(
    target: &Target,
    current: &Object,
    format: Format,
    patch: &[u8],
    validation: Validation,
) -> Result<Decoded, Status> {
    let (patch, complaints) = decode::untyped(patch).map_err(|error| undecodable(format, &error))?;
    let current = Value::from(current.clone());
    let (patched, shown) = match format {
        Format::Json => {
            let operations = json::operations(patch).map_err(|error| undecodable(format, &error))?;
            if operations.len() > MOST_OPERATIONS {
                return Err(too_many(operations.len()));
            }
            let patched = json::apply(current, &operations).map_err(|_| unprocessable())?;
            let shown = patched.to_string();
            (patched, shown)
        }
        Format::Merge => {
            let mut patched = current;
            merge::apply(&mut patched, document(format, patch)?.into());
            let shown = patched.to_string();
            (patched, shown)
        }
        Format::Strategic => {
            let patch = document(format, patch)?;
            let shown = strategic::go_text(&Value::Object(patch.clone()));
            (strategic::apply(&target.structure, current, patch).map_err(Status::from)?, shown)
        }
    };
    decode::patched(target, patched, complaints, validation).map_err(|error| invalid(&shown, &error))
}

/// A patch that must be a map.
fn document(format: Format, patch: Value) -> Result<Map<String, Value>, Status> {
    let found = match patch {
        Value::Object(map) => return Ok(map),
        Value::Null if format == Format::Strategic => return Ok(Map::new()),
        Value::Null => return Err(Status::failure(400, "BadRequest", "Invalid JSON Patch")),
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Number(_) => "number",
        Value::Bool(_) => "bool",
    };
    Err(undecodable(format, &format!("json: cannot unmarshal {found} into Go value of type map[string]interface {{}}")))
}

fn undecodable(format: Format, error: &str) -> Status {
    let prefix = if format == Format::Strategic { "" } else { "error decoding patch: " };
    Status::failure(400, "BadRequest", format!("{prefix}{error}"))
}

fn too_many(operations: usize) -> Status {
    let text = format!(
        "Request entity too large: The allowed maximum operations in a JSON patch is {MOST_OPERATIONS}, got {operations}"
    );
    Status::failure(413, "RequestEntityTooLarge", text)
}

/// A patch that does not apply; upstream does not say why.
fn unprocessable() -> Status {
    let text = "the server rejected our request due to an error in our request";
    Status { details: Some(Map::new()), ..Status::failure(422, "Invalid", text) }
}

/// A patch whose outcome is no object of the kind.
fn invalid(shown: &str, error: &str) -> Status {
    let body = format!("Invalid value: {:?}: {}", start(shown), start(error));
    let cause = json!({"reason": "FieldValueInvalid", "message": body, "field": "patch"});
    let mut details = Map::new();
    details.insert("causes".to_owned(), json!([cause]));
    Status { details: Some(details), ..Status::failure(422, "Invalid", format!(" \"\" is invalid: patch: {body}")) }
}

/// As much of a text as an error shows: an object may have megabytes.
fn start(text: &str) -> std::borrow::Cow<'_, str> {
    if text.len() <= MOST_SHOWN {
        return text.into();
    }
    format!("{}...", &text[..text.floor_char_boundary(MOST_SHOWN)]).into()
}
