//! DaemonSets: a pod of a template on every node that it fits.
//!
//! Source: upstream `pkg/controller/daemon/daemon_controller.go`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, DaemonSetStatus};
use k8s_openapi::api::core::v1::{Node, Pod};
use kprov_schema::{Key, Object, Resource};
use serde_json::Value;

use super::machinery::action::{Action, Note, Outcome};
use super::machinery::claim::{claim, claimants};
use super::machinery::history::History;
use super::machinery::meta::{controller_key, reference};
use super::machinery::snapshot::{Seen, Snapshot};
use super::machinery::{Config, Controller, Watch, status, template};
use crate::informer::{Change, Entry, Unreadable};

mod failed;
mod pod;
mod update;

use failed::Failed;
use pod::{Fit, Fits};

/// Creations and deletions asked for in one round, as upstream's burst.
const BURST: usize = 250;
/// The label of revisions and pods that says which template they are of.
const HASH: &str = "controller-revision-hash";
const GENERATION: &str = "deprecated.daemonset.template.generation";
const POD_GENERATION: &str = "pod-template-generation";

/// Keeps a pod of each DaemonSet on every node that it fits.
#[derive(Default)]
pub struct DaemonSets {
    failed: Failed,
}

impl Controller for DaemonSets {
    const NAME: &'static str = "daemonset-controller";

    fn new(_: &Config, _: Timestamp) -> Self {
        Self::default()
    }

    fn watches() -> Vec<Watch> {
        vec![
            Watch::own::<DaemonSet>(),
            Watch::new::<Pod>(claimants::<DaemonSet>),
            Watch::new::<ControllerRevision>(claimants::<DaemonSet>),
            Watch::new::<Node>(of_node),
        ]
    }

    fn reconcile(&self, key: &Key, world: &Snapshot, now: Timestamp) -> Result<Outcome, Unreadable> {
        let Some(set) = world.get::<DaemonSet>(key)?.filter(|set| !set.raw.is_deleting()) else {
            return Ok(Outcome::nothing());
        };
        let (revisions, pods) = (claim::<ControllerRevision, _>(&set, world)?, claim::<Pod, _>(&set, world)?);
        let claiming: Vec<Action> = revisions.actions.into_iter().chain(pods.actions).collect();
        if !claiming.is_empty() {
            return Ok(claiming.into());
        }
        let collisions = set.status.as_ref().and_then(|status| status.collision_count);
        let mut history = History::of(&set, revisions.owned, world, HASH, collisions)?;
        let mut outcome = Outcome::from(std::mem::take(&mut history.actions));
        let round = Round::new(&set, &pods.owned, history, world, now)?;
        if world.failure().is_none() {
            self.advance(&round, &pods.owned, &mut outcome);
        }
        let (new, available_at) = round.status();
        available_at.into_iter().for_each(|at| outcome.recheck(at));
        outcome.actions.extend(write_status(&set, &new));
        Ok(outcome)
    }
}

/// A node that comes or changes what lets pods on it concerns every set. One that goes concerns those whose pods wait for
/// it: the pods that are on it are looked at when they go.
fn of_node(change: &Change, world: &Snapshot) -> Vec<Key> {
    let Some(new) = &change.new else { return change.old.iter().flat_map(|node| waiting(node, world)).collect() };
    let places = |node: &Object| [node.at(&["metadata", "labels"]).cloned(), node.at(&["spec", "taints"]).cloned()];
    if change.old.as_ref().is_some_and(|old| places(&old.raw) == places(&new.raw)) {
        return Vec::new();
    }
    world.cache(&Resource::of::<DaemonSet>()).all().iter().map(|entry| entry.key.clone()).collect()
}

/// The sets with pods for a node that were never bound.
fn waiting(gone: &Entry, world: &Snapshot) -> Vec<Key> {
    let pods = world.cache(&Resource::of::<Pod>()).all();
    let unbound = pods.iter().filter(|pod| pod.raw.text(&["spec", "nodeName"]).unwrap_or_default().is_empty());
    let is_for = |pod: &Entry| pod.typed::<Pod>().is_ok_and(|pod| pod::node(&pod) == Some(&*gone.key.name));
    unbound.filter_map(|pod| controller_key::<DaemonSet>(&pod.raw).filter(|_| is_for(pod))).collect()
}

impl DaemonSets {
    /// Creates and deletes pods; rolls an update on once that is all done.
    fn advance(&self, round: &Round<'_>, pods: &[Seen<Pod>], outcome: &mut Outcome) {
        let mut plan = round.manage(&self.failed, outcome);
        if plan.is_empty() {
            plan = round.roll();
        }
        outcome.actions.extend(plan.actions(round));
        let alive: BTreeSet<&str> = pods.iter().filter_map(|pod| pod.raw.label(HASH)).collect();
        let limit = round.set.spec.revision_history_limit;
        let lives = |hash: &str| alive.contains(hash);
        outcome.actions.extend(round.history.truncate(&round.set.raw, limit, |one| lives(&one.hash)));
    }
}

