//! What the API server asks of a node agent on behalf of a client: what a container wrote, and streams to a pod.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use jiff::Timestamp;
use kprov_schema::{Object, Status};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Which part of a container's log to send, and how.
///
/// Source: `PodLogOptions` of core/v1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Container; the pod's only one when empty.
    pub container: String,
    /// Go on with what is written later.
    pub follow: bool,
    /// The container before the present one.
    pub previous: bool,
    /// Put the time before each line.
    pub timestamps: bool,
    /// Only lines of this moment or later.
    pub since: Option<Timestamp>,
    /// Only so many lines from the end.
    pub tail_lines: Option<u64>,
    /// Stop after so many bytes.
    pub limit_bytes: Option<u64>,
}

/// What a client does in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Runs this command beside the container's own process.
    Exec(Vec<String>),
    /// Listens and speaks to the container's own process.
    Attach,
}

/// Which streams a client wants.
///
/// Source: `PodExecOptions` and `PodAttachOptions` of core/v1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// It will write to the standard input.
    pub stdin: bool,
    /// It reads the standard output.
    pub stdout: bool,
    /// It reads the standard error; with a terminal there is none of its own.
    pub stderr: bool,
    /// A terminal, which has a size.
    pub tty: bool,
}

/// Columns and rows of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Size {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// Bytes that go to a process. When it is dropped, the process reads the end.
pub type Writing = Box<dyn AsyncWrite + Send + Unpin>;
/// Bytes that a process writes.
pub type Reading = Box<dyn AsyncRead + Send + Unpin>;

/// The streams of a process, held by whoever asked for them. Who drops them has gone away: its process reads the end,
/// and can't be written for any more.
pub struct Streams {
    /// Its standard input, where it was wanted and it has one.
    pub stdin: Option<Writing>,
    /// Its standard output, or its terminal.
    pub stdout: Option<Reading>,
    /// Its standard error.
    pub stderr: Option<Reading>,
    /// Gives its terminal a size.
    pub resize: Option<Box<dyn Fn(Size) -> io::Result<()> + Send + Sync>>,
    /// Its end: a command's exit code, 128 + n when killed by signal n; for who listened to a container, 0. `Err` says why
    /// it never ran, or why nothing more is told of it. What it wrote before may still be on its way.
    pub ended: BoxFuture<'static, Result<i32, String>>,
}

/// Begins when it is first asked for; `Err` says why it could not.
pub type Start = BoxFuture<'static, Result<Streams, String>>;

/// Connects to a port inside a pod, each time anew; `Err` says why it can't be reached.
pub type Dial = Arc<dyn Fn(u16) -> BoxFuture<'static, Result<TcpStream, String>> + Send + Sync>;

/// A node agent as the API server sees it. The pods that it is asked about are bound to its node; `Err` is what the client
/// is told.
pub trait NodeApi: Send + Sync + 'static {
    /// The log of a container.
    fn logs(
        &self,
        pod: Arc<Object>,
        options: LogOptions,
    ) -> BoxFuture<'_, Result<BoxStream<'static, io::Result<Bytes>>, Status>>;
    /// What is needed to do something in a container, which must be running.
    fn session(
        &self,
        pod: Arc<Object>,
        container: String,
        task: Task,
        wanted: Wanted,
    ) -> BoxFuture<'_, Result<Start, Status>>;
    /// Connects to an address as the node itself does; `Err` says why it can't be reached.
    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, Result<TcpStream, String>>;
    /// What is needed to reach the ports of a pod, which must be running.
    fn ports(&self, pod: Arc<Object>) -> BoxFuture<'_, Result<Dial, Status>>;
}
