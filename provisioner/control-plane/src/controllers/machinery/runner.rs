//! Runs any controller: wakes keys, executes their actions and backs off from failures.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::future::{BoxFuture, join_all};
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use kprov_schema::{Key, Object, Resource, Revision, Status, Subresource};
use serde_json::Value;
use tokio::sync::Notify;

use super::action::{Action, Check, Note, Outcome};
use super::queue::{Queue, Written};
use super::recorder::Recorder;
use super::snapshot::{Failure, Snapshot};
use super::{Config, Controller};
use crate::client::{Client, Selection};
use crate::informer::{Cache, Caches, Change};
use crate::world::World;

/// Keys that are worked on at the same time.
const PARALLEL_KEYS: usize = 32;
/// Creations and deletions of one key that are under way at the same time.
const PARALLEL_ACTIONS: usize = 64;
const FIRST_BACKOFF: Duration = Duration::from_millis(5);
const LAST_BACKOFF: Duration = Duration::from_secs(60);

/// What a runner needs beside its controller.
#[derive(Clone)]
pub struct Context {
    /// The API.
    pub client: Client,
    /// Time and randomness.
    pub world: World,
    /// The caches of all watched kinds.
    pub caches: Arc<Caches>,
    /// Where events go.
    pub recorder: Recorder,
}

/// Runs a controller until the future is dropped.
pub fn start<C: Controller>(context: Context, config: &Config) -> BoxFuture<'static, ()> {
    let controller = C::new(config, context.world.clock.now());
    Box::pin(Runner::<C>::new(context, controller).run())
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    woken: Notify,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Runner<C> {
    context: Context,
    controller: Arc<C>,
    shared: Arc<Shared>,
    failures: HashMap<Key, u32>,
}

/// How a key's round went.
struct Round {
    key: Key,
    written: Vec<Written>,
    recheck_at: Option<Timestamp>,
    failed: bool,
}

impl<C: Controller> Runner<C> {
    fn new(context: Context, controller: C) -> Self {
        Self { context, controller: Arc::new(controller), shared: Arc::default(), failures: HashMap::new() }
    }

