//! Where pods run: on which nodes, near or far from whom, how evenly spread.

mod rules;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

pub use rules::{LabelRule, Looked, NodeRule, Spread, Toleration, Topology};

use super::object::Named;
use super::pods::Pods;
use super::priority::PriorityClass;
use super::text::{Key, LabelValue, Name, Of};
use super::workload::Selects;

/// Where the scheduler puts pods.
///
/// ```
/// use kprov::build::*;
/// let db = StatefulSet::new("db", Container::new("db", "mysql:8")).apart(Topology::Host);
/// let web = Deployment::new("web", Container::new("web", "nginx:1.27"))
///     .node_selector("kubernetes.io/arch", "amd64")
///     .on_nodes(NodeRule::label("example.com/disk").is_in(["ssd", "nvme"]))
///     .spread_over(Topology::Zone)
///     .rather_near(&db, Topology::Host);
/// ```
/// Source: <https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/>
pub trait Placed: Pods {
    /// What finds the pods themselves; a template takes the selector of the workload that it gets into.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Deployment::new("web", Container::new("web", "nginx:1.27")).labelled("app", "web");
    /// assert_eq!(web.own_kind(), Some(web.label_selector()));
    /// ```
    fn own_kind(&self) -> Option<LabelSelector> {
        let labels = || self.pod().0?.labels.clone().filter(|labels| !labels.is_empty());
        self.pod_selector()
            .cloned()
            .or_else(|| labels().map(|labels| LabelSelector { match_labels: Some(labels), match_expressions: None }))
    }

    /// Only on nodes that have this label.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Deployment::new("web", Container::new("web", "nginx:1.27").port("http", 80)).node_selector("kubernetes.io/arch", "amd64");
    /// ```
    #[must_use]
    #[track_caller]
    fn node_selector(mut self, key: impl Of<Key>, value: impl Of<LabelValue>) -> Self {
        let selector = self.pod_mut().1.node_selector.get_or_insert_default();
        selector.insert(key.checked().into(), value.checked().into());
        self
    }

    /// On that node, without asking the scheduler.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let debug = Pod::new("debug", Container::new("shell", "busybox")).node_name("node-1");
    /// ```
    #[must_use]
    #[track_caller]
    fn node_name(mut self, node: impl Of<Name>) -> Self {
        self.pod_mut().1.node_name = Some(node.checked().into());
        self
    }

    /// Only on nodes that keep the rule; called again, this rule too.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Deployment::new("web", Container::new("web", "nginx:1.27").port("http", 80)).on_nodes(NodeRule::label("disk").is_in(["ssd", "nvme"]));
    /// ```
    #[must_use]
    fn on_nodes(mut self, rule: NodeRule) -> Self {
        let affinity = self.pod_mut().1.affinity.get_or_insert_default().node_affinity.get_or_insert_default();
        let required = affinity.required_during_scheduling_ignored_during_execution.get_or_insert_default();
        if required.node_selector_terms.is_empty() {
            required.node_selector_terms.push(core::NodeSelectorTerm::default());
        }
        let rule = core::NodeSelectorRequirement::from(rule);
        // Terms are alternatives: each of them must hold the rule.
        for term in &mut required.node_selector_terms {
            term.match_expressions.get_or_insert_default().push(rule.clone());
        }
        self
    }

    /// Rather on nodes that keep the rule; of several rules the heavier one counts more, 1 to 100.
    ///
    /// Panics when the weight is another.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Deployment::new("web", Container::new("web", "nginx:1.27").port("http", 80)).rather_on_nodes(10, NodeRule::label("old").is_absent());
    /// ```
    #[must_use]
    #[track_caller]
    fn rather_on_nodes(mut self, weight: u8, rule: NodeRule) -> Self {
        assert!((1..=100).contains(&weight), "a weight is 1 to 100, and {weight} is none");
        let affinity = self.pod_mut().1.affinity.get_or_insert_default().node_affinity.get_or_insert_default();
        let preference = core::NodeSelectorTerm { match_expressions: Some(vec![rule.into()]), match_fields: None };
        let preferred = affinity.preferred_during_scheduling_ignored_during_execution.get_or_insert_default();
        preferred.push(core::PreferredSchedulingTerm { weight: i32::from(weight), preference });
        self
    }

