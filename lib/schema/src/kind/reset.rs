//! What a write through one door can't own, since the server keeps it as it was.

use super::{Subresource, Write};
use crate::managed::Set;

type Paths = &'static [&'static [&'static str]];

/// Fields whose owner a write through a door becomes, when it changes them.
///
/// Source: `ResetFieldsStrategy` and `ResetFieldsFilterStrategy` of apiserver `registry/rest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// All but these, with what is below them.
    Except(Paths),
    /// These alone, with what is below them; `*` stands for any step.
    Only(Paths),
}

/// A status that brings nothing but itself: metadata stays as it was, too.
pub const STATUS_ALONE: &[(Write, Reset)] = &[(Write::Status, Reset::Except(&[&["metadata"], &["spec"]]))];

impl Reset {
    /// What of a set can be owned.
    #[must_use]
    pub fn kept(self, set: Set) -> Set {
        match self {
            Self::Except([]) => set,
            Self::Except(paths) => set.without(&Set::of_fields(paths)),
            Self::Only(paths) => set.along(paths),
        }
    }

    /// What the doors of a kind with these subresources reset, unless its row says otherwise.
    pub(super) fn usual(subresources: &[Subresource], write: Write) -> Self {
        match write {
            Write::Main if subresources.contains(&Subresource::Status) => Self::Except(&[&["status"]]),
            Write::Status => Self::Except(&[&["spec"]]),
            _ => Self::Except(&[]),
        }
    }
}
