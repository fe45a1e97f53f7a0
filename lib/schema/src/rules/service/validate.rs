//! What is wrong with a service, in upstream's order.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{LoadBalancerIngress, Service, ServicePort, ServiceSpec, SessionAffinityConfig};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::json;

use super::{families, is_external, is_headless, needs_health_check};
use crate::names;
use crate::rules::check::{Errors, Path};
use crate::rules::fields::{list, number, text};
use crate::status::FieldError;

/// The older annotation for topology aware routing.
pub(super) const HINTS: &str = "service.kubernetes.io/topology-aware-hints";
/// The newer one.
pub(super) const MODE: &str = "service.kubernetes.io/topology-mode";
const SPEC: Path<'static> = Path::root("spec");
const METADATA: Path<'static> = Path::root("metadata");
const ANNOTATIONS: Path<'static> = METADATA.child("annotations");
const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
const BALANCER_ONLY: &str = "may only be used when `type` is 'LoadBalancer'";
const POLICIES: &[&str] = &["Cluster", "Local"];
const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];

pub(super) fn service(service: &Service, old: Option<&Service>) -> Vec<FieldError> {
    let empty = ServiceSpec::default();
    let spec = service.spec.as_ref().unwrap_or(&empty);
    let before = old.and_then(|old| old.spec.as_ref());
    // Addresses are allocated before anything else is judged, and nothing is allocated for these mistakes.
    let related = families::related(spec, before);
    if !related.is_empty() {
        return related;
    }
    let mut errors = Errors::default();
    if let Some(before) = before {
        errors.extend(families::changes(spec, before));
        class(&mut errors, spec, Some(before));
        let checked = needs_health_check(before) && needs_health_check(spec);
        if checked && before.health_check_node_port != spec.health_check_node_port {
            errors.forbidden("spec.healthCheckNodePort", "field is immutable");
        }
    }
    topology(&mut errors, service);
    type_needs(&mut errors, spec);
    ports(&mut errors, spec);
    if let Some(selector) = &spec.selector {
        errors.labels(&SPEC.child("selector"), selector);
    }
    affinity(&mut errors, spec);
    external_addresses(&mut errors, spec, before);
    type_itself(&mut errors, spec);
    port_clashes(&mut errors, spec);
    source_ranges(&mut errors, service, spec, old);
    balancer(&mut errors, spec);
    class(&mut errors, spec, None);
    external_policy(&mut errors, spec);
    internal_policy(&mut errors, spec);
    if let Some(wanted) = &spec.traffic_distribution {
        let known = ["PreferClose", "PreferSameZone", "PreferSameNode"];
        errors.one_of("spec.trafficDistribution", wanted, &known);
    }
    errors.into_vec()
}

fn annotation<'a>(service: &'a Service, name: &str) -> Option<&'a String> {
    service.metadata.annotations.as_ref()?.get(name)
}

fn topology(errors: &mut Errors, service: &Service) {
    if let (Some(mode), Some(hints)) = (annotation(service, MODE), annotation(service, HINTS))
        && mode != hints
    {
        let why = format!("must match annotations[{HINTS}] when both are specified");
        errors.invalid(&ANNOTATIONS.key(MODE), mode.as_str(), &why);
    }
}

fn type_needs(errors: &mut Errors, spec: &ServiceSpec) {
    let kind = text(&spec.type_);
    if list(&spec.ports).is_empty() && !is_headless(spec) && kind != "ExternalName" {
        errors.required("spec.ports", "");
    }
    match kind {
        "LoadBalancer" | "NodePort" if is_headless(spec) => {
            let why = format!("may not be set to 'None' for {kind} services");
            errors.invalid("spec.clusterIPs[0]", "None", &why);
        }
        "ExternalName" => external_name(errors, spec),
        _ => {}
    }
}

fn external_name(errors: &mut Errors, spec: &ServiceSpec) {
    let set = [
        ("spec.clusterIPs", !list(&spec.cluster_ips).is_empty()),
        ("spec.ipFamilies", !list(&spec.ip_families).is_empty()),
        ("spec.ipFamilyPolicy", spec.ip_family_policy.is_some()),
    ];
    for (at, _) in set.iter().filter(|(_, set)| *set) {
        errors.forbidden(*at, "may not be set for ExternalName services");
    }
    let name = text(&spec.external_name);
    errors.filled_all("spec.externalName", name.strip_suffix('.').unwrap_or(name), names::dns1123_subdomain);
}

fn ports(errors: &mut Errors, spec: &ServiceSpec) {
    let all = list(&spec.ports);
    let mut seen = BTreeSet::new();
    for (index, one) in all.iter().enumerate() {
        port(errors, &SPEC.child("ports").index(index), one, all.len() > 1, &mut seen);
    }
}

