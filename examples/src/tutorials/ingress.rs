//! Ingresses: which host and path leads to which service.

use kprov::Bundle;
use kprov::build::*;

use super::{Tutorial, only};

/// The files and what says the same.
pub const TUTORIALS: &[Tutorial] = &[
    ("s33-ingress.yaml", ingress),
    ("s34-ingress-host.yaml", host),
    ("s35-fan-out.yaml", fan_out),
    ("s36-tls.yaml", tls),
    ("s37-ingress-class.yaml", class),
];

/// Two web servers under two paths.
#[must_use]
pub fn ingress() -> Bundle {
    let web = |name: &'static str, container| Deployment::new(name, container).labelled("app", name).replicas(2);
    let httpd = web("httpd", Container::new("httpd-ctr", "httpd:alpine"));
    let tomcat = web("tomcat", Container::new("tomcat-ctr", "tomcat"));
    let httpd_service = Service::new("httpd-service", &httpd).port(8080, 80);
    let tomcat_service = Service::new("tomcat-service", &tomcat).port(8080, 8080);
    let paths = Host::any().path("/httpd", &httpd_service).path("/tomcat", &tomcat_service);
    let ingress = Ingress::new("test-ingress", paths).class("nginx").rewrite("/");
    let mut bundle = Bundle::new("ingress");
    bundle.add(httpd).add(tomcat).add(httpd_service).add(tomcat_service).add(ingress);
    bundle
}

/// One host, and a service for what no path takes.
#[must_use]
pub fn host() -> Bundle {
    let dashboard = Host::named("myapp.com").path("/", ("kubernetes-dashboard", 443));
    let ingress = Ingress::new("dashboard-ingress", dashboard)
        .default_backend(("default-http-backend", 80))
        .namespace("kubernetes-dashboard");
    only(ingress)
}

/// Two services by path, then the same two by host.
#[must_use]
pub fn fan_out() -> Bundle {
    let (analytics, shopping) = (("analytics-service", 3000), ("shopping-service", 8080));
    let by_path = Host::named("myapp.com").path("/analytics", analytics).exact("/shopping", shopping);
    let by_host = Host::named("analytics.myapp.com").path("/", analytics);
    let mut bundle = Bundle::new("fan-out");
    bundle.add(Ingress::new("simple-fanout-example", by_path).rewrite("/"));
    bundle.add(
        Ingress::new("name-virtual-host-ingress", by_host).host(Host::named("shopping.myapp.com")).path("/", shopping),
    );
    bundle
}

/// One host over TLS.
#[must_use]
pub fn tls() -> Bundle {
    let certificate = Secret::new("myapp-secret-tls").tls("certificate", "key");
    let app = Host::named("myapp.com").path("/", ("myapp-internal-service", 8080));
    let ingress = Ingress::new("tls-example-ingress", app).tls(&certificate, ["myapp.com"]);
    let mut bundle = Bundle::new("tls");
    bundle.add(certificate).add(ingress);
    bundle
}

/// A class, and an ingress that asks for it.
#[must_use]
pub fn class() -> Bundle {
    let class = IngressClass::new("nginx", "k8s.io/ingress-nginx");
    let express = Host::named("mongo.myapp.com").path("/", ("mongo-express-service", 8081));
    let ingress = Ingress::new("mongo-express-ingress", express).class(&class);
    let mut bundle = Bundle::new("ingress-class");
    bundle.add(class).add(ingress);
    bundle
}
