//! `kprov down`

use kprov::cluster::Provider;

use crate::args::Down;
use crate::home::Folder;
use crate::local::{Local, Wishes, turn};
use crate::progress::Progress;

pub(crate) async fn run(options: Down) -> anyhow::Result<()> {
    let local = Local { wishes: Wishes::default() };
    let name = &options.named.name;
    let mut have = local.observe(name).await?;
    if options.dry_run {
        print!("{}", local.plan(None, &have));
        return Ok(());
    }
    let progress = Progress::new();
    let mut turn = None;
    if have.folder {
        turn = Some(turn::take(&Folder::of(name)?, &progress).await?);
        // Another command may have changed the cluster before it was our turn.
        have = local.observe(name).await?;
    }
    let plan = local.plan(None, &have);
    for step in &plan.steps {
        local.perform(step, &progress).await?;
        progress.done(&step.to_string());
    }
    drop(turn);
    progress.finish();
    if plan.is_empty() {
        println!("There is no cluster {name}.");
    } else {
        println!("Cluster {name} is gone.");
    }
    Ok(())
}
