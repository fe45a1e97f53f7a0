//! Applies a claim and a deployment that mounts it.
//!
//! `cargo run -p kprov-examples --example claim` uses the current context of your kubeconfig.

use kprov::Bundle;
use kprov::build::*;
use kprov::client::{Client, ClientError};

/// Both. The mount makes the volume between them, and applying them sends the claim first.
pub fn application() -> Bundle {
    let claim = PersistentVolumeClaim::new("my-pvc", "32Gi");
    let volume = Volume::claim(&claim).named("my-volume");
    let container = Container::new("alpine-ctr", "httpd:alpine").mount(volume, "/test");
    let mut application = Bundle::new("pvc-test");
    application.add(Deployment::new("pvc-test", container).labelled("app", "alpine").replicas(1)).add(claim);
    application
}

#[tokio::main]
async fn main() -> Result<(), ClientError> {
    Client::from_default().await?.apply(&application()).await.map(drop)
}
