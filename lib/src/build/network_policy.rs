//! Network policies: which pods may talk to which.

use k8s_openapi::api::networking::v1 as networking;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::amount::Target;
use super::object::{Object, named};
use super::text::{Key, LabelValue, Name, Of, text};
use super::workload::Selects;
use super::wraps::{object, part};

text! {
    /// A network by its address and the length of its prefix: `10.0.0.0/8`.
    ///
    /// ```
    /// use kprov::build::*;
    /// let network: Network = "10.0.0.0/8".parse().expect("an address and a prefix");
    /// ```
    Network, "network", |network| match network.split_once('/') {
        Some((address, length)) => match (address.parse::<std::net::IpAddr>(), length.parse::<u8>()) {
            (Ok(address), Ok(length)) if length <= if address.is_ipv4() { 32 } else { 128 } => Vec::new(),
            _ => vec!["write address and prefix length, such as 10.0.0.0/8".to_owned()],
        },
        None => vec![format!("the length of the prefix is missing; write {network}/32 for one IPv4 address")],
    }
}

object! {
    /// Which connections pods take and make; what no policy allows is refused once one is about the pods.
    ///
    /// ```
    /// use kprov::build::*;
    /// let web = Deployment::new("web", Container::new("web", "shop:1").port("http", 8080));
    /// let db = StatefulSet::new("db", Container::new("mysql", "mysql:8").port("mysql", 3306));
    /// let only_web = db.allow_from(&web);
    /// let nothing_out = NetworkPolicy::new("db-out", &db).no_egress();
    /// let by_hand = NetworkPolicy::new("web-in", &web)
    ///     .ingress(Traffic::with(Peer::network("10.0.0.0/8").except("10.9.0.0/16")).port("http"));
    /// ```
    /// Source: <https://kubernetes.io/docs/concepts/services-networking/network-policies/>
    namespaced NetworkPolicy(networking::NetworkPolicy)
}

part! {
    /// The other side of a connection.
    ///
    /// A reference to a workload stands for its pods.
    ///
    /// ```
    /// use kprov::build::*;
    /// let office = Peer::network("10.0.0.0/8").except("10.9.0.0/16");
    /// let monitoring = Peer::namespace("monitoring");
    /// ```
    Peer(networking::NetworkPolicyPeer)
}

/// Connections with some peers on some ports; on all ports when none is named.
///
/// A [`Peer`], or a reference to a workload, stands for all its connections.
///
/// ```
/// use kprov::build::*;
/// let web = Deployment::new("web", Container::new("web", "nginx:1.27").port("http", 80));
/// let traffic = Traffic::with(&web).and(Peer::namespace("monitoring")).port("http");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Traffic {
    peers: Vec<networking::NetworkPolicyPeer>,
    ports: Vec<networking::NetworkPolicyPort>,
}

/// Who it is.
///
/// ```
/// # use kprov::build::*;
/// let web = Deployment::new("web", Container::new("web", "shop:1"));
/// let peers = [
///     Peer::pods(&web),
///     Peer::neighbours(),
///     Peer::namespace("monitoring"),
///     Peer::namespaces("team", "shop"),
///     // The pods of `web` in every namespace of the team, not only in the policy's own.
///     Peer::pods(&web).namespace_label("team", "shop"),
///     Peer::network("10.0.0.0/8").except("10.9.0.0/16"),
/// ];
/// assert!(peers[4].build().pod_selector.is_some() && peers[4].build().namespace_selector.is_some());
/// ```
impl Peer {
    /// The pods of a workload, in the policy's own namespace.
    #[must_use]
    pub fn pods(of: &impl Selects) -> Self {
        let pod_selector = Some(of.label_selector());
        Self(networking::NetworkPolicyPeer { pod_selector, ..networking::NetworkPolicyPeer::default() })
    }

    /// All pods of the policy's own namespace.
    #[must_use]
    pub fn neighbours() -> Self {
        let pod_selector = Some(LabelSelector::default());
        Self(networking::NetworkPolicyPeer { pod_selector, ..networking::NetworkPolicyPeer::default() })
    }

    /// All pods of the namespace of that name.
    #[must_use]
    #[track_caller]
    pub fn namespace(name: impl Of<super::DnsLabel>) -> Self {
        Self(networking::NetworkPolicyPeer::default())
            .namespace_label("kubernetes.io/metadata.name", label(name.checked()))
    }

    /// All pods of the namespaces with that label.
    #[must_use]
    #[track_caller]
    pub fn namespaces(key: impl Of<Key>, value: impl Of<LabelValue>) -> Self {
        Self(networking::NetworkPolicyPeer::default()).namespace_label(key, value)
    }

