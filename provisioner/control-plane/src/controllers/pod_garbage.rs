//! Pods on nodes that do not exist any more.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use kprov_schema::{Key, Resource, Subresource};
use serde_json::json;

use super::machinery::action::{Action, Check, Outcome};
use super::machinery::meta::time;
use super::machinery::snapshot::{Seen, Snapshot};
use super::machinery::{Config, Controller, Watch, status};
use crate::client::{DeleteOptions, PatchKind, Preconditions};
use crate::informer::Unreadable;

/// How long a node must have been missing.
const QUARANTINE: Duration = Duration::from_secs(40);

/// Removes pods of missing nodes.
pub struct PodGarbage {
    // Since when nodes that pods name have been missing.
    missing: Mutex<HashMap<String, Timestamp>>,
}

impl Controller for PodGarbage {
    const NAME: &'static str = "pod-garbage-collector-controller";

    fn new(_: &Config, _: Timestamp) -> Self {
        Self { missing: Mutex::default() }
    }

    fn watches() -> Vec<Watch> {
        vec![
            Watch::own::<Node>(),
            Watch::new::<Pod>(|change, world| {
                let node = change
                    .new
                    .as_ref()
                    .and_then(|pod| pod.raw.text(&["spec", "nodeName"]))
                    .filter(|name| !name.is_empty());
                let key = node.map(|name| Key::new("", name));
                let missing = |key: &Key| world.cache(&Resource::of::<Node>()).get(key).is_none();
                key.filter(missing).into_iter().collect()
            }),
        ]
    }

    fn reconcile(&self, key: &Key, world: &Snapshot, now: Timestamp) -> Result<Outcome, Unreadable> {
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        let pods = world.on_node::<Pod>(&key.name)?;
        if world.get::<Node>(key)?.is_some() || pods.is_empty() {
            missing.remove(&key.name);
            return Ok(Outcome::nothing());
        }
        let until = *missing.entry(key.name.clone()).or_insert(now) + QUARANTINE;
        if until > now {
            return Ok(Outcome { actions: Vec::new(), recheck_at: Some(until) });
        }
        let absent = Check::Absent { resource: Resource::of::<Node>(), key: key.clone(), uid: None };
        let mut actions = vec![Action::Check(absent)];
        actions.extend(pods.iter().filter(|pod| !status::is_finished(pod)).map(|pod| fail(pod, now)));
        actions.extend(pods.iter().map(remove));
        Ok(actions.into())
    }
}

fn fail(pod: &Seen<Pod>, now: Timestamp) -> Action {
    let condition = json!({
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "DeletionByPodGC",
        "message": "PodGC: node no longer exists",
        "lastTransitionTime": time(now),
    });
    Action::Patch {
        resource: Resource::of::<Pod>(),
        key: pod.raw.key(),
        subresource: Some(Subresource::Status),
        kind: PatchKind::Strategic,
        patch: json!({"metadata": {"uid": pod.raw.uid().0}, "status": {"phase": "Failed", "conditions": [condition]}}),
    }
}

fn remove(pod: &Seen<Pod>) -> Action {
    Action::Delete {
        resource: Resource::of::<Pod>(),
        key: pod.raw.key(),
        options: DeleteOptions {
            grace_seconds: Some(0),
            preconditions: Preconditions { uid: Some(pod.raw.uid().0), resource_version: None },
            propagation: None,
        },
        report: None,
    }
}
