//! What the API server asks of a node agent on behalf of a client: the logs of a container.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use jiff::Timestamp;
use kprov_schema::{Object, Status};

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

/// A node agent as the API server sees it.
pub trait NodeApi: Send + Sync + 'static {
    /// The log of a container of `pod`, which is bound to this node. `Err` is what the client is told.
    fn logs(
        &self,
        pod: Arc<Object>,
        options: LogOptions,
    ) -> BoxFuture<'_, Result<BoxStream<'static, std::io::Result<Bytes>>, Status>>;
}