    /// All addresses of a network outside the cluster.
    #[must_use]
    #[track_caller]
    pub fn network(network: impl Of<Network>) -> Self {
        let ip_block = Some(networking::IPBlock { cidr: network.checked().into(), except: None });
        Self(networking::NetworkPolicyPeer { ip_block, ..networking::NetworkPolicyPeer::default() })
    }

    /// But for this part of the network.
    ///
    /// Panics when the peer is no network.
    #[must_use]
    #[track_caller]
    pub fn except(mut self, network: impl Of<Network>) -> Self {
        let block = self.0.ip_block.as_mut().expect("only a network has exceptions: `Peer::network(..).except(..)`");
        block.except.get_or_insert_default().push(network.checked().into());
        self
    }

    /// Only where the namespace has that label.
    #[must_use]
    #[track_caller]
    pub fn namespace_label(mut self, key: impl Of<Key>, value: impl Of<LabelValue>) -> Self {
        assert!(self.0.ip_block.is_none(), "a network is in no namespace");
        let labels = self.0.namespace_selector.get_or_insert_default().match_labels.get_or_insert_default();
        labels.insert(key.checked().into(), value.checked().into());
        self
    }
}

#[track_caller]
fn label(name: super::DnsLabel) -> LabelValue {
    name.as_str().parse().unwrap_or_else(|error| panic!("{error}"))
}

/// With whom, and on which ports.
///
/// ```
/// # use kprov::build::*;
/// let public = Traffic::with_all().port(443).udp_port(443);
/// let inside = Traffic::with(Peer::neighbours()).and(Peer::namespace("monitoring")).port("metrics");
/// ```
impl Traffic {
    /// With that peer.
    #[must_use]
    pub fn with(peer: impl Into<Peer>) -> Self {
        Self { peers: vec![peer.into().0], ports: Vec::new() }
    }

    /// With everybody.
    #[must_use]
    pub fn with_all() -> Self {
        Self { peers: Vec::new(), ports: Vec::new() }
    }

    /// With that peer too.
    #[must_use]
    pub fn and(mut self, peer: impl Into<Peer>) -> Self {
        self.peers.push(peer.into().0);
        self
    }

    /// Only on this TCP port of the side that is called; called again, on this one too.
    #[must_use]
    #[track_caller]
    pub fn port(self, port: impl Of<Target>) -> Self {
        self.push("TCP", port.checked())
    }

    /// The same over UDP.
    #[must_use]
    #[track_caller]
    pub fn udp_port(self, port: impl Of<Target>) -> Self {
        self.push("UDP", port.checked())
    }

    fn push(mut self, protocol: &str, port: Target) -> Self {
        let protocol = Some(protocol.to_owned());
        self.ports.push(networking::NetworkPolicyPort { port: Some(port.into()), protocol, end_port: None });
        self
    }

    fn parts(self) -> (Option<Vec<networking::NetworkPolicyPeer>>, Option<Vec<networking::NetworkPolicyPort>>) {
        (Some(self.peers).filter(|peers| !peers.is_empty()), Some(self.ports).filter(|ports| !ports.is_empty()))
    }
}

impl From<Peer> for Traffic {
    fn from(peer: Peer) -> Self {
        Self::with(peer)
    }
}

impl<T: Selects> From<&T> for Peer {
    fn from(pods: &T) -> Self {
        Self::pods(pods)
    }
}

impl<T: Selects> From<&T> for Traffic {
    fn from(pods: &T) -> Self {
        Self::with(pods)
    }
}

/// What it lets through.
///
/// ```
/// # use kprov::build::*;
/// let nothing = NetworkPolicy::for_all("nothing").no_egress();
/// let web = Deployment::new("web", Container::new("web", "shop:1"));
/// let few = NetworkPolicy::new("web", &web)
///     .ingress(Traffic::with_all().port(8080))
///     .egress(Traffic::with(Peer::network("10.0.0.0/8")).port(5432))
///     .dns();
/// assert_eq!(few.build().spec.unwrap().egress.unwrap().len(), 2);
/// ```
impl NetworkPolicy {
    /// A policy about a workload's pods, which so far lets nothing in and everything out.
    #[must_use]
    #[track_caller]
    pub fn new(name: impl Of<Name>, pods: &impl Selects) -> Self {
        Self::about(name, pods.label_selector())
    }

    /// The same about all pods of the namespace.
    #[must_use]
    #[track_caller]
    pub fn for_all(name: impl Of<Name>) -> Self {
        Self::about(name, LabelSelector::default())
    }

    #[track_caller]
    fn about(name: impl Of<Name>, pods: LabelSelector) -> Self {
        let spec = networking::NetworkPolicySpec {
            pod_selector: Some(pods),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ..networking::NetworkPolicySpec::default()
        };
        Self(networking::NetworkPolicy { metadata: named(name.checked()), spec: Some(spec) })
    }

