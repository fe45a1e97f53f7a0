//! No real containers: nothing of them can be here, and what would need them says what is missing.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::process::ExitCode;

use anyhow::bail;
use kprov::cluster::Name;
use kprov_control_plane::world::World;

use crate::args::ImageCommand;
use crate::home::Folder;
use crate::rights::Facts;
use crate::serve::nodes::Parts;

/// A machine that there is none of.
pub(crate) struct Machine(Infallible);

impl Machine {
    /// Errors: always.
    pub(crate) fn open(_cluster: &Name, _folder: &Folder, _world: &World) -> anyhow::Result<Self> {
        bail!(needs())
    }

    pub(crate) fn host(&self) -> Ipv4Addr {
        match self.0 {}
    }

    pub(crate) async fn parts(&self, _name: &str, _index: u32) -> anyhow::Result<Parts> {
        match self.0 {}
    }

    pub(crate) async fn cut(&self, _name: &str, _index: u32) -> anyhow::Result<()> {
        match self.0 {}
    }

    pub(crate) async fn remove(&self, _name: &str) -> anyhow::Result<()> {
        match self.0 {}
    }
}

fn needs() -> String {
    Facts::of_this_process().missing().expect("this kprov has no containers").needs
}

/// The program of a pod's shim, which nobody here starts.
pub(crate) fn shim() -> ExitCode {
    eprintln!("error: {}", needs());
    ExitCode::FAILURE
}

/// Errors: always; simulated pods have every image.
pub(crate) fn image(_command: &ImageCommand) -> anyhow::Result<()> {
    bail!("images are for real containers, and {}. Simulated pods have every image that they name", needs())
}

/// No rights are of use.
pub(crate) fn lacking() -> Vec<&'static str> {
    Vec::new()
}

/// Errors: another kprov has made containers in this folder.
pub(crate) async fn remove_containers(cluster: &Name, folder: &Folder) -> anyhow::Result<()> {
    made_by_another(cluster, folder.nodes().exists())
}

/// Errors: another kprov has made networks for this folder.
pub(crate) fn remove_network(cluster: &Name, folder: &Folder) -> anyhow::Result<()> {
    made_by_another(cluster, folder.network().exists())
}

fn made_by_another(cluster: &Name, is_there: bool) -> anyhow::Result<()> {
    if is_there {
        bail!("cluster {cluster} has real containers: take it down with the kprov that made it; here {}", needs());
    }
    Ok(())
}
