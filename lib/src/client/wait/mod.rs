//! Waits until objects are ready or gone: by watches, with a deadline, with reasons down to the pods.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use futures::stream::{BoxStream, SelectAll, StreamExt};
use kprov_schema::Object;
use kube::api::{Api, DynamicObject};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use tokio::time::{Instant, timeout_at};

use super::Client;
use super::error::ClientError;
use super::place::{Id, Place};
use super::report::Progress;
use crate::Bundle;

mod known;

pub(super) use known::selector;
use known::{HAS_PODS, Known, group_of};

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    Ready,
    Gone,
}

/// What was not reached, and why.
///
/// ```
/// use kprov::client::NotReady;
///
/// fn told(late: &NotReady) -> Vec<String> {
///     late.objects.iter().map(|one| format!("{}: {}", one.object, one.reason)).collect()
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotReady {
    /// The deadline; `None` when something failed for good before it.
    pub within: Option<Duration>,
    /// What is not ready, or not gone.
    pub objects: Vec<Unready>,
    /// A watch that failed, if one did last.
    pub broken: Option<String>,
    gone: bool,
}

/// An object that is not where it should be.
///
/// ```
/// use kprov::client::Unready;
///
/// fn told(one: &Unready) -> String {
///     format!("{}: {}", one.object, one.reason)
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unready {
    /// The object.
    pub object: Id,
    /// Why, down to its pods.
    pub reason: String,
    /// Whether waiting longer would not help.
    pub failed: bool,
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.gone { "gone" } else { "ready" };
        match self.within {
            Some(within) => write!(f, "not {what} after {} s", within.as_secs_f64())?,
            None => write!(f, "will not become {what}")?,
        }
        for Unready { object, reason, .. } in &self.objects {
            write!(f, "\n  {object}: {reason}")?;
        }
        match &self.broken {
            Some(error) => write!(f, "\n  the cluster can't be watched: {error}"),
            None => Ok(()),
        }
    }
}

/// Objects of one kind in one namespace, which one watch sees.
type Group = (String, String, String);

/// What a watch told.
enum Event {
    Object(Group, watcher::Event<Object>),
    Pod(String, watcher::Event<Object>),
    Broken(kube::Error),
    /// Pods can't be seen: their reasons are missing, and nothing else.
    Blind(String),
}

type Events = SelectAll<BoxStream<'static, Event>>;

impl Client {
    /// Waits until every object of the bundle is ready: see the table of [`super::readiness`].
    ///
    /// Errors: [`ClientError::NotReady`] at the deadline, or as soon as something has failed for good, with the reason of
    /// each object down to its pods.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kprov::Bundle;
    /// use kprov::client::{Client, ClientError};
    ///
    /// async fn up(cluster: &Client, app: &Bundle) -> Result<(), ClientError> {
    ///     cluster.ready(app, Duration::from_secs(60)).await
    /// }
    /// ```
    pub async fn ready(&self, bundle: &Bundle, within: Duration) -> Result<(), ClientError> {
        self.ready_with(bundle, within, &mut |_| {}).await
    }

