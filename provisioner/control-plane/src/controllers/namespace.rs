//! Namespaces on their way out: empties them, pods first, and says what still holds them.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kprov_schema::{KINDS, Key, Kind, Object, Resource, Subresource, conditions};
use serde_json::{Value, json};

use super::machinery::action::{Action, Check, Outcome};
use super::machinery::meta::time;
use super::machinery::snapshot::Snapshot;
use super::machinery::{Config, Controller, Watch};
use crate::informer::{Change, Entry, Unreadable};

const FINALIZER: &str = "kubernetes";

/// Empties namespaces that are being deleted.
pub struct Namespaces;

impl Controller for Namespaces {
    const NAME: &'static str = "namespace-controller";

    fn new(_: &Config, _: Timestamp) -> Self {
        Self
    }

    fn watches() -> Vec<Watch> {
        let contents = contained().map(|kind| Watch { resource: kind.resource.clone(), keys: dying_namespace });
        contents.chain([Watch::own::<Namespace>()]).collect()
    }

    const DEFINED: Option<fn(&Change, &Snapshot) -> Vec<Key>> = Some(dying_namespace);

    fn reconcile(&self, key: &Key, world: &Snapshot, now: Timestamp) -> Result<Outcome, Unreadable> {
        let Some(namespace) = world.get::<Namespace>(key)?.filter(|one| one.raw.is_deleting()) else {
            return Ok(Outcome::nothing());
        };
        let finalizers = finalizers(&namespace.raw);
        if !finalizers.iter().any(|one| one == FINALIZER) {
            return Ok(Outcome::nothing());
        }
        let all_defined = world.defined();
        let defined = || all_defined.iter().filter(|(kind, _)| kind.is_namespaced());
        let of_defined = defined().map(|(kind, cache)| (&**kind, cache.in_namespace(&key.name)));
        let left: Vec<(&Kind, Vec<Arc<Entry>>)> = contained()
            .map(|kind| (kind, world.cache(&kind.resource).in_namespace(&key.name)))
            .chain(of_defined)
            .filter(|(_, entries)| !entries.is_empty())
            .collect();
        if left.is_empty() {
            let all = contained().chain(defined().map(|(kind, _)| &**kind));
            return Ok(finalize(&namespace.raw, &finalizers, all).into());
        }
        let deletions = deletions(&left);
        if !deletions.is_empty() {
            return Ok(deletions.into());
        }
        Ok(tell(&namespace.raw, &left, now).into_iter().collect::<Vec<_>>().into())
    }
}

/// Kinds that live in namespaces, each stored object once.
fn contained<'a>() -> impl Iterator<Item = &'a Kind> {
    KINDS.iter().filter(|kind| kind.is_namespaced() && kind.stored_as.is_none())
}

fn dying_namespace(change: &Change, world: &Snapshot) -> Vec<Key> {
    let key = change.latest().map(|entry| Key::new("", &entry.key.namespace));
    let dying = |key: &Key| {
        world.cache(&Resource::of::<Namespace>()).get(key).is_some_and(|namespace| namespace.raw.is_deleting())
    };
    key.filter(dying).into_iter().collect()
}

fn finalizers(namespace: &Object) -> Vec<String> {
    let list = namespace.at(&["spec", "finalizers"]).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(|one| Some(one.as_str()?.to_owned())).collect()
}

/// Nothing is left: the API server is asked once more, then the namespace is let go.
fn finalize<'a>(namespace: &Object, finalizers: &[String], kinds: impl Iterator<Item = &'a Kind>) -> Vec<Action> {
    let check = |kind: &Kind| {
        Action::Check(Check::Empty { resource: kind.resource.clone(), namespace: namespace.name().to_owned() })
    };
    let mut actions: Vec<Action> = kinds.map(check).collect();
    let mut object = namespace.clone();
    let rest: Vec<&String> = finalizers.iter().filter(|one| *one != FINALIZER).collect();
    object.set(&["spec", "finalizers"], json!(rest));
    actions.push(Action::Update {
        resource: Resource::of::<Namespace>(),
        subresource: Some(Subresource::Finalize),
        object,
    });
    actions
}

/// What is to be deleted next: pods while there are any, since what they use should outlive them.
fn deletions(left: &[(&Kind, Vec<Arc<Entry>>)]) -> Vec<Action> {
    let pods = Resource::of::<Pod>();
    let with_pods = left.iter().any(|(kind, _)| kind.resource == pods);
    let now = left.iter().filter(|(kind, _)| !with_pods || kind.resource == pods);
    now.flat_map(|(kind, entries)| {
        let alive = entries.iter().filter(|entry| !entry.raw.is_deleting());
        alive.map(|entry| Action::delete(kind.resource.clone(), entry.key.clone(), &entry.uid))
    })
    .collect()
}

/// The conditions that say what is left, if they do not stand already.
fn tell(namespace: &Object, left: &[(&Kind, Vec<Arc<Entry>>)], now: Timestamp) -> Option<Action> {
    let mut resources: Vec<String> = left
        .iter()
        .map(|(kind, entries)| {
            let resource = &kind.resource;
            format!("{}.{} has {} resource instances", resource.plural, resource.group, entries.len())
        })
        .collect();
    resources.sort();
    let mut finalizers: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in left.iter().flat_map(|(_, entries)| entries) {
        entry.raw.finalizers().for_each(|finalizer| *finalizers.entry(finalizer).or_default() += 1);
    }
    let held: Vec<String> =
        finalizers.iter().map(|(finalizer, count)| format!("{finalizer} in {count} resource instances")).collect();
    let remaining = format!("Some resources are remaining: {}", resources.join(", "));
    let held_by = format!("Some content in the namespace has finalizers remaining: {}", held.join(", "));
    let wanted = [
        ("NamespaceDeletionDiscoveryFailure", "False", "ResourcesDiscovered", "All resources successfully discovered"),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            "False",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        (
            "NamespaceDeletionContentFailure",
            "False",
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
        ("NamespaceContentRemaining", "True", "SomeResourcesRemain", &remaining),
        if held.is_empty() {
            (
                "NamespaceFinalizersRemaining",
                "False",
                "ContentHasNoFinalizers",
                "All content-preserving finalizers finished",
            )
        } else {
            ("NamespaceFinalizersRemaining", "True", "SomeFinalizersRemain", &held_by)
        },
    ];
    let old = conditions::of(namespace);
    let conditions: Vec<Value> = wanted.iter().map(|one| condition(old, *one, now)).collect();
    if conditions.iter().all(|one| old.contains(one)) {
        return None;
    }
    let mut object = namespace.clone();
    object.set(&["status", "phase"], json!("Terminating"));
    object.set(&["status", "conditions"], Value::Array(conditions));
    Some(Action::update_status(Resource::of::<Namespace>(), object))
}

fn condition(old: &[Value], (kind, status, reason, message): (&str, &str, &str, &str), now: Timestamp) -> Value {
    let since = time(now);
    let new = json!({
        "type": kind, "status": status, "lastTransitionTime": since, "reason": reason, "message": message,
    });
    conditions::after(old, new)
}
