//! Garbage: objects whose owners are gone, and owners that wait for what they own.
//!
//! Kinds are read from the table; none has code of its own here. A key is the uid of the object to look at.

use std::sync::Arc;

use jiff::Timestamp;
use kprov_schema::{Key, Kind, Object, Resource, Uid};
use serde_json::{Value, json};

use super::followed_kinds;
use super::machinery::action::{Action, Check, Note, Outcome};
use super::machinery::meta::{owner_references, reference, set_owners};
use super::machinery::snapshot::Snapshot;
use super::machinery::{Config, Controller, Watch};
use crate::client::{DeleteOptions, PatchKind, Preconditions, Propagation};
use crate::informer::{Cache, Change, Entry, Unreadable};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// Collects garbage.
pub struct Garbage;

impl Controller for Garbage {
    const NAME: &'static str = "garbage-collector-controller";

    fn new(_: &Config, _: Timestamp) -> Self {
        Self
    }

    fn watches() -> Vec<Watch> {
        followed_kinds().map(|kind| Watch { resource: kind.resource.clone(), keys: concerned }).collect()
    }

    const DEFINED: Option<fn(&Change, &Snapshot) -> Vec<Key>> = Some(concerned);

    fn reconcile(&self, key: &Key, world: &Snapshot, _: Timestamp) -> Result<Outcome, Unreadable> {
        let uid = Uid(key.name.clone());
        let Some((kind, entry)) = find(&uid, world) else { return Ok(Outcome::nothing()) };
        let actions = if !entry.raw.is_deleting() {
            attend_to_dependent(&kind, &entry, world)
        } else if has_finalizer(&entry.raw, ORPHAN) {
            orphan_dependents(&kind, &entry, world)
        } else if has_finalizer(&entry.raw, FOREGROUND) {
            wait_for_dependents(&kind, &entry, world)
        } else {
            Vec::new()
        };
        Ok(actions.into())
    }
}

fn key_of(uid: &Uid) -> Key {
    Key::new("", uid.0.clone())
}

/// Uids to look at after a change: the object itself, what it owns, and owners that wait for it.
fn concerned(change: &Change, world: &Snapshot) -> Vec<Key> {
    let field = |entry: &Entry, field: &str| entry.raw.at(&["metadata", field]).cloned();
    let same = |name: &str| match (&change.old, &change.new) {
        (Some(old), Some(new)) => old.uid == new.uid && field(old, name) == field(new, name),
        _ => false,
    };
    if ["ownerReferences", "finalizers", "deletionTimestamp"].into_iter().all(same) {
        return Vec::new();
    }
    let mut keys = Vec::new();
    for entry in change.sides() {
        keys.push(key_of(&entry.uid));
        let waiting =
            entry.owners().filter(|owner| find(owner, world).is_some_and(|(_, owner)| owner.raw.is_deleting()));
        keys.extend(waiting.map(|owner| key_of(&owner)));
        let going = change.new.is_none() || entry.raw.is_deleting();
        if going {
            keys.extend(dependents(&entry.uid, world).iter().map(|(_, one)| key_of(&one.uid)));
        }
    }
    keys
}

type Found = (Arc<Kind>, Arc<Entry>);

fn find(uid: &Uid, world: &Snapshot) -> Option<Found> {
    let of = |kind: &Arc<Kind>, cache: &Cache| Some((Arc::clone(kind), cache.by_uid(uid)?));
    let built_in = followed_kinds().find_map(|kind| of(kind, world.cache(&kind.resource)));
    built_in.or_else(|| world.defined().iter().find_map(|(kind, cache)| of(kind, cache)))
}

fn dependents(owner: &Uid, world: &Snapshot) -> Vec<Found> {
    let of = |kind: &Arc<Kind>, cache: &Cache| -> Vec<Found> {
        cache.owned_by(owner).into_iter().map(|entry| (Arc::clone(kind), entry)).collect()
    };
    let mut found: Vec<Found> = followed_kinds().flat_map(|kind| of(kind, world.cache(&kind.resource))).collect();
    found.extend(world.defined().iter().flat_map(|(kind, cache)| of(kind, cache)));
    found
}

/// The kind that an owner says it is of, with its objects.
fn kind_of(owner: &Value, world: &Snapshot) -> Option<(Arc<Kind>, Arc<Cache>)> {
    let text = |field: &str| owner.get(field).and_then(Value::as_str).unwrap_or_default();
    let group = text("apiVersion").split_once('/').map_or("", |(group, _)| group);
    let fits = |kind: &Kind| kind.kind == text("kind") && kind.resource.group == group;
    let built_in = followed_kinds().find(|kind| fits(kind));
    let built_in = built_in.map(|kind| (Arc::clone(kind), Arc::clone(world.cache(&kind.resource))));
    built_in.or_else(|| world.defined().iter().find(|(kind, _)| fits(kind)).cloned())
}

fn has_finalizer(object: &Object, finalizer: &str) -> bool {
    object.finalizers().any(|one| one == finalizer)
}

