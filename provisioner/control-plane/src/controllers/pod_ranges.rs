//! Ranges of pod addresses: every node gets one of its own.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kprov_schema::{Key, Resource};
use serde_json::json;

use super::machinery::action::{Action, Note, Outcome};
use super::machinery::meta::reference;
use super::machinery::snapshot::{Seen, Snapshot};
use super::machinery::{Config, Controller, Watch};
use crate::client::PatchKind;
use crate::informer::Unreadable;

/// Hands out ranges. One key stands for all nodes, so that no range is given twice.
pub struct PodRanges {
    network: Ipv4Net,
    prefix: u8,
}

impl Controller for PodRanges {
    const NAME: &'static str = "node-ipam-controller";

    fn new(config: &Config, _: Timestamp) -> Self {
        Self { network: config.pod_network, prefix: config.node_prefix }
    }

    fn watches() -> Vec<Watch> {
        vec![Watch::new::<Node>(|change, _| {
            let without = change.new.as_ref().is_none_or(|node| node.raw.text(&["spec", "podCIDR"]).is_none());
            if without { vec![Key::new("", "")] } else { Vec::new() }
        })]
    }

    fn reconcile(&self, _: &Key, world: &Snapshot, _: Timestamp) -> Result<Outcome, Unreadable> {
        let nodes = world.all::<Node>()?;
        let range = |node: &Seen<Node>| {
            node.spec.as_ref().and_then(|spec| spec.pod_cidr.clone()).filter(|text| !text.is_empty())
        };
        let mut taken: BTreeSet<String> = nodes.iter().filter_map(range).collect();
        let waiting = nodes.iter().filter(|node| range(node).is_none() && !node.raw.is_deleting());
        let actions: Vec<Action> = waiting.map(|node| self.give(node, &mut taken)).collect();
        Ok(actions.into())
    }
}

impl PodRanges {
    fn give(&self, node: &Seen<Node>, taken: &mut BTreeSet<String>) -> Action {
        let mut ranges = self.network.subnets(self.prefix).into_iter().flatten();
        let Some(range) = ranges.find(|range| !taken.contains(&range.to_string())) else {
            let message = format!("Node {} status is now: CIDRNotAvailable", node.raw.name());
            return Action::Record(Note::normal(reference(&node.raw), "CIDRNotAvailable", message));
        };
        taken.insert(range.to_string());
        Action::Patch {
            resource: Resource::of::<Node>(),
            key: node.raw.key(),
            subresource: None,
            kind: PatchKind::Merge,
            patch: json!({"metadata": {"uid": node.raw.uid().0}, "spec": {"podCIDR": range.to_string(), "podCIDRs": [range.to_string()]}}),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_gets_the_lowest_free_range() {
        let node = |name: &str, range: Option<&str>| json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "uid": name}, "spec": {"podCIDR": range}});
        let world = Snapshot::given(
            &PodRanges::watches(),
            &[node("a", None), node("b", Some("10.244.0.0/24")), node("c", None)],
        );
        let ranges = PodRanges::new(&Config::new(""), Timestamp::UNIX_EPOCH);
        let outcome = ranges.reconcile(&Key::default(), &world, Timestamp::UNIX_EPOCH).unwrap();
        let given: Vec<String> = outcome
            .actions
            .iter()
            .map(|action| match action {
                Action::Patch { key, patch, .. } => {
                    format!("{} {}", key.name, patch["spec"]["podCIDR"].as_str().unwrap())
                }
                other => format!("{other:?}"),
            })
            .collect();
        assert_eq!(given, ["a 10.244.1.0/24", "c 10.244.2.0/24"]);
    }
}
