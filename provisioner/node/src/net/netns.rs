//! Network namespaces that outlive the process that made them, pinned by a bind mount.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::statfs::statfs;

const NSFS_MAGIC: i64 = 0x6e73_6673;

/// Makes a network namespace with its loopback up and pins it at `path`; one that is there already stays as it is.
///
/// Errors: those of the kernel; without the right to make namespaces, `EPERM`.
pub fn make(path: &Path) -> io::Result<()> {
    if exists(path) {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    File::create(path)?;
    on_thread("netns-make", || {
        unshare(CloneFlags::CLONE_NEWNET)?;
        mount(Some("/proc/thread-self/ns/net"), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        super::link::Links::here().up_by_name("lo")
    })?
}

/// Whether a namespace is pinned at `path`.
#[must_use]
pub fn exists(path: &Path) -> bool {
    statfs(path).is_ok_and(|info| info.filesystem_type().0 == NSFS_MAGIC)
}

/// Runs `work` on a thread of its own that has entered the namespace pinned at `path`.
///
/// Only the network namespace changes, so `/sys` and the cgroup mounts stay visible.
pub fn within<T: Send>(path: &Path, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    let namespace = File::open(path)?;
    on_thread("netns", move || {
        setns(&namespace, CloneFlags::CLONE_NEWNET)?;
        Ok(work())
    })?
}

/// Unpins the namespace; it ends with the last process inside. One that is gone is no error.
pub fn remove(path: &Path) -> io::Result<()> {
    while exists(path) {
        umount2(path, MntFlags::MNT_DETACH)?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A namespace belongs to a thread, so the work needs one that is thrown away after it.
fn on_thread<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, work)?;
        thread.join().map_err(|_| io::Error::other(format!("thread {name} panicked")))
    })
}
