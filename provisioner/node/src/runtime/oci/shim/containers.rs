//! What a shim does with its containers: begin, reap, signal, forget.

#![allow(unsafe_code, reason = "fork is unsafe where threads are; a shim has one")]

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use kprov_control_plane::world::{Clock, real::SystemClock};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use rustix::pipe::{PipeFlags, pipe_with};

use super::Shim;
use super::attached::Listener;
use super::cage::{Cage, End, Input, Launching, Output, report};
use super::document::Pids;
use super::exec::Exec;
use super::launch::{self, Report, Site};
use super::log::{Log, Rotation};
use super::stdio::Stdio;
use crate::runtime::oci::cgroup::Cgroup;
use crate::runtime::oci::pass;
use crate::runtime::oci::wire::{Fault, Launch, Say};
use crate::runtime::{ContainerSpec, ContainerState, Limits, Wanted};

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(pipe_with(PipeFlags::CLOEXEC)?)
}

/// The shim's ends of a container's streams.
struct Ours {
    outputs: Vec<Output>,
    input: Input,
    /// Where the terminal will come from.
    terminal: Option<OwnedFd>,
}

/// The streams of a container that is to be made.
fn streams(spec: &ContainerSpec) -> io::Result<(Stdio, Ours)> {
    if spec.tty {
        let (ours, theirs) = UnixStream::pair()?;
        let ours = Ours { outputs: vec![], input: Input::None, terminal: Some(ours.into()) };
        return Ok((Stdio::Terminal(theirs.into()), ours));
    }
    let ((said, stdout), (cried, stderr)) = (pipe()?, pipe()?);
    let (stdin, input) = match spec.stdin {
        true => {
            let (theirs, ours) = pipe()?;
            (Some(theirs), if spec.stdin_once { Input::Once(ours) } else { Input::Pipe(ours) })
        }
        false => (None, Input::None),
    };
    let outputs = vec![Output::new(said, "stdout")?, Output::new(cried, "stderr")?];
    Ok((Stdio::Files { stdin, stdout: Some(stdout), stderr: Some(stderr) }, Ours { outputs, input, terminal: None }))
}

impl Cage {
    /// Takes the master's side of its terminal, which was sent before its launch was reported.
    fn sit_at(&mut self, from: &OwnedFd) -> io::Result<()> {
        let mut files = VecDeque::new();
        pass::receive(from, &mut [0; 1], &mut files)?;
        let master = files.pop_front().ok_or_else(|| io::Error::other("none came"))?;
        self.outputs.push(Output::new(master.try_clone()?, "stdout")?);
        self.input = Input::Terminal(master);
        Ok(())
    }

    /// Someone listens from now on; the first file is a socket that takes what they speak to.
    fn attach(&mut self, wanted: Wanted, files: Vec<OwnedFd>, from: (u64, u64)) -> io::Result<()> {
        let mut files = files.into_iter();
        let to = files.next().ok_or_else(|| io::Error::other("a file is missing"))?;
        let names = [("stdout", wanted.stdout), ("stderr", wanted.stderr)].into_iter().filter(|(_, wanted)| *wanted);
        let outputs = names.map(|(name, _)| name).zip(files).collect();
        let listener = Listener::new(from, outputs)?;
        if let Some(file) = self.input.share(wanted.stdin, wanted.tty)? {
            pass::send(&to, b"i", &[file])?;
        }
        self.listeners.push(listener);
        Ok(())
    }
}

impl Shim {
    pub(super) fn start(&mut self, launch: Launch, from: (u64, u64)) {
        let id = launch.container.id.clone();
        if self.ending.is_some() || self.cages.contains_key(&id) {
            return self
                .answer(from, Err(Fault::Refused(format!("container {id} can't be started in a sandbox that ends"))));
        }
        let pids = match self.pids(&launch) {
            Ok(pids) => pids,
            Err(fault) => return self.answer(from, Err(fault)),
        };
        match self.fork_launch(&launch, pids, from) {
            Ok(cage) => {
                self.cages.insert(id.clone(), cage);
                self.changed(&id);
            }
            Err(error) => self.answer(from, Err(Fault::system("can't start a container", error))),
        }
    }

