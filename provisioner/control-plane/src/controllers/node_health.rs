//! Whether nodes are alive: silent ones become unknown, and conditions become taints.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, NodeCondition, Pod};
use kprov_schema::{Key, Object, Resource, Subresource};
use serde_json::{Value, json};

use super::machinery::action::{Action, Note, Outcome};
use super::machinery::meta::{reference, time};
use super::machinery::snapshot::{Seen, Snapshot};
use super::machinery::{Config, Controller, Watch, status};
use crate::client::PatchKind;
use crate::informer::Unreadable;

const LEASES: &str = "kube-node-lease";
/// How long a new node may take to post its first status.
const STARTUP: Duration = Duration::from_secs(60);

/// Watches over nodes.
pub struct NodeHealth {
    grace: Duration,
    // Nodes that were silent while nobody listened get their time anew.
    started: Timestamp,
}

impl Controller for NodeHealth {
    const NAME: &'static str = "node-controller";

    fn new(config: &Config, now: Timestamp) -> Self {
        Self { grace: config.node_grace, started: now }
    }

    fn watches() -> Vec<Watch> {
        vec![
            Watch::own::<Node>(),
            Watch::new::<Lease>(|change, _| {
                let lease = change.latest().filter(|entry| entry.key.namespace == LEASES);
                lease.map(|entry| Key::new("", &entry.key.name)).into_iter().collect()
            }),
            Watch::reading::<Pod>(),
        ]
    }

    fn reconcile(&self, key: &Key, world: &Snapshot, now: Timestamp) -> Result<Outcome, Unreadable> {
        let Some(node) = world.get::<Node>(key)?.filter(|node| !node.raw.is_deleting()) else {
            return Ok(Outcome::nothing());
        };
        let lease = world.get::<Lease>(&Key::new(LEASES, &key.name))?;
        let deadline = self.deadline(&node, lease.as_deref());
        if deadline <= now {
            let actions = lose(&node, world, now)?;
            if !actions.is_empty() {
                return Ok(actions.into());
            }
        }
        let mut outcome = Outcome::from(keep_marks(&node, now).into_iter().collect::<Vec<_>>());
        if deadline > now {
            outcome.recheck(deadline);
        }
        Ok(outcome)
    }
}

fn condition<'a>(node: &'a Node, kind: &str) -> Option<&'a NodeCondition> {
    node.status.as_ref()?.conditions.iter().flatten().find(|condition| condition.type_ == kind)
}

impl NodeHealth {
    /// Until when the node's last sign of life counts.
    fn deadline(&self, node: &Node, lease: Option<&Lease>) -> Timestamp {
        let renewed = lease.and_then(|lease| lease.spec.as_ref()?.renew_time.as_ref()).map(|time| time.0);
        let posted = condition(node, "Ready").and_then(|ready| ready.last_heartbeat_time.as_ref()).map(|time| time.0);
        let created = node.metadata.creation_timestamp.as_ref().map(|time| time.0);
        let grace = if posted.is_some() || renewed.is_some() { self.grace } else { STARTUP.max(self.grace) };
        let heard = [renewed, posted, created].into_iter().flatten().max().unwrap_or(self.started);
        heard.max(self.started) + grace
    }
}

/// Marks a silent node's conditions unknown, and its pods not ready.
fn lose(node: &Seen<Node>, world: &Snapshot, now: Timestamp) -> Result<Vec<Action>, Unreadable> {
    let mut object = Object::clone(&node.raw);
    let mut conditions = object.at(&["status", "conditions"]).and_then(Value::as_array).cloned().unwrap_or_default();
    let was_ready = condition(node, "Ready").is_some_and(|ready| ready.status == "True");
    let mut changed = false;
    for kind in ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"] {
        match conditions.iter_mut().find(|one| one["type"] == kind) {
            None => {
                let created = node.raw.at(&["metadata", "creationTimestamp"]).cloned().unwrap_or_default();
                conditions.push(json!({
                    "type": kind, "status": "Unknown", "reason": "NodeStatusNeverUpdated",
                    "message": "Kubelet never posted node status.",
                    "lastHeartbeatTime": created, "lastTransitionTime": time(now),
                }));
                changed = true;
            }
            Some(one) if one["status"] != "Unknown" => {
                one["status"] = json!("Unknown");
                one["reason"] = json!("NodeStatusUnknown");
                one["message"] = json!("Kubelet stopped posting node status.");
                one["lastTransitionTime"] = time(now);
                changed = true;
            }
            Some(_) => {}
        }
    }
    if !changed {
        return Ok(Vec::new());
    }
    object.set(&["status", "conditions"], Value::Array(conditions));
    let mut actions = vec![Action::update_status(Resource::of::<Node>(), object)];
    if was_ready {
        let message = format!("Node {} status is now: NodeNotReady", node.raw.name());
        actions.push(Action::Record(Note::normal(reference(&node.raw), "NodeNotReady", message)));
        for pod in world.on_node::<Pod>(node.raw.name())?.iter().filter(|pod| status::is_ready(pod)) {
            actions.push(not_ready(pod, now));
            actions.push(Action::Record(Note::warning(reference(&pod.raw), "NodeNotReady", "Node is not ready")));
        }
    }
    Ok(actions)
}

