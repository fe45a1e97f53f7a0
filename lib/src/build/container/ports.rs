//! What a container listens on.

use k8s_openapi::api::core::v1 as core;

use super::Container;
use crate::build::amount::Port;
use crate::build::text::{Of, PortName};

/// What it listens on. Names are how services, probes and ingresses speak of a port.
///
/// ```
/// # use kprov::build::*;
/// let dns = Container::new("dns", "coredns:1")
///     .port("http", 8080)
///     .udp_port("dns", 53)
///     .sctp_port("signal", 2905)
///     .unnamed_port(9153)
///     .host_port("agent", 9100, 9100);
/// assert_eq!(dns.build().ports.unwrap().len(), 5);
/// ```
impl Container {
    /// Names a TCP port that the program listens on.
    ///
    /// Panics when the container has a port of that name already.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Container::new("web", "nginx:1.27").port("http", 80).port("metrics", 9090);
    /// ```
    #[must_use]
    #[track_caller]
    pub fn port(self, name: impl Of<PortName>, number: impl Of<Port>) -> Self {
        self.add_port(Some(name.checked()), number.checked(), None)
    }

    /// Names a UDP port that the program listens on.
    #[must_use]
    #[track_caller]
    pub fn udp_port(self, name: impl Of<PortName>, number: impl Of<Port>) -> Self {
        self.add_port(Some(name.checked()), number.checked(), Some("UDP"))
    }

    /// Names an SCTP port that the program listens on.
    #[must_use]
    #[track_caller]
    pub fn sctp_port(self, name: impl Of<PortName>, number: impl Of<Port>) -> Self {
        self.add_port(Some(name.checked()), number.checked(), Some("SCTP"))
    }

    /// A TCP port without a name; services reach it by its number.
    #[must_use]
    #[track_caller]
    pub fn unnamed_port(self, number: impl Of<Port>) -> Self {
        self.add_port(None, number.checked(), None)
    }

    /// Names a TCP port that is also reached under a port of the node. A service is nearly always the better way: only one
    /// pod on a node can have that port.
    #[must_use]
    #[track_caller]
    pub fn host_port(self, name: impl Of<PortName>, number: impl Of<Port>, on_host: impl Of<Port>) -> Self {
        let on_host = on_host.checked().into();
        let mut container = self.add_port(Some(name.checked()), number.checked(), None);
        if let Some(port) = container.0.ports.iter_mut().flatten().last() {
            port.host_port = Some(on_host);
        }
        container
    }

    #[track_caller]
    fn add_port(mut self, name: Option<PortName>, number: Port, protocol: Option<&str>) -> Self {
        let name: Option<String> = name.map(Into::into);
        let ports = self.0.ports.get_or_insert_default();
        let taken = name.is_some() && ports.iter().any(|port| port.name == name);
        assert!(!taken, "container {} has a port named {} already", self.0.name, name.unwrap_or_default());
        ports.push(core::ContainerPort {
            name,
            container_port: number.into(),
            protocol: protocol.map(str::to_owned),
            ..core::ContainerPort::default()
        });
        self
    }
}
