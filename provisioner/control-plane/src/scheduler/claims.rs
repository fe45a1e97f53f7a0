//! The claims of a pod: which nodes reach their volumes, and what is yet to be bound when the pod has a node.
//!
//! Source: `pkg/scheduler/framework/plugins/volumebinding`

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, TopologySelectorTerm};
use k8s_openapi::api::storage::v1::StorageClass;
use kprov_schema::{Key, Object, Resource, Status, Typed};
use serde_json::json;
use tokio::sync::watch;

use super::node::NodeInfo;
use super::pod::PodInfo;
use crate::client::{Client, PatchKind};
use crate::controllers::binding::matching::{
    BOUND_BY_CONTROLLER, SELECTED_NODE, Where, class_of_claim, find, is_bound, volume_name, waits,
};
use crate::controllers::machinery::affinity::NodeTerm;
use crate::controllers::machinery::meta::reference;
use crate::informer::{Caches, Entry};
use crate::world::Clock;

/// Name of the filter.
pub const FILTER: &str = "VolumeBinding";
/// How long a pod may wait for volumes that are being made on its node.
const LONGEST: Duration = Duration::from_mins(10);

/// What a pod's claims come to.
#[derive(Default)]
pub struct Claims {
    /// Why the pod can't go anywhere, whatever the node.
    pub refusal: Option<String>,
    bound: Vec<Bound>,
    waiting: Vec<Waiting>,
    volumes: Vec<Arc<PersistentVolume>>,
}

/// A claim that has its volume.
enum Bound {
    /// The terms of its node affinity; `None` is everywhere.
    Reach(Option<Vec<NodeTerm>>),
    /// The volume is not there.
    Lost,
}

/// A claim whose volume depends on the node.
struct Waiting {
    raw: Arc<Object>,
    claim: Arc<PersistentVolumeClaim>,
    class: Arc<StorageClass>,
}

/// What must be written before the pod is bound to its node.
#[derive(Debug, PartialEq)]
pub enum Prepare {
    /// A volume is set aside for a claim: its name, the patch.
    SetAside(String, serde_json::Value),
    /// A claim asks for a volume on the node: its key, the patch.
    Provision(Key, serde_json::Value),
}

impl Claims {
    /// Looks the claims of a pod up.
    #[must_use]
    pub fn of(pod: &PodInfo, caches: &Caches) -> Self {
        let mut claims = Self::default();
        for name in &pod.claims {
            if let Err(why) = claims.take(&Key::new(pod.key.namespace.clone(), name.clone()), caches) {
                return Self { refusal: Some(why), ..Self::default() };
            }
        }
        if !claims.waiting.is_empty() {
            let all = caches[&Resource::of::<PersistentVolume>()].all();
            claims.volumes = all.iter().filter_map(|entry| entry.typed().ok()).collect();
        }
        claims
    }

    fn take(&mut self, key: &Key, caches: &Caches) -> Result<(), String> {
        let name = &key.name;
        let Some((entry, claim)) = read::<PersistentVolumeClaim>(caches, key) else {
            return Err(format!("persistentvolumeclaim {name:?} not found"));
        };
        if entry.raw.is_deleting() {
            return Err(format!("persistentvolumeclaim {name:?} is being deleted"));
        }
        let phase = entry.raw.text(&["status", "phase"]);
        let volume = volume_name(&claim).unwrap_or_default();
        if phase == Some("Lost") {
            return Err(format!("persistentvolumeclaim {name:?} bound to non-existent persistentvolume {volume:?}"));
        }
        if is_bound(&claim) {
            let found = read::<PersistentVolume>(caches, &Key::new("", volume));
            self.bound.push(found.map_or(Bound::Lost, |(_, volume)| Bound::Reach(reach(&volume))));
            return Ok(());
        }
        let class = read::<StorageClass>(caches, &Key::new("", class_of_claim(&claim)));
        match class.filter(|(_, class)| waits(Some(class)) && volume.is_empty()) {
            Some((_, class)) => self.waiting.push(Waiting { raw: Arc::clone(&entry.raw), claim, class }),
            None => return Err("pod has unbound immediate PersistentVolumeClaims".to_owned()),
        }
        Ok(())
    }

    /// Why the volumes keep a pod off a node, in upstream's words.
    #[must_use]
    pub fn obstacle(&self, node: &NodeInfo) -> Option<&'static str> {
        let lost = self.bound.iter().any(|one| matches!(one, Bound::Lost));
        let far = |one: &Bound| matches!(one, Bound::Reach(Some(terms)) if !hold(terms, node));
        if lost {
            Some("node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)")
        } else if self.bound.iter().any(far) {
            Some("node(s) didn't match PersistentVolume's node affinity")
        } else if self.prepare(node).is_none() {
            Some("node(s) didn't find available persistent volumes to bind")
        } else {
            None
        }
    }

    /// What must be written for a pod to run on a node; `None` when a claim can't have a volume there.
    #[must_use]
    pub fn prepare(&self, node: &NodeInfo) -> Option<Vec<Prepare>> {
        let mut taken: Vec<String> = Vec::new();
        let mut all = Vec::new();
        for waiting in &self.waiting {
            let selected = waiting.raw.annotation(SELECTED_NODE);
            if selected.is_some_and(|name| name != node.name) {
                return None;
            }
            let reachable = |volume: &PersistentVolume| {
                let free = !taken.iter().any(|name| Some(name) == volume.metadata.name.as_ref());
                free && reach(volume).is_none_or(|terms| hold(&terms, node))
            };
            let found = find(&waiting.claim, &self.volumes, Where::Reachable(&reachable));
            match found.filter(|_| selected.is_none()) {
                Some(volume) => {
                    let name = volume.metadata.name.clone().unwrap_or_default();
                    all.push(Prepare::SetAside(name.clone(), set_aside(volume, &waiting.raw)));
                    taken.push(name);
                }
                None if waiting.is_provided(node) => {
                    all.extend(selected.is_none().then(|| waiting.provision(node)));
                }
                None => return None,
            }
        }
        Some(all)
    }

    /// The claims that must be bound before the pod is.
    pub fn unbound(&self) -> impl Iterator<Item = Key> {
        self.waiting.iter().map(|waiting| waiting.raw.key())
    }
}

