//! What a write keeps: the door to the spec leaves the status as it was, the door to the status everything else.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;

use super::pod::{same, set_generation};
use crate::kind::Write;

/// Prepares an object whose spec is counted by its generation and whose status has a door of its own.
///
/// New objects begin at generation 1 with an empty status.
pub(crate) fn prepare<S: Clone + PartialEq + Serialize, T: Clone + Default>(
    (metadata, spec, status): (&mut ObjectMeta, &mut S, &mut T),
    old: Option<(&ObjectMeta, &S, &T)>,
    write: Write,
) {
    match (old, write) {
        (None, _) => {
            metadata.generation = Some(1);
            *status = T::default();
        }
        (Some((before, old, _)), Write::Status) => {
            metadata.generation = before.generation;
            spec.clone_from(old);
        }
        (Some((before, old, kept)), _) => {
            status.clone_from(kept);
            set_generation(&mut metadata.generation, before.generation, !same(spec, old));
        }
    }
}

/// The same for a kind whose new objects say that nothing has been counted yet.
pub(crate) fn prepare_counted<S: Clone + PartialEq + Serialize, T: Clone + Default>(
    (metadata, spec, status): (&mut ObjectMeta, &mut S, &mut Option<T>),
    old: Option<(&ObjectMeta, &S, &Option<T>)>,
    write: Write,
) {
    let is_new = old.is_none();
    prepare((metadata, spec, status), old, write);
    if is_new {
        *status = Some(T::default());
    }
}

/// The same where a status brings nothing but itself; see [`crate::kind::STATUS_ALONE`].
pub(crate) fn prepare_counted_alone<S: Clone + PartialEq + Serialize, T: Clone + Default>(
    (metadata, spec, status): (&mut ObjectMeta, &mut S, &mut Option<T>),
    old: Option<(&ObjectMeta, &S, &Option<T>)>,
    write: Write,
) {
    prepare_counted((metadata, spec, status), old, write);
    if let Some((before, ..)) = old.filter(|_| write == Write::Status) {
        keep_metadata(metadata, before);
    }
}

/// Prepares an object whose spec is not counted and whose status brings nothing but itself; new ones say `first`.
pub(crate) fn prepare_uncounted_alone<S: Clone, T: Clone>(
    (metadata, spec, status): (&mut ObjectMeta, &mut S, &mut Option<T>),
    old: Option<(&ObjectMeta, &S, &Option<T>)>,
    write: Write,
    first: T,
) {
    match (old, write) {
        (None, _) => *status = Some(first),
        (Some((before, kept, _)), Write::Status) => {
            spec.clone_from(kept);
            keep_metadata(metadata, before);
        }
        (Some((.., kept)), _) => status.clone_from(kept),
    }
}

/// Prepares an object without a status whose spec is counted by its generation.
pub(crate) fn prepare_spec<S: Clone + PartialEq + Serialize>(
    (metadata, spec): (&mut ObjectMeta, &mut S),
    old: Option<(&ObjectMeta, &S)>,
    write: Write,
) {
    prepare((metadata, spec, &mut ()), old.map(|(metadata, spec)| (metadata, spec, &())), write);
}

/// Keeps the metadata of an object whose status brings nothing but itself; see [`crate::kind::STATUS_ALONE`].
pub(crate) fn keep_metadata(metadata: &mut ObjectMeta, old: &ObjectMeta) {
    metadata.labels.clone_from(&old.labels);
    metadata.annotations.clone_from(&old.annotations);
    metadata.finalizers.clone_from(&old.finalizers);
    metadata.owner_references.clone_from(&old.owner_references);
}
