//! Evicts pods from nodes whose taints they do not bear, or not for longer.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use kprov_schema::{Key, Resource, Subresource, Uid};
use serde_json::json;

use super::machinery::action::{Action, Note, Outcome};
use super::machinery::meta::{reference, time};
use super::machinery::snapshot::{Seen, Snapshot};
use super::machinery::taint::bears;
use super::machinery::{Config, Controller, Watch, status};
use crate::client::PatchKind;
use crate::informer::{Change, Unreadable};

/// Evicts pods by taint.
pub struct PodEviction {
    // Pods whose eviction is due later, so that its end can be told in an event.
    planned: Mutex<HashMap<Key, Uid>>,
}

impl Controller for PodEviction {
    const NAME: &'static str = "taint-eviction-controller";

    fn new(_: &Config, _: Timestamp) -> Self {
        Self { planned: Mutex::default() }
    }

    fn watches() -> Vec<Watch> {
        vec![Watch::own::<Pod>(), Watch::new::<Node>(pods_of_node)]
    }

    fn reconcile(&self, key: &Key, world: &Snapshot, now: Timestamp) -> Result<Outcome, Unreadable> {
        let mut planned = self.planned.lock().unwrap_or_else(PoisonError::into_inner);
        let pod = world.get::<Pod>(key)?.filter(|pod| !status::is_deleting(pod) && !status::is_finished(pod));
        let Some(pod) = pod else {
            return Ok(planned.remove(key).map(|uid| gone(key, &uid)).into_iter().collect::<Vec<_>>().into());
        };
        match due(&pod, world)? {
            Due::Never => Ok(planned.remove(key).map(|_| cancelled(&pod)).into_iter().collect::<Vec<_>>().into()),
            Due::At(at) if at > now => {
                planned.insert(key.clone(), pod.raw.uid());
                Ok(Outcome { actions: Vec::new(), recheck_at: Some(at) })
            }
            Due::Now | Due::At(_) => Ok(evict(&pod, now).into()),
        }
    }
}

/// Pods on a node whose evicting taints changed.
fn pods_of_node(change: &Change, world: &Snapshot) -> Vec<Key> {
    let taints = |side: &Option<std::sync::Arc<crate::informer::Entry>>| {
        side.as_ref().and_then(|entry| entry.raw.at(&["spec", "taints"]).cloned())
    };
    let Some(node) = change.new.as_ref().filter(|_| taints(&change.old) != taints(&change.new)) else {
        return Vec::new();
    };
    world.cache(&Resource::of::<Pod>()).on_node(&node.key.name).iter().map(|pod| pod.key.clone()).collect()
}

/// When a pod has to go.
#[derive(Debug, PartialEq)]
enum Due {
    Never,
    Now,
    At(Timestamp),
}

fn due(pod: &Seen<Pod>, world: &Snapshot) -> Result<Due, Unreadable> {
    let spec = pod.spec.clone().unwrap_or_default();
    let Some(name) = spec.node_name.filter(|name| !name.is_empty()) else { return Ok(Due::Never) };
    let Some(node) = world.get::<Node>(&Key::new("", name))? else { return Ok(Due::Never) };
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
    let mut at = None;
    for taint in taints.iter().filter(|taint| taint.effect == "NoExecute") {
        let bearing = spec.tolerations.iter().flatten().filter(|toleration| bears(toleration, taint));
        let seconds: Vec<Option<i64>> = bearing.map(|toleration| toleration.toleration_seconds).collect();
        if seconds.is_empty() {
            return Ok(Due::Now);
        }
        let shortest = seconds.into_iter().flatten().min();
        let Some(end) = shortest.and_then(|seconds| until(taint, seconds)) else { continue };
        at = Some(at.map_or(end, |earlier: Timestamp| earlier.min(end)));
    }
    Ok(at.map_or(Due::Never, Due::At))
}

/// The end of a toleration, once the moment at which the taint came is known.
fn until(taint: &Taint, seconds: i64) -> Option<Timestamp> {
    Some(taint.time_added.as_ref()?.0 + Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

fn evict(pod: &Seen<Pod>, now: Timestamp) -> Vec<Action> {
    let condition = json!({
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "DeletionByTaintManager",
        "message": "Taint manager: deleting due to NoExecute taint",
        "lastTransitionTime": time(now),
    });
    let key = pod.raw.key();
    vec![
        Action::Record(Note::normal(reference(&pod.raw), REASON, format!("Marking for deletion Pod {key}"))),
        Action::Patch {
            resource: Resource::of::<Pod>(),
            key: key.clone(),
            subresource: Some(Subresource::Status),
            kind: PatchKind::Strategic,
            patch: json!({"metadata": {"uid": pod.raw.uid().0}, "status": {"conditions": [condition]}}),
        },
        Action::delete(Resource::of::<Pod>(), key, &pod.raw.uid()),
    ]
}

const REASON: &str = "TaintManagerEviction";

fn cancelled(pod: &Seen<Pod>) -> Action {
    Action::Record(Note::normal(reference(&pod.raw), REASON, format!("Cancelling deletion of Pod {}", pod.raw.key())))
}

/// A pod with a planned eviction is gone. Upstream's timed queue words the end of every plan as a cancellation.
fn gone(key: &Key, uid: &Uid) -> Action {
    let about = k8s_openapi::api::core::v1::ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        namespace: Some(key.namespace.clone()),
        name: Some(key.name.clone()),
        uid: Some(uid.0.clone()),
        ..Default::default()
    };
    Action::Record(Note::normal(about, REASON, format!("Cancelling deletion of Pod {key}")))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn decide(taints: Value, tolerations: Value) -> Due {
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "uid": "n"}, "spec": {"taints": taints}});
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "ns", "uid": "p"},
            "spec": {"nodeName": "n1", "containers": [], "tolerations": tolerations}});
        let world = Snapshot::given(&PodEviction::watches(), &[node, pod]);
        due(&world.get::<Pod>(&Key::new("ns", "p")).unwrap().unwrap(), &world).unwrap()
    }

    #[test]
    fn pods_go_when_no_toleration_holds_any_longer() {
        let taint = json!([{"key": "k", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"}]);
        let bearing = |seconds: Option<i64>| json!([{"key": "k", "operator": "Exists", "tolerationSeconds": seconds}]);
        assert_eq!(decide(json!([]), json!([])), Due::Never);
        assert_eq!(decide(json!([{"key": "k", "effect": "NoSchedule"}]), json!([])), Due::Never);
        assert_eq!(decide(taint.clone(), json!([])), Due::Now);
        assert_eq!(decide(taint.clone(), bearing(None)), Due::Never);
        assert_eq!(decide(taint, bearing(Some(300))), Due::At("2026-01-01T00:05:00Z".parse().unwrap()));
    }
}
