//! A client in a container: its streams tied to those of a process, and the end told.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use jiff::ToSpan;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, watch};

use super::channels::{self, Codec};
use super::spdy::{self, Opened};
use super::upgrade::{Known, Transport};
use super::{AHEAD, Incoming, Outgoing};
use crate::client::node::{Reading, Size, Start, Streams, Wanted, Writing};
use crate::world::Clock;

/// Bytes that are read of a process at once.
const CHUNK: usize = 32 << 10;
/// Seconds without a word, after its end, from a process whose streams something else holds open.
///
/// Source: containerd's runc shim, which then closes them.
const LINGER_SECONDS: i64 = 2;
/// Bytes of sizes that are not whole yet.
const SIZES: usize = 4 << 10;

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Exec,
    Attach,
}

impl Kind {
    fn failed(self, words: &str) -> String {
        match self {
            Self::Exec => format!("error executing command in container: {words}"),
            Self::Attach => format!("error attaching to container: {words}"),
        }
    }
}

/// What the streams of a connection can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Protocol {
    /// How channels of a WebSocket are coded.
    pub(super) codec: Codec,
    /// The end is told as a `Status`; else only a failure, as text.
    status: bool,
    /// A terminal's client tells its size.
    sizes: bool,
}

impl Protocol {
    /// Whether even a refusal is told by a stream: such a connection is upgraded first.
    pub(super) fn tells_refusals(self) -> bool {
        self.codec.half_close
    }
}

const fn protocol(base64: bool, half_close: bool, status: bool, sizes: bool) -> Protocol {
    Protocol { codec: Codec { base64, half_close }, status, sizes }
}

/// Source: `k8s.io/cri-streaming/pkg/streaming/remotecommand`, and `streamtranslator.go` for version 5.
pub(super) const PROTOCOLS: Known<Protocol> = Known {
    websocket: &[
        ("v5.channel.k8s.io", protocol(false, true, true, true)),
        ("v4.channel.k8s.io", protocol(false, false, true, true)),
        ("v4.base64.channel.k8s.io", protocol(true, false, true, true)),
        ("channel.k8s.io", protocol(false, false, false, true)),
        ("base64.channel.k8s.io", protocol(true, false, false, true)),
        ("", protocol(false, false, false, true)),
    ],
    spdy: &[
        ("v4.channel.k8s.io", protocol(false, false, true, true)),
        ("v3.channel.k8s.io", protocol(false, false, false, true)),
        ("v2.channel.k8s.io", protocol(false, false, false, false)),
        ("channel.k8s.io", protocol(false, false, false, false)),
    ],
};

/// Seconds that a client has to open its streams.
const OPEN_SECONDS: i64 = 30;

/// A session that begins when its connection is ours.
pub(super) struct Session {
    pub(super) kind: Kind,
    pub(super) protocol: Protocol,
    pub(super) wanted: Wanted,
    pub(super) start: Start,
}

/// The client's ends of the streams of a session.
struct Ends {
    stdin: Option<Incoming>,
    sizes: Option<Incoming>,
    stdout: Option<Outgoing>,
    stderr: Option<Outgoing>,
    error: Outgoing,
}

/// A start that fails, told in the words of who could not upgrade a connection to a node.
pub(super) fn refused(message: &str) -> Start {
    let words = format!("{REFUSED}{message}");
    Box::pin(async move { Err(words) })
}

const REFUSED: &str = "unable to upgrade connection: ";

impl Session {
    pub(super) async fn serve(self, connection: Upgraded, transport: Transport, clock: &Arc<dyn Clock>) {
        match transport {
            Transport::WebSocket(_) => self.by_channels(connection, clock).await,
            Transport::Spdy => self.by_streams(connection, clock).await,
        }
    }

