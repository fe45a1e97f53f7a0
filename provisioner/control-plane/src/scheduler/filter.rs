//! Why a pod can't be on a node.

use std::borrow::Cow;

use super::affinity;
use super::claims;
use super::domain::Rules;
use super::node::NodeInfo;
use super::pod::PodInfo;
use crate::controllers::machinery::taint::tolerated;

/// Why not, in upstream's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Text that is counted over nodes.
    pub text: Cow<'static, str>,
    /// Whether it could go away with pods that are there.
    pub solvable: bool,
}

const fn never(text: &'static str) -> Reason {
    Reason { text: Cow::Borrowed(text), solvable: false }
}

const fn now(text: &'static str) -> Reason {
    Reason { text: Cow::Borrowed(text), solvable: true }
}

/// A filter: `Err` with at least one reason keeps the pod off the node.
pub struct Filter {
    /// Upstream's name of the plugin.
    pub name: &'static str,
    /// The decision.
    pub passes: fn(&PodInfo, &NodeInfo, &Rules<'_>) -> Result<(), Vec<Reason>>,
}

/// All filters, in the order that they are asked.
pub const FILTERS: &[Filter] = &[
    Filter { name: "NodeUnschedulable", passes: node_unschedulable },
    Filter { name: "NodeName", passes: node_name },
    Filter { name: "TaintToleration", passes: taint_toleration },
    Filter { name: "NodeAffinity", passes: node_affinity },
    Filter { name: "NodePorts", passes: node_ports },
    Filter { name: "NodeResourcesFit", passes: node_resources_fit },
    Filter { name: claims::FILTER, passes: volume_binding },
    Filter { name: "PodTopologySpread", passes: pod_topology_spread },
    Filter { name: "InterPodAffinity", passes: inter_pod_affinity },
];

fn unless(holds: bool, reason: Reason) -> Result<(), Vec<Reason>> {
    if holds { Ok(()) } else { Err(vec![reason]) }
}

fn node_unschedulable(pod: &PodInfo, node: &NodeInfo, _: &Rules<'_>) -> Result<(), Vec<Reason>> {
    let taint = || k8s_openapi::api::core::v1::Taint {
        key: "node.kubernetes.io/unschedulable".into(),
        effect: "NoSchedule".into(),
        ..Default::default()
    };
    let lets = !node.unschedulable || tolerated(&pod.tolerations, &taint());
    unless(lets, never("node(s) were unschedulable"))
}

fn node_name(pod: &PodInfo, node: &NodeInfo, _: &Rules<'_>) -> Result<(), Vec<Reason>> {
    let named = pod.node.as_ref().is_none_or(|name| *name == node.name);
    unless(named, never("node(s) didn't match the requested node name"))
}

fn taint_toleration(pod: &PodInfo, node: &NodeInfo, _: &Rules<'_>) -> Result<(), Vec<Reason>> {
    unless(affinity::tolerates(pod, node), never("node(s) had untolerated taint(s)"))
}

fn node_affinity(pod: &PodInfo, node: &NodeInfo, _: &Rules<'_>) -> Result<(), Vec<Reason>> {
    unless(affinity::allows(pod, node), never("node(s) didn't match Pod's node affinity/selector"))
}

fn node_ports(pod: &PodInfo, node: &NodeInfo, _: &Rules<'_>) -> Result<(), Vec<Reason>> {
    let taken = pod.ports.iter().any(|port| node.ports.iter().any(|other| port.conflicts(other)));
    unless(!taken, now("node(s) didn't have free ports for the requested pod ports"))
}

fn node_resources_fit(pod: &PodInfo, node: &NodeInfo, _: &Rules<'_>) -> Result<(), Vec<Reason>> {
    let (asked, has, used) = (&pod.requests, &node.allocatable, &node.requested);
    let mut reasons = Vec::new();
    if node.pod_count() + 1 > node.max_pods {
        reasons.push(now("Too many pods"));
    }
    let mut need = |name: &str, asked: i64, has: i64, used: i64| {
        if asked > 0 && asked > has - used {
            reasons.push(Reason { text: format!("Insufficient {name}").into(), solvable: asked <= has });
        }
    };
    need("cpu", asked.milli_cpu, has.milli_cpu, used.milli_cpu);
    need("memory", asked.memory, has.memory, used.memory);
    need("ephemeral-storage", asked.ephemeral_storage, has.ephemeral_storage, used.ephemeral_storage);
    for (name, amount) in &asked.others {
        let of = |all: &std::collections::BTreeMap<String, i64>| all.get(name).copied().unwrap_or(0);
        need(name, *amount, of(&has.others), of(&used.others));
    }
    if reasons.is_empty() { Ok(()) } else { Err(reasons) }
}

fn volume_binding(_: &PodInfo, node: &NodeInfo, rules: &Rules<'_>) -> Result<(), Vec<Reason>> {
    rules.claims.and_then(|claims| claims.obstacle(node)).map_or(Ok(()), |text| Err(vec![never(text)]))
}

fn pod_topology_spread(_: &PodInfo, node: &NodeInfo, rules: &Rules<'_>) -> Result<(), Vec<Reason>> {
    for rule in &rules.hard {
        let Some(there) = rule.tally.at(node, &rule.spread.topology) else {
            return Err(vec![never("node(s) didn't match pod topology spread constraints (missing required label)")]);
        };
        if there + i64::from(rule.counts_itself) - rule.least > rule.spread.max_skew {
            return Err(vec![now("node(s) didn't match pod topology spread constraints")]);
        }
    }
    Ok(())
}

fn inter_pod_affinity(_: &PodInfo, node: &NodeInfo, rules: &Rules<'_>) -> Result<(), Vec<Reason>> {
    let labelled = rules.near.iter().all(|(term, _)| node.label(&term.topology).is_some());
    let near = rules.near.iter().all(|(term, tally)| tally.at(node, &term.topology).is_some_and(|count| count > 0));
    unless(near || labelled && rules.first_of_its_kind, never("node(s) didn't match pod affinity rules"))?;
    let crowded = rules.far.iter().any(|(term, tally)| tally.at(node, &term.topology).is_some_and(|count| count > 0));
    unless(!crowded, now("node(s) didn't match pod anti-affinity rules"))?;
    unless(!rules.is_kept_out(node), now("node(s) didn't satisfy existing pods anti-affinity rules"))
}
