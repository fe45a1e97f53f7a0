//! A node's proxy with an API server behind it: requests by HTTP and HTTPS reach those who answer, as they should.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Namespace, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use kprov_control_plane::api::{Config, Server, User};
use kprov_control_plane::client::{Client, DeleteOptions};
use kprov_control_plane::pki::Pki;
use kprov_control_plane::store::Store;
use kprov_control_plane::world::memory::MemoryWorld;
use kprov_node::ingress::{Front, Ingresses};
use kprov_node::net::{Attachment, NetError, PodNetwork};
use kprov_schema::{Key, Object, Resource, Uid};
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

const PATIENCE: Duration = Duration::from_secs(60);

/// A node whose ports are ports of this machine's loopback, and who finds every pod there.
struct Loopback(watch::Sender<BTreeMap<u16, SocketAddr>>);

impl PodNetwork for Loopback {
    fn attach<'a>(&'a self, _: &'a Uid) -> BoxFuture<'a, Result<Attachment, NetError>> {
        Box::pin(async { Ok(self.host()) })
    }

    fn detach<'a>(&'a self, _: &'a Uid) -> BoxFuture<'a, Result<(), NetError>> {
        Box::pin(async { Ok(()) })
    }

    fn attached(&self) -> BoxFuture<'_, Result<Vec<(Uid, Attachment)>, NetError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn host(&self) -> Attachment {
        Attachment { netns: None, address: self.node_address() }
    }

    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<Option<TcpStream>>> {
        Box::pin(async move { TcpStream::connect((Ipv4Addr::LOCALHOST, to.port())).await.map(Some) })
    }

    fn dial<'a>(&'a self, _: Option<&'a Uid>, port: u16) -> BoxFuture<'a, io::Result<TcpStream>> {
        Box::pin(TcpStream::connect((Ipv4Addr::LOCALHOST, port)))
    }

    fn listen(&self, port: u16) -> BoxFuture<'_, io::Result<Option<TcpListener>>> {
        Box::pin(async move {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let at = listener.local_addr()?;
            self.0.send_modify(|ports| {
                ports.insert(port, at);
            });
            Ok(Some(listener))
        })
    }

    fn node_address(&self) -> IpAddr {
        Ipv4Addr::LOCALHOST.into()
    }

    fn dns_address(&self) -> IpAddr {
        Ipv4Addr::LOCALHOST.into()
    }
}

struct Cluster {
    client: Client,
    ports: watch::Receiver<BTreeMap<u16, SocketAddr>>,
    _front: Front,
    _ingresses: Ingresses,
    _server: Server,
    _keys: tempfile::TempDir,
}

impl Cluster {
    /// A cluster with the class `kprov` and a node.
    async fn start() -> Self {
        let world = MemoryWorld::new(7);
        let keys = tempfile::tempdir().unwrap();
        let config = Config { listen: Vec::new(), ..Config::default() };
        let pki = Arc::new(Pki::open_or_create(keys.path(), &config.names(), &world.world()).unwrap());
        let store = Store::open(&world.world(), "store").unwrap();
        let server = Server::start(config, world.world(), store, pki).await.unwrap();
        let client = server.client(User::admin());
        let ingresses = Ingresses::start(&client, &world.world(), |name| name == "example.com/ours").unwrap();
        let (sender, ports) = watch::channel(BTreeMap::new());
        let front = ingresses.front(Arc::new(Loopback(sender)));
        let cluster = Self { client, ports, _front: front, _ingresses: ingresses, _server: server, _keys: keys };
        cluster.make::<Namespace>(json!({"metadata": {"name": "n"}})).await;
        cluster
            .make::<IngressClass>(json!({"metadata": {"name": "c"}, "spec": {"controller": "example.com/ours"}}))
            .await;
        cluster
    }

    async fn make<T: k8s_openapi::Resource>(&self, body: Value) {
        let mut object = Object::try_from(body).unwrap();
        object.set(&["apiVersion"], json!(T::API_VERSION));
        object.set(&["kind"], json!(T::KIND));
        self.client.create(&Resource::of::<T>(), &object.key(), None, object).await.unwrap();
    }

    /// A service with one endpoint for each port of this machine.
    async fn service(&self, name: &str, ports: &[u16]) {
        self.make::<Service>(json!({"metadata": {"name": name, "namespace": "n"}, "spec": {"ports": [{"port": 80}]}}))
            .await;
        for (at, port) in ports.iter().enumerate() {
            self.make::<EndpointSlice>(json!({
                "metadata": {"name": format!("{name}-{at}"), "namespace": "n", "labels": {"kubernetes.io/service-name": name}},
                "addressType": "IPv4", "ports": [{"name": "", "port": port}],
                "endpoints": [{"addresses": [format!("10.244.0.{}", at + 2)], "conditions": {"ready": true}}],
            }))
            .await;
        }
    }

