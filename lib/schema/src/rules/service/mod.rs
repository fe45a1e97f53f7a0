//! Services: one address for the pods behind a selector.

mod families;
mod prepare;
mod validate;

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use super::fields::{fill, list, number, text};
use crate::kind::{Column, Rules, Selectable, Subresource, Write};
use crate::meta::MetaRules;
use crate::names::{self, NameRule};
use crate::status::FieldError;
use crate::table;

pub use families::assign_families;

const TYPE: &str = "type determines how the Service is exposed. Defaults to ClusterIP. Valid options are ExternalName, ClusterIP, \
    NodePort, and LoadBalancer. \"ClusterIP\" allocates a cluster-internal IP address for load-balancing to \
    endpoints. Endpoints are determined by the selector or if that is not specified, by manual construction of an \
    Endpoints object or EndpointSlice objects. If clusterIP is \"None\", no virtual IP is allocated and the \
    endpoints are published as a set of endpoints rather than a virtual IP. \"NodePort\" builds on ClusterIP and \
    allocates a port on every node which routes to the same endpoints as the clusterIP. \"LoadBalancer\" builds on \
    NodePort and creates an external load-balancer (if supported in the current cloud) which routes to the same \
    endpoints as the clusterIP. \"ExternalName\" aliases this service to the specified externalName. Several other \
    fields do not apply to ExternalName services. More info: \
    https://kubernetes.io/docs/concepts/services-networking/service/#publishing-services-service-types";
const CLUSTER_IP: &str = "clusterIP is the IP address of the service and is usually assigned randomly. If an address is specified \
    manually, is in-range (as per system configuration), and is not in use, it will be allocated to the service; \
    otherwise creation of the service will fail. This field may not be changed through updates unless the type field \
    is also being changed to ExternalName (which requires this field to be blank) or the type field is being changed \
    from ExternalName (in which case this field may optionally be specified, as describe above).  Valid values are \
    \"None\", empty string (\"\"), or a valid IP address. Setting this to \"None\" makes a \"headless service\" (no \
    virtual IP), which is useful when direct endpoint connections are preferred and proxying is not required.  Only \
    applies to types ClusterIP, NodePort, and LoadBalancer. If this field is specified when creating a Service of \
    type ExternalName, creation will fail. This field will be wiped when updating a Service to type ExternalName. \
    More info: https://kubernetes.io/docs/concepts/services-networking/service/#virtual-ips-and-service-proxies";
const EXTERNAL_IP: &str = "externalIPs is a list of IP addresses for which nodes in the cluster will also accept traffic for this \
    service.  These IPs are not managed by Kubernetes.  The user is responsible for ensuring that traffic arrives \
    at a node with this IP.  A common example is external load-balancers that are not part of the Kubernetes system.";
const PORTS: &str = "The list of ports that are exposed by this service. More info: \
    https://kubernetes.io/docs/concepts/services-networking/service/#virtual-ips-and-service-proxies";
const SELECTOR: &str = "Route service traffic to pods with label keys and values matching this selector. If empty or not present, the \
    service is assumed to have an external process managing its endpoints, which Kubernetes will not modify. Only \
    applies to types ClusterIP, NodePort, and LoadBalancer. Ignored if type is ExternalName. More info: \
    https://kubernetes.io/docs/concepts/services-networking/service/";
/// How long a client stays with its pod, in seconds, where the service does not say.
const AFFINITY_SECONDS: i32 = 10_800;

