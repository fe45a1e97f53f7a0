//! Copies of the cluster's objects in memory, kept up to date by list and watch.
//!
//! Nothing polls: a watch that ended is opened again from where the copy stands, and one that fell too far behind is
//! replaced by a new list.

mod cache;
mod caches;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use kprov_schema::{Resource, Status};
use tokio::task::{AbortHandle, JoinSet};

use crate::client::{Client, Event, Selection};
use crate::world::World;
pub use cache::{Cache, Change, Entry, Unreadable};
pub use caches::{Caches, Defined};

/// How long to wait after a failed list or watch, jitter aside.
const PAUSE: Duration = Duration::from_millis(500);

/// Running informers: one task a resource. They stop when this is dropped.
pub struct Informers {
    caches: Arc<Caches>,
    tasks: JoinSet<()>,
}

impl Informers {
    /// Starts to follow all objects of the resources, in all namespaces.
    #[must_use]
    pub fn start(client: &Client, world: &World, resources: impl IntoIterator<Item = Resource>) -> Self {
        let mut tasks = JoinSet::new();
        let mut caches: HashMap<Resource, Arc<Cache>> = HashMap::new();
        for resource in resources {
            if caches.contains_key(&resource) {
                continue;
            }
            let cache = Arc::new(Cache::new(resource.clone()));
            tasks.spawn(follow(Arc::clone(client), world.clone(), Arc::clone(&cache)));
            caches.insert(resource, cache);
        }
        Self { caches: Arc::new(caches.into_iter().collect()), tasks }
    }

    /// The same, which also follows all kinds that are defined at run time.
    #[must_use]
    pub fn with_defined(mut self, client: &Client, world: &World) -> Self {
        self.tasks.spawn(follow_defined(Arc::clone(client), world.clone(), Arc::clone(&self.caches)));
        self
    }

    /// The caches; each is empty until its first list is in.
    #[must_use]
    pub fn caches(&self) -> Arc<Caches> {
        Arc::clone(&self.caches)
    }
}

/// Follows the objects of kinds that come and go. They are not followed any more when this is dropped.
async fn follow_defined(client: Client, world: World, caches: Arc<Caches>) {
    let mut kinds = client.custom_kinds();
    let mut tasks = JoinSet::new();
    let mut running: HashMap<Resource, AbortHandle> = HashMap::new();
    while let Some(served) = kinds.next().await {
        running.retain(|resource, task| {
            let stays = served.iter().any(|kind| kind.resource == *resource);
            if !stays {
                task.abort();
            }
            stays
        });
        for cache in caches.define(served) {
            let resource = cache.resource().clone();
            running.insert(resource, tasks.spawn(follow(Arc::clone(&client), world.clone(), cache)));
        }
        while tasks.try_join_next().is_some() {}
    }
}

/// Keeps one cache up to date for ever.
async fn follow(client: Client, world: World, cache: Arc<Cache>) {
    let everything = Selection::default();
    loop {
        let listed = match client.list(cache.resource(), &everything).await {
            Ok(list) => list,
            Err(status) => {
                pause(&world, &cache, "list", &status).await;
                continue;
            }
        };
        cache.replace(listed.revision, listed.items);
        let why = follow_watch(&client, &world, &cache, &everything).await;
        tracing::debug!(resource = %cache.resource(), %why, "watch fell behind, listing again");
    }
}

/// Watches until the history asked for is gone.
async fn follow_watch(client: &Client, world: &World, cache: &Cache, which: &Selection) -> Status {
    loop {
        let ended = match client.watch(cache.resource(), which, cache.reached()).await {
            Ok(stream) => drain(cache, stream).await,
            Err(status) => Some(status),
        };
        match ended {
            Some(status) if status.is_expired() => return status,
            Some(status) => pause(world, cache, "watch", &status).await,
            None => {}
        }
    }
}

/// Applies events until the stream ends; the error it ended with, if any.
async fn drain(cache: &Cache, mut stream: BoxStream<'static, Result<Event, Status>>) -> Option<Status> {
    while let Some(event) = stream.next().await {
        match event {
            Ok(Event::Added(object) | Event::Modified(object)) => cache.put(object),
            Ok(Event::Deleted(object)) => cache.remove(&object),
            Ok(Event::Bookmark(revision)) => cache.advance(revision),
            Err(status) => return Some(status),
        }
    }
    None
}

async fn pause(world: &World, cache: &Cache, verb: &str, status: &Status) {
    tracing::warn!(resource = %cache.resource(), verb, error = %status, "informer is refused, trying again");
    let jitter = Duration::from_millis(world.rng.next_u64() % 500);
    world.clock.sleep_until(world.clock.now() + PAUSE + jitter).await;
}