fn port<'a>(errors: &mut Errors, at: &Path<'_>, port: &'a ServicePort, named: bool, seen: &mut BTreeSet<&'a str>) {
    let name = text(&port.name);
    if !name.is_empty() {
        errors.all(&at.child("name"), name, names::dns1123_label(name));
        if !seen.insert(name) {
            errors.duplicate(&at.child("name"), name);
        }
    } else if named {
        errors.required(&at.child("name"), "");
    }
    errors.port(&at.child("port"), port.port);
    errors.protocol(&at.child("protocol"), text(&port.protocol));
    let target = at.child("targetPort");
    match &port.target_port {
        Some(IntOrString::String(name)) => errors.all(&target, name, names::port_name(name)),
        Some(IntOrString::Int(number)) => errors.port(&target, *number),
        None => errors.port(&target, 0),
    }
    errors.app_protocol(&at.child("appProtocol"), &port.app_protocol);
}

fn affinity(errors: &mut Errors, spec: &ServiceSpec) {
    errors.filled_one_of("spec.sessionAffinity", text(&spec.session_affinity), &["ClientIP", "None"]);
    match (text(&spec.session_affinity), &spec.session_affinity_config) {
        ("ClientIP", config) => client_ip(errors, config.as_ref()),
        ("None", Some(_)) => {
            errors.forbidden("spec.sessionAffinityConfig", "must not be set when session affinity is None");
        }
        _ => {}
    }
}

fn client_ip(errors: &mut Errors, config: Option<&SessionAffinityConfig>) {
    const MAX: i32 = 86_400;
    const MISSING: &str = "when session affinity type is ClientIP";
    let at = SPEC.child("sessionAffinityConfig");
    let Some(config) = config else { return errors.required(&at, MISSING) };
    let at = at.child("clientIP");
    let Some(client) = &config.client_ip else { return errors.required(&at, MISSING) };
    let at = at.child("timeoutSeconds");
    let Some(seconds) = client.timeout_seconds else { return errors.required(&at, MISSING) };
    if !(1..=MAX).contains(&seconds) {
        errors.invalid(&at, seconds, &format!("must be greater than 0 and less than {MAX}"));
    }
}

fn external_addresses(errors: &mut Errors, spec: &ServiceSpec, before: Option<&ServiceSpec>) {
    let had = before.map(|before| list(&before.external_ips)).unwrap_or_default();
    for (index, address) in list(&spec.external_ips).iter().enumerate() {
        let at = SPEC.child("externalIPs");
        let wrong = if had.contains(address) { Vec::new() } else { names::ip(address) };
        if wrong.is_empty() {
            errors.endpoint_ip(&at.index(index), address);
        } else {
            errors.all(&at.index(index), address, wrong);
        }
    }
}

fn type_itself(errors: &mut Errors, spec: &ServiceSpec) {
    errors.filled_one_of("spec.type", text(&spec.type_), TYPES);
    if text(&spec.type_) != "ClusterIP" {
        return;
    }
    for (index, _) in list(&spec.ports).iter().enumerate().filter(|(_, port)| number(port.node_port) != 0) {
        let at = SPEC.child("ports");
        errors.forbidden(&at.index(index).child("nodePort"), "may not be used when `type` is 'ClusterIP'");
    }
}

fn port_clashes(errors: &mut Errors, spec: &ServiceSpec) {
    let at = SPEC.child("ports");
    let mut seen = BTreeSet::new();
    for (index, port) in list(&spec.ports).iter().enumerate() {
        let node = number(port.node_port);
        if node != 0 && !seen.insert((text(&port.protocol), node)) {
            errors.duplicate_written(&at.index(index).child("nodePort"), &node.to_string());
        }
    }
    let mut seen = BTreeSet::new();
    for (index, port) in list(&spec.ports).iter().enumerate() {
        let protocol = text(&port.protocol);
        if !seen.insert((protocol, port.port)) {
            let shown = format!(
                "{{\"Name\":\"\",\"Protocol\":{},\"AppProtocol\":null,\"Port\":{},\"TargetPort\":0,\"NodePort\":0}}",
                json!(protocol),
                port.port
            );
            errors.duplicate_written(&at.index(index), &shown);
        }
    }
}

fn source_ranges(errors: &mut Errors, service: &Service, spec: &ServiceSpec, old: Option<&Service>) {
    let balanced = text(&spec.type_) == "LoadBalancer";
    let ranges = list(&spec.load_balancer_source_ranges);
    if !ranges.is_empty() {
        let at = SPEC.child("LoadBalancerSourceRanges");
        if !balanced {
            errors.forbidden(&at, BALANCER_ONLY);
        }
        let before = old.and_then(|old| old.spec.as_ref());
        let had = before.map(|before| list(&before.load_balancer_source_ranges)).unwrap_or_default();
        for (index, range) in ranges.iter().enumerate() {
            let range = range.trim();
            if !had.iter().any(|had| had.trim() == range) {
                errors.all(&at.index(index), range, names::cidr(range));
            }
        }
    } else if let Some(value) = annotation(service, SOURCE_RANGES) {
        let at = ANNOTATIONS.key(SOURCE_RANGES);
        if !balanced {
            errors.forbidden(&at, BALANCER_ONLY);
        }
        let unchanged = old.and_then(|old| annotation(old, SOURCE_RANGES)) == Some(value);
        if !unchanged && !value.trim().is_empty() {
            for range in value.trim().split(',').map(str::trim) {
                errors.all(&at, range, names::cidr(range));
            }
        }
    }
}

