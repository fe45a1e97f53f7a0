//! The keeper of one pod's containers: a process of one thread that lives through restarts of the node agent.
//!
//! It makes the sandbox's namespaces and lives in them, starts containers, reaps them, writes their logs and their ends,
//! and tells every agent that is connected what changed.

#![allow(unsafe_code, reason = "fork is unsafe where threads are; a shim has one")]

mod cage;
mod capabilities;
mod document;
mod launch;
mod log;
mod peer;
mod program;
mod sandbox;
mod users;

pub(super) use sandbox::check_sysctl;

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::ExitCode;

use kprov_control_plane::world::{Clock, real::SystemClock};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, setsid};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::pipe::{PipeFlags, pipe_with};

use self::cage::{Cage, End, Launching, Output, report};
use self::document::Pids;
use self::launch::{Outputs, Report, Site};
use self::log::{Log, Rotation};
use self::peer::Peer;
use self::sandbox::Shared;
use super::cgroup::{Cgroup, Setup};
use super::folder::{PodFolder, SandboxRecord, load, save};
use super::wire::{Ask, Fault, Launch, Request, Say};
use crate::runtime::ContainerState;

/// The hidden command `runtime-shim <pod folder>`; its standard input is the socket that it listens on.
///
/// Must be called before any thread is started. Returns when the pod's sandbox has been removed.
pub fn shim_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let folders: Vec<OsString> = args.into_iter().collect();
    let [folder] = folders.as_slice() else {
        eprintln!("runtime-shim is started by kprov itself, with the folder of a pod");
        return ExitCode::from(2);
    };
    // SAFETY: this process has one thread.
    match unsafe { fork() } {
        // The agent waits for this process alone; the shim is no child of it.
        Ok(ForkResult::Parent { .. }) => ExitCode::SUCCESS,
        Ok(ForkResult::Child) => match serve(PodFolder(PathBuf::from(folder))) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("the shim ends: {error}");
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            eprintln!("can't fork: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(folder: PodFolder) -> io::Result<()> {
    setsid()?;
    rustix::thread::set_name(c"kprov-shim")?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let listener = UnixListener::from(io::stdin().as_fd().try_clone_to_owned()?);
    listener.set_nonblocking(true)?;
    rustix::stdio::dup2_stdin(&File::open("/dev/null")?)?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let mut children = SigSet::empty();
    children.add(Signal::SIGCHLD);
    children.thread_block()?;
    let signals = SignalFd::with_flags(&children, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
    match Shim::open(folder) {
        Ok(mut shim) => shim.run(&listener, &signals),
        Err(error) => refuse(&listener, &error),
    }
}

/// Tells the agent that is waiting why there is no sandbox.
fn refuse(listener: &UnixListener, error: &io::Error) -> io::Result<()> {
    listener.set_nonblocking(false)?;
    let (mut stream, _) = listener.accept()?;
    let hello = Say::Hello { error: Some(error.to_string()), containers: vec![] };
    io::Write::write_all(&mut stream, &super::wire::encode(&hello))
}

/// What a file that can be read belongs to.
enum Ready {
    Signals,
    Listener,
    Peer(u64),
    Output(String),
    Report(String),
}

struct Shim {
    folder: PodFolder,
    record: SandboxRecord,
    setup: Setup,
    shared: Shared,
    cages: BTreeMap<String, Cage>,
    peers: Vec<Peer>,
    next_peer: u64,
    /// Ends of processes whose launch is not reported yet.
    unclaimed: HashMap<i32, End>,
    /// Groups of ended containers that something is still leaving.
    leftover: Vec<Cgroup>,
    /// Who asked for the end of the sandbox.
    ending: Option<(u64, u64)>,
}

impl Shim {
    fn open(folder: PodFolder) -> io::Result<Self> {
        let record: SandboxRecord =
            load(&folder.sandbox())?.ok_or_else(|| io::Error::other("the pod's folder has no sandbox.json"))?;
        let setup = Setup::detect()?;
        let shared = sandbox::enter(&record.spec, &folder, &setup, &record.cgroup)?;
        Ok(Self {
            folder,
            record,
            setup,
            shared,
            cages: BTreeMap::new(),
            peers: vec![],
            next_peer: 0,
            unclaimed: HashMap::new(),
            leftover: vec![],
            ending: None,
        })
    }

    fn run(&mut self, listener: &UnixListener, signals: &SignalFd) -> io::Result<()> {
        loop {
            // Reports come before ends: a process may end as soon as it has begun.
            let (mut ended, mut rest) = (false, vec![]);
            for ready in self.wait(listener, signals)? {
                match ready {
                    Ready::Signals => ended = true,
                    Ready::Report(id) => self.read_report(&id),
                    other => rest.push(other),
                }
            }
            if ended {
                while signals.read_signal()?.is_some() {}
                self.reap();
            }
            for ready in rest {
                self.handle(ready, listener)?;
            }
            self.peers.retain(|peer| !peer.is_broken());
            if self.is_over() {
                return Ok(());
            }
        }
    }

    fn handle(&mut self, ready: Ready, listener: &UnixListener) -> io::Result<()> {
        match ready {
            Ready::Listener => self.welcome(listener),
            Ready::Peer(id) => {
                self.listen(id);
                Ok(())
            }
            Ready::Output(id) => {
                if let Some(cage) = self.cages.get_mut(&id) {
                    cage.pump(false, SystemClock.now());
                }
                Ok(())
            }
            Ready::Signals | Ready::Report(_) => Ok(()),
        }
    }

    /// Waits until something can be read, for as long as it takes.
    fn wait(&self, listener: &UnixListener, signals: &SignalFd) -> io::Result<Vec<Ready>> {
        let mut watched: Vec<(Ready, BorrowedFd<'_>, PollFlags)> =
            vec![(Ready::Signals, signals.as_fd(), PollFlags::IN), (Ready::Listener, listener.as_fd(), PollFlags::IN)];
        for peer in &self.peers {
            let write = if peer.is_waiting() { PollFlags::OUT } else { PollFlags::empty() };
            watched.push((Ready::Peer(peer.id), peer.fd(), PollFlags::IN | write));
        }
        for (id, cage) in &self.cages {
            watched.extend(cage.launch.iter().map(|l| (Ready::Report(id.clone()), l.report.as_fd(), PollFlags::IN)));
            watched.extend(cage.outputs.iter().map(|o| (Ready::Output(id.clone()), o.fd(), PollFlags::IN)));
        }
        let mut fds: Vec<PollFd<'_>> =
            watched.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        Ok(watched.into_iter().zip(ready).filter(|(_, ready)| *ready).map(|((what, ..), _)| what).collect())
    }

    fn welcome(&mut self, listener: &UnixListener) -> io::Result<()> {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionAborted) => return Ok(()),
            Err(e) => return Err(e),
        };
        let mut peer = Peer::new(self.next_peer, stream)?;
        self.next_peer += 1;
        let containers = self.cages.values().map(|cage| cage.container.clone()).collect();
        peer.say(&Say::Hello { error: None, containers });
        self.peers.push(peer);
        Ok(())
    }

    fn listen(&mut self, id: u64) {
        let Some(peer) = self.peers.iter_mut().find(|p| p.id == id) else { return };
        peer.flush();
        for Request { number, ask } in peer.requests() {
            let from = (id, number);
            match ask {
                Ask::Start(launch) => self.start(*launch, from),
                Ask::Stop(id) => {
                    let result = self.stop(&id);
                    self.answer(from, result);
                }
                Ask::Kill(id) => {
                    let result = self.kill(&id).map_err(|e| Fault::system(format!("can't kill container {id}"), e));
                    self.answer(from, result);
                }
                Ask::Forget(id) => {
                    let result = self.forget(&id);
                    self.answer(from, result);
                }
                Ask::End => self.end_all(from),
            }
        }
    }

    fn answer(&mut self, (peer, number): (u64, u64), result: Result<(), Fault>) {
        // An agent that went away needs no answer.
        if let Some(peer) = self.peers.iter_mut().find(|p| p.id == peer) {
            peer.say(&Say::Answer { number, result });
        }
    }

    /// Notes a container's state on disk, and then tells everyone.
    fn changed(&mut self, id: &str) {
        let Some(cage) = self.cages.get(id) else { return };
        report("write a container's record", save(&self.folder.record(id), &cage.container));
        let say = Say::Changed(cage.container.clone());
        self.peers.iter_mut().for_each(|peer| peer.say(&say));
    }

    fn start(&mut self, launch: Launch, from: (u64, u64)) {
        let id = launch.container.id.clone();
        if self.ending.is_some() || self.cages.contains_key(&id) {
            return self
                .answer(from, Err(Fault::Refused(format!("container {id} can't be started in a sandbox that ends"))));
        }
        match self.fork_launch(&launch, from) {
            Ok(cage) => {
                self.cages.insert(id.clone(), cage);
                self.changed(&id);
            }
            Err(error) => self.answer(from, Err(Fault::system("can't start a container", error))),
        }
    }

    fn fork_launch(&self, launch: &Launch, asked_by: (u64, u64)) -> io::Result<Cage> {
        let id = &launch.container.id;
        fs::create_dir_all(self.folder.container(id))?;
        let cgroup = Cgroup::new(self.setup.clone(), &format!("{}/{id}", self.record.cgroup));
        let log = Log::open(&launch.spec.log_path, Rotation::default())?;
        let pipe = || -> io::Result<(OwnedFd, OwnedFd)> { Ok(pipe_with(PipeFlags::CLOEXEC)?) };
        let ((said, stdout), (cried, stderr), (told, report)) = (pipe()?, pipe()?, pipe()?);
        // SAFETY: this process has one thread.
        if matches!(unsafe { fork() }?, ForkResult::Child) {
            let site = Site {
                folder: &self.folder,
                setup: &self.setup,
                cgroup: &cgroup,
                pids: self.shared.pids,
                shm: &self.shared.shm,
                hostname: &self.record.spec.hostname,
            };
            launch::run(launch, &site, Outputs { stdout, stderr, report });
        }
        Ok(Cage {
            container: launch.container.clone(),
            cgroup,
            pid: None,
            stop_signal: Signal::try_from(launch.stop_signal).unwrap_or(Signal::SIGTERM),
            launch: Some(Launching { report: told.into(), text: vec![], asked_by }),
            outputs: vec![Output::new(said, "stdout")?, Output::new(cried, "stderr")?],
            log,
        })
    }

    /// Reads on in a launch's report. Its end is the moment when the container runs or has failed.
    fn read_report(&mut self, id: &str) {
        let Some(cage) = self.cages.get_mut(id) else { return };
        let Some(launch) = cage.launch.as_mut() else { return };
        let mut buffer = [0; 4096];
        match launch.report.read(&mut buffer) {
            Ok(0) => {}
            Ok(read) => return launch.text.extend_from_slice(&buffer[..read]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return,
            Err(error) => eprintln!("can't read the report of a launch: {error}"),
        }
        let (text, asked_by) = (std::mem::take(&mut launch.text), launch.asked_by);
        cage.launch = None;
        match serde_json::from_slice(&text) {
            Ok(Report::Running { pid, started_at }) => {
                cage.pid = Some(pid);
                cage.container.state = ContainerState::Running { started_at };
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
    fn reap(&mut self) {
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
                None => drop(self.unclaimed.insert(pid.as_raw(), end)),
            }
        }
        if self.cages.values().all(|cage| cage.launch.is_none()) {
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

    fn stop(&self, id: &str) -> Result<(), Fault> {
        let cage = self.cages.get(id).ok_or_else(|| Fault::NotFound(format!("container {id}")))?;
        let Some(pid) = cage.pid else { return Ok(()) };
        let signal = cage.stop_signal;
        // Its number can't be another process's: it is reaped here and nowhere else.
        nix::sys::signal::kill(Pid::from_raw(pid), signal)
            .map_err(|e| Fault::system(format!("can't signal container {id}"), e))
    }

    fn kill(&self, id: &str) -> io::Result<()> {
        let Some(cage) = self.cages.get(id).filter(|cage| !cage.is_ended()) else { return Ok(()) };
        if let Some(pid) = cage.pid {
            nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL)?;
        }
        cage.cgroup.kill()
    }

    fn forget(&mut self, id: &str) -> Result<(), Fault> {
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
        self.cages.remove(id);
        let gone = fs::remove_file(self.folder.record(id));
        report(
            "remove a container's record",
            gone.or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) }),
        );
        let say = Say::Gone(id.to_owned());
        self.peers.iter_mut().for_each(|peer| peer.say(&say));
    }

    fn end_all(&mut self, from: (u64, u64)) {
        self.ending = Some(from);
        let ids: Vec<String> = self.cages.keys().cloned().collect();
        for id in ids {
            report("kill a container", self.kill(&id));
        }
    }

    /// Whether the sandbox was to end and everything in it has.
    fn is_over(&mut self) -> bool {
        let Some(from) = self.ending else { return false };
        if self.cages.values().any(|cage| !cage.is_ended()) {
            return false;
        }
        if let Pids::Of(pid) = self.shared.pids {
            report(
                "end the pod's process namespace",
                nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL).map_err(Into::into),
            );
            report("reap", waitpid(Pid::from_raw(pid), None).map(drop).map_err(Into::into));
        }
        self.answer(from, Ok(()));
        true
    }
}
