//! Creates a service with a load balancer.
//!
//! `cargo run -p kprov-examples --example service` uses the current context of your kubeconfig.

use kprov::build::*;
use kprov::client::{Client, ClientError};

/// Leads to the pods of the example `deployment`. Its type can't be set in the wrong place: it is part of the type.
pub fn service() -> Service<LoadBalancer> {
    Service::new("alpine-service", [("app", "alpine")]).port(8080, 80).load_balancer()
}

#[tokio::main]
async fn main() -> Result<(), ClientError> {
    Client::from_default().await?.create(&service().build()).await.map(drop)
}
