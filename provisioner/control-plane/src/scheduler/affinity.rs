//! Which nodes a pod's node affinity and tolerations let it on.

use super::node::NodeInfo;
use super::pod::PodInfo;
use crate::controllers::machinery::taint::tolerated;

/// Whether a pod's node selector and required node affinity let it on a node.
#[must_use]
pub fn allows(pod: &PodInfo, node: &NodeInfo) -> bool {
    pod.placement.allows(&node.name, |key| node.label(key))
}

/// Whether all taints that keep pods off are borne.
#[must_use]
pub fn tolerates(pod: &PodInfo, node: &NodeInfo) -> bool {
    let hard = node.taints.iter().filter(|taint| taint.effect != "PreferNoSchedule");
    hard.into_iter().all(|taint| tolerated(&pod.tolerations, taint))
}
