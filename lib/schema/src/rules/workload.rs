//! Deployments and replica sets: pods from a template.

use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStatus, DeploymentStrategy, ReplicaSet, ReplicaSetSpec, ReplicaSetStatus,
    RollingUpdateDeployment,
};
use k8s_openapi::api::core::v1::{Container, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::json;

use super::check::{Errors, Path};
use super::pod::{defaults, same, set_generation, warnings};
use super::{parts, scale};
use crate::internal::shown;
use crate::kind::{Column, Reset, Rules, Selectable, Subresource, Write};
use crate::object::Object;
use crate::status::{FieldError, FieldErrorKind};
use crate::{selector, table};

impl Rules for Deployment {
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::Status, Subresource::Scale];
    const RESETS: &'static [(Write, Reset)] = &[(Write::Status, Reset::Except(&[&["spec"], &["metadata", "labels"]]))];
    const COLUMNS: &'static [Column<Self>] = &[
        table::name(),
        table::text("Ready", "Number of the pod with ready state", |it, _| {
            let ready = it.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or_default();
            format!("{ready}/{}", it.spec.replicas.unwrap_or_default()).into()
        }),
        table::text(
            "Up-to-date",
            "Total number of non-terminating pods targeted by this deployment that have the desired template spec.",
            |it, _| it.status.as_ref().and_then(|status| status.updated_replicas).unwrap_or_default().into(),
        ),
        table::text(
            "Available",
            "Total number of available non-terminating pods (ready for at least minReadySeconds) targeted by this \
             deployment.",
            |it, _| it.status.as_ref().and_then(|status| status.available_replicas).unwrap_or_default().into(),
        ),
        table::age(),
        table::wide("Containers", scale::CONTAINERS, |it, _| table::containers(deployment_containers(it))),
        table::wide("Images", scale::IMAGES, |it, _| table::images(deployment_containers(it))),
        table::wide(
            "Selector",
            "Label selector for pods. Existing ReplicaSets whose pods are selected by this will be the ones affected \
             by this deployment. It must match the pod template's labels.",
            |it, _| selector::text(&it.spec.selector).unwrap_or_else(|| "<invalid>".to_owned()).into(),
        ),
    ];

    fn note_empty(&mut self, object: &Object) {
        scale::note_empty_selector(&mut self.spec.selector, object);
    }

    fn fill_defaults(&mut self) {
        let spec = &mut self.spec;
        spec.replicas.get_or_insert(1);
        default_strategy(spec);
        spec.revision_history_limit.get_or_insert(10);
        spec.progress_deadline_seconds.get_or_insert(600);
        defaults::template(&mut spec.template);
    }

    fn prepare(&mut self, old: Option<&Self>, write: Write) {
        match (old, write) {
            (None, _) => {
                self.metadata.generation = Some(1);
                self.status = Some(DeploymentStatus::default());
            }
            (Some(old), Write::Status) => {
                self.metadata.generation = old.metadata.generation;
                self.spec.clone_from(&old.spec);
                self.metadata.labels.clone_from(&old.metadata.labels);
            }
            (Some(old), _) => {
                self.status.clone_from(&old.status);
                let changed =
                    !same(&self.spec, &old.spec) || !same(&self.metadata.annotations, &old.metadata.annotations);
                set_generation(&mut self.metadata.generation, old.metadata.generation, changed);
            }
        }
    }

    fn validate(&self, old: Option<&Self>, write: Write) -> Vec<FieldError> {
        let mut errors = Errors::default();
        match (old, write) {
            (Some(old), Write::Status) => deployment_status(&mut errors, self, old),
            _ => deployment_spec(&mut errors, &self.spec, old.map(|old| &old.spec)),
        }
        errors.into_vec()
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        workload_warnings(&self.metadata, old.map(|old| &old.metadata), Some(&self.spec.template))
    }
}

fn deployment_containers(it: &Deployment) -> &[Container] {
    scale::containers(Some(&it.spec.template))
}

fn default_strategy(spec: &mut DeploymentSpec) {
    let strategy = spec.strategy.get_or_insert_default();
    defaults::default_text(&mut strategy.type_, "RollingUpdate");
    if strategy.type_.as_deref() == Some("RollingUpdate") {
        let quarter = || IntOrString::String("25%".to_owned());
        let rolling = strategy.rolling_update.get_or_insert_default();
        rolling.max_unavailable.get_or_insert_with(quarter);
        rolling.max_surge.get_or_insert_with(quarter);
    }
}

