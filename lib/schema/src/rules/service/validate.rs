//! What is wrong with a service, in upstream's order.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{LoadBalancerIngress, Service, ServicePort, ServiceSpec, SessionAffinityConfig};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::json;

use super::{families, is_external, is_headless, needs_health_check};
use crate::meta::{all_invalid, label_pairs};
use crate::names;
use crate::rules::fields::{app_protocol, endpoint_ip, items, number, port, protocol, text};
use crate::status::{FieldError, FieldErrorKind};

/// The older annotation for topology aware routing.
pub(super) const HINTS: &str = "service.kubernetes.io/topology-aware-hints";
/// The newer one.
pub(super) const MODE: &str = "service.kubernetes.io/topology-mode";
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
    let mut errors = Vec::new();
    if let Some(before) = before {
        errors.extend(families::changes(spec, before));
        errors.extend(class(spec, Some(before)));
        let checked = needs_health_check(before) && needs_health_check(spec);
        if checked && before.health_check_node_port != spec.health_check_node_port {
            errors.push(FieldError::forbidden("spec.healthCheckNodePort", "field is immutable"));
        }
    }
    errors.extend(topology(service));
    errors.extend(type_needs(spec));
    errors.extend(ports(spec));
    if let Some(selector) = &spec.selector {
        let pairs = selector.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        errors.extend(label_pairs(pairs, "spec.selector"));
    }
    errors.extend(affinity(spec));
    errors.extend(external_addresses(spec, before));
    errors.extend(type_itself(spec));
    errors.extend(port_clashes(spec));
    errors.extend(source_ranges(service, spec, old));
    errors.extend(balancer(spec));
    errors.extend(class(spec, None));
    errors.extend(external_policy(spec));
    errors.extend(internal_policy(spec));
    errors.extend(distribution(spec));
    errors
}

fn annotation<'a>(service: &'a Service, name: &str) -> Option<&'a String> {
    service.metadata.annotations.as_ref()?.get(name)
}

fn topology(service: &Service) -> Option<FieldError> {
    let (mode, hints) = (annotation(service, MODE)?, annotation(service, HINTS)?);
    let why = format!("must match annotations[{HINTS}] when both are specified");
    (mode != hints).then(|| FieldError::invalid_text(format!("metadata.annotations[{MODE}]"), mode, &why))
}

fn type_needs(spec: &ServiceSpec) -> Vec<FieldError> {
    let kind = text(&spec.type_);
    let mut errors = Vec::new();
    if items(&spec.ports).is_empty() && !is_headless(spec) && kind != "ExternalName" {
        errors.push(FieldError::required("spec.ports", ""));
    }
    match kind {
        "LoadBalancer" | "NodePort" if is_headless(spec) => {
            let why = format!("may not be set to 'None' for {kind} services");
            errors.push(FieldError::invalid_text("spec.clusterIPs[0]", "None", &why));
        }
        "ExternalName" => errors.extend(external_name(spec)),
        _ => {}
    }
    errors
}

fn external_name(spec: &ServiceSpec) -> Vec<FieldError> {
    let set = [
        ("spec.clusterIPs", !items(&spec.cluster_ips).is_empty()),
        ("spec.ipFamilies", !items(&spec.ip_families).is_empty()),
        ("spec.ipFamilyPolicy", spec.ip_family_policy.is_some()),
    ];
    let why = "may not be set for ExternalName services";
    let mut errors: Vec<FieldError> =
        set.iter().filter(|(_, set)| *set).map(|(field, _)| FieldError::forbidden(*field, why)).collect();
    let name = text(&spec.external_name);
    match name.strip_suffix('.').unwrap_or(name) {
        "" => errors.push(FieldError::required("spec.externalName", "")),
        name => errors.extend(all_invalid("spec.externalName", name, names::dns1123_subdomain(name))),
    }
    errors
}

