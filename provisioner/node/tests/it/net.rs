//! Pods reach pods, nodes and services, on two nodes of one machine.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use kprov_node::net::Ranges;
use kprov_node::net::endpoints::Endpoint;
use kprov_node::net::linux::LinuxNetwork;
use kprov_node::net::proxy::{Frontend, rules};
use kprov_node::net::underlay::{Underlay, purge};
use kprov_node::net::{Attachment, PodNetwork, netns};
use kprov_schema::Uid;

const PATIENCE: Duration = Duration::from_secs(5);

struct Cluster {
    root: tempfile::TempDir,
    underlay: Underlay,
    nodes: Vec<LinuxNetwork>,
}

impl Cluster {
    /// Two nodes with their pod ranges and routes to one another.
    fn up(name: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let underlay = Underlay::open(name, &root.path().join("net")).unwrap();
        let ranges = Ranges {
            services: "10.96.0.0/16".parse().unwrap(),
            pods: "10.244.0.0/16".parse().unwrap(),
            dns: Ipv4Addr::new(10, 96, 0, 10),
        };
        let nodes: Vec<_> =
            (0..2).map(|i| LinuxNetwork::open(&underlay, &format!("n{i}"), i, ranges).unwrap()).collect();
        for (i, node) in nodes.iter().enumerate() {
            node.set_pod_range(format!("10.244.{i}.0/24").parse().unwrap()).unwrap();
            let other = 1 - i;
            let range = format!("10.244.{other}.0/24").parse().unwrap();
            node.set_peers(&BTreeMap::from([(range, nodes[other].address())])).unwrap();
        }
        Self { root, underlay, nodes }
    }

    async fn pod(&self, node: usize, uid: &str) -> Attachment {
        self.nodes[node].attach(&Uid(uid.to_owned())).await.unwrap()
    }

    fn serve(&self, frontends: &[Frontend]) {
        for (i, node) in self.nodes.iter().enumerate() {
            node.set_rules(&rules(frontends, &node.view(&format!("n{i}")))).unwrap();
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        purge(&self.root.path().join("net")).unwrap();
    }
}

fn inside(pod: &Attachment) -> &Path {
    pod.netns.as_deref().unwrap()
}

/// Answers each connection with `<own address> <client's address>`.
fn listen(pod: &Attachment) {
    let own = pod.address;
    answer(netns::within(inside(pod), || TcpListener::bind("0.0.0.0:8080")).unwrap().unwrap(), own);
}

fn answer(listener: TcpListener, own: IpAddr) {
    std::thread::Builder::new()
        .spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let client = stream.peer_addr().unwrap().ip();
                let _ = write!(stream, "{own} {client}");
            }
        })
        .unwrap();
}

fn ask(to: SocketAddr) -> std::io::Result<(IpAddr, IpAddr)> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (server, client) = answer.split_once(' ').unwrap();
    Ok((server.parse().unwrap(), client.parse().unwrap()))
}

fn ask_from(namespace: &Path, to: SocketAddr) -> std::io::Result<(IpAddr, IpAddr)> {
    netns::within(namespace, || ask(to)).unwrap()
}

fn at(address: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address, port)
}

fn service(endpoints: &[(&Attachment, &str)]) -> Frontend {
    let endpoints = endpoints.iter().map(|(pod, node)| {
        let IpAddr::V4(address) = pod.address else { panic!("pods have IPv4 addresses") };
        Endpoint { address, port: 8080, node: (*node).to_owned() }
    });
    Frontend {
        name: "default/web/80/tcp".into(),
        addresses: vec![Ipv4Addr::new(10, 96, 0, 77)],
        protocol: 6,
        port: 80,
        node_port: Some(30_080),
        sticky: false,
        external_local: false,
        internal_local: false,
        endpoints: endpoints.collect(),
    }
}

#[tokio::test]
async fn pods_reach_pods_on_every_node_without_nat() {
    let cluster = Cluster::up("reach");
    let (a, b, c) = (cluster.pod(0, "a").await, cluster.pod(0, "b").await, cluster.pod(1, "c").await);
    listen(&a);
    for from in [&a, &b, &c] {
        assert_eq!(ask_from(inside(from), at(a.address, 8080)).unwrap(), (a.address, from.address));
    }
    for node in &cluster.nodes {
        assert_eq!(ask_from(&node.namespace(), at(a.address, 8080)).unwrap().0, a.address);
    }
}

