//! A change as history keeps it: whole while watches are about to tell it, then as text.

use std::sync::Arc;

use bytes::Bytes;
use kprov_schema::Revision;

use super::{Change, StoreKey, Stored};

/// A parsed object takes so many bytes for each of its text: every map of it is a node of a tree, however little is in it.
const MEMORY_PER_BYTE_OF_JSON: usize = 9;
/// What a change takes beside its object.
const FIXED: usize = 256;

/// A change, or the texts that it is made of again when somebody still asks for it.
#[derive(Clone, Debug)]
pub(super) enum Kept {
    Whole(Arc<Change>),
    Text(Arc<Text>),
}

/// A change without parsed objects.
#[derive(Debug)]
pub(super) struct Text {
    key: StoreKey,
    revision: Revision,
    old: Option<Bytes>,
    new: Option<Bytes>,
}

impl Kept {
    pub(super) fn key(&self) -> &StoreKey {
        match self {
            Self::Whole(change) => &change.key,
            Self::Text(text) => &text.key,
        }
    }

    pub(super) fn revision(&self) -> Revision {
        match self {
            Self::Whole(change) => change.revision,
            Self::Text(text) => text.revision,
        }
    }

    /// The object before.
    pub(super) fn old(&self) -> Option<Arc<Stored>> {
        match self {
            Self::Whole(change) => change.old.clone(),
            Self::Text(text) => text.read(text.old.as_ref()),
        }
    }

    /// The change itself.
    pub(super) fn change(&self) -> Arc<Change> {
        match self {
            Self::Whole(change) => change.clone(),
            Self::Text(text) => {
                Change::new(text.key.clone(), text.revision, text.read(text.old.as_ref()), text.read(text.new.as_ref()))
            }
        }
    }

    /// The same without parsed objects.
    pub(super) fn packed(&self) -> Self {
        let Self::Whole(change) = self else { return self.clone() };
        let text = |stored: &Option<Arc<Stored>>| stored.as_ref().map(|stored| stored.json());
        let (key, revision) = (change.key.clone(), change.revision);
        Self::Text(Arc::new(Text { key, revision, old: text(&change.old), new: text(&change.new) }))
    }

    /// An estimate of the bytes of memory that the change keeps alive.
    pub(super) fn weight(&self) -> usize {
        let size = |stored: &Arc<Stored>| stored.json().len() * (1 + MEMORY_PER_BYTE_OF_JSON);
        FIXED
            + match self {
                Self::Whole(change) => change.new.as_ref().or(change.old.as_ref()).map_or(0, size),
                Self::Text(text) => text.new.as_ref().or(text.old.as_ref()).map_or(0, Bytes::len),
            }
    }
}

impl Text {
    fn read(&self, json: Option<&Bytes>) -> Option<Arc<Stored>> {
        let read = |json: &Bytes| Stored::of_json(self.key.clone(), json.clone());
        json.map(|json| {
            Arc::new(read(json).expect("what was written as JSON, and is read so at every start, can be read"))
        })
    }
}