/// The reference of an object to the owner of this uid.
fn reference_to<'a>(object: &'a Object, owner: &Uid) -> Option<&'a Value> {
    let owners = object.at(&["metadata", "ownerReferences"])?.as_array()?;
    owners.iter().find(|one| one.get("uid").and_then(Value::as_str) == Some(&owner.0))
}

fn orphan_dependents(kind: &Kind, entry: &Entry, world: &Snapshot) -> Vec<Action> {
    let left = dependents(&entry.uid, world);
    if left.is_empty() {
        return vec![drop_finalizer(kind, &entry.raw, ORPHAN)];
    }
    left.iter().map(|(kind, one)| without_owners(&kind.resource, &one.raw, std::slice::from_ref(&entry.uid))).collect()
}

fn wait_for_dependents(kind: &Kind, entry: &Entry, world: &Snapshot) -> Vec<Action> {
    let blocks = |one: &Entry| {
        reference_to(&one.raw, &entry.uid).and_then(|owner| owner.get("blockOwnerDeletion")) == Some(&Value::Bool(true))
    };
    let blocked = dependents(&entry.uid, world).iter().any(|(_, one)| blocks(one));
    if blocked { Vec::new() } else { vec![drop_finalizer(kind, &entry.raw, FOREGROUND)] }
}

fn drop_finalizer(kind: &Kind, object: &Object, finalizer: &str) -> Action {
    let rest: Vec<&str> = object.finalizers().filter(|one| *one != finalizer).collect();
    let version = object.at(&["metadata", "resourceVersion"]).cloned().unwrap_or_default();
    Action::Patch {
        resource: kind.resource.clone(),
        key: object.key(),
        subresource: None,
        kind: PatchKind::Merge,
        patch: json!({"metadata": {"uid": object.uid().0, "resourceVersion": version, "finalizers": rest}}),
    }
}

fn without_owners(resource: &Resource, object: &Object, gone: &[Uid]) -> Action {
    let mut owners = owner_references(object);
    owners.retain(|owner| !gone.iter().any(|uid| owner.get("uid").and_then(Value::as_str) == Some(&uid.0)));
    set_owners(resource, object, owners)
}

fn blocking_nobody(resource: &Resource, object: &Object) -> Action {
    let mut owners = owner_references(object);
    for owner in owners.iter_mut().filter_map(Value::as_object_mut) {
        owner.insert("blockOwnerDeletion".to_owned(), Value::Bool(false));
    }
    set_owners(resource, object, owners)
}

/// What became of an owner.
#[derive(Clone, Debug, PartialEq)]
enum Owner {
    /// It is there, or of a kind that is not known here.
    There,
    /// It waits for what it owns to go first.
    Waiting,
    /// It is gone, as far as the cache knows.
    Gone(Resource, Key),
    /// There is one of this uid, but in another namespace: it owns nothing here.
    Elsewhere,
}

fn owner_of(object: &Object, owner: &Value, world: &Snapshot) -> Owner {
    let text = |field: &str| owner.get(field).and_then(Value::as_str).unwrap_or_default();
    let Some((kind, cache)) = kind_of(owner, world) else { return Owner::There };
    if kind.is_namespaced() && object.namespace().is_empty() {
        return Owner::There;
    }
    let namespace = if kind.is_namespaced() { object.namespace() } else { "" };
    let (key, uid) = (Key::new(namespace, text("name")), Uid(text("uid").to_owned()));
    match cache.get(&key).filter(|entry| entry.uid == uid) {
        Some(entry) if entry.raw.is_deleting() && has_finalizer(&entry.raw, FOREGROUND) => Owner::Waiting,
        Some(_) => Owner::There,
        None if cache.by_uid(&uid).is_some_and(|entry| entry.key.namespace != namespace) => Owner::Elsewhere,
        None => Owner::Gone(kind.resource.clone(), key),
    }
}

/// Deletes an object none of whose owners is there to stay; else only forgets those that are not.
fn attend_to_dependent(kind: &Kind, entry: &Entry, world: &Snapshot) -> Vec<Action> {
    let references = owner_references(&entry.raw);
    let owners: Vec<(Uid, Owner)> = references
        .iter()
        .map(|one| (Uid(one["uid"].as_str().unwrap_or_default().to_owned()), owner_of(&entry.raw, one, world)))
        .collect();
    let leaving: Vec<Uid> =
        owners.iter().filter(|(_, owner)| *owner != Owner::There).map(|(uid, _)| uid.clone()).collect();
    if leaving.is_empty() {
        return Vec::new();
    }
    let mut actions: Vec<Action> = owners.iter().filter_map(|(uid, owner)| settle(entry, uid, owner)).collect();
    if leaving.len() < owners.len() {
        actions.push(without_owners(&kind.resource, &entry.raw, &leaving));
        return actions;
    }
    let waited_for = owners.iter().any(|(_, owner)| *owner == Owner::Waiting);
    let owned = dependents(&entry.uid, world);
    // What waits for each other in a circle would wait for ever: here the circle is cut.
    if waited_for && owned.iter().any(|(_, one)| one.raw.is_deleting() && has_finalizer(&one.raw, FOREGROUND)) {
        actions.push(blocking_nobody(&kind.resource, &entry.raw));
    }
    let propagation = if waited_for && !owned.is_empty() || has_finalizer(&entry.raw, FOREGROUND) {
        Propagation::Foreground
    } else if has_finalizer(&entry.raw, ORPHAN) {
        Propagation::Orphan
    } else {
        Propagation::Background
    };
    actions.push(Action::Delete {
        resource: kind.resource.clone(),
        key: entry.key.clone(),
        options: DeleteOptions {
            preconditions: Preconditions { uid: Some(entry.uid.0.clone()), resource_version: None },
            propagation: Some(propagation),
            ..DeleteOptions::default()
        },
        report: None,
    });
    actions
}

