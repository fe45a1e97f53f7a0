//! How deep values nest, and how deep they may.

use serde_json::{Map, Value};

use crate::object::Object;

/// Maps and lists inside each other that an object may have.
///
/// What is stored is read again as JSON, whose reader follows 127. Managed fields nest up to five deeper than what they are
/// about, and come back with the object.
pub(crate) const DEEPEST: usize = 110;
/// Of these, what managed fields may need more.
const OWNERS: usize = 8;

/// Why something is refused that nests deeper; the words of upstream's reader.
pub(crate) const TOO_DEEP: &str = "exceeded max depth";

/// Maps and lists inside each other: 0 for a scalar, 1 for an empty list.
pub(crate) fn of(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(of).max().unwrap_or_default(),
        Value::Object(map) => of_map(map),
        _ => 0,
    }
}

fn of_map(map: &Map<String, Value>) -> usize {
    1 + map.values().map(of).max().unwrap_or_default()
}

/// Whether an object can be kept. Errors are [`TOO_DEEP`].
pub(crate) fn check(object: &Object) -> Result<(), String> {
    let most = |field: &str| if field == "metadata" { DEEPEST } else { DEEPEST - OWNERS };
    let fits = object.map().iter().all(|(field, value)| of(value) < most(field));
    if fits { Ok(()) } else { Err(TOO_DEEP.to_owned()) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn counts_maps_and_lists() {
        for (value, want) in [(json!(1), 0), (json!([]), 1), (json!({"a": 1}), 1), (json!([1, {"a": [[]]}, []]), 4)] {
            assert_eq!(of(&value), want, "{value}");
        }
    }
}
