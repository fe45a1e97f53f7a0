//! `kprov image load`, `list` and `remove`.

use std::fs::File;
use std::io::{Read, stdin};
use std::path::Path;

use anyhow::{Context, bail};
use kprov::cluster::Name;
use kprov_control_plane::world::real;
use kprov_node::images::Store;

use crate::args::{ImageCommand, ImageLoad, ImageRemove, Named};
use crate::home::Folder;

pub(crate) fn run(command: &ImageCommand) -> anyhow::Result<()> {
    match command {
        ImageCommand::Load(options) => load(options),
        ImageCommand::List(options) => list(options),
        ImageCommand::Remove(options) => remove(options),
    }
}

/// The images of a cluster that is there; its server may run or not.
fn store(name: &Name) -> anyhow::Result<Store> {
    let folder = Folder::of(name)?;
    if !folder.config().exists() {
        bail!("there is no cluster {name}: `kprov up --name {name}` makes it");
    }
    Store::open(folder.images(), real::world(folder.path())).context("opening the images of the cluster")
}

fn load(options: &ImageLoad) -> anyhow::Result<()> {
    let store = store(&options.named.name)?;
    let source: Box<dyn Read> = if options.file == Path::new("-") {
        Box::new(stdin().lock())
    } else {
        Box::new(File::open(&options.file).with_context(|| format!("opening {}", options.file.display()))?)
    };
    let loaded = store.load(source, None).with_context(|| format!("loading {}", options.file.display()))?;
    for image in loaded {
        let names = if image.names.is_empty() { image.id } else { image.names.join(", ") };
        println!("loaded {names}");
    }
    Ok(())
}

fn list(options: &Named) -> anyhow::Result<()> {
    let images = store(&options.name)?.list().context("listing the images")?;
    println!("{:<56} {:<14} {:>10}", "NAME", "ID", "SIZE");
    for image in images {
        let id = image.id.trim_start_matches("sha256:").chars().take(12).collect::<String>();
        let size = format!("{:.1} MB", image.size_bytes as f64 / 1e6);
        let unnamed = ["<none>".to_owned()];
        let names = if image.names.is_empty() { &unnamed[..] } else { &image.names };
        names.iter().for_each(|name| println!("{name:<56} {id:<14} {size:>10}"));
    }
    Ok(())
}

fn remove(options: &ImageRemove) -> anyhow::Result<()> {
    let removed = store(&options.named.name)?.remove(&options.image).context("removing the image")?;
    removed.names.iter().for_each(|name| println!("untagged {name}"));
    removed.image.iter().for_each(|image| println!("removed {image}"));
    Ok(())
}
