//! Who listens to a container beside its log.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::runtime::oci::wire::Fault;

/// Bytes that a listener may be behind with one output; a container never waits for who listens to it.
const BEHIND: usize = 16 << 20;

/// Someone attached.
pub(super) struct Listener {
    /// Agent and number of its request.
    pub(super) from: (u64, u64),
    sinks: Vec<Sink>,
    fate: Fate,
}

/// An output that it listens to.
struct Sink {
    stream: &'static str,
    pipe: File,
    waiting: VecDeque<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Listening,
    /// The container has ended: what waits is all that is left.
    Over,
    /// It takes too little.
    Behind,
    Gone,
}

impl Listener {
    pub(super) fn new(from: (u64, u64), outputs: Vec<(&'static str, OwnedFd)>) -> io::Result<Self> {
        let sink = |(stream, pipe): (_, OwnedFd)| {
            rustix::io::ioctl_fionbio(&pipe, true)?;
            Ok(Sink { stream, pipe: pipe.into(), waiting: VecDeque::new() })
        };
        Ok(Self { from, sinks: outputs.into_iter().map(sink).collect::<io::Result<_>>()?, fate: Fate::Listening })
    }

    /// The container has said something.
    pub(super) fn hear(&mut self, stream: &str, chunk: &[u8]) {
        if self.fate != Fate::Listening {
            return;
        }
        for sink in self.sinks.iter_mut().filter(|sink| sink.stream == stream) {
            sink.waiting.extend(chunk);
        }
        self.flush();
        if self.sinks.iter().any(|sink| sink.waiting.len() > BEHIND) {
            self.fate = Fate::Behind;
        }
    }

    /// The container says no more.
    pub(super) fn over(&mut self) {
        if self.fate == Fate::Listening {
            self.fate = Fate::Over;
        }
    }

    /// Says what waits, as far as it is taken.
    pub(super) fn flush(&mut self) {
        if self.sinks.iter_mut().any(|sink| !sink.flush()) {
            self.fate = Fate::Gone;
        }
    }

    /// What is to be watched: whether it can be written to, or nobody reads it any more.
    pub(super) fn watched(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let flags = |sink: &Sink| if sink.waiting.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
        self.sinks.iter().map(move |sink| (sink.pipe.as_fd(), flags(sink)))
    }

    /// What it is told at last; `None` while it stays.
    pub(super) fn end(&self) -> Option<Result<(), Fault>> {
        match self.fate {
            Fate::Listening => None,
            Fate::Over => self.sinks.iter().all(|sink| sink.waiting.is_empty()).then_some(Ok(())),
            Fate::Behind => {
                Some(Err(Fault::Refused(format!("more than {} MiB of output were not taken", BEHIND >> 20))))
            }
            Fate::Gone => Some(Ok(())),
        }
    }
}

impl Sink {
    /// `false` when nobody reads it any more.
    fn flush(&mut self) -> bool {
        while !self.waiting.is_empty() {
            match self.pipe.write(self.waiting.as_slices().0) {
                Ok(written) => drop(self.waiting.drain(..written)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return true,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        let mut fds = [PollFd::new(&self.pipe, PollFlags::empty())];
        let polled = poll(&mut fds, Some(&Timespec::default()));
        polled.is_err() || !fds[0].revents().contains(PollFlags::ERR)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn attached() -> (Listener, File) {
        let (reader, writer) = std::io::pipe().unwrap();
        let listener = Listener::new((1, 2), vec![("stdout", writer.into())]).unwrap();
        (listener, OwnedFd::from(reader).into())
    }

    #[test]
    fn nothing_is_lost_or_out_of_order_before_the_limit() {
        let (mut listener, mut reader) = attached();
        let said: Vec<u8> = (0..(1_u32 << 20)).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
        said.chunks(1000).for_each(|chunk| listener.hear("stdout", chunk));
        listener.hear("stderr", b"not for it");
        listener.over();
        let (mut heard, mut buffer) = (vec![], vec![0; 50_000]);
        while heard.len() < said.len() {
            let read = reader.read(&mut buffer).unwrap();
            heard.extend_from_slice(&buffer[..read]);
            listener.flush();
        }
        assert!(heard == said);
        assert!(matches!(listener.end(), Some(Ok(()))));
    }

    #[test]
    fn who_is_too_far_behind_is_let_go() {
        let (mut listener, _reader) = attached();
        listener.hear("stdout", &vec![0; BEHIND]);
        assert!(listener.end().is_none());
        listener.hear("stdout", &[0; 1 << 17]);
        assert!(matches!(listener.end(), Some(Err(Fault::Refused(_)))));
    }

    #[test]
    fn who_is_gone_is_noticed_without_a_word() {
        let (mut listener, reader) = attached();
        listener.flush();
        assert!(listener.end().is_none());
        drop(reader);
        listener.flush();
        assert!(matches!(listener.end(), Some(Ok(()))));
    }
}
