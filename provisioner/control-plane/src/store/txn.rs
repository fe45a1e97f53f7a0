//! A transaction: expectations on keys with what to do when all of them hold.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use kprov_schema::{Object, Revision};

use super::{Change, CommitError, StoreKey, Stored};

/// What must be true of a key for a transaction to go ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing is there.
    Absent,
    /// What is there was written by this revision.
    At(Revision),
    /// Nothing is asked.
    Any,
}

impl Expect {
    fn holds(self, found: Option<&Arc<Stored>>) -> bool {
        match self {
            Self::Absent => found.is_none(),
            Self::At(revision) => found.is_some_and(|found| found.revision == revision),
            Self::Any => true,
        }
    }
}

/// What to do with a key.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Put this object there; its `metadata.resourceVersion` is set by the store.
    Put(Object),
    /// Delete what is there. Deleting nothing is no change.
    Delete,
    /// Put this object there and delete it: two revisions, which watchers see one after the other. No crash comes between.
    Last(Object),
    /// Leave it: the expectation alone counts.
    Keep,
    /// Make something of what is there by then, which must be there.
    Amend(Amend),
}

/// What an [`Amend`] makes of an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Amendment {
    /// Put this object there.
    Put(Object),
    /// Leave it as it is.
    Leave,
    /// The transaction does not go ahead.
    Refuse,
}

/// A change that is worked out by the writer, so that what many transactions add to one object is neither lost nor
/// tried again and again. It must be quick and depend on nothing but the object.
#[derive(Clone)]
pub struct Amend(Arc<dyn Fn(&Stored) -> Amendment + Send + Sync>);

impl Amend {
    /// A change.
    pub fn new(change: impl Fn(&Stored) -> Amendment + Send + Sync + 'static) -> Self {
        Self(Arc::new(change))
    }
}

impl fmt::Debug for Amend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Amend")
    }
}

impl PartialEq for Amend {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// One key of a transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct Op {
    /// The key.
    pub key: StoreKey,
    /// What must be true.
    pub expect: Expect,
    /// What to do.
    pub effect: Effect,
}

/// Operations on different keys that happen together, under one revision, or not at all. What [`Effect::Last`] puts goes
/// under the next revision.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Txn(pub Vec<Op>);

impl Txn {
    /// A transaction with one operation that writes an object.
    #[must_use]
    pub fn put(key: StoreKey, expect: Expect, object: Object) -> Self {
        Self::default().and(key, expect, Effect::Put(object))
    }

    /// A transaction with one operation that deletes an object.
    #[must_use]
    pub fn delete(key: StoreKey, expect: Expect) -> Self {
        Self::default().and(key, expect, Effect::Delete)
    }

    /// A transaction with one operation that writes an object for the last time, then deletes it.
    #[must_use]
    pub fn last(key: StoreKey, expect: Expect, object: Object) -> Self {
        Self::default().and(key, expect, Effect::Last(object))
    }

    /// The same with one operation more.
    #[must_use]
    pub fn and(mut self, key: StoreKey, expect: Expect, effect: Effect) -> Self {
        self.0.push(Op { key, expect, effect });
        self
    }

    /// The first expectation that does not hold, or a key that is named twice.
    pub(super) fn check(&self, get: impl Fn(&StoreKey) -> Option<Arc<Stored>>) -> Result<(), CommitError> {
        let mut keys = HashSet::new();
        for op in &self.0 {
            if !keys.insert(&op.key) {
                return Err(CommitError::Twice { key: op.key.clone() });
            }
            let found = get(&op.key);
            if !op.expect.holds(found.as_ref()) {
                return Err(CommitError::Conflict { key: op.key.clone(), found });
            }
        }
        Ok(())
    }
}

/// A transaction that is on disk.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Its revision; the newest one when it changed nothing.
    pub revision: Revision,
    /// What is at each key now, in the order of the operations.
    pub stored: Vec<Option<Arc<Stored>>>,
}

/// Transactions on top of what is published, on their way to the disk together.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) head: Revision,
    pub(super) changes: Vec<Arc<Change>>,
    pub(super) bytes: usize,
    newest: HashMap<StoreKey, Option<Arc<Stored>>>,
}

impl Batch {
    pub(super) fn new(head: Revision) -> Self {
        Self { head, changes: Vec::new(), bytes: 0, newest: HashMap::new() }
    }

    /// Adds a transaction when its expectations hold. `published` reads what is below the batch.
    pub(super) fn add(
        &mut self,
        txn: Txn,
        published: impl Fn(&StoreKey) -> Option<Arc<Stored>>,
    ) -> Result<Committed, CommitError> {
        let get = |newest: &HashMap<StoreKey, Option<Arc<Stored>>>, key: &StoreKey| match newest.get(key) {
            Some(known) => known.clone(),
            None => published(key),
        };
        txn.check(|key| get(&self.newest, key))?;
        let next = Revision(self.head.0 + 1);
        let mut moves = Vec::with_capacity(txn.0.len());
        for Op { key, effect, .. } in txn.0 {
            let old = get(&self.newest, &key);
            let goes = matches!(effect, Effect::Last(_));
            let put = |object| Some(Arc::new(Stored::new(key.clone(), next, object)));
            let new = match effect {
                Effect::Put(object) | Effect::Last(object) => put(object),
                Effect::Delete => None,
                Effect::Keep => old.clone(),
                Effect::Amend(amend) => match old.as_ref().map_or(Amendment::Refuse, |old| (amend.0)(old)) {
                    Amendment::Put(object) => put(object),
                    Amendment::Leave => old.clone(),
                    Amendment::Refuse => return Err(CommitError::Conflict { key, found: old }),
                },
            };
            moves.push((key, old, new, goes));
        }
        let stored = moves.iter().map(|(_, _, new, goes)| new.clone().filter(|_| !goes)).collect();
        let mut going = Vec::new();
        for (key, old, new, goes) in moves {
            going.extend(goes.then(|| (key.clone(), new.clone())));
            self.note(key, next, old, new);
        }
        for (key, last) in going {
            self.note(key, Revision(next.0 + 1), last, None);
        }
        Ok(Committed { revision: self.head, stored })
    }

    fn note(&mut self, key: StoreKey, next: Revision, old: Option<Arc<Stored>>, new: Option<Arc<Stored>>) {
        let same = match (&old, &new) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new),
            (None, None) => true,
            _ => false,
        };
        if same {
            return;
        }
        self.head = next;
        self.bytes += key.as_str().len() + new.as_ref().map_or(0, |new| new.json().len());
        self.newest.insert(key.clone(), new.clone());
        self.changes.push(Change::new(key, next, old, new));
    }

    /// Whether an answer about these keys rests on what is not on disk yet.
    pub(super) fn touches(&self, txn_keys: &[StoreKey]) -> bool {
        txn_keys.iter().any(|key| self.newest.contains_key(key))
    }
}
