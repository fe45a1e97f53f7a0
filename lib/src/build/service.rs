//! Services: one stable name and address for many pods.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;

use super::amount::{Port, Target};
use super::object::named;
use super::text::{Name, Of};
use super::wraps::object;

object! {
    /// One stable name and address for many pods, reached inside the cluster unless it says otherwise.
    ///
    /// Most are made by [`super::Workload::expose`], which takes selector and ports from the pods.
    ///
    /// ```
    /// use kprov::build::*;
    /// let web = Deployment::new("web", Container::new("web", "nginx:1.27").port("http", 80));
    /// let service = web.expose("http").node_port_at(30008);
    /// # let _ = service;
    /// ```
    namespaced Service(core::Service)
}

impl Service {
    /// A service for the pods that carry all these labels.
    #[must_use]
    #[track_caller]
    pub fn new(name: impl Of<Name>, selector: BTreeMap<String, String>) -> Self {
        let spec = core::ServiceSpec { selector: Some(selector), ..core::ServiceSpec::default() };
        Self(core::Service { metadata: named(name.checked()), spec: Some(spec), status: None })
    }

    fn spec(&mut self) -> &mut core::ServiceSpec {
        self.0.spec.get_or_insert_default()
    }

    /// Answers on `port` with the pods' port of that name or number.
    #[must_use]
    #[track_caller]
    pub fn port(mut self, port: impl Of<Port>, target: impl Of<Target>) -> Self {
        let target = target.checked();
        let name = match &target {
            Target::Name(name) => Some(name.to_string()),
            Target::Number(_) => None,
        };
        let port = port.checked().into();
        let port = core::ServicePort { name, port, target_port: Some(target.into()), ..core::ServicePort::default() };
        self.spec().ports.get_or_insert_default().push(port);
        self
    }

    /// Answers on a port of every node too, which the cluster chooses.
    #[must_use]
    pub fn node_port(mut self) -> Self {
        self.spec().type_ = Some("NodePort".to_owned());
        self
    }

    /// Answers on this port of every node too, 30000 to 32767. It is the first port's.
    #[must_use]
    #[track_caller]
    pub fn node_port_at(mut self, node_port: impl Of<Port>) -> Self {
        let node_port = Some(node_port.checked().into());
        self.spec().ports.iter_mut().flatten().take(1).for_each(|port| port.node_port = node_port);
        self.node_port()
    }

    /// Has no address of its own: its name leads to the pods themselves.
    #[must_use]
    pub fn headless(mut self) -> Self {
        self.spec().cluster_ip = Some("None".to_owned());
        self
    }
}
