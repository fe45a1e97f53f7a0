//! Who owns the number of replicas, seen through the object's scale.
//!
//! Source: apimachinery `util/managedfields/scalehandler.go`.

use serde_json::Value;

use super::{Element, Entry, Managed, Set};

const SCALE: &str = "autoscaling/v1";

fn path(names: &[&str]) -> Vec<Element> {
    names.iter().map(|name| Element::field(name)).collect()
}

/// The managers of a scale: those that own the number in the object.
#[must_use]
pub fn shown_in_scale(managed: &Managed, replicas: &[&str]) -> Managed {
    let (replicas, fields) = (path(replicas), Set::of_fields(&[&["spec", "replicas"]]));
    let owners = managed.0.iter().filter(|entry| entry.fields.has(&replicas));
    Managed(
        owners.map(|entry| Entry { api_version: SCALE.to_owned(), fields: fields.clone(), ..entry.clone() }).collect(),
    )
}

/// The managers of the object, once its scale is written: `scale` are the scale's then.
#[must_use]
pub fn scaled(parent: &Managed, scale: Managed, api_version: &str, replicas: &[&str]) -> Managed {
    let mut written = scale.0;
    let mut managed = Managed::default();
    for entry in &parent.0 {
        let mut entry = entry.clone();
        if entry.fields.has(&path(replicas)) {
            let as_scale = Entry { api_version: SCALE.to_owned(), ..entry.clone() };
            match written.iter().position(|one| one.is_of(&as_scale)) {
                Some(index) => {
                    written.remove(index);
                }
                None => entry.fields = entry.fields.difference(&Set::of_fields(&[replicas])),
            }
        }
        managed.0.extend((!entry.fields.is_empty()).then_some(entry));
    }
    let mine = |entry: Entry| Entry {
        api_version: api_version.to_owned(),
        fields: Set::of_fields(&[replicas]),
        // Upstream looks for the time among the object's own entries, and finds none.
        time: Value::Null,
        ..entry
    };
    for entry in written.into_iter().filter(|entry| entry.fields.has(&path(&["spec", "replicas"]))) {
        managed.put(mine(entry));
    }
    managed
}