/// Makes sure that an owner that seems gone is: the cache of its kind may be behind that of the object.
fn settle(entry: &Entry, uid: &Uid, owner: &Owner) -> Option<Action> {
    match owner {
        Owner::Gone(resource, key) => {
            Some(Action::Check(Check::Absent { resource: resource.clone(), key: key.clone(), uid: Some(uid.clone()) }))
        }
        Owner::Elsewhere => {
            let message = format!("ownerRef [uid: {uid}] does not exist in namespace {:?}", entry.key.namespace);
            Some(Action::Record(Note::warning(reference(&entry.raw), "OwnerRefInvalidNamespace", message)))
        }
        Owner::There | Owner::Waiting => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(name: &str, owners: &[(&str, &str)], finalizers: &[&str]) -> Value {
        let owners: Vec<Value> = owners
            .iter()
            .map(|(name, uid)| {
                json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid, "blockOwnerDeletion": true})
            })
            .collect();
        let mut map = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "n", "uid": name, "ownerReferences": owners}});
        if !finalizers.is_empty() {
            map["metadata"]["finalizers"] = json!(finalizers);
            map["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        map
    }

    /// What is done about `dependent`, in short.
    fn decide(uid: &str, objects: &[Value]) -> Vec<String> {
        let world = Snapshot::given(&Garbage::watches(), objects);
        let outcome = Garbage.reconcile(&Key::new("", uid), &world, Timestamp::UNIX_EPOCH).unwrap();
        let short = |action: &Action| match action {
            Action::Check(Check::Absent { key, .. }) => format!("check {}", key.name),
            Action::Delete { key, options, .. } => format!("delete {} {:?}", key.name, options.propagation.unwrap()),
            Action::Patch { key, patch, .. } => {
                let left =
                    patch["metadata"].get("ownerReferences").map(|left| left.as_array().map_or(&[][..], Vec::as_slice));
                let blocking = |owners: &[Value]| owners.iter().filter(|one| one["blockOwnerDeletion"] == true).count();
                left.map_or(format!("release {}", key.name), |left| {
                    format!("leave {} {} owners, block {}", key.name, left.len(), blocking(left))
                })
            }
            other => format!("{other:?}"),
        };
        outcome.actions.iter().map(short).collect()
    }

    #[test]
    fn dependents_follow_their_owners() {
        let owner = || map("owner", &[], &[]);
        let of = |owners: &[(&str, &str)]| map("one", owners, &[]);
        let (there, gone, renewed) = (("owner", "owner"), ("gone", "gone"), ("owner", "an earlier life"));
        for (owners, wanted) in [
            (vec![there], vec![]),
            (vec![gone], vec!["check gone", "delete one Background"]),
            (vec![renewed], vec!["check owner", "delete one Background"]),
            (vec![there, gone], vec!["check gone", "leave one 1 owners, block 1"]),
        ] {
            assert_eq!(decide("one", &[owner(), of(&owners)]), wanted, "{owners:?}");
        }
    }

    #[test]
    fn owners_wait_for_dependents_or_let_them_go() {
        let (one, two) = (map("one", &[("owner", "owner")], &[]), map("two", &[("one", "one")], &[]));
        let foreground = map("owner", &[], &[FOREGROUND]);
        assert!(decide("owner", &[foreground.clone(), one.clone()]).is_empty());
        assert_eq!(decide("one", &[foreground.clone(), one.clone()]), ["delete one Background"]);
        assert_eq!(decide("one", &[foreground.clone(), one.clone(), two]), ["delete one Foreground"]);
        assert_eq!(decide("owner", &[foreground]), ["release owner"]);
        // A circle of owners: the last one blocks nobody.
        let (first, second) = (map("a", &[("c", "c")], &[FOREGROUND]), map("b", &[("a", "a")], &[FOREGROUND]));
        let third = map("c", &[("b", "b")], &[]);
        assert_eq!(decide("c", &[first, second, third]), ["leave c 1 owners, block 0", "delete c Foreground"]);
        let orphaning = map("owner", &[], &[ORPHAN]);
        assert_eq!(decide("owner", &[orphaning.clone(), one]), ["leave one 0 owners, block 0"]);
        assert_eq!(decide("owner", &[orphaning]), ["release owner"]);
    }
}
