//! What a node must do so that services answer: from services and endpoint slices to a table of rules.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::endpoints::{Endpoint, by_service, endpoints, text};
use super::nft::{
    Chain, Expr, Hook, HookKind, HookPoint, Set, Table, Value, Values, Verdict, endpoint_data, port_key, service_key,
};

const MASQUERADE: u32 = 0x4000;
const DSTNAT_PRIORITY: i32 = -100;
const SRCNAT_PRIORITY: i32 = 100;

/// One port of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frontend {
    /// `<namespace>/<service>/<port>/<protocol>`: unique, and the name of its chains.
    pub name: String,
    /// Addresses that it answers on.
    pub addresses: Vec<Ipv4Addr>,
    /// IP protocol number.
    pub protocol: u8,
    /// Port on those addresses.
    pub port: u16,
    /// Port on every node.
    pub node_port: Option<u16>,
    /// One client always reaches the same endpoint, as long as the endpoints stay the same.
    pub sticky: bool,
    /// What comes from outside goes to endpoints of the node it came to only, and keeps its source address.
    pub external_local: bool,
    /// What comes from inside goes to endpoints of the same node only.
    pub internal_local: bool,
    /// Who answers.
    pub endpoints: Vec<Endpoint>,
}

/// The node whose rules are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeView {
    /// Name.
    pub name: String,
    /// Address that node ports answer on.
    pub address: Ipv4Addr,
    /// Addresses of all pods of the cluster.
    pub pods: Ipv4Net,
    /// Addresses of all nodes, and of their host.
    pub underlay: Ipv4Net,
    /// Address of the host among them.
    pub host: Ipv4Addr,
}

/// Every port of every service that has an address, in order of its name.
///
/// Source: <https://kubernetes.io/docs/reference/networking/virtual-ips/>
#[must_use]
pub fn frontends(services: &[Arc<Service>], slices: &[Arc<EndpointSlice>]) -> Vec<Frontend> {
    let by_service = by_service(slices);
    let mut frontends: Vec<Frontend> = services
        .iter()
        .flat_map(|service| {
            let key = (text(&service.metadata.namespace), text(&service.metadata.name));
            of_service(service, key, by_service.get(&key).map_or(&[][..], Vec::as_slice))
        })
        .collect();
    frontends.sort_by(|a, b| a.name.cmp(&b.name));
    frontends
}

fn of_service(service: &Service, (namespace, name): (&str, &str), slices: &[&EndpointSlice]) -> Vec<Frontend> {
    let Some(spec) = service.spec.as_ref() else { return Vec::new() };
    if spec.type_.as_deref() == Some("ExternalName") {
        return Vec::new();
    }
    let addresses = addresses(service, spec);
    if addresses.is_empty() {
        return Vec::new();
    }
    spec.ports
        .iter()
        .flatten()
        .filter_map(|port| {
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            Some(Frontend {
                name: format!("{namespace}/{name}/{}/{}", port.port, protocol.to_ascii_lowercase()),
                addresses: addresses.clone(),
                protocol: protocol_number(protocol)?,
                port: u16::try_from(port.port).ok()?,
                node_port: port.node_port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0),
                sticky: spec.session_affinity.as_deref() == Some("ClientIP"),
                external_local: spec.external_traffic_policy.as_deref() == Some("Local"),
                internal_local: spec.internal_traffic_policy.as_deref() == Some("Local"),
                endpoints: endpoints(port, slices),
            })
        })
        .collect()
}

fn addresses(service: &Service, spec: &ServiceSpec) -> Vec<Ipv4Addr> {
    let balanced = service.status.iter().flat_map(|status| &status.load_balancer).flat_map(|lb| &lb.ingress).flatten();
    let all = spec.cluster_ips.iter().flatten().chain(spec.external_ips.iter().flatten());
    let all = all.map(String::as_str).chain(balanced.filter_map(|ingress| ingress.ip.as_deref()));
    let unique: BTreeSet<Ipv4Addr> = all.filter_map(|text| text.parse().ok()).collect();
    unique.into_iter().collect()
}

