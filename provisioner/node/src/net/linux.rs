//! The network of one node: a namespace with a bridge, a link for every pod, routes to the other nodes.

mod follower;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use futures::future::BoxFuture;
use ipnet::Ipv4Net;
use kprov_schema::Uid;
use sha2::{Digest, Sha256};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

use super::link::Links;
use super::proxy::NodeView;
use super::underlay::{Underlay, files};
use super::{Attachment, NetError, PodNetwork, Ranges, netns, nft};

const BRIDGE: &str = "cni0";
const UPLINK: &str = "eth0";
const EVERYWHERE: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0);

/// What a node sets in its namespace, below `net.ipv4`.
const SETTINGS: &[(&str, &str)] = &[
    ("ip_forward", "1"),
    // Service addresses are routed to the link that they came from: nobody needs to be told of a better way.
    ("conf/all/send_redirects", "0"),
    ("conf/default/send_redirects", "0"),
    // Every connection to a service without endpoints is refused at once, not one a second.
    ("icmp_ratelimit", "0"),
];

/// The network of one node in a namespace of its own. Cheap to clone.
#[derive(Clone)]
pub struct LinuxNetwork(Arc<Inner>);

struct Inner {
    folder: PathBuf,
    address: Ipv4Addr,
    host: Ipv4Addr,
    underlay: Ipv4Net,
    ranges: Ranges,
    pods: watch::Sender<Option<Ipv4Net>>,
    taken: Mutex<BTreeMap<String, Ipv4Addr>>,
    peers: Mutex<BTreeMap<Ipv4Net, Ipv4Addr>>,
}

impl LinuxNetwork {
    /// Makes the node's namespace and plugs it into the underlay; what is there already is used.
    ///
    /// `index` gives the node its address and must be its own for as long as the cluster lives.
    pub fn open(underlay: &Underlay, node: &str, index: u32, ranges: Ranges) -> Result<Self, NetError> {
        let folder = underlay.folder(node);
        let what = || format!("making the network of node {node}");
        build_node(underlay, &folder, index).map_err(|error| NetError::system(what(), error))?;
        let taken = recorded(&folder).map_err(|error| NetError::system(what(), error))?;
        Ok(Self(Arc::new(Inner {
            folder,
            address: underlay.node(index),
            host: underlay.host(),
            underlay: underlay.subnet,
            ranges,
            pods: watch::Sender::new(None),
            taken: Mutex::new(taken),
            peers: Mutex::default(),
        })))
    }

    /// Cuts a node off as if it lost power: its link, its namespace and those of its pods go. Safe to run again.
    ///
    /// Nothing may use the node's network any more; [`LinuxNetwork::open`] makes it anew. Pods keep their addresses
    /// until they are detached.
    pub fn cut(underlay: &Underlay, node: &str, index: u32) -> Result<(), NetError> {
        let folder = underlay.folder(node);
        let work = || -> io::Result<()> {
            Links::here().delete_if_there(&underlay.node_link(index))?;
            files(&folder.join("pods"))?.iter().try_for_each(|namespace| netns::remove(namespace))?;
            netns::remove(&folder.join("node"))
        };
        work().map_err(|error| NetError::system(format!("cutting the network of node {node}"), error))
    }

    /// Path of the node's own network namespace.
    #[must_use]
    pub fn namespace(&self) -> PathBuf {
        self.0.folder.join("node")
    }

