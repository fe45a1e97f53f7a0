//! Services: one stable name and address for many pods.

mod sort;

use std::collections::BTreeMap;
use std::marker::PhantomData;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

pub use sort::{
    Any, Balanced, ClusterIp, ExternalName, Headless, LoadBalancer, NodePort, OnNodes, Reached, ServiceSort,
};

use super::amount::{Port, Target, Time};
use super::object::{Namespaced, Object, named};
use super::text::{DnsLabel, Invalid, Name, Of};
use super::workload::Selects;

/// One stable name and address for many pods.
///
/// Its sort is part of its type, so that what only one sort has can't be asked of another: [`ClusterIp`] is reached
/// inside the cluster, [`NodePort`] and [`LoadBalancer`] from outside too, a [`Headless`] one has no address of its
/// own, and an [`ExternalName`] leads elsewhere. A struct that comes from outside is of [`Any`] sort.
///
/// Most are made by [`super::Workload::expose`], which takes selector and ports from the pods.
///
/// ```
/// use kprov::build::*;
/// let web = Deployment::new("web", Container::new("nginx", "nginx:1.27").port("http", 80));
/// let inside = web.expose("http");
/// let outside = web.expose("http").node_port().at(30080);
/// let database = Service::external_name("db", "db.example.com");
/// # let _ = (inside, outside, database);
/// ```
/// Source: <https://kubernetes.io/docs/concepts/services-networking/service/>
#[derive(Clone, Debug, PartialEq)]
pub struct Service<S = ClusterIp>(core::Service, PhantomData<S>);

/// What a service selects pods by: a workload, or labels.
///
/// ```
/// use kprov::build::*;
/// let web = Deployment::new("web", Container::new("web", "nginx:1.27").port("http", 80));
/// let by_workload = Service::new("web", &web);
/// let by_labels = Service::new("web", [("app", "nginx")]);
/// # let _ = (web, by_workload, by_labels);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` selects no pods",
    note = "give a reference to a workload (`&deployment`), or labels: `[(\"app\", \"nginx\")]`"
)]
pub trait Selector {
    /// The labels.
    #[track_caller]
    fn labels(self) -> BTreeMap<String, String>;
}

impl<T: Selects> Selector for &T {
    fn labels(self) -> BTreeMap<String, String> {
        self.selector()
    }
}

impl<const N: usize> Selector for [(&'static str, &'static str); N] {
    fn labels(self) -> BTreeMap<String, String> {
        let pair = |(key, value): (&'static str, &'static str)| {
            let (key, value): (super::Key, super::LabelValue) = (key.checked(), value.checked());
            (key.into(), value.into())
        };
        self.into_iter().map(pair).collect()
    }
}

impl Selector for BTreeMap<String, String> {
    fn labels(self) -> BTreeMap<String, String> {
        self
    }
}

impl Service {
    /// A service for the pods of a workload, or for those that carry all these labels. So far it has no port.
    #[must_use]
    #[track_caller]
    pub fn new(name: impl Of<DnsLabel>, pods: impl Selector) -> Self {
        let mut service = Self::without_selector(name);
        service.spec().selector = Some(pods.labels());
        service
    }

    /// A service whose addresses are given by hand, as [`super::EndpointSlice`]s.
    #[must_use]
    #[track_caller]
    pub fn without_selector(name: impl Of<DnsLabel>) -> Self {
        let name: Name = name.checked().into();
        let spec = Some(core::ServiceSpec::default());
        Self(core::Service { metadata: named(name), spec, status: None }, PhantomData)
    }

    /// A name that leads to a host elsewhere, by DNS alone.
    #[must_use]
    #[track_caller]
    pub fn external_name(name: impl Of<DnsLabel>, host: impl Of<Name>) -> Service<ExternalName> {
        let mut service = Self::without_selector(name).turned("ExternalName");
        service.spec().external_name = Some(host.checked().into());
        service
    }

    /// Answers on a port of every node too, which the cluster chooses.
    #[must_use]
    pub fn node_port(self) -> Service<NodePort> {
        self.turned("NodePort")
    }

    /// Gets an address that is reached from outside the cluster, where the cluster can give one.
    #[must_use]
    pub fn load_balancer(self) -> Service<LoadBalancer> {
        self.turned("LoadBalancer")
    }

    /// Has no address of its own: its name leads to the pods themselves.
    #[must_use]
    pub fn headless(mut self) -> Service<Headless> {
        self.spec().cluster_ip = Some("None".to_owned());
        Service(self.0, PhantomData)
    }

    fn turned<S>(mut self, sort: &str) -> Service<S> {
        self.spec().type_ = Some(sort.to_owned());
        Service(self.0, PhantomData)
    }
}

impl Service<Any> {
    /// The same service with what its sort can do.
    ///
    /// Errors: it is of another sort, and its text says of which.
    pub fn of_sort<S: ServiceSort>(self) -> Result<Service<S>, Invalid> {
        let spec = self.0.spec.as_ref();
        let kind = spec.and_then(|spec| spec.type_.as_deref()).unwrap_or("ClusterIP");
        let headless = spec.and_then(|spec| spec.cluster_ip.as_deref()) == Some("None");
        let sort = if headless { "headless" } else { kind };
        if sort == S::NAME {
            return Ok(Service(self.0, PhantomData));
        }
        Err(Invalid { what: S::NAME, text: self.name().to_owned(), why: format!("it is a service of type {sort}") })
    }
}

