//! Streams as channels of a WebSocket: the first byte of a message is the channel's number.
//!
//! Source: <https://pkg.go.dev/k8s.io/streaming/pkg/httpstream/wsstream>

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use futures::{SinkExt, Stream, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use jiff::ToSpan;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};

use super::Out;
use crate::world::Clock;

pub(super) const STDIN: u32 = 0;
pub(super) const STDOUT: u32 = 1;
pub(super) const STDERR: u32 = 2;
pub(super) const ERROR: u32 = 3;
pub(super) const RESIZE: u32 = 4;
/// Stands in a channel's place when the byte after it is the number of the channel that ends.
const CLOSE: u8 = 255;

/// Bytes of a client's message.
const MESSAGE: usize = 4 << 20;
/// Seconds that a client has to close its end after ours.
pub(super) const GOODBYE_SECONDS: i64 = 10;

/// How channels are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Codec {
    /// Pieces are texts in base64.
    pub(super) base64: bool,
    /// A client can end one of its channels alone.
    pub(super) half_close: bool,
}

/// A WebSocket of ours.
pub(super) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// A connection as the WebSocket that it has become.
pub(super) async fn socket(connection: Upgraded) -> Socket {
    let config = WebSocketConfig::default().max_message_size(Some(MESSAGE)).max_frame_size(Some(MESSAGE));
    WebSocketStream::from_raw_socket(TokioIo::new(connection), Role::Server, Some(config)).await
}

/// That everything was said.
pub(super) fn goodbye() -> Message {
    Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() }))
}

/// Where the pieces of the client's channels go.
pub(super) type Incoming = Vec<(u32, mpsc::Sender<Bytes>)>;

/// Carries channels until everything for the client is said, or the client is gone. A channel that nobody takes from
/// fast enough holds up those beside it.
pub(super) async fn carry(
    connection: Upgraded,
    codec: Codec,
    incoming: Incoming,
    out: mpsc::Receiver<Out>,
    clock: &Arc<dyn Clock>,
) {
    let (mut sink, stream) = socket(connection).await.split();
    let mut heard = std::pin::pin!(hear(stream, codec, incoming));
    let said = async {
        let mut out = out;
        while let Some(one) = out.recv().await {
            if let Some(message) = encode(codec, &one) {
                sink.send(message).await?;
            }
        }
        sink.send(goodbye()).await
    };
    let said: Result<(), tungstenite::Error> = tokio::select! {
        said = said => said,
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

/// Takes what the client says to where it goes, until it says no more.
async fn hear(
    mut stream: impl Stream<Item = Result<Message, tungstenite::Error>> + Unpin,
    codec: Codec,
    mut incoming: Incoming,
) {
    while let Some(message) = stream.next().await {
        let message = match message {
            Ok(Message::Binary(bytes)) => bytes,
            Ok(Message::Text(text)) => Bytes::from(text),
            Ok(Message::Close(_)) => return,
            Ok(_) => continue,
            Err(error) => return tracing::debug!(%error, "a client can't be heard any more"),
        };
        match decode(codec, &message) {
            Some(In::Data(channel, piece)) => {
                if let Some((_, to)) = incoming.iter().find(|(number, _)| *number == channel) {
                    // Where nobody takes it any more it is thrown away.
                    let _ = to.send(piece).await;
                }
            }
            Some(In::End(channel)) => incoming.retain(|(number, _)| *number != channel),
            None => {}
        }
    }
}

/// Something of the client.
#[derive(Debug, PartialEq, Eq)]
enum In {
    Data(u32, Bytes),
    End(u32),
}

/// What a message says; `None` for one that says nothing.
fn decode(codec: Codec, message: &Bytes) -> Option<In> {
    let channel = *message.first()?;
    let rest = message.slice(1..);
    if codec.half_close && channel == CLOSE {
        return Some(In::End(u32::from(*rest.first()?)));
    }
    if !codec.base64 {
        return Some(In::Data(channel.into(), rest));
    }
    let piece = STANDARD.decode(&rest).ok()?;
    Some(In::Data(channel.checked_sub(b'0')?.into(), piece.into()))
}

/// The message that says it; ends of single channels are not told to clients.
fn encode(codec: Codec, out: &Out) -> Option<Message> {
    let Out::Data(channel, piece) = out else { return None };
    let channel = u8::try_from(*channel).ok()?;
    if codec.base64 {
        let text = format!("{}{}", char::from(b'0' + channel), STANDARD.encode(piece));
        return Some(Message::text(text));
    }
    let mut message = BytesMut::with_capacity(piece.len() + 1);
    message.put_u8(channel);
    message.put_slice(piece);
    Some(Message::binary(message.freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::streaming::session::PROTOCOLS;

    fn of(name: &str) -> Codec {
        PROTOCOLS.websocket.iter().find(|(one, _)| *one == name).unwrap().1.codec
    }

    #[test]
    fn messages_of_clients() {
        for (protocol, message, said) in [
            ("v5.channel.k8s.io", &b"\x00hi"[..], Some(In::Data(0, "hi".into()))),
            ("v5.channel.k8s.io", b"\x00", Some(In::Data(0, Bytes::new()))),
            ("v5.channel.k8s.io", b"\xff\x00", Some(In::End(0))),
            ("v5.channel.k8s.io", b"\xff", None),
            ("v5.channel.k8s.io", b"", None),
            ("v4.channel.k8s.io", b"\xff\x00", Some(In::Data(255, Bytes::from_static(b"\0")))),
            ("v4.base64.channel.k8s.io", b"0Zm9vCg==", Some(In::Data(0, "foo\n".into()))),
            ("base64.channel.k8s.io", b"4e30=", Some(In::Data(4, "{}".into()))),
            ("base64.channel.k8s.io", b"0!", None),
            ("base64.channel.k8s.io", b"\x00Zg==", None),
        ] {
            assert_eq!(decode(of(protocol), &Bytes::copy_from_slice(message)), said, "{protocol} {message:?}");
        }
    }

    #[test]
    fn messages_to_clients() {
        let say = |protocol, out| encode(of(protocol), &out).map(|message| message.into_data().to_vec());
        assert_eq!(say("v5.channel.k8s.io", Out::Data(1, "hi".into())), Some(b"\x01hi".to_vec()));
        assert_eq!(say("v4.channel.k8s.io", Out::Data(1, Bytes::new())), Some(b"\x01".to_vec()));
        assert_eq!(say("base64.channel.k8s.io", Out::Data(1, "\n".into())), Some(b"1Cg==".to_vec()));
        assert_eq!(say("v5.channel.k8s.io", Out::End(1)), None);
    }
}
