//! Keys to objects, with one revision counter and a bounded history.
//!
//! Everything is in memory; a commit is acknowledged, then seen by readers, only when it is on disk. One writer turns
//! all transactions that wait into one durable batch. A watch is a cursor ([`Store::since`]) beside a signal that the
//! head has moved ([`Store::moved_in`]), so a slow reader has no buffer that could overflow.

mod backend;
mod engine;
mod error;
mod kept;
mod key;
mod signal;
mod state;
mod stored;
mod txn;
mod writer;

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use kprov_schema::Revision;
use tokio::sync::{mpsc, oneshot};

pub use error::{Closed, CommitError, ReadError, StoreError};
pub use key::{Prefix, StoreKey};
pub use signal::Moved;
pub use state::{Events, Page, Window};
pub use stored::{Change, Stored};
pub use txn::{Amend, Amendment, Committed, Effect, Expect, Op, Txn};

use crate::world::World;
use engine::Engine;
use signal::Signals;
use state::State;
use writer::Message;

/// A handle on the store; clones are the same store. The last one closes it.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Message>,
}

/// What readers and the writer share.
struct Shared {
    world: World,
    window: Window,
    state: RwLock<State>,
    signals: Signals,
    /// Why no more is written.
    failure: RwLock<Option<CommitError>>,
}

impl Store {
    /// Opens the store in the file `path` of the world's disk, making it when it is not there.
    ///
    /// Reads it all, so it takes as long as the file is large. Must be called within a tokio runtime, where the writer
    /// lives. Errors: [`StoreError`]; the file of somebody else or a damaged one is never overwritten.
    pub fn open(world: &World, path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_with(world, path, Window::default())
    }

    /// The same with a window of history of one's own.
    pub fn open_with(world: &World, path: impl AsRef<Path>, window: Window) -> Result<Self, StoreError> {
        let (engine, loaded) = Engine::open(world, path.as_ref())?;
        let shared = Arc::new(Shared {
            world: world.clone(),
            window,
            signals: Signals::default(),
            state: RwLock::new(State::new(loaded.head, loaded.objects)),
            failure: RwLock::new(None),
        });
        let (queue, messages) = mpsc::channel(writer::QUEUE);
        tokio::spawn(writer::run(shared.clone(), engine, messages));
        Ok(Self { shared, queue })
    }

    /// The newest revision that is on disk.
    #[must_use]
    pub fn head(&self) -> Revision {
        self.shared.state().head()
    }

    /// The newest object at a key.
    #[must_use]
    pub fn get(&self, key: &StoreKey) -> Option<Arc<Stored>> {
        self.shared.state().get(key).cloned()
    }

    /// Objects of a prefix: those behind the key `after`, at most `limit`, as they were at a revision (the newest when
    /// `None`). Pages of one list ask for the revision of its first page.
    pub fn list(
        &self,
        prefix: &Prefix,
        after: Option<&StoreKey>,
        limit: Option<usize>,
        at: Option<Revision>,
    ) -> Result<Page, ReadError> {
        self.shared.state().list(prefix, after, limit, at)
    }

    /// Changes of a prefix after a revision: about `max` at most, see [`Events::upto`] for where to go on.
    pub fn since(&self, revision: Revision, prefix: &Prefix, max: usize) -> Result<Events, ReadError> {
        // Old changes are made of their texts again without keeping the writer waiting.
        let read = self.shared.state().since(revision, prefix, max)?;
        Ok(read.events())
    }

    /// Tells when the head moves.
    pub fn moved(&self) -> Moved {
        self.moved_in(&Prefix::Everything)
    }

    /// Tells when the head moves by a change of the resource that `prefix` is within: a watcher of one resource
    /// sleeps through the changes of all others.
    pub fn moved_in(&self, prefix: &Prefix) -> Moved {
        self.shared.signals.subscribe(prefix, || self.head())
    }

    /// Carries out a transaction: all of it under one revision, or nothing. Completes when it is on disk.
    ///
    /// A caller that stops waiting does not stop the transaction. When many wait, a caller waits for its place.
    pub async fn commit(&self, txn: Txn) -> Result<Committed, CommitError> {
        if let Some(error) = self.shared.failure() {
            return Err(error);
        }
        // What does not hold now need not wait for the disk.
        {
            let state = self.shared.state();
            txn.check(|key| state.get(key).cloned())?;
        }
        let (answer, result) = oneshot::channel();
        if self.queue.send(Message::Commit(txn, answer)).await.is_err() {
            return Err(self.ended());
        }
        result.await.unwrap_or_else(|_| Err(self.ended()))
    }

    /// Why the store takes no writes any more, if that is so.
    #[must_use]
    pub fn failure(&self) -> Option<CommitError> {
        self.shared.failure()
    }

    /// Writes what is waiting, then closes the file. Every commit after this is refused.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.queue.send(Message::Close(done)).await.is_ok() {
            // An error means that the writer has ended, which is what was asked for.
            let _ = closed.await;
        }
        self.queue.closed().await;
    }

    fn ended(&self) -> CommitError {
        self.shared.failure().unwrap_or(CommitError::Closed)
    }
}

impl Shared {
    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets readers see what is on disk.
    fn publish(&self, changes: Vec<Arc<Change>>, head: Revision) {
        let now = self.world.clock.now();
        let touched: std::collections::BTreeSet<String> =
            changes.iter().map(|change| change.key.shelf().to_owned()).collect();
        let dropped = {
            let mut state = self.state_mut();
            state.apply(changes, head, now);
            state.trim(self.window, now)
        };
        self.signals.ring(touched.iter().map(String::as_str), head);
        drop(dropped);
    }

    fn trim(&self) {
        let now = self.world.clock.now();
        let dropped = self.state_mut().trim(self.window, now);
        drop(dropped);
    }

    fn failure(&self) -> Option<CommitError> {
        self.failure.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps the first reason.
    fn fail(&self, error: CommitError) {
        self.failure.write().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }
}
