//! Endpoints: the addresses behind a service, in the older form.

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints};

use super::fields::{app_protocol, endpoint_ip, fill, items, port, protocol, text};
use super::pod::same;
use crate::kind::{Column, Rules, Write};
use crate::meta::{MetaRules, Repeats, all_invalid};
use crate::names;
use crate::status::FieldError;
use crate::table;

const ENDPOINTS: &str = "The set of all endpoints is the union of all subsets. Addresses are placed into subsets according to the IPs \
    they share. A single address with multiple ports, some of which are ready and some of which are not (because \
    they come from different containers) will result in the address being displayed in different subsets for the \
    different ports. No address will appear in both Addresses and NotReadyAddresses in the same subset. Sets of \
    addresses and ports that comprise a service.";
/// How many addresses or ports a cell shows.
const SHOWN: usize = 3;

impl Rules for Endpoints {
    const META: MetaRules = MetaRules::COMMON.repeating(Repeats::Both);
    const DEPRECATED: Option<&'static str> =
        Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice");
    const COLUMNS: &'static [Column<Self>] = &[
        table::name(),
        table::text("Endpoints", ENDPOINTS, |it, _| addresses(items(&it.subsets)).into()),
        table::age(),
    ];

    fn fill_defaults(&mut self) {
        for port in self.subsets.iter_mut().flatten().flat_map(|subset| subset.ports.iter_mut().flatten()) {
            fill(&mut port.protocol, "TCP");
        }
    }

    fn validate(&self, old: Option<&Self>, _: Write) -> Vec<FieldError> {
        if old.is_some_and(|old| same(&old.subsets, &self.subsets)) {
            return Vec::new();
        }
        let subsets = items(&self.subsets).iter().enumerate();
        subsets.flat_map(|(index, subset)| subset_errors(subset, &format!("subsets[{index}]"))).collect()
    }

    fn warnings(&self, _: Option<&Self>) -> Vec<String> {
        let label = self.metadata.labels.as_ref().and_then(|labels| labels.get("endpoints.kubernetes.io/managed-by"));
        if label.is_some_and(|by| by == "endpoint-controller") {
            return Vec::new();
        }
        let mut warnings = Vec::new();
        for (index, subset) in items(&self.subsets).iter().enumerate() {
            for (list, addresses) in lists(subset) {
                for (at, address) in addresses.iter().enumerate() {
                    warnings.extend(names::ip_warning(&format!("subsets[{index}].{list}[{at}].ip"), &address.ip));
                }
            }
        }
        warnings
    }
}

fn lists(subset: &EndpointSubset) -> [(&'static str, &[EndpointAddress]); 2] {
    [("addresses", items(&subset.addresses)), ("notReadyAddresses", items(&subset.not_ready_addresses))]
}

fn addresses(subsets: &[EndpointSubset]) -> String {
    if subsets.is_empty() {
        return table::NONE.to_owned();
    }
    let mut all = Vec::new();
    for subset in subsets {
        let ips = items(&subset.addresses).iter().map(|address| address.ip.as_str());
        match items(&subset.ports) {
            [] => all.extend(ips.map(str::to_owned)),
            ports => all.extend(ports.iter().flat_map(|port| ips.clone().map(|ip| host_port(ip, port.port)))),
        }
    }
    first_few(&all)
}

fn host_port(ip: &str, port: i32) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

/// The first few texts, and how many more there are.
pub(super) fn first_few(all: &[String]) -> String {
    let shown = all[..all.len().min(SHOWN)].join(",");
    if all.len() > SHOWN { format!("{shown} + {} more...", all.len() - SHOWN) } else { shown }
}

fn subset_errors(subset: &EndpointSubset, at: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if lists(subset).iter().all(|(_, addresses)| addresses.is_empty()) {
        errors.push(FieldError::required(at, "must specify `addresses` or `notReadyAddresses`"));
    }
    for (list, addresses) in lists(subset) {
        for (index, address) in addresses.iter().enumerate() {
            errors.extend(address_errors(address, &format!("{at}.{list}[{index}]")));
        }
    }
    let ports = items(&subset.ports);
    for (index, port) in ports.iter().enumerate() {
        errors.extend(port_errors(port, ports.len() > 1, &format!("{at}.ports[{index}]")));
    }
    errors
}

fn address_errors(address: &EndpointAddress, at: &str) -> Vec<FieldError> {
    let field = format!("{at}.ip");
    let mut errors = all_invalid(&field, &address.ip, names::ip(&address.ip));
    let hostname = text(&address.hostname);
    if !hostname.is_empty() {
        errors.extend(all_invalid(&format!("{at}.hostname"), hostname, names::dns1123_label(hostname)));
    }
    if let Some(node) = &address.node_name {
        errors.extend(all_invalid(&format!("{at}.nodeName"), node, names::dns1123_subdomain(node)));
    }
    errors.extend(endpoint_ip(&address.ip, &field));
    errors
}

fn port_errors(one: &EndpointPort, named: bool, at: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let name = text(&one.name);
    if !name.is_empty() {
        errors.extend(all_invalid(&format!("{at}.name"), name, names::dns1123_label(name)));
    } else if named {
        errors.push(FieldError::required(format!("{at}.name"), ""));
    }
    errors.extend(port(one.port, format!("{at}.port")));
    errors.extend(protocol(text(&one.protocol), format!("{at}.protocol")));
    errors.extend(app_protocol(&one.app_protocol, &format!("{at}.appProtocol")));
    errors
}