    /// Also on nodes with a taint that keeps others away.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Deployment::new("web", Container::new("web", "nginx:1.27").port("http", 80)).toleration(Toleration::of("dedicated").value("web").no_schedule());
    /// ```
    #[must_use]
    fn toleration(mut self, toleration: Toleration) -> Self {
        self.pod_mut().1.tolerations.get_or_insert_default().push(toleration.into());
        self
    }

    /// As evenly as possible over zones, hosts or another property of nodes; [`Spread::strictly`] rather waits.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Deployment::new("web", Container::new("web", "nginx:1.27").port("http", 80)).spread_over(Topology::Zone);
    /// ```
    #[must_use]
    fn spread_over(mut self, spread: impl Into<Spread>) -> Self {
        let constraint = core::TopologySpreadConstraint { label_selector: self.own_kind(), ..spread.into().into() };
        self.pod_mut().1.topology_spread_constraints.get_or_insert_default().push(constraint);
        self
    }

    /// Never two of its own kind in one place.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Deployment::new("web", Container::new("web", "nginx:1.27").port("http", 80)).apart(Topology::Host);
    /// ```
    #[must_use]
    fn apart(mut self, place: Topology) -> Self {
        let term = term(self.own_kind(), &place);
        let affinity = self.pod_mut().1.affinity.get_or_insert_default().pod_anti_affinity.get_or_insert_default();
        affinity.required_during_scheduling_ignored_during_execution.get_or_insert_default().push(term);
        self
    }

    /// Rather not two of its own kind in one place.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Deployment::new("web", Container::new("web", "nginx:1.27")).rather_apart(Topology::Host);
    /// ```
    #[must_use]
    fn rather_apart(mut self, place: Topology) -> Self {
        let term = weighted(self.own_kind(), &place);
        let affinity = self.pod_mut().1.affinity.get_or_insert_default().pod_anti_affinity.get_or_insert_default();
        affinity.preferred_during_scheduling_ignored_during_execution.get_or_insert_default().push(term);
        self
    }

    /// Never in one place with a pod of the other.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Deployment::new("web", Container::new("web", "nginx:1.27").port("http", 80)).away_from(&LabelRule::label("noisy").exists(), Topology::Host);
    /// ```
    #[must_use]
    fn away_from(mut self, other: &impl Selects, place: Topology) -> Self {
        let term = term(Some(other.label_selector()), &place);
        let affinity = self.pod_mut().1.affinity.get_or_insert_default().pod_anti_affinity.get_or_insert_default();
        affinity.required_during_scheduling_ignored_during_execution.get_or_insert_default().push(term);
        self
    }

    /// Only in one place with a pod of the other.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let db = StatefulSet::new("db", Container::new("db", "mysql:8"));
    /// let web = Deployment::new("web", Container::new("web", "nginx:1.27").port("http", 80)).near(&db, Topology::Zone);
    /// ```
    #[must_use]
    fn near(mut self, other: &impl Selects, place: Topology) -> Self {
        let term = term(Some(other.label_selector()), &place);
        let affinity = self.pod_mut().1.affinity.get_or_insert_default().pod_affinity.get_or_insert_default();
        affinity.required_during_scheduling_ignored_during_execution.get_or_insert_default().push(term);
        self
    }

    /// Rather in one place with a pod of the other.
    #[must_use]
    fn rather_near(mut self, other: &impl Selects, place: Topology) -> Self {
        let term = weighted(Some(other.label_selector()), &place);
        let affinity = self.pod_mut().1.affinity.get_or_insert_default().pod_affinity.get_or_insert_default();
        affinity.preferred_during_scheduling_ignored_during_execution.get_or_insert_default().push(term);
        self
    }