    async fn run(mut self) {
        for watch in C::watches() {
            self.context.caches[&watch.resource].synced().await;
        }
        self.subscribe();
        let mut rounds = FuturesUnordered::new();
        loop {
            let now = self.context.world.clock.now();
            let next = self.begin(now, &mut rounds);
            let timer = async {
                match next {
                    Some(at) => self.context.world.clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(round) = rounds.next() => self.finish(round),
                () = self.shared.woken.notified() => {}
                () = timer => {}
            }
        }
    }

    /// Starts rounds for due keys; the time at which the next key is due.
    fn begin(&self, now: Timestamp, rounds: &mut FuturesUnordered<BoxFuture<'static, Round>>) -> Option<Timestamp> {
        let mut queue = self.shared.queue();
        queue.ring(now);
        while rounds.len() < PARALLEL_KEYS {
            let Some(key) = queue.take() else { break };
            rounds.push(Box::pin(round(Arc::clone(&self.controller), self.context.clone(), key)));
        }
        queue.next_timer()
    }

    fn subscribe(&self) {
        let caches = &self.context.caches;
        for watch in C::watches() {
            attend(&self.shared, caches, &caches[&watch.resource], watch.keys);
        }
        if let Some(keys) = C::DEFINED {
            let (shared, all) = (Arc::clone(&self.shared), Arc::downgrade(caches));
            caches.subscribe_to_defined(move |cache| {
                if let Some(caches) = all.upgrade() {
                    attend(&shared, &caches, cache, keys);
                }
            });
        }
    }

    fn finish(&mut self, round: Round) {
        let mut queue = self.shared.queue();
        if let Some(at) = round.recheck_at {
            queue.add_at(round.key.clone(), at);
        }
        if round.failed {
            let failures = self.failures.entry(round.key.clone()).or_default();
            *failures += 1;
            let delay = backoff(*failures, self.context.world.rng.next_u64());
            queue.add_at(round.key.clone(), self.context.world.clock.now() + delay);
        } else {
            self.failures.remove(&round.key);
        }
        let unseen = round.written.into_iter().filter(|write| !seen(&self.context.caches, write)).collect();
        queue.finish(&round.key, unseen);
    }
}

/// Wakes keys on every change of a cache.
fn attend(shared: &Arc<Shared>, caches: &Arc<Caches>, cache: &Cache, keys: fn(&Change, &Snapshot) -> Vec<Key>) {
    let (shared, snapshot) = (Arc::clone(shared), Snapshot::new(Arc::clone(caches)));
    let resource = cache.resource().clone();
    cache.subscribe(move |change| {
        let changed = if change.latest().is_some() { keys(change, &snapshot) } else { Vec::new() };
        let mut queue = shared.queue();
        for key in changed {
            queue.add(key);
        }
        queue.saw(&resource, change);
        drop(queue);
        shared.woken.notify_one();
    });
}

/// 5 ms doubled by each failure, up to a minute; the upper half of it is random.
fn backoff(failures: u32, random: u64) -> Duration {
    let full = FIRST_BACKOFF.saturating_mul(1 << failures.saturating_sub(1).min(14)).min(LAST_BACKOFF);
    let half = full / 2;
    half + Duration::from_micros(random % u64::try_from(half.as_micros()).unwrap_or(1).max(1))
}

/// Whether a cache shows a write. Writes to kinds that the controller does not watch need not be seen.
fn seen(caches: &Caches, write: &Written) -> bool {
    match write {
        Written::At(resource, revision) => caches.get(resource).is_none_or(|cache| cache.reached() >= *revision),
        Written::Deleted(resource, key, uid) => caches
            .get(resource)
            .is_none_or(|cache| cache.get(key).is_none_or(|entry| entry.uid != *uid || entry.raw.is_deleting())),
        Written::Gone(resource, key, uid) => {
            caches.get(resource).is_none_or(|cache| cache.get(key).is_none_or(|entry| entry.uid != *uid))
        }
    }
}

/// Decides on a key and does what was decided; after a failure decides once more, so that it can be reported.
async fn round<C: Controller>(controller: Arc<C>, context: Context, key: Key) -> Round {
    let snapshot = Snapshot::new(Arc::clone(&context.caches));
    let mut round = Round { key, written: Vec::new(), recheck_at: None, failed: false };
    let Some(outcome) = decide(&*controller, &context, &snapshot, &mut round) else { return round };
    let mut doing = Doing { context: &context, source: C::NAME, watched: C::watches(), written: Vec::new() };
    let ended = doing.all(outcome.actions).await;
    if let Err(stop) = ended {
        round.failed = true;
        if let Stop::Failed(failure) = stop {
            tracing::debug!(controller = C::NAME, key = %round.key, error = %failure.status, "action failed");
            if !failure.status.is_conflict()
                && let Some(again) = decide(&*controller, &context, &snapshot.after(*failure), &mut round)
                && let Err(Stop::Failed(second)) = doing.all(reports(again.actions)).await
            {
                tracing::warn!(controller = C::NAME, key = %round.key, error = %second.status, "failure not reported");
            }
        }
    }
    round.written = doing.written;
    round
}

fn decide<C: Controller>(controller: &C, context: &Context, snapshot: &Snapshot, round: &mut Round) -> Option<Outcome> {
    match controller.reconcile(&round.key, snapshot, context.world.clock.now()) {
        Ok(outcome) => {
            round.recheck_at = outcome.recheck_at;
            Some(outcome)
        }
        Err(unreadable) => {
            tracing::error!(controller = C::NAME, key = %round.key, error = %unreadable, "can't decide");
            round.failed = true;
            None
        }
    }
}

/// What only tells of a failure; the rest is tried again after the back-off.
fn reports(actions: Vec<Action>) -> Vec<Action> {
    let tells = |action: &Action| match action {
        Action::Record(_) => true,
        Action::Update { subresource, .. } => *subresource == Some(Subresource::Status),
        _ => false,
    };
    actions.into_iter().filter(tells).collect()
}

/// Why a list of actions was not done to its end.
enum Stop {
    /// What it was based on does not hold any more.
    Outdated,
    /// The API server refused.
    Failed(Box<Failure>),
}

/// Doing one list of actions.
struct Doing<'a> {
    context: &'a Context,
    source: &'static str,
    watched: Vec<super::Watch>,
    written: Vec<Written>,
}

