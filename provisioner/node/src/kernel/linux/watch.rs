//! Changes of files as the kernel tells them.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::Path;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent};
use tokio::io::unix::AsyncFd;

/// A file grows or is replaced.
const GROWTH: AddWatchFlags =
    AddWatchFlags::IN_MODIFY.union(AddWatchFlags::IN_MOVE_SELF).union(AddWatchFlags::IN_DELETE_SELF);

/// A watch on one path. It ends when this is dropped.
pub(crate) struct Watch(AsyncFd<Descriptor>);

struct Descriptor(Inotify);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Watch {
    /// Watches from now on. To be called inside of a tokio runtime.
    #[allow(deprecated, reason = "sound here: the descriptor is owned by what it is registered for, and lives as long")]
    pub(crate) fn of(path: &Path, flags: AddWatchFlags) -> io::Result<Self> {
        let watch = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        watch.add_watch(path, flags)?;
        Ok(Self(AsyncFd::new(Descriptor(watch))?))
    }

    /// Watches a file that grows, or that another one takes the place of.
    pub(crate) fn of_growth(path: &Path) -> io::Result<Self> {
        Self::of(path, GROWTH)
    }

    /// Waits until something has changed.
    pub(crate) async fn change(&mut self) -> io::Result<()> {
        self.changes().await.map(drop)
    }

    /// Waits for changes: all that have piled up, at least one.
    pub(crate) async fn changes(&mut self) -> io::Result<Vec<InotifyEvent>> {
        loop {
            let mut guard = self.0.readable().await?;
            match guard.get_inner().0.read_events() {
                Ok(events) => return Ok(events),
                Err(nix::Error::EAGAIN) => guard.clear_ready(),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
