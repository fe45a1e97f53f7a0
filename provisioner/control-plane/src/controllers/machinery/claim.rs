//! Which objects are a controller's own: what it adopts, what it lets go, and whom a changed object concerns.

use std::borrow::Cow;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::ReplicationController;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement, ObjectMeta};
use kprov_schema::{Key, Object, Resource, Typed};
use serde_json::{Value, json};

use super::action::Action;
use super::meta::{controlled_by, controller_key, controller_of, owner_references, set_owners};
use super::selector;
use super::snapshot::{Seen, Snapshot};
use crate::informer::{Change, Unreadable};

/// A kind whose objects control what their selectors select.
pub trait Selects: Typed + k8s_openapi::Metadata<Ty = ObjectMeta> + Send + Sync + 'static {
    /// What keeps an object that it controls until it has taken note of its end.
    const FINALIZER: Option<&'static str> = None;
    /// What it selects.
    fn selector(&self) -> Cow<'_, LabelSelector>;
}

macro_rules! selects {
    ($($kind:ty),+) => {$(
        impl Selects for $kind {
            fn selector(&self) -> Cow<'_, LabelSelector> {
                Cow::Borrowed(&self.spec.selector)
            }
        }
    )+};
}

selects!(DaemonSet, Deployment, ReplicaSet, StatefulSet);

impl Selects for ReplicationController {
    fn selector(&self) -> Cow<'_, LabelSelector> {
        let pairs = self.spec.as_ref().and_then(|spec| spec.selector.clone());
        Cow::Owned(LabelSelector { match_labels: pairs, match_expressions: None })
    }
}

impl Selects for Job {
    const FINALIZER: Option<&'static str> = Some("batch.kubernetes.io/job-tracking");

    fn selector(&self) -> Cow<'_, LabelSelector> {
        let selector = self.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        // Without a selector it selects nothing: an empty one would select everything.
        selector.map_or_else(|| Cow::Owned(nothing()), Cow::Borrowed)
    }
}

fn nothing() -> LabelSelector {
    let never = |operator: &str| LabelSelectorRequirement {
        key: "job-name".to_owned(),
        operator: operator.to_owned(),
        values: None,
    };
    LabelSelector { match_labels: None, match_expressions: Some(vec![never("Exists"), never("DoesNotExist")]) }
}

/// What a controller claims: the objects that are its own, and the patches that adopt and release others.
pub struct Claims<T> {
    /// Those that it controls.
    pub owned: Vec<Seen<T>>,
    /// Adoptions and releases to be done.
    pub actions: Vec<Action>,
}

/// Sorts the objects of the owner's namespace into its own, those to adopt and those to release.
///
/// Orphans that match are adopted; own ones that do not match any more are released. An owner that is being deleted
/// adopts nothing.
pub fn claim<T, O>(owner: &Seen<O>, world: &Snapshot) -> Result<Claims<T>, Unreadable>
where
    T: Typed + k8s_openapi::Metadata<Ty = ObjectMeta> + Send + Sync + 'static,
    O: Selects,
{
    claim_where(owner, world, |_| true)
}

/// The same for an owner that minds more than labels: what `fits` does not hold for is neither adopted nor kept.
pub fn claim_where<T, O>(
    owner: &Seen<O>,
    world: &Snapshot,
    fits: impl Fn(&Object) -> bool,
) -> Result<Claims<T>, Unreadable>
where
    T: Typed + k8s_openapi::Metadata<Ty = ObjectMeta> + Send + Sync + 'static,
    O: Selects,
{
    let (uid, resource, which) = (owner.raw.uid(), Resource::of::<T>(), owner.selector());
    let mut claims = Claims { owned: Vec::new(), actions: Vec::new() };
    for object in world.owned_by::<T>(&uid.0)? {
        let is_controller = controller_of(object.metadata()).is_some_and(|one| one.uid == uid.0);
        if !is_controller {
            continue;
        }
        if selector::selects(&which, &object.raw) && fits(&object.raw) {
            claims.owned.push(object);
        } else if !object.raw.is_deleting() && !owner.raw.is_deleting() {
            claims.actions.push(release::<O>(&resource, &object.raw, &uid.0));
        }
    }
    if owner.raw.is_deleting() {
        return Ok(claims);
    }
    for object in world.select::<T>(owner.raw.namespace(), &which)? {
        if controller_of(object.metadata()).is_none() && !object.raw.is_deleting() && fits(&object.raw) {
            claims.actions.push(adopt::<O>(&resource, &object.raw, &owner.raw));
        }
    }
    Ok(claims)
}

fn adopt<O: Selects>(resource: &Resource, object: &Object, owner: &Object) -> Action {
    let mut owners = owner_references(object);
    owners.push(controlled_by(owner));
    let mut finalizers: Vec<&str> = object.finalizers().collect();
    finalizers.extend(O::FINALIZER.filter(|one| !finalizers.contains(one)));
    tie::<O>(set_owners(resource, object, owners), &finalizers)
}

fn release<O: Selects>(resource: &Resource, object: &Object, owner: &str) -> Action {
    let mut owners = owner_references(object);
    owners.retain(|one| one.get("uid").and_then(Value::as_str) != Some(owner));
    let finalizers: Vec<&str> = object.finalizers().filter(|one| Some(*one) != O::FINALIZER).collect();
    tie::<O>(set_owners(resource, object, owners), &finalizers)
}

/// With the owners, sets the finalizers of objects that an owner keeps.
fn tie<O: Selects>(mut action: Action, finalizers: &[&str]) -> Action {
    if let (Action::Patch { patch, .. }, Some(_)) = (&mut action, O::FINALIZER) {
        patch["metadata"]["finalizers"] = json!(finalizers);
    }
    action
}

/// The controllers to look at when an object changes: its own, before and after, or whoever may adopt it.
pub fn claimants<O: Selects>(change: &Change, world: &Snapshot) -> Vec<Key> {
    let mut keys: Vec<Key> = change.sides().filter_map(|entry| controller_key::<O>(&entry.raw)).collect();
    if let Some(orphan) = change.new.as_ref().filter(|one| one.owners().next().is_none() && !one.raw.is_deleting()) {
        let all = world.readable_in::<O>(&orphan.key.namespace);
        let adopting = all.iter().filter(|one| selector::selects(&one.selector(), &orphan.raw));
        keys.extend(adopting.map(|one| one.raw.key()));
    }
    keys.dedup();
    keys
}