    async fn by_channels(self, connection: Upgraded, clock: &Arc<dyn Clock>) {
        let (out, to_client) = mpsc::channel(AHEAD);
        let stream = |number, wanted: bool| wanted.then(|| Outgoing { number, to: out.clone() });
        let input = |wanted: bool| wanted.then(|| mpsc::channel::<Bytes>(AHEAD)).unzip();
        let ((stdin_in, stdin), (sizes_in, sizes)) = (input(self.wanted.stdin), input(self.wanted.tty));
        let ends = Ends {
            stdin,
            sizes,
            stdout: stream(channels::STDOUT, self.wanted.stdout),
            stderr: stream(channels::STDERR, self.wanted.stderr),
            error: Outgoing { number: channels::ERROR, to: out.clone() },
        };
        drop(out);
        let incoming = [(channels::STDIN, stdin_in), (channels::RESIZE, sizes_in)];
        let incoming = incoming.into_iter().filter_map(|(number, to)| Some((number, to?))).collect();
        let carried = channels::carry(connection, self.protocol.codec, incoming, to_client, clock);
        let served = async {
            // The client learns that its connection stands before anything is said.
            let first = ends.stdout.as_ref().or(ends.stderr.as_ref()).unwrap_or(&ends.error);
            if first.send(Bytes::new()).await.is_ok() {
                run(self.kind, self.protocol, self.start, ends, clock).await;
            }
        };
        tokio::join!(carried, served);
    }

    async fn by_streams(self, connection: Upgraded, clock: &Arc<dyn Clock>) {
        let (opened_in, opened) = mpsc::channel(1);
        let (to, out) = mpsc::channel(AHEAD);
        let carried = spdy::carry(TokioIo::new(connection), opened_in, to.downgrade(), out, clock);
        let served = async {
            let late = clock.sleep_until(clock.now() + OPEN_SECONDS.seconds());
            let ends = tokio::select! {
                ends = gathered(opened, self.wanted, self.protocol) => ends,
                () = late => None,
            };
            // From here the streams alone keep the connection.
            drop(to);
            match ends {
                Some(ends) => run(self.kind, self.protocol, self.start, ends, clock).await,
                None => tracing::debug!("a client did not open its streams"),
            }
        };
        tokio::join!(carried, served);
    }
}

/// Takes streams until those that are wanted are there; `None` when the client is gone before.
async fn gathered(mut opened: mpsc::Receiver<Opened>, wanted: Wanted, protocol: Protocol) -> Option<Ends> {
    let (mut stdin, mut sizes, mut stdout, mut stderr, mut error) = (None, None, None, None, None);
    loop {
        let have = |one: bool, wanted: bool| one || !wanted;
        if let Some(error) = error.take_if(|_| {
            have(stdin.is_some(), wanted.stdin)
                && have(stdout.is_some(), wanted.stdout)
                && have(stderr.is_some(), wanted.stderr)
                && have(sizes.is_some(), wanted.tty && protocol.sizes)
        }) {
            return Some(Ends { stdin, sizes, stdout, stderr, error });
        }
        let stream = opened.recv().await?;
        match stream.header("streamtype") {
            "stdin" => stdin = Some(stream.incoming),
            "resize" => sizes = Some(stream.incoming),
            "stdout" => stdout = Some(stream.outgoing),
            "stderr" => stderr = Some(stream.outgoing),
            "error" => error = Some(stream.outgoing),
            other => tracing::debug!(kind = other, "a stream is not known"),
        }
    }
}

/// Ties a process to a client until one of them ends.
async fn run(kind: Kind, protocol: Protocol, start: Start, ends: Ends, clock: &Arc<dyn Clock>) {
    let error = ends.error.clone();
    let end = tokio::select! {
        end = tie(kind, start, ends, clock) => end,
        () = error.to.closed() => return,
    };
    let told = match protocol.status {
        true => Some(end.status().to_string()),
        false => end.failure(),
    };
    if let Some(told) = told {
        // A client that went away needs no answer.
        let _ = error.send(told).await;
    }
    let _ = error.end().await;
}

/// How a session ended, as the client is told.
enum End {
    Code(i32, String),
    Failed(String),
}

