//! What a decision asks to be done, as data.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kprov_schema::{Key, Object, Resource, Revision, Subresource, Uid};
use serde_json::Value;

use crate::client::{DeleteOptions, PatchKind, Preconditions};

/// Actions in the order they are done, and when to look again.
#[derive(Debug, Default, PartialEq)]
pub struct Outcome {
    /// What to do. The first that fails ends the round.
    pub actions: Vec<Action>,
    /// When to reconcile again if nothing changes before.
    pub recheck_at: Option<Timestamp>,
}

impl Outcome {
    /// Nothing to do.
    #[must_use]
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Looks again at the earlier of two moments.
    pub fn recheck(&mut self, at: Timestamp) {
        self.recheck_at = Some(self.recheck_at.map_or(at, |before| before.min(at)));
    }
}

impl From<Vec<Action>> for Outcome {
    fn from(actions: Vec<Action>) -> Self {
        Self { actions, recheck_at: None }
    }
}

/// One thing to do.
#[derive(Debug, PartialEq)]
pub enum Action {
    /// Creates an object. Creations of one kind in a row are begun together, in growing batches.
    Create {
        /// Its kind.
        resource: Resource,
        /// The object.
        object: Object,
        /// Event to record about it.
        report: Option<Report>,
    },
    /// Replaces an object or subresource; its `metadata.resourceVersion` is the precondition.
    Update {
        /// Its kind.
        resource: Resource,
        /// Subresource, or the object itself.
        subresource: Option<Subresource>,
        /// The object.
        object: Object,
    },
    /// Patches an object or subresource.
    Patch {
        /// Its kind.
        resource: Resource,
        /// The object.
        key: Key,
        /// Subresource, or the object itself.
        subresource: Option<Subresource>,
        /// How `patch` is read.
        kind: PatchKind,
        /// The patch.
        patch: Value,
    },
    /// Deletes an object, if it is still this one. That it is gone already is no failure.
    Delete {
        /// Its kind.
        resource: Resource,
        /// The object.
        key: Key,
        /// How, and on which conditions.
        options: DeleteOptions,
        /// Event to record about it.
        report: Option<Report>,
    },
    /// Records an event.
    Record(Note),
    /// Goes on only if this still holds at the API server, whose answer is newer than any cache.
    Check(Check),
}

/// What must hold for the actions behind it.
#[derive(Debug, PartialEq)]
pub enum Check {
    /// No object of the key is there, or only one of another life.
    Absent {
        /// Its kind.
        resource: Resource,
        /// The object.
        key: Key,
        /// Its life; any when `None`.
        uid: Option<Uid>,
    },
    /// A namespace holds nothing of a kind.
    Empty {
        /// The kind.
        resource: Resource,
        /// The namespace.
        namespace: String,
    },
    /// A namespace holds the same objects of a kind as the cache showed.
    Unchanged {
        /// The kind.
        resource: Resource,
        /// The namespace.
        namespace: String,
        /// Key and revision of each.
        seen: Vec<(Key, Revision)>,
    },
}

/// Events that tell how a creation or deletion went. `{}` stands for the object's name, or for the error.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// When it went well.
    pub success: Note,
    /// When it did not.
    pub failure: Note,
}

/// An event to record.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    /// The object it is about.
    pub about: ObjectReference,
    /// Whether it is a `Warning`, else `Normal`.
    pub warning: bool,
    /// Machine-readable reason.
    pub reason: &'static str,
    /// Text for people.
    pub message: String,
    /// Component that says it; the controller's own name when empty.
    pub source: &'static str,
}

impl Note {
    /// An ordinary event about an object.
    pub fn normal(about: ObjectReference, reason: &'static str, message: impl Into<String>) -> Self {
        Self { about, warning: false, reason, message: message.into(), source: "" }
    }

    /// An event that something went wrong.
    pub fn warning(about: ObjectReference, reason: &'static str, message: impl Into<String>) -> Self {
        Self { warning: true, ..Self::normal(about, reason, message) }
    }

    /// The note with `{}` filled in.
    #[must_use]
    pub fn filled(mut self, with: &str) -> Self {
        self.message = self.message.replace("{}", with);
        self
    }
}

impl Action {
    /// Creates an object, without an event.
    #[must_use]
    pub fn create(resource: Resource, object: Object) -> Self {
        Self::Create { resource, object, report: None }
    }

    /// Replaces an object.
    #[must_use]
    pub fn update(resource: Resource, object: Object) -> Self {
        Self::Update { resource, subresource: None, object }
    }

    /// Replaces the status of an object.
    #[must_use]
    pub fn update_status(resource: Resource, object: Object) -> Self {
        Self::Update { resource, subresource: Some(Subresource::Status), object }
    }

    /// Deletes the object of this life.
    #[must_use]
    pub fn delete(resource: Resource, key: Key, uid: &Uid) -> Self {
        let preconditions = Preconditions { uid: Some(uid.0.clone()), resource_version: None };
        Self::Delete {
            resource,
            key,
            options: DeleteOptions { preconditions, ..DeleteOptions::default() },
            report: None,
        }
    }
}