    /// Address of the node.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.0.address
    }

    /// The node as the rules of its services see it.
    #[must_use]
    pub fn view(&self, name: &str) -> NodeView {
        let Inner { address, host, underlay, ranges, .. } = *self.0;
        NodeView { name: name.to_owned(), address, pods: ranges.pods, underlay, host }
    }

    /// The ranges of the cluster.
    #[must_use]
    pub fn ranges(&self) -> Ranges {
        self.0.ranges
    }

    /// The range that the node's pods take addresses from, once it is known.
    #[must_use]
    pub fn pod_range(&self) -> Option<Ipv4Net> {
        *self.0.pods.borrow()
    }

    /// Tells the node its pod range: makes the bridge, after which pods can be attached.
    pub fn set_pod_range(&self, range: Ipv4Net) -> Result<(), NetError> {
        let services = self.0.ranges.services;
        self.within(&format!("making the pod bridge for {range}"), move || {
            let mut links = Links::here();
            let bridge = links.bridge(BRIDGE)?;
            links.address(bridge, with_length(gateway(range), range))?;
            // Without a route for them, the node itself could not send to service addresses.
            links.route(services, bridge, None)
        })?;
        self.0.pods.send_replace(Some(range));
        Ok(())
    }

    /// Sends each pod range to the node that has it. Ranges that are left out are forgotten.
    pub fn set_peers(&self, peers: &BTreeMap<Ipv4Net, Ipv4Addr>) -> Result<(), NetError> {
        let mut known = lock(&self.0.peers);
        let before = known.clone();
        self.within("setting the routes to the other nodes", || {
            let mut links = Links::here();
            let uplink = links.index(UPLINK)?.ok_or_else(|| io::Error::other("the node has lost its uplink"))?;
            for range in before.keys().filter(|range| !peers.contains_key(range)) {
                links.unroute(*range)?;
            }
            for (range, via) in peers.iter().filter(|(range, via)| before.get(range) != Some(via)) {
                links.route(*range, uplink, Some(*via))?;
            }
            Ok(())
        })?;
        known.clone_from(peers);
        Ok(())
    }

    /// Replaces the node's rules for services.
    pub fn set_rules(&self, table: &nft::Table) -> Result<(), NetError> {
        self.within("setting the service rules", || nft::replace(table))
    }

    /// Runs `work` inside the node's namespace.
    pub fn within<T: Send>(&self, what: &str, work: impl FnOnce() -> io::Result<T> + Send) -> Result<T, NetError> {
        netns::within(&self.namespace(), work).flatten().map_err(|error| NetError::system(what.to_owned(), error))
    }

    /// Completes with the pod range as soon as it is known.
    pub async fn ready(&self) -> Ipv4Net {
        let mut range = self.0.pods.subscribe();
        let found = range.wait_for(Option::is_some).await.expect("the sender lives in self");
        found.expect("waited for a range")
    }

    fn attach_now(&self, pod: &Uid, range: Ipv4Net) -> Result<Attachment, NetError> {
        let address = self.reserve(pod, range)?;
        let namespace = self.pod_namespace(pod);
        let what = format!("attaching pod {pod} at {address}");
        let build = || -> io::Result<()> {
            netns::make(&namespace)?;
            let inside = File::open(&namespace)?;
            let link = pod_link(pod);
            netns::within(&self.namespace(), || plug(&link, &inside, address))??;
            netns::within(&namespace, || dress(address, range))?
        };
        build().map_err(|error| NetError::system(what, error))?;
        Ok(Attachment { netns: Some(namespace), address: IpAddr::V4(address) })
    }

    fn detach_now(&self, pod: &Uid) -> Result<(), NetError> {
        let what = format!("detaching pod {pod}");
        let link = pod_link(pod);
        self.within(&what, || Links::here().delete_if_there(&link))?;
        netns::remove(&self.pod_namespace(pod)).map_err(|error| NetError::system(what.clone(), error))?;
        let record = self.0.folder.join("addresses").join(&pod.0);
        match fs::remove_file(record) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(NetError::system(what, error)),
            _ => {}
        }
        lock(&self.0.taken).remove(&pod.0);
        Ok(())
    }

    fn pod_namespace(&self, pod: &Uid) -> PathBuf {
        self.0.folder.join("pods").join(&pod.0)
    }

    /// The pod's address, recorded before it is used: after a crash nobody else gets it.
    fn reserve(&self, pod: &Uid, range: Ipv4Net) -> Result<Ipv4Addr, NetError> {
        let mut taken = lock(&self.0.taken);
        if let Some(address) = taken.get(&pod.0) {
            return Ok(*address);
        }
        let used: BTreeSet<Ipv4Addr> = taken.values().copied().collect();
        let free = range.hosts().skip(1).find(|address| !used.contains(address));
        let address = free.ok_or_else(|| NetError::Exhausted(range.to_string()))?;
        let folder = self.0.folder.join("addresses");
        let record = || -> io::Result<()> {
            fs::create_dir_all(&folder)?;
            fs::write(folder.join(&pod.0), address.to_string())
        };
        record().map_err(|error| NetError::system(format!("recording the address of pod {pod}"), error))?;
        taken.insert(pod.0.clone(), address);
        Ok(address)
    }
}