/// What there is of a set at one moment.
struct Round<'a> {
    set: &'a Seen<DaemonSet>,
    history: History,
    nodes: BTreeMap<String, Fit>,
    // By the node that they are on or made for, the ones that stay first.
    pods: BTreeMap<&'a str, Vec<&'a Seen<Pod>>>,
    now: Timestamp,
}

/// Pods to make and to delete.
#[derive(Default)]
struct Plan<'a> {
    create_on: Vec<&'a str>,
    delete: Vec<&'a Seen<Pod>>,
}

impl Plan<'_> {
    fn is_empty(&self) -> bool {
        self.create_on.is_empty() && self.delete.is_empty()
    }

    fn actions(&self, round: &Round<'_>) -> Vec<Action> {
        let owner = &round.set.raw;
        let hash = &round.history.present().hash;
        let create = self.create_on.iter().take(BURST).map(|node| template::create(owner, pod::of(owner, hash, node)));
        create.chain(self.delete.iter().take(BURST).map(|pod| template::delete(owner, pod))).collect()
    }
}

impl<'a> Round<'a> {
    fn new(
        set: &'a Seen<DaemonSet>,
        owned: &'a [Seen<Pod>],
        history: History,
        world: &Snapshot,
        now: Timestamp,
    ) -> Result<Self, Unreadable> {
        let fits = Fits::of(set);
        let nodes = world.all::<Node>()?.iter().map(|node| (node.raw.name().to_owned(), fits.on(node))).collect();
        let mut pods: BTreeMap<&str, Vec<&Seen<Pod>>> = BTreeMap::new();
        for pod in owned.iter().filter(|pod| !(status::is_finished(pod) && status::is_deleting(pod))) {
            if let Some(node) = pod::node(pod) {
                pods.entry(node).or_default().push(pod);
            }
        }
        pods.values_mut().for_each(|pods| pods.sort_by_key(|pod| pod::seniority(pod)));
        Ok(Self { set, history, nodes, pods, now })
    }

    fn on(&self, node: &str) -> &[&'a Seen<Pod>] {
        self.pods.get(node).map_or(&[], Vec::as_slice)
    }

    fn available_at(&self, pod: &Pod) -> Option<Timestamp> {
        status::available_at(pod, self.set.spec.min_ready_seconds.unwrap_or(0))
    }

    fn is_available(&self, pod: &Pod) -> bool {
        self.available_at(pod).is_some_and(|at| at <= self.now)
    }

    /// Whether a pod is of the present template.
    fn is_present(&self, pod: &Seen<Pod>) -> bool {
        let generation = self.set.raw.annotation(GENERATION);
        pod.raw.label(HASH) == Some(&*self.history.present().hash)
            || generation.is_some() && pod.raw.label(POD_GENERATION) == generation
    }