impl Doing<'_> {
    async fn all(&mut self, actions: Vec<Action>) -> Result<(), Stop> {
        let mut actions = actions.into_iter().peekable();
        let mut batch_size = 1;
        while let Some(action) = actions.next() {
            // Creations start slowly, so that a quota or a broken template costs few requests.
            let limit = match &action {
                Action::Create { .. } => batch_size,
                Action::Delete { .. } => PARALLEL_ACTIONS,
                _ => 1,
            };
            let creating = matches!(action, Action::Create { .. });
            let mut batch = vec![action];
            while batch.len() < limit {
                let Some(next) = actions.next_if(|next| go_together(&batch[0], next)) else { break };
                batch.push(next);
            }
            batch_size = if creating { (batch_size * 2).min(PARALLEL_ACTIONS) } else { 1 };
            let (context, source) = (self.context, self.source);
            let begun: Vec<_> = batch.into_iter().map(|action| one(context, source, action)).collect();
            let (written, ended) = told(join_all(begun).await);
            let watched = written.into_iter().filter(|write| self.is_watched(write)).collect::<Vec<_>>();
            self.written.extend(watched);
            ended?;
        }
        Ok(())
    }

    fn is_watched(&self, write: &Written) -> bool {
        let (Written::At(resource, _) | Written::Deleted(resource, ..) | Written::Gone(resource, ..)) = write;
        self.watched.iter().any(|watch| watch.resource == *resource)
    }
}

/// Whether two actions may be under way at once: both create, or both delete, objects of one kind.
fn go_together(first: &Action, next: &Action) -> bool {
    match (first, next) {
        (Action::Create { resource: one, .. }, Action::Create { resource: other, .. })
        | (Action::Delete { resource: one, .. }, Action::Delete { resource: other, .. }) => one == other,
        _ => false,
    }
}

/// What a batch wrote, and its first failure: beside that failure the others were written all the same.
fn told(results: Vec<Result<Option<Written>, Stop>>) -> (Vec<Written>, Result<(), Stop>) {
    let (mut written, mut ended) = (Vec::new(), Ok(()));
    for result in results {
        match result {
            Ok(write) => written.extend(write),
            Err(stop) => ended = ended.and(Err(stop)),
        }
    }
    (written, ended)
}

/// Does one action; the write to wait for, if it made one.
async fn one(context: &Context, source: &'static str, action: Action) -> Result<Option<Written>, Stop> {
    let record = |note: Note| context.recorder.record(source, note);
    let client = &context.client;
    match action {
        Action::Create { resource, object, report } => {
            let key = object.key();
            let result = client.create(&resource, &key, None, object).await;
            if let Some(report) = report {
                match &result {
                    Ok(made) => record(report.success.filled(made.name())),
                    Err(status) => record(report.failure.filled(&status.message)),
                }
            }
            written(resource, key, result)
        }
        Action::Update { resource, subresource, object } => {
            let key = object.key();
            let result = client.update(&resource, subresource, object).await;
            written(resource, key, result)
        }
        Action::Patch { resource, key, subresource, kind, patch } => {
            let result = client.patch(&resource, &key, subresource, kind, patch).await;
            written(resource, key, result)
        }
        Action::Delete { resource, key, options, report } => {
            let uid = options.preconditions.uid.clone();
            let result = client.delete(&resource, &key, options).await;
            match result {
                Ok(()) => report.into_iter().for_each(|report| record(report.success.filled(&key.name))),
                Err(status) if status.is_not_found() => {}
                Err(status) => {
                    report.into_iter().for_each(|report| record(report.failure.filled(&status.message)));
                    return Err(Stop::Failed(Box::new(Failure { key, resource, status })));
                }
            }
            Ok(uid.map(|uid| Written::Deleted(resource, key, kprov_schema::Uid(uid))))
        }
        Action::Record(note) => {
            record(note);
            Ok(None)
        }
        Action::Check(check) => holds(client, check).await,
    }
}

