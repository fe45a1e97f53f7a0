//! The agent's end of the socket to a pod's shim.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{oneshot, watch};

use super::cgroup::{Cgroup, Setup};
use super::folder::{PodFolder, SandboxRecord, save};
use super::pass;
use super::wire::{Ask, Fault, Request, Say, decode, encode};
use crate::runtime::{Container, ContainerState, Executed, Exit, Sandbox};

/// One pod as the agent knows it.
pub(super) struct Pod {
    pub(super) record: SandboxRecord,
    pub(super) folder: PodFolder,
    pub(super) cgroup: Cgroup,
    state: Mutex<State>,
    writer: tokio::sync::Mutex<Option<OwnedWriteHalf>>,
    numbers: AtomicU64,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    alive: bool,
    containers: BTreeMap<String, Container>,
    waiting: HashMap<u64, oneshot::Sender<Result<Option<Executed>, Fault>>>,
}

/// Whether a connection failed because no shim listens, or because it ended while we connected.
pub(super) fn is_nobody(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, NotFound};
    matches!(kind, ConnectionRefused | ConnectionReset | NotFound)
}

impl Pod {
    pub(super) fn new(record: SandboxRecord, folder: PodFolder, setup: Setup) -> Self {
        let cgroup = Cgroup::new(setup, &record.cgroup);
        Self {
            record,
            folder,
            cgroup,
            state: Mutex::default(),
            writer: tokio::sync::Mutex::default(),
            numbers: AtomicU64::new(0),
            changed: watch::Sender::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }

    /// Tells everyone who waits for something of this pod.
    fn notify(&self) {
        self.changed.send_modify(|n| *n += 1);
    }

    /// Wakes at every change from now on.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(super) fn sandbox(&self) -> Sandbox {
        Sandbox {
            pod: self.record.spec.pod.clone(),
            name: self.record.spec.name.clone(),
            created_at: self.record.created_at,
            ready: self.state().alive,
        }
    }

    pub(super) fn containers(&self) -> Vec<Container> {
        self.state().containers.values().cloned().collect()
    }

    pub(super) fn container(&self, id: &str) -> Option<Container> {
        self.state().containers.get(id).cloned()
    }

    pub(super) fn is_alive(&self) -> bool {
        self.state().alive
    }

    /// Forgets a container that the shim does not hold any more.
    pub(super) fn forget(&self, id: &str) {
        self.state().containers.remove(id);
        self.notify();
    }

    /// Asks the shim and waits for its answer; the changes that it made are known by then.
    pub(super) async fn ask(&self, ask: Ask) -> Result<(), Fault> {
        self.ask_as(self.number(), ask).await.map(|_| ())
    }

    /// A number for a question of one's own.
    pub(super) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// The same by a number, so that it can be referred to; only commands have something to tell.
    pub(super) async fn ask_as(&self, number: u64, ask: Ask) -> Result<Option<Executed>, Fault> {
        let told = self.post(number, ask, vec![]).await?;
        told.await.unwrap_or_else(|_| Err(lost()))
    }

    /// Asks with files and goes on; the answer is told later, or never when the shim ends.
    pub(super) async fn post(
        &self,
        number: u64,
        ask: Ask,
        files: Vec<OwnedFd>,
    ) -> Result<oneshot::Receiver<Result<Option<Executed>, Fault>>, Fault> {
        let (tell, told) = oneshot::channel();
        {
            let mut state = self.state();
            if !state.alive {
                return Err(lost());
            }
            state.waiting.insert(number, tell);
        }
        let frame = encode(&Request { number, ask, files: files.len() });
        {
            let mut writer = self.writer.lock().await;
            let writer = writer.as_mut().ok_or_else(lost)?;
            // A failed write is followed by the end of the stream, which answers all who wait.
            if let Err(error) = write(writer, &frame, &files).await {
                tracing::debug!(pod = %self.record.spec.pod, %error, "a shim does not listen");
            }
        }
        Ok(told)
    }

    /// Connects and learns what is there. `Ok(None)` when no shim lives.
    pub(super) async fn connect(&self) -> io::Result<Option<Reader>> {
        let socket = self.folder.socket()?;
        let stream = match UnixStream::connect(&socket.path).await {
            Ok(stream) => stream,
            Err(e) if is_nobody(e.kind()) => return Ok(None),
            Err(e) => return Err(e),
        };
        let (read, write) = stream.into_split();
        let mut reader = Reader { half: read, received: vec![] };
        let hello = match reader.next().await {
            Ok(hello) => hello,
            // It ended between our connection and its greeting.
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset => None,
            Err(e) => return Err(e),
        };
        match hello {
            Some(Say::Hello { error: None, containers }) => {
                *self.writer.lock().await = Some(write);
                let mut state = self.state();
                state.alive = true;
                state.containers = containers.into_iter().map(|c| (c.id.clone(), c)).collect();
                Ok(Some(reader))
            }
            Some(Say::Hello { error: Some(error), .. }) => Err(io::Error::other(error)),
            Some(other) => {
                Err(io::Error::new(io::ErrorKind::InvalidData, format!("a shim said {other:?} before its greeting")))
            }
            None => Ok(None),
        }
    }

