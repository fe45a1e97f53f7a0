//! The sorts of services, and what each can be asked for.

/// A sort of service, as a type.
///
/// ```
/// use kprov::build::*;
/// assert_eq!(NodePort::NAME, "NodePort");
/// ```
pub trait ServiceSort {
    /// What it is called: its `type`, or `headless`.
    const NAME: &'static str;
}

/// A sort of service that has pods and ports behind it.
///
/// ```
/// use kprov::build::*;
/// let web = Service::new("web", [("app", "web")]).port(80, 8080);
/// ```
#[diagnostic::on_unimplemented(
    message = "a service of sort `{Self}` has no ports",
    label = "it only gives a host elsewhere a name",
    note = "make it with `Service::new(name, &workload)` to have pods behind it"
)]
pub trait Reached {}

/// A sort of service that is reached through ports of nodes.
///
/// ```
/// use kprov::build::*;
/// let web = Service::new("web", [("app", "web")]).port(80, 8080).node_port().at(30080);
/// ```
#[diagnostic::on_unimplemented(
    message = "a service of sort `{Self}` has no port on nodes",
    label = "not reached through nodes",
    note = "say `.node_port()` or `.load_balancer()` before it"
)]
pub trait OnNodes: Reached {}

/// A sort of service that a load balancer is in front of.
///
/// ```
/// use kprov::build::*;
/// let web = Service::new("web", [("app", "web")]).port(80, 8080).load_balancer().from_network("10.0.0.0/8");
/// ```
#[diagnostic::on_unimplemented(
    message = "a service of sort `{Self}` has no load balancer",
    label = "no load balancer in front of it",
    note = "say `.load_balancer()` before it"
)]
pub trait Balanced: OnNodes {}

macro_rules! sorts {
    ($($(#[$meta:meta])* $name:ident = $text:literal: $($has:ident),*;)*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {}

        impl ServiceSort for $name {
            const NAME: &'static str = $text;
        }

        $(impl $has for $name {})*
    )*};
}

sorts! {
    /// Reached inside the cluster, at an address of its own.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let inside: Service<ClusterIp> = Service::new("web", [("app", "web")]).port(80, "http");
    /// ```
    ClusterIp = "ClusterIP": Reached;
    /// Without an address: its name leads to the pods themselves.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let peers: Service<Headless> = Service::new("peers", [("app", "db")]).port(5432, 5432).headless();
    /// ```
    Headless = "headless": Reached;
    /// Reached at a port of every node too.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let outside: Service<NodePort> = Service::new("web", [("app", "web")]).port(80, "http").node_port();
    /// ```
    NodePort = "NodePort": Reached, OnNodes;
    /// Reached at an address outside the cluster too.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let public: Service<LoadBalancer> = Service::new("web", [("app", "web")]).port(443, "https").load_balancer();
    /// ```
    LoadBalancer = "LoadBalancer": Reached, OnNodes, Balanced;
    /// A name for a host elsewhere.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let cloud: Service<ExternalName> = Service::external_name("cloud", "db.example.com");
    /// ```
    ExternalName = "ExternalName": ;
}

/// A service from outside, of whatever sort; [`super::Service::of_sort`] finds out.
///
/// ```
/// use kprov::build::*;
/// let raw = Service::new("web", [("app", "web")]).build();
/// let service: Service<Any> = raw.into();
/// let inside = service.of_sort::<ClusterIp>().expect("it has no type of its own");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Any {}

impl Reached for Any {}
