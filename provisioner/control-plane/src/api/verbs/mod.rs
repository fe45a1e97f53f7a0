//! The verbs, each written once for every kind.

pub(crate) mod apply;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod deletecollection;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod patch;
pub(crate) mod update;
pub(crate) mod watch;

use std::sync::Arc;

use kprov_schema::Object;

use crate::store::Stored;

/// An object that a write left behind.
pub(crate) enum Outcome {
    /// It is stored so.
    Stored(Arc<Stored>),
    /// It is not stored: a dry run, or an object that went with the write.
    Shown(Arc<Object>),
}

impl Outcome {
    /// The object.
    pub(crate) fn object(&self) -> &Arc<Object> {
        match self {
            Self::Stored(stored) => &stored.object,
            Self::Shown(object) => object,
        }
    }
}

/// What came of a write, with advice for whoever asked for it.
pub(crate) struct Written {
    /// The object.
    pub(crate) outcome: Outcome,
    /// Texts for `Warning` headers.
    pub(crate) warnings: Vec<String>,
}
