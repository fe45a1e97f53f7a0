//! Applications with state: sets of numbered pods, and databases behind their pages.

use std::time::Duration;

use kprov::Bundle;
use kprov::build::*;

use super::storage::fast;
use super::{Tutorial, only};

/// The files and what says the same.
pub const TUTORIALS: &[Tutorial] = &[
    ("s55-apache-http.yaml", apache_http),
    ("s56-web.yaml", web),
    ("s58-partition.yaml", partition),
    ("s59-parallel.yaml", parallel),
    ("s60-guestbook.yaml", guestbook),
    ("s61-wordpress.yaml", wordpress),
    ("s62-cassandra.yaml", cassandra),
    ("s63-zookeeper.yaml", zookeeper),
];

/// Three web servers with a disk each.
#[must_use]
pub fn apache_http() -> Bundle {
    let class = fast();
    let www = PersistentVolumeClaim::new("www", "2Gi").class(&class);
    let httpd = StatefulSet::new("apache-http", Container::new("httpd", "httpd:latest").port("web", 80))
        .labelled("app", "httpd")
        .service_name("httpd-service")
        .replicas(3)
        .grace(Duration::from_secs(10))
        .claim(&www, "/usr/local/apache2/htdocs");
    let mut app = Bundle::new("apache-http");
    app.add(httpd.service().label("app", "httpd")).add(class).add(httpd);
    app
}

/// The basics: two pods with names and disks of their own.
#[must_use]
pub fn web() -> Bundle {
    let www = PersistentVolumeClaim::new("www", "1Gi");
    let nginx = Container::new("nginx", "nginx-slim:0.8").port("web", 80);
    let web = nginx_set(nginx).replicas(2).claim(&www, "/usr/share/nginx/html");
    let mut app = Bundle::new("web");
    app.add(web.service().label("app", "nginx")).add(web);
    app
}

/// A change that is tried out on the last pod.
#[must_use]
pub fn partition() -> Bundle {
    only(nginx_set(Container::new("nginx", "nginx-slim:0.7")).replicas(3).partition(2))
}

/// Pods that all start at once, and change when somebody deletes them.
#[must_use]
pub fn parallel() -> Bundle {
    only(nginx_set(Container::new("nginx", "nginx-slim:0.8")).replicas(2).parallel().on_delete())
}

fn nginx_set(nginx: Container) -> StatefulSet {
    StatefulSet::new("web", nginx).labelled("app", "nginx").service_name("nginx")
}

/// A guest book: a store that is written to, its copies, and the pages in front.
#[must_use]
pub fn guestbook() -> Bundle {
    let store = |name: &'static str, image: &'static str, role: &'static str, replicas| {
        Deployment::new(name, small(Container::new(name, image)).unnamed_port(6379))
            .labelled("app", "redis")
            .labelled("role", role)
            .labelled("tier", "backend")
            .replicas(replicas)
    };
    let leader = store("redis-leader", "redis:6.0.5", "leader", 1);
    let follower = store("redis-follower", "gb-redis-follower:v2", "follower", 2);
    let pages = small(Container::new("frontend", "gb-frontend:v5")).env("GET_HOSTS_FROM", "dns").unnamed_port(80);
    let pages =
        Deployment::new("frontend", pages).labelled("app", "guestbook").labelled("tier", "frontend").replicas(3);
    let mut app = Bundle::new("guestbook");
    for (deployment, port) in [(leader, 6379), (follower, 6379), (pages, 80)] {
        let mut service = deployment.expose_on(port, port);
        service.meta_mut().labels = Some(deployment.selector());
        app.add(deployment).add(service);
    }
    app
}

fn small(container: Container) -> Container {
    container.requests("100m", "100Mi")
}

/// A blog and its database, each with a disk.
#[must_use]
pub fn wordpress() -> Bundle {
    let secret = Secret::new("mysql-pass").text("password", "example");
    let password = secret.key("password");
    let mysql = Container::new("mysql", "mysql:5.6").env("MYSQL_ROOT_PASSWORD", password.clone()).port("mysql", 3306);
    let (disk, mysql) = with_disk(mysql, "mysql-pv-claim", "mysql-persistent-storage", "/var/lib/mysql");
    let mysql = part_of_wordpress(Deployment::new("wordpress-mysql", mysql), "mysql");
    let wordpress = Container::new("wordpress", "wordpress:4.8-apache")
        .env("WORDPRESS_DB_HOST", "wordpress-mysql")
        .env("WORDPRESS_DB_PASSWORD", password)
        .port("wordpress", 80);
    let (pages, wordpress) = with_disk(wordpress, "wp-pv-claim", "wordpress-persistent-storage", "/var/www/html");
    let wordpress = part_of_wordpress(Deployment::new("wordpress", wordpress), "frontend");
    let mut app = Bundle::new("wordpress");
    app.add(secret);
    app.add(mysql.expose_on(3306, 3306).headless().label("app", "wordpress")).add(disk).add(mysql);
    app.add(wordpress.expose_on(80, 80).load_balancer().label("app", "wordpress")).add(pages).add(wordpress);
    app
}

