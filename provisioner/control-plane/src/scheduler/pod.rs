//! A pod as scheduling sees it: read once, compared often.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    Affinity, Container, Pod, PodAffinityTerm, PodSpec, Toleration, TopologySpreadConstraint,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kprov_schema::quantity::Quantity;
use kprov_schema::selector::Labels;
use kprov_schema::{Key, Object};

use crate::controllers::machinery::affinity::{NodeTerm, Placement};

/// Amounts of resources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Thousandths of a processor.
    pub milli_cpu: i64,
    /// Bytes of memory.
    pub memory: i64,
    /// Bytes of local disk.
    pub ephemeral_storage: i64,
    /// Everything else, by name.
    pub others: BTreeMap<String, i64>,
}

type Quantities = BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>;

impl Resources {
    /// The amounts of a map of quantities; `pods` is not among them.
    #[must_use]
    pub fn of(quantities: Option<&Quantities>) -> Self {
        let mut all = Self::default();
        for (name, quantity) in quantities.into_iter().flatten() {
            let amount = Quantity::from(quantity);
            match name.as_str() {
                "cpu" => all.milli_cpu = amount.milli_value(),
                "memory" => all.memory = amount.value(),
                "ephemeral-storage" => all.ephemeral_storage = amount.value(),
                "pods" => {}
                _ => {
                    all.others.insert(name.clone(), amount.value());
                }
            }
        }
        all
    }

    /// Adds amounts.
    pub fn add(&mut self, other: &Self) {
        self.milli_cpu += other.milli_cpu;
        self.memory += other.memory;
        self.ephemeral_storage += other.ephemeral_storage;
        for (name, amount) in &other.others {
            *self.others.entry(name.clone()).or_default() += amount;
        }
    }

    /// Takes amounts away.
    pub fn sub(&mut self, other: &Self) {
        self.milli_cpu -= other.milli_cpu;
        self.memory -= other.memory;
        self.ephemeral_storage -= other.ephemeral_storage;
        for (name, amount) in &other.others {
            *self.others.entry(name.clone()).or_default() -= amount;
        }
    }

    fn raise_to(&mut self, other: &Self) {
        self.milli_cpu = self.milli_cpu.max(other.milli_cpu);
        self.memory = self.memory.max(other.memory);
        self.ephemeral_storage = self.ephemeral_storage.max(other.ephemeral_storage);
        for (name, amount) in &other.others {
            let mine = self.others.entry(name.clone()).or_default();
            *mine = (*mine).max(*amount);
        }
    }
}

/// What a container without requests is taken to use when nodes are compared.
const ASSUMED_MILLI_CPU: i64 = 100;
const ASSUMED_MEMORY: i64 = 200 * 1024 * 1024;

/// A port of the node that a pod takes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    /// Port.
    pub port: i32,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// Address, `0.0.0.0` for all.
    pub address: String,
}

impl HostPort {
    /// Whether both can't be on one node.
    #[must_use]
    pub fn conflicts(&self, other: &Self) -> bool {
        let any = "0.0.0.0";
        self.port == other.port
            && self.protocol == other.protocol
            && (self.address == other.address || self.address == any || other.address == any)
    }
}

/// A set of pods: those of some namespaces that a selector selects.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Namespaces; empty means all.
    pub namespaces: BTreeSet<String>,
    /// Labels.
    pub labels: Labels,
    /// Without pods that are being deleted.
    pub live_only: bool,
    /// A text that is equal for equal groups.
    pub id: String,
}

impl Group {
    fn new(namespaces: BTreeSet<String>, labels: Labels, live_only: bool) -> Self {
        let id = format!("{namespaces:?} {labels:?} {live_only}");
        Self { namespaces, labels, live_only, id }
    }

    /// Whether a pod is in it.
    #[must_use]
    pub fn has(&self, pod: &PodInfo) -> bool {
        (self.namespaces.is_empty() || self.namespaces.contains(&pod.key.namespace))
            && !(self.live_only && pod.deleting)
            && self.labels.match_object(&pod.raw)
    }
}

