//! Pod network, service proxy and DNS of one node.

#[cfg(containers)]
pub mod dns;
pub mod endpoints;
pub mod follow;
#[cfg(containers)]
pub mod link;
#[cfg(containers)]
pub mod linux;
#[cfg(containers)]
pub mod netns;
#[cfg(containers)]
pub mod nft;
#[cfg(containers)]
pub mod proxy;
pub mod simulated;
#[cfg(containers)]
pub mod underlay;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use futures::future::BoxFuture;
use ipnet::Ipv4Net;
use kprov_schema::Uid;
use tokio::net::{TcpListener, TcpStream};

/// Nodes with a network of their own that one machine carries.
pub const MOST_NODES: u32 = 200;

/// Addresses that the whole cluster shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranges {
    /// Every service address.
    pub services: Ipv4Net,
    /// Every pod address.
    pub pods: Ipv4Net,
    /// The service address that answers names.
    pub dns: Ipv4Addr,
}

/// Where a pod is attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Path of the pod's network namespace, for [`crate::runtime::SandboxSpec::netns`]; `None` without a kernel behind.
    pub netns: Option<PathBuf>,
    /// The pod's address.
    pub address: IpAddr,
}

/// Why the network could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// Every address of the node's range is in use.
    #[error("no address is left in {0}")]
    Exhausted(String),
    /// The kernel said no.
    #[error("{what}")]
    System {
        /// What was being done, and to what.
        what: String,
        /// The cause.
        #[source]
        source: crate::runtime::Cause,
    },
}

impl NetError {
    /// What the kernel refused, and why.
    pub fn system(what: String, source: impl Into<crate::runtime::Cause>) -> Self {
        Self::System { what, source: source.into() }
    }
}

/// Attaches pods to a node's network. Attaching and detaching may be done again after a crash.
pub trait PodNetwork: Send + Sync + 'static {
    /// Gives the pod a namespace, a link and an address; the same ones when it already has them.
    fn attach<'a>(&'a self, pod: &'a Uid) -> BoxFuture<'a, Result<Attachment, NetError>>;
    /// Takes them away. A pod that has none is no error.
    fn detach<'a>(&'a self, pod: &'a Uid) -> BoxFuture<'a, Result<(), NetError>>;
    /// Pods that are attached.
    fn attached(&self) -> BoxFuture<'_, Result<Vec<(Uid, Attachment)>, NetError>>;
    /// The node's own namespace and address, for pods that share its network.
    fn host(&self) -> Attachment;
    /// Connects to an address as the node itself does; `None` where there is no network, and everything is taken to answer.
    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<Option<TcpStream>>>;
    /// Listens at a port of the node's address; `None` where there is no network, and nobody can come.
    fn listen(&self, port: u16) -> BoxFuture<'_, io::Result<Option<TcpListener>>>;
    /// Connects to a port inside a pod, or of the node, as a process there does to `localhost`. Errors: nobody listens, or
    /// there is no network.
    fn dial<'a>(&'a self, pod: Option<&'a Uid>, port: u16) -> BoxFuture<'a, io::Result<TcpStream>>;
    /// Address of the node itself.
    fn node_address(&self) -> IpAddr;
    /// The address that pods ask for names, for their `resolv.conf`.
    fn dns_address(&self) -> IpAddr;
}