fn with_disk(
    container: Container,
    claim: &'static str,
    volume: &'static str,
    path: &str,
) -> (PersistentVolumeClaim, Container) {
    let claim = PersistentVolumeClaim::new(claim, "20Gi").label("app", "wordpress");
    let container = container.mount(Volume::claim(&claim).named(volume), path);
    (claim, container)
}

fn part_of_wordpress(deployment: Deployment, tier: &'static str) -> Deployment {
    deployment.label("app", "wordpress").labelled("app", "wordpress").labelled("tier", tier).recreate()
}

/// A ring of databases that say goodbye before they go.
#[must_use]
pub fn cassandra() -> Bundle {
    let data = PersistentVolumeClaim::new("cassandra-data", "1Gi").class("fast");
    let node = Container::new("cassandra", "cassandra:v13")
        .pull(Pull::Always)
        .port("intra-node", 7000)
        .port("tls-intra-node", 7001)
        .port("jmx", 7199)
        .port("cql", 9042)
        .requests("500m", "1Gi")
        .limits("500m", "1Gi")
        .add_capability("IPC_LOCK")
        .pre_stop(Hook::exec(["/bin/sh", "-c", "nodetool drain"]))
        .env("MAX_HEAP_SIZE", "512M")
        .env("HEAP_NEWSIZE", "100M")
        .env("CASSANDRA_SEEDS", "cassandra-0.cassandra.default.svc.cluster.local")
        .env("CASSANDRA_CLUSTER_NAME", "K8Demo")
        .env("POD_IP", Field::PodIp)
        .readiness(patient(Probe::exec(["/bin/bash", "-c", "/ready-probe.sh"]), 15));
    let ring = StatefulSet::new("cassandra", node)
        .labelled("app", "cassandra")
        .label("app", "cassandra")
        .replicas(3)
        .grace(Duration::from_secs(1800))
        .claim(&data, "/cassandra_data");
    let mut app = Bundle::new("cassandra");
    app.add(ring.expose_on(9042, 9042).headless().label("app", "cassandra")).add(ring);
    app
}

/// An ensemble on three nodes, of which one may be gone at a time.
#[must_use]
pub fn zookeeper() -> Bundle {
    let ready = || patient(Probe::exec(["sh", "-c", "zookeeper-ready 2181"]), 10);
    let server = Container::new("kubernetes-zookeeper", "kubernetes-zookeeper:1.0-3.4.10")
        .pull(Pull::Always)
        .command(["sh", "-c", "start-zookeeper --servers=3 --data_dir=/var/lib/zookeeper/data --client_port=2181"])
        .requests("0.5", "1Gi")
        .port("client", 2181)
        .port("server", 2888)
        .port("leader-election", 3888)
        .readiness(ready())
        .liveness(ready());
    let zk = StatefulSet::new("zk", server)
        .labelled("app", "zk")
        .service_name("zk-hs")
        .replicas(3)
        .away_from(&LabelRule::label("app").is_in(["zk"]), Topology::Host)
        .run_as(1000)
        .fs_group(1000)
        .claim(&PersistentVolumeClaim::new("datadir", "10Gi"), "/var/lib/zookeeper");
    let peers = Service::new("zk-hs", &zk)
        .named_port("server", 2888, 2888)
        .named_port("leader-election", 3888, 3888)
        .headless()
        .label("app", "zk");
    let clients = Service::new("zk-cs", &zk).named_port("client", 2181, 2181).label("app", "zk");
    let mut app = Bundle::new("zookeeper");
    app.add(peers).add(clients).add(PodDisruptionBudget::max_unavailable("zk-pdb", &zk, 1)).add(zk);
    app
}

fn patient(probe: Probe, delay_seconds: u64) -> Probe {
    probe.delay(Duration::from_secs(delay_seconds)).timeout(Duration::from_secs(5))
}
