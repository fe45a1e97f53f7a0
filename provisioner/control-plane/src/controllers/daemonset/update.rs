//! Which pods of an earlier template give way next, within what the update strategy lets be missing or too many.
//!
//! Source: upstream `pkg/controller/daemon/update.go`.

use k8s_openapi::api::core::v1::Pod;

use super::pod::Fit;
use super::{Plan, Round};
use crate::controllers::machinery::rollout::scaled;
use crate::controllers::machinery::snapshot::Seen;
use crate::controllers::machinery::status;

/// The pods of a node that are not on their way out.
enum OnNode<'a> {
    None,
    New(&'a Seen<Pod>),
    Old(&'a Seen<Pod>),
    Both { new: &'a Seen<Pod>, old: &'a Seen<Pod> },
    TooMany,
}

impl<'a> Round<'a> {
    pub(super) fn surges(&self) -> bool {
        self.surge(1) > 0
    }

    fn surge(&self, desired: i32) -> i32 {
        self.rolling_update().map_or(0, |rolling| scaled(rolling.max_surge.as_ref(), desired, true))
    }

    fn rolling_update(&self) -> Option<&k8s_openapi::api::apps::v1::RollingUpdateDaemonSet> {
        let strategy = self.set.spec.update_strategy.as_ref()?;
        strategy.rolling_update.as_ref().filter(|_| strategy.type_.as_deref() == Some("RollingUpdate"))
    }

    /// The next step of an update; nothing when pods are only replaced as they are deleted.
    pub(super) fn roll(&'a self) -> Plan<'a> {
        let Some(rolling) = self.rolling_update() else { return Plan::default() };
        let wanted = self.nodes.values().filter(|fit| **fit == Fit::Wanted).count();
        let desired = i32::try_from(wanted).unwrap_or(i32::MAX);
        let (surge, unavailable) = (self.surge(desired), scaled(rolling.max_unavailable.as_ref(), desired, true));
        let count = |number: i32| usize::try_from(number).unwrap_or(0);
        match (count(surge), count(unavailable)) {
            (0, 0) => self.replace(1),
            (0, unavailable) => self.replace(unavailable),
            (surge, _) => self.surpass(surge, wanted),
        }
    }

    fn on_node(&self, node: &str) -> OnNode<'a> {
        let live: Vec<&Seen<Pod>> = self.on(node).iter().copied().filter(|pod| !status::is_deleting(pod)).collect();
        let (new, old): (Vec<_>, Vec<_>) = live.into_iter().partition(|pod| self.is_present(pod));
        match (&*new, &*old) {
            ([], []) => OnNode::None,
            ([new], []) => OnNode::New(new),
            ([], [old]) => OnNode::Old(old),
            ([new], [old]) => OnNode::Both { new, old },
            _ => OnNode::TooMany,
        }
    }

    /// Nodes that have pods or are to have one.
    fn concerned(&'a self) -> impl Iterator<Item = &'a str> {
        let waiting = self.nodes.iter().filter(|(node, fit)| **fit == Fit::Wanted && !self.pods.contains_key(&***node));
        self.pods.keys().copied().chain(waiting.map(|(node, _)| node.as_str()))
    }

    /// Deletes old pods: those that do not serve, and of the others as many as may be missing.
    fn replace(&'a self, unavailable: usize) -> Plan<'a> {
        let (mut broken, mut serving, mut missing) = (Vec::new(), Vec::new(), 0);
        for node in self.concerned() {
            match self.on_node(node) {
                OnNode::New(pod) => missing += usize::from(!self.is_available(pod)),
                OnNode::Old(pod) if self.is_available(pod) => serving.push(pod),
                OnNode::Old(pod) => {
                    broken.push(pod);
                    missing += 1;
                }
                // What is too much or too little here is not this step's to mend.
                OnNode::None | OnNode::Both { .. } | OnNode::TooMany => missing += 1,
            }
        }
        serving.truncate(unavailable.saturating_sub(missing));
        Plan { create_on: Vec::new(), delete: broken.into_iter().chain(serving).collect() }
    }

    /// Makes new pods beside old ones, and deletes an old one when its new one serves.
    fn surpass(&'a self, surge: usize, desired: usize) -> Plan<'a> {
        let (mut plan, mut candidates, mut leaving) = (Plan::default(), Vec::new(), Vec::new());
        let (mut surging, mut available) = (0, 0);
        for node in self.concerned() {
            let wanted = self.nodes.get(node) == Some(&Fit::Wanted);
            match self.on_node(node) {
                OnNode::TooMany => surging += 1,
                OnNode::None => {}
                OnNode::New(pod) => available += usize::from(self.is_available(pod)),
                OnNode::Old(pod) if self.is_available(pod) => {
                    available += 1;
                    if wanted { candidates.push(node) } else { leaving.push(pod) }
                }
                OnNode::Old(_) if wanted => plan.create_on.push(node),
                OnNode::Old(pod) => plan.delete.push(pod),
                OnNode::Both { new, old } => {
                    available += usize::from(self.is_available(old));
                    if self.is_available(new) { plan.delete.push(old) } else { surging += 1 }
                }
            }
        }
        candidates.truncate(surge.saturating_sub(surging));
        leaving.truncate(available.saturating_sub(desired));
        plan.create_on.extend(candidates);
        plan.delete.extend(leaving);
        plan
    }
}
