//! Where a pod goes, or why nowhere.

use std::collections::{BTreeMap, BTreeSet};

use kprov_schema::Key;

use super::claims::{self, Claims};
use super::domain::Rules;
use super::filter::{FILTERS, Reason};
use super::node::{NodeInfo, Nodes};
use super::pod::PodInfo;
use super::score;

/// What becomes of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It goes to this node.
    Bind(String),
    /// It can't go anywhere now.
    Wait(Reasons),
    /// It goes to the node when the victims are gone.
    Preempt {
        /// The node.
        node: String,
        /// Pods that give way.
        victims: Vec<Key>,
    },
}

/// Why a pod waits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reasons {
    /// Upstream's message.
    pub message: String,
    /// Names of the filters that kept it off nodes.
    pub filters: BTreeSet<&'static str>,
}

/// Decides where a pod goes.
///
/// Of many nodes only a part is looked at, beginning at a random one; `random` is asked only then.
#[must_use]
pub fn decide(pod: &PodInfo, nodes: &Nodes, claims: &Claims, random: &mut dyn FnMut() -> u64) -> Decision {
    if nodes.is_empty() {
        let message = "no nodes available to schedule pods".to_owned();
        return Decision::Wait(Reasons { message, filters: BTreeSet::new() });
    }
    if let Some(why) = &claims.refusal {
        let message = format!("0/{} nodes are available: {why}. not found", nodes.len());
        return Decision::Wait(Reasons { message, filters: BTreeSet::from([claims::FILTER]) });
    }
    let rules = Rules { claims: Some(claims), ..Rules::of(pod, nodes) };
    let enough = enough(nodes.len());
    let start = if enough < nodes.len() { usize::try_from(random() % nodes.slots() as u64).unwrap_or(0) } else { 0 };
    let mut feasible = Vec::with_capacity(enough);
    let mut refusals = Refusals::default();
    let named = pod.placement.named();
    for (slot, node) in nodes.from_slot(start) {
        if named.as_ref().is_some_and(|names| !names.contains(&*node.name)) {
            refusals.outside += 1;
            continue;
        }
        match refused(pod, node, &rules) {
            None => feasible.push(slot),
            Some((filter, reasons)) => refusals.add(filter, reasons),
        }
        if feasible.len() == enough {
            break;
        }
    }
    let chosen =
        if feasible.len() == 1 { feasible.first().copied() } else { score::best(pod, &feasible, &rules, nodes) };
    match chosen.and_then(|slot| nodes.at(slot)) {
        Some(node) => Decision::Bind(node.name.clone()),
        None => Decision::Wait(refusals.reasons(pod, nodes.len())),
    }
}

/// How many nodes that would do are enough to choose from: all of a hundred, less than half of a thousand.
fn enough(total: usize) -> usize {
    if total <= 100 {
        return total;
    }
    let percent = 50_usize.saturating_sub(total / 125).max(5);
    (total * percent / 100).max(100)
}

fn refused(pod: &PodInfo, node: &NodeInfo, rules: &Rules<'_>) -> Option<(&'static str, Vec<Reason>)> {
    FILTERS.iter().find_map(|filter| Some((filter.name, (filter.passes)(pod, node, rules).err()?)))
}

#[derive(Default)]
struct Refusals {
    texts: BTreeMap<String, usize>,
    solvable: usize,
    unsolvable: usize,
    // Nodes that were not asked, because affinity names others.
    outside: usize,
    filters: BTreeSet<&'static str>,
}

impl Refusals {
    fn add(&mut self, filter: &'static str, reasons: Vec<Reason>) {
        self.filters.insert(filter);
        if reasons.iter().all(|reason| reason.solvable) {
            self.solvable += 1;
        } else {
            self.unsolvable += 1;
        }
        for reason in reasons {
            *self.texts.entry(reason.text.into_owned()).or_default() += 1;
        }
    }

    fn reasons(mut self, pod: &PodInfo, total: usize) -> Reasons {
        if self.outside > 0 {
            self.filters.insert("NodeAffinity");
            self.unsolvable += self.outside;
            self.texts.insert("node(s) didn't satisfy plugin(s) [NodeAffinity]".into(), self.outside);
        }
        let counted: Vec<(usize, String)> = self.texts.into_iter().map(|(text, count)| (count, text)).collect();
        let preemption = if pod.preempts {
            let parts = [
                (self.unsolvable, "Preemption is not helpful for scheduling".to_owned()),
                (self.solvable, "No preemption victims found for incoming pod".to_owned()),
            ];
            format!("0/{total} nodes are available: {}.", listed(&parts))
        } else {
            "not eligible due to preemptionPolicy=Never.".to_owned()
        };
        let message = format!(
            "0/{total} nodes are available: {}. no new claims to deallocate, preemption: {preemption}",
            listed(&counted)
        );
        Reasons { message, filters: self.filters }
    }
}

