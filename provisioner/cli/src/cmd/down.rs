//! `kprov down`

use kprov::cluster::Provider;

use crate::args::Down;
use crate::local::{Local, Wishes};
use crate::progress::Progress;

pub(crate) async fn run(options: Down) -> anyhow::Result<()> {
    let local = Local { wishes: Wishes::default() };
    let name = &options.named.name;
    let have = local.observe(name).await?;
    let plan = local.plan(None, &have);
    if options.dry_run {
        print!("{plan}");
        return Ok(());
    }
    let progress = Progress::new();
    for step in &plan.steps {
        local.perform(step, &progress).await?;
        progress.done(&step.to_string());
    }
    progress.finish();
    if plan.is_empty() {
        println!("There is no cluster {name}.");
    } else {
        println!("Cluster {name} is gone.");
    }
    Ok(())
}
