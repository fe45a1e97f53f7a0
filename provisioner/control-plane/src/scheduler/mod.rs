//! Gives every pod a node.
//!
//! [`decide()`] is pure over [`node::Nodes`], which is kept up to date change by change; a pod counts as bound from the
//! decision on, so that the next decision need not wait for the API server.

pub mod affinity;
pub mod claims;
pub mod decide;
pub mod domain;
pub mod filter;
pub mod node;
pub mod pod;
pub mod queue;
pub mod score;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kprov_schema::{Key, Object, Resource, Status, Subresource, Uid};
use serde_json::json;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::client::{Client, PatchKind};
use crate::controllers::machinery::action::Note;
use crate::controllers::machinery::meta::{controller_key, reference, time};
use crate::controllers::machinery::selector::has_labels;
use crate::controllers::machinery::{Recorder, status};
use crate::informer::{Caches, Entry, Informers};
use crate::world::World;
use claims::{Claims, Waits};
pub use decide::{Decision, Reasons, decide};
use node::Nodes;
use pod::PodInfo;
use queue::{News, Queue};

/// The scheduler's name, as pods ask for it.
pub const NAME: &str = "default-scheduler";

/// Bindings and conditions being written at the same time.
const PARALLEL_WRITES: usize = 1024;
/// Decisions in a row before events are looked at again.
const DECISIONS_IN_A_ROW: usize = 64;

/// A running scheduler. It stops when this is dropped.
pub struct Scheduler {
    _informers: Informers,
    _tasks: JoinSet<()>,
}

/// Starts the scheduler, acting as the client's user.
#[must_use]
pub fn start(client: &Client, world: &World) -> Scheduler {
    let kinds = [
        Resource::of::<Pod>(),
        Resource::of::<Node>(),
        Resource::of::<Service>(),
        Resource::of::<ReplicaSet>(),
        Resource::of::<PersistentVolumeClaim>(),
        Resource::of::<PersistentVolume>(),
        Resource::of::<StorageClass>(),
    ];
    let informers = Informers::start(client, world, kinds);
    let (recorder, recording) = Recorder::new(client, world);
    let mut tasks = JoinSet::new();
    tasks.spawn(recording);
    let scheduling = Scheduling {
        client: Arc::clone(client),
        world: world.clone(),
        caches: informers.caches(),
        recorder,
        inbox: Arc::default(),
        nodes: Nodes::default(),
        queue: Queue::default(),
        assumed: HashMap::new(),
    };
    tasks.spawn(scheduling.run());
    Scheduler { _informers: informers, _tasks: tasks }
}

/// Objects that changed since they were last looked at; its size is bounded by theirs.
#[derive(Default)]
struct Inbox {
    changed: Mutex<Changed>,
    woken: Notify,
    // For bindings that wait for volumes: claims changed, or pods went.
    claims: watch::Sender<()>,
}

#[derive(Default)]
struct Changed {
    nodes: HashSet<String>,
    pods: HashSet<Key>,
    storage: bool,
}

impl Inbox {
    fn put(&self, note: impl FnOnce(&mut Changed)) {
        note(&mut self.changed.lock().unwrap_or_else(PoisonError::into_inner));
        self.woken.notify_one();
    }
}

struct Scheduling {
    client: Client,
    world: World,
    caches: Arc<Caches>,
    recorder: Recorder,
    inbox: Arc<Inbox>,
    nodes: Nodes,
    queue: Queue,
    // Pods that are decided on while the cache does not show their node yet.
    assumed: HashMap<Key, Uid>,
}

type Bound = (Arc<PodInfo>, String, Result<(), Status>);
/// A write under way; how it ended, if it was a binding.
type Writing = BoxFuture<'static, Option<Bound>>;