fn protocol_number(protocol: &str) -> Option<u8> {
    match protocol {
        "TCP" => Some(6),
        "UDP" => Some(17),
        "SCTP" => Some(132),
        _ => None,
    }
}

/// The rules of one node.
#[must_use]
pub fn rules(frontends: &[Frontend], node: &NodeView) -> Table {
    let mut table = Table { name: "kprov".to_owned(), sets: Vec::new(), chains: Vec::new() };
    let mut services = Vec::new();
    let mut node_ports = Vec::new();
    let mut refused = Vec::new();
    let mut refused_ports = Vec::new();
    for frontend in frontends {
        let internal = Verdict::Goto(internal_chain(frontend));
        let vips = frontend.addresses.iter().map(|ip| service_key(*ip, frontend.protocol, frontend.port));
        let node_port = frontend.node_port.map(|port| port_key(frontend.protocol, port));
        if frontend.endpoints.is_empty() {
            refused.extend(vips.map(|key| (key, Value::None)));
            refused_ports.extend(node_port.map(|key| (key, Value::None)));
            continue;
        }
        services.extend(vips.map(|key| (key, Value::Verdict(internal.clone()))));
        node_ports.extend(node_port.map(|key| (key, Value::Verdict(Verdict::Goto(external_chain(frontend))))));
        add_frontend(&mut table, frontend, node);
    }
    let hairpin = hairpin(frontends, node);
    table.sets.push(Set { name: "services".into(), key_bytes: 12, values: Values::Verdicts, elements: services });
    table.sets.push(Set { name: "node-ports".into(), key_bytes: 8, values: Values::Verdicts, elements: node_ports });
    table.sets.push(Set { name: "refused".into(), key_bytes: 12, values: Values::None, elements: refused });
    table.sets.push(Set { name: "refused-ports".into(), key_bytes: 8, values: Values::None, elements: refused_ports });
    table.sets.push(Set { name: "hairpin".into(), key_bytes: 8, values: Values::None, elements: hairpin });
    table.chains.extend(base_chains(node));
    table
}

/// A pod that reaches itself through its service must see another source address, or its answer never leaves it.
fn hairpin(frontends: &[Frontend], node: &NodeView) -> Vec<(Vec<u8>, Value)> {
    let local = frontends.iter().flat_map(|frontend| &frontend.endpoints).filter(|endpoint| endpoint.node == node.name);
    let unique: BTreeSet<Ipv4Addr> = local.map(|endpoint| endpoint.address).collect();
    unique.into_iter().map(|ip| ([ip.octets(), ip.octets()].concat(), Value::None)).collect()
}

fn internal_chain(frontend: &Frontend) -> String {
    format!("service-{}", frontend.name)
}

fn external_chain(frontend: &Frontend) -> String {
    format!("external-{}", frontend.name)
}

fn add_frontend(table: &mut Table, frontend: &Frontend, node: &NodeView) {
    let all: Vec<&Endpoint> = frontend.endpoints.iter().collect();
    let local: Vec<&Endpoint> = all.iter().copied().filter(|endpoint| endpoint.node == node.name).collect();
    let inside = if frontend.internal_local { &local } else { &all };
    let internal = balance(table, &format!("endpoints-{}", frontend.name), inside, frontend.sticky);
    table.chains.push(Chain { name: internal_chain(frontend), hook: None, rules: vec![internal] });
    if frontend.node_port.is_none() {
        return;
    }
    let to_internal = Expr::Verdict(Verdict::Goto(internal_chain(frontend)));
    let rules = if frontend.external_local {
        let from_pod = with(&within(Expr::Source(0), node.pods), &[to_internal]);
        vec![from_pod, balance(table, &format!("local-{}", frontend.name), &local, frontend.sticky)]
    } else {
        vec![vec![Expr::SetMark(MASQUERADE), to_internal]]
    };
    table.chains.push(Chain { name: external_chain(frontend), hook: None, rules });
}

