//! Open files that go from one process to another, with bytes, through a socket.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recvmsg, sendmsg};

/// Files that go with one message.
pub(super) const MOST: usize = 4;

const SPACE: usize = rustix::cmsg_space!(ScmRights(MOST));

/// Sends the files with the first of the bytes, of which there is at least one; how many bytes went.
pub(super) fn send(socket: impl AsFd, bytes: &[u8], files: &[OwnedFd]) -> io::Result<usize> {
    if files.len() > MOST {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{} files are too many", files.len())));
    }
    let files: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() {
        // There is space for that many.
        control.push(SendAncillaryMessage::ScmRights(&files));
    }
    Ok(sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?)
}

/// Takes bytes, and the files that came with them, at the latest with the first of those they were sent with; 0 is the
/// end.
pub(super) fn receive(socket: impl AsFd, bytes: &mut [u8], files: &mut VecDeque<OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = recvmsg(socket, &mut [IoSliceMut::new(bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    for one in control.drain() {
        if let RecvAncillaryMessage::ScmRights(came) = one {
            files.extend(came);
        }
    }
    if message.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "more files came than can be taken"));
    }
    Ok(message.bytes)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn files_arrive_in_their_order() {
        let (left, right) = UnixStream::pair().unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        assert_eq!(send(&left, b"plain", &[]).unwrap(), 5);
        assert_eq!(send(&left, b"with", &[writer.into(), reader.into()]).unwrap(), 4);
        drop(left);
        let (mut bytes, mut files) = ([0; 16], VecDeque::new());
        let mut received = 0;
        while received < 9 {
            received += receive(&right, &mut bytes, &mut files).unwrap();
        }
        assert_eq!((received, files.len()), (9, 2));
        assert_eq!(receive(&right, &mut bytes, &mut files).unwrap(), 0);
        File::from(files.pop_front().unwrap()).write_all(b"said").unwrap();
        let mut text = String::new();
        File::from(files.pop_front().unwrap()).read_to_string(&mut text).unwrap();
        assert_eq!(text, "said");
    }

    #[test]
    fn too_many_files_are_refused() {
        let (left, _right) = UnixStream::pair().unwrap();
        let files = (0..=MOST).map(|_| File::open("/dev/null").unwrap().into()).collect::<Vec<OwnedFd>>();
        assert!(send(&left, b"x", &files).is_err());
    }
}