impl PodNetwork for LinuxNetwork {
    fn attach<'a>(&'a self, pod: &'a Uid) -> BoxFuture<'a, Result<Attachment, NetError>> {
        Box::pin(async move {
            let range = self.ready().await;
            let (network, pod) = (self.clone(), pod.clone());
            blocking(move || network.attach_now(&pod, range)).await
        })
    }

    fn detach<'a>(&'a self, pod: &'a Uid) -> BoxFuture<'a, Result<(), NetError>> {
        let (network, pod) = (self.clone(), pod.clone());
        Box::pin(blocking(move || network.detach_now(&pod)))
    }

    fn attached(&self) -> BoxFuture<'_, Result<Vec<(Uid, Attachment)>, NetError>> {
        let attached = lock(&self.0.taken)
            .iter()
            .map(|(pod, address)| {
                let pod = Uid(pod.clone());
                let netns = Some(self.pod_namespace(&pod));
                (pod, Attachment { netns, address: IpAddr::V4(*address) })
            })
            .collect();
        Box::pin(async move { Ok(attached) })
    }

    fn host(&self) -> Attachment {
        Attachment { netns: Some(self.namespace()), address: self.node_address() }
    }

    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<Option<TcpStream>>> {
        let namespace = self.namespace();
        Box::pin(async move { connect_within(namespace, to).await.map(Some) })
    }

    fn dial<'a>(&'a self, pod: Option<&'a Uid>, port: u16) -> BoxFuture<'a, io::Result<TcpStream>> {
        let namespace = pod.map_or_else(|| self.namespace(), |pod| self.pod_namespace(pod));
        Box::pin(async move {
            let first = match connect_within(namespace.clone(), (Ipv4Addr::LOCALHOST, port).into()).await {
                Ok(stream) => return Ok(stream),
                Err(error) => error,
            };
            let second = match connect_within(namespace, (Ipv6Addr::LOCALHOST, port).into()).await {
                Ok(stream) => return Ok(stream),
                Err(error) => error,
            };
            Err(io::Error::new(first.kind(), format!("IPv4: {first}, IPv6: {second}")))
        })
    }

    fn listen(&self, port: u16) -> BoxFuture<'_, io::Result<Option<TcpListener>>> {
        let (network, at) = (self.clone(), SocketAddr::new(self.node_address(), port));
        let make = move || {
            let listener = std::net::TcpListener::bind(at)?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        let what = format!("listening at {at}");
        Box::pin(async move {
            let listener = blocking(move || network.within(&what, make)).await.map_err(io::Error::other)?;
            TcpListener::from_std(listener).map(Some)
        })
    }

    fn node_address(&self) -> IpAddr {
        IpAddr::V4(self.0.address)
    }

    fn dns_address(&self) -> IpAddr {
        IpAddr::V4(self.0.ranges.dns)
    }
}

