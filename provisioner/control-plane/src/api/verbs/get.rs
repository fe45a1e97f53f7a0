//! Reads one object.

use std::sync::Arc;

use jiff::ToSpan;
use kprov_schema::{Revision, Status};

use crate::api::core::Core;
use crate::api::errors;
use crate::api::target::Target;
use crate::store::Stored;

/// Seconds that a reader waits for a revision that has not come yet.
const PATIENCE_SECONDS: i64 = 3;

/// The object, not older than `at_least`.
pub(crate) async fn get(core: &Core, target: &Target, at_least: Option<Revision>) -> Result<Arc<Stored>, Status> {
    if let Some(revision) = at_least {
        reach(core, revision).await?;
    }
    target.find(&core.store).ok_or_else(|| target.not_found())
}

/// Completes when the log has reached a revision; gives up when it does not come within seconds.
pub(crate) async fn reach(core: &Core, revision: Revision) -> Result<(), Status> {
    let behind = || core.store.head() < revision;
    if !behind() {
        return Ok(());
    }
    let end = core.world.clock.now() + PATIENCE_SECONDS.seconds();
    let mut moved = core.store.moved();
    let before = Revision(revision.0 - 1);
    tokio::select! {
        reached = moved.beyond(before) => {
            reached.map(|_| ()).map_err(|closed| errors::unavailable(closed.to_string()))
        }
        () = core.world.clock.sleep_until(end) => Err(errors::too_large_version(revision.0, core.store.head().0)),
    }
}
