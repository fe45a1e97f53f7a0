//! Which nodes a pod's node selector and required node affinity let it on.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm, PodSpec};
use kprov_schema::selector::{Labels, Operator, Requirement};

/// What a pod asks of its node's name and labels.
#[derive(Clone, Debug)]
pub struct Placement {
    selector: Labels,
    terms: Option<Vec<NodeTerm>>,
}

impl Placement {
    /// What a pod of this spec asks.
    #[must_use]
    pub fn of(spec: &PodSpec) -> Self {
        let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
        let required = affinity.and_then(|one| one.required_during_scheduling_ignored_during_execution.as_ref());
        Self {
            selector: Labels::equal(spec.node_selector.iter().flatten()),
            terms: required.map(|required| required.node_selector_terms.iter().map(NodeTerm::of).collect()),
        }
    }

    /// Whether the pod may be on a node of this name and these labels.
    #[must_use]
    pub fn allows<'a>(&self, name: &str, label: impl Fn(&str) -> Option<&'a str> + Copy) -> bool {
        self.selector.matches(label)
            && self.terms.as_ref().is_none_or(|terms| terms.iter().any(|term| term.holds(name, label)))
    }

    /// The only nodes that can do, when each term names them.
    #[must_use]
    pub fn named(&self) -> Option<BTreeSet<&str>> {
        let named: Option<Vec<&BTreeSet<String>>> = self.terms.as_ref()?.iter().map(NodeTerm::named).collect();
        Some(named?.into_iter().flatten().map(String::as_str).collect())
    }
}

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
            all.into_iter().flatten().map(requirement).collect()
        };
        let (labels, names) = (read(term.match_expressions.as_ref()), read(term.match_fields.as_ref()));
        let holds_never = labels.as_ref().is_none_or(Vec::is_empty) && names.as_ref().is_none_or(Vec::is_empty)
            || labels.is_none()
            || names.is_none();
        Self { labels: labels.unwrap_or_default(), names: names.unwrap_or_default(), holds_never }
    }

    /// Whether it holds for a node of this name and these labels.
    #[must_use]
    pub fn holds<'a>(&self, name: &str, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        !self.holds_never
            && self.labels.iter().all(|one| one.matches(label(&one.key)))
            && self.names.iter().all(|one| one.key == "metadata.name" && one.matches(Some(name)))
    }

    fn named(&self) -> Option<&BTreeSet<String>> {
        let named = self.names.iter().find(|one| one.key == "metadata.name" && one.operator == Operator::In)?;
        Some(&named.values)
    }
}

fn requirement(one: &NodeSelectorRequirement) -> Option<Requirement> {
    let operator = match &*one.operator {
        "In" => Operator::In,
        "NotIn" => Operator::NotIn,
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        "Gt" => Operator::GreaterThan,
        "Lt" => Operator::LessThan,
        _ => return None,
    };
    Some(Requirement { key: one.key.clone(), operator, values: one.values.iter().flatten().cloned().collect() })
}
