//! Deletes what is selected of a collection.

use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};
use kprov_schema::{Object, Revision, Status};

use super::delete::{Deleted, delete};
use super::list::list;
use crate::api::core::Core;
use crate::api::query::{Deletion, ListOptions};
use crate::api::target::Target;
use crate::api::user::User;

/// Deletions that wait for the disk together.
const AT_ONCE: usize = 64;

/// What was deleted, or begun to be, with the moment of the list.
pub(crate) struct DeletedItems {
    /// The objects.
    pub(crate) items: Vec<Arc<Object>>,
    /// Advice about them.
    pub(crate) warnings: Vec<String>,
    /// The revision at which they were listed.
    pub(crate) revision: Revision,
}

/// Deletes everything that the options select.
pub(crate) async fn delete_collection(
    core: &Core,
    user: &User,
    target: &Target,
    options: &ListOptions,
    deletion: &Deletion,
) -> Result<DeletedItems, Status> {
    let listing = list(core, target, options).await?;
    let deletions = listing.items.into_iter().map(|stored| async move {
        let one = Target { key: stored.key.key(), ..target.clone() };
        let mut warnings = Vec::new();
        match delete(core, user, &one, deletion, &mut warnings).await {
            Ok(Deleted::Gone(_) | Deleted::Stays(_)) => Ok(Some((stored.object.clone(), warnings))),
            // Somebody else was faster.
            Err(status) if status.is_not_found() => Ok(None),
            Err(status) => Err(status),
        }
    });
    let deleted: Vec<Option<(Arc<Object>, Vec<String>)>> =
        stream::iter(deletions).buffered(AT_ONCE).try_collect().await?;
    let (items, warnings): (Vec<_>, Vec<_>) = deleted.into_iter().flatten().unzip();
    Ok(DeletedItems { items, warnings: warnings.concat(), revision: listing.revision })
}