fn with(start: &[Expr], end: &[Expr]) -> Vec<Expr> {
    [start, end].concat()
}

/// Whether the address that `load` takes into register 0 lies in a range.
fn within(load: Expr, range: Ipv4Net) -> Vec<Expr> {
    vec![load, Expr::Mask(0, range.netmask().octets()), equal(range.network())]
}

fn equal(address: Ipv4Addr) -> Expr {
    Expr::Equal(0, address.octets().to_vec())
}

/// A rule that sends a connection to one of the endpoints, each as likely as the others.
fn balance(table: &mut Table, map: &str, endpoints: &[&Endpoint], sticky: bool) -> Vec<Expr> {
    let Ok(count @ 1..) = u32::try_from(endpoints.len()) else {
        return vec![Expr::Verdict(Verdict::Drop)];
    };
    let data = |endpoint: &&Endpoint| Value::Data(endpoint_data(endpoint.address, endpoint.port));
    let elements = (0..count).zip(endpoints).map(|(index, one)| (index.to_ne_bytes().to_vec(), data(one))).collect();
    table.sets.push(Set { name: map.to_owned(), key_bytes: 4, values: Values::Data(8), elements });
    let choose = if sticky {
        vec![Expr::Source(1), Expr::HashOf { from: 1, to: 0, below: count }]
    } else {
        vec![Expr::Random(0, count)]
    };
    let send = [Expr::Load { key: 0, map: map.to_owned(), to: 4 }, Expr::Dnat { address: 4, port: 5 }];
    choose.into_iter().chain(send).collect()
}

fn base_chains(node: &NodeView) -> Vec<Chain> {
    let chain = |name: &str, kind, point, priority, rules| Chain {
        name: name.to_owned(),
        hook: Some(Hook { kind, point, priority }),
        rules,
    };
    let key = || [Expr::Destination(0), Expr::Protocol(1), Expr::Port(2)];
    let to_node = || [Expr::Destination(0), equal(node.address), Expr::Protocol(0), Expr::Port(1)];
    let find =
        vec![with(&key(), &[Expr::Act(0, "services".into())]), with(&to_node(), &[Expr::Act(0, "node-ports".into())])];
    let refuse = vec![
        with(&key(), &[Expr::In(0, "refused".into()), Expr::Reject]),
        with(&to_node(), &[Expr::In(0, "refused-ports".into()), Expr::Reject]),
    ];
    vec![
        chain("from-links", HookKind::Nat, HookPoint::Prerouting, DSTNAT_PRIORITY, find.clone()),
        chain("from-here", HookKind::Nat, HookPoint::Output, DSTNAT_PRIORITY, find),
        chain("leaving", HookKind::Nat, HookPoint::Postrouting, SRCNAT_PRIORITY, leaving(node)),
        chain("refuse-input", HookKind::Filter, HookPoint::Input, 0, refuse.clone()),
        chain("refuse-forward", HookKind::Filter, HookPoint::Forward, 0, refuse.clone()),
        chain("refuse-output", HookKind::Filter, HookPoint::Output, 0, refuse),
    ]
}

/// What leaves a node under the node's own address.
fn leaving(node: &NodeView) -> Vec<Vec<Expr>> {
    let mark = MASQUERADE.to_ne_bytes();
    let from_pod = || within(Expr::Source(0), node.pods);
    let accept = [Expr::Verdict(Verdict::Accept)];
    vec![
        vec![Expr::Mark(0), Expr::Mask(0, mark), Expr::Equal(0, mark.to_vec()), Expr::Masquerade],
        vec![Expr::Source(0), Expr::Destination(1), Expr::In(0, "hairpin".into()), Expr::Masquerade],
        // Only nodes know the way back to a pod: pods of several clusters of a host have the same addresses.
        with(&from_pod(), &[Expr::Destination(0), equal(node.host), Expr::Masquerade]),
        with(&within(Expr::Destination(0), node.pods), &accept),
        with(&within(Expr::Destination(0), node.underlay), &accept),
        with(&from_pod(), &[Expr::Masquerade]),
    ]
}