    /// Which processes a container sees: the pod's, or those of the container that it is to be beside.
    fn pids(&self, launch: &Launch) -> Result<Pids, Fault> {
        let Some(name) = launch.spec.beside.as_deref().filter(|_| self.shared.pids == Pids::Own) else {
            return Ok(self.shared.pids);
        };
        let running = self.cages.values().find(|cage| cage.container.name == name && !cage.is_ended());
        let pid = running.and_then(|cage| cage.pid).map(Pids::Of);
        pid.ok_or_else(|| Fault::Refused(format!("container {name}, to be beside, is not running")))
    }

    fn fork_launch(&self, launch: &Launch, pids: Pids, asked_by: (u64, u64)) -> io::Result<Cage> {
        let id = &launch.container.id;
        fs::create_dir_all(self.folder.container(id))?;
        let cgroup = Cgroup::new(self.setup.clone(), &format!("{}/{id}", self.record.cgroup));
        let log = Log::open(&launch.spec.log_path, Rotation::default())?;
        let (told, report) = pipe()?;
        let (stdio, ours) = streams(&launch.spec)?;
        // SAFETY: this process has one thread.
        if matches!(unsafe { fork() }?, ForkResult::Child) {
            let site = Site {
                folder: &self.folder,
                setup: &self.setup,
                cgroup: &cgroup,
                pids,
                shm: &self.shared.shm,
                hostname: &self.record.spec.hostname,
            };
            launch::run(launch, &site, stdio, report);
        }
        Ok(Cage {
            container: launch.container.clone(),
            cgroup,
            pid: None,
            stop_signal: Signal::try_from(launch.stop_signal).unwrap_or(Signal::SIGTERM),
            launch: Some(Launching { report: told.into(), text: vec![], asked_by, terminal: ours.terminal }),
            outputs: ours.outputs,
            input: ours.input,
            listeners: vec![],
            log,
        })
    }