impl Rules for ReplicaSet {
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::Status, Subresource::Scale];
    const COLUMNS: &'static [Column<Self>] = &[
        table::name(),
        table::integer(
            "Desired",
            "Replicas is the number of desired pods. This is a pointer to distinguish between explicit zero and \
             unspecified. Defaults to 1. More info: \
             https://kubernetes.io/docs/concepts/workloads/controllers/replicaset",
            |it, _| it.spec.replicas.unwrap_or_default().into(),
        ),
        table::integer(
            "Current",
            "Replicas is the most recently observed number of non-terminating pods. More info: \
             https://kubernetes.io/docs/concepts/workloads/controllers/replicaset",
            |it, _| it.status.as_ref().map_or(0, |status| status.replicas).into(),
        ),
        table::integer(
            "Ready",
            "The number of non-terminating pods targeted by this ReplicaSet with a Ready Condition.",
            |it, _| it.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or_default().into(),
        ),
        table::age(),
        table::wide("Containers", scale::CONTAINERS, |it, _| table::containers(replica_set_containers(it))),
        table::wide("Images", scale::IMAGES, |it, _| table::images(replica_set_containers(it))),
        table::wide(
            "Selector",
            "Selector is a label query over pods that should match the replica count. Label keys and values that must \
             match in order to be controlled by this replica set. It must match the pod template's labels. More info: \
             https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors",
            |it, _| table::selector_cell(Some(&it.spec.selector)),
        ),
    ];
    const SELECTABLE: &'static [Selectable] = &[Selectable::number("status.replicas")];

    fn note_empty(&mut self, object: &Object) {
        scale::note_empty_selector(&mut self.spec.selector, object);
    }

    fn fill_defaults(&mut self) {
        let spec = &mut self.spec;
        spec.replicas.get_or_insert(1);
        defaults::template(spec.template.get_or_insert_default());
    }

    fn prepare(&mut self, old: Option<&Self>, write: Write) {
        let old = old.map(|old| (&old.metadata, &old.spec, &old.status));
        parts::prepare_counted((&mut self.metadata, &mut self.spec, &mut self.status), old, write);
    }

    fn validate(&self, old: Option<&Self>, write: Write) -> Vec<FieldError> {
        let mut errors = Errors::default();
        match (old, write) {
            (Some(_), Write::Status) => replica_set_status(&mut errors, self.status.as_ref()),
            _ => replica_set_spec(&mut errors, &self.spec, old.map(|old| &old.spec)),
        }
        errors.into_vec()
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        workload_warnings(&self.metadata, old.map(|old| &old.metadata), self.spec.template.as_ref())
    }
}

fn replica_set_containers(it: &ReplicaSet) -> &[Container] {
    scale::containers(it.spec.template.as_ref())
}

/// Advice about a workload: about its name when it is new, about its template when its generation rises.
pub(crate) fn workload_warnings(
    metadata: &ObjectMeta,
    old: Option<&ObjectMeta>,
    template: Option<&PodTemplateSpec>,
) -> Vec<String> {
    let at = Path::root("spec");
    let mut found = Vec::new();
    if old.is_none() {
        found.extend(warnings::workload_name(metadata.name.as_deref().unwrap_or_default()));
    }
    if old.is_none_or(|old| old.generation != metadata.generation) {
        found.extend(template.map(|template| warnings::template(&at.child("template"), template)).unwrap_or_default());
    }
    found
}

const EMPTY: &str = "empty selector is invalid for deployment";
const MORE_THAN_ALL: &str = "cannot be greater than status.replicas";

fn deployment_spec(errors: &mut Errors, spec: &DeploymentSpec, old: Option<&DeploymentSpec>) {
    let at = Path::root("spec");
    errors.non_negative(&at.child("replicas"), spec.replicas.unwrap_or_default().into());
    let labels =
        scale::workload_selector(errors, &at.child("selector"), &spec.selector, EMPTY, "invalid label selector");
    if let Some(labels) = &labels {
        let before = old.map(|old| &old.template);
        scale::running_template(errors, &at.child("template"), &spec.template, before, labels, "ReplicaSet");
    }
    strategy(errors, &at.child("strategy"), spec.strategy.as_ref());
    let ready_seconds = spec.min_ready_seconds.unwrap_or_default();
    errors.non_negative(&at.child("minReadySeconds"), ready_seconds.into());
    errors.non_negative(&at.child("revisionHistoryLimit"), spec.revision_history_limit.unwrap_or_default().into());
    if let Some(deadline) = spec.progress_deadline_seconds {
        let at = at.child("progressDeadlineSeconds");
        errors.non_negative(&at, deadline.into());
        if deadline <= ready_seconds {
            errors.invalid(&at, deadline, "must be greater than minReadySeconds");
        }
    }
    if let Some(old) = old {
        scale::same_selector(errors, &at.child("selector"), &spec.selector, &old.selector);
    }
}

fn strategy(errors: &mut Errors, at: &Path<'_>, strategy: Option<&DeploymentStrategy>) {
    let none = DeploymentStrategy::default();
    let strategy = strategy.unwrap_or(&none);
    let rolling = strategy.rolling_update.as_ref();
    let rolling_at = at.child("rollingUpdate");
    match (strategy.type_.as_deref().unwrap_or_default(), rolling) {
        ("Recreate", Some(_)) => {
            errors.forbidden(&rolling_at, "may not be specified when strategy `type` is 'Recreate'");
        }
        ("Recreate", None) => {}
        ("RollingUpdate", None) => errors.required(&rolling_at, "this should be defaulted and never be nil"),
        ("RollingUpdate", Some(rolling)) => rolling_update(errors, &rolling_at, rolling),
        _ => {
            let shown = shown("api.apps.v1.DeploymentStrategy", strategy);
            let detail = format!("{shown}: supported values: \"Recreate\", \"RollingUpdate\"");
            errors.extend([FieldError::new(FieldErrorKind::NotSupported, at, detail)]);
        }
    }
}

