//! One update, seen by a thousand watchers.

use std::sync::Arc;

use anyhow::{Context, ensure};
use bytes::Bytes;
use futures::future::try_join_all;
use http::{Method, StatusCode};
use kprov_control_plane::pki::Pki;
use kprov_control_plane::world::real;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::machine::{Stopwatch, folder};
use super::stats::Line;
use super::{Options, api_server};
use crate::https::{Access, Watch};

const OBJECTS: &str = "/api/v1/namespaces/default/configmaps";
const WATCHERS: usize = 1000;
const UPDATES: usize = 30;
/// Threads of a server.
const THREADS: usize = 2;

/// Milliseconds from sending an update until the last watcher has its event; then what the connections alone take of it.
pub(super) async fn one_update(options: &Options) -> anyhow::Result<Vec<Line>> {
    let (_folder, server, access) = api_server(options).await?;
    let mut writer = access.connect().await?;
    let created = writer.send(Method::POST, OBJECTS, json!({"metadata": {"name": "seen"}}).to_string()).await?;
    ensure!(created.status == StatusCode::CREATED, "{}", created.text());
    let created = created.json()?;
    let revision = created["metadata"]["resourceVersion"].as_str().context("no revision")?;
    let path = format!("{OBJECTS}?watch=1&fieldSelector=metadata.name=seen&resourceVersion={revision}");
    let mut seen = Followers::start(&access, &path).await?;
    let one = format!("{OBJECTS}/seen");
    let mut times = Vec::new();
    let mut event = Bytes::new();
    for update in 0..UPDATES {
        let change = json!({"data": {"update": update.to_string()}}).to_string();
        let clock = Stopwatch::start();
        let (updated, line) = tokio::join!(writer.send(Method::PATCH, &one, change), seen.all(update));
        event = line?;
        times.push(clock.ms());
        let updated = updated?;
        ensure!(updated.status == StatusCode::OK, "{}", updated.text());
    }
    drop(seen);
    server.end().await?;
    Ok(vec![
        Line::new(format!("one update seen by {WATCHERS} watchers over HTTPS"), "ms", times),
        Line::new("the same, an event that is ready written to as many connections", "ms", bare(&event).await?),
    ])
}

/// Those who watch, each on a connection of its own.
struct Followers {
    seen: mpsc::Receiver<(usize, Bytes)>,
    _tasks: JoinSet<anyhow::Result<()>>,
}

impl Followers {
    async fn start(access: &Access, path: &str) -> anyhow::Result<Self> {
        let watches = (0..WATCHERS).map(|_| async { access.connect().await?.watch(path).await });
        let (told, seen) = mpsc::channel(WATCHERS);
        let mut tasks = JoinSet::new();
        for watch in try_join_all(watches).await? {
            tasks.spawn(follow(watch, told.clone()));
        }
        Ok(Self { seen, _tasks: tasks })
    }

    /// Completes when all have seen the update; the event.
    async fn all(&mut self, update: usize) -> anyhow::Result<Bytes> {
        let mut event = Bytes::new();
        for _ in 0..WATCHERS {
            let (number, line) = self.seen.recv().await.context("the watchers ended")?;
            ensure!(number == update, "a watcher saw another update than {update}");
            event = line;
        }
        Ok(event)
    }
}

/// Tells of every update that the watch shows.
async fn follow(mut watch: Watch, told: mpsc::Sender<(usize, Bytes)>) -> anyhow::Result<()> {
    while let Some(line) = watch.next().await? {
        let event: Value = serde_json::from_slice(&line)?;
        let update = event["object"]["data"]["update"].as_str().context("no update in the event")?.parse()?;
        told.send((update, line)).await?;
    }
    Ok(())
}

/// The part that no server can save: milliseconds from the moment that an event is known until it was encrypted, written
/// to every connection, and read by the same clients.
async fn bare(event: &Bytes) -> anyhow::Result<Vec<f64>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
    let folder = folder()?;
    let pki = Pki::open_or_create(folder.path(), &["127.0.0.1".to_owned()], &real::world(folder.path()))?;
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, pki.kubeconfig("bare", &format!("https://{}", listener.local_addr()?)))?;
    let tls = TlsAcceptor::from(Arc::new(pki.tls()?));
    let (events, _) = watch::channel(Bytes::new());
    let sender = events.clone();
    runtime.spawn(async move {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(write_events(tls.clone(), stream, sender.subscribe()));
        }
        #[allow(unreachable_code, reason = "says what the block's errors are")]
        anyhow::Ok(())
    });
    let access = Access::from_kubeconfig(&kubeconfig)?;
    let mut seen = Followers::start(&access, "/").await?;
    let mut times = Vec::new();
    for update in 0..UPDATES {
        let mut event: Value = serde_json::from_slice(event)?;
        event["object"]["data"]["update"] = update.to_string().into();
        let line = format!("{event}\n");
        let clock = Stopwatch::start();
        events.send_replace(format!("{:x}\r\n{line}\r\n", line.len()).into());
        seen.all(update).await?;
        times.push(clock.ms());
    }
    drop(seen);
    runtime.shutdown_background();
    Ok(times)
}

/// Answers one request with events, as pieces of a body that are ready to be sent.
async fn write_events(tls: TlsAcceptor, stream: TcpStream, mut events: watch::Receiver<Bytes>) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = tls.accept(stream).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(stream.read_buf(&mut head).await? > 0, "the client went away");
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
    loop {
        events.changed().await?;
        let event = events.borrow_and_update().clone();
        stream.write_all(&event).await?;
        stream.flush().await?;
    }
}
