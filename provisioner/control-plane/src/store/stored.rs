//! An object at one revision, with the change that led to it.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use kprov_schema::{Object, Revision};
use serde_json::Value;

use super::StoreKey;

/// An object as it was stored at a revision. Never changes, so it is shared by all that read it.
#[derive(Debug)]
pub struct Stored {
    /// Where it is kept.
    pub key: StoreKey,
    /// The revision that wrote it; also its `metadata.resourceVersion`.
    pub revision: Revision,
    /// The object.
    pub object: Arc<Object>,
    json: OnceLock<Bytes>,
}

impl Stored {
    /// `object` stamped with the revision that writes it.
    pub(super) fn new(key: StoreKey, revision: Revision, mut object: Object) -> Self {
        object.set(&["metadata", "resourceVersion"], Value::String(revision.to_string()));
        Self { key, revision, object: Arc::new(object), json: OnceLock::new() }
    }

    /// The same place and revision with the object as another kind shows it.
    pub(crate) fn shown_as(&self, object: Object) -> Self {
        Self { key: self.key.clone(), revision: self.revision, object: Arc::new(object), json: OnceLock::new() }
    }

    /// What was read back from disk. `Err` says what is wrong with it.
    pub(super) fn read(key: &str, json: &[u8]) -> Result<Self, String> {
        let key = StoreKey::parse(key).ok_or_else(|| format!("{key:?} is no key of an object"))?;
        Self::of_json(key, Bytes::copy_from_slice(json))
    }

    /// The object of a text. `Err` says what is wrong with it.
    pub(super) fn of_json(key: StoreKey, json: Bytes) -> Result<Self, String> {
        let object: Object = serde_json::from_slice(&json).map_err(|error| format!("object {key}: {error}"))?;
        let revision =
            object.revision().ok_or_else(|| format!("object {key}: metadata.resourceVersion is not a revision"))?;
        Ok(Self { key, revision, object: Arc::new(object), json: OnceLock::from(json) })
    }

    /// About how many bytes its JSON has, without writing it.
    pub(crate) fn weight(&self) -> usize {
        const USUAL: usize = 2048;
        self.json.get().map_or(USUAL, Bytes::len)
    }

    /// The object as JSON: serialized once, shared by every reader.
    pub fn json(&self) -> Bytes {
        self.json.get_or_init(|| serialize(&self.object)).clone()
    }
}

fn serialize(object: &Object) -> Bytes {
    serde_json::to_vec(object.map()).expect("a map of JSON values always serializes").into()
}

/// What one revision did to one key.
#[derive(Debug)]
pub struct Change {
    /// The key.
    pub key: StoreKey,
    /// The object before; `None` when it was made.
    pub old: Option<Arc<Stored>>,
    /// The object after; `None` when it was deleted.
    pub new: Option<Arc<Stored>>,
    /// The revision.
    pub revision: Revision,
    last: OnceLock<Option<Arc<Stored>>>,
}

impl Change {
    pub(super) fn new(
        key: StoreKey,
        revision: Revision,
        old: Option<Arc<Stored>>,
        new: Option<Arc<Stored>>,
    ) -> Arc<Self> {
        Arc::new(Self { key, old, new, revision, last: OnceLock::new() })
    }

    /// The object before, stamped with this change's revision: what a watch shows when the object went away or left a
    /// selection. Made once, shared by every reader.
    pub fn last(&self) -> Option<&Arc<Stored>> {
        let make =
            |old: &Arc<Stored>| Arc::new(Stored::new(self.key.clone(), self.revision, Object::clone(&old.object)));
        self.last.get_or_init(|| self.old.as_ref().map(make)).as_ref()
    }
}
