//! `kprov status`

use kprov::client::kube::ResourceExt;
use kprov::cluster::{Name, Provider};

use crate::args::Status;
use crate::home::Folder;
use crate::local::{Local, Observed, Wishes, node_is_ready, nodes};

pub(crate) async fn run(options: Status) -> anyhow::Result<()> {
    let local = Local { wishes: Wishes::default() };
    let names = match &options.name {
        Some(name) => vec![name.clone()],
        None => Folder::all()?,
    };
    if names.is_empty() {
        println!("There are no clusters. `kprov up` makes one.");
        return Ok(());
    }
    for name in &names {
        let observed = local.observe(name).await?;
        println!("{name}: {}", words(&observed));
        if options.name.is_some() && observed.ready {
            show_nodes(&local, name, &observed).await?;
        }
    }
    Ok(())
}

fn words(observed: &Observed) -> String {
    let config = match &observed.config {
        Ok(Some(config)) => config,
        Ok(None) => return "there is no such cluster".to_owned(),
        Err(error) => return error.clone(),
    };
    let state = match (observed.running, observed.ready) {
        (true, true) => "up",
        (true, false) => "starting",
        (false, _) => "stopped",
    };
    let pods = if config.simulated { ", simulated" } else { "" };
    format!(
        "{state}, https://127.0.0.1:{}, {} of {} nodes ready{pods}",
        config.port, observed.ready_nodes, config.nodes
    )
}

async fn show_nodes(local: &Local, name: &Name, observed: &Observed) -> anyhow::Result<()> {
    let client = local.access(name).await?;
    for node in nodes(&client).await? {
        let state = match (observed.off.contains(&node.name_any()), node_is_ready(&node)) {
            (true, _) => "stopped",
            (false, true) => "ready",
            (false, false) => "not ready",
        };
        println!("  node {}: {state}", node.name_any());
    }
    Ok(())
}