impl Rules for Service {
    const META: MetaRules = MetaRules::COMMON.named(NameRule::Label);
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::Status, Subresource::Proxy];
    const COLUMNS: &'static [Column<Self>] = &[
        table::name(),
        table::text("Type", TYPE, |it, _| kind(it).into()),
        table::text("Cluster-IP", CLUSTER_IP, |it, _| {
            table::or_none(spec(it).and_then(|spec| list(&spec.cluster_ips).first()).map(String::as_str))
        }),
        table::text("External-IP", EXTERNAL_IP, |it, _| external(it).into()),
        table::text("Port(s)", PORTS, |it, _| {
            let ports: Vec<String> = ports(it).iter().map(port_text).collect();
            table::or_none(Some(&ports.join(",")))
        }),
        table::age(),
        table::wide("Selector", SELECTOR, |it, _| selector_text(it)),
    ];
    const SELECTABLE: &'static [Selectable] = &[Selectable::text("spec.clusterIP"), Selectable::text("spec.type")];

    fn fill_defaults(&mut self) {
        let spec = self.spec.get_or_insert_default();
        affinity(spec);
        fill(&mut spec.type_, "ClusterIP");
        for port in spec.ports.iter_mut().flatten() {
            fill(&mut port.protocol, "TCP");
            if matches!(&port.target_port, None | Some(IntOrString::Int(0)))
                || matches!(&port.target_port, Some(IntOrString::String(name)) if name.is_empty())
            {
                port.target_port = Some(IntOrString::Int(port.port));
            }
        }
        if is_external(spec) {
            fill(&mut spec.external_traffic_policy, "Cluster");
        }
        if matches!(text(&spec.type_), "ClusterIP" | "NodePort" | "LoadBalancer") {
            spec.internal_traffic_policy.get_or_insert_with(|| "Cluster".to_owned());
        }
        if text(&spec.type_) == "LoadBalancer" {
            spec.allocate_load_balancer_node_ports.get_or_insert(true);
            let balancer = self.status.as_mut().and_then(|status| status.load_balancer.as_mut());
            for ingress in balancer.into_iter().flat_map(|balancer| balancer.ingress.iter_mut().flatten()) {
                if !text(&ingress.ip).is_empty() {
                    ingress.ip_mode.get_or_insert_with(|| "VIP".to_owned());
                }
            }
        }
    }

    fn prepare(&mut self, old: Option<&Self>, write: Write) {
        prepare::prepare(self, old, write);
    }

    fn validate(&self, old: Option<&Self>, write: Write) -> Vec<FieldError> {
        match (old, write) {
            (Some(old), Write::Status) => validate::status(self, old),
            (old, _) => validate::service(self, old),
        }
    }

    fn warnings(&self, _: Option<&Self>) -> Vec<String> {
        warnings(self)
    }
}

fn affinity(spec: &mut ServiceSpec) {
    fill(&mut spec.session_affinity, "None");
    match text(&spec.session_affinity) {
        "None" => spec.session_affinity_config = None,
        "ClientIP" => {
            let client = spec.session_affinity_config.get_or_insert_default().client_ip.get_or_insert_default();
            client.timeout_seconds.get_or_insert(AFFINITY_SECONDS);
        }
        _ => {}
    }
}

fn spec(service: &Service) -> Option<&ServiceSpec> {
    service.spec.as_ref()
}

fn kind(service: &Service) -> &str {
    spec(service).map(|spec| text(&spec.type_)).unwrap_or_default()
}

fn ports(service: &Service) -> &[ServicePort] {
    spec(service).map(|spec| list(&spec.ports)).unwrap_or_default()
}

/// Whether traffic reaches it from outside the cluster.
fn is_external(spec: &ServiceSpec) -> bool {
    match text(&spec.type_) {
        "LoadBalancer" | "NodePort" => true,
        "ClusterIP" => !list(&spec.external_ips).is_empty(),
        _ => false,
    }
}

/// Whether it has no address of its own, by choice.
fn is_headless(spec: &ServiceSpec) -> bool {
    matches!(list(&spec.cluster_ips), [only] if only == "None")
}

/// Whether a balancer asks its nodes which of them hold a pod.
fn needs_health_check(spec: &ServiceSpec) -> bool {
    text(&spec.type_) == "LoadBalancer" && text(&spec.external_traffic_policy) == "Local"
}

