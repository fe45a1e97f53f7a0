//! Replication controllers, pod templates of their own, revisions of workloads.

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{
    Container, PodTemplate, ReplicationController, ReplicationControllerSpec, ReplicationControllerStatus,
};
use serde_json::{Value, json};

use super::check::{Errors, Path};
use super::pod::{defaults, same, set_generation, validate, warnings};
use super::{parts, scale, workload};
use crate::kind::{Column, Rules, Selectable, Subresource, Write};
use crate::meta::{MetaRules, Repeats};
use crate::selector::Labels;
use crate::status::FieldError;
use crate::table;

impl Rules for ReplicationController {
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::Status, Subresource::Scale];
    const COLUMNS: &'static [Column<Self>] = &[
        table::name(),
        table::integer(
            "Desired",
            "Replicas is the number of desired replicas. This is a pointer to distinguish between explicit zero and \
             unspecified. Defaults to 1. More info: \
             https://kubernetes.io/docs/concepts/workloads/controllers/replicationcontroller#what-is-a-replicationcontroller",
            |it, _| it.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or_default().into(),
        ),
        table::integer(
            "Current",
            "Replicas is the most recently observed number of replicas. More info: \
             https://kubernetes.io/docs/concepts/workloads/controllers/replicationcontroller#what-is-a-replicationcontroller",
            |it, _| it.status.as_ref().map_or(0, |status| status.replicas).into(),
        ),
        table::integer("Ready", "The number of ready replicas for this replication controller.", |it, _| {
            it.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or_default().into()
        }),
        table::age(),
        table::wide("Containers", scale::CONTAINERS, |it, _| table::containers(containers(it))),
        table::wide("Images", scale::IMAGES, |it, _| table::images(containers(it))),
        table::wide(
            "Selector",
            "Selector is a label query over pods that should match the Replicas count. If Selector is empty, it is \
             defaulted to the labels present on the Pod template. Label keys and values that must match in order to be \
             controlled by this replication controller, if empty defaulted to labels on Pod template. More info: \
             https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors",
            |it, _| table::labels(it.spec.as_ref().and_then(|spec| spec.selector.as_ref())),
        ),
    ];
    const SELECTABLE: &'static [Selectable] = &[Selectable::number("status.replicas")];

    fn fill_defaults(&mut self) {
        let spec = self.spec.get_or_insert_default();
        spec.replicas.get_or_insert(1);
        let Some(template) = &mut spec.template else { return };
        defaults::template(template);
        let labels = template.metadata.as_ref().and_then(|metadata| metadata.labels.as_ref());
        if let Some(labels) = labels.filter(|labels| !labels.is_empty()) {
            if spec.selector.as_ref().is_none_or(|own| own.is_empty()) {
                spec.selector = Some(labels.clone());
            }
            if self.metadata.labels.as_ref().is_none_or(|own| own.is_empty()) {
                self.metadata.labels = Some(labels.clone());
            }
        }
    }

    fn prepare(&mut self, old: Option<&Self>, write: Write) {
        let old = old.map(|old| (&old.metadata, &old.spec, &old.status));
        parts::prepare_counted((&mut self.metadata, &mut self.spec, &mut self.status), old, write);
    }

    fn validate(&self, old: Option<&Self>, write: Write) -> Vec<FieldError> {
        let mut errors = Errors::default();
        match (old, write) {
            (Some(_), Write::Status) => controller_status(&mut errors, self.status.as_ref()),
            (old, _) => {
                let none = ReplicationControllerSpec::default();
                let before = old.and_then(|old| old.spec.as_ref());
                controller_spec(&mut errors, self.spec.as_ref().unwrap_or(&none), before);
            }
        }
        errors.into_vec()
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let template = self.spec.as_ref().and_then(|spec| spec.template.as_ref());
        workload::workload_warnings(&self.metadata, old.map(|old| &old.metadata), template)
    }
}

fn containers(it: &ReplicationController) -> &[Container] {
    scale::containers(it.spec.as_ref().and_then(|spec| spec.template.as_ref()))
}

