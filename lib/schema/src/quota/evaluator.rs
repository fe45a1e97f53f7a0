//! The table: what is particular of a resource that quotas count.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::Resource;
use k8s_openapi::api::core::v1::{
    ConfigMap, Event, PersistentVolumeClaim, Pod, ReplicationController, ResourceQuota,
    ScopedResourceSelectorRequirement, Secret, Service,
};
use k8s_openapi::api::events;

use super::{Amounts, claims, pods, services};
use crate::kind::Write;
use crate::object::Object;

/// How objects of a resource are counted beside by their number.
///
/// Source: `pkg/quota/v1/evaluator/core`, `staging/src/k8s.io/apiserver/pkg/quota/v1/generic`
pub(super) struct Evaluator {
    /// Group and plural.
    pub(super) resource: (&'static str, &'static str),
    /// What it is counted as.
    pub(super) names: &'static [&'static str],
    /// All of `names` are other words for the number of objects.
    pub(super) by_number: bool,
    /// Further names of a certain form.
    pub(super) also: fn(&str) -> bool,
    /// What an object takes.
    pub(super) usage: fn(&Object, Timestamp) -> Result<Amounts, String>,
    /// What an object must say of itself to be counted under these names, and does not.
    pub(super) lacks: fn(&Object, &BTreeSet<&str>) -> Result<Option<String>, String>,
    /// Whether an object is in a scope.
    pub(super) in_scope: fn(&ScopedResourceSelectorRequirement, &Object) -> Result<bool, String>,
    /// Whether a change from one to the other, through a door, is charged.
    pub(super) charges: fn(&Object, &Object, Write) -> Result<bool, String>,
    /// From when on an object is not counted any more, if that is known.
    pub(super) until: fn(&Object) -> Option<Timestamp>,
}

/// Whatever is counted by number alone.
pub(super) const ANY: Evaluator = Evaluator {
    resource: ("", ""),
    names: &[],
    by_number: true,
    also: |_| false,
    usage: |_, _| Ok(Amounts::new()),
    lacks: |_, _| Ok(None),
    in_scope: |_, _| Ok(false),
    charges: |_, _, _| Ok(false),
    until: |_| None,
};

const fn of<T: Resource>() -> (&'static str, &'static str) {
    (T::GROUP, T::URL_PATH_SEGMENT)
}

const fn numbered<T: Resource>(names: &'static [&'static str]) -> Evaluator {
    Evaluator { resource: of::<T>(), names, ..ANY }
}

/// Every resource that is counted otherwise than `count/...`.
pub(super) const EVALUATORS: &[Evaluator] = &[
    Evaluator {
        resource: of::<Pod>(),
        names: pods::NAMES,
        by_number: false,
        also: pods::is_counted,
        usage: pods::usage,
        lacks: pods::lacks,
        in_scope: pods::is_in_scope,
        charges: pods::charges,
        until: pods::until,
    },
    Evaluator {
        resource: of::<PersistentVolumeClaim>(),
        names: claims::NAMES,
        by_number: false,
        also: claims::is_of_class,
        usage: claims::usage,
        in_scope: claims::is_in_scope,
        charges: claims::charges,
        ..ANY
    },
    Evaluator {
        resource: of::<Service>(),
        names: services::NAMES,
        by_number: false,
        usage: services::usage,
        charges: |_, _, door| Ok(door == Write::Main),
        ..ANY
    },
    numbered::<ConfigMap>(&["configmaps"]),
    numbered::<ReplicationController>(&["replicationcontrollers"]),
    numbered::<ResourceQuota>(&["resourcequotas"]),
    numbered::<Secret>(&["secrets"]),
];

/// What is never counted.
pub(super) const UNCOUNTED: &[(&str, &str)] = &[of::<Event>(), of::<events::v1::Event>()];