fn not_ready(pod: &Seen<Pod>, now: Timestamp) -> Action {
    let condition = json!({"type": "Ready", "status": "False", "lastTransitionTime": time(now)});
    Action::Patch {
        resource: Resource::of::<Pod>(),
        key: pod.raw.key(),
        subresource: Some(Subresource::Status),
        kind: PatchKind::Strategic,
        patch: json!({"metadata": {"uid": pod.raw.uid().0}, "status": {"conditions": [condition]}}),
    }
}

/// Conditions and what they mean as a taint: type, status, key of the taint, whether pods there have to go too.
const MARKS: &[(&str, &str, &str, bool)] = &[
    ("Ready", "False", "node.kubernetes.io/not-ready", true),
    ("Ready", "Unknown", "node.kubernetes.io/unreachable", true),
    ("MemoryPressure", "True", "node.kubernetes.io/memory-pressure", false),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure", false),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure", false),
    ("NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable", false),
];
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// The taints that a node's conditions mean: key and effect.
fn wanted_taints(node: &Node) -> Vec<(&'static str, &'static str)> {
    let mut wanted = Vec::new();
    for (kind, status, key, evicts) in MARKS {
        if condition(node, kind).is_some_and(|condition| condition.status == *status) {
            wanted.push((*key, "NoSchedule"));
            if *evicts {
                wanted.push((*key, "NoExecute"));
            }
        }
    }
    if node.spec.as_ref().is_some_and(|spec| spec.unschedulable == Some(true)) {
        wanted.push((UNSCHEDULABLE, "NoSchedule"));
    }
    // A node that has not said yet whether it is ready keeps the mark it came with.
    if condition(node, "Ready").is_none() {
        wanted.push((MARKS[0].2, "NoSchedule"));
    }
    wanted
}

/// Brings taints and the older names of labels in line.
fn keep_marks(node: &Seen<Node>, now: Timestamp) -> Option<Action> {
    let old = node.raw.at(&["spec", "taints"]).and_then(Value::as_array).cloned().unwrap_or_default();
    let wanted = wanted_taints(node);
    let ours = |key: &str| key == UNSCHEDULABLE || MARKS.iter().any(|(_, _, one, _)| *one == key);
    let is = |taint: &Value, key: &str, effect: &str| taint["key"] == key && taint["effect"] == effect;
    let mut taints: Vec<Value> = old
        .iter()
        .filter(|taint| {
            let key = taint["key"].as_str().unwrap_or_default();
            !ours(key) || wanted.iter().any(|(key, effect)| is(taint, key, effect))
        })
        .cloned()
        .collect();
    for (key, effect) in wanted {
        if !taints.iter().any(|taint| is(taint, key, effect)) {
            taints.push(json!({"key": key, "effect": effect, "timeAdded": time(now)}));
        }
    }
    // Evictions count from the moment that a taint came.
    for taint in taints.iter_mut().filter(|taint| taint["effect"] == "NoExecute" && taint.get("timeAdded").is_none()) {
        taint["timeAdded"] = time(now);
    }
    let mut object = Object::clone(&node.raw);
    for part in ["arch", "os"] {
        let value = node.raw.label(&format!("kubernetes.io/{part}")).map(|value| json!(value));
        if let Some(value) = value {
            object.set(&["metadata", "labels", &format!("beta.kubernetes.io/{part}")], value);
        }
    }
    if taints != old {
        object.set(&["spec", "taints"], Value::Array(taints));
    }
    (object != *node.raw).then(|| Action::update(Resource::of::<Node>(), object))
}