impl Waiting {
    /// Whether somebody makes volumes of the class for a node.
    fn is_provided(&self, node: &NodeInfo) -> bool {
        let topologies = self.class.allowed_topologies.as_deref().unwrap_or_default();
        self.class.provisioner != "kubernetes.io/no-provisioner"
            && (topologies.is_empty() || topologies.iter().any(|term| is_within(term, node)))
    }

    fn provision(&self, node: &NodeInfo) -> Prepare {
        let version = self.raw.at(&["metadata", "resourceVersion"]).cloned().unwrap_or_default();
        let annotations = json!({SELECTED_NODE: node.name});
        let meta = json!({"uid": self.raw.uid().0, "resourceVersion": version, "annotations": annotations});
        Prepare::Provision(self.raw.key(), json!({"metadata": meta}))
    }
}

fn is_within(term: &TopologySelectorTerm, node: &NodeInfo) -> bool {
    let labels = term.match_label_expressions.iter().flatten();
    labels
        .into_iter()
        .all(|one| node.label(&one.key).is_some_and(|value| one.values.iter().any(|wanted| wanted == value)))
}

fn set_aside(volume: &PersistentVolume, claim: &Object) -> serde_json::Value {
    let meta = &volume.metadata;
    let named = volume.spec.as_ref().is_some_and(|spec| spec.claim_ref.is_some());
    let mut patch = json!({
        "metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version},
        "spec": {"claimRef": reference(claim)},
    });
    if !named {
        patch["metadata"]["annotations"] = json!({BOUND_BY_CONTROLLER: "yes"});
    }
    patch
}

fn hold(terms: &[NodeTerm], node: &NodeInfo) -> bool {
    terms.iter().any(|term| term.holds(&node.name, |key| node.label(key)))
}

fn reach(volume: &PersistentVolume) -> Option<Vec<NodeTerm>> {
    let affinity = volume.spec.as_ref()?.node_affinity.as_ref()?.required.as_ref()?;
    Some(affinity.node_selector_terms.iter().map(NodeTerm::of).collect())
}

fn read<T: Typed + Send + Sync + 'static>(caches: &Caches, key: &Key) -> Option<(Arc<Entry>, Arc<T>)> {
    let entry = caches[&Resource::of::<T>()].get(key)?;
    let typed = entry.typed().inspect_err(|error| tracing::error!(%error, "left out of scheduling")).ok()?;
    Some((entry, typed))
}

/// Preparing the volumes of a pod that has its node.
pub(super) struct Waits {
    pub(super) client: Client,
    pub(super) caches: Arc<Caches>,
    pub(super) clock: Arc<dyn Clock>,
    /// Told of every change of claims, and when pods go.
    pub(super) moved: watch::Receiver<()>,
    pub(super) pod: Arc<PodInfo>,
}

impl Waits {
    /// Writes what must be written, then waits until all claims are bound.
    ///
    /// Errors: the API server refused, the pod has gone, or it took too long.
    pub(super) async fn all(mut self, first: Vec<Prepare>, unbound: Vec<Key>) -> Result<(), Status> {
        for step in first {
            let (resource, key, patch) = match step {
                Prepare::SetAside(name, patch) => (Resource::of::<PersistentVolume>(), Key::new("", name), patch),
                Prepare::Provision(key, patch) => (Resource::of::<PersistentVolumeClaim>(), key, patch),
            };
            self.client.patch(&resource, &key, None, PatchKind::Merge, patch).await?;
        }
        let deadline = self.clock.now() + LONGEST;
        loop {
            self.moved.mark_unchanged();
            if unbound.iter().all(|key| self.is_bound(key)) {
                return Ok(());
            }
            if !self.is_there() {
                return Err(Status::not_found(&Resource::of::<Pod>(), &self.pod.key.name));
            }
            tokio::select! {
                // The sender lives as long as the scheduler that asks.
                moved = self.moved.changed() => moved.map_err(Status::internal)?,
                () = self.clock.sleep_until(deadline) => return Err(Status::internal("binding volumes: timed out waiting for the condition")),
            }
        }
    }

    fn is_bound(&self, key: &Key) -> bool {
        read::<PersistentVolumeClaim>(&self.caches, key).is_some_and(|(_, claim)| is_bound(&claim))
    }

    fn is_there(&self) -> bool {
        let entry = self.caches[&Resource::of::<Pod>()].get(&self.pod.key);
        entry.is_some_and(|entry| entry.uid == self.pod.raw.uid() && !entry.raw.is_deleting())
    }
}