/// Near which pods, or away from which, a pod wants to be.
#[derive(Clone, Debug, PartialEq)]
pub struct PodTerm {
    /// The pods.
    pub group: Group,
    /// Label of nodes whose equal values mean near.
    pub topology: String,
}

/// How evenly pods are to be spread over the values of a label of nodes.
#[derive(Clone, Debug, PartialEq)]
pub struct Spread {
    /// The pods to count.
    pub group: Group,
    /// Label of nodes.
    pub topology: String,
    /// The largest difference to the emptiest domain.
    pub max_skew: i64,
    /// Fewer domains than this count as one more, empty one.
    pub min_domains: Option<usize>,
    /// Whether nodes without the label are worst; they are ignored by the rules that every pod has.
    pub needs_label: bool,
    /// Whether only nodes count that the pod's node affinity allows.
    pub honor_affinity: bool,
    /// Whether only nodes count whose taints the pod tolerates.
    pub honor_taints: bool,
}

/// A pod as scheduling sees it.
#[derive(Debug)]
pub struct PodInfo {
    /// Namespace and name.
    pub key: Key,
    /// The object.
    pub raw: Arc<Object>,
    /// Whether its deletion has begun.
    pub deleting: bool,
    /// What it asks for.
    pub requests: Resources,
    /// The same with a guess for containers that ask for nothing, for comparing nodes.
    pub assumed: Resources,
    /// Ports of the node that it takes.
    pub ports: Vec<HostPort>,
    /// Its node, once bound.
    pub node: Option<String>,
    /// What it asks of its node.
    pub placement: Placement,
    /// Preferred node affinity with weights.
    pub preferred_nodes: Vec<(i64, NodeTerm)>,
    /// Taints that it bears.
    pub tolerations: Vec<Toleration>,
    /// Pods that must be near.
    pub affinity: Vec<PodTerm>,
    /// Pods that must not be near.
    pub anti_affinity: Vec<PodTerm>,
    /// Pods that should be near; far where the weight is negative.
    pub preferred: Vec<(i64, PodTerm)>,
    /// Spreading that must hold.
    pub hard_spread: Vec<Spread>,
    /// Spreading that should hold.
    pub soft_spread: Vec<Spread>,
    /// Images of its containers.
    pub images: Vec<String>,
    /// Priority.
    pub priority: i32,
    /// Whether it may take the place of others.
    pub preempts: bool,
    /// Names of its persistent volume claims.
    pub claims: Vec<String>,
}

impl PodInfo {
    /// Reads a pod. `default_spread` selects the pods that a pod without constraints of its own is spread among.
    #[must_use]
    pub fn new(raw: &Arc<Object>, pod: &Pod, default_spread: Option<&LabelSelector>) -> Self {
        let nothing = PodSpec::default();
        let spec = pod.spec.as_ref().unwrap_or(&nothing);
        let key = raw.key();
        let affinity = spec.affinity.clone().unwrap_or_default();
        let pod_terms = |terms: Option<&Vec<PodAffinityTerm>>| -> Vec<PodTerm> {
            terms.into_iter().flatten().map(|term| pod_term(term, raw)).collect()
        };
        let near = affinity.pod_affinity.as_ref();
        let far = affinity.pod_anti_affinity.as_ref();
        let (hard_spread, soft_spread) = spreads(spec, raw, default_spread);
        let node_affinity = affinity.node_affinity.as_ref();
        let preferred = node_affinity.and_then(|one| one.preferred_during_scheduling_ignored_during_execution.as_ref());
        Self {
            deleting: raw.is_deleting(),
            requests: requests(spec, false),
            assumed: requests(spec, true),
            ports: ports(spec),
            node: spec.node_name.clone().filter(|name| !name.is_empty()),
            placement: Placement::of(spec),
            preferred_nodes: preferred
                .into_iter()
                .flatten()
                .map(|one| (i64::from(one.weight), NodeTerm::of(&one.preference)))
                .collect(),
            tolerations: spec.tolerations.clone().unwrap_or_default(),
            affinity: pod_terms(near.and_then(|one| one.required_during_scheduling_ignored_during_execution.as_ref())),
            anti_affinity: pod_terms(
                far.and_then(|one| one.required_during_scheduling_ignored_during_execution.as_ref()),
            ),
            preferred: preferred_pods(&affinity, raw),
            hard_spread,
            soft_spread,
            images: spec.containers.iter().filter_map(|one| one.image.clone()).collect(),
            priority: spec.priority.unwrap_or(0),
            preempts: spec.preemption_policy.as_deref() != Some("Never"),
            claims: claims(spec, &key),
            raw: Arc::clone(raw),
            key,
        }
    }

