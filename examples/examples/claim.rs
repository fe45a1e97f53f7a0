//! Applies a claim and a deployment that mounts it.
//!
//! `cargo run -p kprov-examples --example claim` uses the current context of your kubeconfig.

use kprov::client::{Client, ClientError};
use kprov_examples::programs::claim::application;

#[tokio::main]
async fn main() -> Result<(), ClientError> {
    Client::from_default().await?.apply(&application()).await.map(drop)
}