impl End {
    fn status(&self) -> Value {
        match self {
            Self::Code(0, _) => json!({"metadata": {}, "status": "Success"}),
            Self::Code(code, _) => json!({
                "metadata": {}, "status": "Failure", "message": self.failure(), "reason": "NonZeroExitCode",
                "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
            }),
            Self::Failed(_) => json!({
                "metadata": {}, "status": "Failure", "message": self.failure(), "reason": "InternalError",
                "details": {"causes": [{"message": self.failure()}]}, "code": 500,
            }),
        }
    }

    fn failure(&self) -> Option<String> {
        match self {
            Self::Code(0, _) => None,
            Self::Code(_, words) => Some(format!("command terminated with non-zero exit code: {words}")),
            Self::Failed(words) => Some(format!("Internal error occurred: {words}")),
        }
    }
}

async fn tie(kind: Kind, start: Start, ends: Ends, clock: &Arc<dyn Clock>) -> End {
    let streams = match start.await {
        Ok(streams) => streams,
        Err(words) if words.starts_with(REFUSED) => return End::Failed(words),
        Err(words) => return End::Failed(kind.failed(&words)),
    };
    let Streams { stdin, stdout, stderr, resize, ended } = streams;
    let (over, told) = watch::channel(false);
    let ended = async {
        let ended = ended.await;
        over.send_replace(true);
        ended
    };
    let outputs = async {
        let stdout = copy_out(stdout, ends.stdout, told.clone(), clock);
        let stderr = copy_out(stderr, ends.stderr, told.clone(), clock);
        tokio::join!(stdout, stderr);
    };
    let inputs = async {
        tokio::join!(copy_in(ends.stdin, stdin), copy_sizes(ends.sizes, resize.as_deref()));
        std::future::pending::<()>().await;
    };
    let (ended, ()) = tokio::select! {
        done = async { tokio::join!(ended, outputs) } => done,
        () = inputs => unreachable!("it never ends"),
    };
    match ended {
        Ok(code) => End::Code(code, format!("exit status {code}")),
        Err(words) => End::Failed(kind.failed(&words)),
    }
}

/// What the process says, until it has ended and nothing more comes. A client that is gone ends it too.
async fn copy_out(
    from: Option<Reading>,
    to: Option<Outgoing>,
    mut over: watch::Receiver<bool>,
    clock: &Arc<dyn Clock>,
) {
    let Some(to) = to else { return };
    if let Some(mut from) = from {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(CHUNK);
            let silence = async {
                // The sender goes with the process.
                let _ = over.wait_for(|over| *over).await;
                clock.sleep_until(clock.now() + LINGER_SECONDS.seconds()).await;
            };
            let read = tokio::select! {
                biased;
                read = from.read_buf(&mut buffer) => read,
                () = silence => break,
            };
            match read {
                Ok(0) => break,
                Ok(_) => {
                    if to.send(buffer.split().freeze()).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "a process can't be heard any more");
                    break;
                }
            }
        }
    }
    // Who does not listen any more needs no end.
    let _ = to.end().await;
}

/// What the client says. A process that does not listen any more is no error: the rest is thrown away.
async fn copy_in(from: Option<Incoming>, to: Option<Writing>) {
    let (Some(mut from), Some(mut to)) = (from, to) else { return };
    while let Some(piece) = from.recv().await {
        if let Err(error) = to.write_all(&piece).await {
            tracing::debug!(%error, "a process does not listen any more");
            return;
        }
    }
}

type Resize = dyn Fn(Size) -> std::io::Result<()> + Send + Sync;

/// Sizes of the client's terminal, as JSON one after the other.
async fn copy_sizes(from: Option<Incoming>, resize: Option<&Resize>) {
    let (Some(mut from), Some(resize)) = (from, resize) else { return };
    let mut text: Vec<u8> = Vec::new();
    while let Some(piece) = from.recv().await {
        text.extend_from_slice(&piece);
        let mut sizes = serde_json::Deserializer::from_slice(&text).into_iter::<Size>();
        let last = sizes.by_ref().map_while(Result::ok).last();
        let rest = text.split_off(sizes.byte_offset().min(text.len()));
        text = rest;
        if text.len() > SIZES {
            return;
        }
        if let Some(Err(error)) = last.map(resize) {
            tracing::debug!(%error, "a terminal can't be resized");
        }
    }
}
