//! Conditions: what a status says of its object, one statement a type.
//!
//! They are read and set as JSON, because kinds have conditions of different fields. What all of them share is here: the
//! time of the last change stays while the status does.
//! Source: apimachinery `pkg/api/meta/conditions.go`.

use serde_json::Value;

use crate::object::Object;

const CONDITIONS: &[&str] = &["status", "conditions"];
const SINCE: &str = "lastTransitionTime";

/// The conditions of an object; none when it has no status.
#[must_use]
pub fn of(object: &Object) -> &[Value] {
    object.at(CONDITIONS).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Whether an object's condition of a type is `True`.
///
/// ```
/// use kprov_schema::{Object, conditions};
/// use serde_json::json;
///
/// let pod = Object::try_from(json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}}))?;
/// assert!(conditions::is_true(&pod, "Ready"));
/// assert!(!conditions::is_true(&pod, "Initialized"));
/// # Ok::<(), String>(())
/// ```
#[must_use]
pub fn is_true(object: &Object, type_: &str) -> bool {
    of(object).iter().any(|one| one["type"] == type_ && one["status"] == "True")
}

/// A condition as it comes after those of before: it has the time of the one of its type whose status it keeps.
///
/// `new` brings the time for the case that its status is another one.
#[must_use]
pub fn after(old: &[Value], mut new: Value) -> Value {
    let same = old.iter().find(|one| one["type"] == new["type"] && one["status"] == new["status"]);
    if let Some(since) = same.and_then(|one| one.get(SINCE)).filter(|since| !since.is_null()) {
        new[SINCE] = since.clone();
    }
    new
}

/// Sets a condition among others, in the place of the one of its type; its time is as [`after`] says.
pub fn set(all: &mut Vec<Value>, new: Value) {
    let new = after(all, new);
    match all.iter_mut().find(|one| one["type"] == new["type"]) {
        Some(one) => *one = new,
        None => all.push(new),
    }
}

/// Sets a condition in an object's status, as [`set`] does.
pub fn set_in(object: &mut Object, new: Value) {
    let mut all = of(object).to_vec();
    set(&mut all, new);
    object.set(CONDITIONS, all.into());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn condition(type_: &str, status: &str, reason: &str, since: &str) -> Value {
        json!({"type": type_, "status": status, "reason": reason, "lastTransitionTime": since})
    }

    #[test]
    fn the_time_stays_while_the_status_does() {
        let before = condition("Ready", "False", "Old", "1");
        for (what, old, new, want) in [
            ("none of its type", vec![condition("Other", "True", "R", "1")], ("True", "2"), ("True", "New", "2")),
            ("another status", vec![before.clone()], ("True", "2"), ("True", "New", "2")),
            ("the same status", vec![before.clone()], ("False", "2"), ("False", "New", "1")),
            (
                "a time was not told",
                vec![json!({"type": "Ready", "status": "True"})],
                ("True", "2"),
                ("True", "New", "2"),
            ),
        ] {
            let mut object = Object::try_from(json!({"status": {"conditions": old}})).unwrap();
            set_in(&mut object, condition("Ready", new.0, "New", new.1));
            let ready: Vec<&Value> = of(&object).iter().filter(|one| one["type"] == "Ready").collect();
            assert_eq!(ready, [&condition("Ready", want.0, want.1, want.2)], "{what}");
        }
    }

    #[test]
    fn a_condition_keeps_its_place_and_a_new_one_is_last() {
        let mut all = vec![condition("A", "True", "", "1"), condition("B", "True", "", "1")];
        set(&mut all, condition("A", "False", "", "2"));
        set(&mut all, condition("C", "True", "", "2"));
        let types: Vec<&Value> = all.iter().map(|one| &one["type"]).collect();
        assert_eq!(types, ["A", "B", "C"]);
    }
}
