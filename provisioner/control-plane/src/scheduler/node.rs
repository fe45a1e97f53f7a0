//! Nodes with what is on them, kept up to date pod by pod.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Taint};
use kprov_schema::Key;
use kprov_schema::quantity::Quantity;

use super::pod::{Group, HostPort, PodInfo, Resources};

/// Groups of pods that are counted all the time; beyond it the one counted longest goes.
const COUNTED_GROUPS: usize = 512;

/// A node and what is on it.
#[derive(Debug)]
pub struct NodeInfo {
    /// Name.
    pub name: String,
    labels: BTreeMap<String, String>,
    /// Taints.
    pub taints: Vec<Taint>,
    /// Whether it is cordoned.
    pub unschedulable: bool,
    /// What pods may take.
    pub allocatable: Resources,
    /// How many pods it takes.
    pub max_pods: usize,
    /// Sizes of images that it has.
    pub images: HashMap<String, i64>,
    /// What its pods ask for.
    pub requested: Resources,
    /// The same with guesses for those that ask for nothing.
    pub assumed: Resources,
    /// Ports that its pods take.
    pub ports: Vec<HostPort>,
    pods: HashMap<Key, Arc<PodInfo>>,
}

impl NodeInfo {
    fn new(node: &Node) -> Self {
        let (spec, status) = (node.spec.clone().unwrap_or_default(), node.status.clone().unwrap_or_default());
        let allocatable = status.allocatable.as_ref();
        let max_pods = allocatable.and_then(|all| all.get("pods")).map_or(0, |number| Quantity::from(number).value());
        let images = status.images.iter().flatten().flat_map(|image| {
            let size = image.size_bytes.unwrap_or(0);
            image.names.iter().flatten().map(move |name| (name.clone(), size))
        });
        Self {
            name: node.metadata.name.clone().unwrap_or_default(),
            labels: node.metadata.labels.clone().unwrap_or_default(),
            taints: spec.taints.unwrap_or_default(),
            unschedulable: spec.unschedulable.unwrap_or(false),
            allocatable: Resources::of(allocatable),
            max_pods: usize::try_from(max_pods).unwrap_or(0),
            images: images.collect(),
            requested: Resources::default(),
            assumed: Resources::default(),
            ports: Vec::new(),
            pods: HashMap::new(),
        }
    }

    /// The value of a label.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key).map(String::as_str)
    }

    /// How many pods are on it.
    #[must_use]
    pub fn pod_count(&self) -> usize {
        self.pods.len()
    }

    /// The pods on it.
    pub fn pods(&self) -> impl Iterator<Item = &Arc<PodInfo>> {
        self.pods.values()
    }

    fn add(&mut self, pod: &Arc<PodInfo>) {
        self.requested.add(&pod.requests);
        self.assumed.add(&pod.assumed);
        self.ports.extend(pod.ports.iter().cloned());
        self.pods.insert(pod.key.clone(), Arc::clone(pod));
    }

    fn remove(&mut self, key: &Key) -> Option<Arc<PodInfo>> {
        let pod = self.pods.remove(key)?;
        self.requested.sub(&pod.requests);
        self.assumed.sub(&pod.assumed);
        for port in &pod.ports {
            if let Some(at) = self.ports.iter().position(|one| one == port) {
                self.ports.swap_remove(at);
            }
        }
        Some(pod)
    }

    /// Whether pods that did not fit before could now.
    fn differs(&self, other: &Self) -> bool {
        self.labels != other.labels
            || self.taints != other.taints
            || self.unschedulable != other.unschedulable
            || self.allocatable != other.allocatable
            || self.max_pods != other.max_pods
    }
}

struct Counted {
    group: Group,
    // By slot of the node.
    counts: Vec<u32>,
    used: u64,
}

/// All nodes. A node keeps its slot as long as it lives.
#[derive(Default)]
pub struct Nodes {
    slots: Vec<Option<NodeInfo>>,
    free: BTreeSet<usize>,
    by_name: HashMap<String, usize>,
    by_pod: HashMap<Key, usize>,
    counted: HashMap<String, Counted>,
    minding: BTreeMap<Key, usize>,
    image_nodes: HashMap<String, i64>,
    clock: u64,
}

impl Nodes {
    /// How many nodes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// All nodes with their slots, beginning at a slot.
    pub fn from_slot(&self, start: usize) -> impl Iterator<Item = (usize, &NodeInfo)> {
        let total = self.slots.len();
        (0..total).map(move |step| (start + step) % total).filter_map(|slot| Some((slot, self.slots[slot].as_ref()?)))
    }

    /// All nodes with their slots.
    pub fn all(&self) -> impl Iterator<Item = (usize, &NodeInfo)> {
        self.from_slot(0)
    }

    /// How many slots there are; slots are below it.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// The node in a slot.
    #[must_use]
    pub fn at(&self, slot: usize) -> Option<&NodeInfo> {
        self.slots.get(slot)?.as_ref()
    }

