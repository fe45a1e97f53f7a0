//! How objects of a kind end.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{
    Namespace, PersistentVolume, PersistentVolumeClaim, Pod, PodTemplate, ReplicationController, ResourceQuota,
    Service, ServiceAccount,
};
use k8s_openapi::api::resource::v1::{DeviceClass, ResourceClaim, ResourceClaimTemplate, ResourceSlice};
use k8s_openapi::api::storage::v1::{CSIDriver, CSINode, StorageClass, VolumeAttachment, VolumeAttributesClass};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kprov_schema::{Kind, Object, Resource};
use serde_json::{Value, json};

use super::definitions;
use super::errors;
use super::write;
use crate::client::{DeleteOptions, Propagation};

/// What sets the end of a kind's objects apart.
pub(crate) struct Lifecycle {
    /// Seconds that an object gets to end; `None` when its kind knows no grace.
    pub(crate) grace: fn(&Object, Option<i64>) -> Option<i64>,
    /// What keeps an object beside `metadata.finalizers`.
    pub(crate) held: fn(&Object) -> bool,
    /// What changes when deletion begins, beside its time; else the generation rises and the grace is 0.
    pub(crate) mark: Option<fn(&mut Object, Timestamp)>,
    /// Whether the answer to a deletion is the object.
    pub(crate) returns_object: bool,
    /// Whether dependents are left alone unless the client or the object says otherwise.
    orphans: bool,
    /// What is said to who does not say what becomes of dependents.
    advice: Option<&'static str>,
}

const PLAIN: Lifecycle =
    Lifecycle { grace: |_, _| None, held: |_| false, mark: None, returns_object: false, orphans: false, advice: None };

/// What is answered with the object, and ends as most do.
const RETURNED: Lifecycle = Lifecycle { returns_object: true, ..PLAIN };

/// The kinds whose end differs from that of most.
const LIFECYCLES: &[(Resource, Lifecycle)] = &[
    (Resource::of::<Pod>(), Lifecycle { grace: pod_grace, ..RETURNED }),
    (Resource::of::<Namespace>(), Lifecycle { held: namespace_held, mark: Some(terminate), ..PLAIN }),
    (Resource::of::<PersistentVolume>(), RETURNED),
    (Resource::of::<PersistentVolumeClaim>(), RETURNED),
    (Resource::of::<PodTemplate>(), RETURNED),
    (Resource::of::<ReplicationController>(), Lifecycle { orphans: true, ..PLAIN }),
    (Resource::of::<ResourceQuota>(), RETURNED),
    (Resource::of::<Service>(), RETURNED),
    (Resource::of::<ServiceAccount>(), RETURNED),
    (
        Resource::of::<CustomResourceDefinition>(),
        Lifecycle { held: |definition| !definition.is_deleting(), mark: Some(definitions::end), ..PLAIN },
    ),
    (
        Resource::of::<Job>(),
        Lifecycle {
            orphans: true,
            advice: Some(
                "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to \
                 remove them or set propagationPolicy=Orphan to suppress this warning",
            ),
            ..PLAIN
        },
    ),
    (Resource::of::<DeviceClass>(), RETURNED),
    (Resource::of::<ResourceClaim>(), RETURNED),
    (Resource::of::<ResourceClaimTemplate>(), RETURNED),
    (Resource::of::<ResourceSlice>(), RETURNED),
    (Resource::of::<CSIDriver>(), RETURNED),
    (Resource::of::<CSINode>(), RETURNED),
    (Resource::of::<StorageClass>(), RETURNED),
    (Resource::of::<VolumeAttachment>(), RETURNED),
    (Resource::of::<VolumeAttributesClass>(), RETURNED),
];

/// How objects of a kind end.
pub(crate) fn of(kind: &Kind) -> &'static Lifecycle {
    let own = LIFECYCLES.iter().find(|(resource, _)| kind.resource.is_version_of(resource));
    own.map_or(&PLAIN, |(_, lifecycle)| lifecycle)
}

/// What the rows of the table are about.
#[cfg(test)]
pub(super) fn rows() -> Vec<Resource> {
    LIFECYCLES.iter().map(|(resource, _)| resource.clone()).collect()
}

/// What a deletion of an object of the kind is answered with, beside the object.
pub(crate) fn advice(kind: &Kind, options: &DeleteOptions) -> Vec<String> {
    let said = of(kind).advice.filter(|_| options.propagation.is_none());
    said.map(str::to_owned).into_iter().collect()
}

fn pod_grace(pod: &Object, asked: Option<i64>) -> Option<i64> {
    let own = || pod.at(&["spec", "terminationGracePeriodSeconds"]).and_then(Value::as_i64);
    let bound = !pod.text(&["spec", "nodeName"]).unwrap_or_default().is_empty();
    let over = matches!(pod.text(&["status", "phase"]), Some("Failed" | "Succeeded"));
    let seconds = if bound && !over { asked.or_else(own).unwrap_or_default() } else { 0 };
    Some(if seconds < 0 { 1 } else { seconds })
}

