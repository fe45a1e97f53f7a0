//! Which nodes a pod's node affinity and tolerations let it on.

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm, Taint, Toleration};
use kprov_schema::selector::Requirement;

use super::node::NodeInfo;
use super::pod::{PodInfo, requirement};
use crate::controllers::machinery::taint::bears;

/// One term of node affinity: all its requirements must hold. An empty term holds for no node.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeTerm {
    labels: Vec<Requirement>,
    names: Vec<Requirement>,
    holds_never: bool,
}

impl NodeTerm {
    /// Reads a term.
    #[must_use]
    pub fn of(term: &NodeSelectorTerm) -> Self {
        let read = |all: Option<&Vec<NodeSelectorRequirement>>| -> Option<Vec<Requirement>> {
            all.into_iter().flatten().map(|one| requirement(&one.key, &one.operator, one.values.as_ref())).collect()
        };
        let (labels, names) = (read(term.match_expressions.as_ref()), read(term.match_fields.as_ref()));
        let holds_never = labels.as_ref().is_none_or(Vec::is_empty) && names.as_ref().is_none_or(Vec::is_empty)
            || labels.is_none()
            || names.is_none();
        Self { labels: labels.unwrap_or_default(), names: names.unwrap_or_default(), holds_never }
    }

    /// Whether it holds for a node.
    #[must_use]
    pub fn holds(&self, node: &NodeInfo) -> bool {
        !self.holds_never
            && self.labels.iter().all(|one| one.matches(node.label(&one.key)))
            && self.names.iter().all(|one| one.key == "metadata.name" && one.matches(Some(&node.name)))
    }

    /// The only nodes it can hold for, when it names them.
    #[must_use]
    pub fn named(&self) -> Option<impl Iterator<Item = &String>> {
        let named = self
            .names
            .iter()
            .find(|one| one.key == "metadata.name" && one.operator == kprov_schema::selector::Operator::In)?;
        Some(named.values.iter())
    }
}

/// Whether a pod's node selector and required node affinity let it on a node.
#[must_use]
pub fn allows(pod: &PodInfo, node: &NodeInfo) -> bool {
    pod.node_selector.matches(|key| node.label(key))
        && pod.node_terms.as_ref().is_none_or(|terms| terms.iter().any(|term| term.holds(node)))
}

/// Whether any of a pod's tolerations bears a taint.
#[must_use]
pub fn tolerated(tolerations: &[Toleration], taint: &Taint) -> bool {
    tolerations.iter().any(|toleration| bears(toleration, taint))
}

/// Whether all taints that keep pods off are borne.
#[must_use]
pub fn tolerates(pod: &PodInfo, node: &NodeInfo) -> bool {
    let hard = node.taints.iter().filter(|taint| taint.effect != "PreferNoSchedule");
    hard.into_iter().all(|taint| tolerated(&pod.tolerations, taint))
}