    /// The slot of a node.
    #[must_use]
    pub fn slot(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// On how many nodes an image is.
    #[must_use]
    pub fn with_image(&self, image: &str) -> i64 {
        self.image_nodes.get(image).copied().unwrap_or(0)
    }

    /// Pods with rules about others, and the slots they are in.
    pub fn minding(&self) -> impl Iterator<Item = (usize, &Arc<PodInfo>)> {
        self.minding.iter().filter_map(|(key, slot)| Some((*slot, self.at(*slot)?.pods.get(key)?)))
    }

    /// Takes a node in. Whether it is new or changed in what pods are let on it.
    pub fn put_node(&mut self, node: &Node) -> bool {
        let mut info = NodeInfo::new(node);
        let Some(slot) = self.slot(&info.name) else {
            let slot = self.free.pop_first().unwrap_or(self.slots.len());
            if slot == self.slots.len() {
                self.slots.push(None);
            }
            self.count_images(&info, 1);
            self.by_name.insert(info.name.clone(), slot);
            self.slots[slot] = Some(info);
            return true;
        };
        let old = self.slots[slot].take().expect("a named slot is filled");
        let differs = info.differs(&old);
        self.count_images(&old, -1);
        self.count_images(&info, 1);
        (info.pods, info.requested, info.assumed, info.ports) = (old.pods, old.requested, old.assumed, old.ports);
        self.slots[slot] = Some(info);
        differs
    }

    fn count_images(&mut self, node: &NodeInfo, by: i64) {
        for image in node.images.keys() {
            *self.image_nodes.entry(image.clone()).or_default() += by;
        }
    }

    /// Forgets a node with everything on it.
    pub fn remove_node(&mut self, name: &str) {
        let Some(slot) = self.slot(name) else { return };
        let keys: Vec<Key> = self.at(slot).into_iter().flat_map(|node| node.pods.keys().cloned()).collect();
        for key in keys {
            self.remove_pod(&key);
        }
        self.by_name.remove(name);
        if let Some(node) = self.slots[slot].take() {
            self.count_images(&node, -1);
        }
        self.free.insert(slot);
    }

    /// Puts a pod on a node; it leaves the one that it was on. Does nothing when the node is not known.
    pub fn put_pod(&mut self, pod: &Arc<PodInfo>, node: &str) {
        self.remove_pod(&pod.key);
        let Some(slot) = self.slot(node) else { return };
        let Some(info) = self.slots[slot].as_mut() else { return };
        info.add(pod);
        self.by_pod.insert(pod.key.clone(), slot);
        if pod.minds_others() {
            self.minding.insert(pod.key.clone(), slot);
        }
        for counted in self.counted.values_mut().filter(|counted| counted.group.has(pod)) {
            counted.counts.resize(self.slots.len().max(counted.counts.len()), 0);
            counted.counts[slot] += 1;
        }
    }

    /// The pod as it stands on a node.
    #[must_use]
    pub fn pod(&self, key: &Key) -> Option<&Arc<PodInfo>> {
        self.at(*self.by_pod.get(key)?)?.pods.get(key)
    }

    /// Takes a pod off its node. Whether it was on one.
    pub fn remove_pod(&mut self, key: &Key) -> bool {
        let Some(slot) = self.by_pod.remove(key) else { return false };
        self.minding.remove(key);
        let Some(pod) = self.slots[slot].as_mut().and_then(|node| node.remove(key)) else { return false };
        for counted in self.counted.values_mut().filter(|counted| counted.group.has(&pod)) {
            counted.counts[slot] -= 1;
        }
        true
    }

    /// Begins to count what a pod's rules count, so that decisions about its like need no search.
    pub fn prepare(&mut self, pod: &PodInfo) {
        for group in pod.groups() {
            self.clock += 1;
            if let Some(counted) = self.counted.get_mut(&group.id) {
                counted.used = self.clock;
                continue;
            }
            let counts = self.search(group);
            self.counted.insert(group.id.clone(), Counted { group: group.clone(), counts, used: self.clock });
        }
        while self.counted.len() > COUNTED_GROUPS {
            let oldest = self.counted.iter().min_by_key(|(_, counted)| counted.used).map(|(id, _)| id.clone());
            self.counted.remove(&oldest.expect("more than none"));
        }
    }

    fn search(&self, group: &Group) -> Vec<u32> {
        let mut counts = vec![0; self.slots.len()];
        for (slot, node) in self.all() {
            counts[slot] = u32::try_from(node.pods().filter(|pod| group.has(pod)).count()).unwrap_or(u32::MAX);
        }
        counts
    }

    /// How many pods of a group are in each slot; slots beyond the end have none.
    #[must_use]
    pub fn count(&self, group: &Group) -> std::borrow::Cow<'_, [u32]> {
        match self.counted.get(&group.id) {
            Some(counted) => std::borrow::Cow::Borrowed(&counted.counts),
            None => std::borrow::Cow::Owned(self.search(group)),
        }
    }
}
