//! `kprov up`

use anyhow::bail;
use kprov::cluster::{Cluster, Plan, Provider, Runtime};

use crate::args::Up;
use crate::demo;
use crate::home::{Folder, is_root};
use crate::local::{Config, Local, Observed, Step, Wishes, turn};
use crate::progress::Progress;
use crate::rights;

pub(crate) async fn run(options: Up) -> anyhow::Result<()> {
    let local = Local { wishes: Wishes { port: options.port, node_grace: options.node_grace } };
    let name = &options.named.name;
    let have = local.observe(name).await?;
    let want = wanted(&options, &have)?;
    if options.dry_run {
        print!("{}", local.plan(Some(&want), &have));
        return Ok(());
    }
    let progress = Progress::new();
    let turn = turn::take(&Folder::of(name)?, &progress).await?;
    // Another command may have changed the cluster before it was our turn.
    let have = local.observe(name).await?;
    let want = wanted(&options, &have)?;
    let plan = local.plan(Some(&want), &have);
    if let Err(error) = take(&local, &plan, &progress).await {
        // The server of an `up` that was killed may end while it is waited for: then more is left to do.
        let now = local.observe(name).await?;
        if !have.running || now.running {
            return Err(error);
        }
        take(&local, &local.plan(Some(&want), &now), &progress).await?;
    }
    drop(turn);
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

async fn take(local: &Local, plan: &Plan<Step>, progress: &Progress) -> anyhow::Result<()> {
    for step in &plan.steps {
        local.perform(step, progress).await?;
        progress.done(&step.to_string());
    }
    Ok(())
}

/// What was asked for; what was left out is as it is.
fn wanted(options: &Up, have: &Observed) -> anyhow::Result<Cluster> {
    let name = options.named.name.clone();
    let known: Option<Config> = match &have.config {
        Ok(known) => known.clone(),
        Err(error) => bail!("{error}"),
    };
    let runtime = if options.simulated { Runtime::Simulated } else { Runtime::Containers };
    let runtime = match known.as_ref().map(Config::runtime) {
        Some(Runtime::Simulated) => Runtime::Simulated,
        Some(Runtime::Containers) if options.simulated => bail!(
            "cluster {name} has real containers: take it down first (`kprov down --name {name}`), or choose another --name"
        ),
        _ => runtime,
    };
    let nodes = options.nodes.or(known.map(|known| known.nodes)).unwrap_or(1);
    let cluster = Cluster { name, nodes, runtime };
    check_rights(&cluster)?;
    Ok(cluster)
}

/// Real containers need the kernel's help; say so before anything is made.
fn check_rights(cluster: &Cluster) -> anyhow::Result<()> {
    if cluster.runtime == Runtime::Simulated || cluster.nodes == 0 {
        return Ok(());
    }
    if !cfg!(target_os = "linux") {
        bail!(
            "real containers need Linux, and this is {}: use `kprov up --simulated` for a cluster whose pods have no \
             processes behind them, or `--nodes 0` for a control plane alone",
            std::env::consts::OS
        );
    }
    if !is_root() {
        bail!(
            "real containers need root, for namespaces, mounts, cgroups and links: run it with sudo, or use \
             `kprov up --simulated` for a cluster whose pods have no processes behind them, or `--nodes 0` for a control \
             plane alone"
        );
    }
    let lacking = rights::lacking(&std::fs::read_to_string("/proc/self/status").unwrap_or_default());
    if !lacking.is_empty() {
        bail!(
            "real containers need {}, which root does not have here: start what you are in with more rights (a container \
             with `--privileged`), or use `kprov up --simulated` for a cluster whose pods have no processes behind them, \
             or `--nodes 0` for a control plane alone",
            lacking.join(", ")
        );
    }
    let most = crate::serve::MOST_NODES;
    if cluster.nodes > most {
        bail!(
            "at most {most} nodes have real containers on one machine, not {}: use --simulated for more",
            cluster.nodes
        );
    }
    let folder = Folder::of(&cluster.name)?;
    // The path of a unix socket in it must fit into 107 bytes.
    if folder.path().as_os_str().len() > 60 {
        bail!(
            "{} is too long a path for the state of a cluster: set KPROV_HOME to a shorter one",
            folder.path().display()
        );
    }
    Ok(())
}
