//! Pods, and the workloads that keep them.

use kprov::Bundle;
use kprov::build::*;

use super::{Tutorial, only};

/// The files and what says the same.
pub const TUTORIALS: &[Tutorial] = &[
    ("s01-naked-pod.yaml", naked_pod),
    ("s03-deployment.yaml", deployment),
    ("s06-nginx.yaml", nginx),
    ("s07-rest-service.yaml", rest_service),
    ("s13-mongodb.yaml", mongodb),
    ("s14-namespace.yaml", namespace),
    ("s15-two-containers.yaml", two_containers),
    ("s67-daemonset.yaml", daemon_set),
];

/// A pod that nothing brings back.
#[must_use]
pub fn naked_pod() -> Bundle {
    only(Pod::new("naked-pod-demo", Container::new("naked-pod-demo-ctr", "nginx")))
}

/// Two pods that are replaced when they are lost.
#[must_use]
pub fn deployment() -> Bundle {
    let httpd = Container::new("alpine-ctr", "httpd:alpine");
    only(Deployment::new("alpine", httpd).labelled("app", "alpine").replicas(2))
}

/// A web server with a service in front.
#[must_use]
pub fn nginx() -> Bundle {
    let nginx = Deployment::new("nginx-deployment", Container::new("nginx", "nginx:1.16").unnamed_port(8080))
        .label("app", "nginx")
        .labelled("app", "nginx")
        .replicas(2);
    let mut bundle = Bundle::new("nginx");
    let service = Service::new("nginx-service", &nginx).port(80, 8080);
    bundle.add(nginx).add(service);
    bundle
}

/// Three pods behind a service.
#[must_use]
pub fn rest_service() -> Bundle {
    let container = Container::new("rest-service", "example/rest-service:1.0").unnamed_port(8080);
    let rest = Deployment::new("rest-service", container).labelled("app", "rest-service").replicas(3);
    let mut bundle = Bundle::new("rest-service");
    let service = Service::new("my-rest-service", &rest).port(8080, 8080);
    bundle.add(rest).add(service);
    bundle
}

/// A database, what it must not tell, and the page that shows it to the world.
#[must_use]
pub fn mongodb() -> Bundle {
    let account =
        Secret::new("mongodb-secret").text("mongo-root-username", "username").text("mongo-root-password", "password");
    let settings = ConfigMap::new("mongodb-configmap").file("database_url", "mongodb-service");

    let mongo = Container::new("mongodb", "mongo")
        .unnamed_port(27017)
        .env("MONGO_INITDB_ROOT_USERNAME", account.key("mongo-root-username"))
        .env("MONGO_INITDB_ROOT_PASSWORD", account.key("mongo-root-password"));
    let mongo =
        Deployment::new("mongodb-deployment", mongo).label("app", "mongodb").labelled("app", "mongodb").replicas(1);
    let mongo_service = Service::new("mongodb-service", &mongo).port(27017, 27017);

    let express = Container::new("mongo-express", "mongo-express")
        .unnamed_port(8081)
        .env("ME_CONFIG_MONGODB_ADMINUSERNAME", account.key("mongo-root-username"))
        .env("ME_CONFIG_MONGODB_ADMINPASSWORD", account.key("mongo-root-password"))
        .env("ME_CONFIG_MONGODB_SERVER", settings.key("database_url"));
    let express = Deployment::new("mongo-express", express)
        .label("app", "mongo-express")
        .labelled("app", "mongo-express")
        .replicas(1);
    let express_service = Service::new("mongo-express-service", &express).port(8081, 8081).load_balancer().at(30000);

    let mut bundle = Bundle::new("mongodb");
    bundle.add(account).add(settings).add(mongo).add(mongo_service).add(express).add(express_service);
    bundle
}

/// A namespace and something in it.
#[must_use]
pub fn namespace() -> Bundle {
    let settings = ConfigMap::new("mysql-configmap").namespace("my-namespace").file("db_url", "mysql-service.database");
    let mut bundle = Bundle::new("my-namespace");
    bundle.add(Namespace::new("my-namespace")).add(settings);
    bundle
}

/// Pods of two containers, of which a service reaches the first.
#[must_use]
pub fn two_containers() -> Bundle {
    let one =
        Deployment::new("microservice-one", Container::new("ms-one", "my-private-repo/ms-one:1.0").unnamed_port(3000))
            .container(Container::new("log-collector", "my-private-repo/log-col:1.0").unnamed_port(9000))
            .label("app", "microservice-one")
            .labelled("app", "microservice-one")
            .replicas(2);
    let mut bundle = Bundle::new("microservice-one");
    let service = Service::new("microservice-one-service", &one).port(3200, 3000);
    bundle.add(one).add(service);
    bundle
}

/// A pod on every node with a fast disk.
#[must_use]
pub fn daemon_set() -> Bundle {
    let profiles = Volume::config_map("apparmor-profiles").named("profiles");
    let loader = Container::new("apparmor-loader", "busybox")
        .args(["-poll", "30s", "/profiles"])
        .privileged()
        .mount(Volume::host_path("sys", "/sys"), Mount::at("/sys").read_only())
        .mount(profiles, Mount::at("/profiles").read_only());
    let loader = DaemonSet::new("apparmor-loader", loader)
        .namespace("kube-system")
        .label("daemon", "apparmor-loader")
        .labelled("daemon", "apparmor-loader")
        .node_selector("disk", "ssd");
    only(loader)
}
