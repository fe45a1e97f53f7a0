//! How pods are named, and how they find others by name.

use std::net::IpAddr;

use k8s_openapi::api::core::v1 as core;

use super::pods::Pods;
use super::text::{DnsLabel, Name, Of};

/// Whom a pod asks for addresses.
///
/// ```
/// # use kprov::build::*;
/// let web = Deployment::new("web", Container::new("web", "nginx:1.27"))
///     .host_network()
///     .dns(DnsPolicy::ClusterFirstWithHostNet);
/// ```
/// Source: <https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/#pod-s-dns-policy>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsPolicy {
    /// The cluster; what holds without it.
    ClusterFirst,
    /// The cluster, also on the host's network.
    ClusterFirstWithHostNet,
    /// Whom its node asks.
    Default,
    /// Nobody but the name servers that [`Networked::nameserver`] names.
    None,
}

/// How pods are named, and how they find others by name.
///
/// ```
/// # use kprov::build::*;
/// let pod = Pod::new("busybox", Container::new("busybox", "busybox"))
///     .hostname("busybox-1")
///     .subdomain("busybox-subdomain")
///     .host_alias([10, 0, 0, 7], ["db.example.com"]);
/// assert_eq!(pod.build().spec.unwrap().hostname.as_deref(), Some("busybox-1"));
///
/// let agent = DaemonSet::new("agent", Container::new("agent", "fluent-bit:4"))
///     .host_network()
///     .dns(DnsPolicy::None)
///     .nameserver([10, 0, 0, 2])
///     .search_domain("example.com")
///     .dns_option("ndots", "2");
/// ```
pub trait Networked: Pods {
    /// Uses the node's own network: its addresses, its ports, and its name servers unless
    /// [`DnsPolicy::ClusterFirstWithHostNet`] is asked for.
    #[must_use]
    fn host_network(mut self) -> Self {
        self.pod_mut().1.host_network = Some(true);
        self
    }

    /// The host's name inside the pod; the pod's name without it.
    #[must_use]
    #[track_caller]
    fn hostname(mut self, name: impl Of<DnsLabel>) -> Self {
        self.pod_mut().1.hostname = Some(name.checked().into());
        self
    }

    /// The headless service under which the pod's host name is found: `hostname.subdomain.namespace.svc.cluster.local`.
    #[must_use]
    #[track_caller]
    fn subdomain(mut self, service: impl Of<DnsLabel>) -> Self {
        self.pod_mut().1.subdomain = Some(service.checked().into());
        self
    }

    /// Adds a line to the pod's `/etc/hosts`.
    #[must_use]
    #[track_caller]
    fn host_alias(mut self, address: impl Into<IpAddr>, names: impl IntoIterator<Item = impl Of<Name>>) -> Self {
        let mut hostnames = Vec::new();
        for name in names {
            hostnames.push(name.checked().into());
        }
        let alias = core::HostAlias { ip: address.into().to_string(), hostnames: Some(hostnames) };
        self.pod_mut().1.host_aliases.get_or_insert_default().push(alias);
        self
    }

    /// Whom the pod asks for addresses.
    #[must_use]
    fn dns(mut self, policy: DnsPolicy) -> Self {
        self.pod_mut().1.dns_policy = Some(format!("{policy:?}"));
        self
    }

    /// Asks this name server too.
    #[must_use]
    fn nameserver(mut self, address: impl Into<IpAddr>) -> Self {
        let config = self.pod_mut().1.dns_config.get_or_insert_default();
        config.nameservers.get_or_insert_default().push(address.into().to_string());
        self
    }

    /// Tries short names in this domain too.
    #[must_use]
    #[track_caller]
    fn search_domain(mut self, domain: impl Of<Name>) -> Self {
        let config = self.pod_mut().1.dns_config.get_or_insert_default();
        config.searches.get_or_insert_default().push(domain.checked().into());
        self
    }

    /// Sets an option of the resolver, such as `ndots`.
    #[must_use]
    fn dns_option(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let config = self.pod_mut().1.dns_config.get_or_insert_default();
        let option = core::PodDNSConfigOption { name: Some(name.into()), value: Some(value.into()) };
        config.options.get_or_insert_default().push(option);
        self
    }
}

impl<T: Pods> Networked for T {}
