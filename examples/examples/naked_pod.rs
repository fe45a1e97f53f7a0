//! Creates a pod on its own.
//!
//! `cargo run -p kprov-examples --example naked_pod` uses the current context of your kubeconfig.

use kprov::build::*;
use kprov::client::{Client, ClientError};

/// One container, and nobody who brings it back when its node is lost.
pub fn pod() -> Pod {
    Pod::new("naked-pod-demo", Container::new("naked-pod-demo-ctr", "nginx"))
}

#[tokio::main]
async fn main() -> Result<(), ClientError> {
    Client::from_default().await?.create(&pod()).await.map(drop)
}
