//! What a decision may look at: the caches of the kinds that its controller watches.

use std::ops::Deref;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kprov_schema::selector::Labels;
use kprov_schema::{Key, Object, Resource, Status, Typed, Uid};

use crate::informer::{Cache, Caches, Defined, Entry, Unreadable};

/// An object as seen: its typed view to decide on, the raw one to change and write back.
#[derive(Debug)]
pub struct Seen<T> {
    typed: Arc<T>,
    /// The object as it travels; unknown fields are in it.
    pub raw: Arc<Object>,
}

impl<T> Clone for Seen<T> {
    fn clone(&self) -> Self {
        Self { typed: Arc::clone(&self.typed), raw: Arc::clone(&self.raw) }
    }
}

impl<T> Deref for Seen<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.typed
    }
}

impl<T: Typed + Send + Sync + 'static> Seen<T> {
    fn of(entry: &Entry) -> Result<Self, Unreadable> {
        Ok(Self { typed: entry.typed()?, raw: Arc::clone(&entry.raw) })
    }
}

/// How the last round of a key failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// The object that the action was about.
    pub key: Key,
    /// Its kind.
    pub resource: Resource,
    /// What the API server said.
    pub status: Status,
}

/// The caches, and how the round before failed if it did.
#[derive(Clone)]
pub struct Snapshot {
    caches: Arc<Caches>,
    failure: Option<Failure>,
}

impl Snapshot {
    /// A view of caches.
    #[must_use]
    pub fn new(caches: Arc<Caches>) -> Self {
        Self { caches, failure: None }
    }

    /// A view of objects that are given, for the tests of a controller that watches these.
    #[cfg(test)]
    pub(crate) fn given(watches: &[super::Watch], objects: &[serde_json::Value]) -> Self {
        let new = |watch: &super::Watch| (watch.resource.clone(), Arc::new(Cache::new(watch.resource.clone())));
        let caches: Caches = watches.iter().map(new).collect();
        for (at, object) in objects.iter().enumerate() {
            let mut object = Object::try_from(object.clone()).expect("a map");
            object.set(&["metadata", "resourceVersion"], (at + 1).to_string().into());
            let kind = kprov_schema::KINDS
                .iter()
                .find(|kind| kind.kind == object.kind() && kind.resource.api_version() == object.api_version());
            caches[&kind.expect("a kind of the table").resource].put(Arc::new(object));
        }
        Self::new(Arc::new(caches))
    }

    /// The same view after a failed round: the decision may only report it, its actions are not tried again.
    #[must_use]
    pub fn after(&self, failure: Failure) -> Self {
        Self { caches: Arc::clone(&self.caches), failure: Some(failure) }
    }

    /// How the round just before failed.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// The cache of a kind that the controller watches.
    #[must_use]
    pub fn cache(&self, resource: &Resource) -> &Arc<Cache> {
        self.caches.get(resource).expect("a controller reads only kinds that it watches")
    }

    /// The kinds that are defined at run time, with their objects.
    #[must_use]
    pub fn defined(&self) -> arc_swap::Guard<Arc<Vec<Defined>>> {
        self.caches.defined()
    }

    fn of<T: k8s_openapi::Resource>(&self) -> &Arc<Cache> {
        self.cache(&Resource::of::<T>())
    }

    /// One object.
    pub fn get<T: Typed + Send + Sync + 'static>(&self, key: &Key) -> Result<Option<Seen<T>>, Unreadable> {
        self.of::<T>().get(key).map(|entry| Seen::of(&entry)).transpose()
    }

    /// Everything of a kind.
    pub fn all<T: Typed + Send + Sync + 'static>(&self) -> Result<Vec<Seen<T>>, Unreadable> {
        seen(&self.of::<T>().all())
    }

    /// Everything of a kind in a namespace.
    pub fn in_namespace<T: Typed + Send + Sync + 'static>(&self, namespace: &str) -> Result<Vec<Seen<T>>, Unreadable> {
        seen(&self.of::<T>().in_namespace(namespace))
    }

    /// Everything of a kind that can be read, for who asks whom a change concerns: what can't be is told of and left out, so
    /// that one unreadable object does not keep all others asleep.
    #[must_use]
    pub fn readable<T: Typed + Send + Sync + 'static>(&self) -> Vec<Seen<T>> {
        readable(&self.of::<T>().all())
    }

    /// The same of a namespace.
    #[must_use]
    pub fn readable_in<T: Typed + Send + Sync + 'static>(&self, namespace: &str) -> Vec<Seen<T>> {
        readable(&self.of::<T>().in_namespace(namespace))
    }

    /// What names `owner` among its owners.
    pub fn owned_by<T: Typed + Send + Sync + 'static>(&self, owner: &str) -> Result<Vec<Seen<T>>, Unreadable> {
        seen(&self.of::<T>().owned_by(&Uid(owner.to_owned())))
    }

    /// What is bound to a node.
    pub fn on_node<T: Typed + Send + Sync + 'static>(&self, node: &str) -> Result<Vec<Seen<T>>, Unreadable> {
        seen(&self.of::<T>().on_node(node))
    }

    /// What a label selector selects in a namespace.
    pub fn select<T: Typed + Send + Sync + 'static>(
        &self,
        namespace: &str,
        which: &LabelSelector,
    ) -> Result<Vec<Seen<T>>, Unreadable> {
        let entries = self.of::<T>().in_namespace(namespace);
        let labels = Labels::of(which).unwrap_or_else(|_| Labels::nothing());
        let selected = entries.iter().filter(|entry| labels.match_object(&entry.raw));
        selected.map(|entry| Seen::of(entry)).collect()
    }
}

fn readable<T: Typed + Send + Sync + 'static>(entries: &[Arc<Entry>]) -> Vec<Seen<T>> {
    let read = |entry: &Arc<Entry>| {
        let told = |error: &Unreadable| tracing::error!(object = %entry.key, %error, "it wakes nobody");
        Seen::of(entry).inspect_err(told).ok()
    };
    entries.iter().filter_map(read).collect()
}

fn seen<T: Typed + Send + Sync + 'static>(entries: &[Arc<Entry>]) -> Result<Vec<Seen<T>>, Unreadable> {
    entries.iter().map(|entry| Seen::of(entry)).collect()
}