    /// A pod where one is missing, none where none may be.
    fn manage(&'a self, failed: &Failed, outcome: &mut Outcome) -> Plan<'a> {
        let mut plan = Plan::default();
        for (node, fit) in &self.nodes {
            let pods = self.on(node);
            match fit {
                Fit::Wanted if pods.is_empty() => plan.create_on.push(node),
                Fit::Wanted | Fit::Borne => {
                    let ended = pods.iter().filter(|pod| status::is_finished(pod) && !status::is_deleting(pod));
                    for pod in ended {
                        if self.may_replace(node, pod, failed, outcome) {
                            plan.delete.push(pod);
                        }
                    }
                    self.prune(node, *fit, &mut plan);
                }
                Fit::Unfit => plan.delete.extend(pods.iter().filter(|pod| !status::is_deleting(pod))),
            }
        }
        let lost = self.pods.iter().filter(|(node, _)| !self.nodes.contains_key(**node)).flat_map(|(_, pods)| pods);
        plan.delete.extend(lost.filter(|pod| pod::bound_to(pod).is_none()));
        plan
    }

    /// Says that an ended pod is replaced, unless pods fail on the node so often that it has to wait.
    fn may_replace(&self, node: &str, pod: &Seen<Pod>, failed: &Failed, outcome: &mut Outcome) -> bool {
        let name = format!("{}/{}", pod.raw.namespace(), pod.raw.name());
        let about = reference(&self.set.raw);
        if status::phase(pod) == "Succeeded" {
            let message = format!("Found succeeded daemon pod {name} on node {node}, will try to delete it");
            outcome.actions.push(Action::Record(Note::normal(about, "SucceededDaemonPod", message)));
            return true;
        }
        if let Some(until) = failed.until(&self.set.raw, node, self.now) {
            outcome.recheck(until);
            return false;
        }
        let message = format!("Found failed daemon pod {name} on node {node}, will try to kill it");
        outcome.actions.push(Action::Record(Note::warning(about, "FailedDaemonPod", message)));
        true
    }

    /// One pod a node; while surging, a ready one of an earlier template beside a new one that is not available yet.
    fn prune(&'a self, node: &'a str, fit: Fit, plan: &mut Plan<'a>) {
        let live: Vec<&Seen<Pod>> = self.on(node).iter().copied().filter(|pod| status::is_active(pod)).collect();
        if !self.surges() {
            plan.delete.extend(live.iter().skip(1));
            return;
        }
        if live.is_empty() && fit == Fit::Wanted {
            plan.create_on.push(node);
        }
        let (new, old): (Vec<_>, Vec<_>) = live.into_iter().partition(|pod| self.is_of_hash(pod));
        plan.delete.extend(new.iter().skip(1).chain(old.iter().skip(1)));
        if let (Some(new), Some(old)) = (new.first(), old.first())
            && (!status::is_ready(old) || self.is_available(new))
        {
            plan.delete.push(old);
        }
    }

    fn is_of_hash(&self, pod: &Seen<Pod>) -> bool {
        pod.raw.label(HASH) == Some(&*self.history.present().hash)
    }

    /// The counts, and when the next pod becomes available.
    fn status(&self) -> (DaemonSetStatus, Option<Timestamp>) {
        let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
        let some = |number: usize| Some(count(number)).filter(|number| *number > 0);
        let wanted = |node: &str| self.nodes.get(node) == Some(&Fit::Wanted);
        let desired = self.nodes.values().filter(|fit| **fit == Fit::Wanted).count();
        let there = self.pods.iter().filter(|(node, _)| self.nodes.contains_key(**node));
        let (well, astray): (Vec<_>, Vec<_>) = there.partition(|(node, _)| wanted(node));
        let first: Vec<&Seen<Pod>> = well.iter().map(|(_, pods)| pods[0]).collect();
        let moments: Vec<Timestamp> = first.iter().filter_map(|pod| self.available_at(pod)).collect();
        let available = moments.iter().filter(|at| **at <= self.now).count();
        let collisions = Some(self.history.collisions).filter(|count| *count > 0);
        let old = self.set.status.clone().unwrap_or_default();
        let new = DaemonSetStatus {
            desired_number_scheduled: count(desired),
            current_number_scheduled: count(first.len()),
            number_misscheduled: count(astray.len()),
            number_ready: count(first.iter().filter(|pod| status::is_ready(pod)).count()),
            number_available: some(available),
            number_unavailable: some(desired - available),
            updated_number_scheduled: some(first.iter().filter(|pod| self.is_present(pod)).count()),
            observed_generation: Some(self.set.raw.generation()),
            collision_count: collisions.or(old.collision_count),
            conditions: old.conditions,
        };
        (new, moments.into_iter().filter(|at| *at > self.now).min())
    }
}

fn write_status(set: &Seen<DaemonSet>, new: &DaemonSetStatus) -> Option<Action> {
    let mut comparable = set.status.clone().unwrap_or_default();
    for field in
        [&mut comparable.number_available, &mut comparable.number_unavailable, &mut comparable.updated_number_scheduled]
    {
        *field = field.filter(|number| *number > 0);
    }
    if comparable == *new {
        return None;
    }
    let mut object = Object::clone(&set.raw);
    object.set(&["status"], serde_json::to_value(new).unwrap_or(Value::Null));
    Some(Action::update_status(Resource::of::<DaemonSet>(), object))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A node with a taint if it has one.
    fn node(name: &str, taint: Option<(&str, &str)>) -> Value {
        let taints: Vec<Value> = taint.iter().map(|(key, effect)| json!({"key": key, "effect": effect})).collect();
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "uid": name, "labels": {"disk": name}},
            "spec": {"taints": taints}})
    }

    /// A pod of a generation of the template, on a node.
    fn pod(name: &str, on: &str, generation: &str, phase: &str) -> Value {
        let ready = if phase == "Running" { "True" } else { "False" };
        json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "n", "uid": name, "creationTimestamp": "2026-01-01T00:00:00Z",
                "labels": {"app": "x", POD_GENERATION: generation},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "uid": "d", "controller": true}]},
            "spec": {"nodeName": on, "containers": []},
            "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]}})
    }

    fn set(strategy: &Value, template: &Value) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "DaemonSet",
            "metadata": {"name": "d", "namespace": "n", "uid": "d", "annotations": {GENERATION: "2"}},
            "spec": {"selector": {"matchLabels": {"app": "x"}}, "updateStrategy": strategy,
                "template": {"metadata": {"labels": {"app": "x"}}, "spec": template}}})
    }

    fn rolling(unavailable: i32, surge: i32) -> Value {
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": unavailable, "maxSurge": surge}})
    }

    fn reconciled(objects: &[Value]) -> Vec<Action> {
        let world = Snapshot::given(&DaemonSets::watches(), objects);
        DaemonSets::default().reconcile(&Key::new("n", "d"), &world, Timestamp::UNIX_EPOCH).unwrap().actions
    }

    /// What is done about pods, in short. Those of generation 2 are of the set's template.
    fn decide(set: Value, others: &[Value]) -> Vec<String> {
        let [Action::Create { object: revision, .. }, ..] = &reconciled(std::slice::from_ref(&set))[..] else {
            panic!("no revision")
        };
        let mut objects = [&[set], others].concat();
        for pod in objects.iter_mut().filter(|one| one["metadata"]["labels"][POD_GENERATION] == "2") {
            pod["metadata"]["labels"][HASH] = json!(revision.label(HASH));
        }
        let short = |action: &Action| match action {
            Action::Create { object, .. } if object.kind() == "Pod" => {
                let pod: Pod = serde_json::from_value(Value::from(object.clone())).unwrap();
                Some(format!("create on {}", pod::node(&pod).unwrap()))
            }
            Action::Delete { key, .. } => Some(format!("delete {}", key.name)),
            Action::Record(note) => Some(note.reason.to_owned()),
            _ => None,
        };
        reconciled(&objects).iter().filter_map(short).collect()
    }

    #[test]
    fn a_pod_runs_where_it_fits_and_leaves_where_it_does_not() {
        let any = || set(&rolling(1, 0), &json!({"containers": []}));
        let nodes = [
            node("a", None),
            node("b", Some(("node.kubernetes.io/unschedulable", "NoSchedule"))),
            node("c", Some(("own", "NoSchedule"))),
            node("e", Some(("own", "NoExecute"))),
        ];
        assert_eq!(decide(any(), &nodes), ["create on a", "create on b"]);
        let pods = ["a", "b", "c", "e"].map(|on| pod(on, on, "2", "Running"));
        assert_eq!(decide(any(), &[&nodes[..], &pods].concat()), ["delete e"], "what runs bears NoSchedule");
        let choosy = set(&rolling(1, 0), &json!({"containers": [], "nodeSelector": {"disk": "b"}}));
        assert_eq!(decide(choosy, &nodes), ["create on b"]);
        let twice = [node("a", None), pod("p", "a", "2", "Running"), pod("q", "a", "2", "Running")];
        assert_eq!(decide(any(), &twice), ["delete q"]);
        let ended = [node("a", None), pod("p", "a", "2", "Failed")];
        assert_eq!(decide(any(), &ended), ["FailedDaemonPod", "delete p"]);
    }

    #[test]
    fn an_update_keeps_within_what_may_be_missing_or_too_many() {
        let update = |strategy: Value, pods: &[Value]| {
            let nodes: Vec<Value> = ["a", "b", "c"].map(|name| node(name, None)).into();
            decide(set(&strategy, &json!({"containers": []})), &[&nodes, pods].concat())
        };
        let old = ["a", "b", "c"].map(|on| pod(on, on, "1", "Running"));
        assert_eq!(update(rolling(1, 0), &old), ["delete a"]);
        assert_eq!(update(rolling(2, 0), &old), ["delete a", "delete b"]);
        assert_eq!(update(json!({"type": "OnDelete"}), &old), Vec::<String>::new());
        assert_eq!(update(rolling(0, 1), &old), ["create on a"]);
        let broken = [pod("a", "a", "1", "Running"), pod("b", "b", "1", "Pending"), pod("c", "c", "2", "Running")];
        assert_eq!(update(rolling(1, 0), &broken), ["delete b"], "what does not serve goes first");
        let surging = [&old[..], &[pod("new", "a", "2", "Pending")]].concat();
        assert_eq!(update(rolling(0, 1), &surging), Vec::<String>::new());
        let waiting = [&old[..2], &[pod("c", "c", "2", "Pending")]].concat();
        assert_eq!(update(rolling(1, 0), &waiting), Vec::<String>::new());
    }

    #[test]
    fn a_pod_is_tied_to_its_node_and_bears_its_troubles() {
        let owner = Object::try_from(set(
            &rolling(1, 0),
            &json!({"hostNetwork": true, "tolerations": [{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute",
                "operator": "Exists", "tolerationSeconds": 5}]}),
        ))
        .unwrap();
        let pod = pod::of(&owner, "h", "a");
        let tolerations = pod.at(&["spec", "tolerations"]).and_then(Value::as_array).unwrap();
        assert_eq!(tolerations.len(), 7);
        assert!(tolerations.iter().all(|one| one.get("tolerationSeconds").is_none()));
        assert_eq!((pod.label(HASH), pod.label(POD_GENERATION)), (Some("h"), Some("2")));
    }
}