fn zero_or(value: Option<&IntOrString>) -> IntOrString {
    value.cloned().unwrap_or(IntOrString::Int(0))
}

fn rolling_update(errors: &mut Errors, at: &Path<'_>, rolling: &RollingUpdateDeployment) {
    let unavailable = zero_or(rolling.max_unavailable.as_ref());
    let surge = zero_or(rolling.max_surge.as_ref());
    let unavailable_at = at.child("maxUnavailable");
    scale::count_or_percent(errors, &unavailable_at, &unavailable);
    scale::count_or_percent(errors, &at.child("maxSurge"), &surge);
    if scale::number(&unavailable) == 0 && scale::number(&surge) == 0 {
        errors.invalid(&unavailable_at, json!(unavailable), "may not be 0 when `maxSurge` is 0");
    }
    scale::at_most_all(errors, &unavailable_at, &unavailable);
}

fn deployment_status(errors: &mut Errors, new: &Deployment, old: &Deployment) {
    let at = Path::root("status");
    let none = DeploymentStatus::default();
    let (status, before) = (new.status.as_ref().unwrap_or(&none), old.status.as_ref().unwrap_or(&none));
    let number = |count: Option<i32>| i64::from(count.unwrap_or_default());
    let (all, ready, available) =
        (number(status.replicas), number(status.ready_replicas), number(status.available_replicas));
    let numbers = [
        ("observedGeneration", status.observed_generation.unwrap_or_default()),
        ("replicas", all),
        ("updatedReplicas", number(status.updated_replicas)),
        ("readyReplicas", ready),
        ("availableReplicas", available),
        ("unavailableReplicas", number(status.unavailable_replicas)),
        ("terminatingReplicas", number(status.terminating_replicas)),
        ("collisionCount", number(status.collision_count)),
    ];
    scale::non_negatives(errors, &at, &numbers);
    let parts = [
        ("updatedReplicas", number(status.updated_replicas)),
        ("readyReplicas", ready),
        ("availableReplicas", available),
    ];
    parts_of_all(errors, &at, &parts, all, ready, available);
    if number(status.collision_count) < number(before.collision_count) {
        errors.invalid(&at.child("collisionCount"), number(status.collision_count), "cannot be decremented");
    }
}

/// Parts may not be more than all, and not more available than ready.
pub(crate) fn parts_of_all(
    errors: &mut Errors,
    at: &Path<'_>,
    parts: &[(&str, i64)],
    all: i64,
    ready: i64,
    available: i64,
) {
    for (field, count) in parts.iter().filter(|(_, count)| *count > all) {
        errors.invalid(&at.child(field), *count, MORE_THAN_ALL);
    }
    if available > ready {
        errors.invalid(&at.child("availableReplicas"), available, "cannot be greater than readyReplicas");
    }
}

fn replica_set_spec(errors: &mut Errors, spec: &ReplicaSetSpec, old: Option<&ReplicaSetSpec>) {
    let at = Path::root("spec");
    errors.non_negative(&at.child("replicas"), spec.replicas.unwrap_or_default().into());
    errors.non_negative(&at.child("minReadySeconds"), spec.min_ready_seconds.unwrap_or_default().into());
    let labels =
        scale::workload_selector(errors, &at.child("selector"), &spec.selector, EMPTY, "invalid label selector");
    if let Some(labels) = &labels {
        let template = spec.template.clone().unwrap_or_default();
        let before = old.and_then(|old| old.template.as_ref());
        scale::running_template(errors, &at.child("template"), &template, before, labels, "ReplicaSet");
    }
    if let Some(old) = old {
        scale::same_selector(errors, &at.child("selector"), &spec.selector, &old.selector);
    }
}

fn replica_set_status(errors: &mut Errors, status: Option<&ReplicaSetStatus>) {
    let at = Path::root("status");
    let Some(status) = status else { return };
    let number = |count: Option<i32>| i64::from(count.unwrap_or_default());
    let (ready, available) = (number(status.ready_replicas), number(status.available_replicas));
    let labelled = number(status.fully_labeled_replicas);
    let numbers = [
        ("replicas", status.replicas.into()),
        ("fullyLabeledReplicas", labelled),
        ("readyReplicas", ready),
        ("availableReplicas", available),
        ("observedGeneration", status.observed_generation.unwrap_or_default()),
        ("terminatingReplicas", number(status.terminating_replicas)),
    ];
    scale::non_negatives(errors, &at, &numbers);
    let parts = [("fullyLabeledReplicas", labelled), ("readyReplicas", ready), ("availableReplicas", available)];
    parts_of_all(errors, &at, &parts, status.replicas.into(), ready, available);
}
