//! `kprov diff`

use std::process::ExitCode;

use kprov::diff::Diff as Difference;
use kprov::schema::Object;

use super::objects::{connect, read};
use super::validate::is_colourful;
use crate::args::Diff;

/// Prints what would change. Ends with 1 when something would.
pub(crate) async fn run(options: Diff) -> anyhow::Result<ExitCode> {
    let bundle = read(&options.files, "manifests")?;
    let client = connect(&options.target).await?;
    let changes = client.diff(&bundle).await?;
    let before: Vec<Object> = changes.iter().filter_map(|change| change.before.clone()).collect();
    let after: Vec<Object> = changes.into_iter().map(|change| change.after).collect();
    let difference = Difference::between(&before, &after);
    print!("{}", difference.render(is_colourful()));
    Ok(if difference.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
