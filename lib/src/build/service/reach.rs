//! How services are reached: by ports, through nodes, behind a load balancer.

use k8s_openapi::api::core::v1 as core;

use super::{Balanced, OnNodes, Reached, Service};
use crate::build::amount::{Port, Target, Time};
use crate::build::network_policy::Network;
use crate::build::text::{DnsLabel, Key, Of};

/// What services with pods behind them have.
///
/// ```
/// # use kprov::build::*;
/// use std::time::Duration;
/// let dns = Service::new("dns", [("app", "dns")]).named_port("metrics", 9153, 9153).udp_port("dns", 53, "dns");
/// let game = Service::new("game", [("app", "game")]).port(80, "http").sticky(Duration::from_secs(600));
/// let peers = Service::new("peers", [("app", "zk")]).port(2888, 2888).headless().unready_too();
/// ```
impl<S> Service<S> {
    /// Answers on `port` with the pods' port of that name or number. A name is the service port's name too.
    #[must_use]
    #[track_caller]
    pub fn port(mut self, port: impl Of<Port>, target: impl Of<Target>) -> Self
    where
        S: Reached,
    {
        let target = target.checked();
        let name = match &target {
            Target::Name(name) => Some(name.to_string()),
            Target::Number(_) => None,
        };
        self.push(core::ServicePort {
            name,
            port: port.checked().into(),
            target_port: Some(target.into()),
            ..core::ServicePort::default()
        });
        self
    }

    /// The same with a name of its own, which every port of a service with several must have.
    ///
    /// Up to 63 characters, while a container's port is named with up to 15.
    #[must_use]
    #[track_caller]
    pub fn named_port(self, name: impl Of<DnsLabel>, port: impl Of<Port>, target: impl Of<Target>) -> Self
    where
        S: Reached,
    {
        let name = name.checked();
        let mut service = self.port(port, target);
        if let Some(last) = service.spec().ports.iter_mut().flatten().last() {
            last.name = Some(name.into());
        }
        service
    }

    /// The same over UDP.
    #[must_use]
    #[track_caller]
    pub fn udp_port(self, name: impl Of<DnsLabel>, port: impl Of<Port>, target: impl Of<Target>) -> Self
    where
        S: Reached,
    {
        let mut service = self.named_port(name, port, target);
        if let Some(last) = service.spec().ports.iter_mut().flatten().last() {
            last.protocol = Some("UDP".to_owned());
        }
        service
    }

    /// Sends a client to the same pod again, for as long after its last call.
    #[must_use]
    #[track_caller]
    pub fn sticky(mut self, time: impl Time) -> Self
    where
        S: Reached,
    {
        let client_ip = Some(core::ClientIPConfig { timeout_seconds: Some(time.whole_seconds()) });
        self.spec().session_affinity = Some("ClientIP".to_owned());
        self.spec().session_affinity_config = Some(core::SessionAffinityConfig { client_ip });
        self
    }

    /// Leads to pods before they are ready too, which peers need to find each other.
    #[must_use]
    pub fn unready_too(mut self) -> Self
    where
        S: Reached,
    {
        self.spec().publish_not_ready_addresses = Some(true);
        self
    }

    fn push(&mut self, port: core::ServicePort) {
        self.spec().ports.get_or_insert_default().push(port);
    }
}

/// What services that are reached through nodes have.
///
/// ```
/// # use kprov::build::*;
/// let web = Service::new("web", [("app", "web")]).port(80, "http").port(443, "https").node_port();
/// let web = web.at(30080).port_at("https", 30443).keep_source();
/// ```
impl<S> Service<S> {
    /// The first port's number on nodes, 30000 to 32767, instead of one that the cluster chooses.
    ///
    /// Panics when the service has no port.
    #[must_use]
    #[track_caller]
    pub fn at(mut self, node_port: impl Of<Port>) -> Self
    where
        S: OnNodes,
    {
        let node_port = node_port.checked();
        let name = self.0.metadata.name.clone().unwrap_or_default();
        let first = self.spec().ports.iter_mut().flatten().next();
        let first = first.unwrap_or_else(|| panic!("service {name} has no port yet: add one with `port(..)` first"));
        first.node_port = Some(node_port.into());
        self
    }

    /// The number on nodes of the port of that name.
    ///
    /// Panics when the service has no such port.
    #[must_use]
    #[track_caller]
    pub fn port_at(mut self, port: impl Of<DnsLabel>, node_port: impl Of<Port>) -> Self
    where
        S: OnNodes,
    {
        let (port, node_port) = (port.checked(), node_port.checked());
        let name = self.0.metadata.name.clone().unwrap_or_default();
        let mut ports = self.spec().ports.iter_mut().flatten();
        let found = ports.find(|one| one.name.as_deref() == Some(port.as_str()));
        found.unwrap_or_else(|| panic!("service {name} has no port named {port}")).node_port = Some(node_port.into());
        self
    }

    /// Shows the pods the client's own address: a node answers only with pods of its own.
    #[must_use]
    pub fn keep_source(mut self) -> Self
    where
        S: OnNodes,
    {
        self.spec().external_traffic_policy = Some("Local".to_owned());
        self
    }
}

/// What services with a load balancer have.
///
/// ```
/// # use kprov::build::*;
/// let web = Service::new("web", [("app", "web")])
///     .port(443, "https")
///     .load_balancer()
///     .from_network("10.0.0.0/8")
///     .class("service.k8s.aws/nlb")
///     .without_node_ports();
/// ```
impl<S> Service<S> {
    /// Lets in only clients of this network, such as `10.0.0.0/8`; called again, of this one too.
    #[must_use]
    #[track_caller]
    pub fn from_network(mut self, network: impl Of<Network>) -> Self
    where
        S: Balanced,
    {
        self.spec().load_balancer_source_ranges.get_or_insert_default().push(network.checked().into());
        self
    }

    /// Which implementation gives the address, such as `service.k8s.aws/nlb`.
    #[must_use]
    #[track_caller]
    pub fn class(mut self, class: impl Of<Key>) -> Self
    where
        S: Balanced,
    {
        self.spec().load_balancer_class = Some(class.checked().into());
        self
    }

    /// Takes no ports on nodes, where the load balancer reaches pods by itself.
    #[must_use]
    pub fn without_node_ports(mut self) -> Self
    where
        S: Balanced,
    {
        self.spec().allocate_load_balancer_node_ports = Some(false);
        self
    }
}
