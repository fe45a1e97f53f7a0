//! One container as its shim holds it.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use jiff::Timestamp;
use nix::sys::signal::Signal;

use super::attached::Listener;
use super::log::{Log, Stream};
use crate::runtime::oci::cgroup::Cgroup;
use crate::runtime::{Container, ContainerState, Exit};

/// Exit code of a container that never began.
const NEVER_BEGAN: i32 = 128;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Code(i32),
    Signal(i32),
}

pub(super) struct Cage {
    pub(super) container: Container,
    pub(super) cgroup: Cgroup,
    pub(super) pid: Option<i32>,
    /// Asks its first process to stop.
    pub(super) stop_signal: Signal,
    pub(super) launch: Option<Launching>,
    pub(super) outputs: Vec<Output>,
    pub(super) input: Input,
    pub(super) listeners: Vec<Listener>,
    pub(super) log: Log,
}

/// The process that makes the container, and who waits for it.
pub(super) struct Launching {
    pub(super) report: File,
    pub(super) text: Vec<u8>,
    /// Agent and number of its request.
    pub(super) asked_by: (u64, u64),
    /// Where its terminal comes from, if it gets one.
    pub(super) terminal: Option<OwnedFd>,
}

/// What goes to the first process of a container.
pub(super) enum Input {
    /// Nothing: it has read the end.
    None,
    /// A pipe to its standard input.
    Pipe(OwnedFd),
    /// The same, for the first who attaches alone.
    Once(OwnedFd),
    /// Its terminal.
    Terminal(OwnedFd),
}

impl Input {
    /// The file for someone who attaches, if there is one.
    pub(super) fn share(&mut self, stdin: bool, tty: bool) -> io::Result<Option<OwnedFd>> {
        match self {
            Self::Pipe(file) if stdin => file.try_clone().map(Some),
            Self::Terminal(file) if stdin || tty => file.try_clone().map(Some),
            Self::Once(_) if stdin => match std::mem::replace(self, Self::None) {
                Self::Once(file) => Ok(Some(file)),
                _ => Ok(None),
            },
            _ => Ok(None),
        }
    }
}

/// An output that may still say something.
pub(super) struct Output {
    pipe: File,
    stream: Stream,
}

impl Output {
    pub(super) fn new(pipe: OwnedFd, name: &'static str) -> io::Result<Self> {
        // The other end is the container's and stays blocking.
        rustix::io::ioctl_fionbio(&pipe, true)?;
        Ok(Self { pipe: pipe.into(), stream: Stream::new(name) })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

impl Cage {
    pub(super) fn is_ended(&self) -> bool {
        matches!(self.container.state, ContainerState::Exited(_))
    }

    /// Logs what its outputs have to say: up to one chunk each, or everything. Outputs that ended are let go.
    pub(super) fn pump(&mut self, all: bool, now: Timestamp) {
        let (log, listeners) = (&mut self.log, &mut self.listeners);
        self.outputs.retain_mut(|output| match pump(output, log, listeners, all, now) {
            Ok(open) => open,
            Err(error) => {
                eprintln!("a line of a container's log is lost: {error}");
                true
            }
        });
    }

    /// It has ended: the rest of its processes go too, its last words are logged.
    pub(super) fn end(&mut self, end: End, now: Timestamp) {
        self.pid = None;
        self.input = Input::None;
        report("kill the rest of a container", self.cgroup.kill());
        self.pump(true, now);
        self.listeners.iter_mut().for_each(Listener::over);
        let oom = self.cgroup.oom_kills().unwrap_or_else(|error| {
            eprintln!("can't read whether a container ran out of memory: {error}");
            0
        });
        let started_at = match self.container.state {
            ContainerState::Running { started_at } => Some(started_at),
            _ => None,
        };
        self.container.state = ContainerState::Exited(exit(end, oom > 0, started_at, now));
    }

    /// It never began.
    pub(super) fn fail(&mut self, words: &str, now: Timestamp) {
        self.pid = None;
        report("kill the rest of a container", self.cgroup.kill());
        self.container.state = ContainerState::Exited(Exit {
            code: NEVER_BEGAN,
            signal: None,
            reason: "StartError".into(),
            message: words.into(),
            started_at: None,
            finished_at: now,
        });
    }
}

fn exit(end: End, oom: bool, started_at: Option<Timestamp>, finished_at: Timestamp) -> Exit {
    let (code, signal) = match end {
        End::Code(code) => (code, None),
        End::Signal(signal) => (128 + signal, Some(signal)),
    };
    let reason = match (oom, code) {
        (true, _) => "OOMKilled",
        (false, 0) => "Completed",
        (false, _) => "Error",
    };
    Exit { code, signal, reason: reason.into(), message: String::new(), started_at, finished_at }
}

/// `false` when the output has ended.
fn pump(output: &mut Output, log: &mut Log, listeners: &mut [Listener], all: bool, now: Timestamp) -> io::Result<bool> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        match output.pipe.read(&mut buffer) {
            Ok(0) => return log.finish(&mut output.stream, now).map(|()| false),
            Ok(read) => {
                listeners.iter_mut().for_each(|one| one.hear(output.stream.name(), &buffer[..read]));
                log.write(&mut output.stream, &buffer[..read], now)?;
            }
            // Nobody has the other side of the terminal open any more.
            Err(e) if e.raw_os_error() == Some(nix::libc::EIO) => {
                return log.finish(&mut output.stream, now).map(|()| false);
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
        if !all {
            return Ok(true);
        }
    }
}

/// Says what went wrong where nobody can act on it but a reader of the shim's log.
pub(super) fn report(what: &str, result: io::Result<()>) {
    if let Err(error) = result {
        eprintln!("can't {what}: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_as_upstream_does() {
        let at = Timestamp::UNIX_EPOCH;
        let show = |end, oom| {
            let exit = exit(end, oom, Some(at), at);
            (exit.code, exit.signal, exit.reason)
        };
        assert_eq!(show(End::Code(0), false), (0, None, "Completed".into()));
        assert_eq!(show(End::Code(3), false), (3, None, "Error".into()));
        assert_eq!(show(End::Signal(15), false), (143, Some(15), "Error".into()));
        assert_eq!(show(End::Signal(9), true), (137, Some(9), "OOMKilled".into()));
    }
}
