//! `kprov node stop` and `start`

use anyhow::{Context, bail};

use crate::args::NodeNamed;
use crate::home::Folder;
use crate::local::control::{self, Ask, Power};
use crate::local::process;

pub(crate) async fn run(options: &NodeNamed, power: Power) -> anyhow::Result<()> {
    let name = &options.named.name;
    let folder = Folder::of(name)?;
    if !folder.config().exists() {
        bail!("there is no cluster {name}: `kprov up --name {name}` makes it");
    }
    if process::running(&folder)?.is_none() {
        bail!("cluster {name} is not running: `kprov up --name {name}` starts it");
    }
    let answer = control::ask(&folder.socket(), &Ask::Node(power, options.node.clone())).await;
    if let Err(words) = answer.with_context(|| format!("asking the server of cluster {name}"))? {
        bail!(words);
    }
    match power {
        Power::Off => println!("Node {} is stopped: `kprov node start {0} --name {name}` starts it.", options.node),
        Power::On => println!("Node {} is started.", options.node),
    }
    Ok(())
}