    /// Every group of pods that its rules count.
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        let spreads = self.hard_spread.iter().chain(&self.soft_spread).map(|one| &one.group);
        let terms = self.affinity.iter().chain(&self.anti_affinity).chain(self.preferred.iter().map(|(_, term)| term));
        spreads.chain(terms.map(|term| &term.group))
    }

    /// Whether its rules concern pods that come after it.
    #[must_use]
    pub fn minds_others(&self) -> bool {
        !self.anti_affinity.is_empty() || !self.affinity.is_empty() || !self.preferred.is_empty()
    }
}

fn preferred_pods(affinity: &Affinity, raw: &Object) -> Vec<(i64, PodTerm)> {
    let near = affinity
        .pod_affinity
        .as_ref()
        .and_then(|one| one.preferred_during_scheduling_ignored_during_execution.as_ref());
    let far = affinity
        .pod_anti_affinity
        .as_ref()
        .and_then(|one| one.preferred_during_scheduling_ignored_during_execution.as_ref());
    let near = near.into_iter().flatten().map(|one| (i64::from(one.weight), one));
    let far = far.into_iter().flatten().map(|one| (-i64::from(one.weight), one));
    near.chain(far).map(|(weight, one)| (weight, pod_term(&one.pod_affinity_term, raw))).collect()
}

/// A selector with the pod's own values of some labels added. An absent one selects nothing.
fn labels(
    selector: Option<&LabelSelector>,
    same: Option<&Vec<String>>,
    different: Option<&Vec<String>>,
    pod: &Object,
) -> Labels {
    let Some(selector) = selector else { return Labels::nothing() };
    let mut selector = selector.clone();
    for (keys, operator) in [(same, "In"), (different, "NotIn")] {
        for key in keys.into_iter().flatten() {
            if let Some(value) = pod.label(key) {
                let requirement = k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement {
                    key: key.clone(),
                    operator: operator.to_owned(),
                    values: Some(vec![value.to_owned()]),
                };
                selector.match_expressions.get_or_insert_default().push(requirement);
            }
        }
    }
    Labels::of(&selector).unwrap_or_else(|_| Labels::nothing())
}

fn pod_term(term: &PodAffinityTerm, pod: &Object) -> PodTerm {
    let mut namespaces: BTreeSet<String> = term.namespaces.iter().flatten().cloned().collect();
    let everywhere = term.namespace_selector.as_ref().is_some_and(|one| *one == LabelSelector::default());
    if everywhere {
        namespaces.clear();
    } else if namespaces.is_empty() {
        namespaces.insert(pod.namespace().to_owned());
    }
    let labels =
        labels(term.label_selector.as_ref(), term.match_label_keys.as_ref(), term.mismatch_label_keys.as_ref(), pod);
    PodTerm { group: Group::new(namespaces, labels, false), topology: term.topology_key.clone() }
}

const HOSTNAME: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

fn spreads(spec: &PodSpec, pod: &Object, default: Option<&LabelSelector>) -> (Vec<Spread>, Vec<Spread>) {
    let own = spec.topology_spread_constraints.as_deref().unwrap_or_default();
    if own.is_empty() {
        let soft =
            |selector| [(HOSTNAME, 3), (ZONE, 5)].map(|(topology, skew)| usual(topology, skew, selector, pod)).to_vec();
        return (Vec::new(), default.map(soft).unwrap_or_default());
    }
    let read = |hard: bool| {
        let wanted = if hard { "DoNotSchedule" } else { "ScheduleAnyway" };
        own.iter().filter(|one| one.when_unsatisfiable == wanted).map(|one| spread(one, pod)).collect()
    };
    (read(true), read(false))
}