fn ports(spec: &ServiceSpec) -> Vec<FieldError> {
    let all = items(&spec.ports);
    let mut seen = BTreeSet::new();
    let mut errors = Vec::new();
    for (index, port) in all.iter().enumerate() {
        errors.extend(one_port(port, all.len() > 1, &mut seen, &format!("spec.ports[{index}]")));
    }
    errors
}

fn one_port<'a>(one: &'a ServicePort, named: bool, seen: &mut BTreeSet<&'a str>, at: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let name = text(&one.name);
    if !name.is_empty() {
        errors.extend(all_invalid(&format!("{at}.name"), name, names::dns1123_label(name)));
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(format!("{at}.name"), &json!(name)));
        }
    } else if named {
        errors.push(FieldError::required(format!("{at}.name"), ""));
    }
    errors.extend(port(one.port, format!("{at}.port")));
    errors.extend(protocol(text(&one.protocol), format!("{at}.protocol")));
    let field = format!("{at}.targetPort");
    match &one.target_port {
        Some(IntOrString::String(name)) => errors.extend(all_invalid(&field, name, names::port_name(name))),
        Some(IntOrString::Int(number)) => errors.extend(port(*number, field)),
        None => errors.extend(port(0, field)),
    }
    errors.extend(app_protocol(&one.app_protocol, &format!("{at}.appProtocol")));
    errors
}

fn affinity(spec: &ServiceSpec) -> Vec<FieldError> {
    match text(&spec.session_affinity) {
        "" => vec![FieldError::required("spec.sessionAffinity", "")],
        "ClientIP" => client_ip(spec.session_affinity_config.as_ref()).into_iter().collect(),
        "None" if spec.session_affinity_config.is_some() => {
            let why = "must not be set when session affinity is None";
            vec![FieldError::forbidden("spec.sessionAffinityConfig", why)]
        }
        "None" => Vec::new(),
        other => vec![FieldError::not_supported("spec.sessionAffinity", &json!(other), &["ClientIP", "None"])],
    }
}

fn client_ip(config: Option<&SessionAffinityConfig>) -> Option<FieldError> {
    const MAX: i32 = 86_400;
    const FIELD: &str = "spec.sessionAffinityConfig";
    let Some(config) = config else {
        return Some(FieldError::required(FIELD, "when session affinity type is ClientIP"));
    };
    let Some(client) = &config.client_ip else {
        return Some(FieldError::required(format!("{FIELD}.clientIP"), "when session affinity type is ClientIP"));
    };
    let field = format!("{FIELD}.clientIP.timeoutSeconds");
    let Some(seconds) = client.timeout_seconds else {
        return Some(FieldError::required(field, "when session affinity type is ClientIP"));
    };
    let why = format!("must be greater than 0 and less than {MAX}");
    (!(1..=MAX).contains(&seconds)).then(|| FieldError::invalid(field, &json!(seconds), &why))
}

fn external_addresses(spec: &ServiceSpec, before: Option<&ServiceSpec>) -> Vec<FieldError> {
    let had = before.map(|before| items(&before.external_ips)).unwrap_or_default();
    let mut errors = Vec::new();
    for (index, address) in items(&spec.external_ips).iter().enumerate() {
        let field = format!("spec.externalIPs[{index}]");
        let wrong = if had.contains(address) { Vec::new() } else { names::ip(address) };
        if wrong.is_empty() {
            errors.extend(endpoint_ip(address, &field));
        } else {
            errors.extend(all_invalid(&field, address, wrong));
        }
    }
    errors
}

fn type_itself(spec: &ServiceSpec) -> Vec<FieldError> {
    match text(&spec.type_) {
        "" => vec![FieldError::required("spec.type", "")],
        "ClusterIP" => {
            let why = "may not be used when `type` is 'ClusterIP'";
            let set = items(&spec.ports).iter().enumerate().filter(|(_, port)| number(port.node_port) != 0);
            set.map(|(index, _)| FieldError::forbidden(format!("spec.ports[{index}].nodePort"), why)).collect()
        }
        kind if TYPES.contains(&kind) => Vec::new(),
        other => vec![FieldError::not_supported("spec.type", &json!(other), TYPES)],
    }
}

