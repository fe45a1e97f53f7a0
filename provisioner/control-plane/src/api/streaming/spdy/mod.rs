//! Streams of a SPDY/3.1 connection: what clients before WebSockets speak, and inside of one for ports.
//!
//! Only what Kubernetes' clients need: streams that clients open. Flow control is left out, as in their own library.
//! Source: <https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/>

mod frame;
mod headers;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use jiff::ToSpan;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, BufWriter};
use tokio::sync::{mpsc, oneshot};

use super::{AHEAD, Incoming, Out, Outgoing};
use crate::world::Clock;
use frame::{Control, Head};
use headers::{Packer, Unpacker};

/// Bytes of a control frame; those of data come in pieces.
const CONTROL: usize = 64 << 10;
/// Bytes of data that are passed on at once.
const PIECE: usize = 32 << 10;
/// Streams that a client may have open at once.
const STREAMS: usize = 2048;
/// Seconds that a client has to close its end after ours.
const GOODBYE_SECONDS: i64 = 10;

/// A stream that a client has opened.
pub(super) struct Opened {
    pub(super) number: u32,
    headers: Vec<(String, String)>,
    pub(super) incoming: Incoming,
    pub(super) outgoing: Outgoing,
    /// Completes when the client wants no more of it, and hears no more.
    pub(super) reset: oneshot::Receiver<()>,
}

/// A stream that a client has open.
struct Open {
    /// `None` when the client has said all.
    to: Option<mpsc::Sender<Bytes>>,
    reset: oneshot::Sender<()>,
}

impl Open {
    fn is_over(&self) -> bool {
        self.reset.is_closed() && self.to.as_ref().is_none_or(mpsc::Sender::is_closed)
    }
}

impl Opened {
    /// The value of a header; empty without it.
    pub(super) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    }
}

/// Carries streams until everything for the client is said, or the client is gone: `out` ends with the last of its
/// senders, of which every open stream has one. A stream that nobody takes from fast enough holds up those beside it.
pub(super) async fn carry(
    connection: impl AsyncRead + AsyncWrite,
    opened: mpsc::Sender<Opened>,
    to_client: mpsc::WeakSender<Out>,
    out: mpsc::Receiver<Out>,
    clock: &Arc<dyn Clock>,
) {
    let (read, write) = tokio::io::split(connection);
    let mut heard = std::pin::pin!(async {
        let mut hearing = Hearing { streams: HashMap::new(), opened, to_client, headers: Unpacker::new() };
        if let Err(error) = hearing.hear(BufReader::new(read)).await {
            tracing::debug!(%error, "a client can't be heard any more");
        }
    });
    let said = tokio::select! {
        said = say(BufWriter::new(write), out) => said,
        () = &mut heard => return,
    };
    if let Err(error) = said {
        return tracing::debug!(%error, "a client is gone");
    }
    // What the client still sends must be taken, or the system would throw away what it has not read yet.
    tokio::select! {
        () = heard => {}
        () = clock.sleep_until(clock.now() + GOODBYE_SECONDS.seconds()) => {}
    }
}

async fn say(mut to: impl AsyncWrite + Unpin, mut out: mpsc::Receiver<Out>) -> io::Result<()> {
    let mut headers = Packer::new();
    while let Some(one) = out.recv().await {
        match one {
            Out::Data(stream, mut piece) => {
                while !piece.is_empty() {
                    let part = piece.split_to(piece.len().min(PIECE));
                    to.write_all(&frame::data(stream, part.len(), false)).await?;
                    to.write_all(&part).await?;
                }
            }
            Out::End(stream) => to.write_all(&frame::data(stream, 0, true)).await?,
            Out::Reset(stream) => to.write_all(&frame::reset(stream, frame::CANCEL)).await?,
            Out::Accept(stream) => to.write_all(&frame::reply(stream, &headers.pack(&[])?)).await?,
            Out::Pong(number) => to.write_all(&frame::ping(number)).await?,
        }
        if out.is_empty() {
            to.flush().await?;
        }
    }
    to.write_all(&frame::go_away()).await?;
    to.shutdown().await
}

struct Hearing {
    streams: HashMap<u32, Open>,
    opened: mpsc::Sender<Opened>,
    to_client: mpsc::WeakSender<Out>,
    headers: Unpacker,
}

