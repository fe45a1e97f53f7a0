//! `kprov down`

use kprov::cluster::Provider;

use crate::args::Down;
use crate::cmd::cluster_file;
use crate::local::{Local, Wishes};
use crate::progress::Progress;
use crate::road;

pub(crate) async fn run(options: Down) -> anyhow::Result<()> {
    let local = Local { wishes: Wishes::default() };
    let file = options.file.as_deref().map(cluster_file::read_local).transpose()?;
    let name = file.as_ref().map_or(&options.named.name, |file| &file.name);
    if options.dry_run {
        print!("{}", local.plan(None, &local.observe(name).await?));
        return Ok(());
    }
    let progress = Progress::new();
    let plan = road::descend(&local, name, &progress).await?;
    progress.finish();
    if plan.is_empty() {
        println!("There is no cluster {name}.");
    } else {
        println!("Cluster {name} is gone.");
    }
    Ok(())
}
