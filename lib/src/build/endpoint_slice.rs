//! Addresses behind a service, given by hand.

use std::net::IpAddr;

use k8s_openapi::api::discovery::v1 as discovery;

use super::amount::Port;
use super::object::{Object, named};
use super::service::Service;
use super::text::{DnsLabel, Name, Of};
use super::wraps::object;

object! {
    /// Addresses behind a service that selects no pods: a database outside the cluster, for example.
    ///
    /// ```
    /// use kprov::build::*;
    /// let db = Service::without_selector("db").port(5432, 5432);
    /// let addresses = EndpointSlice::new("db-1", &db, [[10, 0, 0, 7]]).port(5432);
    /// ```
    /// Source: <https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/>
    namespaced EndpointSlice(discovery::EndpointSlice)
}

impl EndpointSlice {
    /// These addresses, all of one family, behind that service. So far without a port.
    ///
    /// Panics when there is none, or when IPv4 and IPv6 are mixed: each family has slices of its own.
    #[must_use]
    #[track_caller]
    pub fn new<S>(
        name: impl Of<Name>,
        service: &Service<S>,
        addresses: impl IntoIterator<Item = impl Into<IpAddr>>,
    ) -> Self {
        let addresses: Vec<IpAddr> = addresses.into_iter().map(Into::into).collect();
        let v6 = addresses.first().expect("a slice has at least one address").is_ipv6();
        assert!(
            addresses.iter().all(|address| address.is_ipv6() == v6),
            "a slice has addresses of one family: make one for IPv4 and one for IPv6"
        );
        let endpoint = |address: IpAddr| discovery::Endpoint { addresses: vec![address.to_string()], ..<_>::default() };
        let slice = Self(discovery::EndpointSlice {
            metadata: named(name.checked()),
            address_type: if v6 { "IPv6" } else { "IPv4" }.to_owned(),
            endpoints: Some(addresses.into_iter().map(endpoint).collect()),
            ports: None,
        });
        slice.edit(|raw| {
            let labels = raw.metadata.labels.get_or_insert_default();
            labels.insert("kubernetes.io/service-name".to_owned(), service.name().to_owned());
            raw.metadata.namespace.clone_from(&service.meta().namespace);
        })
    }

    /// The port of the only service port, which has no name.
    #[must_use]
    #[track_caller]
    pub fn port(self, port: impl Of<Port>) -> Self {
        self.push(String::new(), port.checked())
    }

    /// The port of the service port of that name.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let db = Service::without_selector("db").named_port("sql", 5432, 5432);
    /// let addresses = EndpointSlice::new("db-1", &db, [[10, 0, 0, 7], [10, 0, 0, 8]]).named_port("sql", 5432);
    /// ```
    #[must_use]
    #[track_caller]
    pub fn named_port(self, name: impl Of<DnsLabel>, port: impl Of<Port>) -> Self {
        self.push(name.checked().into(), port.checked())
    }

    fn push(mut self, name: String, port: Port) -> Self {
        self.0.ports.get_or_insert_default().push(discovery::EndpointPort {
            name: Some(name),
            port: Some(port.into()),
            protocol: Some("TCP".to_owned()),
            app_protocol: None,
        });
        self
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    #[test]
    #[should_panic(expected = "addresses of one family")]
    fn families_are_not_mixed() {
        let addresses = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
        let _ = EndpointSlice::new("a", &Service::without_selector("a"), addresses);
    }
}