fn balancer(errors: &mut Errors, spec: &ServiceSpec) {
    match (text(&spec.type_) == "LoadBalancer", spec.allocate_load_balancer_node_ports) {
        (false, Some(_)) => errors.forbidden("spec.allocateLoadBalancerNodePorts", BALANCER_ONLY),
        (true, None) => errors.required("allocateLoadBalancerNodePorts", ""),
        _ => {}
    }
}

fn class(errors: &mut Errors, spec: &ServiceSpec, before: Option<&ServiceSpec>) {
    const FIELD: &str = "spec.loadBalancerClass";
    let balanced = |spec: &ServiceSpec| text(&spec.type_) == "LoadBalancer";
    let class = &spec.load_balancer_class;
    if before.is_some_and(|before| balanced(before) && balanced(spec) && before.load_balancer_class != *class) {
        errors.invalid(FIELD, class.clone(), "may not change once set");
    }
    match class {
        Some(class) if balanced(spec) => errors.all(FIELD, class, names::qualified(class)),
        Some(_) => errors.forbidden(FIELD, BALANCER_ONLY),
        None => {}
    }
}

fn external_policy(errors: &mut Errors, spec: &ServiceSpec) {
    const FIELD: &str = "spec.externalTrafficPolicy";
    const PORT: &str = "spec.healthCheckNodePort";
    match (is_external(spec), text(&spec.external_traffic_policy)) {
        (false, "") => {}
        (false, policy) => errors.invalid(FIELD, policy, "may only be set for externally-accessible services"),
        (true, policy) => errors.filled_one_of(FIELD, policy, POLICIES),
    }
    match (needs_health_check(spec), number(spec.health_check_node_port)) {
        (false, 0) => {}
        (false, port) => {
            let why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
            errors.invalid(PORT, port, why);
        }
        (true, 0) => errors.required(PORT, ""),
        (true, number) => errors.port(PORT, number),
    }
}

fn internal_policy(errors: &mut Errors, spec: &ServiceSpec) {
    const FIELD: &str = "spec.internalTrafficPolicy";
    match &spec.internal_traffic_policy {
        None if ["NodePort", "LoadBalancer", "ClusterIP"].contains(&text(&spec.type_)) => errors.required(FIELD, ""),
        None => {}
        Some(policy) => errors.one_of(FIELD, policy, POLICIES),
    }
}

/// What is wrong with a status that is written.
pub(super) fn status(service: &Service, old: &Service) -> Vec<FieldError> {
    let status = Path::root("status");
    let balancer = status.child("loadBalancer");
    let at = balancer.child("ingress");
    let mut errors = Errors::default();
    let (all, had) = (ingress(service), ingress(old));
    if super::kind(service) != "LoadBalancer" && !all.is_empty() {
        errors.forbidden(&at, "may only be used when `spec.type` is 'LoadBalancer'");
        return errors.into_vec();
    }
    let known: Vec<&str> = had.iter().map(|one| text(&one.ip)).collect();
    for (index, one) in all.iter().enumerate() {
        one_ingress(&mut errors, &at.index(index), one, &known);
    }
    errors.into_vec()
}

fn ingress(service: &Service) -> &[LoadBalancerIngress] {
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    balancer.map(|balancer| list(&balancer.ingress)).unwrap_or_default()
}

fn one_ingress(errors: &mut Errors, at: &Path<'_>, one: &LoadBalancerIngress, known: &[&str]) {
    let (ip, host) = (text(&one.ip), text(&one.hostname));
    if !ip.is_empty() && !known.contains(&ip) {
        errors.all(&at.child("ip"), ip, names::ip(ip));
    }
    let mode = at.child("ipMode");
    match &one.ip_mode {
        None if !ip.is_empty() => errors.required(&mode, "must be specified when `ip` is set"),
        None => {}
        Some(_) if ip.is_empty() => errors.forbidden(&mode, "may not be specified when `ip` is not set"),
        Some(given) => errors.one_of(&mode, given, &["Proxy", "VIP"]),
    }
    if !host.is_empty() {
        let at = at.child("hostname");
        errors.all(&at, host, names::dns1123_subdomain(host));
        if names::parse_ip(host).is_some() {
            errors.invalid(&at, host, "must be a DNS name, not an IP address");
        }
    }
}