fn port_clashes(spec: &ServiceSpec) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut seen = BTreeSet::new();
    for (index, port) in items(&spec.ports).iter().enumerate() {
        let node = number(port.node_port);
        if node != 0 && !seen.insert((text(&port.protocol), node)) {
            errors.push(FieldError::duplicate(format!("spec.ports[{index}].nodePort"), &json!(node)));
        }
    }
    let mut seen = BTreeSet::new();
    for (index, port) in items(&spec.ports).iter().enumerate() {
        let protocol = text(&port.protocol);
        if !seen.insert((protocol, port.port)) {
            let shown = format!(
                "{{\"Name\":\"\",\"Protocol\":{},\"AppProtocol\":null,\"Port\":{},\"TargetPort\":0,\"NodePort\":0}}",
                json!(protocol),
                port.port
            );
            errors.push(FieldError::new(FieldErrorKind::Duplicate, format!("spec.ports[{index}]"), shown));
        }
    }
    errors
}

fn source_ranges(service: &Service, spec: &ServiceSpec, old: Option<&Service>) -> Vec<FieldError> {
    let balanced = text(&spec.type_) == "LoadBalancer";
    let mut errors = Vec::new();
    let ranges = items(&spec.load_balancer_source_ranges);
    if !ranges.is_empty() {
        const FIELD: &str = "spec.LoadBalancerSourceRanges";
        if !balanced {
            errors.push(FieldError::forbidden(FIELD, BALANCER_ONLY));
        }
        let before = old.and_then(|old| old.spec.as_ref());
        let had = before.map(|before| items(&before.load_balancer_source_ranges)).unwrap_or_default();
        for (index, range) in ranges.iter().enumerate() {
            let range = range.trim();
            if !had.iter().any(|had| had.trim() == range) {
                errors.extend(all_invalid(&format!("{FIELD}[{index}]"), range, names::cidr(range)));
            }
        }
    } else if let Some(value) = annotation(service, SOURCE_RANGES) {
        let field = format!("metadata.annotations[{SOURCE_RANGES}]");
        if !balanced {
            errors.push(FieldError::forbidden(field.as_str(), BALANCER_ONLY));
        }
        let unchanged = old.and_then(|old| annotation(old, SOURCE_RANGES)) == Some(value);
        if !unchanged && !value.trim().is_empty() {
            for range in value.trim().split(',').map(str::trim) {
                errors.extend(all_invalid(&field, range, names::cidr(range)));
            }
        }
    }
    errors
}

fn balancer(spec: &ServiceSpec) -> Option<FieldError> {
    match (text(&spec.type_) == "LoadBalancer", spec.allocate_load_balancer_node_ports) {
        (false, Some(_)) => Some(FieldError::forbidden("spec.allocateLoadBalancerNodePorts", BALANCER_ONLY)),
        (true, None) => Some(FieldError::required("allocateLoadBalancerNodePorts", "")),
        _ => None,
    }
}

fn class(spec: &ServiceSpec, before: Option<&ServiceSpec>) -> Vec<FieldError> {
    const FIELD: &str = "spec.loadBalancerClass";
    let balanced = |spec: &ServiceSpec| text(&spec.type_) == "LoadBalancer";
    let class = &spec.load_balancer_class;
    let mut errors = Vec::new();
    if before.is_some_and(|before| balanced(before) && balanced(spec) && before.load_balancer_class != *class) {
        errors.push(FieldError::invalid(FIELD, &json!(class), "may not change once set"));
    }
    match class {
        Some(class) if balanced(spec) => errors.extend(all_invalid(FIELD, class, names::qualified(class))),
        Some(_) => errors.push(FieldError::forbidden(FIELD, BALANCER_ONLY)),
        None => {}
    }
    errors
}

