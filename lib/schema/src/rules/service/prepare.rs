//! What a service keeps when it changes: what the server gave it, without what its new type has no use for.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{LoadBalancerStatus, Service, ServiceSpec, ServiceStatus};

use super::needs_health_check;
use crate::kind::Write;
use crate::rules::fields::{list, number, text};

pub(super) fn prepare(service: &mut Service, old: Option<&Service>, write: Write) {
    let Some(old) = old else {
        service.status =
            Some(ServiceStatus { load_balancer: Some(LoadBalancerStatus::default()), ..ServiceStatus::default() });
        let spec = service.spec.get_or_insert_default();
        mirror_address(spec);
        drop_policy(spec);
        return;
    };
    if write == Write::Status {
        service.spec.clone_from(&old.spec);
        return;
    }
    service.status.clone_from(&old.status);
    let (Some(spec), Some(before)) = (&mut service.spec, &old.spec) else { return };
    keep_allocated(spec, before);
    follow_address(spec, before);
    drop_unused(spec, before);
    drop_policy(spec);
    if text(&spec.type_) != "LoadBalancer"
        && let Some(status) = &mut service.status
    {
        status.load_balancer = Some(LoadBalancerStatus::default());
    }
}

/// A name has no traffic of its own to direct; a value that is no policy stays, to be complained about.
fn drop_policy(spec: &mut ServiceSpec) {
    if !has_address(spec) && matches!(text(&spec.internal_traffic_policy), "Cluster" | "Local") {
        spec.internal_traffic_policy = None;
    }
}

/// Clients of the older form know one address only.
fn mirror_address(spec: &mut ServiceSpec) {
    let address = text(&spec.cluster_ip).to_owned();
    if !address.is_empty() && list(&spec.cluster_ips).is_empty() {
        spec.cluster_ips = Some(vec![address]);
    }
}

fn has_address(spec: &ServiceSpec) -> bool {
    text(&spec.type_) != "ExternalName"
}

fn wants_node_ports(spec: &ServiceSpec) -> bool {
    match text(&spec.type_) {
        "NodePort" => true,
        "LoadBalancer" => spec.allocate_load_balancer_node_ports != Some(false),
        _ => false,
    }
}

fn may_have_node_ports(spec: &ServiceSpec) -> bool {
    matches!(text(&spec.type_), "NodePort" | "LoadBalancer")
}

fn node_ports(spec: &ServiceSpec) -> BTreeSet<i32> {
    list(&spec.ports).iter().map(|port| number(port.node_port)).filter(|port| *port != 0).collect()
}

/// What the server gave stays, where the client left it out: the same file can be sent twice.
fn keep_allocated(spec: &mut ServiceSpec, before: &ServiceSpec) {
    if has_address(before) && has_address(spec) {
        if text(&spec.cluster_ip).is_empty() {
            spec.cluster_ip.clone_from(&before.cluster_ip);
        }
        if list(&spec.cluster_ips).is_empty() && !list(&before.cluster_ips).is_empty() {
            spec.cluster_ips.clone_from(&before.cluster_ips);
        }
    }
    if wants_node_ports(before) && wants_node_ports(spec) {
        let used: BTreeSet<i32> = node_ports(before).intersection(&node_ports(spec)).copied().collect();
        let by_name: BTreeMap<&str, i32> =
            list(&before.ports).iter().map(|port| (text(&port.name), number(port.node_port))).collect();
        for port in spec.ports.iter_mut().flatten().filter(|port| number(port.node_port) == 0) {
            let had = by_name.get(text(&port.name)).filter(|had| **had != 0 && !used.contains(had));
            port.node_port = had.copied().or(port.node_port);
        }
    }
    if needs_health_check(before) && needs_health_check(spec) && number(spec.health_check_node_port) == 0 {
        spec.health_check_node_port = before.health_check_node_port;
    }
}

fn same_addresses(spec: &ServiceSpec, before: &ServiceSpec) -> bool {
    list(&spec.cluster_ips) == list(&before.cluster_ips)
}

/// The list follows the single address, when only that has changed.
fn follow_address(spec: &mut ServiceSpec, before: &ServiceSpec) {
    let (new, old) = (text(&spec.cluster_ip).to_owned(), text(&before.cluster_ip));
    if list(&spec.cluster_ips).is_empty() && !list(&before.cluster_ips).is_empty() && new == old {
        spec.cluster_ips.clone_from(&before.cluster_ips);
    }
    if new == old {
        return;
    }
    if !same_addresses(spec, before) {
        return;
    }
    spec.cluster_ips = if !old.is_empty() && new.is_empty() { None } else { Some(vec![new]) };
}

/// What the new type has no use for goes, unless the client changed it: then the judge will say so.
fn drop_unused(spec: &mut ServiceSpec, before: &ServiceSpec) {
    if has_address(before) && !has_address(spec) {
        if same_addresses(spec, before) && text(&spec.cluster_ip) == text(&before.cluster_ip) {
            spec.cluster_ip = None;
            spec.cluster_ips = None;
        }
        if list(&spec.ip_families) == list(&before.ip_families) {
            spec.ip_families = None;
        }
        if text(&spec.ip_family_policy) == text(&before.ip_family_policy) {
            spec.ip_family_policy = None;
        }
    }
    if may_have_node_ports(before) && !may_have_node_ports(spec) && node_ports(before).is_superset(&node_ports(spec)) {
        for port in spec.ports.iter_mut().flatten() {
            port.node_port = None;
        }
    }
    let checked = needs_health_check(before) && !needs_health_check(spec);
    if checked && number(spec.health_check_node_port) == number(before.health_check_node_port) {
        spec.health_check_node_port = None;
    }
    if text(&before.type_) == "LoadBalancer" && text(&spec.type_) != "LoadBalancer" {
        if spec.allocate_load_balancer_node_ports == before.allocate_load_balancer_node_ports {
            spec.allocate_load_balancer_node_ports = None;
        }
        if spec.load_balancer_class == before.load_balancer_class {
            spec.load_balancer_class = None;
        }
    }
    let hidden = super::is_external(before) && !super::is_external(spec);
    if hidden && text(&spec.external_traffic_policy) == text(&before.external_traffic_policy) {
        spec.external_traffic_policy = None;
    }
}
