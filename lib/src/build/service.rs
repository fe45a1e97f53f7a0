//! Services: one stable name and address for many pods.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// A service with one or more ports, reached inside the cluster unless it says otherwise.
///
/// Most are made by [`super::Deployment::expose`], which takes selector and ports from the pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    name: String,
    selector: BTreeMap<String, String>,
    ports: Vec<(Option<String>, u16, IntOrString)>,
    node_port: Option<Option<u16>>,
}

impl Service {
    /// A service for the pods that carry all these labels.
    pub fn new(name: impl Into<String>, selector: BTreeMap<String, String>) -> Self {
        Self { name: name.into(), selector, ports: Vec::new(), node_port: None }
    }

    /// Answers on `port` with the pods' port of that name.
    #[must_use]
    pub fn port(mut self, port: u16, target: impl Into<String>) -> Self {
        let target = target.into();
        self.ports.push((Some(target.clone()), port, IntOrString::String(target)));
        self
    }

    /// Answers on a port of every node too, which the cluster chooses.
    #[must_use]
    pub fn node_port(mut self) -> Self {
        self.node_port = Some(None);
        self
    }

    /// Answers on this port of every node too, 30000 to 32767.
    #[must_use]
    pub fn node_port_at(mut self, port: u16) -> Self {
        self.node_port = Some(Some(port));
        self
    }

    /// The object.
    #[must_use]
    pub fn build(&self) -> core::Service {
        let node_port = self.node_port.flatten().map(i32::from);
        let port = |(name, port, target): &(Option<String>, u16, IntOrString)| core::ServicePort {
            name: name.clone(),
            port: i32::from(*port),
            target_port: Some(target.clone()),
            node_port,
            ..core::ServicePort::default()
        };
        core::Service {
            metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
            spec: Some(core::ServiceSpec {
                selector: Some(self.selector.clone()),
                ports: Some(self.ports.iter().map(port).collect()),
                type_: self.node_port.map(|_| "NodePort".to_owned()),
                ..core::ServiceSpec::default()
            }),
            ..core::Service::default()
        }
    }
}