fn namespace_held(namespace: &Object) -> bool {
    !write::is_empty_list(namespace, &["spec", "finalizers"])
}

fn terminate(namespace: &mut Object, _: Timestamp) {
    namespace.set(&["status", "phase"], "Terminating".into());
}

/// Whether a changed object is to go: its deletion has begun, nothing holds it and its time is over.
pub(crate) fn is_finished(kind: &Kind, object: &Object) -> bool {
    let grace = object.at(&["metadata", "deletionGracePeriodSeconds"]).and_then(Value::as_i64).unwrap_or_default();
    object.is_deleting() && grace == 0 && !is_held(kind, object)
}

/// Whether something must be done before the object may go.
pub(crate) fn is_held(kind: &Kind, object: &Object) -> bool {
    object.finalizers().next().is_some() || (of(kind).held)(object)
}

/// What a deletion does to an object.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    /// It stays as it is: its end has begun already.
    Wait,
    /// It is written so, and stays for now.
    Mark(Object),
    /// It is written so, and goes with that.
    MarkAndGo(Object),
    /// It goes.
    Go,
}

/// Decides what a deletion does to an object at a time.
///
/// Source: apiserver `registry/rest/delete.go` and `registry/generic/registry/store.go`.
pub(crate) fn step(kind: &Kind, object: &Object, options: &DeleteOptions, now: Timestamp) -> Step {
    let lifecycle = of(kind);
    let mut new = object.clone();
    let grace = match (lifecycle.grace)(object, options.grace_seconds) {
        None => None,
        Some(_) if object.is_deleting() => match shorten(&mut new, options.grace_seconds) {
            // Nothing else would end an object whose time is over.
            Shortened::Unchanged => return if is_finished(kind, object) { Step::Go } else { Step::Wait },
            Shortened::Now => None,
            Shortened::To(seconds) => Some(seconds),
        },
        Some(seconds) => {
            begin(&mut new, seconds, now);
            Some(seconds)
        }
    };
    let finalizers = dependents_finalizers(lifecycle, object, options.propagation);
    write::set_finalizers(&mut new, &finalizers);
    let held = !finalizers.is_empty() || (lifecycle.held)(object);
    match (grace, held) {
        (Some(seconds), _) if seconds > 0 || held => Step::Mark(new),
        (Some(_), _) => Step::MarkAndGo(new),
        (None, true) => {
            mark(&mut new, lifecycle, now);
            if new == *object { Step::Wait } else { Step::Mark(new) }
        }
        (None, false) => Step::Go,
    }
}

enum Shortened {
    /// A longer time, or none, was asked for.
    Unchanged,
    /// The end began without a time: it is over.
    Now,
    /// So many seconds.
    To(i64),
}

fn shorten(object: &mut Object, asked: Option<i64>) -> Shortened {
    let Some(had) = object.at(&["metadata", "deletionGracePeriodSeconds"]).and_then(Value::as_i64) else {
        return Shortened::Now;
    };
    let Some(asked) = asked.filter(|asked| *asked < had) else { return Shortened::Unchanged };
    let asked = if asked < 0 { 1 } else { asked };
    let stamp = object.text(&["metadata", "deletionTimestamp"]).and_then(|text| text.parse::<Timestamp>().ok());
    if let Some(end) = stamp.and_then(|stamp| stamp.checked_sub(SignedDuration::from_secs(had - asked)).ok()) {
        object.set(&["metadata", "deletionTimestamp"], errors::seconds(end));
    }
    set_grace(object, asked);
    Shortened::To(asked)
}

fn set_grace(object: &mut Object, seconds: i64) {
    object.set(&["metadata", "deletionGracePeriodSeconds"], seconds.into());
}

fn begin(object: &mut Object, seconds: i64, now: Timestamp) {
    let end = now.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX);
    object.set(&["metadata", "deletionTimestamp"], errors::seconds(end));
    set_grace(object, seconds);
    raise_generation(object);
}

fn raise_generation(object: &mut Object) {
    if object.generation() > 0 {
        let next = object.generation() + 1;
        object.set(&["metadata", "generation"], next.into());
    }
}

