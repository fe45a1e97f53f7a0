//! Other amounts of processor and memory for containers that run.

use k8s_openapi::api::core::v1::{Container, Pod, PodCondition, ResourceRequirements};
use serde::Serialize;

use super::view::View;

/// The condition of a pod whose containers are not yet held to what it asks for.
pub const IN_PROGRESS: &str = "PodResizeInProgress";

/// Whether a running container is held to something else than its pod asks for.
#[must_use]
pub fn is_under_way(pod: &Pod, views: &[View<'_>]) -> bool {
    views.iter().any(|view| view.resize(pod).is_some())
}

/// Whether the last status says so.
#[must_use]
pub fn was_under_way(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|one: &PodCondition| one.type_ == IN_PROGRESS)
}

/// Whether a container asks to be restarted for what is to change.
///
/// Source: kubelet `computePodResizeAction`.
#[must_use]
pub fn restarts(view: &View<'_>, pod: &Pod) -> bool {
    let Some((now, wanted)) = view.resize(pod) else { return false };
    let cpu = (now.cpu_request_millis, now.cpu_limit_millis) != (wanted.cpu_request_millis, wanted.cpu_limit_millis);
    let memory = now.memory_limit_bytes != wanted.memory_limit_bytes;
    view.spec.resize_policy.iter().flatten().any(|policy| {
        let changes = (policy.resource_name == "cpu" && cpu) || (policy.resource_name == "memory" && memory);
        changes && policy.restart_policy == "RestartContainer"
    })
}

/// What a pod's containers ask for.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    init_containers: Vec<Asked<'a>>,
    containers: Vec<Asked<'a>>,
    generation: i64,
}

#[derive(Serialize)]
struct Asked<'a> {
    name: &'a str,
    resources: ResourceRequirements,
}

/// What containers ask for, as events tell it.
///
/// Source: kubelet `makeResourceSummaryFromSpec`.
#[must_use]
pub fn summary(pod: &Pod) -> String {
    fn asked(container: &Container) -> Asked<'_> {
        Asked { name: &container.name, resources: container.resources.clone().unwrap_or_default() }
    }
    let spec = pod.spec.as_ref();
    let summary = Summary {
        init_containers: spec.iter().flat_map(|spec| spec.init_containers.iter().flatten()).map(asked).collect(),
        containers: spec.iter().flat_map(|spec| &spec.containers).map(asked).collect(),
        generation: pod.metadata.generation.unwrap_or_default(),
    };
    serde_json::to_string(&summary).expect("a summary has string keys alone")
}
