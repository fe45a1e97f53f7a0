//! Deletes what is selected of a collection.

use std::sync::Arc;

use kprov_schema::{Object, Revision, Status};

use super::delete::{Deleted, delete};
use super::list::list;
use crate::api::core::Core;
use crate::api::query::{Deletion, ListOptions};
use crate::api::target::Target;
use crate::api::user::User;

/// What was deleted, or begun to be, with the moment of the list.
pub(crate) struct DeletedItems {
    /// The objects.
    pub(crate) items: Vec<Arc<Object>>,
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
    let mut items = Vec::with_capacity(listing.items.len());
    for stored in listing.items {
        let one = Target { key: stored.key.key(), ..target.clone() };
        match delete(core, user, &one, deletion).await {
            Ok(Deleted::Gone(_) | Deleted::Stays(_)) => items.push(stored.object.clone()),
            // Somebody else was faster.
            Err(status) if status.is_not_found() => {}
            Err(status) => return Err(status),
        }
    }
    Ok(DeletedItems { items, revision: listing.revision })
}
