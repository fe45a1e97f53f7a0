//! The keeper of one pod's containers: a process of one thread that lives through restarts of the node agent.
//!
//! It makes the sandbox's namespaces and lives in them, starts containers, reaps them, writes their logs and their ends,
//! and tells every agent that is connected what changed.

#![allow(unsafe_code, reason = "fork is unsafe where threads are; a shim has one")]

mod attached;
mod cage;
mod capabilities;
mod containers;
mod document;
mod exec;
mod launch;
mod log;
mod peer;
mod program;
mod sandbox;
mod seccomp;
mod stdio;
mod users;

pub(super) use sandbox::check_sysctl;

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::ExitCode;

use kprov_control_plane::world::{Clock, real::SystemClock};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork, setsid};
use rustix::event::{PollFd, PollFlags, poll};

use self::attached::Listener;
use self::cage::{Cage, End, report};
use self::document::Pids;
use self::exec::Exec;
use self::peer::Peer;
use self::sandbox::Shared;
use super::cgroup::{Cgroup, Setup};
use super::folder::{PodFolder, SandboxRecord, load, save};
use super::wire::{Ask, Fault, Request, Say};
use crate::runtime::Executed;

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
    ExecOutput((u64, u64)),
    ExecReport((u64, u64)),
    /// Someone attached takes more, or has gone.
    Attached,
}

struct Shim {
    folder: PodFolder,
    record: SandboxRecord,
    setup: Setup,
    shared: Shared,
    cages: BTreeMap<String, Cage>,
    execs: Vec<Exec>,
    /// Who still listens to the last words of containers that are forgotten.
    parting: Vec<Listener>,
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
            execs: vec![],
            parting: vec![],
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
                    Ready::ExecReport(from) => self.read_exec_report(from),
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
            self.let_go();
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
            Ready::ExecOutput(from) => {
                self.hear_exec(from);
                Ok(())
            }
            Ready::Attached => {
                self.listeners().for_each(Listener::flush);
                Ok(())
            }
            Ready::Signals | Ready::Report(_) | Ready::ExecReport(_) => Ok(()),
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
        let listening = self.cages.values().flat_map(|cage| &cage.listeners).chain(&self.parting);
        watched.extend(listening.flat_map(Listener::watched).map(|(fd, flags)| (Ready::Attached, fd, flags)));
        for exec in &self.execs {
            let from = exec.from();
            watched.extend(exec.launch().map(|fd| (Ready::ExecReport(from), fd, PollFlags::IN)));
            watched.extend(exec.output().map(|fd| (Ready::ExecOutput(from), fd, PollFlags::IN)));
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
        for (Request { number, ask, .. }, files) in peer.requests() {
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
                Ask::Resize { id, limits } => {
                    let result = self.resize(&id, &limits);
                    self.answer(from, result);
                }
                Ask::Exec { id, args, streams } => self.exec(&id, &args, streams.map(|wanted| (wanted, files)), from),
                Ask::Attach { id, wanted } => self.attach(&id, wanted, files, from),
                Ask::EndExec(number) => {
                    self.end_exec((from.0, number));
                    self.answer(from, Ok(()));
                }
                Ask::Forget(id) => {
                    let result = self.forget(&id);
                    self.answer(from, result);
                }
                Ask::End => self.end_all(from),
            }
        }
    }

    fn listeners(&mut self) -> impl Iterator<Item = &mut Listener> {
        self.cages.values_mut().flat_map(|cage| &mut cage.listeners).chain(&mut self.parting)
    }

    /// Lets those go who have heard everything, or hear no more.
    fn let_go(&mut self) {
        let done: Vec<_> = self.listeners().filter_map(|one| Some((one.from, one.end()?))).collect();
        for (from, result) in done {
            self.cages.values_mut().for_each(|cage| cage.listeners.retain(|one| one.from != from));
            self.parting.retain(|one| one.from != from);
            self.answer(from, result);
        }
    }

    fn answer(&mut self, from: (u64, u64), result: Result<(), Fault>) {
        self.answer_with(from, result.map(|()| None));
    }

    fn answer_with(&mut self, (peer, number): (u64, u64), result: Result<Option<Executed>, Fault>) {
        // An agent that went away needs no answer.
        if let Some(peer) = self.peers.iter_mut().find(|p| p.id == peer) {
            peer.say(&Say::Answer { number, result });
        }
    }

    /// Notes a container's state on disk, and then tells everyone.
    fn changed(&mut self, id: &str) {
        let Some(cage) = self.cages.get(id) else { return };
        report("write a container's record", save(&self.folder.record(id), &cage.container));
        let say = Say::Changed(Box::new(cage.container.clone()));
        self.peers.iter_mut().for_each(|peer| peer.say(&say));
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
