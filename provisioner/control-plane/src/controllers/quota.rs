//! What is used of resource quotas, counted anew when something takes less, or takes it differently.
//!
//! The API server books what writes take; what is given back is found here. It is written only onto the quota that the
//! count began with, and lowered only if the API server shows the same objects: a cache may not have seen yet what was
//! booked already.
//! Source: `pkg/controller/resourcequota`

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ResourceQuota;
use kprov_schema::quota::{Amounts, Counted, add, read, written};
use kprov_schema::{Key, Kind, Object, Resource};
use serde_json::json;

use super::followed_kinds;
use super::machinery::action::{Action, Check, Outcome};
use super::machinery::snapshot::Snapshot;
use super::machinery::{Config, Controller, Watch};
use crate::informer::{Cache, Change, Defined, Entry, Unreadable};

/// Counts what is used of quotas.
pub struct ResourceQuotas;

impl Controller for ResourceQuotas {
    const NAME: &'static str = "resourcequota-controller";

    fn new(_: &Config, _: Timestamp) -> Self {
        Self
    }

    fn watches() -> Vec<Watch> {
        let namespaced = followed_kinds().filter(|kind| kind.is_namespaced());
        namespaced.map(|kind| Watch { resource: kind.resource.clone(), keys: concerned }).collect()
    }

    const DEFINED: Option<fn(&Change, &Snapshot) -> Vec<Key>> = Some(concerned);

    fn reconcile(&self, key: &Key, world: &Snapshot, now: Timestamp) -> Result<Outcome, Unreadable> {
        let Some(quota) = world.get::<ResourceQuota>(key)? else { return Ok(Outcome::nothing()) };
        let hard = quota.spec.as_ref().and_then(|spec| spec.hard.clone()).unwrap_or_default();
        let status = quota.status.clone().unwrap_or_default();
        let known = read(status.used.as_ref());
        let mut count = Count::default();
        for (kind, cache) in kinds(world) {
            if let Some(counted) = Counted::of(&kind.resource).filter(|counted| counted.concerns(&quota)) {
                count.take(&quota, &kind, &cache, &counted, now)?;
            }
        }
        // What nothing here counts keeps what somebody else says of it.
        let of = |name: &String| count.used.get(name).or_else(|| known.get(name)).cloned();
        let used: Amounts = hard.keys().filter_map(|name| Some((name.clone(), of(name)?))).collect();
        let mut outcome = Outcome { actions: Vec::new(), recheck_at: count.next };
        if status.hard.as_ref() == Some(&hard) && status.used.is_some() && used == known {
            return Ok(outcome);
        }
        if used.iter().any(|(name, amount)| known.get(name).is_some_and(|known| amount < known)) {
            outcome.actions.extend(count.seen.into_iter().map(Action::Check));
        }
        let mut object = Object::clone(&quota.raw);
        object.set(&["status"], json!({"hard": hard, "used": written(&used)}));
        outcome.actions.push(Action::update_status(Resource::of::<ResourceQuota>(), object));
        Ok(outcome)
    }
}

/// A count under way.
#[derive(Default)]
struct Count {
    used: Amounts,
    /// What it was made from.
    seen: Vec<Check>,
    /// When it changes by itself.
    next: Option<Timestamp>,
}

impl Count {
    fn take(
        &mut self,
        quota: &ResourceQuota,
        kind: &Kind,
        cache: &Cache,
        counted: &Counted,
        now: Timestamp,
    ) -> Result<(), Unreadable> {
        let hard = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
        for name in hard.into_iter().flat_map(BTreeMap::keys).filter(|name| counted.has(name)) {
            self.used.entry(name.clone()).or_default();
        }
        let namespace = quota.metadata.namespace.clone().unwrap_or_default();
        let entries = cache.in_namespace(&namespace);
        for entry in &entries {
            add(&mut self.used, &taken(quota, counted, entry, now)?);
            let next = counted.until(&entry.raw).filter(|at| *at >= now);
            self.next = self.next.into_iter().chain(next).min();
        }
        let seen = entries.iter().map(|entry| (entry.key.clone(), entry.revision)).collect();
        self.seen.push(Check::Unchanged { resource: kind.resource.clone(), namespace, seen });
        Ok(())
    }
}