    /// An ingress that sends all of a host to a service.
    async fn ingress(&self, name: &str, host: &str, more: Value) {
        let mut spec = json!({"ingressClassName": "c", "rules": [{"host": host, "http": {"paths": [
            {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": name, "port": {"number": 80}}}}]}}]});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.make::<Ingress>(json!({"metadata": {"name": name, "namespace": "n"}, "spec": spec})).await;
    }

    async fn port(&self, port: u16) -> SocketAddr {
        let mut ports = self.ports.clone();
        let found = tokio::time::timeout(PATIENCE, ports.wait_for(|ports| ports.contains_key(&port)));
        found.await.expect("it listens in time").unwrap()[&port]
    }

    async fn plain(&self) -> TcpStream {
        TcpStream::connect(self.port(80).await).await.unwrap()
    }

    /// Asks until the answer is as wanted: the table of routes follows the cluster a moment later.
    async fn until(&self, request: &str, wanted: impl Fn(&str) -> bool) -> String {
        let asking = async {
            loop {
                let answer = ask(self.plain().await, request).await;
                if wanted(&answer) {
                    return answer;
                }
            }
        };
        tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("no such answer to {request}"))
    }
}

fn get(host: &str, more: &str) -> String {
    format!("GET /p?q=1 HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n")
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // Who cuts a TLS connection short has said what it had to say.
    if let Err(error) = stream.read_to_end(&mut answer).await {
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
    String::from_utf8(answer).unwrap()
}

/// A server that tells what it was asked; its port.
async fn echo() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(kprov_node::echo::serve_on(listener));
    port
}

/// A port on which nobody listens, held so that nobody will.
fn nobody() -> (TcpSocket, u16) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

#[tokio::test]
async fn a_request_gets_to_the_pod_with_who_it_is_from() {
    let cluster = Cluster::start().await;
    assert_eq!(status(&ask(cluster.plain().await, &get("shop.example.com", "")).await), "404");
    cluster.ingress("web", "shop.example.com", json!({})).await;
    cluster.until(&get("shop.example.com", ""), |answer| status(answer) == "503").await;
    cluster.service("web", &[echo().await]).await;
    let spoofed = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nForwarded: for=6.6.6.6\r\nX-Mine: 1\r\nConnection: x-hop\r\nX-Hop: 1\r\nTE: x\r\n";
    let answer = cluster.until(&get("shop.example.com", spoofed), |answer| status(answer) == "200").await;
    for line in [
        "method=GET",
        "real path=/p?q=1",
        "host=shop.example.com",
        "x-forwarded-for=127.0.0.1",
        "x-forwarded-proto=http",
        "x-forwarded-port=80",
        "x-real-ip=127.0.0.1",
        "x-mine=1",
    ] {
        assert!(answer.contains(&format!("\t{line}\n")), "{line}: {answer}");
    }
    for gone in ["6.6.6.6", "x-hop", "te="] {
        assert!(!answer.contains(gone), "{gone}: {answer}");
    }
    let class = Resource::of::<IngressClass>();
    cluster.client.delete(&class, &Key::new("", "c"), DeleteOptions::default()).await.unwrap();
    let closed = async { while TcpStream::connect(cluster.port(80).await).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, closed).await.expect("without a class the ports are closed");
}

#[tokio::test]
async fn a_pod_that_takes_no_connection_is_passed_over() {
    let cluster = Cluster::start().await;
    let (_held, dead) = nobody();
    cluster.service("web", &[dead, echo().await]).await;
    cluster.service("dead", &[dead]).await;
    cluster.ingress("web", "web", json!({})).await;
    cluster.ingress("dead", "dead", json!({})).await;
    cluster.until(&get("dead", ""), |answer| status(answer) == "502").await;
    for _ in 0..20 {
        assert_eq!(status(&ask(cluster.plain().await, &get("web", "")).await), "200");
    }
}

#[tokio::test]
async fn bodies_are_passed_on_as_they_come() {
    let cluster = Cluster::start().await;
    let backend = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    cluster.service("web", &[backend.local_addr().unwrap().port()]).await;
    cluster.ingress("web", "web", json!({})).await;
    let begun = tokio::spawn(async move { backend.accept().await.unwrap().0 });
    let head = "POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n";
    let mut client = loop {
        let mut client = cluster.plain().await;
        client.write_all(head.as_bytes()).await.unwrap();
        let mut seen = [0; 12];
        // Until the route is there, the proxy itself answers.
        tokio::select! {
            read = client.read_exact(&mut seen) => drop(read.unwrap()),
            () = async { while !begun.is_finished() { tokio::task::yield_now().await } } => break client,
        }
    };
    let mut backend = begun.await.unwrap();
    read_until(&mut backend, "one").await;
    client.write_all(b"3\r\ntwo\r\n0\r\n\r\n").await.unwrap();
    read_until(&mut backend, "two").await;
    backend.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nthree\r\n").await.unwrap();
    read_until(&mut client, "three").await;
    backend.write_all(b"4\r\nfour\r\n0\r\n\r\n").await.unwrap();
    read_until(&mut client, "four").await;
}

async fn read_until(stream: &mut (impl AsyncRead + Unpin), wanted: &str) {
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains(wanted) {
        seen.push(stream.read_u8().await.unwrap());
    }
}

#[tokio::test]
async fn a_connection_may_become_another_protocol() {
    let cluster = Cluster::start().await;
    let backend = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    cluster.service("web", &[backend.local_addr().unwrap().port()]).await;
    cluster.ingress("web", "web", json!({})).await;
    tokio::spawn(async move {
        let (mut stream, _) = backend.accept().await.unwrap();
        read_until(&mut stream, "\r\n\r\n").await;
        let agreed = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: shout\r\nConnection: Upgrade\r\n\r\nHELLO ";
        stream.write_all(agreed.as_bytes()).await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        stream.write_all(said.to_uppercase().as_bytes()).await.unwrap();
    });
    let request = "GET / HTTP/1.1\r\nHost: web\r\nUpgrade: shout\r\nConnection: Upgrade\r\n\r\n";
    let mut client = loop {
        let mut client = cluster.plain().await;
        client.write_all(request.as_bytes()).await.unwrap();
        let mut head = [0; 12];
        client.read_exact(&mut head).await.unwrap();
        if head.ends_with(b"101") {
            break client;
        }
    };
    client.write_all(b"world").await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.to_lowercase().contains("upgrade: shout\r\n"), "{answer}");
    assert!(answer.ends_with("HELLO WORLD"), "{answer}");
}

fn keys(name: &str, host: &str) -> (Value, rustls::pki_types::CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(vec![host.to_owned()]).unwrap();
    let secret = json!({"metadata": {"name": name, "namespace": "n"}, "type": "kubernetes.io/tls", "stringData": {
        "tls.crt": made.cert.pem(), "tls.key": made.signing_key.serialize_pem()}});
    (secret, made.cert.der().clone())
}

/// Connects with TLS; the certificate that is shown.
async fn secure(
    at: SocketAddr,
    name: &str,
    roots: &[rustls::pki_types::CertificateDer<'static>],
    protocol: &str,
) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut store = rustls::RootCertStore::empty();
    roots.iter().for_each(|root| store.add(root.clone()).unwrap());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let stream = TcpStream::connect(at).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

#[tokio::test]
async fn names_show_their_certificates_and_speak_http_2() {
    let cluster = Cluster::start().await;
    cluster.service("web", &[echo().await]).await;
    let (one, of_one) = keys("one", "one.example.com");
    let (star, of_star) = keys("star", "*.example.org");
    cluster.make::<Secret>(one).await;
    let tls = json!({"tls": [{"hosts": ["one.example.com"], "secretName": "one"}, {"hosts": ["*.example.org"], "secretName": "star"}]});
    cluster.ingress("web", "one.example.com", tls).await;
    let at = cluster.port(443).await;
    let trusted = |name: &'static str, root, protocol: &'static str| async move {
        let connecting = async {
            loop {
                if let Ok(stream) = secure(at, name, std::slice::from_ref(&root), protocol).await {
                    return stream;
                }
            }
        };
        tokio::time::timeout(PATIENCE, connecting).await.unwrap_or_else(|_| panic!("{name} shows its certificate"))
    };
    let answer = ask(trusted("one.example.com", of_one.clone(), "http/1.1").await, &get("one.example.com", "")).await;
    assert!(answer.contains("\tx-forwarded-proto=https\n") && answer.contains("\tx-forwarded-port=443\n"), "{answer}");
    // A secret that comes later is taken up.
    assert!(secure(at, "a.example.org", std::slice::from_ref(&of_star), "h2").await.is_err());
    cluster.make::<Secret>(star).await;
    drop(trusted("a.example.org", of_star, "h2").await);

    let stream = trusted("one.example.com", of_one, "h2").await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get("https://one.example.com/two").body(http_body_util::Empty::<bytes::Bytes>::new());
    let response = sender.send_request(request.unwrap()).await.unwrap();
    assert_eq!((response.status().as_u16(), response.version()), (200, http::Version::HTTP_2));
    let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    assert!(body.contains("\treal path=/two\n") && body.contains("\thost=one.example.com\n"), "{body}");
}
