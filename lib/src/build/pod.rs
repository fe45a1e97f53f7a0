//! Pods and their containers.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Where the value of an environment variable comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Env {
    /// The text itself.
    Value(String),
    /// A field of the pod, such as `status.podIP`.
    Field(&'static str),
    /// A key of a config map.
    ConfigMap {
        /// Name of the config map.
        name: String,
        /// Key in it.
        key: String,
    },
    /// A key of a secret.
    Secret {
        /// Name of the secret.
        name: String,
        /// Key in it.
        key: String,
    },
}

/// One container of a pod.
///
/// Example: `Container::new("web", "nginx:1.27").port("http", 80).limits("500m", "128Mi")`.
#[derive(Clone, Debug, PartialEq)]
pub struct Container {
    inner: core::Container,
}

impl Container {
    /// A container of that image.
    pub fn new(name: impl Into<String>, image: impl Into<String>) -> Self {
        let inner = core::Container { name: name.into(), image: Some(image.into()), ..core::Container::default() };
        Self { inner }
    }

    /// Names a TCP port that the program listens on.
    #[must_use]
    pub fn port(mut self, name: impl Into<String>, number: u16) -> Self {
        let port = core::ContainerPort {
            name: Some(name.into()),
            container_port: i32::from(number),
            ..core::ContainerPort::default()
        };
        self.inner.ports.get_or_insert_default().push(port);
        self
    }

    /// Replaces the image's entrypoint.
    #[must_use]
    pub fn command(mut self, command: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.inner.command = Some(command.into_iter().map(Into::into).collect());
        self
    }

    /// Replaces the image's arguments.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.inner.args = Some(args.into_iter().map(Into::into).collect());
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: Env) -> Self {
        let mut variable = core::EnvVar { name: name.into(), ..core::EnvVar::default() };
        match value {
            Env::Value(text) => variable.value = Some(text),
            other => variable.value_from = Some(source(other)),
        }
        self.inner.env.get_or_insert_default().push(variable);
        self
    }

    /// What it is promised: CPU (`250m` is a quarter of a core) and memory (`64Mi`).
    #[must_use]
    pub fn requests(mut self, cpu: &str, memory: &str) -> Self {
        self.inner.resources.get_or_insert_default().requests = Some(resources(cpu, memory));
        self
    }

    /// What it may not exceed.
    #[must_use]
    pub fn limits(mut self, cpu: &str, memory: &str) -> Self {
        self.inner.resources.get_or_insert_default().limits = Some(resources(cpu, memory));
        self
    }

    /// The struct.
    #[must_use]
    pub fn build(&self) -> core::Container {
        self.inner.clone()
    }
}

fn source(value: Env) -> core::EnvVarSource {
    let mut source = core::EnvVarSource::default();
    match value {
        Env::Value(_) => {}
        Env::Field(path) => {
            source.field_ref = Some(core::ObjectFieldSelector { field_path: path.to_owned(), api_version: None });
        }
        Env::ConfigMap { name, key } => {
            source.config_map_key_ref = Some(core::ConfigMapKeySelector { name, key, optional: None });
        }
        Env::Secret { name, key } => {
            source.secret_key_ref = Some(core::SecretKeySelector { name, key, optional: None });
        }
    }
    source
}

fn resources(cpu: &str, memory: &str) -> BTreeMap<String, Quantity> {
    [("cpu", cpu), ("memory", memory)]
        .into_iter()
        .map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned())))
        .collect()
}

/// A pod on its own: nothing brings it back when its node is lost.
#[derive(Clone, Debug, PartialEq)]
pub struct Pod {
    name: String,
    labels: BTreeMap<String, String>,
    containers: Vec<Container>,
}

impl Pod {
    /// A pod with the label `app.kubernetes.io/name`.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self { labels: name_label(&name), name, containers: Vec::new() }
    }

    /// Adds a container.
    #[must_use]
    pub fn container(mut self, container: Container) -> Self {
        self.containers.push(container);
        self
    }

    /// Adds a label.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// The object.
    #[must_use]
    pub fn build(&self) -> core::Pod {
        core::Pod {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                labels: Some(self.labels.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(spec(&self.containers)),
            ..core::Pod::default()
        }
    }
}

pub(super) fn spec(containers: &[Container]) -> core::PodSpec {
    core::PodSpec { containers: containers.iter().map(Container::build).collect(), ..core::PodSpec::default() }
}

/// The label that a selector made here goes by.
pub(super) fn name_label(name: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("app.kubernetes.io/name".to_owned(), name.to_owned())])
}
