//! Services: one stable name and address for many pods.

mod raw;
mod reach;
mod sort;

use std::collections::BTreeMap;
use std::marker::PhantomData;

use k8s_openapi::api::core::v1 as core;

pub use sort::{
    Any, Balanced, ClusterIp, ExternalName, Headless, LoadBalancer, NodePort, OnNodes, Reached, ServiceSort,
};

use super::object::{Object, named};
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
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` selects no pods",
    note = "give a reference to a workload (`&deployment`), or labels: `[(\"app\", \"nginx\")]`"
)]
pub trait Selector {
    /// The labels.
    ///
    /// ```
    /// # use kprov::build::*;
    /// assert_eq!([("app", "web")].labels()["app"], "web");
    /// ```
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

/// What it leads to, and its sort.
///
/// ```
/// # use kprov::build::*;
/// let db = Service::without_selector("db").port(5432, 5432);
/// let cloud = Service::external_name("cloud", "db.example.com");
/// let peers = Service::new("peers", [("app", "db")]).port(5432, 5432).headless();
/// let shop = Service::new("shop", [("app", "web")]).port(443, "https").load_balancer();
/// assert_eq!(peers.build().spec.unwrap().cluster_ip.as_deref(), Some("None"));
/// ```
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
    ///
    /// ```
    /// # use kprov::build::*;
    /// let found: Service<Any> = Service::new("web", [("app", "web")]).port(80, 8080).node_port().build().into();
    /// let web = found.of_sort::<NodePort>()?.at(30080);
    /// # Ok::<(), Invalid>(())
    /// ```
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

/// Down to the struct.
///
/// ```
/// # use kprov::build::*;
/// let raw = Service::new("web", [("app", "web")]).edit(|raw| raw.metadata.uid = None).build();
/// ```
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
