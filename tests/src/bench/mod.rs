//! Measured runs of the command, printed with the machine that they come from.

mod beside;
pub mod build;
mod container;
mod idle;
mod load;
mod machine;
mod pod;
mod scale;
mod stats;
mod up;
mod watchers;

use std::path::PathBuf;
use std::time::Duration;

use futures::future::BoxFuture;

use crate::server::ApiServer;
use stats::Line;

/// What to measure, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The command to measure.
    pub binary: PathBuf,
    /// How often what takes long is repeated.
    pub runs: usize,
    /// How long a load lasts.
    pub load: Duration,
    /// Words in the names of those to run; all when empty.
    pub only: Vec<String>,
}

impl Options {
    fn kprov(&self) -> anyhow::Result<&str> {
        self.binary.to_str().ok_or_else(|| anyhow::anyhow!("{} is no text", self.binary.display()))
    }
}

type Run = for<'a> fn(&'a Options) -> BoxFuture<'a, anyhow::Result<Vec<Line>>>;

/// Every benchmark, in the order in which they run.
const BENCHES: &[(&str, Run)] = &[
    ("readyz", |options| Box::pin(up::readyz(options))),
    ("up", |options| Box::pin(up::demo(options))),
    ("idle", |options| Box::pin(idle::idle(options))),
    ("size", |options| Box::pin(idle::size(options))),
    ("container", |options| Box::pin(container::containers(options))),
    ("pod", |options| Box::pin(pod::to_running(options))),
    ("creates", |options| Box::pin(load::creates(options))),
    ("gets", |options| Box::pin(load::gets(options))),
    ("watchers", |options| Box::pin(watchers::one_update(options))),
    ("beside", |options| Box::pin(beside::small_gets(options))),
    ("scale", |options| Box::pin(scale::scale(options))),
];

/// Runs them and prints a line for each figure.
///
/// Errors: one that can't be run ends it all, so that no figure is missing unseen.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    machine::allow_many_connections()?;
    println!("{}", machine::words()?);
    println!("{}", stats::HEADING);
    for (name, bench) in BENCHES {
        if options.only.is_empty() || options.only.iter().any(|word| name.contains(word.as_str())) {
            for line in bench(options).await? {
                println!("{line}");
            }
        }
    }
    Ok(())
}

/// An API server over a new store, with the folder that it lives in.
async fn api_server(options: &Options) -> anyhow::Result<(tempfile::TempDir, ApiServer, crate::https::Access)> {
    let folder = machine::folder()?;
    let mut server = ApiServer::start(&options.binary, folder.path())?;
    let access = server.ready().await?;
    Ok((folder, server, access))
}
