//! Clusters of this machine, for programs: the same up and down as the command's.

use anyhow::bail;
use kprov::client::Client;
use kprov::cluster::{LocalCluster, Name, Plan, Provider, Report};

use crate::home::Folder;
use crate::local::{Local, Observed, Step, Wishes, turn};
use crate::rights;

/// Brings a cluster up, or finishes bringing it up, and connects to it. Up already, it changes nothing.
///
/// The cluster's server is this program, started once more: a program that calls `up` begins with [`crate::child`].
///
/// Errors: what hinders, in words for the user: rights that are missing, a port that is taken, the end of a server's log.
///
/// ```no_run
/// use kprov::cluster::{Cluster, Quiet};
///
/// # async fn run() -> anyhow::Result<()> {
/// let client = kprov_cli::up(&Cluster::local("dev").nodes(2).simulated(), &Quiet).await?;
/// client.apply(&kprov::Bundle::new("nothing")).await?;
/// kprov_cli::down(&"dev".parse()?, &Quiet).await?;
/// # Ok(())
/// # }
/// ```
pub async fn up(want: &LocalCluster, report: &dyn Report) -> anyhow::Result<Client> {
    // rustls wants one source of cryptography for the whole process; another one that is there already does as well.
    rustls::crypto::ring::default_provider().install_default().ok();
    let local = Local { wishes: Wishes { port: want.port, node_grace: Some(want.node_grace_seconds) } };
    climb(&local, &want.name, |_| Ok(want.clone()), report).await?;
    local.access(&want.name).await
}

/// Takes a cluster down, with everything that belongs to it. Without a cluster of that name it does nothing.
///
/// Errors: what could not be removed.
pub async fn down(name: &Name, report: &dyn Report) -> anyhow::Result<()> {
    let local = Local { wishes: Wishes::default() };
    descend(&local, name, report).await.map(drop)
}

/// What hinders before anything is changed: other containers than before, rights that are missing.
pub(crate) fn check(want: &LocalCluster, have: &Observed) -> anyhow::Result<()> {
    let name = &want.name;
    let known = match &have.config {
        Ok(known) => known.as_ref().filter(|known| known.runtime() != want.runtime),
        Err(error) => bail!("{error}"),
    };
    if let Some(known) = known {
        let words = if known.simulated { "simulated containers" } else { "real containers" };
        bail!("cluster {name} has {words}: take it down first (`kprov down --name {name}`), or choose another --name");
    }
    rights::check(want)
}

/// Takes the steps up when it is our turn; what is wanted may depend on what is there by then.
///
/// The plan that was followed tells whether there was anything to do.
pub(crate) async fn climb(
    local: &Local,
    name: &Name,
    wanted: impl Fn(&Observed) -> anyhow::Result<LocalCluster>,
    report: &dyn Report,
) -> anyhow::Result<(LocalCluster, Plan<Step>)> {
    // Before the turn is taken, which makes the cluster's folder: what is refused leaves nothing behind.
    let have = local.observe(name).await?;
    check(&wanted(&have)?, &have)?;
    let _turn = turn::take(&Folder::of(name)?, report).await?;
    // Another command may have changed the cluster before it was our turn.
    let have = local.observe(name).await?;
    let want = wanted(&have)?;
    check(&want, &have)?;
    let plan = local.plan(Some(&want), &have);
    if let Err(error) = take(local, &plan, report).await {
        // The server of an `up` that was killed may end while it is waited for: then more is left to do.
        let now = local.observe(name).await?;
        if !have.running || now.running {
            return Err(error);
        }
        take(local, &local.plan(Some(&want), &now), report).await?;
    }
    Ok((want, plan))
}

/// Takes the steps down when it is our turn.
pub(crate) async fn descend(local: &Local, name: &Name, report: &dyn Report) -> anyhow::Result<Plan<Step>> {
    let mut have = local.observe(name).await?;
    let mut _turn = None;
    if have.folder {
        _turn = Some(turn::take(&Folder::of(name)?, report).await?);
        have = local.observe(name).await?;
    }
    let plan = local.plan(None, &have);
    take(local, &plan, report).await?;
    Ok(plan)
}

/// Takes the steps of a plan.
async fn take(local: &Local, plan: &Plan<Step>, report: &dyn Report) -> anyhow::Result<()> {
    for step in &plan.steps {
        local.perform(step, report).await?;
        report.done(&step.to_string());
    }
    Ok(())
}
