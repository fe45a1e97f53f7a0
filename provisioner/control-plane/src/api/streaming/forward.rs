//! Ports of a pod: every connection that a client makes is one to a port inside of the pod.
//!
//! Source: `k8s.io/cri-streaming/pkg/streaming/portforward`

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use jiff::ToSpan;
use kprov_schema::Status;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::channels::{self, Codec};
use super::spdy::{self, Opened};
use super::upgrade::Known;
use super::{AHEAD, Incoming, Outgoing, tunnel};
use crate::api::errors;
use crate::api::query::Query;
use crate::client::node::Dial;
use crate::world::Clock;

/// Bytes that are read of a pod at once.
const CHUNK: usize = 32 << 10;
/// Seconds that a client has to end a connection whose other end is closed.
const GRACE_SECONDS: i64 = 1;

/// How connections are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// By streams that the client opens, two for each.
    Streams,
    /// The same inside of a WebSocket.
    Tunnel,
    /// One for each port that the request names, by two channels.
    Channels(Codec),
}

pub(super) const PROTOCOLS: Known<Protocol> = Known {
    websocket: &[
        ("SPDY/3.1+portforward.k8s.io", Protocol::Tunnel),
        ("v4.channel.k8s.io", Protocol::Channels(Codec { base64: false, half_close: false })),
        ("v4.base64.channel.k8s.io", Protocol::Channels(Codec { base64: true, half_close: false })),
        ("", Protocol::Channels(Codec { base64: false, half_close: false })),
    ],
    spdy: &[("portforward.k8s.io", Protocol::Streams)],
};

/// The ports that a request names; who opens streams names them there.
///
/// Source: `NewV4Options`.
pub(super) fn ports(query: &Query, protocol: Protocol) -> Result<Vec<u16>, Status> {
    if !matches!(protocol, Protocol::Channels(_)) {
        return Ok(vec![]);
    }
    let mut ports = vec![];
    for text in query.all("ports").flat_map(|text| text.split(',')) {
        ports.push(port(text).map_err(errors::bad_request)?);
    }
    // Two channels each, of which a byte holds the number.
    match ports.len() {
        0 => Err(errors::bad_request("query parameter \"port\" is required")),
        1..=100 => Ok(ports),
        _ => Err(errors::bad_request("too many ports")),
    }
}

fn port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(0) => Err(format!("port {text:?} must be > 0")),
        Ok(port) => Ok(port),
        Err(_) => Err(format!("unable to parse {text:?} as a port")),
    }
}

/// Ports of a pod for one client.
pub(super) struct Forward {
    pub(super) protocol: Protocol,
    pub(super) dial: Dial,
    pub(super) ports: Vec<u16>,
    /// The pod, as messages name it.
    pub(super) pod: String,
}

/// The two streams of a connection.
struct Pair {
    data: Opened,
    error: Outgoing,
}

impl Forward {
    pub(super) async fn serve(self, connection: Upgraded, clock: &Arc<dyn Clock>) {
        let whole = Arc::new(self);
        match whole.protocol {
            Protocol::Streams => streams(&whole, TokioIo::new(connection), clock).await,
            Protocol::Tunnel => {
                let (ours, theirs) = tokio::io::duplex(tunnel::INSIDE);
                let carried = tunnel::carry(channels::socket(connection).await, theirs, clock);
                tokio::join!(carried, streams(&whole, ours, clock));
            }
            Protocol::Channels(codec) => by_channels(&whole, codec, connection, clock).await,
        }
    }

    fn failed(&self, port: u16, words: &str) -> String {
        format!("error forwarding port {port} to pod {}: {words}", self.pod)
    }
}

/// Serves streams until the client is gone.
async fn streams(forward: &Arc<Forward>, connection: impl AsyncRead + AsyncWrite, clock: &Arc<dyn Clock>) {
    let (opened_in, mut opened) = mpsc::channel(AHEAD);
    let (to, out) = mpsc::channel(AHEAD);
    let carried = spdy::carry(connection, opened_in, to.downgrade(), out, clock);
    let served = async {
        let mut waiting = HashMap::new();
        // What is still under way ends with the client.
        let mut under_way = JoinSet::new();
        while let Some(stream) = opened.recv().await {
            while under_way.try_join_next().is_some() {}
            let number = stream.outgoing.clone();
            match paired(&mut waiting, stream) {
                Ok(None) => {}
                Ok(Some((port, pair))) => drop(under_way.spawn(one(forward.clone(), port, pair, clock.clone()))),
                Err(why) => {
                    tracing::debug!(why, "a stream is refused");
                    // A client that is gone needs no answer.
                    let _ = number.reset().await;
                }
            }
        }
        drop(to);
    };
    tokio::join!(carried, served);
}

/// A connection's other stream is found by its number, which older clients leave out: theirs come one after the other.
fn paired(waiting: &mut HashMap<String, Opened>, stream: Opened) -> Result<Option<(u16, Pair)>, String> {
    let port = port(stream.header("port"))?;
    let kind = stream.header("streamtype").to_owned();
    let request = match (stream.header("requestid"), kind.as_str()) {
        ("", "data") => (stream.number.saturating_sub(2)).to_string(),
        ("", "error") => stream.number.to_string(),
        (named, "data" | "error") => named.to_owned(),
        _ => return Err(format!("invalid stream type {kind:?}")),
    };
    let Some(other) = waiting.remove(&request) else {
        waiting.insert(request, stream);
        return Ok(None);
    };
    if other.header("streamtype") == kind {
        waiting.insert(request, other);
        return Err(format!("{kind} stream already assigned"));
    }
    let (data, error) = if kind == "data" { (stream, other) } else { (other, stream) };
    Ok(Some((port, Pair { data, error: error.outgoing })))
}

