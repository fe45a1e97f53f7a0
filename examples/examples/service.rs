//! Creates a service with a load balancer.
//!
//! `cargo run -p kprov-examples --example service` uses the current context of your kubeconfig.

use kprov::client::{Client, ClientError};
use kprov_examples::programs::service::service;

#[tokio::main]
async fn main() -> Result<(), ClientError> {
    Client::from_default().await?.create(&service().build()).await.map(drop)
}
