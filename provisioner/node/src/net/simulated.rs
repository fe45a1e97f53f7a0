//! A pod network without a kernel: it only hands out addresses.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Mutex;

use futures::future::BoxFuture;
use ipnet::IpNet;
use kprov_schema::Uid;

use super::{Attachment, NetError, PodNetwork};

/// Addresses of one node's range, by pod.
#[derive(Debug)]
pub struct SimulatedNetwork {
    range: IpNet,
    node: IpAddr,
    dns: IpAddr,
    pods: Mutex<BTreeMap<Uid, IpAddr>>,
}

impl SimulatedNetwork {
    /// A network whose pods have addresses of `range`; its first address is the node's gateway.
    #[must_use]
    pub fn new(range: IpNet, node: IpAddr, dns: IpAddr) -> Self {
        Self { range, node, dns, pods: Mutex::new(BTreeMap::new()) }
    }

    fn pods(&self) -> std::sync::MutexGuard<'_, BTreeMap<Uid, IpAddr>> {
        self.pods.lock().expect("no code panics while it holds the lock")
    }
}

impl PodNetwork for SimulatedNetwork {
    fn attach<'a>(&'a self, pod: &'a Uid) -> BoxFuture<'a, Result<Attachment, NetError>> {
        Box::pin(async move {
            let mut pods = self.pods();
            if let Some(address) = pods.get(pod) {
                return Ok(Attachment { netns: None, address: *address });
            }
            let used: std::collections::BTreeSet<IpAddr> = pods.values().copied().collect();
            let free = self.range.hosts().skip(1).find(|address| !used.contains(address));
            let address = free.ok_or_else(|| NetError::Exhausted(self.range.to_string()))?;
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

    fn node_address(&self) -> IpAddr {
        self.node
    }

    fn dns_address(&self) -> IpAddr {
        self.dns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_are_given_back() {
        let range = "10.0.0.0/30".parse().expect("a range");
        let net = SimulatedNetwork::new(range, [172, 16, 0, 1].into(), [10, 96, 0, 10].into());
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
