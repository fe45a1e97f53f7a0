//! Which names an expression may use, and what it must come to.

/// The names that an expression may use, beside those that all have: `object`, `oldObject`, `request`, `namespaceObject`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Names<'a> {
    /// `params`: an object that a policy is given.
    pub params: bool,
    /// `authorizer`: who may do what.
    pub authorizer: bool,
    /// Of `variables`, those that are defined before; `None` when there are none at all.
    pub variables: Option<&'a [&'a str]>,
}

/// What an expression must come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returns {
    /// A truth.
    Bool,
    /// A text.
    Text,
    /// A text, or null.
    TextOrNull,
    /// Whatever it is.
    Anything,
}
