//! Creates a pod on its own.
//!
//! `cargo run -p kprov-examples --example naked_pod` uses the current context of your kubeconfig.

use kprov::client::{Client, ClientError};
use kprov_examples::programs::naked_pod::pod;

#[tokio::main]
async fn main() -> Result<(), ClientError> {
    Client::from_default().await?.create(&pod()).await.map(drop)
}
