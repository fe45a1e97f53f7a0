//! Commands that run in containers beside their first process: begun, heard, reaped.

#![allow(unsafe_code, reason = "fork is unsafe where threads are; a shim has one")]

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::signal::Signal;
use nix::unistd::{ForkResult, Pid, fork};
use rustix::pipe::{PipeFlags, pipe_with};

use super::Shim;
use super::cage::{End, report};
use super::launch::{self, Report};
use super::stdio::Stdio;
use crate::runtime::oci::wire::Fault;
use crate::runtime::{Executed, Wanted};

/// What is kept of a command's output, its beginning.
///
/// Source: kubelet `maxRespBodyLength`.
const KEPT: usize = 10 << 10;

/// A command, until it has ended.
pub(super) struct Exec {
    /// Agent and number of its request.
    from: (u64, u64),
    /// Open until the command runs or has failed to.
    launch: Option<File>,
    text: Vec<u8>,
    /// What it says, where it is kept for the answer.
    output: Option<File>,
    said: Vec<u8>,
    pub(super) pid: Option<i32>,
}

impl Exec {
    pub(super) fn from(&self) -> (u64, u64) {
        self.from
    }

    pub(super) fn is_launching(&self) -> bool {
        self.launch.is_some()
    }

    pub(super) fn launch(&self) -> Option<BorrowedFd<'_>> {
        self.launch.as_ref().map(AsFd::as_fd)
    }

    pub(super) fn output(&self) -> Option<BorrowedFd<'_>> {
        self.output.as_ref().map(AsFd::as_fd)
    }

    /// Takes what it has said so far. Who says more than is kept must not be held up.
    pub(super) fn hear(&mut self) {
        let mut buffer = [0; 4096];
        while let Some(output) = &mut self.output {
            match output.read(&mut buffer) {
                Ok(0) => self.output = None,
                Ok(read) => {
                    let room = KEPT.saturating_sub(self.said.len()).min(read);
                    self.said.extend_from_slice(&buffer[..room]);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    eprintln!("can't read a command's output: {error}");
                    self.output = None;
                }
            }
        }
    }
}

impl Shim {
    /// Runs a command; without streams of its own, what it says is kept.
    pub(super) fn exec(
        &mut self,
        id: &str,
        args: &[String],
        streams: Option<(Wanted, Vec<OwnedFd>)>,
        from: (u64, u64),
    ) {
        let running = self.cages.get(id).is_some_and(|cage| cage.pid.is_some() && !cage.is_ended());
        if !running || self.ending.is_some() {
            return self.answer(from, Err(Fault::NotFound(format!("container {id}, as running,"))));
        }
        match self.fork_exec(id, args, streams, from) {
            Ok(exec) => self.execs.push(exec),
            Err(error) => self.answer(from, Err(Fault::system("can't run a command", error))),
        }
    }

    fn fork_exec(
        &self,
        id: &str,
        args: &[String],
        streams: Option<(Wanted, Vec<OwnedFd>)>,
        from: (u64, u64),
    ) -> io::Result<Exec> {
        let pipe = || -> io::Result<(OwnedFd, OwnedFd)> { Ok(pipe_with(PipeFlags::CLOEXEC)?) };
        let (told, report) = pipe()?;
        let (stdio, output) = match streams {
            Some((wanted, files)) => (Stdio::of(wanted, files)?, None),
            None => {
                let (said, output) = pipe()?;
                // The other end is the command's and stays blocking.
                rustix::io::ioctl_fionbio(&said, true)?;
                let stderr = Some(output.try_clone()?);
                (Stdio::Files { stdin: None, stdout: Some(output), stderr }, Some(said.into()))
            }
        };
        // SAFETY: this process has one thread.
        if matches!(unsafe { fork() }?, ForkResult::Child) {
            launch::run_command(id, args, &self.folder, from, stdio, report);
        }
        Ok(Exec { from, launch: Some(told.into()), text: vec![], output, said: vec![], pid: None })
    }

    /// Reads on in the report of a command's launch.
    pub(super) fn read_exec_report(&mut self, from: (u64, u64)) {
        let Some(exec) = self.execs.iter_mut().find(|exec| exec.from == from) else { return };
        let Some(launch) = exec.launch.as_mut() else { return };
        let mut buffer = [0; 4096];
        match launch.read(&mut buffer) {
            Ok(0) => {}
            Ok(read) => return exec.text.extend_from_slice(&buffer[..read]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return,
            Err(error) => eprintln!("can't read the report of a command: {error}"),
        }
        exec.launch = None;
        match serde_json::from_slice(&exec.text) {
            Ok(Report::Running { pid, .. }) => {
                exec.pid = Some(pid);
                if let Some(end) = self.unclaimed.remove(&pid) {
                    self.exec_ended(pid, end);
                }
            }
            Ok(Report::Failed(fault)) => self.exec_failed(from, fault),
            Err(_) => {
                self.exec_failed(from, Fault::system("can't run a command", "the process that starts it was killed"))
            }
        }
    }

    fn exec_failed(&mut self, from: (u64, u64), fault: Fault) {
        self.execs.retain(|exec| exec.from != from);
        self.answer(from, Err(fault));
    }

    pub(super) fn hear_exec(&mut self, from: (u64, u64)) {
        if let Some(exec) = self.execs.iter_mut().find(|exec| exec.from == from) {
            exec.hear();
        }
    }

    /// Whether the process that ended was a command.
    pub(super) fn exec_ended(&mut self, pid: i32, end: End) -> bool {
        let Some(index) = self.execs.iter().position(|exec| exec.pid == Some(pid)) else { return false };
        let mut exec = self.execs.swap_remove(index);
        exec.hear();
        let code = match end {
            End::Code(code) => code,
            End::Signal(signal) => 128 + signal,
        };
        let output = String::from_utf8_lossy(&exec.said).into_owned();
        self.answer_with(exec.from, Ok(Some(Executed { code: Some(code), output })));
        true
    }

    /// Kills a command with what it has started in its session.
    pub(super) fn end_exec(&self, from: (u64, u64)) {
        let Some(pid) = self.execs.iter().find(|exec| exec.from == from).and_then(|exec| exec.pid) else { return };
        // Its number can't be another's: it is reaped here and nowhere else.
        let killed = nix::sys::signal::killpg(Pid::from_raw(pid), Signal::SIGKILL);
        report(
            "kill a command",
            killed.or(nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL)).map_err(Into::into),
        );
    }
}