impl Scheduling {
    async fn run(mut self) {
        for cache in self.caches.values() {
            cache.synced().await;
        }
        self.subscribe();
        let mut writes: FuturesUnordered<Writing> = FuturesUnordered::new();
        loop {
            self.take_in();
            let next = self.queue.ring(self.world.clock.now());
            let mut rested = true;
            for _ in 0..DECISIONS_IN_A_ROW {
                let Some(pod) = (writes.len() < PARALLEL_WRITES).then(|| self.queue.take()).flatten() else { break };
                writes.extend(self.place(&pod));
                rested = false;
            }
            let timer = async {
                match next {
                    Some(at) => self.world.clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                Some(written) = writes.next() => if let Some(bound) = written { self.bound(bound) },
                () = self.inbox.woken.notified() => {}
                () = tokio::task::yield_now(), if !rested => {}
                () = timer => {}
            }
        }
    }

    fn subscribe(&self) {
        let inbox = Arc::clone(&self.inbox);
        self.caches[&Resource::of::<Node>()].subscribe(move |change| {
            if let Some(entry) = change.latest() {
                inbox.put(|changed| changed.nodes.extend([entry.key.name.clone()]));
            }
        });
        let inbox = Arc::clone(&self.inbox);
        self.caches[&Resource::of::<Pod>()].subscribe(move |change| {
            if let Some(entry) = change.latest() {
                inbox.put(|changed| changed.pods.extend([entry.key.clone()]));
            }
            if change.new.is_none() {
                inbox.claims.send_replace(());
            }
        });
        let storage = [
            Resource::of::<PersistentVolumeClaim>(),
            Resource::of::<PersistentVolume>(),
            Resource::of::<StorageClass>(),
        ];
        for resource in storage {
            let inbox = Arc::clone(&self.inbox);
            self.caches[&resource].subscribe(move |change| {
                if change.latest().is_some() {
                    inbox.put(|changed| changed.storage = true);
                    inbox.claims.send_replace(());
                }
            });
        }
    }

    /// Brings nodes and queue up to date with what changed. Nodes first: pods are put on them.
    fn take_in(&mut self) {
        let Changed { nodes, pods, storage } =
            std::mem::take(&mut *self.inbox.changed.lock().unwrap_or_else(PoisonError::into_inner));
        if storage {
            self.queue.news(News::Storage, self.world.clock.now());
        }
        let mut nodes: Vec<String> = nodes.into_iter().collect();
        nodes.sort();
        for name in nodes {
            self.take_in_node(&name);
        }
        let mut pods: Vec<Arc<Entry>> = pods.into_iter().filter_map(|key| self.take_in_pod(&key)).collect();
        // What came first is decided on first.
        pods.sort_by_key(|entry| entry.revision);
        for entry in pods {
            self.enqueue(&entry);
        }
    }

    fn take_in_node(&mut self, name: &str) {
        let Some(entry) = self.caches[&Resource::of::<Node>()].get(&Key::new("", name)) else {
            self.nodes.remove_node(name);
            return;
        };
        let is_new = self.nodes.slot(name).is_none();
        match entry.typed::<Node>() {
            Ok(node) => {
                if self.nodes.put_node(&node) {
                    self.queue.news(News::Node, self.world.clock.now());
                }
            }
            Err(error) => tracing::error!(%error, "node is left out"),
        }
        if is_new {
            for entry in self.caches[&Resource::of::<Pod>()].on_node(name) {
                self.take_in_pod(&entry.key);
            }
        }
    }

    /// Takes a pod in; one that needs a node is returned.
    fn take_in_pod(&mut self, key: &Key) -> Option<Arc<Entry>> {
        let Some(entry) = self.caches[&Resource::of::<Pod>()].get(key) else {
            self.forget(key);
            return None;
        };
        let pod = match entry.typed::<Pod>() {
            Ok(pod) => pod,
            Err(error) => {
                // What its node was counted to give it stays counted: it may well be running.
                tracing::error!(%error, "pod is left as it was");
                self.queue.remove(key);
                return None;
            }
        };
        if status::is_finished(&pod) {
            self.forget(key);
            return None;
        }
        match pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).filter(|name| !name.is_empty()) {
            Some(node) => {
                self.settle(&entry, &pod, node);
                None
            }
            None if self.assumed.get(key) == Some(&entry.uid) => None,
            None => Some(entry),
        }
    }

    fn forget(&mut self, key: &Key) {
        self.assumed.remove(key);
        self.queue.remove(key);
        if self.nodes.remove_pod(key) {
            self.queue.news(News::Room, self.world.clock.now());
        }
    }