fn external(service: &Service) -> String {
    let Some(spec) = spec(service) else { return "<unknown>".to_owned() };
    let own = list(&spec.external_ips);
    match text(&spec.type_) {
        "ClusterIP" | "NodePort" if own.is_empty() => table::NONE.to_owned(),
        "ClusterIP" | "NodePort" => own.join(","),
        "LoadBalancer" => {
            let mut all: Vec<String> = ingress(service).into_iter().collect();
            all.extend_from_slice(own);
            if all.is_empty() { "<pending>".to_owned() } else { all.join(",") }
        }
        "ExternalName" => text(&spec.external_name).to_owned(),
        _ => "<unknown>".to_owned(),
    }
}

/// Where the balancer is reached, each once, in order.
fn ingress(service: &Service) -> BTreeSet<String> {
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let all = balancer.map(|balancer| list(&balancer.ingress)).unwrap_or_default();
    let name = |ip: &str, host: &str| if ip.is_empty() { host.to_owned() } else { ip.to_owned() };
    all.iter().map(|one| name(text(&one.ip), text(&one.hostname))).filter(|name| !name.is_empty()).collect()
}

fn port_text(port: &ServicePort) -> String {
    let protocol = text(&port.protocol);
    match number(port.node_port) {
        ..=0 => format!("{}/{protocol}", port.port),
        node => format!("{}:{node}/{protocol}", port.port),
    }
}

fn selector_text(service: &Service) -> Value {
    let selector = spec(service).and_then(|spec| spec.selector.as_ref());
    let pairs: Vec<String> = selector.into_iter().flatten().map(|(key, value)| format!("{key}={value}")).collect();
    table::or_none(Some(&pairs.join(",")))
}

fn warnings(service: &Service) -> Vec<String> {
    let Some(spec) = spec(service) else { return Vec::new() };
    let headless = text(&spec.type_) == "ClusterIP" && text(&spec.cluster_ip) == "None";
    let named = text(&spec.type_) == "ExternalName";
    let outside = list(&spec.external_ips);
    let mut warnings = Vec::new();
    if service.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(validate::HINTS)) {
        let (old, new) = (validate::HINTS, validate::MODE);
        warnings.push(format!("annotation {old} is deprecated, please use {new} instead"));
    }
    if !matches!(text(&spec.cluster_ip), "" | "None") {
        let ips = list(&spec.cluster_ips).iter().enumerate();
        warnings.extend(ips.filter_map(|(at, ip)| names::ip_warning(&format!("spec.clusterIPs[{at}]"), ip)));
    }
    let ignored = [
        (!text(&spec.load_balancer_ip).is_empty(), "spec.loadBalancerIP is ignored for headless services"),
        (!outside.is_empty(), "spec.externalIPs is ignored for headless services"),
        (text(&spec.session_affinity) != "None", "spec.SessionAffinity is ignored for headless services"),
    ];
    warnings.extend(ignored.iter().filter(|(set, _)| headless && *set).map(|(_, why)| (*why).to_owned()));
    let ips = outside.iter().enumerate();
    warnings.extend(ips.filter_map(|(at, ip)| names::ip_warning(&format!("spec.externalIPs[{at}]"), ip)));
    if !outside.is_empty() && !headless && !named {
        let why = "spec.externalIPs is deprecated and may no longer be implemented in some clusters";
        warnings.push(why.to_owned());
    }
    warnings.extend(names::ip_warning("spec.loadBalancerIP", text(&spec.load_balancer_ip)));
    for (at, range) in list(&spec.load_balancer_source_ranges).iter().enumerate() {
        warnings.extend(names::cidr_warnings(&format!("spec.loadBalancerSourceRanges[{at}]"), range));
    }
    if named && !outside.is_empty() {
        warnings.push("spec.externalIPs is ignored when spec.type is \"ExternalName\"".to_owned());
    }
    if !named && !text(&spec.external_name).is_empty() {
        warnings.push("spec.externalName is ignored when spec.type is not \"ExternalName\"".to_owned());
    }
    if spec.traffic_distribution.as_deref() == Some("PreferClose") {
        let why = "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"";
        warnings.push(why.to_owned());
    }
    warnings
}