    /// The same, and tells of each object when it is ready and what it waits for.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kprov::Bundle;
    /// use kprov::client::{Client, ClientError, Progress};
    ///
    /// async fn up(cluster: &Client, app: &Bundle) -> Result<(), ClientError> {
    ///     let mut tell = |progress: Progress<'_>| {
    ///         if let Progress::Waiting { object, reason } = progress {
    ///             println!("{object}: {reason}");
    ///         }
    ///     };
    ///     cluster.ready_with(app, Duration::from_secs(60), &mut tell).await
    /// }
    /// ```
    pub async fn ready_with(
        &self,
        bundle: &Bundle,
        within: Duration,
        tell: &mut (dyn FnMut(Progress<'_>) + Send),
    ) -> Result<(), ClientError> {
        let ids = bundle.objects().iter().map(|object| self.name_of(object)).collect();
        self.await_all(ids, Goal::Ready, within, tell).await.map(drop)
    }

    /// Waits until all objects have reached the goal. Returns what is left of the time.
    pub(super) async fn await_all(
        &self,
        ids: Vec<Id>,
        goal: Goal,
        within: Duration,
        tell: &mut (dyn FnMut(Progress<'_>) + Send),
    ) -> Result<Duration, ClientError> {
        if ids.is_empty() {
            return Ok(within);
        }
        let deadline = Instant::now() + within;
        let mut known = Known::new(ids, goal);
        let waited = timeout_at(deadline, self.watch(&mut known, tell)).await;
        match waited {
            Ok(done) => done.map(|()| deadline.saturating_duration_since(Instant::now())),
            Err(_) => Err(ClientError::NotReady(Box::new(known.missed(Some(within))))),
        }
    }

    async fn watch(&self, known: &mut Known, tell: &mut (dyn FnMut(Progress<'_>) + Send)) -> Result<(), ClientError> {
        let mut events = self.watches(known).await?;
        while let Some(event) = events.next().await {
            if let Event::Broken(watcher_error) = &event
                && let Some(refused) = refusal(watcher_error)
            {
                return Err(self.failed("watch", refused));
            }
            known.hear(event);
            match known.settle(tell) {
                Some(Ok(())) => return Ok(()),
                Some(Err(missed)) => return Err(ClientError::NotReady(Box::new(missed))),
                None => {}
            }
        }
        // Watches never end by themselves: with none left there is nothing that could be waited for.
        Ok(())
    }

    /// One watch a kind and namespace, and one on the pods of each namespace with workloads.
    async fn watches(&self, known: &mut Known) -> Result<Events, ClientError> {
        let mut groups: BTreeMap<Group, Vec<Id>> = BTreeMap::new();
        for id in known.wanted.clone() {
            groups.entry(group_of(&id)).or_default().push(id);
        }
        let mut events: Events = SelectAll::new();
        let mut with_pods = BTreeSet::new();
        for (group, ids) in groups {
            let place = match self.place(&group.0, &group.1).await {
                // Where the kind is gone its objects are gone.
                Err(ClientError::UnknownKind { .. }) if known.goal == Goal::Gone => {
                    known.wanted.retain(|id| group_of(id) != group);
                    continue;
                }
                found => found?,
            };
            // What has no status is ready when it is there, and the apply has seen that.
            if known.goal == Goal::Ready && place.has_status == Some(false) {
                known.wanted.retain(|id| group_of(id) != group);
                continue;
            }
            if known.goal == Goal::Ready && HAS_PODS.contains(&group.1.as_str()) {
                with_pods.insert(group.2.clone());
            }
            let only = if let [one] = ids.as_slice() { Some(one.name.as_str()) } else { None };
            let seen = self.objects_of(&place, &group.2, only);
            events.push(seen.map(move |event| told(event, |event| Event::Object(group.clone(), event))).boxed());
        }
        let pods = self.place("v1", "Pod").await?;
        for namespace in with_pods {
            let seen = self.objects_of(&pods, &namespace, None);
            let of_pod = move |event| match told(event, |event| Event::Pod(namespace.clone(), event)) {
                Event::Broken(error) => Event::Blind(error.to_string()),
                event => event,
            };
            events.push(seen.map(of_pod).boxed());
        }
        Ok(events)
    }

    fn objects_of(
        &self,
        place: &Place,
        namespace: &str,
        only: Option<&str>,
    ) -> BoxStream<'static, watcher::Result<watcher::Event<DynamicObject>>> {
        let resource = place.resource();
        let api: Api<DynamicObject> = if place.namespaced {
            Api::namespaced_with(self.kube().clone(), namespace, &resource)
        } else {
            Api::all_with(self.kube().clone(), &resource)
        };
        let config = match only {
            Some(name) => watcher::Config::default().fields(&format!("metadata.name={name}")),
            None => watcher::Config::default(),
        };
        watcher(api, config).default_backoff().boxed()
    }
}

fn told(
    event: watcher::Result<watcher::Event<DynamicObject>>,
    as_event: impl FnOnce(watcher::Event<Object>) -> Event,
) -> Event {
    match event {
        Ok(watcher::Event::Init) => as_event(watcher::Event::Init),
        Ok(watcher::Event::InitDone) => as_event(watcher::Event::InitDone),
        Ok(watcher::Event::InitApply(object)) => as_event(watcher::Event::InitApply(plain(&object))),
        Ok(watcher::Event::Apply(object)) => as_event(watcher::Event::Apply(plain(&object))),
        Ok(watcher::Event::Delete(object)) => as_event(watcher::Event::Delete(plain(&object))),
        Err(error) => Event::Broken(match error {
            watcher::Error::InitialListFailed(error)
            | watcher::Error::WatchStartFailed(error)
            | watcher::Error::WatchFailed(error) => error,
            watcher::Error::WatchError(status) => kube::Error::Api(status),
            other => kube::Error::Service(Box::new(other)),
        }),
    }
}

fn plain(object: &DynamicObject) -> Object {
    let value = serde_json::to_value(object).expect("what was read as JSON is written as JSON");
    Object::try_from(value).expect("an object is a map")
}

/// An answer that trying again would not change: no credentials, or no right to look.
fn refusal(error: &kube::Error) -> Option<kube::Error> {
    match error {
        kube::Error::Api(status) if matches!(status.code, 401 | 403) => Some(kube::Error::Api(status.clone())),
        _ => None,
    }
}