/// One connection of a client. A client that went away needs no answer.
async fn one(forward: Arc<Forward>, port: u16, pair: Pair, clock: Arc<dyn Clock>) {
    let Pair { data: Opened { incoming, outgoing, reset, .. }, error } = pair;
    match (forward.dial)(port).await {
        Ok(stream) => {
            tokio::select! {
                () = tie(stream, incoming, &outgoing, &clock) => {}
                // It was dropped by a client that wants no more of it.
                _ = reset => {}
            }
            let _ = outgoing.end().await;
        }
        Err(words) => {
            let _ = error.send(forward.failed(port, &words)).await;
            let _ = outgoing.reset().await;
        }
    }
    let _ = error.end().await;
}

/// Ties a connection to a client until both have said all.
async fn tie(stream: TcpStream, mut incoming: Incoming, outgoing: &Outgoing, clock: &Arc<dyn Clock>) {
    let (mut read, mut write) = stream.into_split();
    let up = async {
        while let Some(piece) = incoming.recv().await {
            if write.write_all(&piece).await.is_err() {
                return;
            }
        }
        // A pod that is gone has been told.
        let _ = write.shutdown().await;
    };
    let down = async {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(CHUNK);
            match read.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(_) if outgoing.send(buffer.split().freeze()).await.is_err() => return,
                Ok(_) => {}
            }
        }
        let _ = outgoing.end().await;
    };
    let (mut up, mut down) = (std::pin::pin!(up), std::pin::pin!(down));
    tokio::select! {
        () = &mut up => down.await,
        () = &mut down => tokio::select! {
            () = up => {}
            () = clock.sleep_until(clock.now() + GRACE_SECONDS.seconds()) => {}
        },
    }
}

/// One connection for each port of the request. Each channel begins with the number of its port.
async fn by_channels(forward: &Forward, codec: Codec, connection: Upgraded, clock: &Arc<dyn Clock>) {
    let (to, out) = mpsc::channel(AHEAD);
    let mut pieces = vec![];
    let served = forward.ports.iter().zip(0_u32..).map(|(port, index)| {
        let (piece, incoming) = mpsc::channel::<Bytes>(AHEAD);
        pieces.push((index * 2, piece));
        let data = Outgoing { number: index * 2, to: to.clone() };
        let error = Outgoing { number: index * 2 + 1, to: to.clone() };
        async move {
            let first = Bytes::copy_from_slice(&port.to_le_bytes());
            if data.send(first.clone()).await.and(error.send(first).await).is_err() {
                return;
            }
            match (forward.dial)(*port).await {
                Ok(stream) => tie(stream, incoming, &data, clock).await,
                Err(words) => drop(error.send(forward.failed(*port, &words)).await),
            }
        }
    });
    let served: Vec<_> = served.collect();
    drop(to);
    tokio::join!(channels::carry(connection, codec, pieces, out, clock), async {
        let mut served = std::pin::pin!(futures::future::join_all(served));
        served.as_mut().await;
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(number: u32, headers: &[(&str, &str)]) -> Opened {
        let (to, _) = mpsc::channel(1);
        Opened::given(number, headers, Outgoing { number, to })
    }

    #[test]
    fn streams_find_one_another() {
        let mut waiting = HashMap::new();
        let mut add = |number, headers: &[(&str, &str)]| {
            let found = paired(&mut waiting, stream(number, headers))?;
            Ok::<_, String>(found.map(|(port, pair)| (port, pair.data.number, pair.error.number)))
        };
        let data = |request| [("port", "80"), ("streamtype", "data"), ("requestid", request)];
        let error = |request| [("port", "80"), ("streamtype", "error"), ("requestid", request)];
        assert_eq!(add(1, &error("0")), Ok(None));
        assert_eq!(add(3, &error("1")), Ok(None));
        assert_eq!(add(5, &data("1")), Ok(Some((80, 5, 3))));
        assert!(add(7, &error("0")).is_err());
        assert_eq!(add(9, &data("0")), Ok(Some((80, 9, 1))));
        assert_eq!(add(11, &error("")[..2]), Ok(None), "older clients");
        assert_eq!(add(13, &data("")[..2]), Ok(Some((80, 13, 11))));
        assert!(add(15, &[("port", "0"), ("streamtype", "data")]).is_err());
        assert!(add(15, &[("port", "80"), ("streamtype", "other")]).is_err());
    }

    #[test]
    fn ports_of_a_request() {
        let Protocol::Channels(codec) = PROTOCOLS.websocket[1].1 else { panic!("by channels") };
        let of = |query| ports(&Query::parse(query), Protocol::Channels(codec)).map_err(|status| status.message);
        assert_eq!(of("ports=80&ports=81,82"), Ok(vec![80, 81, 82]));
        assert_eq!(of("ports=0"), Err("port \"0\" must be > 0".into()));
        assert_eq!(of("ports=x"), Err("unable to parse \"x\" as a port".into()));
        assert_eq!(of(""), Err("query parameter \"port\" is required".into()));
        assert_eq!(ports(&Query::parse(""), Protocol::Tunnel).unwrap(), [0_u16; 0]);
    }
}