#[tokio::test]
async fn pods_reach_their_host_by_their_nodes_address() {
    let cluster = Cluster::up("host");
    let (a, b) = (cluster.pod(0, "a").await, cluster.pod(1, "b").await);
    cluster.serve(&[]);
    let host = TcpListener::bind((cluster.underlay.host(), 0)).unwrap();
    let port = host.local_addr().unwrap().port();
    answer(host, cluster.underlay.host().into());
    for (pod, node) in [(&a, 0), (&b, 1)] {
        let host = at(cluster.underlay.host().into(), port);
        assert_eq!(ask_from(inside(pod), host).unwrap().1, cluster.nodes[node].address());
    }
}

#[tokio::test]
async fn services_answer_on_their_address_and_on_every_node() {
    let cluster = Cluster::up("services");
    let (a, b, c) = (cluster.pod(0, "a").await, cluster.pod(1, "b").await, cluster.pod(1, "c").await);
    listen(&a);
    listen(&b);
    cluster.serve(&[service(&[(&a, "n0"), (&b, "n1")])]);
    let vip = at(Ipv4Addr::new(10, 96, 0, 77).into(), 80);
    let mut seen = BTreeMap::new();
    for _ in 0..40 {
        let (server, client) = ask_from(inside(&c), vip).unwrap();
        assert_eq!(client, c.address, "a client's address is kept inside the cluster");
        *seen.entry(server).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 2, "both pods answer: {seen:?}");
    for _ in 0..10 {
        ask_from(inside(&a), vip).expect("a pod reaches itself through its service");
        ask_from(&cluster.nodes[0].namespace(), vip).expect("a node reaches services");
    }
    for node in &cluster.nodes {
        for _ in 0..10 {
            ask(at(IpAddr::V4(node.address()), 30_080)).expect("node ports answer to the host");
        }
    }
    assert!(cluster.underlay.subnet.contains(&cluster.nodes[0].address()));
}

#[tokio::test]
async fn a_local_policy_keeps_the_client_and_a_sticky_service_its_endpoint() {
    let cluster = Cluster::up("local");
    let (a, b) = (cluster.pod(0, "a").await, cluster.pod(0, "b").await);
    listen(&a);
    listen(&b);
    let endpoints = [(&a, "n0"), (&b, "n0")];
    cluster.serve(&[Frontend { external_local: true, sticky: true, ..service(&endpoints) }]);
    let node_port = at(IpAddr::V4(cluster.nodes[0].address()), 30_080);
    let (first, client) = ask(node_port).unwrap();
    assert_eq!(client, IpAddr::V4(cluster.underlay.host()));
    for _ in 0..10 {
        assert_eq!(ask(node_port).unwrap().0, first);
    }
    let elsewhere = at(IpAddr::V4(cluster.nodes[1].address()), 30_080);
    let error = TcpStream::connect_timeout(&elsewhere, Duration::from_millis(300)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut, "a node without endpoints drops");
}

#[tokio::test]
async fn a_service_without_endpoints_refuses_at_once() {
    let cluster = Cluster::up("refuse");
    let a = cluster.pod(0, "a").await;
    cluster.serve(&[service(&[])]);
    let vip = at(Ipv4Addr::new(10, 96, 0, 77).into(), 80);
    assert_eq!(ask_from(inside(&a), vip).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let node_port = at(IpAddr::V4(cluster.nodes[1].address()), 30_080);
    assert_eq!(ask(node_port).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn reopening_keeps_addresses_and_purging_leaves_nothing() {
    let cluster = Cluster::up("reopen");
    let root = cluster.root.path().join("net");
    let first = cluster.pod(0, "a").await;
    let again = LinuxNetwork::open(&cluster.underlay, "n0", 0, cluster.nodes[0].ranges()).unwrap();
    again.set_pod_range("10.244.0.0/24".parse().unwrap()).unwrap();
    assert_eq!(again.attach(&Uid("a".into())).await.unwrap(), first);
    assert_ne!(again.attach(&Uid("b".into())).await.unwrap().address, first.address);
    again.detach(&Uid("a".into())).await.unwrap();
    assert_eq!(again.attach(&Uid("c".into())).await.unwrap().address, first.address, "a free address is used again");
    purge(&root).unwrap();
    assert!(!root.exists());
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(root.to_str().unwrap()));
    assert!(!Path::new("/sys/class/net").join(&cluster.underlay.bridge).exists());
    purge(&root).expect("purging twice is no error");
}
