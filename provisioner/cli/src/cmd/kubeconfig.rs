//! `kprov kubeconfig`

use std::fs;
use std::io::ErrorKind;

use anyhow::{Context, bail};

use crate::args::Named;
use crate::home::Folder;

pub(crate) fn run(options: &Named) -> anyhow::Result<()> {
    let path = Folder::of(&options.name)?.kubeconfig();
    match fs::read_to_string(&path) {
        Ok(text) => print!("{text}"),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("there is no cluster {name}: `kprov up --name {name}` makes it", name = options.name)
        }
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    }
    Ok(())
}
