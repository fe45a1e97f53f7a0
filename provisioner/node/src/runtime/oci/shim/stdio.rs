//! What a process of a container gets as its standard streams: files, or a terminal.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use libcontainer::container::builder::ContainerBuilder;

use crate::runtime::Wanted;
use crate::runtime::oci::folder::short;
use crate::runtime::oci::pass;

/// The standard streams of a process that is to be made.
pub(super) enum Stdio {
    /// Files; where there is none the process reads the end, and writes to nobody.
    Files { stdin: Option<OwnedFd>, stdout: Option<OwnedFd>, stderr: Option<OwnedFd> },
    /// A terminal is made for it, whose master's side goes through this socket.
    Terminal(OwnedFd),
}

impl Stdio {
    /// Those of a command, of the files that came with it.
    pub(super) fn of(wanted: Wanted, files: Vec<OwnedFd>) -> io::Result<Self> {
        let mut files = files.into_iter();
        let mut next = || files.next().ok_or_else(|| io::Error::other("a file is missing"));
        if wanted.tty {
            return Ok(Self::Terminal(next()?));
        }
        let mut file = |wanted: bool| wanted.then(&mut next).transpose();
        Ok(Self::Files { stdin: file(wanted.stdin)?, stdout: file(wanted.stdout)?, stderr: file(wanted.stderr)? })
    }

    pub(super) fn is_terminal(&self) -> bool {
        matches!(self, Self::Terminal(_))
    }

    /// Gives them to a process that is being made in a folder; `name` is that of a socket there.
    pub(super) fn give(
        self,
        builder: ContainerBuilder,
        folder: &Path,
        name: &str,
    ) -> io::Result<(ContainerBuilder, Given)> {
        match self {
            Self::Files { stdin, stdout, stderr } => {
                let or_null = |file: Option<OwnedFd>| match file {
                    Some(file) => Ok(file),
                    None => File::options().read(true).write(true).open("/dev/null").map(Into::into),
                };
                let builder = builder.with_stdin(or_null(stdin)?);
                Ok((builder.with_stdout(or_null(stdout)?).with_stderr(or_null(stderr)?), Given(None)))
            }
            Self::Terminal(to) => {
                let folder = short(folder)?;
                let path = folder.path.join(name);
                let listener = UnixListener::bind(&path)?;
                let builder = builder.with_console_socket(Some(&path));
                Ok((builder, Given(Some(Console { listener, path, to, _folder: folder.folder }))))
            }
        }
    }
}

/// What is left to do when the process has been made.
pub(super) struct Given(Option<Console>);

/// Where libcontainer sends the master's side of a terminal.
struct Console {
    listener: UnixListener,
    path: PathBuf,
    to: OwnedFd,
    /// The path leads through it.
    _folder: OwnedFd,
}

impl Given {
    /// Hands the terminal over to who waits for it. The process was made with it, so it has been sent by now.
    pub(super) fn hand_over(self) -> io::Result<()> {
        let Some(console) = self.0 else { return Ok(()) };
        let (from, _) = console.listener.accept()?;
        let mut files = VecDeque::new();
        pass::receive(&from, &mut [0; 64], &mut files)?;
        let master = files.pop_front().ok_or_else(|| io::Error::other("no terminal was sent"))?;
        pass::send(console.to.as_fd(), b"t", &[master])?;
        Ok(())
    }

    /// Takes away what was made for it, and libcontainer's link to it in its own folder.
    pub(super) fn clear(&self, notes: &Path) -> io::Result<()> {
        let Some(console) = &self.0 else { return Ok(()) };
        for entry in fs::read_dir(notes)? {
            let path = entry?.path();
            if fs::read_link(&path).is_ok_and(|to| to == console.path) {
                fs::remove_file(path)?;
            }
        }
        fs::remove_file(&console.path)
    }
}
