//! Creates an ingress with two paths.
//!
//! `cargo run -p kprov-examples --example ingress` uses the current context of your kubeconfig.

use kprov::build::*;
use kprov::client::{Client, ClientError};

/// Leads to two services, which see the path as `/`.
pub fn ingress() -> Ingress {
    let paths = Host::any().path("/tomcat", ("tomcat-service", 8080)).path("/httpd", ("httpd-service", 8080));
    Ingress::new("test-ingress", paths).annotation("nginx.ingress.kubernetes.io/rewrite-target", "/")
}

#[tokio::main]
async fn main() -> Result<(), ClientError> {
    Client::from_default().await?.create(&ingress()).await.map(drop)
}
