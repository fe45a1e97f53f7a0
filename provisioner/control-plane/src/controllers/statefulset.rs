//! StatefulSets: pods with names, claims and an order that last.
//!
//! Source: upstream `pkg/controller/statefulset/stateful_set_control.go`.

use std::collections::BTreeMap;
use std::ops::Range;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kprov_schema::{Key, Object, Resource};
use serde_json::Value;

use super::machinery::action::{Action, Outcome};
use super::machinery::claim::{claim, claim_where, claimants};
use super::machinery::history::{History, Revision};
use super::machinery::rollout::scaled;
use super::machinery::snapshot::{Seen, Snapshot};
use super::machinery::{Config, Controller, Watch, status};
use crate::informer::{Change, Unreadable};

mod claims;
mod events;
mod pod;

use claims::Claims;

/// The label of revisions that says which template they are of.
const REVISION_HASH: &str = "controller.kubernetes.io/hash";
/// The label of pods that names the revision they are of.
const REVISION: &str = "controller-revision-hash";

/// Keeps StatefulSets at their pods.
pub struct StatefulSets;

impl Controller for StatefulSets {
    const NAME: &'static str = "statefulset-controller";

    fn new(_: &Config, _: Timestamp) -> Self {
        Self
    }

    fn watches() -> Vec<Watch> {
        vec![
            Watch::own::<StatefulSet>(),
            Watch::new::<Pod>(of_pod),
            Watch::new::<ControllerRevision>(claimants::<StatefulSet>),
            Watch::new::<PersistentVolumeClaim>(claims::sets_of),
        ]
    }

    fn reconcile(&self, key: &Key, world: &Snapshot, now: Timestamp) -> Result<Outcome, Unreadable> {
        let Some(set) = world.get::<StatefulSet>(key)? else { return Ok(Outcome::nothing()) };
        let revisions = claim::<ControllerRevision, _>(&set, world)?;
        let pods = claim_where::<Pod, _>(&set, world, |pod| pod::ordinal(key, pod.name()).is_some())?;
        let claiming: Vec<Action> = revisions.actions.into_iter().chain(pods.actions).collect();
        if !claiming.is_empty() {
            return Ok(claiming.into());
        }
        let collisions = set.status.as_ref().and_then(|status| status.collision_count);
        let history = History::of(&set, revisions.owned, world, REVISION_HASH, collisions)?;
        let mut round = Round::new(&set, &pods.owned, history, world, now);
        if let Some(failure) = world.failure() {
            round.actions.extend(events::of_failure(&set.raw, failure));
        } else if !set.raw.is_deleting() {
            round.advance()?;
        }
        Ok(round.outcome())
    }
}

/// The owner of a pod, before and after, whoever may adopt it, and the set that waits for its name.
fn of_pod(change: &Change, world: &Snapshot) -> Vec<Key> {
    let mut keys = claimants::<StatefulSet>(change, world);
    let name = change.latest().and_then(|pod| Some(Key::new(&pod.key.namespace, pod.key.name.rsplit_once('-')?.0)));
    keys.extend(
        name.filter(|key| !keys.contains(key) && world.cache(&Resource::of::<StatefulSet>()).get(key).is_some()),
    );
    keys
}

/// One look at a set.
struct Round<'a> {
    set: &'a Seen<StatefulSet>,
    // By ordinal; those outside of the range are to go.
    pods: BTreeMap<i32, &'a Seen<Pod>>,
    range: Range<i32>,
    history: History,
    claims: Claims<'a>,
    now: Timestamp,
    actions: Vec<Action>,
}

impl<'a> Round<'a> {
    fn new(
        set: &'a Seen<StatefulSet>,
        owned: &'a [Seen<Pod>],
        mut history: History,
        world: &'a Snapshot,
        now: Timestamp,
    ) -> Self {
        let start = set.spec.ordinals.as_ref().and_then(|ordinals| ordinals.start).unwrap_or(0);
        let range = start..start.saturating_add(set.spec.replicas.unwrap_or(1));
        let key = set.raw.key();
        let pods = owned.iter().filter_map(|pod| Some((pod::ordinal(&key, pod.raw.name())?, pod))).collect();
        let actions = std::mem::take(&mut history.actions);
        Self { claims: Claims { set, range: range.clone(), world }, set, pods, range, history, now, actions }
    }

