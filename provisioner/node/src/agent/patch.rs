//! The smallest patch of a status: what others wrote stays as it is.

use serde_json::{Map, Value, json};

/// Lists whose items are merged by a key, which a patch must therefore remove by name.
const MERGED: &[(&str, &str)] = &[("podIPs", "ip"), ("hostIPs", "ip")];

/// A strategic merge patch of a pod's status; `None` when nothing differs.
///
/// `uid` is a precondition: a pod of the same name that came later is not touched.
#[must_use]
pub fn of_status(uid: &str, old: Option<&Value>, new: &Value) -> Option<Value> {
    let empty = Map::new();
    let old = old.and_then(Value::as_object).unwrap_or(&empty);
    let new = new.as_object()?;
    let mut status = Map::new();
    for (field, value) in new {
        if old.get(field) == Some(value) {
            continue;
        }
        if field == "conditions" {
            add_conditions(&mut status, old.get(field), value);
        } else if let Some((_, key)) = MERGED.iter().find(|(name, _)| name == field) {
            status.insert(field.clone(), replaced(old.get(field), value, key));
        } else {
            status.insert(field.clone(), value.clone());
        }
    }
    for field in old.keys().filter(|field| !new.contains_key(*field)) {
        status.insert(field.clone(), Value::Null);
    }
    (!status.is_empty()).then(|| json!({"metadata": {"uid": uid}, "status": status}))
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Only conditions that changed: one that another client sets meanwhile is not overwritten.
fn add_conditions(status: &mut Map<String, Value>, old: Option<&Value>, new: &Value) {
    let plain = |value: &Value| {
        let mut value = value.clone();
        if let Some(map) = value.as_object_mut() {
            map.retain(|_, value| !value.is_null());
        }
        value
    };
    let before: Vec<Value> = list(old).iter().map(plain).collect();
    let changed: Vec<Value> = list(Some(new))
        .iter()
        .filter(|one| !before.contains(&plain(one)))
        .map(|one| {
            let mut one = one.clone();
            let was = before.iter().find(|was| was["type"] == one["type"]);
            // A text that no longer holds has to be taken away by name.
            for field in ["reason", "message"] {
                if one.get(field).is_none() && was.is_some_and(|was| was.get(field).is_some()) {
                    one[field] = Value::Null;
                }
            }
            one
        })
        .collect();
    let kept = list(Some(new));
    let gone = before.iter().filter(|was| !kept.iter().any(|one| one["type"] == was["type"]));
    let gone = gone.map(|was| json!({"$patch": "delete", "type": was["type"]}));
    let changed: Vec<Value> = changed.into_iter().chain(gone).collect();
    if changed.is_empty() {
        return;
    }
    let order: Vec<Value> = list(Some(new)).iter().map(|one| json!({"type": one["type"]})).collect();
    status.insert("$setElementOrder/conditions".to_owned(), Value::Array(order));
    status.insert("conditions".to_owned(), Value::Array(changed));
}

fn replaced(old: Option<&Value>, new: &Value, key: &str) -> Value {
    let kept: Vec<&Value> = list(Some(new)).iter().map(|one| &one[key]).collect();
    let gone = list(old).iter().filter(|one| !kept.contains(&&one[key]));
    let removals = gone.map(|one| json!({"$patch": "delete", key: one[key]}));
    Value::Array(list(Some(new)).iter().cloned().chain(removals).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(old: Value, new: Value, wanted: Option<Value>) {
        let wanted = wanted.map(|status| json!({"metadata": {"uid": "u"}, "status": status}));
        assert_eq!(of_status("u", Some(&old), &new), wanted, "{old} to {new}");
    }

    #[test]
    fn only_what_differs() {
        check(json!({"phase": "Running"}), json!({"phase": "Running"}), None);
        check(
            json!({"phase": "Pending", "reason": "x"}),
            json!({"phase": "Running"}),
            Some(json!({"phase": "Running", "reason": null})),
        );
        check(
            json!({"podIPs": [{"ip": "1"}]}),
            json!({"podIPs": [{"ip": "2"}]}),
            Some(json!({"podIPs": [{"ip": "2"}, {"$patch": "delete", "ip": "1"}]})),
        );
        check(
            json!({"conditions": [{"type": "A", "status": "True"}, {"type": "B", "status": "True"}]}),
            json!({"conditions": [{"type": "A", "status": "True"}]}),
            Some(json!({
                "$setElementOrder/conditions": [{"type": "A"}],
                "conditions": [{"$patch": "delete", "type": "B"}],
            })),
        );
        check(
            json!({"conditions": [{"type": "A", "status": "True", "lastProbeTime": null}, {"type": "B", "status": "False", "reason": "r"}]}),
            json!({"conditions": [{"type": "A", "status": "True"}, {"type": "B", "status": "True"}]}),
            Some(json!({
                "$setElementOrder/conditions": [{"type": "A"}, {"type": "B"}],
                "conditions": [{"type": "B", "status": "True", "reason": null}],
            })),
        );
    }
}
