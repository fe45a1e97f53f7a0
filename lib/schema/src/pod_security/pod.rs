//! A pod as checks look at it: containers of every sort alike.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Container as Plain, ContainerPort, EphemeralContainer, Lifecycle, PodSecurityContext, PodSpec, Probe,
    SecurityContext,
};

/// A pod, or what a template would make one of.
#[derive(Clone, Copy, Debug)]
pub struct Pod<'a> {
    /// Its annotations.
    pub annotations: Option<&'a BTreeMap<String, String>>,
    /// Its specification.
    pub spec: &'a PodSpec,
}

impl<'a> Pod<'a> {
    /// Every container: those that run first, those that run, those that were added.
    pub fn containers(&self) -> impl Iterator<Item = Container<'a>> {
        let spec = self.spec;
        let init = spec.init_containers.iter().flatten().map(Container::from);
        let added = spec.ephemeral_containers.iter().flatten().map(Container::from);
        init.chain(spec.containers.iter().map(Container::from)).chain(added)
    }

    /// The names of the containers that something holds for.
    pub(super) fn named(&self, holds: impl Fn(&Container<'a>) -> bool) -> Vec<&'a str> {
        self.containers().filter(holds).map(|container| container.name).collect()
    }

    /// What is asked of all its containers together.
    pub(super) fn security(&self) -> Option<&'a PodSecurityContext> {
        self.spec.security_context.as_ref()
    }

    /// The value of one annotation.
    pub(super) fn annotation(&self, key: &str) -> Option<&'a str> {
        self.annotations?.get(key).map(String::as_str)
    }

    pub(super) fn is_windows(&self) -> bool {
        self.spec.os.as_ref().is_some_and(|os| os.name == "windows")
    }

    /// Whether its users are others than those of its node.
    pub(super) fn has_own_users(&self) -> bool {
        self.spec.host_users == Some(false)
    }
}

/// A container of any sort.
#[derive(Clone, Copy, Debug)]
pub struct Container<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it may do.
    pub security: Option<&'a SecurityContext>,
    /// Its ports.
    pub ports: &'a [ContainerPort],
    /// How it is asked whether it lives, is ready, has started.
    pub probes: [Option<&'a Probe>; 3],
    /// What it does at its start and before its end.
    pub lifecycle: Option<&'a Lifecycle>,
}

macro_rules! container {
    ($($sort:ty),*) => {$(
        impl<'a> From<&'a $sort> for Container<'a> {
            fn from(container: &'a $sort) -> Self {
                Self {
                    name: &container.name,
                    security: container.security_context.as_ref(),
                    ports: container.ports.as_deref().unwrap_or_default(),
                    probes: [&container.liveness_probe, &container.readiness_probe, &container.startup_probe]
                        .map(Option::as_ref),
                    lifecycle: container.lifecycle.as_ref(),
                }
            }
        }
    )*};
}

container!(Plain, EphemeralContainer);

impl<'a> Container<'a> {
    /// The capabilities that it adds.
    pub(super) fn added(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let capabilities = self.security.and_then(|security| security.capabilities.as_ref());
        capabilities.into_iter().flat_map(|all| all.add.iter().flatten()).map(String::as_str)
    }

    /// The capabilities that it gives up.
    pub(super) fn dropped(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let capabilities = self.security.and_then(|security| security.capabilities.as_ref());
        capabilities.into_iter().flat_map(|all| all.drop.iter().flatten()).map(String::as_str)
    }
}
