//! Endpoints: the addresses behind a service, in the older form.

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints};

use super::check::{Errors, Path};
use super::fields::{fill, list, text};
use super::pod::same;
use crate::kind::{Column, Rules, Write};
use crate::meta::{MetaRules, Repeats};
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
        table::text("Endpoints", ENDPOINTS, |it, _| addresses(list(&it.subsets)).into()),
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
        let mut errors = Errors::default();
        for (index, one) in list(&self.subsets).iter().enumerate() {
            subset(&mut errors, &Path::root("subsets").index(index), one);
        }
        errors.into_vec()
    }

    fn warnings(&self, _: Option<&Self>) -> Vec<String> {
        let label = self.metadata.labels.as_ref().and_then(|labels| labels.get("endpoints.kubernetes.io/managed-by"));
        if label.is_some_and(|by| by == "endpoint-controller") {
            return Vec::new();
        }
        let mut warnings = Vec::new();
        for (index, subset) in list(&self.subsets).iter().enumerate() {
            for (field, addresses) in lists(subset) {
                for (at, address) in addresses.iter().enumerate() {
                    warnings.extend(names::ip_warning(&format!("subsets[{index}].{field}[{at}].ip"), &address.ip));
                }
            }
        }
        warnings
    }
}

fn lists(subset: &EndpointSubset) -> [(&'static str, &[EndpointAddress]); 2] {
    [("addresses", list(&subset.addresses)), ("notReadyAddresses", list(&subset.not_ready_addresses))]
}

fn addresses(subsets: &[EndpointSubset]) -> String {
    if subsets.is_empty() {
        return table::NONE.to_owned();
    }
    let mut all = Vec::new();
    for subset in subsets {
        let ips = list(&subset.addresses).iter().map(|address| address.ip.as_str());
        match list(&subset.ports) {
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

fn subset(errors: &mut Errors, at: &Path<'_>, subset: &EndpointSubset) {
    if lists(subset).iter().all(|(_, addresses)| addresses.is_empty()) {
        errors.required(at, "must specify `addresses` or `notReadyAddresses`");
    }
    for (field, addresses) in lists(subset) {
        for (index, one) in addresses.iter().enumerate() {
            address(errors, &at.child(field).index(index), one);
        }
    }
    let ports = list(&subset.ports);
    for (index, one) in ports.iter().enumerate() {
        port(errors, &at.child("ports").index(index), one, ports.len() > 1);
    }
}

fn address(errors: &mut Errors, at: &Path<'_>, address: &EndpointAddress) {
    errors.all(&at.child("ip"), &address.ip, names::ip(&address.ip));
    let hostname = text(&address.hostname);
    if !hostname.is_empty() {
        errors.all(&at.child("hostname"), hostname, names::dns1123_label(hostname));
    }
    if let Some(node) = &address.node_name {
        errors.all(&at.child("nodeName"), node, names::dns1123_subdomain(node));
    }
    errors.endpoint_ip(&at.child("ip"), &address.ip);
}

fn port(errors: &mut Errors, at: &Path<'_>, port: &EndpointPort, named: bool) {
    let name = text(&port.name);
    if !name.is_empty() {
        errors.all(&at.child("name"), name, names::dns1123_label(name));
    } else if named {
        errors.required(&at.child("name"), "");
    }
    errors.port(&at.child("port"), port.port);
    errors.protocol(&at.child("protocol"), text(&port.protocol));
    errors.app_protocol(&at.child("appProtocol"), &port.app_protocol);
}
