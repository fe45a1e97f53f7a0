//! Ingresses answer at the nodes as the tutorials promise: by path, by host, with TLS, by their class alone.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use kprov_node::runtime::BUILTIN;
use kprov_tests::cluster::TestCluster;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::cluster;

const PATIENCE: Duration = Duration::from_secs(5);

/// A deployment of the echo server and its service, as every tutorial has them before its ingress.
fn service(name: &str, port: u16) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers:
      - name: c
        image: {BUILTIN}
        ports: [{{name: http, containerPort: 8080}}]
---
apiVersion: v1
kind: Service
metadata: {{name: {name}-service}}
spec:
  selector: {{app: {name}}}
  ports: [{{port: {port}, targetPort: http}}]
---
"
    )
}

fn ingress(name: &str, annotations: &str, spec: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: {name}, annotations: {{{annotations}}}}}
spec: {spec}
---
"
    )
}

fn path(path: &str, kind: &str, service: &str, port: u16) -> String {
    format!(
        "{{path: {path}, pathType: {kind}, backend: {{service: {{name: {service}-service, port: {{number: {port}}}}}}}}}"
    )
}

fn request(host: &str, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
}

fn connect(node: &str, port: u16) -> io::Result<TcpStream> {
    let at: SocketAddr = format!("{node}:{port}").parse().map_err(io::Error::other)?;
    let stream = TcpStream::connect_timeout(&at, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// `<status> <first name of the pod that answers> <what it was asked for>`.
fn said(mut stream: impl Read + Write, host: &str, path: &str) -> io::Result<String> {
    stream.write_all(request(host, path).as_bytes())?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
        _ => {}
    }
    let answer = String::from_utf8_lossy(&answer);
    let after = |key: &str| answer.split_once(key).map(|(_, rest)| rest.lines().next().unwrap_or_default().to_owned());
    let status = answer.split(' ').nth(1).unwrap_or_default();
    let pod = after("Hostname: ").unwrap_or_default();
    let pod = pod.split('-').next().unwrap_or_default();
    Ok(format!("{status} {pod} {}", after("real path=").unwrap_or_default()).trim_end().to_owned())
}

/// Asks until the answer is as expected: an ingress is there a moment before its routes are.
fn expect(mut ask: impl FnMut() -> io::Result<String>, expected: &str) {
    let mut last = String::new();
    for _ in 0..200 {
        last = ask().unwrap_or_else(|error| error.to_string());
        if last == expected {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
    panic!("{last} instead of {expected}");
}

fn expect_all(cluster: &TestCluster, cases: &[(&str, &str, &str)]) {
    for node in nodes(cluster) {
        for (host, path, expected) in cases {
            expect(|| said(connect(&node, 80)?, host, path), expected);
        }
    }
}

fn nodes(cluster: &TestCluster) -> Vec<String> {
    let path = "jsonpath={.items[*].status.addresses[?(@.type==\"InternalIP\")].address}";
    let told = cluster.kubectl(&["get", "nodes", "-o", path]).unwrap();
    told.split(' ').map(str::to_owned).collect()
}

#[test]
fn paths_hosts_and_classes() {
    let cluster = cluster("ingress", 2, &[]);
    let node = nodes(&cluster).remove(0);
    assert!(cluster.k("get ingressclass").unwrap().contains("kprov (default)"));
    // S33: an error before there is a rule, then two applications behind one address.
    expect(|| said(connect(&node, 80)?, "x", "/httpd"), "404");
    let (httpd, tomcat) = (path("/httpd", "Prefix", "httpd", 8080), path("/tomcat", "Prefix", "tomcat", 8080));
    let rewrite = "nginx.ingress.kubernetes.io/rewrite-target: /";
    let of_paths = ingress(
        "test-ingress",
        rewrite,
        &format!("{{ingressClassName: nginx, rules: [{{http: {{paths: [{httpd}, {tomcat}]}}}}]}}"),
    );
    cluster.apply(&(service("httpd", 8080) + &service("tomcat", 8080) + &of_paths)).unwrap();
    cluster.k("rollout status deployment/httpd --timeout=60s").unwrap();
    cluster.k("rollout status deployment/tomcat --timeout=60s").unwrap();
    // S37: only the class's controller serves it, and there is no such class yet.
    expect(|| said(connect(&node, 80)?, "x", "/httpd"), "404");
    let class = "apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: nginx}\nspec: {controller: k8s.io/ingress-nginx}\n";
    cluster.apply(class).unwrap();
    expect_all(&cluster, &[("x", "/httpd", "200 httpd /"), ("x", "/tomcat", "200 tomcat /"), ("x", "/", "404")]);

    // S34 and S35: hosts, what goes nowhere else, and the annotation of old.
    let default = "defaultBackend: {service: {name: tomcat-service, port: {number: 8080}}}";
    let rule = |host: &str, path: &str| format!("{{host: {host}, http: {{paths: [{path}]}}}}");
    let of_hosts = format!(
        "{{{default}, rules: [{}, {}]}}",
        rule("myapp.com", &path("/", "Prefix", "httpd", 8080)),
        rule("\"*.myapp.com\"", &path("/shopping", "Exact", "httpd", 8080))
    );
    let annotated = ingress(
        "old",
        "kubernetes.io/ingress.class: nginx",
        &format!(
            "{{rules: [{}]}}",
            rule("old.example.com", &path("", "ImplementationSpecific", "tomcat", 8080)).replace("path: ,", "")
        ),
    );
    cluster.apply(&(ingress("hosts", "", &of_hosts) + &annotated)).unwrap();
    expect_all(
        &cluster,
        &[
            ("myapp.com", "/deep?q=1", "200 httpd /deep?q=1"),
            ("shop.myapp.com", "/shopping", "200 httpd /shopping"),
            ("shop.myapp.com", "/shopping/x", "200 tomcat /shopping/x"),
            ("elsewhere.com", "/y", "200 tomcat /y"),
            ("old.example.com", "/z", "200 tomcat /z"),
        ],
    );
    cluster.k("wait --for=jsonpath={.status.loadBalancer.ingress[1].ip} ingress/hosts --timeout=30s").unwrap();
    let shown = cluster.k("get ingress hosts").unwrap();
    assert!(nodes(&cluster).iter().all(|node| shown.contains(node)), "{shown}");
    assert!(shown.contains("kprov") && shown.contains("myapp.com"), "{shown}");
    // A service that loses its pods is unavailable, and one that is gone is told of.
    cluster.k("scale deployment/httpd --replicas=0").unwrap();
    expect(|| said(connect(&node, 80)?, "myapp.com", "/"), "503");
    cluster.k("delete service tomcat-service").unwrap();
    let told = "get events --field-selector reason=ServiceNotFound,involvedObject.name=hosts -o name";
    expect(|| Ok((!cluster.k(told).map_err(io::Error::other)?.is_empty()).to_string()), "true");
}

#[test]
fn tls_by_the_secret_of_the_host() {
    let cluster = cluster("ingress-tls", 1, &[]);
    let node = nodes(&cluster).remove(0);
    let made = rcgen::generate_simple_self_signed(vec!["myapp.com".to_owned()]).unwrap();
    let indented = |pem: String| pem.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: myapp-secret-tls}}\ntype: kubernetes.io/tls\nstringData:\n  tls.crt: |\n{}  tls.key: |\n{}---\n",
        indented(made.cert.pem()),
        indented(made.signing_key.serialize_pem())
    );
    let spec = format!(
        "{{tls: [{{hosts: [myapp.com], secretName: myapp-secret-tls}}], rules: [{{host: myapp.com, http: {{paths: [{}]}}}}]}}",
        path("/", "Prefix", "web", 80)
    );
    let redirect = "nginx.ingress.kubernetes.io/ssl-redirect: \"true\"";
    cluster.apply(&(secret + &service("web", 80) + &ingress("tls", redirect, &spec))).unwrap();
    cluster.k("rollout status deployment/web --timeout=60s").unwrap();
    let root = made.cert.der().clone();
    expect(|| said(secure(&node, "myapp.com", &root)?, "myapp.com", "/x"), "200 web /x");
    expect(|| said(connect(&node, 80)?, "myapp.com", "/x"), "308");
    assert!(said(secure(&node, "elsewhere.com", &root).unwrap(), "elsewhere.com", "/").is_err(), "its name alone");
    // The proxy reads what its role says, and nothing writes.
    for (may, asked) in [("yes", "watch secrets"), ("no", "update ingresses"), ("no", "get pods")] {
        let command = format!("auth can-i {asked} --as=system:kprov:ingress -q");
        assert_eq!(cluster.k(&command).is_ok(), may == "yes", "{asked}");
    }
}

/// A TLS connection that trusts one certificate, whose handshake is done with the first byte.
fn secure(
    node: &str,
    name: &str,
    root: &CertificateDer<'static>,
) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    let session = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    Ok(StreamOwned::new(session, connect(node, 443)?))
}
