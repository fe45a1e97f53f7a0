//! A selection of objects, followed from a list on.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kprov_control_plane::client::{Client, Event, List, Selection};
use kprov_control_plane::world::Clock;
use kprov_schema::{Object, Resource, Revision, Status};

use super::memory::later;

/// What became of a selection.
#[derive(Clone, Debug)]
pub enum Change {
    /// All there is; what is not among it is gone.
    All(Vec<Arc<Object>>),
    /// An object is new or other than it was.
    Put(Arc<Object>),
    /// An object is gone, or no longer selected.
    Gone(Arc<Object>),
}

/// Waits before asking a server again that failed: 1, 2, 4 ... 30 seconds.
const LONGEST: Duration = Duration::from_secs(30);

/// What to follow, and by which clock to wait.
#[derive(Clone)]
pub struct Reflector {
    /// Whom to ask.
    pub client: Client,
    /// Kind of object.
    pub resource: Resource,
    /// Which of them.
    pub which: Selection,
    /// Time for waits after errors.
    pub clock: Arc<dyn Clock>,
}

impl Reflector {
    /// Lists once.
    pub async fn list(&self) -> Result<List, Status> {
        self.client.list(&self.resource, &self.which).await
    }

    /// Follows from a list, for ever. Errors are waited out, and a history that is gone is listed anew.
    pub async fn follow(self, from: Option<Revision>, mut on: impl FnMut(Change) + Send) {
        let mut from = from;
        let mut failures = 0;
        loop {
            let outcome = match from {
                Some(revision) => self.watch(revision, &mut on, &mut failures).await,
                None => self.list().await.map(|list| {
                    on(Change::All(list.items));
                    Some(list.revision)
                }),
            };
            match outcome {
                Ok(next) => from = next,
                Err(status) => {
                    tracing::warn!(resource = %self.resource, error = %status, "the API can't be followed; trying again");
                    from = None;
                    failures += 1;
                    let wait = Duration::from_secs(1 << (failures - 1).min(5)).min(LONGEST);
                    self.clock.sleep_until(later(self.clock.now(), wait)).await;
                }
            }
        }
    }

    /// Until the stream ends: where to go on, `None` for a new list.
    async fn watch(
        &self,
        from: Revision,
        on: &mut (impl FnMut(Change) + Send),
        failures: &mut u32,
    ) -> Result<Option<Revision>, Status> {
        let mut stream = match self.client.watch(&self.resource, &self.which, from).await {
            Err(status) if status.is_expired() => return Ok(None),
            other => other?,
        };
        let mut reached = from;
        while let Some(event) = stream.next().await {
            *failures = 0;
            match event {
                Ok(Event::Added(object) | Event::Modified(object)) => {
                    reached = object.revision().unwrap_or(reached);
                    on(Change::Put(object));
                }
                Ok(Event::Deleted(object)) => {
                    reached = object.revision().unwrap_or(reached);
                    on(Change::Gone(object));
                }
                Ok(Event::Bookmark(revision)) => reached = revision,
                Err(status) if status.is_expired() => return Ok(None),
                Err(status) => return Err(status),
            }
        }
        if reached == from {
            // A server that ends every watch at once must not be asked without pause.
            self.clock.sleep_until(later(self.clock.now(), Duration::from_secs(1))).await;
        }
        Ok(Some(reached))
    }
}