    /// Whether pods wait for the one before them.
    fn is_ordered(&self) -> bool {
        self.set.spec.pod_management_policy.as_deref() != Some("Parallel")
    }

    /// The revision that pods below the partition keep.
    fn current(&self) -> &Revision {
        let name = self.set.status.as_ref().and_then(|status| status.current_revision.as_deref());
        let named = self.history.revisions.iter().find(|one| Some(&*one.name) == name);
        named.unwrap_or_else(|| self.history.present())
    }

    fn available_at(&self, pod: &Pod) -> Option<Timestamp> {
        let at = status::available_at(pod, self.set.spec.min_ready_seconds.unwrap_or(0));
        at.filter(|_| status::phase(pod) == "Running")
    }

    fn is_available(&self, pod: &Pod) -> bool {
        self.available_at(pod).is_some_and(|at| at <= self.now)
    }

    /// Makes what is missing, then takes what is too much, then updates what is old. In order, one waits for the other.
    fn advance(&mut self) -> Result<(), Unreadable> {
        if self.settle_all()? && self.shrink()? {
            self.update();
        }
        self.truncate();
        Ok(())
    }

    /// Whether all pods are there, or at least asked for when nobody waits for another.
    fn settle_all(&mut self) -> Result<bool, Unreadable> {
        for ordinal in self.range.clone() {
            if !self.settle(ordinal)? && self.is_ordered() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Brings one pod up, or back to what it should be. Whether the next one's turn has come.
    fn settle(&mut self, ordinal: i32) -> Result<bool, Unreadable> {
        let Some(pod) = self.pods.get(&ordinal).copied() else {
            if !self.claims.are_stale(ordinal)? && !self.is_taken(ordinal)? {
                self.create(ordinal)?;
            }
            return Ok(false);
        };
        if status::is_finished(pod) {
            if !status::is_deleting(pod) {
                self.actions.push(events::delete(&self.set.raw, pod));
            }
            return Ok(false);
        }
        if status::phase(pod) == "Pending" {
            self.actions.extend(self.claims.missing(ordinal)?);
            self.actions.extend(self.claims.owners(ordinal, pod)?);
        }
        if self.is_ordered() && (status::is_deleting(pod) || !self.is_available(pod)) {
            return Ok(false);
        }
        let mut repairs = self.claims.owners(ordinal, pod)?;
        repairs.extend(pod::identity(&self.set.raw, ordinal, pod));
        if !repairs.is_empty() && status::phase(pod) != "Pending" {
            self.actions.extend(repairs);
            self.actions.push(events::updated(&self.set.raw, pod));
        }
        Ok(true)
    }

    /// Whether somebody else has the pod's name.
    fn is_taken(&self, ordinal: i32) -> Result<bool, Unreadable> {
        Ok(self.claims.world.get::<Pod>(&pod::key(&self.set.raw, ordinal))?.is_some())
    }

    fn create(&mut self, ordinal: i32) -> Result<(), Unreadable> {
        if let Some(claim) = self.claims.going(ordinal)? {
            self.actions.push(events::claim_goes(&self.set.raw, &pod::name(&self.set.raw, ordinal), &claim));
            return Ok(());
        }
        self.actions.extend(self.claims.missing(ordinal)?);
        let rolling = self.set.spec.update_strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
        let kept = rolling.and_then(|rolling| rolling.partition).unwrap_or(0);
        let of = if ordinal < self.range.start + kept { self.current() } else { self.history.present() };
        let made = pod::of(&self.set.raw, ordinal, of);
        self.actions.push(events::create(&self.set.raw, made));
        Ok(())
    }

    /// Takes pods beyond the range, the highest first. Whether none are in the way of an update.
    fn shrink(&mut self) -> Result<bool, Unreadable> {
        let condemned: Vec<(i32, &Seen<Pod>)> =
            self.pods.iter().rev().filter(|(at, _)| !self.range.contains(at)).map(|(at, pod)| (*at, *pod)).collect();
        for (ordinal, pod) in &condemned {
            self.actions.extend(self.claims.owners(*ordinal, pod)?);
        }
        let first_broken = self.first_unavailable();
        for (_, pod) in condemned {
            if status::is_deleting(pod) {
                if self.is_ordered() {
                    return Ok(false);
                }
                continue;
            }
            let waits = !self.is_available(pod) && first_broken.as_deref() != Some(pod.raw.name());
            if !(self.is_ordered() && waits) {
                self.actions.push(events::delete(&self.set.raw, pod));
            }
            if self.is_ordered() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The first pod that does not serve: of those that stay, then of those that go.
    fn first_unavailable(&self) -> Option<String> {
        let (stay, go): (Vec<_>, Vec<_>) = self.pods.iter().partition(|(at, _)| self.range.contains(at));
        let mut all = stay.into_iter().chain(go).map(|(_, pod)| pod);
        let broken = all.find(|pod| !self.is_available(pod) || status::is_deleting(pod));
        broken.map(|pod| pod.raw.name().to_owned())
    }

    /// Deletes pods of earlier revisions, the highest first, as many as may be missing.
    fn update(&mut self) {
        let strategy = self.set.spec.update_strategy.clone().unwrap_or_default();
        if strategy.type_.as_deref() == Some("OnDelete") {
            return;
        }
        let rolling = strategy.rolling_update.unwrap_or_default();
        let from = self.range.start.saturating_add(rolling.partition.unwrap_or(0));
        let replicas = self.set.spec.replicas.unwrap_or(1);
        match &rolling.max_unavailable {
            None => self.update_one(from),
            Some(most) => self.update_some(from, scaled(Some(most), replicas, false).max(1)),
        }
    }

    fn is_old(&self, pod: &Seen<Pod>) -> bool {
        pod.raw.label(REVISION) != Some(&*self.history.present().name)
    }

    /// One at a time, and only when those above it serve again.
    fn update_one(&mut self, from: i32) {
        for ordinal in (from..self.range.end).rev() {
            let Some(pod) = self.pods.get(&ordinal) else { return };
            if self.is_old(pod) && !status::is_deleting(pod) {
                self.actions.push(events::delete(&self.set.raw, pod));
                return;
            }
            if !self.is_available(pod) || status::is_deleting(pod) {
                return;
            }
        }
    }

    /// Several at a time; each pod of the set that does not serve counts.
    fn update_some(&mut self, from: i32, most: i32) {
        let serves =
            |at: &i32| self.pods.get(at).is_some_and(|pod| self.is_available(pod) && !status::is_deleting(pod));
        let missing = self.range.clone().filter(|at| !serves(at)).count();
        let room = usize::try_from(most).unwrap_or(1).saturating_sub(missing);
        let pods = (from..self.range.end).rev().filter_map(|at| self.pods.get(&at).copied());
        let old = pods.filter(|pod| self.is_old(pod) && !status::is_deleting(pod)).take(room);
        let deletions: Vec<Action> = old.map(|pod| events::delete(&self.set.raw, pod)).collect();
        self.actions.extend(deletions);
    }

    fn truncate(&mut self) {
        let current = self.current().name.clone();
        let lives = |one: &Revision| {
            one.name == current || self.pods.values().any(|pod| pod.raw.label(REVISION) == Some(&*one.name))
        };
        self.actions.extend(self.history.truncate(&self.set.raw, self.set.spec.revision_history_limit, lives));
    }

    fn outcome(mut self) -> Outcome {
        let moments = self.pods.values().filter_map(|pod| self.available_at(pod));
        let recheck_at = moments.filter(|at| *at > self.now).min();
        let new = self.status();
        self.actions.extend(write_status(self.set, &new));
        Outcome { actions: self.actions, recheck_at }
    }

    fn status(&self) -> StatefulSetStatus {
        let number = |holds: &dyn Fn(&Seen<Pod>) -> bool| {
            i32::try_from(self.pods.values().filter(|pod| holds(pod)).count()).unwrap_or(i32::MAX)
        };
        let of = |revision: &str| number(&|pod| !status::is_deleting(pod) && pod.raw.label(REVISION) == Some(revision));
        let (current, update) = (&self.current().name, &self.history.present().name);
        let mut new = StatefulSetStatus {
            observed_generation: Some(self.set.raw.generation()),
            replicas: number(&|_| true),
            ready_replicas: Some(number(&|pod| status::phase(pod) == "Running" && status::is_ready(pod))),
            available_replicas: Some(number(&|pod| self.is_available(pod))),
            current_replicas: Some(of(current)),
            updated_replicas: Some(of(update)),
            current_revision: Some(current.clone()),
            update_revision: Some(update.clone()),
            collision_count: Some(self.history.collisions),
            conditions: self.set.status.as_ref().and_then(|status| status.conditions.clone()),
        };
        self.complete(&mut new);
        for field in [&mut new.ready_replicas, &mut new.current_replicas, &mut new.updated_replicas] {
            *field = field.filter(|count| *count > 0);
        }
        new
    }

    /// An update is over when all pods are of it and ready.
    fn complete(&self, new: &mut StatefulSetStatus) {
        let strategy = self.set.spec.update_strategy.as_ref().and_then(|strategy| strategy.type_.as_deref());
        let all = self.set.spec.replicas;
        let counts = [new.updated_replicas, new.ready_replicas, Some(new.replicas)];
        if strategy == Some("RollingUpdate") && counts.iter().all(|count| *count == all) {
            new.current_replicas = new.updated_replicas;
            new.current_revision.clone_from(&new.update_revision);
        }
    }
}

fn write_status(set: &Seen<StatefulSet>, new: &StatefulSetStatus) -> Option<Action> {
    let mut comparable = set.status.clone().unwrap_or_default();
    for field in [&mut comparable.ready_replicas, &mut comparable.current_replicas, &mut comparable.updated_replicas] {
        *field = field.filter(|count| *count > 0);
    }
    if comparable == *new {
        return None;
    }
    let mut object = Object::clone(&set.raw);
    object.set(&["status"], serde_json::to_value(new).unwrap_or(Value::Null));
    Some(Action::update_status(Resource::of::<StatefulSet>(), object))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const FIRST: &str = "db-first";

    fn set(spec: Value) -> Value {
        let mut set = json!({"apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": {"name": "db", "namespace": "n", "uid": "db"},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "db"}},
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
                "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": []}}},
            "status": {"replicas": 0, "currentRevision": FIRST}});
        set["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        set
    }