    /// The cache shows a pod on a node.
    fn settle(&mut self, entry: &Entry, pod: &Pod, node: &str) {
        self.assumed.remove(&entry.key);
        self.queue.remove(&entry.key);
        let same = |known: &Arc<PodInfo>| {
            known.raw.uid() == entry.uid
                && known.raw.generation() == entry.raw.generation()
                && known.deleting == entry.raw.is_deleting()
                && known.raw.at(&["metadata", "labels"]) == entry.raw.at(&["metadata", "labels"])
                && known.node.as_deref().is_none_or(|name| name == node)
        };
        if self.nodes.pod(&entry.key).is_some_and(same) {
            return;
        }
        self.nodes.put_pod(&Arc::new(PodInfo::new(&entry.raw, pod, None)), node);
        self.queue.news(News::Neighbour, self.world.clock.now());
    }

    fn enqueue(&mut self, entry: &Arc<Entry>) {
        let Ok(pod) = entry.typed::<Pod>() else { return };
        let spec = pod.spec.as_ref();
        let ours = spec.and_then(|spec| spec.scheduler_name.as_deref()).is_none_or(|name| name == NAME);
        let gated = spec.and_then(|spec| spec.scheduling_gates.as_ref()).is_some_and(|gates| !gates.is_empty());
        if !ours || gated || entry.raw.is_deleting() {
            self.queue.remove(&entry.key);
            return;
        }
        // Its own condition, written by us, is no reason to try again.
        let unchanged = |known: &Arc<PodInfo>| {
            known.raw.uid() == entry.uid
                && known.raw.at(&["spec"]) == entry.raw.at(&["spec"])
                && known.raw.at(&["metadata", "labels"]) == entry.raw.at(&["metadata", "labels"])
        };
        if self.queue.get(&entry.key).is_some_and(unchanged) {
            return;
        }
        let spread = default_spread(&self.caches, &entry.raw);
        self.queue.put(Arc::new(PodInfo::new(&entry.raw, &pod, spread.as_ref())));
    }

    /// Decides on a pod; the binding or the condition to be written.
    fn place(&mut self, pod: &Arc<PodInfo>) -> Option<Writing> {
        self.nodes.prepare(pod);
        let rng = &self.world.rng;
        let claims = Claims::of(pod, &self.caches);
        match decide(pod, &self.nodes, &claims, &mut || rng.next_u64()) {
            Decision::Bind(node) => {
                let chosen = self.nodes.slot(&node).and_then(|slot| self.nodes.at(slot));
                let first = chosen.and_then(|node| claims.prepare(node)).unwrap_or_default();
                self.assumed.insert(pod.key.clone(), pod.raw.uid());
                self.nodes.put_pod(pod, &node);
                self.queue.news(News::Neighbour, self.world.clock.now());
                let waits = Waits {
                    client: Arc::clone(&self.client),
                    caches: Arc::clone(&self.caches),
                    clock: Arc::clone(&self.world.clock),
                    moved: self.inbox.claims.subscribe(),
                    pod: Arc::clone(pod),
                };
                let unbound = claims.unbound().collect();
                Some(Box::pin(bind(waits, first, unbound, node)))
            }
            Decision::Wait(reasons) => {
                let explaining = self.explain(pod, &reasons);
                self.queue.wait(&pod.key, reasons, self.world.clock.now());
                explaining
            }
            Decision::Preempt { node, victims } => {
                tracing::error!(pod = %pod.key, node, victims = victims.len(), "decided to preempt, which nothing asks for");
                self.queue.retry(&pod.key, self.world.clock.now());
                None
            }
        }
    }

    fn bound(&mut self, (pod, node, result): Bound) {
        let about = reference(&pod.raw);
        match result {
            Ok(()) => {
                let message = format!("Successfully assigned {}/{} to {node}", pod.key.namespace, pod.key.name);
                self.recorder.record(NAME, Note::normal(about, "Scheduled", message));
            }
            Err(status) => {
                tracing::warn!(pod = %pod.key, node, error = %status, "binding refused");
                if self.assumed.remove(&pod.key).is_some() {
                    self.nodes.remove_pod(&pod.key);
                }
                if status.is_not_found() {
                    self.queue.remove(&pod.key);
                    return;
                }
                self.recorder
                    .record(NAME, Note::warning(about, "FailedScheduling", format!("binding rejected: {status}")));
                self.queue.retry(&pod.key, self.world.clock.now());
            }
        }
    }

