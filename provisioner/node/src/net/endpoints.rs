//! Who answers for a port of a service, by its endpoint slices.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::ServicePort;
use k8s_openapi::api::discovery::v1::{Endpoint as SliceEndpoint, EndpointSlice};

/// One address and port that answers for a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// Address of the pod.
    pub address: Ipv4Addr,
    /// Port of the container.
    pub port: u16,
    /// Node that the pod is on.
    pub node: String,
}

/// The slices of every service, by its namespace and name. Only addresses of IPv4 are looked at.
#[must_use]
pub fn by_service(slices: &[Arc<EndpointSlice>]) -> BTreeMap<(&str, &str), Vec<&EndpointSlice>> {
    let mut found: BTreeMap<(&str, &str), Vec<&EndpointSlice>> = BTreeMap::new();
    for slice in slices.iter().filter(|slice| slice.address_type == "IPv4") {
        let service = slice.metadata.labels.as_ref().and_then(|labels| labels.get("kubernetes.io/service-name"));
        if let (Some(namespace), Some(service)) = (slice.metadata.namespace.as_deref(), service) {
            found.entry((namespace, service)).or_default().push(slice);
        }
    }
    found
}

pub(crate) fn text(value: &Option<String>) -> &str {
    value.as_deref().unwrap_or_default()
}

/// Ready endpoints; where none is, those that still serve while they end.
#[must_use]
pub fn endpoints(port: &ServicePort, slices: &[&EndpointSlice]) -> Vec<Endpoint> {
    let collect = |wanted: fn(&SliceEndpoint) -> bool| -> BTreeSet<Endpoint> {
        slices.iter().flat_map(|slice| of_slice(port, slice, wanted)).collect()
    };
    let ready = collect(|endpoint| endpoint.conditions.as_ref().and_then(|c| c.ready).unwrap_or(true));
    let chosen = if ready.is_empty() { collect(serves_while_ending) } else { ready };
    chosen.into_iter().collect()
}

fn serves_while_ending(endpoint: &SliceEndpoint) -> bool {
    endpoint.conditions.as_ref().is_some_and(|c| c.terminating == Some(true) && c.serving == Some(true))
}

fn of_slice(port: &ServicePort, slice: &EndpointSlice, wanted: fn(&SliceEndpoint) -> bool) -> Vec<Endpoint> {
    let named = |other: &Option<String>| text(other) == text(&port.name);
    let Some(number) = slice.ports.iter().flatten().find(|other| named(&other.name)).and_then(|other| other.port)
    else {
        return Vec::new();
    };
    let Ok(number) = u16::try_from(number) else { return Vec::new() };
    let of_endpoint = |endpoint: &SliceEndpoint| {
        Some(Endpoint {
            address: endpoint.addresses.first()?.parse().ok()?,
            port: number,
            node: text(&endpoint.node_name).to_owned(),
        })
    };
    slice.endpoints.iter().flatten().filter(|endpoint| wanted(endpoint)).filter_map(of_endpoint).collect()
}
