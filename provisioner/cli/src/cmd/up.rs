//! `kprov up`

use anyhow::bail;
use kprov::cluster::{LocalCluster, Provider, Runtime};

use crate::args::Up;
use crate::cmd::cluster_file;
use crate::demo;
use crate::local::{Local, Observed, Wishes};
use crate::progress::Progress;
use crate::road;

pub(crate) async fn run(options: Up) -> anyhow::Result<()> {
    let file = options.file.as_deref().map(cluster_file::read_local).transpose()?;
    let wishes = match &file {
        Some(file) => Wishes { port: file.port, node_grace: Some(file.node_grace_seconds) },
        None => Wishes { port: options.port, node_grace: options.node_grace },
    };
    let local = Local { wishes };
    let name = file.as_ref().map_or(&options.named.name, |file| &file.name);
    let wanted = |have: &Observed| match &file {
        Some(file) => Ok(file.clone()),
        None => as_asked(&options, have),
    };
    if options.dry_run {
        let have = local.observe(name).await?;
        let want = wanted(&have)?;
        road::check(&want, &have)?;
        print!("{}", local.plan(Some(&want), &have));
        return Ok(());
    }
    let progress = Progress::new();
    let (want, plan) = road::climb(&local, name, wanted, &progress).await?;
    let lines = if options.demo { demo::deploy(&local, &want, &progress).await? } else { Vec::new() };
    progress.finish();
    if plan.is_empty() {
        println!("Cluster {name} is up already.");
    } else {
        println!("Cluster {name} is up: kubectl --context kprov-{name} get nodes");
    }
    lines.iter().for_each(|line| println!("{line}"));
    Ok(())
}

/// What was asked for; what was left out is as it is.
fn as_asked(options: &Up, have: &Observed) -> anyhow::Result<LocalCluster> {
    let known = match &have.config {
        Ok(known) => known.as_ref(),
        Err(error) => bail!("{error}"),
    };
    // A simulated cluster stays one without being told so again.
    let was_simulated = known.is_some_and(|known| known.simulated);
    let runtime = if options.simulated || was_simulated { Runtime::Simulated } else { Runtime::Containers };
    let nodes = options.nodes.or(known.map(|known| known.nodes)).unwrap_or(1);
    Ok(LocalCluster { runtime, ..LocalCluster::new(options.named.name.clone()).nodes(nodes) })
}
