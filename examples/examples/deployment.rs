//! Creates a deployment of two web servers.
//!
//! `cargo run -p kprov-examples --example deployment` uses the current context of your kubeconfig.

use kprov::client::{Client, ClientError};
use kprov_examples::programs::deployment::deployment;

#[tokio::main]
async fn main() -> Result<(), ClientError> {
    Client::from_default().await?.create(&deployment()).await.map(drop)
}