fn written(resource: Resource, key: Key, result: Result<Arc<Object>, Status>) -> Result<Option<Written>, Stop> {
    match result {
        // What goes with the write answers with no revision of its own.
        Ok(object) if goes(&object) => Ok(Some(Written::Gone(resource, key, object.uid()))),
        Ok(object) => Ok(Some(Written::At(resource, object.revision().unwrap_or(Revision(0))))),
        Err(status) => Err(Stop::Failed(Box::new(Failure { key, resource, status }))),
    }
}

/// Whether nothing holds an object any more whose deletion has begun.
fn goes(object: &Object) -> bool {
    let none = |path: &[&str]| object.at(path).and_then(Value::as_array).is_none_or(Vec::is_empty);
    let grace = object.at(&["metadata", "deletionGracePeriodSeconds"]).and_then(Value::as_i64).unwrap_or(0);
    object.is_deleting() && grace == 0 && none(&["metadata", "finalizers"]) && none(&["spec", "finalizers"])
}

async fn holds(client: &Client, check: Check) -> Result<Option<Written>, Stop> {
    match check {
        Check::Absent { resource, key, uid } => match client.get(&resource, &key).await {
            Ok(object) if uid.is_none_or(|uid| object.uid() == uid) => Err(Stop::Outdated),
            Ok(_) => Ok(None),
            Err(status) if status.is_not_found() => Ok(None),
            Err(status) => Err(Stop::Failed(Box::new(Failure { key, resource, status }))),
        },
        Check::Empty { resource, namespace } => listed(client, resource, namespace, |items| items.is_empty()).await,
        Check::Unchanged { resource, namespace, seen } => {
            let same = |(key, revision): &(Key, Revision), item: &Object| {
                item.key() == *key && item.revision() == Some(*revision)
            };
            let all = |items: &[Arc<Object>]| {
                items.len() == seen.len() && seen.iter().zip(items).all(|(seen, item)| same(seen, item))
            };
            listed(client, resource, namespace, all).await
        }
    }
}

/// Whether something holds for all objects of a namespace.
async fn listed(
    client: &Client,
    resource: Resource,
    namespace: String,
    holds: impl FnOnce(&[Arc<Object>]) -> bool,
) -> Result<Option<Written>, Stop> {
    let which = Selection { namespace: Some(namespace.clone()), ..Selection::default() };
    match client.list(&resource, &which).await {
        Ok(list) if holds(&list.items) => Ok(None),
        Ok(_) => Err(Stop::Outdated),
        Err(status) => Err(Stop::Failed(Box::new(Failure { key: Key::new(namespace, ""), resource, status }))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_beside_a_failure_is_waited_for() {
        let pods = Resource::of::<k8s_openapi::api::core::v1::Pod>();
        let at = |revision| Ok(Some(Written::At(pods.clone(), Revision(revision))));
        let failed = || {
            let status = Status::failure(403, "Forbidden", "no");
            Err(Stop::Failed(Box::new(Failure { key: Key::new("a", "b"), resource: pods.clone(), status })))
        };
        let (written, ended) = told(vec![failed(), at(2), Ok(None), Err(Stop::Outdated), at(3)]);
        let revisions = written.iter().map(|write| match write {
            Written::At(_, revision) => revision.0,
            Written::Deleted(..) | Written::Gone(..) => 0,
        });
        assert_eq!(revisions.collect::<Vec<_>>(), [2, 3]);
        assert!(matches!(ended, Err(Stop::Failed(_))), "the first one is told");
        assert!(told(vec![at(1)]).1.is_ok());
    }

    #[test]
    fn backoff_doubles_up_to_a_minute() {
        for (failures, least, most) in [(1, 2, 5), (2, 5, 10), (5, 40, 80), (40, 30_000, 60_000)] {
            for random in [0, 1, u64::MAX] {
                let delay = backoff(failures, random).as_millis();
                assert!((least..=most).contains(&delay), "{failures}: {delay}");
            }
        }
    }
}