    /// Says why a pod waits, in an event and in its status.
    fn explain(&self, pod: &PodInfo, reasons: &Reasons) -> Option<Writing> {
        self.recorder.record(NAME, Note::warning(reference(&pod.raw), "FailedScheduling", reasons.message.clone()));
        let current = self.caches[&Resource::of::<Pod>()].get(&pod.key).map(|entry| Arc::clone(&entry.raw));
        let current = current.filter(|current| current.uid() == pod.raw.uid())?;
        if shows(&current, &reasons.message) {
            return None;
        }
        let condition = json!({
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": reasons.message,
            "observedGeneration": current.generation(),
            "lastProbeTime": null,
            "lastTransitionTime": time(self.world.clock.now()),
        });
        let patch = json!({"metadata": {"uid": pod.raw.uid().0}, "status": {"conditions": [condition]}});
        let (client, key) = (Arc::clone(&self.client), pod.key.clone());
        Some(Box::pin(async move {
            let pods = Resource::of::<Pod>();
            let written = client.patch(&pods, &key, Some(Subresource::Status), PatchKind::Strategic, patch).await;
            if let Err(status) = written
                && !status.is_not_found()
            {
                tracing::warn!(pod = %key, error = %status, "PodScheduled condition not written");
            }
            None
        }))
    }
}

/// Whether a pod's condition says this already.
fn shows(pod: &Object, message: &str) -> bool {
    let conditions = pod.at(&["status", "conditions"]).and_then(serde_json::Value::as_array);
    conditions.into_iter().flatten().any(|one| {
        one.get("type").and_then(|text| text.as_str()) == Some("PodScheduled")
            && one.get("reason").and_then(|text| text.as_str()) == Some("Unschedulable")
            && one.get("message").and_then(|text| text.as_str()) == Some(message)
    })
}

/// Binds a pod, its claims before it.
async fn bind(waits: Waits, first: Vec<claims::Prepare>, unbound: Vec<Key>, node: String) -> Option<Bound> {
    let (client, pod) = (Arc::clone(&waits.client), Arc::clone(&waits.pod));
    if let Err(status) = waits.all(first, unbound).await {
        return Some((pod, node, Err(status)));
    }
    let body = json!({
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": pod.key.name, "namespace": pod.key.namespace, "uid": pod.raw.uid().0},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    });
    let binding = Object::try_from(body).expect("written as a map");
    let pods = Resource::of::<Pod>();
    let result = client.create(&pods, &pod.key, Some(Subresource::Binding), binding).await.map(|_| ());
    Some((pod, node, result))
}

/// The pods that one without spreading rules of its own is spread among: those of its services and its ReplicaSet.
fn default_spread(caches: &Caches, pod: &Object) -> Option<LabelSelector> {
    let mut pairs = BTreeMap::new();
    for service in caches[&Resource::of::<Service>()].in_namespace(pod.namespace()) {
        let Ok(service) =
            service.typed::<Service>().inspect_err(|error| tracing::error!(%error, "service spreads nothing"))
        else {
            continue;
        };
        let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref()).filter(|pairs| !pairs.is_empty());
        if let Some(selector) = selector.filter(|selector| has_labels(selector, pod)) {
            pairs.extend(selector.clone());
        }
    }
    let owner = controller_key::<ReplicaSet>(pod).and_then(|key| caches[&Resource::of::<ReplicaSet>()].get(&key));
    let set = owner.and_then(|entry| entry.typed::<ReplicaSet>().ok());
    let mut selector = set.map(|set| set.spec.selector.clone()).unwrap_or_default();
    selector.match_labels.get_or_insert_default().extend(pairs);
    let empty = selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty) && selector.match_expressions.is_none();
    if empty { None } else { Some(selector) }
}
