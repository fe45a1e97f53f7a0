//! The pods of a DaemonSet: where they fit, and how one is tied to its node.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, Pod, Toleration};
use kprov_schema::Object;
use serde_json::{Value, json};

use super::{GENERATION, HASH, POD_GENERATION};
use crate::controllers::machinery::affinity::Placement;
use crate::controllers::machinery::snapshot::Seen;
use crate::controllers::machinery::taint::tolerated;
use crate::controllers::machinery::template;

/// Taints that a daemon's pod bears for ever, with their effects.
const BORNE: &[(&str, &str)] = &[
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];
const NO_NETWORK: (&str, &str) = ("node.kubernetes.io/network-unavailable", "NoSchedule");
const TERMS: [&str; 5] =
    ["spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms"];

/// What a node is to a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// A pod is to run there.
    Wanted,
    /// A pod that runs there may stay.
    Borne,
    /// No pod may be there.
    Unfit,
}

/// Where pods of a set fit.
pub(super) struct Fits {
    node: Option<String>,
    placement: Placement,
    tolerations: Vec<Toleration>,
}

impl Fits {
    pub(super) fn of(set: &DaemonSet) -> Self {
        let spec = set.spec.template.spec.clone().unwrap_or_default();
        let mut tolerations = spec.tolerations.clone().unwrap_or_default();
        tolerations.extend(borne(spec.host_network == Some(true)).map(|(key, effect)| Toleration {
            key: Some(key.to_owned()),
            operator: Some("Exists".to_owned()),
            effect: Some(effect.to_owned()),
            ..Toleration::default()
        }));
        Self { placement: Placement::of(&spec), node: spec.node_name.filter(|name| !name.is_empty()), tolerations }
    }

    pub(super) fn on(&self, node: &Seen<Node>) -> Fit {
        let name = node.raw.name();
        let elsewhere = self.node.as_ref().is_some_and(|only| only != name);
        if elsewhere || !self.placement.allows(name, |key| node.raw.label(key)) {
            return Fit::Unfit;
        }
        let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
        let keeps_off = |effects: &[&str]| {
            let hard = taints.into_iter().flatten().filter(|taint| effects.contains(&taint.effect.as_str()));
            hard.into_iter().any(|taint| !tolerated(&self.tolerations, taint))
        };
        if keeps_off(&["NoExecute"]) {
            Fit::Unfit
        } else if keeps_off(&["NoSchedule"]) {
            Fit::Borne
        } else {
            Fit::Wanted
        }
    }
}

fn borne(host_network: bool) -> impl Iterator<Item = (&'static str, &'static str)> {
    BORNE.iter().copied().chain(host_network.then_some(NO_NETWORK))
}

/// A pod for a node, which the scheduler can bind to no other.
pub(super) fn of(set: &Object, hash: &str, node: &str) -> Object {
    let mut pod = template::pod_of(set);
    if let Some(generation) = set.annotation(GENERATION).filter(|text| text.parse::<i64>().is_ok()) {
        pod.set(&["metadata", "labels", POD_GENERATION], json!(generation));
    }
    pod.set(&["metadata", "labels", HASH], json!(hash));
    tolerate(&mut pod);
    let term = json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]});
    pod.set(&TERMS, json!([term]));
    pod
}

fn tolerate(pod: &mut Object) {
    let mut tolerations = pod.at(&["spec", "tolerations"]).and_then(Value::as_array).cloned().unwrap_or_default();
    let host_network = pod.at(&["spec", "hostNetwork"]) == Some(&json!(true));
    for (key, effect) in borne(host_network) {
        let toleration = json!({"key": key, "operator": "Exists", "effect": effect});
        // One for the same taint that ends sooner or minds its value gives way.
        let same = |one: &Value| one["key"] == key && one["effect"] == effect;
        match tolerations.iter().position(same) {
            Some(at) => tolerations[at] = toleration,
            None => tolerations.push(toleration),
        }
    }
    pod.set(&["spec", "tolerations"], json!(tolerations));
}

/// The node a pod is bound to.
pub(super) fn bound_to(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())
}

/// The node a pod is on or made for.
pub(super) fn node(pod: &Pod) -> Option<&str> {
    bound_to(pod).or_else(|| {
        let affinity = pod.spec.as_ref()?.affinity.as_ref()?.node_affinity.as_ref()?;
        let terms = &affinity.required_during_scheduling_ignored_during_execution.as_ref()?.node_selector_terms;
        let fields = terms.iter().flat_map(|term| term.match_fields.iter().flatten());
        let by_name = fields.into_iter().find(|one| one.key == "metadata.name" && one.operator == "In")?;
        match by_name.values.as_deref() {
            Some([only]) => Some(only),
            _ => None,
        }
    })
}

/// Which of a node's pods stays first: bound before unbound, old before young.
pub(super) fn seniority(pod: &Seen<Pod>) -> (bool, Option<Timestamp>, String) {
    let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    (bound_to(pod).is_none(), created, pod.raw.name().to_owned())
}
