//! Deployments and replica sets: pods from a template.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStatus, ReplicaSet, ReplicaSetStatus};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::pod::{defaults, same, set_generation};
use crate::kind::{Column, Rules, Selectable, Subresource, Write};
use crate::table;

const CONTAINERS: &str = "Names of each container in the template.";
const IMAGES: &str = "Images referenced by each container in the template.";

impl Rules for Deployment {
    const SHORT: &'static [&'static str] = &["deploy"];
    const CATEGORIES: &'static [&'static str] = &["all"];
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::Status, Subresource::Scale];
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
        table::wide("Containers", CONTAINERS, |it, _| table::containers(deployment_containers(it))),
        table::wide("Images", IMAGES, |it, _| table::images(deployment_containers(it))),
        table::wide(
            "Selector",
            "Label selector for pods. Existing ReplicaSets whose pods are selected by this will be the ones affected \
             by this deployment. It must match the pod template's labels.",
            |it, _| table::selector(&it.spec.selector).unwrap_or_else(|| "<invalid>".to_owned()).into(),
        ),
    ];

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
}

fn deployment_containers(it: &Deployment) -> &[k8s_openapi::api::core::v1::Container] {
    it.spec.template.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default()
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
    const SHORT: &'static [&'static str] = &["rs"];
    const CATEGORIES: &'static [&'static str] = &["all"];
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
        table::wide("Containers", CONTAINERS, |it, _| table::containers(replica_set_containers(it))),
        table::wide("Images", IMAGES, |it, _| table::images(replica_set_containers(it))),
        table::wide(
            "Selector",
            "Selector is a label query over pods that should match the replica count. Label keys and values that must \
             match in order to be controlled by this replica set. It must match the pod template's labels. More info: \
             https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors",
            |it, _| table::selector_cell(Some(&it.spec.selector)),
        ),
    ];
    const SELECTABLE: &'static [Selectable<Self>] = &[Selectable {
        field: "status.replicas",
        value: |it| it.status.as_ref().map_or(0, |status| status.replicas).to_string(),
    }];

    fn fill_defaults(&mut self) {
        let spec = &mut self.spec;
        spec.replicas.get_or_insert(1);
        defaults::template(spec.template.get_or_insert_default());
    }

    fn prepare(&mut self, old: Option<&Self>, write: Write) {
        match (old, write) {
            (None, _) => {
                self.metadata.generation = Some(1);
                self.status = Some(ReplicaSetStatus::default());
            }
            (Some(old), Write::Status) => {
                self.metadata.generation = old.metadata.generation;
                self.spec.clone_from(&old.spec);
            }
            (Some(old), _) => {
                self.status.clone_from(&old.status);
                let changed = !same(&self.spec, &old.spec);
                set_generation(&mut self.metadata.generation, old.metadata.generation, changed);
            }
        }
    }
}

fn replica_set_containers(it: &ReplicaSet) -> &[k8s_openapi::api::core::v1::Container] {
    let spec = it.spec.template.as_ref().and_then(|template| template.spec.as_ref());
    spec.map(|spec| spec.containers.as_slice()).unwrap_or_default()
}