/// What services with pods behind them have.
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
impl<S> Service<S> {
    /// Lets in only clients of this network, such as `10.0.0.0/8`; called again, of this one too.
    #[must_use]
    pub fn from_network(mut self, network: impl Into<String>) -> Self
    where
        S: Balanced,
    {
        self.spec().load_balancer_source_ranges.get_or_insert_default().push(network.into());
        self
    }

    /// Which implementation gives the address, such as `service.k8s.aws/nlb`.
    #[must_use]
    #[track_caller]
    pub fn class(mut self, class: impl Of<super::Key>) -> Self
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

impl<S> Service<S> {
    fn spec(&mut self) -> &mut core::ServiceSpec {
        self.0.spec.get_or_insert_default()
    }

    /// The k8s-openapi struct; `into()` gives it without a copy.
    #[must_use]
    pub fn build(&self) -> core::Service {
        self.0.clone()
    }

    /// Changes the k8s-openapi struct by hand, for what has no method.
    #[must_use]
    pub fn edit(mut self, change: impl FnOnce(&mut core::Service)) -> Self {
        change(&mut self.0);
        self
    }
}

impl From<core::Service> for Service<Any> {
    fn from(raw: core::Service) -> Self {
        Self(raw, PhantomData)
    }
}

impl<S> From<Service<S>> for core::Service {
    fn from(service: Service<S>) -> Self {
        service.0
    }
}

impl<S> AsRef<core::Service> for Service<S> {
    fn as_ref(&self) -> &core::Service {
        &self.0
    }
}

impl<S> AsMut<core::Service> for Service<S> {
    fn as_mut(&mut self) -> &mut core::Service {
        &mut self.0
    }
}

impl<S> k8s_openapi::Resource for Service<S> {
    const API_VERSION: &'static str = <core::Service as k8s_openapi::Resource>::API_VERSION;
    const GROUP: &'static str = <core::Service as k8s_openapi::Resource>::GROUP;
    const KIND: &'static str = <core::Service as k8s_openapi::Resource>::KIND;
    const VERSION: &'static str = <core::Service as k8s_openapi::Resource>::VERSION;
    const URL_PATH_SEGMENT: &'static str = <core::Service as k8s_openapi::Resource>::URL_PATH_SEGMENT;
    type Scope = <core::Service as k8s_openapi::Resource>::Scope;
}

impl<S> k8s_openapi::Metadata for Service<S> {
    type Ty = ObjectMeta;

    fn metadata(&self) -> &ObjectMeta {
        &self.0.metadata
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.0.metadata
    }
}

impl<S> serde::Serialize for Service<S> {
    fn serialize<Z: serde::Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> serde::Deserialize<'de> for Service<Any> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        core::Service::deserialize(deserializer).map(Self::from)
    }
}

impl<S> Object for Service<S> {
    fn meta(&self) -> &ObjectMeta {
        &self.0.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.0.metadata
    }
}

impl<S> Namespaced for Service<S> {}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;

    fn spec<S>(service: &Service<S>) -> Value {
        serde_json::to_value(service).unwrap()["spec"].clone()
    }

    #[test]
    fn each_sort_has_its_own_fields() {
        let service = || Service::new("web", [("app", "web")]).port(80, 8080);
        let ports = json!([{"port": 80, "targetPort": 8080}]);
        let selector = json!({"app": "web"});
        assert_eq!(spec(&service()), json!({"selector": selector, "ports": ports}));
        assert_eq!(spec(&service().headless())["clusterIP"], "None");
        let node_port = spec(&service().node_port().at(30008).keep_source());
        assert_eq!(node_port["type"], "NodePort");
        assert_eq!(node_port["ports"][0]["nodePort"], 30008);
        assert_eq!(node_port["externalTrafficPolicy"], "Local");
        let balanced = spec(&service().load_balancer().from_network("10.0.0.0/8").sticky(Duration::from_secs(60)));
        assert_eq!(balanced["loadBalancerSourceRanges"], json!(["10.0.0.0/8"]));
        assert_eq!(balanced["sessionAffinityConfig"], json!({"clientIP": {"timeoutSeconds": 60}}));
        let external = spec(&Service::external_name("db", "db.example.com"));
        assert_eq!(external, json!({"type": "ExternalName", "externalName": "db.example.com"}));
    }

    #[test]
    fn a_services_port_has_a_longer_name_than_a_containers() {
        let service = Service::new("db", [("app", "db")]).named_port("mongodb-exporter", 9216, 9216);
        let service = service.node_port().port_at("mongodb-exporter", 30216);
        assert_eq!(spec(&service)["ports"][0]["name"], "mongodb-exporter");
        let mut bundle = crate::Bundle::new("db");
        bundle.add(service);
        assert_eq!(bundle.validate(), Ok(()));
    }

    #[test]
    fn a_struct_comes_back_as_what_it_is() {
        let raw = Service::new("web", [("app", "web")]).port(80, "http").node_port().build();
        let any = Service::from(raw.clone());
        assert_eq!(any.clone().of_sort::<NodePort>().unwrap().at(30000).build().spec.unwrap().ports.unwrap().len(), 1);
        let wrong = any.of_sort::<LoadBalancer>().unwrap_err().to_string();
        assert_eq!(wrong, "\"web\" is no LoadBalancer: it is a service of type NodePort");
        let headless = Service::from(Service::without_selector("db").headless().build());
        assert!(headless.of_sort::<Headless>().is_ok());
    }

    #[test]
    #[should_panic(expected = "service web has no port named https")]
    fn a_port_that_is_not_there_is_a_mistake() {
        let _ = Service::new("web", [("app", "web")]).port(80, "http").node_port().port_at("https", 30443);
    }
}