/// Marks an object that knows no grace but is held.
fn mark(object: &mut Object, lifecycle: &Lifecycle, now: Timestamp) {
    if object.is_deleting() {
        return;
    }
    object.set(&["metadata", "deletionTimestamp"], errors::seconds(now));
    match lifecycle.mark {
        Some(mark) => mark(object, now),
        None => {
            raise_generation(object);
            set_grace(object, 0);
        }
    }
}

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// The object's finalizers with those that say what becomes of its dependents.
fn dependents_finalizers(lifecycle: &Lifecycle, object: &Object, asked: Option<Propagation>) -> Vec<String> {
    let has = |name: &str| object.finalizers().any(|one| one == name);
    let propagation = asked.or_else(|| match object.finalizers().find(|one| [ORPHAN, FOREGROUND].contains(one)) {
        Some(first) => Some(if first == ORPHAN { Propagation::Orphan } else { Propagation::Foreground }),
        None => lifecycle.orphans.then_some(Propagation::Orphan),
    });
    let wanted = match propagation {
        Some(Propagation::Orphan) => Some(ORPHAN),
        Some(Propagation::Foreground) => Some(FOREGROUND),
        Some(Propagation::Background) | None => None,
    };
    if wanted.is_some_and(has) && !has(if wanted == Some(ORPHAN) { FOREGROUND } else { ORPHAN }) {
        return write::finalizers(object);
    }
    let kept = object.finalizers().filter(|one| ![ORPHAN, FOREGROUND].contains(one));
    kept.chain(wanted).map(str::to_owned).collect()
}

/// `details` that say which life of an object went.
pub(crate) fn gone(kind: &Kind, object: &Object) -> Value {
    errors::deleted_details(&kind.resource, object.name(), &object.uid().0)
}

/// The object as the last write left it, for an answer.
pub(crate) fn stamped(mut object: Object, revision: kprov_schema::Revision) -> Object {
    object.set(&["metadata", "resourceVersion"], json!(revision.to_string()));
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use kprov_schema::KINDS;

    fn pod(value: Value) -> Object {
        Object::try_from(value).unwrap()
    }

    fn pods() -> &'static Kind {
        KINDS.iter().find(|kind| kind.resource.plural == "pods").unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn pods_get_grace_when_they_run() {
        let running = pod(
            json!({"metadata": {"name": "a", "generation": 1}, "spec": {"nodeName": "n", "terminationGracePeriodSeconds": 30}}),
        );
        let Step::Mark(new) = step(pods(), &running, &DeleteOptions::default(), at(0)) else { panic!("it stays") };
        assert_eq!(new.text(&["metadata", "deletionTimestamp"]), Some("1970-01-01T00:00:30Z"));
        assert_eq!(new.generation(), 2);
        let wait = DeleteOptions { grace_seconds: Some(60), ..DeleteOptions::default() };
        assert_eq!(step(pods(), &new, &wait, at(1)), Step::Wait);
        let sooner = DeleteOptions { grace_seconds: Some(5), ..DeleteOptions::default() };
        let Step::Mark(sooner) = step(pods(), &new, &sooner, at(1)) else { panic!("it stays") };
        assert_eq!(sooner.text(&["metadata", "deletionTimestamp"]), Some("1970-01-01T00:00:05Z"));
        assert_eq!(sooner.generation(), 2);
        let now = DeleteOptions { grace_seconds: Some(0), ..DeleteOptions::default() };
        assert!(matches!(step(pods(), &new, &now, at(1)), Step::MarkAndGo(_)));
        let ended = pod(json!({"metadata": {"name": "a", "deletionTimestamp": "1970-01-01T00:00:00Z",
            "deletionGracePeriodSeconds": 0}, "spec": {"nodeName": "n"}}));
        for asked in [None, Some(0), Some(30)] {
            let options = DeleteOptions { grace_seconds: asked, ..DeleteOptions::default() };
            assert_eq!(step(pods(), &ended, &options, at(1)), Step::Go, "{asked:?}");
            let mut held = ended.clone();
            held.set(&["metadata", "finalizers"], json!(["a/b"]));
            assert_eq!(step(pods(), &held, &options, at(1)), Step::Wait, "{asked:?}");
        }
        let unbound = pod(json!({"metadata": {"name": "a"}, "spec": {"terminationGracePeriodSeconds": 30}}));
        assert!(matches!(step(pods(), &unbound, &DeleteOptions::default(), at(0)), Step::MarkAndGo(_)));
    }

    #[test]
    fn finalizers_say_what_becomes_of_dependents() {
        let object = pod(json!({"metadata": {"name": "a", "finalizers": ["a/b", "orphan"]}}));
        for (asked, want) in [
            (None, vec!["a/b", "orphan"]),
            (Some(Propagation::Background), vec!["a/b"]),
            (Some(Propagation::Foreground), vec!["a/b", "foregroundDeletion"]),
            (Some(Propagation::Orphan), vec!["a/b", "orphan"]),
        ] {
            assert_eq!(dependents_finalizers(&PLAIN, &object, asked), want);
        }
        let bare = pod(json!({"metadata": {"name": "a"}}));
        let orphaning = Lifecycle { orphans: true, ..PLAIN };
        assert_eq!(dependents_finalizers(&orphaning, &bare, None), [ORPHAN]);
        assert!(dependents_finalizers(&orphaning, &bare, Some(Propagation::Background)).is_empty());
        assert!(dependents_finalizers(&PLAIN, &bare, None).is_empty());
    }
}
