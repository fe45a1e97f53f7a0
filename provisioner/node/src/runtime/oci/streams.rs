//! The agent's ends of the streams of a process: what goes through them does not pass the pod's shim.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;

use rustix::pipe::{PipeFlags, pipe_with};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

use super::link::Pod;
use super::terminal::Terminal;
use super::wire::{Ask, Fault};
use super::{Inner, pass, system};
use crate::runtime::{ContainerState, Executed, Reading, RuntimeError, Streams, Task, Wanted, Writing};

type Answer = oneshot::Receiver<Result<Option<Executed>, Fault>>;

impl Inner {
    pub(super) async fn session(&self, id: &str, task: Task, wanted: Wanted) -> Result<Streams, RuntimeError> {
        let pod = self.pod_of(id).ok_or_else(|| RuntimeError::NotFound(format!("container {id}")))?;
        let state = pod.container(id).map(|container| container.state);
        if !matches!(state, Some(ContainerState::Running { .. })) {
            return Err(RuntimeError::NotFound(format!("container {id}, as running,")));
        }
        match task {
            Task::Exec(args) if args.is_empty() => Err(RuntimeError::Refused("args must not be empty".into())),
            Task::Exec(args) => {
                let ask = Ask::Exec { id: id.to_owned(), args, streams: Some(wanted) };
                if wanted.tty { at_terminal(&pod, ask, wanted).await } else { through_pipes(&pod, ask, wanted).await }
            }
            Task::Attach => attached(&pod, Ask::Attach { id: id.to_owned(), wanted }, wanted).await,
        }
    }
}

fn unmade(error: io::Error) -> RuntimeError {
    system("can't make the streams of a process")(error)
}

/// A command with a pipe for each stream.
async fn through_pipes(pod: &Pod, ask: Ask, wanted: Wanted) -> Result<Streams, RuntimeError> {
    let mut files = vec![];
    let stdin = wanted.stdin.then(|| to_process(&mut files)).transpose().map_err(unmade)?;
    let stdout = wanted.stdout.then(|| from_process(&mut files)).transpose().map_err(unmade)?;
    let stderr = wanted.stderr.then(|| from_process(&mut files)).transpose().map_err(unmade)?;
    let answer = pod.post(pod.number(), ask, files).await?;
    Ok(Streams { stdin, stdout, stderr, resize: None, ended: Box::pin(ended(answer)) })
}

/// A command at a terminal of its own.
async fn at_terminal(pod: &Pod, ask: Ask, wanted: Wanted) -> Result<Streams, RuntimeError> {
    let (ours, theirs) = console().map_err(unmade)?;
    let answer = pod.post(pod.number(), ask, vec![theirs]).await?;
    let Some(master) = file(&ours).await.map_err(unmade)? else { return Err(failure(answer).await) };
    let terminal = Terminal::new(master).map_err(unmade)?;
    Ok(at(Some(terminal), wanted, answer))
}

/// The container's own process.
async fn attached(pod: &Pod, ask: Ask, wanted: Wanted) -> Result<Streams, RuntimeError> {
    let (ours, theirs) = console().map_err(unmade)?;
    let mut files = vec![theirs];
    let stdout = wanted.stdout.then(|| from_process(&mut files)).transpose().map_err(unmade)?;
    let stderr = wanted.stderr.then(|| from_process(&mut files)).transpose().map_err(unmade)?;
    let answer = pod.post(pod.number(), ask, files).await?;
    let input = file(&ours).await.map_err(unmade)?;
    if wanted.tty {
        let terminal = input.map(Terminal::new).transpose().map_err(unmade)?;
        // What it says is heard by the shim, for the log, and told from there.
        return Ok(Streams { stdout, ..at(terminal, wanted, answer) });
    }
    let stdin = input.filter(|_| wanted.stdin).map(pipe::Sender::from_owned_fd).transpose().map_err(unmade)?;
    let stdin = stdin.map(|stdin| Box::new(stdin) as Writing);
    Ok(Streams { stdin, stdout, stderr, resize: None, ended: Box::pin(ended(answer)) })
}

fn at(terminal: Option<Terminal>, wanted: Wanted, answer: Answer) -> Streams {
    let has = |wanted: bool| terminal.clone().filter(|_| wanted);
    let sized = terminal.clone();
    Streams {
        stdin: has(wanted.stdin).map(|terminal| Box::new(terminal) as Writing),
        stdout: has(wanted.stdout).map(|terminal| Box::new(terminal) as Reading),
        stderr: None,
        resize: sized.map(|terminal| Box::new(move |size| terminal.resize(size)) as _),
        ended: Box::pin(ended(answer)),
    }
}

/// A pipe whose reading end goes with the other files.
fn to_process(files: &mut Vec<OwnedFd>) -> io::Result<Writing> {
    let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC)?;
    files.push(theirs);
    Ok(Box::new(pipe::Sender::from_owned_fd(ours)?))
}

/// A pipe whose writing end goes with the other files.
fn from_process(files: &mut Vec<OwnedFd>) -> io::Result<Reading> {
    let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
    files.push(theirs);
    Ok(Box::new(pipe::Receiver::from_owned_fd(ours)?))
}

/// A socket that a file will come through.
fn console() -> io::Result<(UnixStream, OwnedFd)> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    Ok((UnixStream::from_std(ours)?, theirs.into()))
}

/// The file that comes; `None` when none does.
async fn file(socket: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut files = VecDeque::new();
    socket.async_io(Interest::READABLE, || pass::receive(socket, &mut [0; 1], &mut files)).await?;
    Ok(files.pop_front())
}

async fn failure(answer: Answer) -> RuntimeError {
    match answer.await {
        Ok(Err(fault)) => fault.into(),
        _ => unmade(io::Error::other("no terminal came")),
    }
}

async fn ended(answer: Answer) -> Result<i32, String> {
    match answer.await {
        Ok(Ok(executed)) => Ok(executed.and_then(|executed| executed.code).unwrap_or(0)),
        Ok(Err(fault)) => Err(RuntimeError::from(fault).to_string()),
        Err(_) => Err("the connection to the pod's shim is lost".to_owned()),
    }
}