async fn connect_within(namespace: PathBuf, to: SocketAddr) -> io::Result<TcpStream> {
    // A socket belongs to the namespace that it was made in.
    let make = move || if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let entered =
        move || netns::within(&namespace, make).flatten().map_err(|error| NetError::system(UNMADE.into(), error));
    let socket = blocking(entered).await.map_err(|error| match error {
        NetError::System { what, source } => io::Error::other(format!("{what}: {source}")),
        other => io::Error::other(other),
    })?;
    socket.connect(to).await
}

const UNMADE: &str = "making a socket";

/// Runs work that enters namespaces on a thread that may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, NetError> + Send + 'static,
) -> Result<T, NetError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(NetError::system("network work panicked".to_owned(), io::Error::other(error))))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of this lock panics")
}

/// The address of a range that its bridge has.
fn gateway(range: Ipv4Net) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(range.network()) + 1)
}

fn with_length(address: Ipv4Addr, range: Ipv4Net) -> Ipv4Net {
    Ipv4Net::new(address, range.prefix_len()).expect("the length comes from a valid range")
}

fn recorded(folder: &Path) -> io::Result<BTreeMap<String, Ipv4Addr>> {
    let mut taken = BTreeMap::new();
    for path in files(&folder.join("addresses"))? {
        let pod = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // A record that was cut short by a crash is of a pod that was never told its address.
        if let Ok(address) = fs::read_to_string(&path)?.parse() {
            taken.insert(pod, address);
        }
    }
    Ok(taken)
}

fn build_node(underlay: &Underlay, folder: &Path, index: u32) -> io::Result<()> {
    let namespace = folder.join("node");
    netns::make(&namespace)?;
    let link = underlay.node_link(index);
    let mut links = Links::here();
    let bridge = links.bridge(&underlay.bridge)?;
    let address = underlay.node(index);
    if links.index(&link)?.is_none() {
        links.veth(&link, UPLINK, File::open(&namespace)?.as_fd(), mac(address))?;
    }
    let port = links.index(&link)?.ok_or_else(|| io::Error::other(format!("link {link} is gone again")))?;
    links.enslave(port, bridge, false)?;
    links.up(port)?;
    netns::within(&namespace, || {
        SETTINGS.iter().try_for_each(|(name, value)| fs::write(format!("/proc/sys/net/ipv4/{name}"), value))?;
        let mut links = Links::here();
        let uplink = links.index(UPLINK)?.ok_or_else(|| io::Error::other("the uplink did not come up"))?;
        links.address(uplink, underlay.net_of(address))?;
        links.up(uplink)?;
        links.route(EVERYWHERE, uplink, Some(underlay.host()))
    })?
}

/// In the node: a link to the pod, as a port of the pod bridge.
fn plug(link: &str, inside: &File, address: Ipv4Addr) -> io::Result<()> {
    let mut links = Links::here();
    if links.index(link)?.is_none() {
        links.veth(link, UPLINK, inside.as_fd(), mac(address))?;
    }
    let port = links.index(link)?.ok_or_else(|| io::Error::other(format!("link {link} is gone again")))?;
    let bridge = links.index(BRIDGE)?.ok_or_else(|| io::Error::other("the pod bridge is gone"))?;
    links.enslave(port, bridge, true)?;
    links.up(port)
}

/// In the pod: its address, and everything else by way of the bridge.
fn dress(address: Ipv4Addr, range: Ipv4Net) -> io::Result<()> {
    let mut links = Links::here();
    let uplink = links.index(UPLINK)?.ok_or_else(|| io::Error::other("the pod's link did not arrive"))?;
    links.address(uplink, with_length(address, range))?;
    links.up(uplink)?;
    links.route(EVERYWHERE, uplink, Some(gateway(range)))
}

/// A pod that gets an address again gets its hardware address too, so that no neighbour remembers a wrong one.
fn mac(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x0a, 0x58, a, b, c, d]
}

fn pod_link(pod: &Uid) -> String {
    let digest = Sha256::digest(&pod.0);
    format!("veth{:02x}{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2], digest[3])
}
