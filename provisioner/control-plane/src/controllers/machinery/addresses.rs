//! Where the nodes of a cluster are reached from outside.

use std::collections::BTreeSet;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Node;
use kprov_schema::{Key, Object, Resource, conditions};
use serde_json::Value;

use super::Snapshot;
use crate::informer::{Change, Unreadable};

/// The addresses of all nodes that are ready, in order.
pub fn of_ready_nodes(world: &Snapshot) -> Result<Vec<IpAddr>, Unreadable> {
    let nodes = world.all::<Node>()?;
    let all: BTreeSet<IpAddr> = nodes.iter().flat_map(|node| of_ready_node(&node.raw)).collect();
    Ok(all.into_iter().collect())
}

/// All objects of a kind, when a node comes, goes, gets ready or loses that; none for the rest of what nodes tell of themselves.
pub fn all_when_nodes_change<T: k8s_openapi::Resource>(change: &Change, world: &Snapshot) -> Vec<Key> {
    let of = |side: &Option<std::sync::Arc<crate::informer::Entry>>| side.as_ref().map(|node| of_ready_node(&node.raw));
    if of(&change.old).unwrap_or_default() == of(&change.new).unwrap_or_default() {
        return Vec::new();
    }
    world.cache(&Resource::of::<T>()).all().iter().map(|entry| entry.key.clone()).collect()
}

fn of_ready_node(node: &Object) -> BTreeSet<IpAddr> {
    if node.is_deleting() || !conditions::is_true(node, "Ready") {
        return BTreeSet::new();
    }
    let addresses = node.at(&["status", "addresses"]).and_then(Value::as_array).into_iter().flatten();
    let internal = addresses.filter(|address| address["type"] == "InternalIP");
    internal.filter_map(|address| address["address"].as_str()?.parse().ok()).collect()
}
