//! What became of objects, told one by one and all together.

use std::fmt;

use super::error::ClientError;
use super::place::Id;

/// What became of one object.
///
/// ```
/// assert_eq!(kprov::client::Outcome::Unchanged.to_string(), "unchanged");
/// ```
#[derive(Debug)]
pub enum Outcome {
    /// It is new.
    Created,
    /// It was there and has changed.
    Configured,
    /// It was there and is the same: nothing was written.
    Unchanged,
    /// It was deleted.
    Deleted,
    /// It was to be deleted and is not there.
    Missing,
    /// It was not tried, because what it needs failed.
    Skipped,
    /// It failed.
    Failed(ClientError),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created => f.write_str("created"),
            Self::Configured => f.write_str("configured"),
            Self::Unchanged => f.write_str("unchanged"),
            Self::Deleted => f.write_str("deleted"),
            Self::Missing => f.write_str("was not there"),
            Self::Skipped => f.write_str("skipped, because what comes before it failed"),
            Self::Failed(error) => write!(f, "failed: {error}"),
        }
    }
}

/// One object and what became of it.
///
/// ```
/// use kprov::client::Did;
///
/// fn told(did: &Did) -> String {
///     match did.reason() {
///         Some(why) if did.failed() => format!("{}: {why}", did.object),
///         _ => format!("{} {}", did.object, did.outcome),
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Did {
    /// The object.
    pub object: Id,
    /// What became of it.
    pub outcome: Outcome,
    /// What the server warned of.
    pub warnings: Vec<String>,
}

impl Did {
    pub(super) fn new(object: Id, outcome: Outcome) -> Self {
        Self { object, outcome, warnings: Vec::new() }
    }

    /// Whether it failed.
    #[must_use]
    pub fn failed(&self) -> bool {
        matches!(self.outcome, Outcome::Failed(_))
    }

    /// Why it failed, without naming the object again; `None` when it did not.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        let Outcome::Failed(error) = &self.outcome else { return None };
        let said = error.to_string();
        let object = format!("{}: ", self.object);
        // An error begins with the object, or with a verb and the object.
        let named = said.find(&object).filter(|at| said[..*at].split(' ').count() <= 2);
        Some(named.map_or(said.as_str(), |at| &said[at + object.len()..]).to_owned())
    }
}

/// What became of every object, in the order in which they were taken up.
///
/// ```
/// use kprov::client::Report;
///
/// fn told(report: &Report) -> &'static str {
///     match (report.is_complete(), report.changed()) {
///         (false, _) => "not all of it worked",
///         (true, true) => "it is up to date now",
///         (true, false) => "it was up to date",
///     }
/// }
/// ```
#[derive(Debug, Default)]
pub struct Report {
    /// The objects.
    pub objects: Vec<Did>,
}

impl Report {
    /// Whether nothing failed and nothing was left out.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.objects.iter().all(|did| !did.failed() && !matches!(did.outcome, Outcome::Skipped))
    }

    /// Whether something was written.
    #[must_use]
    pub fn changed(&self) -> bool {
        let writes = |did: &Did| matches!(did.outcome, Outcome::Created | Outcome::Configured | Outcome::Deleted);
        self.objects.iter().any(writes)
    }

    /// As an error, when something failed.
    pub(super) fn outcome(self) -> Result<Self, ClientError> {
        if self.is_complete() { Ok(self) } else { Err(ClientError::Incomplete(Box::new(self))) }
    }
}

/// The failures alone; a list of all is for who draws it.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed: Vec<&Did> = self.objects.iter().filter(|did| did.failed()).collect();
        write!(f, "{} of {} objects failed", failed.len(), self.objects.len())?;
        for did in failed {
            write!(f, "\n{}: {}", did.object, did.reason().unwrap_or_default())?;
        }
        let skipped = self.objects.iter().filter(|did| matches!(did.outcome, Outcome::Skipped)).count();
        if skipped > 0 { write!(f, "\n{skipped} more were not tried") } else { Ok(()) }
    }
}

/// What happens during a long call, for who wants to draw it.
///
/// ```
/// use kprov::client::Progress;
///
/// fn draw(progress: Progress<'_>) {
///     match progress {
///         Progress::Did(did) => println!("{} {}", did.object, did.outcome),
///         Progress::Waiting { object, reason } => println!("{object} waits: {reason}"),
///         Progress::Ready(object) => println!("{object} is ready"),
///         Progress::Gone(object) => println!("{object} is gone"),
///         _ => {}
///     }
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// An object was applied or deleted, or failed.
    Did(&'a Did),
    /// An object is not there yet where it should be. Told again whenever the reason changes.
    Waiting {
        /// The object.
        object: &'a Id,
        /// Why, down to its pods.
        reason: &'a str,
    },
    /// An object is ready.
    Ready(&'a Id),
    /// An object is gone.
    Gone(&'a Id),
}