fn controller_spec(errors: &mut Errors, spec: &ReplicationControllerSpec, old: Option<&ReplicationControllerSpec>) {
    let at = Path::root("spec");
    errors.non_negative(&at.child("minReadySeconds"), spec.min_ready_seconds.unwrap_or_default().into());
    let selector = spec.selector.clone().unwrap_or_default();
    if selector.is_empty() {
        errors.required(&at.child("selector"), "");
    }
    errors.non_negative(&at.child("replicas"), spec.replicas.unwrap_or_default().into());
    let template_at = at.child("template");
    match &spec.template {
        None => errors.required(&template_at, ""),
        Some(template) => {
            let labels = Labels::equal(selector.iter());
            let before = old.and_then(|old| old.template.as_ref());
            scale::running_template(errors, &template_at, template, before, &labels, "ReplicationController");
        }
    }
}

fn controller_status(errors: &mut Errors, status: Option<&ReplicationControllerStatus>) {
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
    ];
    scale::non_negatives(errors, &at, &numbers);
    let parts = [("fullyLabeledReplicas", labelled), ("readyReplicas", ready), ("availableReplicas", available)];
    workload::parts_of_all(errors, &at, &parts, status.replicas.into(), ready, available);
}

impl Rules for PodTemplate {
    const COLUMNS: &'static [Column<Self>] = &[
        table::name(),
        table::text("Containers", scale::CONTAINERS, |it, _| {
            table::containers(scale::containers(it.template.as_ref()))
        }),
        table::text("Images", scale::IMAGES, |it, _| table::images(scale::containers(it.template.as_ref()))),
        table::text("Pod Labels", "The labels for the pod template.", |it, _| {
            let metadata = it.template.as_ref().and_then(|template| template.metadata.as_ref());
            table::labels(metadata.and_then(|metadata| metadata.labels.as_ref()))
        }),
    ];

    fn fill_defaults(&mut self) {
        defaults::template(self.template.get_or_insert_default());
    }

    fn prepare(&mut self, old: Option<&Self>, _: Write) {
        match old {
            None => self.metadata.generation = Some(1),
            Some(old) => {
                let changed = !same(&self.template, &old.template);
                set_generation(&mut self.metadata.generation, old.metadata.generation, changed);
            }
        }
    }

    fn validate(&self, old: Option<&Self>, _: Write) -> Vec<FieldError> {
        let mut errors = Errors::default();
        let template = self.template.clone().unwrap_or_default();
        let before = old.and_then(|old| old.template.as_ref());
        validate::template(&mut errors, &Path::root("template"), &template, before);
        errors.into_vec()
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let changed = old.is_none_or(|old| old.metadata.generation != self.metadata.generation);
        let template = self.template.as_ref().filter(|_| changed);
        template.map(|template| warnings::template(&Path::root("template"), template)).unwrap_or_default()
    }
}

impl Rules for ControllerRevision {
    const META: MetaRules = MetaRules::COMMON.repeating(Repeats::Both);
    const COLUMNS: &'static [Column<Self>] = &[
        table::name(),
        table::text("Controller", "Controller of the object", |it, _| controller(it)),
        table::text("Revision", "Revision indicates the revision of the state represented by Data.", |it, _| {
            it.revision.unwrap_or_default().into()
        }),
        table::age(),
    ];

    fn validate(&self, old: Option<&Self>, _: Write) -> Vec<FieldError> {
        let mut errors = Errors::default();
        errors.non_negative(&Path::root("revision"), self.revision.unwrap_or_default());
        let at = Path::root("data");
        match old {
            None if self.data.0.is_null() => errors.required(&at, "data is mandatory"),
            None if !self.data.0.is_object() => errors.required(&at, "data must be a valid JSON object"),
            Some(old) if old.data != self.data => errors.invalid(&at, json!(self.data.0), "field is immutable"),
            _ => {}
        }
        errors.into_vec()
    }
}

/// `statefulset.apps/web`
fn controller(it: &ControllerRevision) -> Value {
    let owners = it.metadata.owner_references.iter().flatten();
    let Some(owner) = owners.into_iter().find(|owner| owner.controller == Some(true)) else {
        return table::NONE.into();
    };
    let kind = owner.kind.to_lowercase();
    match owner.api_version.split_once('/') {
        Some((group, _)) => format!("{kind}.{group}/{}", owner.name),
        None => format!("{kind}/{}", owner.name),
    }
    .into()
}
