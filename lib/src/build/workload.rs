//! Workloads that keep a number of pods.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1 as apps;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use super::pod::{Container, name_label, spec};
use super::service::Service;

/// Keeps a number of equal pods, and replaces them step by step when they change.
///
/// Its selector is made from its name and can't disagree with the pods' labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployment {
    name: String,
    replicas: u32,
    labels: BTreeMap<String, String>,
    containers: Vec<Container>,
}

impl Deployment {
    /// One pod, so far without a container.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), replicas: 1, labels: BTreeMap::new(), containers: Vec::new() }
    }

    /// How many pods to keep.
    #[must_use]
    pub fn replicas(mut self, replicas: u32) -> Self {
        self.replicas = replicas;
        self
    }

    /// Adds a container to every pod.
    #[must_use]
    pub fn container(mut self, container: Container) -> Self {
        self.containers.push(container);
        self
    }

    /// Adds a label to the deployment and its pods; the selector stays as it is.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// A service of the same name for the containers' port of that name, on the same number.
    ///
    /// Panics when no container has such a port: that is a mistake in the program, not in its input.
    #[must_use]
    #[track_caller]
    pub fn expose(&self, port: &str) -> Service {
        let built = self.containers.iter().map(Container::build);
        let number = built
            .flat_map(|container| container.ports.unwrap_or_default())
            .find(|candidate| candidate.name.as_deref() == Some(port))
            .and_then(|found| u16::try_from(found.container_port).ok())
            .unwrap_or_else(|| panic!("no container of deployment {} has a port named {port:?}", self.name));
        Service::new(&self.name, name_label(&self.name)).port(number, port)
    }

    /// The object.
    #[must_use]
    pub fn build(&self) -> apps::Deployment {
        let selector = name_label(&self.name);
        let mut labels = self.labels.clone();
        labels.extend(selector.clone());
        let meta = |name| ObjectMeta { name, labels: Some(labels.clone()), ..ObjectMeta::default() };
        apps::Deployment {
            metadata: meta(Some(self.name.clone())),
            spec: apps::DeploymentSpec {
                replicas: Some(i32::try_from(self.replicas).unwrap_or(i32::MAX)),
                selector: LabelSelector { match_labels: Some(selector), ..LabelSelector::default() },
                template: core::PodTemplateSpec { metadata: Some(meta(None)), spec: Some(spec(&self.containers)) },
                ..apps::DeploymentSpec::default()
            },
            ..apps::Deployment::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_deployment_and_its_service_agree() {
        let web = Deployment::new("web").replicas(2).container(Container::new("c", "nginx").port("http", 8080));
        let deployment = serde_json::to_value(web.build()).unwrap();
        let service = serde_json::to_value(web.expose("http").node_port().build()).unwrap();
        let selector = json!({"app.kubernetes.io/name": "web"});
        assert_eq!(deployment["spec"]["selector"]["matchLabels"], selector);
        assert_eq!(deployment["spec"]["template"]["metadata"]["labels"], selector);
        assert_eq!(service["spec"]["selector"], selector);
        assert_eq!(service["spec"]["ports"], json!([{"name": "http", "port": 8080, "targetPort": "http"}]));
        assert_eq!(service["spec"]["type"], "NodePort");
    }

    #[test]
    #[should_panic(expected = "no container of deployment web has a port named \"http\"")]
    fn exposing_an_unknown_port_is_a_mistake() {
        let _ = Deployment::new("web").expose("http");
    }
}