    /// Reads on in a launch's report. Its end is the moment when the container runs or has failed.
    pub(super) fn read_report(&mut self, id: &str) {
        let Some(cage) = self.cages.get_mut(id) else { return };
        let Some(launch) = cage.launch.as_mut() else { return };
        let mut buffer = [0; 4096];
        match launch.report.read(&mut buffer) {
            Ok(0) => {}
            Ok(read) => return launch.text.extend_from_slice(&buffer[..read]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return,
            Err(error) => eprintln!("can't read the report of a launch: {error}"),
        }
        let (text, asked_by, terminal) = (std::mem::take(&mut launch.text), launch.asked_by, launch.terminal.take());
        cage.launch = None;
        match serde_json::from_slice(&text) {
            Ok(Report::Running { pid, started_at }) => {
                cage.pid = Some(pid);
                cage.container.state = ContainerState::Running { started_at };
                report("take a container's terminal", terminal.map_or(Ok(()), |from| cage.sit_at(&from)));
                self.changed(id);
                self.answer(asked_by, Ok(()));
                if let Some(end) = self.unclaimed.remove(&pid) {
                    self.ended(id, end);
                } else if self.ending.is_some() {
                    report("kill a container", self.kill(id));
                }
            }
            Ok(Report::Failed(fault)) => self.failed(id, fault, asked_by),
            Err(_) => self.failed(
                id,
                Fault::system("can't make the container", "the process that makes it was killed"),
                asked_by,
            ),
        }
    }

    fn failed(&mut self, id: &str, fault: Fault, asked_by: (u64, u64)) {
        let now = SystemClock.now();
        let Some(cage) = self.cages.get_mut(id) else { return };
        let words = match &fault {
            Fault::Start(words) => words.clone(),
            _ => String::new(),
        };
        cage.fail(&words, now);
        self.leftover.push(cage.cgroup.clone());
        if matches!(fault, Fault::Start(_)) {
            self.changed(id);
        } else {
            self.drop_cage(id);
        }
        self.remove_leftover();
        self.answer(asked_by, Err(fault));
    }

    /// Takes notice of every process that ended.
    pub(super) fn reap(&mut self) {
        loop {
            let (pid, end) = match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, End::Code(code)),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, End::Signal(signal as i32)),
                Ok(WaitStatus::StillAlive) | Err(nix::errno::Errno::ECHILD) => break,
                Ok(_) => continue,
                Err(error) => {
                    eprintln!("can't reap: {error}");
                    break;
                }
            };
            let owner = self.cages.iter().find(|(_, cage)| cage.pid == Some(pid.as_raw())).map(|(id, _)| id.clone());
            match owner {
                Some(id) => self.ended(&id, end),
                None if self.exec_ended(pid.as_raw(), end) => {}
                None => drop(self.unclaimed.insert(pid.as_raw(), end)),
            }
        }
        let launching = self.execs.iter().any(Exec::is_launching);
        if !launching && self.cages.values().all(|cage| cage.launch.is_none()) {
            self.unclaimed.clear();
        }
        self.remove_leftover();
    }

    fn ended(&mut self, id: &str, end: End) {
        let Some(cage) = self.cages.get_mut(id) else { return };
        cage.end(end, SystemClock.now());
        self.leftover.push(cage.cgroup.clone());
        self.remove_leftover();
        self.changed(id);
    }

    /// What can't be removed yet is tried again at the next end of a process, and at last by the agent.
    fn remove_leftover(&mut self) {
        self.leftover.retain(|cgroup| {
            !cgroup.remove().unwrap_or_else(|error| {
                eprintln!("can't remove control group {}: {error}", cgroup.path());
                true
            })
        });
    }

    pub(super) fn stop(&self, id: &str) -> Result<(), Fault> {
        let cage = self.cages.get(id).ok_or_else(|| Fault::NotFound(format!("container {id}")))?;
        let Some(pid) = cage.pid else { return Ok(()) };
        let signal = cage.stop_signal;
        // Its number can't be another process's: it is reaped here and nowhere else.
        nix::sys::signal::kill(Pid::from_raw(pid), signal)
            .map_err(|e| Fault::system(format!("can't signal container {id}"), e))
    }

    pub(super) fn kill(&self, id: &str) -> io::Result<()> {
        let Some(cage) = self.cages.get(id).filter(|cage| !cage.is_ended()) else { return Ok(()) };
        if let Some(pid) = cage.pid {
            nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL)?;
        }
        cage.cgroup.kill()
    }

    /// Lets someone listen and speak to a container from now on.
    pub(super) fn attach(&mut self, id: &str, wanted: Wanted, files: Vec<OwnedFd>, from: (u64, u64)) {
        let running = |cage: &&mut Cage| matches!(cage.container.state, ContainerState::Running { .. });
        let attached = match self.cages.get_mut(id).filter(running) {
            Some(cage) => cage.attach(wanted, files, from),
            None => return self.answer(from, Err(Fault::NotFound(format!("container {id}, as running,")))),
        };
        if let Err(error) = attached {
            self.answer(from, Err(Fault::system(format!("can't attach to container {id}"), error)));
        }
    }

    pub(super) fn resize(&mut self, id: &str, limits: &Limits) -> Result<(), Fault> {
        let running = |cage: &&mut Cage| matches!(cage.container.state, ContainerState::Running { .. });
        let cage = self.cages.get_mut(id).filter(running);
        let cage = cage.ok_or_else(|| Fault::NotFound(format!("container {id}, as running,")))?;
        cage.cgroup.resize(limits).map_err(|error| Fault::system(format!("can't resize container {id}"), error))?;
        let was = cage.container.limits.take().unwrap_or_default();
        cage.container.limits = Some(was.resized(limits));
        self.changed(id);
        Ok(())
    }

    pub(super) fn forget(&mut self, id: &str) -> Result<(), Fault> {
        match self.cages.get(id) {
            Some(cage) if !cage.is_ended() => Err(Fault::Refused(format!("container {id} is running: stop it first"))),
            Some(_) => {
                self.drop_cage(id);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn drop_cage(&mut self, id: &str) {
        self.parting.extend(self.cages.remove(id).into_iter().flat_map(|cage| cage.listeners));
        let gone = fs::remove_file(self.folder.record(id));
        report(
            "remove a container's record",
            gone.or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) }),
        );
        let say = Say::Gone(id.to_owned());
        self.peers.iter_mut().for_each(|peer| peer.say(&say));
    }

    pub(super) fn end_all(&mut self, from: (u64, u64)) {
        self.ending = Some(from);
        let ids: Vec<String> = self.cages.keys().cloned().collect();
        for id in ids {
            report("kill a container", self.kill(&id));
        }
    }
}
