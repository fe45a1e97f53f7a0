//! Services of every sort, and what stands behind them.

use kprov::Bundle;
use kprov::build::*;

use super::{Tutorial, only};

/// The files and what says the same.
pub const TUTORIALS: &[Tutorial] = &[
    ("s16-pod-network.yaml", pod_network),
    ("s17-cluster-ip.yaml", cluster_ip),
    ("s18-node-port.yaml", node_port),
    ("s20-load-balancer.yaml", load_balancer),
    ("s21-ghost.yaml", ghost),
    ("s22-pod-to-pod.yaml", pod_to_pod),
    ("s23-named-target.yaml", named_target),
    ("s24-without-selector.yaml", without_selector),
    ("s25-multi-port.yaml", multi_port),
    ("s26-headless.yaml", headless),
    ("s27-fixed-node-ports.yaml", fixed_node_ports),
    ("s31-source-ip.yaml", source_ip),
    ("s32-hello-world.yaml", hello_world),
];

/// Two pods that reach each other by their own addresses.
#[must_use]
pub fn pod_network() -> Bundle {
    let httpd = Container::new("alpine-ctr", "httpd:alpine").unnamed_port(80);
    only(Deployment::new("alpine", httpd).labelled("app", "alpine").replicas(2))
}

fn alpine_service() -> Service {
    Service::new("alpine-service", [("app", "alpine")]).port(8080, 80)
}

/// An address inside the cluster.
#[must_use]
pub fn cluster_ip() -> Bundle {
    only(alpine_service())
}

/// A port on every node.
#[must_use]
pub fn node_port() -> Bundle {
    only(alpine_service().node_port())
}

/// An address outside the cluster.
#[must_use]
pub fn load_balancer() -> Bundle {
    only(alpine_service().load_balancer())
}

/// A blog and its proxy, which find each other on the loopback of their pod.
#[must_use]
pub fn ghost() -> Bundle {
    let settings = ConfigMap::new("nginx-conf").file("nginx.conf", PROXY);
    let proxy = Container::new("nginx", "nginx:alpine").unnamed_port(80).mount(
        Volume::config_map(&settings).named("proxy-config"),
        Mount::at("/etc/nginx/nginx.conf").sub_path("nginx.conf"),
    );
    let blog = Deployment::new("tut-deployment", Container::new("ghost", "ghost:latest").unnamed_port(2368))
        .container(proxy)
        .labelled("app", "tut-app")
        .replicas(1);
    let mut bundle = Bundle::new("ghost");
    bundle.add(settings).add(blog);
    bundle
}

const PROXY: &str = "\
user nginx;
events {}
http {
  server {
    listen 80;
    location / {
      proxy_pass http://127.0.0.1:2368;
    }
  }
}";

/// Two web servers, and a client that asks one of them by its address.
#[must_use]
pub fn pod_to_pod() -> Bundle {
    let page = r#"echo " Hello from $(hostname)" > index.html; python -m SimpleHTTPServer 80"#;
    let hello = Container::new("python-hello", "python:2.7").command(["/bin/bash"]).args(["-c", page]).port("http", 80);
    let hello = Deployment::new("service-tut-deployment", hello).labelled("app", "service-tut-pod").replicas(2);
    let curl = Container::new("curl", "appropriate/curl").command(["/bin/sh"]).args(["-c", "curl 10.244.0.5:80"]);
    let mut bundle = Bundle::new("pod-to-pod");
    bundle.add(hello).add(Pod::new("service-tut-client", curl).never_restart());
    bundle
}

/// A service that knows the pods' port by name.
#[must_use]
pub fn named_target() -> Bundle {
    only(Service::new("tut-service", [("app", "service-tut-pod")]).port(4000, "http"))
}

/// Services that lead out of the cluster: to an address, and to a name.
#[must_use]
pub fn without_selector() -> Bundle {
    let service = Service::without_selector("my-service").port(80, 9376);
    let slice = EndpointSlice::new("my-service-1", &service, [[1, 2, 3, 4]]).port(9376);
    let database = Service::external_name("my-database", "my.database.example.com").namespace("prod");
    let mut bundle = Bundle::new("without-selector");
    bundle.add(service).add(slice).add(database);
    bundle
}

/// Two ports under one address.
#[must_use]
pub fn multi_port() -> Bundle {
    let service = Service::new("mongodb-service", [("app", "mongodb")]).named_port("mongodb", 27017, 27017).named_port(
        "mongodb-exporter",
        9216,
        9216,
    );
    only(service)
}

/// A name that leads to the pods themselves.
#[must_use]
pub fn headless() -> Bundle {
    only(Service::new("mongodb-service-headless", [("app", "mongodb")]).port(27017, 27017).headless())
}

/// Ports on nodes that the manifest chooses.
#[must_use]
pub fn fixed_node_ports() -> Bundle {
    let service = |name: &'static str| Service::new(name, [("app", "microservice-one")]).port(3200, 3000);
    let mut bundle = Bundle::new("fixed-node-ports");
    bundle.add(service("ms-service-nodeport").node_port().at(30008));
    bundle.add(service("ms-service-loadbalancer").load_balancer().at(30010));
    bundle
}

/// A load balancer behind which pods see their clients' own addresses.
#[must_use]
pub fn source_ip() -> Bundle {
    let service = Service::new("loadbalancer", [("app", "source-ip-app")])
        .port(80, 8080)
        .load_balancer()
        .keep_source()
        .label("app", "source-ip-app");
    only(service)
}

/// Five pods to spread requests over.
#[must_use]
pub fn hello_world() -> Bundle {
    const NAME: (&str, &str) = ("app.kubernetes.io/name", "load-balancer-example");
    let hello = Deployment::new("hello-world", Container::new("hello-world", "node-hello:1.0").unnamed_port(8080))
        .label(NAME.0, NAME.1)
        .labelled(NAME.0, NAME.1)
        .replicas(5);
    only(hello)
}
