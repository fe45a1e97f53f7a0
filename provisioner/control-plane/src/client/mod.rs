//! The API verbs as a trait: how controllers, the scheduler and node agents reach objects.
//!
//! In process the verbs are called without a socket and objects are shared, not copied. Every call goes through
//! authorization, admission and validation as one that came over the network.

pub mod node;

use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use kprov_schema::{Key, Kind, Object, Resource, Revision, Status, Subresource};
use serde_json::Value;

/// How a patch body is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchKind {
    /// RFC 6902.
    Json,
    /// RFC 7396.
    Merge,
    /// Kubernetes' own: lists merge by key.
    Strategic,
}

/// What must be true of an object for a deletion to go ahead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preconditions {
    /// It must have this uid.
    pub uid: Option<String>,
    /// It must have this resourceVersion.
    pub resource_version: Option<String>,
}

/// What becomes of an object's dependents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// They are deleted after it.
    Background,
    /// They are deleted before it.
    Foreground,
    /// They stay.
    Orphan,
}

/// How to delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Seconds that a pod gets to end; `None` takes the pod's own.
    pub grace_seconds: Option<i64>,
    /// Conditions on the object.
    pub preconditions: Preconditions,
    /// What becomes of dependents; `None` takes the kind's default.
    pub propagation: Option<Propagation>,
}

/// Which objects to list or watch. Empty selectors select everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// One namespace, or all.
    pub namespace: Option<String>,
    /// Label selector, in its text form.
    pub labels: String,
    /// Field selector, in its text form.
    pub fields: String,
}

/// All objects of a selection at one revision.
#[derive(Clone, Debug)]
pub struct List {
    /// The moment they were read: a watch from here misses nothing.
    pub revision: Revision,
    /// The objects, by key.
    pub items: Vec<Arc<Object>>,
}

/// A change as a watch tells it.
#[derive(Clone, Debug)]
pub enum Event {
    /// The object is new, or has come into the selection.
    Added(Arc<Object>),
    /// The object has changed.
    Modified(Arc<Object>),
    /// The object is gone, or has left the selection; its last state.
    Deleted(Arc<Object>),
    /// Nothing of the selection changed up to this revision.
    Bookmark(Revision),
}

/// The verbs. Implemented in process by the API server.
///
/// Errors are the [`Status`] that a client over the network would get.
pub trait Verbs: Send + Sync + 'static {
    /// Reads one object.
    fn get<'a>(&'a self, resource: &'a Resource, key: &'a Key) -> BoxFuture<'a, Result<Arc<Object>, Status>>;
    /// Lists a selection at the newest revision.
    fn list<'a>(&'a self, resource: &'a Resource, which: &'a Selection) -> BoxFuture<'a, Result<List, Status>>;
    /// Watches a selection from just after `from`. A stream that ends with `Err` where [`Status::is_expired`] needs a new list.
    fn watch<'a>(
        &'a self,
        resource: &'a Resource,
        which: &'a Selection,
        from: Revision,
    ) -> BoxFuture<'a, Result<BoxStream<'static, Result<Event, Status>>, Status>>;
    /// Creates an object, or the subresource (`Binding`, `Eviction`, `Token`) of the object `key`.
    fn create<'a>(
        &'a self,
        resource: &'a Resource,
        key: &'a Key,
        subresource: Option<Subresource>,
        object: Object,
    ) -> BoxFuture<'a, Result<Arc<Object>, Status>>;
    /// Replaces an object or its subresource. A `metadata.resourceVersion` in `object` must be the stored one.
    fn update<'a>(
        &'a self,
        resource: &'a Resource,
        subresource: Option<Subresource>,
        object: Object,
    ) -> BoxFuture<'a, Result<Arc<Object>, Status>>;
    /// Patches an object or its subresource.
    fn patch<'a>(
        &'a self,
        resource: &'a Resource,
        key: &'a Key,
        subresource: Option<Subresource>,
        kind: PatchKind,
        patch: Value,
    ) -> BoxFuture<'a, Result<Arc<Object>, Status>>;
    /// The kinds that are defined at run time: those that are served now, then again whenever that changes.
    ///
    /// Of a kind that is served in several versions there is one; all lead to the same objects.
    fn custom_kinds(&self) -> BoxStream<'static, Vec<Arc<Kind>>>;
    /// Deletes an object, or begins to.
    fn delete<'a>(
        &'a self,
        resource: &'a Resource,
        key: &'a Key,
        options: DeleteOptions,
    ) -> BoxFuture<'a, Result<(), Status>>;
}

/// A shared handle on the verbs, acting as one user.
pub type Client = Arc<dyn Verbs>;
