//! The one writer: drains the queue, writes what it found with one sync, then publishes it.

use std::path::PathBuf;
use std::sync::Arc;

use kprov_schema::Revision;
use tokio::sync::{mpsc, oneshot};

use super::engine::{Engine, WriteError};
use super::txn::Batch;
use super::{CommitError, Committed, Shared, StoreKey, Txn};

/// Transactions that may wait; who comes later waits for a place.
pub(super) const QUEUE: usize = 4096;
/// Transactions of one batch.
const BATCH: usize = 2048;
/// Bytes of objects after which a batch takes no more transactions, so that no sync takes long.
const BATCH_BYTES: usize = 8 << 20;

type Answer = oneshot::Sender<Result<Committed, CommitError>>;

/// What the writer is asked.
pub(super) enum Message {
    Commit(Txn, Answer),
    Close(oneshot::Sender<()>),
}

/// Owner of the file. Ends, closing it, when it is told to or when the last handle on the store is gone.
pub(super) async fn run(shared: Arc<Shared>, engine: Engine, mut queue: mpsc::Receiver<Message>) {
    let blocks = shared.world.disk.blocks();
    let _end = End(shared.clone(), engine.path().to_owned());
    let mut writer = Writer { shared: shared.clone(), engine, unsure: None };
    let mut messages = Vec::new();
    let closed = loop {
        let expiry = shared.state().expiry(shared.window);
        tokio::select! {
            count = queue.recv_many(&mut messages, BATCH) => if count == 0 { break None },
            () = expired(&shared, expiry) => {
                shared.trim();
                continue;
            }
        }
        let (requests, close) = sort(&mut messages);
        let settled = on_disk(blocks, move || {
            writer.settle(requests);
            writer
        });
        writer = match settled.await {
            Ok(writer) => writer,
            Err(error) => return tracing::error!(%error, "the store's writer ended too early"),
        };
        if close.is_some() {
            break close;
        }
    };
    shared.fail(CommitError::Closed);
    queue.close();
    if let Err(error) = on_disk(blocks, move || writer.engine.close()).await {
        tracing::error!(%error, "the store was not closed tidily");
    }
    if let Some(closed) = closed {
        // Nobody may be waiting any more, which is no fault.
        let _ = closed.send(());
    }
}

/// Does work that waits for the disk where it keeps nobody else waiting.
async fn on_disk<T: Send + 'static>(
    blocks: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, tokio::task::JoinError> {
    if blocks { tokio::task::spawn_blocking(work).await } else { Ok(work()) }
}

/// Tells everybody that the writer has ended, however it came to that.
struct End(Arc<Shared>, PathBuf);

impl Drop for End {
    fn drop(&mut self) {
        let Self(shared, path) = self;
        shared.fail(CommitError::Failed { path: std::mem::take(path), what: "its writer ended too early".into() });
        shared.signals.close();
    }
}

async fn expired(shared: &Shared, expiry: Option<jiff::Timestamp>) {
    match expiry {
        Some(expiry) => shared.world.clock.sleep_until(expiry).await,
        None => std::future::pending().await,
    }
}

/// The transactions before the first wish to close. Those behind it are dropped, which tells their callers.
fn sort(messages: &mut Vec<Message>) -> (Vec<(Txn, Answer)>, Option<oneshot::Sender<()>>) {
    let mut requests = Vec::with_capacity(messages.len());
    let mut close = None;
    for message in messages.drain(..) {
        match message {
            Message::Commit(txn, answer) if close.is_none() => requests.push((txn, answer)),
            Message::Commit(..) => {}
            Message::Close(done) => close = close.or(Some(done)),
        }
    }
    (requests, close)
}

struct Writer {
    shared: Arc<Shared>,
    engine: Engine,
    /// A batch that found no space: it may be on disk or not.
    unsure: Option<Batch>,
}

impl Writer {
    fn settle(&mut self, requests: Vec<(Txn, Answer)>) {
        let mut requests = requests.into_iter().peekable();
        while requests.peek().is_some() {
            if let Err(error) = self.ready() {
                for (_, answer) in requests {
                    reply(answer, Err(error.clone()));
                }
                return;
            }
            let mut batch = Batch::new(self.shared.state().head());
            let mut waiting = Vec::new();
            while batch.bytes < BATCH_BYTES
                && let Some((txn, answer)) = requests.next()
            {
                self.judge(&mut batch, txn, answer, &mut waiting);
            }
            let written = self.write(batch);
            for (answer, result) in waiting {
                reply(answer, written.clone().and(result));
            }
        }
    }

    /// Adds a transaction to the batch. A refusal that rests on what is published is answered at once; one that
    /// rests on the batch waits for the batch, so that its caller then finds what it was refused for.
    fn judge(
        &self,
        batch: &mut Batch,
        txn: Txn,
        answer: Answer,
        waiting: &mut Vec<(Answer, Result<Committed, CommitError>)>,
    ) {
        let keys: Vec<StoreKey> = txn.0.iter().map(|op| op.key.clone()).collect();
        let rests_on_batch = batch.touches(&keys);
        let state = self.shared.state();
        match batch.add(txn, |key| state.get(key).cloned()) {
            Err(error) if !rests_on_batch => reply(answer, Err(error)),
            result => waiting.push((answer, result)),
        }
    }

    fn write(&mut self, batch: Batch) -> Result<(), CommitError> {
        if batch.changes.is_empty() {
            return Ok(());
        }
        match self.engine.write(&batch.changes, batch.head) {
            Ok(()) => {
                self.shared.publish(batch.changes, batch.head);
                Ok(())
            }
            Err(error) => {
                self.unsure = Some(batch);
                Err(self.refuse(error))
            }
        }
    }

    /// Whether the file can be written to; opens it anew when there was no space.
    fn ready(&mut self) -> Result<(), CommitError> {
        if let Some(error) = self.shared.failure() {
            return Err(error);
        }
        if !self.engine.is_closed() {
            return Ok(());
        }
        let head = self.engine.reopen().map_err(|error| self.refuse(error))?;
        self.catch_up(head)
    }

    /// Finds out whether the batch that found no space is on disk.
    fn catch_up(&mut self, on_disk: Revision) -> Result<(), CommitError> {
        let published = self.shared.state().head();
        match self.unsure.take() {
            _ if on_disk == published => Ok(()),
            Some(batch) if on_disk == batch.head => {
                self.shared.publish(batch.changes, batch.head);
                Ok(())
            }
            _ => Err(self.refuse(WriteError::Failed(format!("it is at revision {on_disk}, not at {published}")))),
        }
    }

    fn refuse(&self, error: WriteError) -> CommitError {
        let path = self.engine.path().to_owned();
        match error {
            WriteError::Full => {
                tracing::error!(path = %path.display(), "no space is left for the store");
                CommitError::Full { path }
            }
            WriteError::Failed(what) => {
                tracing::error!(path = %path.display(), %what, "the store takes no writes any more");
                let error = CommitError::Failed { path, what };
                self.shared.fail(error.clone());
                error
            }
        }
    }
}

fn reply(answer: Answer, result: Result<Committed, CommitError>) {
    // The caller may have stopped waiting; what was written stays written.
    let _ = answer.send(result);
}
