//! A program that makes itself a cluster, uses it and takes it down: what an application's own tests can do.
//!
//! `cargo run -p kprov-examples --example cluster` needs neither root nor anything installed.

use std::process::ExitCode;

use kprov::Bundle;
use kprov::build::*;
use kprov::cluster::{Cluster, Report};

/// Prints what happens.
struct Printed;

impl Report for Printed {
    fn says(&self, words: &str) {
        println!("  {words}");
    }
}

fn main() -> anyhow::Result<ExitCode> {
    // The cluster's server is this program, started once more.
    if let Some(code) = kprov_cli::child() {
        return Ok(code);
    }
    tokio::runtime::Runtime::new()?.block_on(run())?;
    Ok(ExitCode::SUCCESS)
}

async fn run() -> anyhow::Result<()> {
    let cluster = Cluster::local("example").nodes(2).simulated();
    let client = kprov_cli::up(&cluster, &Printed).await?;
    let mut app = Bundle::new("app");
    app.add(Deployment::new("web", Container::new("web", "nginx")).replicas(3));
    client.apply(&app).await?;
    client.ready(&app, std::time::Duration::from_secs(60)).await?;
    println!("three pods are ready");
    kprov_cli::down(&cluster.name, &Printed).await
}
