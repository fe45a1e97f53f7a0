//! Creates a deployment of two web servers.
//!
//! `cargo run -p kprov-examples --example deployment` uses the current context of your kubeconfig.

use kprov::build::*;
use kprov::client::{Client, ClientError};

/// Two web servers. Their label and the selector that finds them are written once.
pub fn deployment() -> Deployment {
    Deployment::new("alpine", Container::new("alpine-ctr", "httpd:alpine")).labelled("app", "alpine").replicas(2)
}

#[tokio::main]
async fn main() -> Result<(), ClientError> {
    Client::from_default().await?.create(&deployment()).await.map(drop)
}
