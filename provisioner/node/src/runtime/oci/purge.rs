//! Takes everything of a node off the machine, also when its agent is gone and its folder is damaged.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use jiff::SignedDuration;
use kprov_control_plane::world::World;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::cgroup::{Cgroup, Setup};
use super::folder::{PodFolder, names_in};
use super::link::is_nobody;
use super::wire::{Ask, Request, encode};
use super::{ATTEMPTS, OciConfig, blocking, clear_cgroup, system};
use crate::runtime::RuntimeError;

/// A shim that takes longer to end its pod is killed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Ends every shim and kills every container, as a power cut does. What is on disk stays, and the next agent of the node
/// finds every container ended. The node's agent must not be running. May be called again.
pub async fn cut(config: &OciConfig) -> Result<(), RuntimeError> {
    end_all(config).await?;
    let setup = Setup::detect().map_err(system("can't find the control groups"))?;
    clear_cgroup(&Cgroup::new(setup, &config.cgroup), &config.world).await
}

async fn end_all(config: &OciConfig) -> Result<(), RuntimeError> {
    let pods = config.root.join("pods");
    let names = names_in(&pods).map_err(system(format!("can't read {}", pods.display())))?;
    let endings = names.iter().map(|name| end(PodFolder(pods.join(name)), &config.world));
    for ended in futures::future::join_all(endings).await {
        ended.map_err(system("can't end a shim"))?;
    }
    Ok(())
}

/// Ends every shim, kills every container, removes the control groups, the folder, and the leases on images.
///
/// May be called again, and when nothing is there. The node's agent must not be running. Logs are not in the folder and stay.
pub async fn purge(config: &OciConfig) -> Result<(), RuntimeError> {
    end_all(config).await?;
    let setup = Setup::detect().map_err(system("can't find the control groups"))?;
    clear_cgroup(&Cgroup::new(setup.clone(), &config.cgroup), &config.world).await?;
    remove_parents(&setup, &config.cgroup).map_err(system("can't remove a control group"))?;
    let root = config.root.clone();
    blocking(move || remove_folder(&root)).await.map_err(system(format!("can't remove {}", config.root.display())))?;
    let (images, owner) = (config.images.clone(), config.owner());
    blocking(move || images.retain(&owner, &std::collections::BTreeSet::new()))
        .await
        .map_err(system("can't give images back"))
}

/// Asks a shim to end, and kills it when it does not.
async fn end(folder: PodFolder, world: &World) -> io::Result<()> {
    let socket = folder.socket()?;
    let mut stream = match UnixStream::connect(&socket.path).await {
        Ok(stream) => stream,
        Err(e) if is_nobody(e.kind()) => return Ok(()),
        Err(e) => return Err(e),
    };
    let keeper = rustix::net::sockopt::socket_peercred(&stream)?.pid;
    let gone = async {
        stream.write_all(&encode(&Request { number: 0, ask: Ask::End, files: 0 })).await?;
        let mut rest = vec![];
        stream.read_to_end(&mut rest).await
    };
    let until = world.clock.now() + SignedDuration::try_from(PATIENCE).expect("ten seconds are no long time");
    let in_time = tokio::select! {
        // Whether it said goodbye or broke off, it is gone.
        _ = gone => true,
        () = world.clock.sleep_until(until) => false,
    };
    if in_time { Ok(()) } else { kill(keeper) }
}

fn kill(pid: Pid) -> io::Result<()> {
    match kill_process(pid, Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// Groups above the node's go when no other node or cluster is in them.
fn remove_parents(setup: &Setup, cgroup: &str) -> io::Result<()> {
    let mut path = Path::new(cgroup.trim_matches('/'));
    while let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        for root in setup.roots() {
            match fs::remove_dir(root.join(parent)) {
                Ok(()) => {}
                Err(e)
                    if matches!(
                        e.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::ResourceBusy | io::ErrorKind::DirectoryNotEmpty
                    ) => {}
                Err(e) => return Err(e),
            }
        }
        path = parent;
    }
    Ok(())
}

/// The agent that was stopped a moment ago may still be deleting what it had thrown away.
fn remove_folder(root: &Path) -> io::Result<()> {
    let mut removed = Ok(());
    for _ in 0..ATTEMPTS {
        removed = fs::remove_dir_all(root);
        match &removed {
            Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound && root.exists() => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            _ => break,
        }
    }
    removed
}