    /// Follows what the shim says until it ends. `told` hears of every change.
    pub(super) async fn follow(self: Arc<Self>, mut reader: Reader, now: impl Fn() -> Timestamp, told: impl Fn()) {
        loop {
            match reader.next().await {
                Ok(Some(say)) => self.take(say),
                Ok(None) | Err(_) => match self.connect().await {
                    // The shim let go of this agent but lives.
                    Ok(Some(again)) => {
                        self.state().waiting.clear();
                        reader = again;
                    }
                    Ok(None) => break,
                    Err(error) => {
                        tracing::error!(pod = %self.record.spec.pod, %error, "a shim can't be followed any more");
                        break;
                    }
                },
            }
            self.notify();
            told();
        }
        self.lost(now()).await;
        told();
    }

    fn take(&self, say: Say) {
        let mut state = self.state();
        match say {
            Say::Hello { containers, .. } => {
                state.containers = containers.into_iter().map(|c| (c.id.clone(), c)).collect()
            }
            Say::Changed(container) => drop(state.containers.insert(container.id.clone(), *container)),
            Say::Gone(id) => drop(state.containers.remove(&id)),
            Say::Answer { number, result } => {
                if let Some(waiting) = state.waiting.remove(&number) {
                    // Who asked may have given up.
                    let _ = waiting.send(result);
                }
            }
        }
    }

    /// The shim is gone: what it kept can't be kept by anyone else, so it is killed and said to have ended.
    pub(super) async fn lost(&self, now: Timestamp) {
        let cgroup = self.cgroup.clone();
        let killed = tokio::task::spawn_blocking(move || cgroup.kill()).await;
        if let Err(error) = killed.unwrap_or_else(|e| Err(io::Error::other(e))) {
            tracing::error!(pod = %self.record.spec.pod, %error, "containers without a shim can't be killed");
        }
        let ended: Vec<Container> = {
            let mut state = self.state();
            state.alive = false;
            state.waiting.clear();
            let open = state.containers.values_mut().filter(|c| !matches!(c.state, ContainerState::Exited(_)));
            open.map(|c| lose(c, now)).collect()
        };
        for container in ended {
            let path = self.folder.record(&container.id);
            match save(&path, &container) {
                // A removal that was under way has taken the folder.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(error) => tracing::error!(file = %path.display(), %error, "a container's end can't be noted"),
                Ok(()) => {}
            }
        }
        self.notify();
    }

    /// Takes the containers from their records, where no shim tells them.
    pub(super) fn recall(&self) -> io::Result<()> {
        let containers = self.folder.containers()?;
        self.state().containers = containers.into_iter().map(|c| (c.id.clone(), c)).collect();
        Ok(())
    }
}

fn lost() -> Fault {
    Fault::system("can't reach the pod's shim", "it has ended: the sandbox must be removed")
}

/// The files go with the first bytes.
async fn write(writer: &mut OwnedWriteHalf, frame: &[u8], files: &[OwnedFd]) -> io::Result<()> {
    if files.is_empty() {
        return writer.write_all(frame).await;
    }
    let socket: &UnixStream = writer.as_ref();
    let sent = socket.async_io(Interest::WRITABLE, || pass::send(socket, frame, files)).await?;
    writer.write_all(&frame[sent..]).await
}

fn lose(container: &mut Container, now: Timestamp) -> Container {
    let started_at = match container.state {
        ContainerState::Running { started_at } => Some(started_at),
        _ => None,
    };
    container.state = ContainerState::Exited(Exit {
        code: 137,
        signal: Some(9),
        reason: "Error".into(),
        message: "the process that kept the pod has ended".into(),
        started_at,
        finished_at: now,
    });
    container.clone()
}

/// Messages of a shim, one by one.
pub(super) struct Reader {
    half: OwnedReadHalf,
    received: Vec<u8>,
}

impl Reader {
    /// The next message; `None` at the end.
    async fn next(&mut self) -> io::Result<Option<Say>> {
        loop {
            if let Some(say) = decode(&mut self.received)? {
                return Ok(Some(say));
            }
            if self.half.read_buf(&mut self.received).await? == 0 {
                return Ok(None);
            }
        }
    }
}