fn external_policy(spec: &ServiceSpec) -> Vec<FieldError> {
    const FIELD: &str = "spec.externalTrafficPolicy";
    const PORT: &str = "spec.healthCheckNodePort";
    let mut errors = Vec::new();
    match (is_external(spec), text(&spec.external_traffic_policy)) {
        (false, "") => {}
        (false, policy) => {
            errors.push(FieldError::invalid_text(FIELD, policy, "may only be set for externally-accessible services"));
        }
        (true, "") => errors.push(FieldError::required(FIELD, "")),
        (true, policy) if POLICIES.contains(&policy) => {}
        (true, policy) => errors.push(FieldError::not_supported(FIELD, &json!(policy), POLICIES)),
    }
    match (needs_health_check(spec), number(spec.health_check_node_port)) {
        (false, 0) => {}
        (false, port) => {
            let why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
            errors.push(FieldError::invalid(PORT, &json!(port), why));
        }
        (true, 0) => errors.push(FieldError::required(PORT, "")),
        (true, number) => errors.extend(port(number, PORT.to_owned())),
    }
    errors
}

fn internal_policy(spec: &ServiceSpec) -> Option<FieldError> {
    const FIELD: &str = "spec.internalTrafficPolicy";
    match &spec.internal_traffic_policy {
        None if ["NodePort", "LoadBalancer", "ClusterIP"].contains(&text(&spec.type_)) => {
            Some(FieldError::required(FIELD, ""))
        }
        Some(policy) if !POLICIES.contains(&policy.as_str()) => {
            Some(FieldError::not_supported(FIELD, &json!(policy), POLICIES))
        }
        _ => None,
    }
}

fn distribution(spec: &ServiceSpec) -> Option<FieldError> {
    const KNOWN: &[&str] = &["PreferClose", "PreferSameZone", "PreferSameNode"];
    let value = spec.traffic_distribution.as_ref().filter(|value| !KNOWN.contains(&value.as_str()))?;
    Some(FieldError::not_supported("spec.trafficDistribution", &json!(value), KNOWN))
}

/// What is wrong with a status that is written.
pub(super) fn status(service: &Service, old: &Service) -> Vec<FieldError> {
    const FIELD: &str = "status.loadBalancer.ingress";
    let (all, had) = (ingress(service), ingress(old));
    if super::kind(service) != "LoadBalancer" && !all.is_empty() {
        return vec![FieldError::forbidden(FIELD, "may only be used when `spec.type` is 'LoadBalancer'")];
    }
    let known: Vec<&str> = had.iter().map(|one| text(&one.ip)).collect();
    let each = all.iter().enumerate();
    each.flat_map(|(index, one)| one_ingress(one, &known, &format!("{FIELD}[{index}]"))).collect()
}

fn ingress(service: &Service) -> &[LoadBalancerIngress] {
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    balancer.map(|balancer| items(&balancer.ingress)).unwrap_or_default()
}

fn one_ingress(one: &LoadBalancerIngress, known: &[&str], at: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let (ip, host) = (text(&one.ip), text(&one.hostname));
    if !ip.is_empty() && !known.contains(&ip) {
        errors.extend(all_invalid(&format!("{at}.ip"), ip, names::ip(ip)));
    }
    let field = format!("{at}.ipMode");
    match &one.ip_mode {
        None if !ip.is_empty() => errors.push(FieldError::required(field, "must be specified when `ip` is set")),
        Some(_) if ip.is_empty() => {
            errors.push(FieldError::forbidden(field, "may not be specified when `ip` is not set"));
        }
        Some(mode) if !["Proxy", "VIP"].contains(&mode.as_str()) => {
            errors.push(FieldError::not_supported(field, &json!(mode), &["Proxy", "VIP"]));
        }
        _ => {}
    }
    if !host.is_empty() {
        let field = format!("{at}.hostname");
        errors.extend(all_invalid(&field, host, names::dns1123_subdomain(host)));
        if names::parse_ip(host).is_some() {
            errors.push(FieldError::invalid_text(field, host, "must be a DNS name, not an IP address"));
        }
    }
    errors
}
