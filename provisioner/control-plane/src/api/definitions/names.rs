//! Which names a definition gets: those that no other definition of its group was given before.
//!
//! Source: apiextensions-apiserver `controller/status/naming_controller.go`.

use std::collections::BTreeSet;

use jiff::Timestamp;
use kprov_schema::{Object, conditions};
use serde_json::{Map, Value, json};

use super::set_condition;

/// Decides on all definitions in turn, older ones first; the answer is, for each, what it is to become if it changes.
pub(super) fn accept<'a>(definitions: impl Iterator<Item = &'a Object>, now: Timestamp) -> Vec<Option<Object>> {
    let mut all: Vec<Object> = definitions.cloned().collect();
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by_key(|at| (all[*at].text(&["metadata", "creationTimestamp"]).unwrap_or_default().to_owned(), *at));
    let mut changed = vec![None; all.len()];
    for at in order {
        let used = Used::by_others(&all, at);
        if let Some(new) = decide(&all[at], &used, now) {
            all[at] = new.clone();
            changed[at] = Some(new);
        }
    }
    changed
}

/// Names that are taken in a group.
#[derive(Default)]
struct Used {
    resources: BTreeSet<String>,
    kinds: BTreeSet<String>,
}

fn texts(value: &Value) -> impl Iterator<Item = &str> {
    let one = value.as_str().into_iter();
    one.chain(value.as_array().into_iter().flatten().filter_map(Value::as_str)).filter(|text| !text.is_empty())
}

impl Used {
    fn by_others(all: &[Object], own: usize) -> Self {
        let mut used = Self::default();
        let group = all[own].at(&["spec", "group"]);
        for (_, other) in all.iter().enumerate().filter(|(at, one)| *at != own && one.at(&["spec", "group"]) == group) {
            let Some(names) = other.at(&["status", "acceptedNames"]) else { continue };
            let take = |fields: &[&str]| -> Vec<String> {
                fields.iter().flat_map(|field| texts(&names[*field])).map(str::to_owned).collect()
            };
            used.resources.extend(take(&["plural", "singular", "shortNames"]));
            used.kinds.extend(take(&["kind", "listKind"]));
        }
        used
    }
}

/// The definition with the names that it gets and what is said of them; `None` when nothing changes.
fn decide(definition: &Object, used: &Used, now: Timestamp) -> Option<Object> {
    let asked = definition.at(&["spec", "names"]).cloned().unwrap_or_default();
    let had = definition.at(&["status", "acceptedNames"]).cloned().unwrap_or_else(|| json!({}));
    if asked == had && conditions::is_true(definition, "Established") {
        return None;
    }
    let (names, conflict) = given(&asked, &had, used);
    let mut new = definition.clone();
    new.set(&["status", "acceptedNames"], names);
    match &conflict {
        Some((reason, message)) => set_condition(&mut new, ("NamesAccepted", "False", reason, message), now),
        None => set_condition(&mut new, ("NamesAccepted", "True", "NoConflicts", "no conflicts found"), now),
    }
    if !conditions::is_true(&new, "Established") {
        let said = match conflict {
            Some(_) => ("Established", "False", "NotAccepted", "not all names are accepted"),
            None => ("Established", "True", "InitialNamesAccepted", "the initial names have been accepted"),
        };
        set_condition(&mut new, said, now);
    }
    (new != *definition).then_some(new)
}

/// The names that a definition gets, with the last reason why it does not get all.
fn given(asked: &Value, had: &Value, used: &Used) -> (Value, Option<(&'static str, String)>) {
    let mut names: Map<String, Value> = had.as_object().cloned().unwrap_or_default();
    let mut conflict = None;
    let in_use = |name: &str| format!("{} is already in use", Value::from(name));
    let single = [
        ("plural", "PluralConflict", &used.resources),
        ("singular", "SingularConflict", &used.resources),
        ("shortNames", "ShortNamesConflict", &used.resources),
        ("kind", "KindConflict", &used.kinds),
        ("listKind", "ListKindConflict", &used.kinds),
    ];
    for (field, reason, used) in single {
        let own: Vec<&str> = texts(&had[field]).collect();
        let taken: Vec<String> =
            texts(&asked[field]).filter(|name| !own.contains(name) && used.contains(*name)).map(in_use).collect();
        match taken.as_slice() {
            [] if asked[field].is_null() => drop(names.remove(field)),
            [] => drop(names.insert(field.to_owned(), asked[field].clone())),
            [one] => conflict = Some((reason, one.clone())),
            more => conflict = Some((reason, format!("[{}]", more.join(", ")))),
        }
    }
    match asked.get("categories") {
        Some(categories) => drop(names.insert("categories".to_owned(), categories.clone())),
        None => drop(names.remove("categories")),
    }
    (Value::Object(names), conflict)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(plural: &str, kind: &str, short: &str, created: u8) -> Object {
        Object::try_from(json!({
            "metadata": {"name": format!("{plural}.a.b"), "creationTimestamp": format!("2026-01-0{created}T00:00:00Z")},
            "spec": {"group": "a.b", "names": {
                "plural": plural, "singular": format!("{plural}one"), "kind": kind, "listKind": format!("{kind}List"),
                "shortNames": [short]}},
            "status": {"storedVersions": ["v1"]},
        }))
        .unwrap()
    }

    fn said(definition: &Object, condition: &str) -> String {
        let conditions = definition.at(&["status", "conditions"]).unwrap().as_array().unwrap();
        let one = conditions.iter().find(|one| one["type"] == condition).unwrap();
        format!("{} {}", one["status"].as_str().unwrap(), one["reason"].as_str().unwrap())
    }

    #[test]
    fn the_older_definition_gets_the_name() {
        let all = [definition("xs", "Y", "z", 2), definition("ys", "Y", "z", 1)];
        let decided = accept(all.iter(), Timestamp::UNIX_EPOCH);
        let (younger, older) = (decided[0].as_ref().unwrap(), decided[1].as_ref().unwrap());
        assert_eq!(said(older, "NamesAccepted"), "True NoConflicts");
        assert_eq!(said(older, "Established"), "True InitialNamesAccepted");
        assert_eq!(said(younger, "NamesAccepted"), "False ListKindConflict");
        assert_eq!(said(younger, "Established"), "False NotAccepted");
        assert_eq!(younger.text(&["status", "acceptedNames", "plural"]), Some("xs"));
        assert_eq!(younger.at(&["status", "acceptedNames", "kind"]), None);
        // Settled definitions stay as they are, and a name that is free again is given.
        assert!(accept([older].into_iter(), Timestamp::UNIX_EPOCH)[0].is_none());
        let later = accept([younger].into_iter(), Timestamp::UNIX_EPOCH).remove(0).unwrap();
        assert_eq!(said(&later, "Established"), "True InitialNamesAccepted");
    }
}
