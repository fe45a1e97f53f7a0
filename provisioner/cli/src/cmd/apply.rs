//! `kprov apply`

use kprov::client::Apply as How;

use super::objects::{Lines, connect, done, read};
use crate::args::Apply;

pub(crate) async fn run(options: Apply) -> anyhow::Result<()> {
    let bundle = read(&options.files, options.name.as_deref().unwrap_or("manifests"))?;
    let client = connect(&options.target).await?;
    let lines = Lines::new(options.dry_run);
    let mut tell = |progress: kprov::client::Progress<'_>| lines.hear(&progress);
    let applied = done(client.apply_with(&bundle, &how(&options), &mut tell).await);
    let report = applied.inspect_err(|_| lines.finish())?;
    if report.objects.is_empty() {
        println!("There is nothing in the manifests, and nothing to delete.");
    }
    if options.wait {
        let ready = client.ready_with(&bundle, options.timeout, &mut tell).await;
        lines.finish();
        ready?;
    }
    lines.finish();
    Ok(())
}

/// What an option makes of an apply.
type With = fn(How) -> How;

fn how(options: &Apply) -> How {
    let set: [(bool, With); 4] = [
        (options.name.is_some(), How::track),
        (options.prune, How::prune),
        (options.dry_run, How::dry_run),
        (options.force_conflicts, How::force),
    ];
    set.into_iter().filter(|(wanted, _)| *wanted).fold(How::new(), |how, (_, with)| with(how))
}
