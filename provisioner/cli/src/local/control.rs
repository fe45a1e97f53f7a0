//! The socket on which a server says that it is ready.

use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What a server says once everything in it answers.
const READY: &str = "ready\n";

/// Binds the socket. A file that a dead server left is replaced: the caller holds the cluster's lock.
pub(crate) fn bind(path: &Path) -> anyhow::Result<StdListener> {
    let what = || format!("listening on {}", path.display());
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).with_context(what),
        _ => {}
    }
    let listener = StdListener::bind(path).with_context(what)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Tells everybody who connects as soon as `ready` is true; who connects earlier waits.
pub(crate) async fn serve(listener: StdListener, ready: watch::Receiver<bool>) -> anyhow::Result<()> {
    let listener = UnixListener::from_std(listener)?;
    let mut clients = JoinSet::new();
    loop {
        let (mut client, _) = listener.accept().await?;
        while clients.try_join_next().is_some() {}
        let mut ready = ready.clone();
        clients.spawn(async move {
            if ready.wait_for(|ready| *ready).await.is_ok() {
                // A client that went away does not need to know.
                client.write_all(READY.as_bytes()).await.ok();
            }
        });
    }
}

/// Waits until the server behind the socket is ready.
///
/// Errors: when the server ends first, or none is there.
pub(crate) async fn wait(path: &Path) -> anyhow::Result<()> {
    let mut server = UnixStream::connect(path).await.context("the server can't be spoken to")?;
    let mut said = String::new();
    server.read_to_string(&mut said).await?;
    anyhow::ensure!(said == READY, "the server ended before it was ready");
    Ok(())
}