    /// How important the pods are: others make room for them.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Deployment::new("web", Container::new("web", "nginx:1.27").port("http", 80)).priority_class("important");
    /// ```
    #[must_use]
    #[track_caller]
    fn priority_class(mut self, class: impl Named<PriorityClass>) -> Self {
        self.pod_mut().1.priority_class_name = Some(class.object_name().into());
        self
    }

    /// Another scheduler than the cluster's own.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let train = Job::new("train", Container::new("train", "shop:1")).scheduler("volcano");
    /// ```
    #[must_use]
    #[track_caller]
    fn scheduler(mut self, scheduler: impl Of<Name>) -> Self {
        self.pod_mut().1.scheduler_name = Some(scheduler.checked().into());
        self
    }
}

impl<T: Pods> Placed for T {}

fn term(label_selector: Option<LabelSelector>, place: &Topology) -> core::PodAffinityTerm {
    core::PodAffinityTerm { label_selector, topology_key: place.key().to_owned(), ..core::PodAffinityTerm::default() }
}

fn weighted(label_selector: Option<LabelSelector>, place: &Topology) -> core::WeightedPodAffinityTerm {
    core::WeightedPodAffinityTerm { weight: 100, pod_affinity_term: term(label_selector, place) }
}

/// Lets the rules by which pods look at their own kind follow when the selector changes.
pub(super) fn reselect(spec: &mut core::PodSpec, before: &LabelSelector, after: &LabelSelector) {
    let constraints = spec.topology_spread_constraints.iter_mut().flatten().map(|one| &mut one.label_selector);
    let anti = spec.affinity.iter_mut().flat_map(|affinity| affinity.pod_anti_affinity.iter_mut());
    let terms = anti.flat_map(|anti| {
        let preferred = anti.preferred_during_scheduling_ignored_during_execution.iter_mut().flatten();
        let required = anti.required_during_scheduling_ignored_during_execution.iter_mut().flatten();
        required.chain(preferred.map(|weighted| &mut weighted.pod_affinity_term)).map(|term| &mut term.label_selector)
    });
    for selector in constraints.chain(terms) {
        if selector.as_ref().is_none_or(|selector| selector == before) {
            *selector = Some(after.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::build::{Container, Deployment, Template, Workload};

    #[test]
    fn pods_know_their_own_kind_whatever_the_order() {
        let template =
            Template::new(Container::new("zk", "zookeeper:3")).apart(Topology::Host).spread_over(Topology::Zone);
        let before = Deployment::new("zk", template).labelled("app", "zk");
        let after = Deployment::new("zk", Container::new("zk", "zookeeper:3"))
            .labelled("app", "zk")
            .apart(Topology::Host)
            .spread_over(Topology::Zone);
        assert_eq!(before, after);
        let pod = serde_json::to_value(after).unwrap()["spec"]["template"]["spec"].clone();
        let labels = json!({"matchLabels": {"app": "zk"}});
        let anti = &pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
        assert_eq!(*anti, json!([{"labelSelector": labels, "topologyKey": "kubernetes.io/hostname"}]));
        let spread = json!([{"labelSelector": labels, "maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone",
                             "whenUnsatisfiable": "ScheduleAnyway"}]);
        assert_eq!(pod["topologySpreadConstraints"], spread);
    }

    #[test]
    fn rules_for_nodes_all_hold() {
        let web = Deployment::new("web", Container::new("web", "nginx"))
            .on_nodes(NodeRule::label("disk").is_in(["ssd"]))
            .on_nodes(NodeRule::label("cores").more_than(7))
            .toleration(Toleration::of("dedicated").value("web").no_schedule());
        let pod = serde_json::to_value(web).unwrap()["spec"]["template"]["spec"].clone();
        let terms = json!([{"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]},
                                                 {"key": "cores", "operator": "Gt", "values": ["7"]}]}]);
        let required = &pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
        assert_eq!(required["nodeSelectorTerms"], terms);
        let toleration = json!([{"key": "dedicated", "operator": "Equal", "value": "web", "effect": "NoSchedule"}]);
        assert_eq!(pod["tolerations"], toleration);
    }
}
