//! The socket: TLS connections, HTTP/1.1 and HTTP/2 on them, until the server stops.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use jiff::ToSpan;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::authenticate;
use super::core::Core;
use super::handle::handle;

/// Connections that are served at once; more wait to be accepted.
const CONNECTIONS: usize = 16_384;
/// Seconds that a client may take for its TLS handshake, then for a request's head.
const HANDSHAKE_SECONDS: i64 = 10;
const HEAD: Duration = Duration::from_secs(30);
/// Bytes of a request's head.
const HEAD_BYTES: usize = 64 << 10;
/// Streams of one HTTP/2 connection: a client's watches all share one.
const STREAMS: u32 = 1000;
/// Seconds between a failed accept and the next try: the process may be out of files.
const ACCEPT_PAUSE_SECONDS: i64 = 1;
/// Seconds that open connections get to end after the server stops.
const GRACE_SECONDS: i64 = 5;

/// Serves connections until the server stops, then lets those that are open end.
pub(crate) async fn serve(core: Arc<Core>, listener: TcpListener, tls: TlsAcceptor) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let place = tokio::select! {
            place = places.clone().acquire_owned() => place.expect("the semaphore is never closed"),
            () = core.stopping() => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = core.stopping() => break,
            Some(ended) = connections.join_next() => {
                log_end(ended);
                continue;
            }
        };
        match accepted {
            Ok((stream, _)) => {
                let (core, tls) = (core.clone(), tls.clone());
                connections.spawn(async move {
                    connection(core, stream, tls).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection can't be accepted");
                let pause = core.world.clock.now() + ACCEPT_PAUSE_SECONDS.seconds();
                core.world.clock.sleep_until(pause).await;
            }
        }
    }
    drop(listener);
    let end = core.world.clock.now() + GRACE_SECONDS.seconds();
    let all = async {
        while let Some(ended) = connections.join_next().await {
            log_end(ended)
        }
    };
    tokio::select! {
        () = all => {}
        () = core.world.clock.sleep_until(end) => {}
    }
}

fn log_end(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's task broke");
    }
}

async fn connection(core: Arc<Core>, stream: TcpStream, tls: TlsAcceptor) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "small answers may be held back");
    }
    let end = core.world.clock.now() + HANDSHAKE_SECONDS.seconds();
    let stream = tokio::select! {
        accepted = tls.accept(stream) => match accepted {
            Ok(stream) => stream,
            Err(error) => {
                tracing::debug!(%error, "no TLS");
                return;
            }
        },
        () = core.world.clock.sleep_until(end) => return,
    };
    let certificates = stream.get_ref().1.peer_certificates();
    let user = certificates.and_then(<[_]>::first).and_then(|first| authenticate::of_certificate(first));
    let user = user.map(Arc::new);
    let service = service_fn(|request| {
        let (core, user) = (core.clone(), user.clone());
        async move { Ok::<_, Infallible>(handle(&core, request, user.as_deref()).await) }
    });
    let builder = builder();
    let mut served = std::pin::pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = core.stopping() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(HEAD_BYTES * 8).half_close(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEAD_BYTES as u32)
        .keep_alive_interval(HEAD)
        .keep_alive_timeout(HEAD);
    builder
}
