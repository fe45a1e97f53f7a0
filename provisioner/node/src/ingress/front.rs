//! The doors of a node: ports 80 and 443 of its address, open while there is a class of ours.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use kprov_control_plane::world::World;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::State;
use super::backends::Backends;
use super::proxy::{Caller, Proxy, Tunnel};
use crate::net::PodNetwork;

/// Connections that a node serves at once; more wait to be accepted.
const CONNECTIONS: usize = 2048;
/// Requests that one HTTP/2 connection may have under way.
const STREAMS: u32 = 128;
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a client may take for a request's head, or between two requests.
const HEAD: Duration = Duration::from_secs(60);
/// After a port could not be had, or a connection not be taken.
const PAUSE: Duration = Duration::from_secs(1);

/// The proxy of one node. It ends, with all that goes through it, when this is dropped.
pub struct Front {
    _tasks: JoinSet<()>,
}

struct Door {
    network: Arc<dyn PodNetwork>,
    proxy: Arc<Proxy>,
    world: World,
    places: Arc<Semaphore>,
    port: u16,
    tls: Option<TlsAcceptor>,
}

impl Front {
    pub(super) fn open(
        network: Arc<dyn PodNetwork>,
        state: &watch::Receiver<Arc<State>>,
        tls: &Arc<ServerConfig>,
        world: &World,
    ) -> Self {
        let backends = Backends::new(Arc::clone(&network), Arc::clone(&world.rng));
        let proxy = Arc::new(Proxy { state: state.clone(), backends });
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let mut tasks = JoinSet::new();
        for (port, tls) in [(80, None), (443, Some(TlsAcceptor::from(Arc::clone(tls))))] {
            let (network, proxy, places) = (Arc::clone(&network), Arc::clone(&proxy), Arc::clone(&places));
            let door = Door { network, proxy, world: world.clone(), places, port, tls };
            tasks.spawn(door.keep(state.clone()));
        }
        tasks.spawn(tidy(proxy, state.clone()));
        Self { _tasks: tasks }
    }
}

/// Connections to backends that are gone go as well.
async fn tidy(proxy: Arc<Proxy>, mut state: watch::Receiver<Arc<State>>) {
    while state.changed().await.is_ok() {
        let endpoints: BTreeSet<SocketAddr> = state.borrow_and_update().routes.endpoints().collect();
        proxy.backends.retain(&endpoints);
    }
}

impl Door {
    /// Open while there is a class to serve.
    async fn keep(self, mut state: watch::Receiver<Arc<State>>) {
        while state.wait_for(|state| state.open).await.is_ok() {
            match self.network.listen(self.port).await {
                Ok(Some(listener)) => {
                    tokio::select! {
                        () = self.accept(&listener) => {}
                        _ = state.wait_for(|state| !state.open) => {}
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(port = self.port, error = %chain(&error), "ingresses are not served, trying again");
                    self.pause().await;
                }
            }
        }
    }

    async fn pause(&self) {
        self.world.clock.sleep_until(self.world.clock.now() + PAUSE).await;
    }

    async fn accept(&self, listener: &TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            let place = self.places.clone().acquire_owned().await.expect("the semaphore is never closed");
            match listener.accept().await {
                Ok((stream, address)) => {
                    while connections.try_join_next().is_some() {}
                    let (proxy, tls) = (Arc::clone(&self.proxy), self.tls.clone());
                    connections.spawn(async move {
                        connection(&proxy, stream, address, tls).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(port = self.port, %error, "a connection can't be taken");
                    self.pause().await;
                }
            }
        }
    }
}

async fn connection(proxy: &Arc<Proxy>, stream: TcpStream, address: SocketAddr, tls: Option<TlsAcceptor>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "small answers may be held back");
    }
    let caller = Arc::new(Caller { address, secure: tls.is_some(), tunnel: Mutex::new(None) });
    let Some(tls) = tls else { return serve(proxy, stream, &caller).await };
    match timeout(HANDSHAKE, tls.accept(stream)).await {
        Ok(Ok(stream)) => serve(proxy, stream, &caller).await,
        Ok(Err(error)) => tracing::debug!(%address, %error, "no TLS"),
        Err(_) => tracing::debug!(%address, "no TLS in time"),
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    proxy: &Arc<Proxy>,
    stream: S,
    caller: &Arc<Caller>,
) {
    let service = service_fn(|request| {
        let (proxy, caller) = (Arc::clone(proxy), Arc::clone(caller));
        async move { Ok::<_, Infallible>(proxy.answer(request, &caller).await) }
    });
    if let Err(error) = builder().serve_connection_with_upgrades(TokioIo::new(stream), service).await {
        tracing::debug!(address = %caller.address, %error, "a connection ended");
    }
    let tunnel = caller.tunnel.lock().expect("no code panics while it holds the lock").take();
    if let Some(tunnel) = tunnel
        && let Err(error) = dig(tunnel).await
    {
        tracing::debug!(address = %caller.address, %error, "a tunnel ended");
    }
}

/// Carries what two sides say to one another until both have ended.
async fn dig(tunnel: Tunnel) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (client, backend) = (tunnel.client.await?, tunnel.backend.await?);
    copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(backend)).await?;
    Ok(())
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD).half_close(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .keep_alive_interval(HEAD)
        .keep_alive_timeout(HEAD);
    builder
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