/// `1 Insufficient cpu, 2 Too many pods`, sorted as text.
fn listed(counted: &[(usize, String)]) -> String {
    let mut parts: Vec<String> =
        counted.iter().filter(|(count, _)| *count > 0).map(|(count, text)| format!("{count} {text}")).collect();
    parts.sort();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kprov_schema::Object;
    use serde_json::{Value, json};

    use super::*;

    fn node(nodes: &mut Nodes, name: &str, labels: Value, capacity: Value, spec: Value) {
        let mut all = json!({"cpu": "4", "memory": "8Gi", "pods": "110"});
        all.as_object_mut().unwrap().extend(capacity.as_object().unwrap().clone());
        let mut labels = labels;
        labels["kubernetes.io/hostname"] = json!(name);
        let node = json!({"metadata": {"name": name, "labels": labels}, "spec": spec, "status": {"allocatable": all}});
        nodes.put_node(&serde_json::from_value(node).unwrap());
    }

    fn pod(name: &str, labels: Value, spec: Value) -> Arc<PodInfo> {
        let mut spec = spec;
        if spec.get("containers").is_none() {
            spec["containers"] = json!([{"name": "c", "image": "nginx:1"}]);
        }
        let object = json!({"metadata": {"name": name, "namespace": "ns", "labels": labels}, "spec": spec});
        let typed = serde_json::from_value(object.clone()).unwrap();
        Arc::new(PodInfo::new(&Arc::new(Object::try_from(object).unwrap()), &typed, None))
    }

    fn asking(cpu: &str) -> Value {
        json!({"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}]})
    }

    /// Decides on pods in turn, puts them where they go, and says how the last one fared.
    fn run(nodes: &mut Nodes, pods: &[Arc<PodInfo>]) -> String {
        let mut last = String::new();
        for pod in pods {
            nodes.prepare(pod);
            last = match decide(pod, nodes, &Claims::default(), &mut || 0) {
                Decision::Bind(name) => {
                    nodes.put_pod(pod, &name);
                    name
                }
                Decision::Wait(reasons) => reasons.message,
                Decision::Preempt { node, .. } => format!("preempts on {node}"),
            };
        }
        last
    }

    fn two() -> Nodes {
        let mut nodes = Nodes::default();
        node(&mut nodes, "n1", json!({"zone": "a"}), json!({"cpu": "1"}), json!({}));
        node(&mut nodes, "n2", json!({"zone": "b"}), json!({"cpu": "2"}), json!({}));
        nodes
    }

    const NO_HELP: &str =
        "no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.";

    #[test]
    fn a_pod_goes_where_it_fits_and_says_why_it_does_not() {
        assert_eq!(
            run(&mut Nodes::default(), &[pod("a", json!({}), json!({}))]),
            "no nodes available to schedule pods"
        );
        assert_eq!(run(&mut two(), &[pod("a", json!({}), asking("1500m"))]), "n2");
        assert_eq!(
            run(&mut two(), &[pod("a", json!({}), asking("3"))]),
            format!("0/2 nodes are available: 2 Insufficient cpu. {NO_HELP}")
        );
        let full = run(
            &mut two(),
            &[
                pod("a", json!({}), asking("1")),
                pod("b", json!({}), asking("1")),
                pod("c", json!({}), asking("1")),
                pod("d", json!({}), asking("1")),
            ],
        );
        assert_eq!(
            full,
            "0/2 nodes are available: 2 Insufficient cpu. no new claims to deallocate, preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod."
        );
    }

    #[test]
    fn selectors_affinity_and_taints_keep_pods_off() {
        let selecting = |value: &str| pod("a", json!({}), json!({"nodeSelector": {"zone": value}}));
        assert_eq!(run(&mut two(), &[selecting("b")]), "n2");
        assert_eq!(
            run(&mut two(), &[selecting("c")]),
            format!("0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector. {NO_HELP}")
        );
        let mut nodes = Nodes::default();
        node(&mut nodes, "n1", json!({}), json!({}), json!({"unschedulable": true}));
        node(&mut nodes, "n2", json!({}), json!({}), json!({"taints": [{"key": "t", "effect": "NoSchedule"}]}));
        assert_eq!(
            run(&mut nodes, &[pod("a", json!({}), json!({}))]),
            format!(
                "0/2 nodes are available: 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable. {NO_HELP}"
            )
        );
        assert_eq!(
            run(&mut nodes, &[pod("a", json!({}), json!({"tolerations": [{"key": "t", "operator": "Exists"}]}))]),
            "n2"
        );
    }

    #[test]
    fn pods_keep_away_from_each_other() {
        let far = json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "x"}}}]}}});
        let pods: Vec<_> = ["a", "b", "c"].map(|name| pod(name, json!({"app": "x"}), far.clone())).into();
        let refused = run(&mut two(), &pods);
        assert!(
            refused.starts_with("0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules."),
            "{refused}"
        );
        let mut nodes = Nodes::default();
        node(&mut nodes, "n1", json!({}), json!({}), json!({}));
        let refused = run(&mut nodes, &[pod("grumpy", json!({}), far), pod("b", json!({"app": "x"}), json!({}))]);
        assert!(
            refused.starts_with("0/1 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity rules."),
            "{refused}"
        );
    }

    #[test]
    fn pods_are_spread_over_domains() {
        let mut nodes = two();
        node(&mut nodes, "n3", json!({}), json!({}), json!({}));
        let spread = json!({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone",
            "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "s"}}}]});
        let place = |nodes: &mut Nodes, name: &str| run(nodes, &[pod(name, json!({"app": "s"}), spread.clone())]);
        let first = place(&mut nodes, "a");
        let second = place(&mut nodes, "b");
        assert_ne!(first, second);
        assert!(first != "n3" && second != "n3");
    }

    #[test]
    fn a_part_of_many_nodes_is_enough() {
        for (total, wanted) in [(3, 3), (100, 100), (200, 100), (1000, 420), (5000, 500)] {
            assert_eq!(enough(total), wanted);
        }
    }
}
