//! Pods: the row of the kind, over rules that pod templates share.

use k8s_openapi::api::core::v1::{Pod, PodCondition, PodSpec, PodStatus};
use serde::Serialize;
use serde_json::Value;

use crate::kind::{Column, Reset, Rules, Selectable, Subresource, Write};
use crate::meta::{MetaRules, Repeats};
use crate::status::FieldError;

pub(crate) mod affinity;
mod annotations;
mod columns;
pub(crate) mod container_resources;
mod containers;
pub(crate) mod defaults;
mod env;
mod label_keys;
pub(crate) mod mounts;
mod network;
mod overlaps;
pub(crate) mod placement;
pub(crate) mod pod_resources;
mod probes;
mod projected;
pub mod qos;
mod resize;
mod security;
pub(crate) mod spec;
mod status;
pub(crate) mod storage_volumes;
pub(crate) mod update;
pub mod validate;
pub(crate) mod volume_defaults;
pub(crate) mod volumes;
pub(crate) mod warnings;
mod windows;

pub use defaults::as_container;
pub use pod_resources::totals;

/// What the checks of a pod's parts must know of where they stand.
#[derive(Clone, Copy, Default)]
pub(crate) struct Options {
    /// A pod itself, not the template of one.
    is_pod: bool,
    /// Bad values in selectors pass, since the old object has them too.
    lenient_selectors: bool,
}

impl Rules for Pod {
    const SUBRESOURCES: &'static [Subresource] = &[
        Subresource::Status,
        Subresource::Binding,
        Subresource::Eviction,
        Subresource::Log,
        Subresource::Exec,
        Subresource::Attach,
        Subresource::PortForward,
        Subresource::Proxy,
        Subresource::EphemeralContainers,
        Subresource::Resize,
    ];
    const RESETS: &'static [(Write, Reset)] = &[
        (
            Write::Status,
            Reset::Except(&[&["spec"], &["metadata", "deletionTimestamp"], &["metadata", "ownerReferences"]]),
        ),
        (Write::Other(Subresource::EphemeralContainers), Reset::Only(&[&["spec", "ephemeralContainers"]])),
        (
            Write::Other(Subresource::Resize),
            Reset::Only(&[
                &["spec", "containers", "*", "resources"],
                &["spec", "containers", "*", "resizePolicy"],
                &["spec", "initContainers", "*", "resources"],
                &["spec", "initContainers", "*", "resizePolicy"],
            ]),
        ),
    ];
    const META: MetaRules = MetaRules::COMMON.repeating(Repeats::Both);
    const COLUMNS: &'static [Column<Self>] = columns::COLUMNS;
    const SELECTABLE: &'static [Selectable] = SELECTABLE;

    fn row_conditions(&self) -> Vec<Value> {
        columns::conditions(self)
    }

    fn fill_defaults(&mut self) {
        defaults::pod(self);
    }

    fn prepare(&mut self, old: Option<&Self>, write: Write) {
        defaults::mirror_service_account(self.spec.get_or_insert_default());
        match (old, write) {
            (None, _) => prepare_create(self),
            (Some(old), Write::Main) => prepare_update(self, old),
            (Some(old), Write::Status) => prepare_status(self, old),
            (Some(old), Write::Other(Subresource::EphemeralContainers)) => prepare_ephemeral(self, old),
            (Some(old), Write::Other(Subresource::Resize)) => prepare_resize(self, old),
            (Some(_), Write::Other(_)) => {}
        }
    }

    fn validate(&self, old: Option<&Self>, write: Write) -> Vec<FieldError> {
        validate::pod(self, old, write)
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        warnings::pod(self, old)
    }
}

const SELECTABLE: &[Selectable] = &[
    Selectable::text("spec.nodeName"),
    Selectable::text("spec.restartPolicy"),
    Selectable::text("spec.schedulerName"),
    Selectable::text("spec.serviceAccountName"),
    Selectable::truth("spec.hostNetwork"),
    Selectable::text("status.phase"),
    Selectable::text("status.podIP"),
    // Upstream knows the label but no value for it.
    Selectable { field: "status.podIPs", value: |_, _| String::new() },
    Selectable::text("status.nominatedNodeName"),
];

fn prepare_create(pod: &mut Pod) {
    pod.metadata.generation = Some(1);
    let spec = pod.spec.get_or_insert_default();
    let mut status = PodStatus {
        phase: Some("Pending".to_owned()),
        qos_class: Some(qos::class(spec).to_owned()),
        ..PodStatus::default()
    };
    if spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty()) {
        status.conditions = Some(vec![PodCondition {
            type_: "PodScheduled".to_owned(),
            status: "False".to_owned(),
            reason: Some("SchedulingGated".to_owned()),
            message: Some("Scheduling is blocked due to non-empty scheduling gates".to_owned()),
            ..PodCondition::default()
        }]);
    }
    pod.status = Some(status);
    let annotations = pod.metadata.annotations.clone().unwrap_or_default();
    annotations::take_over_app_armor(pod.spec.get_or_insert_default(), &annotations);
    let labels = pod.metadata.labels.clone().unwrap_or_default();
    label_keys::apply(pod.spec.get_or_insert_default(), &labels);
}

