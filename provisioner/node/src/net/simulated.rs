//! A pod network without a kernel: it only hands out addresses.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;
use kprov_control_plane::informer::Caches;
use kprov_control_plane::world::World;
use kprov_schema::{Resource, Uid};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::follow::{Follow, Following};
use super::{Attachment, NetError, PodNetwork};

/// Addresses of one node's range, by pod.
#[derive(Debug)]
pub struct SimulatedNetwork {
    range: watch::Sender<Option<IpNet>>,
    node: IpAddr,
    dns: IpAddr,
    pods: Mutex<BTreeMap<Uid, IpAddr>>,
}

impl SimulatedNetwork {
    /// A network without a range yet: pods wait until [`SimulatedNetwork::set_pod_range`] tells it.
    #[must_use]
    pub fn new(node: IpAddr, dns: IpAddr) -> Self {
        Self { range: watch::Sender::new(None), node, dns, pods: Mutex::new(BTreeMap::new()) }
    }

    /// Tells the range that pods have addresses of; its first address is the node's gateway.
    pub fn set_pod_range(&self, range: IpNet) {
        self.range.send_replace(Some(range));
    }

    fn pods(&self) -> std::sync::MutexGuard<'_, BTreeMap<Uid, IpAddr>> {
        self.pods.lock().expect("no code panics while it holds the lock")
    }
}

impl PodNetwork for SimulatedNetwork {
    fn attach<'a>(&'a self, pod: &'a Uid) -> BoxFuture<'a, Result<Attachment, NetError>> {
        Box::pin(async move {
            let mut ready = self.range.subscribe();
            let range = ready.wait_for(Option::is_some).await.expect("the sender lives in self");
            let range = range.expect("waited for a range");
            let mut pods = self.pods();
            if let Some(address) = pods.get(pod) {
                return Ok(Attachment { netns: None, address: *address });
            }
            let used: std::collections::BTreeSet<IpAddr> = pods.values().copied().collect();
            let free = range.hosts().skip(1).find(|address| !used.contains(address));
            let address = free.ok_or_else(|| NetError::Exhausted(range.to_string()))?;
            pods.insert(pod.clone(), address);
            Ok(Attachment { netns: None, address })
        })
    }

    fn detach<'a>(&'a self, pod: &'a Uid) -> BoxFuture<'a, Result<(), NetError>> {
        Box::pin(async move {
            self.pods().remove(pod);
            Ok(())
        })
    }

    fn attached(&self) -> BoxFuture<'_, Result<Vec<(Uid, Attachment)>, NetError>> {
        Box::pin(async move {
            let all = self.pods();
            Ok(all.iter().map(|(pod, address)| (pod.clone(), Attachment { netns: None, address: *address })).collect())
        })
    }

    fn host(&self) -> Attachment {
        Attachment { netns: None, address: self.node }
    }

    fn connect(&self, _to: SocketAddr) -> BoxFuture<'_, io::Result<Option<TcpStream>>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn listen(&self, _port: u16) -> BoxFuture<'_, io::Result<Option<TcpListener>>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn dial<'a>(&'a self, _pod: Option<&'a Uid>, _port: u16) -> BoxFuture<'a, io::Result<TcpStream>> {
        let refusal = io::Error::new(io::ErrorKind::Unsupported, "nothing listens in simulated pods");
        Box::pin(std::future::ready(Err(refusal)))
    }

    fn node_address(&self) -> IpAddr {
        self.node
    }

    fn dns_address(&self) -> IpAddr {
        self.dns
    }
}

/// A simulated cluster may have thousands of nodes: each is told of its range and wakes for nothing else.
impl Follow for SimulatedNetwork {
    fn follow(self: Arc<Self>, name: String, caches: Arc<Caches>, _world: &World) -> Following {
        let nodes = caches.get(&Resource::of::<Node>()).expect("nodes are looked at for whoever follows");
        let told = Arc::downgrade(&self);
        nodes.subscribe(move |change| {
            let own = change.latest().filter(|entry| entry.key.name == name);
            let range = own.and_then(|entry| entry.raw.text(&["spec", "podCIDR"])?.parse().ok());
            if let (Some(range), Some(network)) = (range, told.upgrade()) {
                network.set_pod_range(range);
            }
        });
        Following::by(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_are_given_back() {
        let range = "10.0.0.0/30".parse().expect("a range");
        let net = SimulatedNetwork::new([172, 16, 0, 1].into(), [10, 96, 0, 10].into());
        net.set_pod_range(range);
        let (one, two) = (Uid("1".to_owned()), Uid("2".to_owned()));
        let first = net.attach(&one).await.expect("one is free");
        assert_eq!(first.address, IpAddr::from([10, 0, 0, 2]));
        assert_eq!(net.attach(&one).await.expect("it has one"), first);
        assert!(matches!(net.attach(&two).await, Err(NetError::Exhausted(_))));
        net.detach(&one).await.expect("given back");
        assert_eq!(net.attach(&two).await.expect("free again"), first);
        assert_eq!(net.attached().await.expect("a list").len(), 1);
    }
}
