//! Answers names on one address of a node, over UDP and TCP.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kprov_control_plane::world::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Zone, respond};

/// Clients that may be connected over TCP at once; more wait to be accepted.
const MOST_CONNECTIONS: usize = 64;
const IDLE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);

/// Sockets bound to the same address, made inside the node's network namespace.
#[derive(Debug)]
pub struct Sockets {
    udp: std::net::UdpSocket,
    tcp: std::net::TcpListener,
}

impl Sockets {
    /// Binds both in the namespace of the calling thread.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let (udp, tcp) = (std::net::UdpSocket::bind(address)?, std::net::TcpListener::bind(address)?);
        udp.set_nonblocking(true)?;
        tcp.set_nonblocking(true)?;
        Ok(Self { udp, tcp })
    }

    /// Answers until the future is dropped, always from the newest zone.
    ///
    /// Errors: only when the sockets can't be handed to the runtime; a bad client is no error.
    pub async fn serve(self, zone: watch::Receiver<Arc<Zone>>, clock: Arc<dyn Clock>) -> io::Result<()> {
        let udp = UdpSocket::from_std(self.udp)?;
        let tcp = TcpListener::from_std(self.tcp)?;
        tokio::select! {
            never = datagrams(&udp, &zone, &*clock) => match never {},
            end = connections(&tcp, &zone, &*clock) => end,
        }
    }
}

async fn datagrams(socket: &UdpSocket, zone: &watch::Receiver<Arc<Zone>>, clock: &dyn Clock) -> Infallible {
    let mut buffer = vec![0; 4096];
    loop {
        let (length, client) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                pause(&error, clock).await;
                continue;
            }
        };
        let current = zone.borrow().clone();
        if let Some(answer) = respond(&current, &buffer[..length], true)
            && let Err(error) = socket.send_to(&answer, client).await
        {
            tracing::debug!(%client, %error, "name answer was not sent");
        }
    }
}

async fn connections(listener: &TcpListener, zone: &watch::Receiver<Arc<Zone>>, clock: &dyn Clock) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut clients = JoinSet::new();
    loop {
        let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
        let (stream, client) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                pause(&error, clock).await;
                continue;
            }
        };
        while clients.try_join_next().is_some() {}
        let zone = zone.clone();
        clients.spawn(async move {
            if let Err(error) = converse(stream, &zone).await {
                tracing::debug!(%client, %error, "name client went away");
            }
            drop(place);
        });
    }
}

/// An error of one client or of the moment, such as too many open files, says nothing about the socket.
async fn pause(error: &io::Error, clock: &dyn Clock) {
    tracing::warn!(%error, "a name query can't be taken");
    clock.sleep_until(clock.now() + PAUSE).await;
}

/// Over TCP each message has its length before it, and a client may send several.
async fn converse(mut stream: TcpStream, zone: &watch::Receiver<Arc<Zone>>) -> io::Result<()> {
    while let Ok(length) = timeout(IDLE, stream.read_u16()).await.map_err(io::Error::other)? {
        let mut request = vec![0; usize::from(length)];
        timeout(IDLE, stream.read_exact(&mut request)).await.map_err(io::Error::other)??;
        let current = zone.borrow().clone();
        let Some(answer) = respond(&current, &request, false) else { return Ok(()) };
        let Ok(length) = u16::try_from(answer.len()) else { return Ok(()) };
        stream.write_u16(length).await?;
        stream.write_all(&answer).await?;
    }
    Ok(())
}
