//! The socket on which a server says that it is ready, and is told what to do with its nodes.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

/// Orders that wait for the one being carried out; who comes later waits to be heard.
const ORDERS: usize = 16;
/// Longest question, in bytes.
const QUESTION: u64 = 4096;

/// What a server is asked: one line of JSON, answered with one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// To answer once everything in it does.
    Ready,
    /// To do something with a node.
    Node(Power, String),
}

/// What becomes of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Power {
    /// It goes off, as a machine that loses power.
    Off,
    /// It comes back.
    On,
}

/// `Err` holds the words for the user.
type Answer = Result<(), String>;

/// An order to the cluster, and where its answer goes.
pub(crate) struct Order {
    pub(crate) power: Power,
    pub(crate) node: String,
    pub(crate) answer: oneshot::Sender<Answer>,
}

/// Where orders go, and where they come out.
pub(crate) fn orders() -> (mpsc::Sender<Order>, mpsc::Receiver<Order>) {
    mpsc::channel(ORDERS)
}

/// Binds the socket. A file that a dead server left is replaced: the caller holds the cluster's lock.
pub(crate) fn bind(path: &Path) -> anyhow::Result<StdListener> {
    let what = || format!("listening on {}", path.display());
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).with_context(what),
        _ => {}
    }
    let listener = StdListener::bind(path).with_context(what)?;
    // The folder may be one that others may enter; what listens here obeys whoever reaches it.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).with_context(what)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Answers everybody who connects as soon as `ready` is true; who connects earlier waits.
pub(crate) async fn serve(
    listener: StdListener,
    ready: watch::Receiver<bool>,
    orders: mpsc::Sender<Order>,
) -> anyhow::Result<()> {
    let listener = UnixListener::from_std(listener)?;
    let mut clients = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await?;
        while clients.try_join_next().is_some() {}
        clients.spawn(hear(client, ready.clone(), orders.clone()));
    }
}

async fn hear(mut client: UnixStream, mut ready: watch::Receiver<bool>, orders: mpsc::Sender<Order>) {
    let mut line = String::new();
    let (read, mut write) = client.split();
    // A client that went away does not need to know.
    if BufReader::new(read.take(QUESTION)).read_line(&mut line).await.is_err() {
        return;
    }
    if ready.wait_for(|ready| *ready).await.is_err() {
        return;
    }
    let answer = match serde_json::from_str(&line) {
        Ok(Ask::Ready) => Ok(()),
        Ok(Ask::Node(power, node)) => order(&orders, power, node).await,
        Err(error) => Err(format!("the server does not understand {line:?}: {error}")),
    };
    let text = serde_json::to_string(&answer).expect("an answer is a text at most");
    write.write_all(text.as_bytes()).await.ok();
}

async fn order(orders: &mpsc::Sender<Order>, power: Power, node: String) -> Answer {
    let ended = |_| "the server is ending".to_owned();
    let (answer, answered) = oneshot::channel();
    orders.send(Order { power, node, answer }).await.map_err(|_| "the server is ending".to_owned())?;
    answered.await.map_err(ended)?
}

/// Asks the server behind the socket, and waits for its answer: the outer error is that there was none.
///
/// Errors: when the server ends first, or none is there.
pub(crate) async fn ask(path: &Path, ask: &Ask) -> anyhow::Result<Answer> {
    let mut server = UnixStream::connect(path).await.context("the server can't be spoken to")?;
    let mut line = serde_json::to_vec(ask)?;
    line.push(b'\n');
    server.write_all(&line).await.context("the server does not listen")?;
    let mut said = String::new();
    server.read_to_string(&mut said).await?;
    anyhow::ensure!(!said.is_empty(), "the server ended before it answered");
    serde_json::from_str(&said).with_context(|| format!("the server said {said:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn orders_wait_until_the_server_is_ready_and_are_answered() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let (ready, readiness) = watch::channel(false);
        let (sender, mut receiver) = orders();
        let socket = bind(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        tokio::spawn(serve(socket, readiness, sender));
        let off = Ask::Node(Power::Off, "node-1".into());
        let asked = async { (ask(&path, &Ask::Ready).await.unwrap(), ask(&path, &off).await.unwrap()) };
        let served = async {
            assert!(receiver.try_recv().is_err(), "nothing is ordered of a server that is not ready");
            ready.send_replace(true);
            let order = receiver.recv().await.unwrap();
            assert_eq!((order.power, order.node.as_str()), (Power::Off, "node-1"));
            order.answer.send(Err("no".into())).unwrap();
        };
        let (answers, ()) = tokio::join!(asked, served);
        assert_eq!(answers, (Ok(()), Err("no".into())));
    }
}
