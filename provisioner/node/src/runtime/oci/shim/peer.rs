//! A node agent at the other end of a shim's socket.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use crate::runtime::oci::pass;
use crate::runtime::oci::wire::{Request, Say, decode, encode};

/// More than this unread is an agent that hangs: it is dropped, and learns everything anew when it comes back.
const OUTBOX_LIMIT: usize = 16 << 20;

pub(super) struct Peer {
    pub(super) id: u64,
    stream: UnixStream,
    inbox: Vec<u8>,
    /// Files that came, for requests that are not read yet.
    files: VecDeque<OwnedFd>,
    outbox: Vec<u8>,
    broken: bool,
}

impl Peer {
    pub(super) fn new(id: u64, stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { id, stream, inbox: vec![], files: VecDeque::new(), outbox: vec![], broken: false })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Whether it is to be told when it can be written to.
    pub(super) fn is_waiting(&self) -> bool {
        !self.outbox.is_empty()
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    pub(super) fn say(&mut self, say: &Say) {
        self.outbox.extend(encode(say));
        self.flush();
    }

    pub(super) fn flush(&mut self) {
        while !self.outbox.is_empty() && !self.broken {
            match self.stream.write(&self.outbox) {
                Ok(written) => drop(self.outbox.drain(..written)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.broken = true,
            }
        }
        self.broken |= self.outbox.len() > OUTBOX_LIMIT;
    }

    /// Everything asked so far, with the files that came with it. The end of the stream makes it broken.
    pub(super) fn requests(&mut self) -> Vec<(Request, Vec<OwnedFd>)> {
        let mut buffer = [0; 1 << 14];
        loop {
            match pass::receive(&self.stream, &mut buffer, &mut self.files) {
                Ok(0) => self.broken = true,
                Ok(read) => {
                    self.inbox.extend_from_slice(&buffer[..read]);
                    continue;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => self.broken = true,
            }
            break;
        }
        let mut requests = vec![];
        loop {
            match decode::<Request>(&mut self.inbox) {
                Ok(Some(request)) => {
                    let count = request.files.min(self.files.len());
                    requests.push((request, self.files.drain(..count).collect()));
                }
                Ok(None) => return requests,
                Err(error) => {
                    eprintln!("an agent can't be understood: {error}");
                    self.broken = true;
                    return requests;
                }
            }
        }
    }
}
