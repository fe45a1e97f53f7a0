//! What an apply would change in the cluster, asked of the server by a dry run.

use futures::stream::{self, StreamExt};
use kprov_schema::Object;

use super::Client;
use super::apply::{Apply, stages, without_bookkeeping};
use super::error::ClientError;
use super::inventory::membership;
use super::place::Id;
use crate::Bundle;

/// An object as it is and as an apply would leave it.
///
/// ```
/// use kprov::client::LiveChange;
///
/// fn new_ones(changes: &[LiveChange]) -> usize {
///     changes.iter().filter(|change| change.is_change() && change.before.is_none()).count()
/// }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct LiveChange {
    /// The object.
    pub object: Id,
    /// As it is; `None` when it is not there.
    pub before: Option<Object>,
    /// As it would be, with the server's defaults.
    pub after: Object,
}

impl LiveChange {
    /// Whether there is a difference.
    #[must_use]
    pub fn is_change(&self) -> bool {
        self.before.as_ref() != Some(&self.after)
    }
}

impl Client {
    /// What applying the bundle would change, without what the server keeps for itself (managed fields, revisions).
    /// Objects that would stay as they are are in it too: see [`LiveChange::is_change`].
    ///
    /// Errors: the first object that the server would not take; conflicts are left to the apply.
    ///
    /// ```
    /// use kprov::Bundle;
    /// use kprov::client::{Client, ClientError};
    /// use kprov::diff::changes;
    ///
    /// async fn show(cluster: &Client, app: &Bundle) -> Result<(), ClientError> {
    ///     for change in cluster.diff(app).await?.iter().filter(|change| change.is_change()) {
    ///         let fields = change.before.as_ref().map_or(0, |before| changes(before, &change.after).len());
    ///         println!("{}: {fields} fields", change.object);
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub async fn diff(&self, bundle: &Bundle) -> Result<Vec<LiveChange>, ClientError> {
        let objects = stages(bundle).into_iter().flat_map(|(_, objects)| objects);
        let calls: Vec<_> = objects.map(|object| self.diff_one(object, bundle)).collect();
        let mut changes = stream::iter(calls).buffered(8);
        let mut all = Vec::new();
        while let Some(change) = changes.next().await {
            all.push(change?);
        }
        Ok(all)
    }

    async fn diff_one(&self, object: &Object, bundle: &Bundle) -> Result<LiveChange, ClientError> {
        let new = || LiveChange { object: self.name_of(object), before: None, after: object.clone() };
        let (id, place) = match self.locate(object).await {
            // The bundle brings the kind with it.
            Err(ClientError::UnknownKind { .. }) if defines(bundle, object) => return Ok(new()),
            found => found?,
        };
        let Some(live) = self.live(&id, &place).await? else {
            return match self.server_side_apply(&id, &place, object, &None, &asking()).await {
                Ok((_, _, after)) => Ok(LiveChange { object: id, before: None, after: made_up(&after) }),
                // So is its namespace.
                Err(error) if error.is_not_found() => Ok(new()),
                Err(error) => Err(error),
            };
        };
        // The label stays as it is: a diff does not know whether the apply will track.
        let label = membership(Some(&live), None).unwrap_or_default();
        let (_, _, after) = self.server_side_apply(&id, &place, object, &label, &asking()).await?;
        let (before, after) = (without_bookkeeping(&live), without_bookkeeping(&after));
        Ok(LiveChange { object: id, before: Some(before), after })
    }
}

fn asking() -> Apply {
    Apply::new().dry_run().force()
}

/// Whether a bundle defines the kind of an object.
fn defines(bundle: &Bundle, object: &Object) -> bool {
    bundle.objects().iter().any(|one| {
        one.kind() == "CustomResourceDefinition" && one.text(&["spec", "names", "kind"]) == Some(object.kind())
    })
}

/// What a dry run makes up for a new object: the real one gets its own.
fn made_up(object: &Object) -> Object {
    let mut object = without_bookkeeping(object);
    for field in ["uid", "creationTimestamp"] {
        object.remove(&["metadata", field]);
    }
    object
}