fn taken(quota: &ResourceQuota, counted: &Counted, entry: &Entry, now: Timestamp) -> Result<Amounts, Unreadable> {
    let unreadable = |why| Unreadable { kind: entry.raw.kind().to_owned(), key: entry.key.clone(), why };
    counted.of_quota(quota, &entry.raw, now).map_err(unreadable)
}

/// Every kind whose objects are in namespaces, with these.
fn kinds(world: &Snapshot) -> impl Iterator<Item = Defined> {
    let built_in = followed_kinds().filter(|kind| kind.is_namespaced());
    let built_in = built_in.map(|kind| (Arc::clone(kind), Arc::clone(world.cache(&kind.resource))));
    let defined = Vec::clone(&world.defined()).into_iter().filter(|(kind, _)| kind.is_namespaced());
    built_in.chain(defined)
}

/// The quotas that a change gives something back to, or takes something from.
fn concerned(change: &Change, world: &Snapshot) -> Vec<Key> {
    let Some(latest) = change.latest() else { return Vec::new() };
    let quotas = Resource::of::<ResourceQuota>();
    let in_namespace = world.cache(&quotas).in_namespace(&latest.key.namespace);
    let own = (latest.raw.kind() == "ResourceQuota" && latest.raw.api_version() == "v1").then(|| latest.key.clone());
    let mut keys = Vec::from_iter(own);
    let same = |kind: &Kind| kind.kind == latest.raw.kind() && kind.resource.api_version() == latest.raw.api_version();
    if in_namespace.is_empty() {
        return keys;
    }
    let Some(counted) = kinds(world).find(|(kind, _)| same(kind)).and_then(|(kind, _)| Counted::of(&kind.resource))
    else {
        return keys;
    };
    for entry in in_namespace {
        let Ok(quota) = entry.typed::<ResourceQuota>() else { continue };
        if counted.concerns(&quota) && moves(&quota, &counted, change) {
            keys.push(entry.key.clone());
        }
    }
    keys
}

fn moves(quota: &ResourceQuota, counted: &Counted, change: &Change) -> bool {
    let side = |entry: Option<&Arc<Entry>>| {
        let entry = entry?;
        // An object that can't be read is the reconciliation's to complain about.
        Some((taken(quota, counted, entry, Timestamp::MIN).ok(), counted.until(&entry.raw)))
    };
    side(change.old.as_ref()) != side(change.new.as_ref())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn objects(used: &str) -> Vec<Value> {
        let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q", "namespace": "n"},
            "spec": {"hard": {"pods": "5", "a/b": "1"}}, "status": {"hard": {"pods": "5", "a/b": "1"}, "used": {"pods": used, "a/b": "7"}}});
        let pod = |name: &str, phase: &str| {
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "n"},
                "spec": {"containers": []}, "status": {"phase": phase}})
        };
        vec![quota, pod("a", "Running"), pod("b", "Succeeded"), pod("c", "Pending")]
    }

    fn decide(used: &str) -> Vec<Action> {
        let world = Snapshot::given(&ResourceQuotas::watches(), &objects(used));
        ResourceQuotas.reconcile(&Key::new("n", "q"), &world, Timestamp::UNIX_EPOCH).unwrap().actions
    }

    fn told(action: &Action) -> Value {
        let Action::Update { object, .. } = action else { panic!("{action:?}") };
        object.at(&["status", "used"]).unwrap().clone()
    }

    #[test]
    fn what_is_used_is_written_when_it_differs() {
        assert!(decide("2").is_empty());
        let raised = decide("1");
        assert_eq!((raised.len(), told(&raised[0])), (1, json!({"pods": "2", "a/b": "7"})));
    }

    #[test]
    fn nothing_is_given_back_on_the_word_of_a_cache_alone() {
        let lowered = decide("3");
        let Action::Check(Check::Unchanged { seen, .. }) = &lowered[0] else { panic!("{lowered:?}") };
        assert_eq!((seen.len(), told(&lowered[1])), (3, json!({"pods": "2", "a/b": "7"})));
    }
}
