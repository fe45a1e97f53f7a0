//! The server process of a cluster: started, found and stopped.

#![allow(clippy::disallowed_types, reason = "the one place where kprov starts itself")]

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use kprov::cluster::Name;
use nix::errno::Errno;
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
pub(crate) struct Held {
    _lock: File,
}

/// Takes the lock for this process, or the one over that the process that started it has taken.
///
/// Errors: another server has it; its process id is named.
pub(crate) fn hold(folder: &Folder) -> anyhow::Result<Held> {
    let path = folder.lock();
    let what = || format!("locking {}", path.display());
    let mut lock = match handed_over(&path).with_context(what)? {
        Some(lock) => lock,
        None => take(folder)?,
    };
    lock.set_len(0).with_context(what)?;
    write!(lock, "{}", std::process::id()).with_context(what)?;
    Ok(Held { _lock: lock })
}

/// The lock on a folder that nobody serves.
fn take(folder: &Folder) -> anyhow::Result<File> {
    let path = folder.lock();
    let file = open(folder)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let holder = fs::read_to_string(&path).unwrap_or_default();
            bail!("process {holder} serves {} already: two servers must not share a folder", folder.path().display())
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("locking {}", path.display())),
    }
}

/// Standard input, when it is the open lock.
fn handed_over(path: &Path) -> io::Result<Option<File>> {
    let input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let place = |meta: &fs::Metadata| (meta.dev(), meta.ino());
    match fs::metadata(path) {
        Ok(lock) if place(&lock) == place(&input.metadata()?) => Ok(Some(input)),
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(None),
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
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => {
            let text = fs::read_to_string(folder.lock())?;
            // Between being started and writing its number a server is running, but nobody knows as what.
            Ok(Some(Pid::from_raw(text.trim().parse().unwrap_or_default())))
        }
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// Starts a server that outlives this process, and returns once its socket is there.
pub(crate) async fn start(name: &Name, config: &Config) -> anyhow::Result<()> {
    let folder = Folder::of(name)?;
    folder.make()?;
    // Taken here and handed over, so that there is no moment at which a server runs unseen.
    let lock = take(&folder)?;
    lock.set_len(0)?;
    let log = File::options().create(true).append(true).open(folder.log())?;
    let exe = std::env::current_exe().context("finding this program")?;
    let mut command = Command::new(exe);
    command.arg("serve").arg("--detached").arg("--data").arg(folder.path()).arg("--name").arg(name.as_str());
    command.args(["--port", &config.port.to_string(), "--nodes", &config.nodes.to_string()]);
    command.args(["--node-grace", &config.node_grace.to_string()]);
    command.arg("--kubeconfig").arg(folder.kubeconfig());
    if config.simulated {
        command.arg("--simulated");
    }
    command.stdin(lock).stdout(Stdio::piped()).stderr(log).current_dir("/");
    let mut child = tokio::process::Command::from(command).spawn().context("starting the server")?;
    let mut said = String::new();
    let mut output = child.stdout.take().context("the server has no output")?;
    // The pipe closes when the server has said that it listens, or when it ends.
    output.read_to_string(&mut said).await?;
    if said != LISTENING {
        bail!("the server ended at once. The end of its log, {}:\n{}", folder.log().display(), last_lines(&folder));
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
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let Some(pid) = running(folder)? else { return Ok(()) };
        // A server without a number is about to write it down, or to end because nobody waits for it.
        if pid.as_raw() > 0 {
            match kill(pid, signal) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => return Err(error).with_context(|| format!("stopping process {pid}")),
            }
        }
        if timeout(PATIENCE, ended(folder)).await.is_ok() {
            return Ok(());
        }
    }
    bail!("the server of {} does not end", folder.path().display())
}

/// Returns when nobody holds the lock any more: the kernel lets go of it when a process ends.
pub(crate) async fn ended(folder: &Folder) -> anyhow::Result<()> {
    let file = open(folder)?;
    Ok(tokio::task::spawn_blocking(move || file.lock_shared()).await??)
}
