//! What rules changed, carried over to the object: unknown fields stay.

use serde_json::{Map, Value};

/// Carries what the rules changed between two typed writings over to the object, and nothing else.
pub(super) fn carry(object: &mut Map<String, Value>, before: &Map<String, Value>, after: &Map<String, Value>) {
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        object.remove(key);
    }
    for (key, new) in after {
        match (before.get(key), object.get_mut(key)) {
            (Some(old), _) if old == new => {}
            (Some(Value::Object(old)), Some(Value::Object(inner))) if new.is_object() => {
                carry(inner, old, new.as_object().expect("checked to be a map"));
            }
            // What is absent stays absent but for what changed: a required field would appear, empty, with the rest.
            (Some(Value::Object(old)), None) if new.is_object() => {
                let mut made = Map::new();
                carry(&mut made, old, new.as_object().expect("checked to be a map"));
                object.insert(key.clone(), Value::Object(made));
            }
            (Some(Value::Array(old)), Some(Value::Array(items))) if same_length(new, old, items) => {
                let news = new.as_array().expect("same_length checked that it is a list");
                for ((item, old), new) in items.iter_mut().zip(old).zip(news) {
                    carry_item(item, old, new);
                }
            }
            _ => {
                object.insert(key.clone(), new.clone());
            }
        }
    }
}

fn same_length(new: &Value, old: &[Value], items: &[Value]) -> bool {
    new.as_array().is_some_and(|news| news.len() == old.len() && items.len() == old.len())
}

fn carry_item(item: &mut Value, old: &Value, new: &Value) {
    match (item, old, new) {
        (_, old, new) if old == new => {}
        (Value::Object(item), Value::Object(old), Value::Object(new)) => carry(item, old, new),
        (item, _, new) => *item = new.clone(),
    }
}
