//! Wakes those who wait for the head to move.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use kprov_schema::Revision;
use tokio::sync::watch;

use super::{Closed, Prefix};

/// Waits for the head to move.
#[derive(Clone, Debug)]
pub struct Moved(watch::Receiver<Revision>);

impl Moved {
    /// Completes when the head is beyond `revision`, with the head of that moment.
    ///
    /// Errors: [`Closed`] when the store is, so that its head will not move again.
    pub async fn beyond(&mut self, revision: Revision) -> Result<Revision, Closed> {
        self.0.wait_for(|head| *head > revision).await.map(|head| *head).map_err(|_| Closed)
    }
}

/// The name that the signal for all resources goes by.
const ALL: &str = "";

/// One signal for each resource that somebody waits for, by its name; `None` when the store is closed.
#[derive(Debug)]
pub(super) struct Signals(Mutex<Option<BTreeMap<Box<str>, watch::Sender<Revision>>>>);

impl Default for Signals {
    fn default() -> Self {
        Self(Mutex::new(Some(BTreeMap::new())))
    }
}

impl Signals {
    /// `head` is read under the lock: a change published in between is then either in it or rung later.
    pub(super) fn subscribe(&self, prefix: &Prefix, head: impl FnOnce() -> Revision) -> Moved {
        let name = prefix.shelf().unwrap_or(ALL);
        let mut signals = self.signals();
        if let Some(signal) = signals.as_ref().and_then(|signals| signals.get(name)) {
            return Moved(signal.subscribe());
        }
        let signal = watch::Sender::new(head());
        let moved = Moved(signal.subscribe());
        // A closed store has nowhere to keep it: it goes, which tells the waiting one.
        signals.as_mut().map(|signals| signals.insert(name.into(), signal));
        moved
    }

    pub(super) fn ring<'a>(&self, shelves: impl Iterator<Item = &'a str>, head: Revision) {
        let signals = self.signals();
        let Some(signals) = signals.as_ref() else { return };
        for signal in shelves.chain([ALL]).filter_map(|name| signals.get(name)) {
            signal.send_replace(head);
        }
    }

    pub(super) fn close(&self) {
        *self.signals() = None;
    }

    fn signals(&self) -> MutexGuard<'_, Option<BTreeMap<Box<str>, watch::Sender<Revision>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