fn usual(topology: &str, max_skew: i64, selector: &LabelSelector, pod: &Object) -> Spread {
    Spread {
        group: Group::new(BTreeSet::from([pod.namespace().to_owned()]), labels(Some(selector), None, None, pod), true),
        topology: topology.to_owned(),
        max_skew,
        min_domains: None,
        needs_label: false,
        honor_affinity: true,
        honor_taints: false,
    }
}

fn spread(constraint: &TopologySpreadConstraint, pod: &Object) -> Spread {
    let labels = labels(constraint.label_selector.as_ref(), constraint.match_label_keys.as_ref(), None, pod);
    Spread {
        group: Group::new(BTreeSet::from([pod.namespace().to_owned()]), labels, true),
        topology: constraint.topology_key.clone(),
        max_skew: i64::from(constraint.max_skew),
        min_domains: constraint.min_domains.and_then(|number| usize::try_from(number).ok()),
        needs_label: true,
        honor_affinity: constraint.node_affinity_policy.as_deref() != Some("Ignore"),
        honor_taints: constraint.node_taints_policy.as_deref() == Some("Honor"),
    }
}

fn ports(spec: &PodSpec) -> Vec<HostPort> {
    let init = spec.init_containers.iter().flatten().filter(|one| is_sidecar(one));
    let ports = spec.containers.iter().chain(init).flat_map(|one| one.ports.iter().flatten());
    ports
        .filter_map(|port| {
            Some(HostPort {
                port: port.host_port.filter(|number| *number > 0)?,
                protocol: port.protocol.clone().unwrap_or_else(|| "TCP".into()),
                address: port.host_ip.clone().filter(|text| !text.is_empty()).unwrap_or_else(|| "0.0.0.0".into()),
            })
        })
        .collect()
}

fn claims(spec: &PodSpec, key: &Key) -> Vec<String> {
    let volumes = spec.volumes.iter().flatten();
    volumes
        .filter_map(|volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
            (Some(claim), _) => Some(claim.claim_name.clone()),
            (None, Some(_)) => Some(format!("{}-{}", key.name, volume.name)),
            (None, None) => None,
        })
        .collect()
}

fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// What the pod takes of a node: its containers together, or more while an init container runs, and the overhead.
fn requests(spec: &PodSpec, assume: bool) -> Resources {
    let of = |container: &Container| {
        let asked = container.resources.as_ref().and_then(|one| one.requests.as_ref());
        let mut amounts = Resources::of(asked);
        let asks = |name: &str| asked.is_some_and(|asked| asked.contains_key(name));
        if assume && !asks("cpu") {
            amounts.milli_cpu = ASSUMED_MILLI_CPU;
        }
        if assume && !asks("memory") {
            amounts.memory = ASSUMED_MEMORY;
        }
        amounts
    };
    let (mut total, mut sidecars, mut peak) = (Resources::default(), Resources::default(), Resources::default());
    for container in spec.init_containers.iter().flatten() {
        let mut now = of(container);
        if is_sidecar(container) {
            sidecars.add(&now);
            peak.raise_to(&sidecars);
        } else {
            now.add(&sidecars);
            peak.raise_to(&now);
        }
    }
    spec.containers.iter().for_each(|container| total.add(&of(container)));
    total.add(&sidecars);
    total.raise_to(&peak);
    if let Some(asked) = spec.resources.as_ref().and_then(|one| one.requests.as_ref()) {
        let whole = Resources::of(Some(asked));
        total.milli_cpu = if asked.contains_key("cpu") { whole.milli_cpu } else { total.milli_cpu };
        total.memory = if asked.contains_key("memory") { whole.memory } else { total.memory };
    }
    total.add(&Resources::of(spec.overhead.as_ref()));
    total
}
