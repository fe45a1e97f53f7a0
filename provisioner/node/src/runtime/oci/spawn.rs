//! Re-executes kprov as the shim of a pod: the one program that the node agent starts is itself.

#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "this is the one place that starts kprov again"
)]

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::folder::PodFolder;

/// Starts the shim of a pod. It listens on the pod's socket before this returns.
pub(super) fn spawn(exe: &Path, folder: &PodFolder) -> io::Result<()> {
    let listener = UnixListener::bind(&folder.socket()?.path)?;
    let status = Command::new(exe)
        .arg0("kprov")
        .arg("runtime-shim")
        .arg(&folder.0)
        .env_clear()
        .current_dir("/")
        .stdin(OwnedFd::from(listener))
        .stdout(Stdio::null())
        .stderr(File::create(folder.0.join("shim.log"))?)
        .status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("{} runtime-shim: {status}", exe.display()))) }
}
