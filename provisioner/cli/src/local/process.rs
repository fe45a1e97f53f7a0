//! The server process of a cluster: started, found and stopped.

#![allow(clippy::disallowed_types, reason = "the one place where kprov starts itself")]

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use kprov::cluster::Name;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::Config;
use crate::home::Folder;

/// Time that a server gets to end by itself.
const PATIENCE: Duration = Duration::from_secs(20);
/// What a detached server writes to standard output once its socket is there.
pub(crate) const LISTENING: &str = "listening\n";

/// The lock that a server holds on its cluster's folder for as long as it lives.
#[derive(Debug)]
pub(crate) struct Held(#[allow(dead_code, reason = "held until dropped")] Flock<File>);

/// Takes the lock for this process.
///
/// Errors: another server has it; its process id is named.
pub(crate) fn hold(folder: &Folder) -> anyhow::Result<Held> {
    let path = folder.lock();
    let file = open(folder)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut lock) => {
            lock.set_len(0)?;
            write!(lock, "{}", std::process::id())?;
            Ok(Held(lock))
        }
        Err((_, Errno::EWOULDBLOCK)) => {
            let holder = fs::read_to_string(&path).unwrap_or_default();
            bail!("process {holder} serves {} already: two servers must not share a folder", folder.path().display())
        }
        Err((_, error)) => Err(error).with_context(|| format!("locking {}", path.display())),
    }
}

fn open(folder: &Folder) -> anyhow::Result<File> {
    let path = folder.lock();
    let file = File::options().read(true).write(true).create(true).truncate(false).open(&path);
    file.with_context(|| format!("opening {}", path.display()))
}

/// The server's process, when one runs.
pub(crate) fn running(folder: &Folder) -> anyhow::Result<Option<Pid>> {
    let file = match File::open(folder.lock()) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Ok(_) => Ok(None),
        Err((_, Errno::EWOULDBLOCK)) => {
            let text = fs::read_to_string(folder.lock())?;
            // Between taking the lock and writing its number a server is running, but nobody knows as what.
            Ok(Some(Pid::from_raw(text.trim().parse().unwrap_or_default())))
        }
        Err((_, error)) => Err(error.into()),
    }
}

/// Starts a server that outlives this process, and returns once its socket is there.
pub(crate) async fn start(name: &Name, config: &Config) -> anyhow::Result<()> {
    let folder = Folder::of(name)?;
    folder.make()?;
    let log = File::options().create(true).append(true).open(folder.log())?;
    let exe = std::env::current_exe().context("finding this program")?;
    let mut command = Command::new(exe);
    command.arg("serve").arg("--detached").arg("--data").arg(folder.path()).arg("--name").arg(name.as_str());
    command.args(["--port", &config.port.to_string(), "--nodes", &config.nodes.to_string()]);
    command.arg("--kubeconfig").arg(folder.kubeconfig());
    if config.simulated {
        command.arg("--simulated");
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).current_dir("/");
    let mut child = tokio::process::Command::from(command).spawn().context("starting the server")?;
    let mut said = String::new();
    let mut output = child.stdout.take().context("the server has no output")?;
    // The pipe closes when the server has said that it listens, or when it ends.
    output.read_to_string(&mut said).await?;
    if said != LISTENING {
        bail!("the server ended at once:\n{}\nIts whole log is {}", last_lines(&folder), folder.log().display());
    }
    Ok(())
}

/// The last lines of the server's log, for an error message.
pub(crate) fn last_lines(folder: &Folder) -> String {
    let text = fs::read_to_string(folder.log()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}

/// Stops the server and returns when it has ended. Containers go on.
pub(crate) async fn stop(folder: &Folder) -> anyhow::Result<()> {
    let Some(pid) = running(folder)?.filter(|pid| pid.as_raw() > 0) else { return Ok(()) };
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        match kill(pid, signal) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => return Err(error).with_context(|| format!("stopping process {pid}")),
        }
        if timeout(PATIENCE, ended(folder)).await.is_ok() {
            return Ok(());
        }
    }
    bail!("process {pid} does not end")
}

/// Returns when nobody holds the lock any more: the kernel lets go of it when a process ends.
async fn ended(folder: &Folder) -> anyhow::Result<()> {
    let file = open(folder)?;
    tokio::task::spawn_blocking(move || Flock::lock(file, FlockArg::LockShared).map(drop).map_err(|(_, error)| error))
        .await??;
    Ok(())
}