fn prepare_update(pod: &mut Pod, old: &Pod) {
    pod.status.clone_from(&old.status);
    let changed = !same(&pod.spec, &old.spec);
    set_generation(&mut pod.metadata.generation, old.metadata.generation, changed);
}

fn prepare_status(pod: &mut Pod, old: &Pod) {
    pod.spec.clone_from(&old.spec);
    pod.metadata.generation = old.metadata.generation;
    pod.metadata.deletion_timestamp.clone_from(&old.metadata.deletion_timestamp);
    pod.metadata.owner_references.clone_from(&old.metadata.owner_references);
    let none = PodStatus::default();
    let before = old.status.as_ref().unwrap_or(&none);
    let status = pod.status.get_or_insert_default();
    if status.qos_class.as_deref().unwrap_or_default().is_empty() {
        status.qos_class.clone_from(&before.qos_class);
    }
    keep_observed_generations(status, before);
}

/// A writer that knows nothing of observed generations leaves them as they were.
fn keep_observed_generations(status: &mut PodStatus, before: &PodStatus) {
    let unset = |generation: Option<i64>| generation.unwrap_or_default() == 0;
    if unset(status.observed_generation) {
        status.observed_generation = before.observed_generation;
    }
    let mut known: Vec<(&str, Option<i64>)> =
        before.conditions.iter().flatten().map(|one| (one.type_.as_str(), one.observed_generation)).collect();
    for condition in status.conditions.iter_mut().flatten() {
        let at = known.iter().position(|(type_, _)| *type_ == condition.type_);
        let generation = at.and_then(|at| known.remove(at).1);
        if unset(condition.observed_generation) {
            condition.observed_generation = generation;
        }
    }
}

fn prepare_ephemeral(pod: &mut Pod, old: &Pod) {
    let new = pod.spec.take().and_then(|spec| spec.ephemeral_containers);
    keep_all_but_managed_fields(pod, old);
    pod.spec.get_or_insert_default().ephemeral_containers = new;
    let changed = !same(&pod.spec, &old.spec);
    set_generation(&mut pod.metadata.generation, old.metadata.generation, changed);
}

/// Of a resize only resources and resize policies are taken over.
fn prepare_resize(pod: &mut Pod, old: &Pod) {
    let new = pod.spec.clone().unwrap_or_default();
    let before = old.spec.clone().unwrap_or_default();
    let count = |spec: &PodSpec| (spec.containers.len(), spec.init_containers.as_ref().map_or(0, Vec::len));
    if count(&new) == count(&before) {
        keep_all_but_managed_fields(pod, old);
        let spec = pod.spec.get_or_insert_default();
        spec.resources.clone_from(&new.resources);
        let kept = spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten());
        let wanted = new.containers.iter().chain(new.init_containers.iter().flatten());
        for (container, wanted) in kept.zip(wanted).filter(|(container, wanted)| container.name == wanted.name) {
            container.resources.clone_from(&wanted.resources);
            container.resize_policy.clone_from(&wanted.resize_policy);
        }
    }
    let changed = !same(&pod.spec, &old.spec);
    set_generation(&mut pod.metadata.generation, old.metadata.generation, changed);
}

fn keep_all_but_managed_fields(pod: &mut Pod, old: &Pod) {
    let managed = pod.metadata.managed_fields.take();
    let revision = pod.metadata.resource_version.take();
    pod.clone_from(old);
    pod.metadata.managed_fields = managed;
    pod.metadata.resource_version = revision;
}

/// The generation follows the old object's, one higher when what it counts has changed.
pub(crate) fn set_generation(generation: &mut Option<i64>, old: Option<i64>, changed: bool) {
    *generation = if changed { Some(old.unwrap_or_default() + 1) } else { old };
}

/// Whether two parts of objects mean the same: an empty list, map or text is as good as none.
pub(crate) fn same<T: Serialize + PartialEq>(a: &T, b: &T) -> bool {
    a == b || pruned(a) == pruned(b)
}

fn pruned<T: Serialize>(part: &T) -> Option<Value> {
    prune(serde_json::to_value(part).expect("a part of a Kubernetes object serializes"))
}

fn prune(value: Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::String(text) if text.is_empty() => None,
        Value::Array(items) if items.is_empty() => None,
        Value::Array(items) => {
            Some(Value::Array(items.into_iter().map(|item| prune(item).unwrap_or(Value::Null)).collect()))
        }
        Value::Object(map) => {
            let kept: serde_json::Map<_, _> =
                map.into_iter().filter_map(|(key, value)| Some((key, prune(value)?))).collect();
            (!kept.is_empty()).then_some(Value::Object(kept))
        }
        other => Some(other),
    }
}
