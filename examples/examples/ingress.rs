//! Creates an ingress with two paths.
//!
//! `cargo run -p kprov-examples --example ingress` uses the current context of your kubeconfig.

use kprov::client::{Client, ClientError};
use kprov_examples::programs::ingress::ingress;

#[tokio::main]
async fn main() -> Result<(), ClientError> {
    Client::from_default().await?.create(&ingress()).await.map(drop)
}