    fn spec(&mut self) -> &mut networking::NetworkPolicySpec {
        self.0.spec.get_or_insert_default()
    }

    /// Lets this in.
    #[must_use]
    pub fn ingress(mut self, traffic: impl Into<Traffic>) -> Self {
        let (from, ports) = traffic.into().parts();
        self.spec().ingress.get_or_insert_default().push(networking::NetworkPolicyIngressRule { from, ports });
        self
    }

    /// Lets nothing out but what [`NetworkPolicy::egress`] names. That includes questions to the cluster's DNS.
    #[must_use]
    pub fn no_egress(mut self) -> Self {
        let types = self.spec().policy_types.get_or_insert_default();
        if !types.iter().any(|one| one == "Egress") {
            types.push("Egress".to_owned());
        }
        self
    }

    /// Lets this out, and no longer everything.
    #[must_use]
    pub fn egress(mut self, traffic: impl Into<Traffic>) -> Self {
        let (to, ports) = traffic.into().parts();
        self.spec().egress.get_or_insert_default().push(networking::NetworkPolicyEgressRule { to, ports });
        self.no_egress()
    }

    /// Lets the pods ask the cluster's DNS, which they need to find anything by name.
    #[must_use]
    pub fn dns(self) -> Self {
        let dns = Peer::namespace("kube-system").edit(|raw| {
            let labels = std::iter::once(("k8s-app".to_owned(), "kube-dns".to_owned())).collect();
            raw.pod_selector = Some(LabelSelector { match_labels: Some(labels), match_expressions: None });
        });
        self.egress(Traffic::with(dns).udp_port(53).port(53))
    }
}

/// Who may call a workload.
///
/// ```
/// use kprov::build::*;
/// let web = Deployment::new("web", Container::new("web", "nginx:1.27").port("http", 80));
/// let db = Deployment::new("db", Container::new("db", "mysql:8"));
/// let policy = db.allow_from(&web);
/// ```
pub trait Guarded: Selects + Object {
    /// A policy that lets only the other's pods call this workload's; it is named after both.
    ///
    /// ```
    /// use kprov::build::*;
    /// let web = Deployment::new("web", Container::new("web", "shop:1"));
    /// let db = StatefulSet::new("db", Container::new("mysql", "mysql:8").port("mysql", 3306));
    /// assert_eq!(db.allow_from(&web).build().metadata.name.as_deref(), Some("db-from-web"));
    /// ```
    #[must_use]
    #[track_caller]
    fn allow_from(&self, other: &(impl Selects + Object)) -> NetworkPolicy {
        let name: Name =
            format!("{}-from-{}", self.name(), other.name()).parse().unwrap_or_else(|error| panic!("{error}"));
        let mut policy = NetworkPolicy::new(name, self).ingress(other);
        policy.0.metadata.namespace.clone_from(&self.meta().namespace);
        policy
    }
}

impl<T: Selects + Object> Guarded for T {}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::build::{Container, Deployment, Workload};

    fn web() -> Deployment {
        Deployment::new("web", Container::new("web", "shop:1")).labelled("app", "web")
    }

    #[test]
    fn a_policy_names_both_sides() {
        let db = Deployment::new("db", Container::new("db", "mysql:8")).labelled("app", "db").namespace("shop");
        let policy = serde_json::to_value(db.allow_from(&web())).unwrap();
        assert_eq!(policy["metadata"], json!({"name": "db-from-web", "namespace": "shop"}));
        assert_eq!(
            policy["spec"],
            json!({"podSelector": {"matchLabels": {"app": "db"}}, "policyTypes": ["Ingress"],
                   "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]}]})
        );
    }

    #[test]
    fn what_goes_out_is_closed_by_its_first_rule() {
        let policy = NetworkPolicy::new("web", &web())
            .egress(Traffic::with(Peer::network("10.0.0.0/8").except("10.9.0.0/16")).port(443))
            .dns();
        let spec = serde_json::to_value(policy).unwrap()["spec"].clone();
        assert_eq!(spec["policyTypes"], json!(["Ingress", "Egress"]));
        assert_eq!(spec["egress"][0]["to"], json!([{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.9.0.0/16"]}}]));
        assert_eq!(spec["egress"][1]["ports"][0], json!({"port": 53, "protocol": "UDP"}));
    }

    #[test]
    fn networks_have_a_prefix() {
        assert!("10.0.0.0/8".parse::<Network>().is_ok() && "fd00::/8".parse::<Network>().is_ok());
        for bad in ["10.0.0.0", "10.0.0.0/33", "10.0.0/8", ""] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }
}