impl Hearing {
    /// Takes what the client says to where it goes, until it says no more.
    async fn hear(&mut self, mut from: impl AsyncRead + Unpin) -> io::Result<()> {
        loop {
            let mut head = [0; frame::HEAD];
            match from.read_exact(&mut head).await {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                other => other?,
            };
            match Head::parse(head)? {
                Head::Data { stream, ends, length } => self.data(&mut from, stream, ends, length).await?,
                Head::Control { kind, flags, length } => {
                    if length > CONTROL {
                        return Err(broken(format!("a control frame of {length} bytes")));
                    }
                    let mut body = vec![0; length];
                    from.read_exact(&mut body).await?;
                    if !self.control(Control::parse(kind, flags, &body)?).await? {
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn data(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        stream: u32,
        ends: bool,
        mut length: usize,
    ) -> io::Result<()> {
        while length > 0 {
            let mut piece = BytesMut::zeroed(length.min(PIECE));
            from.read_exact(&mut piece).await?;
            length -= piece.len();
            if let Some(to) = self.streams.get(&stream).and_then(|open| open.to.as_ref()) {
                // Where nobody takes it any more it is thrown away.
                let _ = to.send(piece.freeze()).await;
            }
        }
        if ends && let Some(open) = self.streams.get_mut(&stream) {
            open.to = None;
        }
        Ok(())
    }

    /// `false` when the client says that it goes.
    async fn control(&mut self, control: Control<'_>) -> io::Result<bool> {
        match control {
            Control::Open { stream, ends, headers } => self.open(stream, ends, headers).await?,
            // Who does not care whether it is reset reads the end.
            Control::Reset { stream } => drop(self.streams.remove(&stream).map(|open| open.reset.send(()))),
            Control::Ping { number } => self.answer(Out::Pong(number)).await,
            // Headers are packed in one go for all frames: those of others must be read, too.
            Control::Headers { headers } => drop(self.headers.unpack(headers)?),
            Control::GoAway => return Ok(false),
            Control::Other => {}
        }
        Ok(true)
    }

    async fn open(&mut self, number: u32, ends: bool, headers: &[u8]) -> io::Result<()> {
        let headers = self.headers.unpack(headers)?;
        if number == 0 || number.is_multiple_of(2) || self.streams.contains_key(&number) {
            return Err(broken(format!("a stream of number {number}")));
        }
        // Without a sender the session has ended, and nothing more is said.
        let Some(to) = self.to_client.upgrade() else { return Ok(()) };
        self.streams.retain(|_, open| !open.is_over());
        if self.streams.len() >= STREAMS {
            self.answer(Out::Reset(number)).await;
            return Ok(());
        }
        let ((piece, incoming), (reset_in, reset)) = (mpsc::channel(AHEAD), oneshot::channel());
        self.streams.insert(number, Open { to: (!ends).then_some(piece), reset: reset_in });
        self.answer(Out::Accept(number)).await;
        let stream = Opened { number, headers, incoming, outgoing: Outgoing { number, to }, reset };
        // Who takes no more streams drops it, and its end with it.
        let _ = self.opened.send(stream).await;
        Ok(())
    }

    async fn answer(&self, out: Out) {
        if let Some(to) = self.to_client.upgrade() {
            // A client that is gone needs no answer.
            let _ = to.send(out).await;
        }
    }
}

fn broken(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} can't be understood"))
}

#[cfg(test)]
impl Opened {
    /// A stream that nobody feeds.
    pub(super) fn given(number: u32, headers: &[(&str, &str)], outgoing: Outgoing) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { number, headers, incoming: mpsc::channel(1).1, outgoing, reset: oneshot::channel().1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::memory::MemoryWorld;

    /// A client that says `frames`, and what it hears until the end.
    async fn talk(frames: Vec<u8>, serve: impl AsyncFnOnce(mpsc::Receiver<Opened>)) -> Vec<u8> {
        let world = MemoryWorld::new(0).world();
        let (client, server) = tokio::io::duplex(1 << 10);
        let (opened_in, opened) = mpsc::channel(1);
        let (to, out) = mpsc::channel(AHEAD);
        let (mut from_server, mut to_server) = tokio::io::split(client);
        let mut heard = vec![];
        let client = async {
            to_server.write_all(&frames).await.unwrap();
            from_server.read_to_end(&mut heard).await.unwrap();
            to_server.shutdown().await.unwrap();
        };
        let weak = to.downgrade();
        let served = async {
            serve(opened).await;
            drop(to);
        };
        tokio::join!(client, carry(server, opened_in, weak, out, &world.clock), served);
        heard
    }

    #[tokio::test]
    async fn streams_are_opened_fed_and_answered() {
        let mut packer = Packer::new();
        let first = packer.pack(&[("streamtype", "data"), ("port", "80")]).unwrap();
        let second = packer.pack(&[("streamtype", "error"), ("port", "80")]).unwrap();
        let mut said = frame::open(1, false, &first);
        said.extend(frame::ping(7));
        said.extend(frame::data(1, 5, false));
        said.extend(b"hello");
        said.extend(frame::open(3, true, &second));
        said.extend(frame::data(1, 0, true));
        let heard = talk(said, async |mut opened| {
            let mut one = opened.recv().await.unwrap();
            assert_eq!((one.number, one.header("streamType"), one.header("Port")), (1, "data", "80"));
            let mut two = opened.recv().await.unwrap();
            assert_eq!((two.number, two.header("streamType"), two.header("none")), (3, "error", ""));
            assert_eq!(two.incoming.recv().await, None, "it was opened as ended");
            assert_eq!(one.incoming.recv().await.as_deref(), Some(&b"hello"[..]));
            assert_eq!(one.incoming.recv().await, None);
            one.outgoing.send("well").await.unwrap();
            one.outgoing.end().await.unwrap();
        })
        .await;
        let mut answers = Packer::new();
        let mut wanted = frame::reply(1, &answers.pack(&[]).unwrap());
        wanted.extend(frame::ping(7));
        wanted.extend(frame::reply(3, &answers.pack(&[]).unwrap()));
        wanted.extend(frame::data(1, 4, false));
        wanted.extend(b"well");
        wanted.extend(frame::data(1, 0, true));
        wanted.extend(frame::go_away());
        assert_eq!(heard, wanted);
    }

    #[tokio::test]
    async fn what_is_no_spdy_ends_the_connection() {
        let huge = [&[0x80, 3, 0, 1, 0][..], &[0xff, 0xff, 0xff]].concat();
        for said in [huge, frame::open(2, false, &Packer::new().pack(&[]).unwrap()), frame::open(1, false, b"no zlib")]
        {
            let heard = talk(said, async |mut opened| assert!(opened.recv().await.is_none())).await;
            assert!(heard.is_empty(), "{heard:?}");
        }
    }
}