    fn owner() -> Value {
        json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "db", "controller": true}])
    }

    /// A revision: the first one's template is another.
    fn revision(name: &str, number: i32, spec: &Value) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "ControllerRevision",
            "metadata": {"name": name, "namespace": "n", "uid": name, "labels": {"app": "db"}, "ownerReferences": owner()},
            "data": {"spec": {"template": {"$patch": "replace", "metadata": {"labels": {"app": "db"}}, "spec": spec}}},
            "revision": number})
    }

    fn revisions() -> [Value; 2] {
        [revision(FIRST, 1, &json!({"hostNetwork": true})), revision("db-second", 2, &json!({"containers": []}))]
    }

    fn pod(ordinal: i32, revision: &str, phase: &str) -> Value {
        let ready = if phase == "Running" { "True" } else { "False" };
        let name = format!("db-{ordinal}");
        json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "n", "uid": name, "ownerReferences": owner(), "labels": {"app": "db",
                "statefulset.kubernetes.io/pod-name": name, REVISION: revision}},
            "spec": {"containers": []},
            "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]}})
    }

    /// What is done about pods and claims, in short.
    fn decide(spec: Value, others: &[Value]) -> Vec<String> {
        let world = Snapshot::given(&StatefulSets::watches(), &[&[set(spec)], &revisions()[..], others].concat());
        let outcome = StatefulSets.reconcile(&Key::new("n", "db"), &world, Timestamp::UNIX_EPOCH).unwrap();
        let short = |action: &Action| match action {
            Action::Create { object, .. } => {
                Some(format!("create {}{}", object.name(), object.label(REVISION).map_or("", |name| &name[2..])))
            }
            Action::Delete { key, .. } => Some(format!("delete {}", key.name)),
            Action::Patch { key, patch, .. } => {
                let owner = &patch["metadata"]["ownerReferences"][0];
                Some(format!("{} goes with {}", key.name, owner["kind"].as_str().unwrap_or("nothing")))
            }
            _ => None,
        };
        outcome.actions.iter().filter_map(short).collect()
    }

    #[test]
    fn pods_come_in_order_or_all_at_once() {
        let ready = |ordinal| pod(ordinal, "db-second", "Running");
        let parallel = || json!({"podManagementPolicy": "Parallel"});
        assert_eq!(decide(json!({}), &[]), ["create db-0-second"]);
        assert_eq!(decide(json!({}), &[pod(0, "db-second", "Pending")]), Vec::<String>::new());
        assert_eq!(decide(json!({}), &[ready(0)]), ["create db-1-second"]);
        assert_eq!(decide(parallel(), &[]), ["create db-0-second", "create db-1-second"]);
        assert_eq!(decide(json!({"ordinals": {"start": 5}}), &[]), ["create db-5-second"]);
        assert_eq!(decide(json!({}), &[pod(0, "db-second", "Failed")]), ["delete db-0"]);
        let all = [ready(0), ready(1), ready(2), ready(3)];
        assert_eq!(decide(json!({}), &all), ["delete db-3"]);
        assert_eq!(decide(parallel(), &all), ["delete db-3", "delete db-2"]);
    }

    #[test]
    fn updates_go_from_the_highest_down_to_the_partition() {
        let old = |ordinal| pod(ordinal, FIRST, "Running");
        let rolling = |rolling: Value| json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": rolling}});
        assert_eq!(decide(json!({}), &[old(0), old(1)]), ["delete db-1"]);
        assert_eq!(decide(rolling(json!({"partition": 2})), &[old(0), old(1)]), Vec::<String>::new());
        assert_eq!(decide(rolling(json!({"partition": 1})), &[old(0)]), ["create db-1-second"]);
        assert_eq!(decide(rolling(json!({"partition": 2})), &[old(0)]), ["create db-1-first"]);
        let both = rolling(json!({"partition": 0, "maxUnavailable": 2}));
        assert_eq!(decide(both, &[old(0), old(1)]), ["delete db-1", "delete db-0"]);
        assert_eq!(decide(json!({"updateStrategy": {"type": "OnDelete"}}), &[old(0), old(1)]), Vec::<String>::new());
    }

    #[test]
    fn claims_come_before_their_pod_and_go_with_what_the_set_says() {
        let templates = json!([{"metadata": {"name": "data"}, "spec": {}}]);
        let policy = |scaled: &str, deleted: &str| {
            json!({"replicas": 1, "volumeClaimTemplates": templates,
                "persistentVolumeClaimRetentionPolicy": {"whenScaled": scaled, "whenDeleted": deleted}})
        };
        let claim = |ordinal: i32, owner: Value| {
            json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "metadata": {"name": format!("data-db-{ordinal}"), "namespace": "n", "uid": "c", "ownerReferences": owner},
                "spec": {}})
        };
        let ready = |ordinal| pod(ordinal, "db-second", "Running");
        assert_eq!(decide(policy("Retain", "Retain"), &[]), ["create data-db-0", "create db-0-second"]);
        let both = [ready(0), ready(1), claim(0, json!([])), claim(1, json!([]))];
        assert_eq!(decide(policy("Retain", "Retain"), &both), ["delete db-1"]);
        assert_eq!(decide(policy("Delete", "Retain"), &both), ["data-db-1 goes with Pod", "delete db-1"]);
        let wanted = ["data-db-0 goes with StatefulSet", "data-db-1 goes with StatefulSet", "delete db-1"];
        assert_eq!(decide(policy("Retain", "Delete"), &both), wanted);
        let stale = claim(0, json!([{"apiVersion": "v1", "kind": "Pod", "name": "db-0", "uid": "before"}]));
        assert_eq!(decide(policy("Delete", "Retain"), &[stale]), Vec::<String>::new(), "it goes with the pod before");
    }
}
