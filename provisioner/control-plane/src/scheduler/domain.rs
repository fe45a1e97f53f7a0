//! What a pod's rules about other pods come to, computed once for all nodes.

use std::collections::HashMap;

use super::affinity;
use super::claims::Claims;
use super::node::{NodeInfo, Nodes};
use super::pod::{PodInfo, PodTerm, Spread};

/// Pods of a group in each domain of a topology label.
#[derive(Debug, Default)]
pub struct Tally {
    by_value: HashMap<String, i64>,
}

impl Tally {
    fn add(&mut self, value: &str, number: i64) {
        match self.by_value.get_mut(value) {
            Some(sum) => *sum += number,
            None => {
                self.by_value.insert(value.to_owned(), number);
            }
        }
    }

    /// The number in a node's domain; `None` when the node lacks the label.
    #[must_use]
    pub fn at(&self, node: &NodeInfo, topology: &str) -> Option<i64> {
        Some(self.by_value.get(node.label(topology)?).copied().unwrap_or(0))
    }

    fn total(&self) -> i64 {
        self.by_value.values().sum()
    }
}

/// A spreading rule with the pods of each domain.
#[derive(Debug)]
pub struct SpreadTally<'a> {
    /// The rule.
    pub spread: &'a Spread,
    /// Pods in each domain.
    pub tally: Tally,
    /// Pods in the emptiest domain.
    pub least: i64,
    /// Whether the pod itself counts.
    pub counts_itself: bool,
}

/// Rules about other pods, and about volumes, as they bear on a pod.
#[derive(Default)]
pub struct Rules<'a> {
    /// Spreading that must hold.
    pub hard: Vec<SpreadTally<'a>>,
    /// Spreading that should hold.
    pub soft: Vec<SpreadTally<'a>>,
    /// Pods that it must be near, by domain.
    pub near: Vec<(&'a PodTerm, Tally)>,
    /// Whether it may be the first of those that it wants to be near.
    pub first_of_its_kind: bool,
    /// Pods that it must not be near, by domain.
    pub far: Vec<(&'a PodTerm, Tally)>,
    /// What its claims come to.
    pub claims: Option<&'a Claims>,
    /// Domains that pods there keep it out of: topology label and value.
    pub kept_out: HashMap<(String, String), i64>,
    /// What preferences, its own and those of pods there, say for and against domains.
    pub preferred: HashMap<(String, String), i64>,
}

/// What a pod that must be near others adds to the domain when it is there already.
const HARD_AFFINITY_WEIGHT: i64 = 1;

impl<'a> Rules<'a> {
    /// Computes them for a pod.
    #[must_use]
    pub fn of(pod: &'a PodInfo, nodes: &Nodes) -> Self {
        let mut rules = Self {
            hard: pod.hard_spread.iter().map(|spread| spread_tally(pod, spread, &pod.hard_spread, nodes)).collect(),
            soft: pod.soft_spread.iter().map(|spread| spread_tally(pod, spread, &[], nodes)).collect(),
            near: pod.affinity.iter().map(|term| (term, tally(term, nodes))).collect(),
            far: pod.anti_affinity.iter().map(|term| (term, tally(term, nodes))).collect(),
            ..Self::default()
        };
        rules.first_of_its_kind = rules.near.iter().all(|(term, tally)| tally.total() == 0 && term.group.has(pod));
        for (weight, term) in &pod.preferred {
            for (slot, count) in nodes.count(&term.group).iter().enumerate().filter(|(_, count)| **count > 0) {
                prefer(&mut rules.preferred, nodes.at(slot), term, weight * i64::from(*count));
            }
        }
        for (slot, other) in nodes.minding() {
            rules.mind(pod, other, nodes.at(slot));
        }
        rules
    }

    /// Takes in what a pod that is there already says about the one to come.
    fn mind(&mut self, pod: &PodInfo, other: &PodInfo, node: Option<&NodeInfo>) {
        for term in other.anti_affinity.iter().filter(|term| term.group.has(pod)) {
            prefer(&mut self.kept_out, node, term, 1);
        }
        for term in other.affinity.iter().filter(|term| term.group.has(pod)) {
            prefer(&mut self.preferred, node, term, HARD_AFFINITY_WEIGHT);
        }
        for (weight, term) in other.preferred.iter().filter(|(_, term)| term.group.has(pod)) {
            prefer(&mut self.preferred, node, term, *weight);
        }
    }

    /// Whether a pod there keeps the one to come off a node.
    #[must_use]
    pub fn is_kept_out(&self, node: &NodeInfo) -> bool {
        self.kept_out.keys().any(|(topology, value)| node.label(topology) == Some(value))
    }

    /// What all preferences say for a node.
    #[must_use]
    pub fn preference(&self, node: &NodeInfo) -> i64 {
        let spoken = self.preferred.iter().filter(|((topology, value), _)| node.label(topology) == Some(value));
        spoken.map(|(_, weight)| weight).sum()
    }
}

fn prefer(domains: &mut HashMap<(String, String), i64>, node: Option<&NodeInfo>, term: &PodTerm, weight: i64) {
    if let Some(value) = node.and_then(|node| node.label(&term.topology)) {
        *domains.entry((term.topology.clone(), value.to_owned())).or_default() += weight;
    }
}

fn tally(term: &PodTerm, nodes: &Nodes) -> Tally {
    let mut tally = Tally::default();
    for (slot, count) in nodes.count(&term.group).iter().enumerate().filter(|(_, count)| **count > 0) {
        if let Some(value) = nodes.at(slot).and_then(|node| node.label(&term.topology)) {
            tally.add(value, i64::from(*count));
        }
    }
    tally
}

/// Counts domains of nodes that the rule lets count and that have the labels of all of the pod's rules.
fn spread_tally<'a>(pod: &PodInfo, spread: &'a Spread, all: &[Spread], nodes: &Nodes) -> SpreadTally<'a> {
    let counts = nodes.count(&spread.group);
    let mut tally = Tally::default();
    for (slot, node) in nodes.all() {
        let labelled = all.iter().all(|one| node.label(&one.topology).is_some());
        let Some(value) = node.label(&spread.topology).filter(|_| labelled) else { continue };
        let lets = (!spread.honor_affinity || affinity::allows(pod, node))
            && (!spread.honor_taints || affinity::tolerates(pod, node));
        if lets {
            tally.add(value, i64::from(counts.get(slot).copied().unwrap_or(0)));
        }
    }
    let missing = spread.min_domains.is_some_and(|fewest| tally.by_value.len() < fewest);
    let least = if missing { 0 } else { tally.by_value.values().copied().min().unwrap_or(0) };
    SpreadTally { spread, tally, least, counts_itself: spread.group.has(pod) }
}

impl SpreadTally<'_> {
    /// How many domains there are.
    #[must_use]
    pub fn domains(&self) -> usize {
        self.tally.by_value.len()
    }
}
