//! What the older face keeps in annotations, in the texts that upstream writes.
//!
//! Fields stand in upstream's order, since the annotations hold them as text.

use k8s_openapi::api::autoscaling::v2::{
    ContainerResourceMetricSource, ContainerResourceMetricStatus, CrossVersionObjectReference, ExternalMetricSource,
    ExternalMetricStatus, HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscalerBehavior, MetricIdentifier,
    MetricSpec, MetricStatus, MetricTarget, MetricValueStatus, ObjectMetricSource, ObjectMetricStatus,
    PodsMetricSource, PodsMetricStatus, ResourceMetricSource, ResourceMetricStatus,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::object::Object;

pub(super) const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
pub(super) const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
pub(super) const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
pub(super) const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
/// All that are taken out on the way; the last two were written by older servers.
const ALL: [&str; 6] = [
    METRICS,
    CURRENT_METRICS,
    CONDITIONS,
    BEHAVIOR,
    "autoscaling.alpha.kubernetes.io/scale-down-tolerance",
    "autoscaling.alpha.kubernetes.io/scale-up-tolerance",
];

/// The annotations of one object, by key.
pub(super) struct Notes(Map<String, Value>);

impl Notes {
    /// The value of one; what can't be read counts as absent, as upstream has it.
    pub(super) fn read<T: DeserializeOwned>(&mut self, key: &str) -> Option<T> {
        serde_json::from_str(self.0.remove(key)?.as_str()?).ok()
    }
}

/// Takes them out of an object.
pub(super) fn take(object: &mut Object) -> Notes {
    let mut found = Map::new();
    for key in ALL {
        let path = ["metadata", "annotations", key];
        if let Some(value) = object.at(&path).cloned() {
            object.remove(&path);
            found.insert(key.to_owned(), value);
        }
    }
    Notes(found)
}

/// Writes one.
pub(super) fn note<T: Serialize + ?Sized>(object: &mut Object, key: &str, value: &T) {
    let text = serde_json::to_string(value).expect("texts, numbers, lists and maps of them can be written");
    object.set(&["metadata", "annotations", key], text.into());
}

/// Writes one that is a list, unless it is empty.
pub(super) fn note_all<T: Serialize>(object: &mut Object, key: &str, values: &[T]) {
    if !values.is_empty() {
        note(object, key, values);
    }
}

/// The share of processor time that a metric asks for, if it asks for that.
pub(super) fn cpu_share(metric: &MetricSpec) -> Option<i32> {
    let source = metric.resource.as_ref().filter(|source| metric.type_ == "Resource" && source.name == "cpu")?;
    source.target.average_utilization
}

/// The share of processor time that a state of a metric tells.
pub(super) fn cpu_used(metric: &MetricStatus) -> Option<i32> {
    let state = metric.resource.as_ref().filter(|state| metric.type_ == "Resource" && state.name == "cpu")?;
    state.current.average_utilization
}

/// The state of the metric of processor time.
pub(super) fn cpu_now(share: i32) -> MetricStatus {
    let current = MetricValueStatus { average_utilization: Some(share), ..MetricValueStatus::default() };
    MetricStatus {
        type_: "Resource".to_owned(),
        resource: Some(ResourceMetricStatus { name: "cpu".to_owned(), current }),
        ..MetricStatus::default()
    }
}

#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Target {
    kind: String,
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    api_version: String,
}

impl Target {
    fn of(reference: &CrossVersionObjectReference) -> Self {
        Self {
            kind: reference.kind.clone(),
            name: reference.name.clone(),
            api_version: reference.api_version.clone().unwrap_or_default(),
        }
    }

    fn newer(self) -> CrossVersionObjectReference {
        let api_version = Some(self.api_version).filter(|version| !version.is_empty());
        CrossVersionObjectReference { kind: self.kind, name: self.name, api_version }
    }
}

/// Metrics and their states differ in what they say of a source, not in how they name it.
macro_rules! sources {
    ($(#[$doc:meta])* $name:ident { $object:ident, $pods:ident, $resource:ident, $container:ident, $external:ident }) => {
        $(#[$doc])*
        #[derive(Default, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub(super) struct $name {
            #[serde(rename = "type")]
            type_: String,
            #[serde(skip_serializing_if = "Option::is_none")]
            object: Option<$object>,
            #[serde(skip_serializing_if = "Option::is_none")]
            pods: Option<$pods>,
            #[serde(skip_serializing_if = "Option::is_none")]
            resource: Option<$resource>,
            #[serde(skip_serializing_if = "Option::is_none")]
            container_resource: Option<$container>,
            #[serde(skip_serializing_if = "Option::is_none")]
            external: Option<$external>,
        }
    };
}

sources! {
    /// A metric in the older form.
    Metric { OfObject, OfPods, OfResource, OfContainer, External }
}
sources! {
    /// The state of a metric in the older form.
    Current { ObjectNow, PodsNow, ResourceNow, ContainerNow, ExternalNow }
}

fn zero() -> Quantity {
    Quantity("0".to_owned())
}

fn is_zero(amount: &Quantity) -> bool {
    crate::quantity::Quantity::from(amount).sign() == 0
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfObject {
    #[serde(default)]
    target: Target,
    #[serde(default)]
    metric_name: String,
    #[serde(default = "zero")]
    target_value: Quantity,
    #[serde(skip_serializing_if = "Option::is_none")]
    selector: Option<LabelSelector>,
    #[serde(skip_serializing_if = "Option::is_none")]
    average_value: Option<Quantity>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfPods {
    #[serde(default)]
    metric_name: String,
    #[serde(default = "zero")]
    target_average_value: Quantity,
    #[serde(skip_serializing_if = "Option::is_none")]
    selector: Option<LabelSelector>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfResource {
    #[serde(default)]
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_average_utilization: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_average_value: Option<Quantity>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfContainer {
    #[serde(flatten)]
    resource: OfResource,
    #[serde(default)]
    container: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct External {
    #[serde(default)]
    metric_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    metric_selector: Option<LabelSelector>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_value: Option<Quantity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_average_value: Option<Quantity>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ObjectNow {
    #[serde(default)]
    target: Target,
    #[serde(default)]
    metric_name: String,
    #[serde(default = "zero")]
    current_value: Quantity,
    #[serde(skip_serializing_if = "Option::is_none")]
    selector: Option<LabelSelector>,
    #[serde(skip_serializing_if = "Option::is_none")]
    average_value: Option<Quantity>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodsNow {
    #[serde(default)]
    metric_name: String,
    #[serde(default = "zero")]
    current_average_value: Quantity,
    #[serde(skip_serializing_if = "Option::is_none")]
    selector: Option<LabelSelector>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceNow {
    #[serde(default)]
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_average_utilization: Option<i32>,
    #[serde(default = "zero")]
    current_average_value: Quantity,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerNow {
    #[serde(flatten)]
    resource: ResourceNow,
    #[serde(default)]
    container: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExternalNow {
    #[serde(default)]
    metric_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    metric_selector: Option<LabelSelector>,
    #[serde(default = "zero")]
    current_value: Quantity,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_average_value: Option<Quantity>,
}

fn named(name: String, selector: Option<LabelSelector>) -> MetricIdentifier {
    MetricIdentifier { name, selector }
}

fn target(type_: &str) -> MetricTarget {
    MetricTarget { type_: type_.to_owned(), ..MetricTarget::default() }
}

/// What is asked of a resource: a share, or else an amount.
fn resource_target(share: Option<i32>, amount: Option<Quantity>) -> MetricTarget {
    let type_ = if share.is_some() { "Utilization" } else { "AverageValue" };
    MetricTarget { average_utilization: share, average_value: amount, ..target(type_) }
}

impl Metric {
    pub(super) fn of(metric: &MetricSpec) -> Self {
        let resource = |name: &str, target: &MetricTarget| OfResource {
            name: name.to_owned(),
            target_average_utilization: target.average_utilization,
            target_average_value: target.average_value.clone(),
        };
        Self {
            type_: metric.type_.clone(),
            object: metric.object.as_ref().map(|it| OfObject {
                target: Target::of(&it.described_object),
                metric_name: it.metric.name.clone(),
                target_value: it.target.value.clone().unwrap_or_else(zero),
                selector: it.metric.selector.clone(),
                average_value: it.target.average_value.clone(),
            }),
            pods: metric.pods.as_ref().map(|it| OfPods {
                metric_name: it.metric.name.clone(),
                target_average_value: it.target.average_value.clone().unwrap_or_else(zero),
                selector: it.metric.selector.clone(),
            }),
            resource: metric.resource.as_ref().map(|it| resource(&it.name, &it.target)),
            container_resource: metric
                .container_resource
                .as_ref()
                .map(|it| OfContainer { resource: resource(&it.name, &it.target), container: it.container.clone() }),
            external: metric.external.as_ref().map(|it| External {
                metric_name: it.metric.name.clone(),
                metric_selector: it.metric.selector.clone(),
                target_value: it.target.value.clone(),
                target_average_value: it.target.average_value.clone(),
            }),
        }
    }

    pub(super) fn newer(self) -> MetricSpec {
        MetricSpec {
            type_: self.type_,
            object: self.object.map(OfObject::newer),
            pods: self.pods.map(|it| PodsMetricSource {
                metric: named(it.metric_name, it.selector),
                target: MetricTarget { average_value: Some(it.target_average_value), ..target("AverageValue") },
            }),
            resource: self.resource.map(|it| ResourceMetricSource {
                name: it.name,
                target: resource_target(it.target_average_utilization, it.target_average_value),
            }),
            container_resource: self.container_resource.map(|it| ContainerResourceMetricSource {
                name: it.resource.name,
                container: it.container,
                target: resource_target(it.resource.target_average_utilization, it.resource.target_average_value),
            }),
            external: self.external.map(|it| {
                let type_ = if it.target_value.is_none() { "AverageValue" } else { "Value" };
                ExternalMetricSource {
                    metric: named(it.metric_name, it.metric_selector),
                    target: MetricTarget {
                        value: it.target_value,
                        average_value: it.target_average_value,
                        ..target(type_)
                    },
                }
            }),
        }
    }
}

impl OfObject {
    fn newer(self) -> ObjectMetricSource {
        let averaged = self.average_value.is_some();
        // The older form always writes the value, so that 0 beside an average stands for none.
        let value = Some(self.target_value).filter(|value| !averaged || !is_zero(value));
        let type_ = if averaged { "AverageValue" } else { "Value" };
        ObjectMetricSource {
            described_object: self.target.newer(),
            metric: named(self.metric_name, self.selector),
            target: MetricTarget { value, average_value: self.average_value, ..target(type_) },
        }
    }
}

impl Current {
    pub(super) fn of(metric: &MetricStatus) -> Self {
        let average = |current: &MetricValueStatus| current.average_value.clone().unwrap_or_else(zero);
        let resource = |name: &str, current: &MetricValueStatus| ResourceNow {
            name: name.to_owned(),
            current_average_utilization: current.average_utilization,
            current_average_value: average(current),
        };
        Self {
            type_: metric.type_.clone(),
            object: metric.object.as_ref().map(|it| ObjectNow {
                target: Target::of(&it.described_object),
                metric_name: it.metric.name.clone(),
                current_value: it.current.value.clone().unwrap_or_else(zero),
                selector: it.metric.selector.clone(),
                average_value: it.current.average_value.clone(),
            }),
            pods: metric.pods.as_ref().map(|it| PodsNow {
                metric_name: it.metric.name.clone(),
                current_average_value: average(&it.current),
                selector: it.metric.selector.clone(),
            }),
            resource: metric.resource.as_ref().map(|it| resource(&it.name, &it.current)),
            container_resource: metric
                .container_resource
                .as_ref()
                .map(|it| ContainerNow { resource: resource(&it.name, &it.current), container: it.container.clone() }),
            external: metric.external.as_ref().map(|it| ExternalNow {
                metric_name: it.metric.name.clone(),
                metric_selector: it.metric.selector.clone(),
                current_value: it.current.value.clone().unwrap_or_else(zero),
                current_average_value: it.current.average_value.clone(),
            }),
        }
    }

    pub(super) fn newer(self) -> MetricStatus {
        let resource = |share, amount| MetricValueStatus {
            average_utilization: share,
            average_value: Some(amount),
            ..MetricValueStatus::default()
        };
        let value = |value, average_value| MetricValueStatus {
            value: Some(value),
            average_value,
            ..MetricValueStatus::default()
        };
        MetricStatus {
            type_: self.type_,
            object: self.object.map(|it| ObjectMetricStatus {
                described_object: it.target.newer(),
                metric: named(it.metric_name, it.selector),
                current: value(it.current_value, it.average_value),
            }),
            pods: self.pods.map(|it| PodsMetricStatus {
                metric: named(it.metric_name, it.selector),
                current: resource(None, it.current_average_value),
            }),
            resource: self.resource.map(|it| ResourceMetricStatus {
                name: it.name,
                current: resource(it.current_average_utilization, it.current_average_value),
            }),
            container_resource: self.container_resource.map(|it| ContainerResourceMetricStatus {
                name: it.resource.name,
                container: it.container,
                current: resource(it.resource.current_average_utilization, it.resource.current_average_value),
            }),
            external: self.external.map(|it| ExternalMetricStatus {
                metric: named(it.metric_name, it.metric_selector),
                current: value(it.current_value, it.current_average_value),
            }),
        }
    }
}

/// A condition in upstream's order of fields.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Condition {
    #[serde(rename = "type", default)]
    type_: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    last_transition_time: Value,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    reason: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    observed_generation: Option<i64>,
}

/// The behaviour, under the names that upstream's own programs give to its fields.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Behavior {
    #[serde(alias = "scaleUp")]
    scale_up: Option<Pace>,
    #[serde(alias = "scaleDown")]
    scale_down: Option<Pace>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Pace {
    #[serde(alias = "stabilizationWindowSeconds")]
    stabilization_window_seconds: Option<i32>,
    #[serde(alias = "selectPolicy")]
    select_policy: Option<String>,
    #[serde(alias = "policies")]
    policies: Option<Vec<Step>>,
    #[serde(alias = "tolerance")]
    tolerance: Option<Quantity>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Step {
    #[serde(rename = "Type", alias = "type")]
    type_: String,
    #[serde(alias = "value")]
    value: i32,
    #[serde(alias = "periodSeconds")]
    period_seconds: i32,
}

impl Behavior {
    pub(super) fn of(behavior: &HorizontalPodAutoscalerBehavior) -> Self {
        Self {
            scale_up: behavior.scale_up.as_ref().map(Pace::of),
            scale_down: behavior.scale_down.as_ref().map(Pace::of),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.scale_up.is_none() && self.scale_down.is_none()
    }

    pub(super) fn newer(self) -> HorizontalPodAutoscalerBehavior {
        HorizontalPodAutoscalerBehavior {
            scale_up: self.scale_up.map(Pace::newer),
            scale_down: self.scale_down.map(Pace::newer),
        }
    }
}

impl Pace {
    fn of(rules: &HPAScalingRules) -> Self {
        let step = |policy: &HPAScalingPolicy| Step {
            type_: policy.type_.clone(),
            value: policy.value,
            period_seconds: policy.period_seconds,
        };
        Self {
            stabilization_window_seconds: rules.stabilization_window_seconds,
            select_policy: rules.select_policy.clone(),
            policies: rules.policies.as_ref().map(|all| all.iter().map(step).collect()),
            tolerance: rules.tolerance.clone(),
        }
    }

    fn newer(self) -> HPAScalingRules {
        let policy =
            |step: Step| HPAScalingPolicy { type_: step.type_, value: step.value, period_seconds: step.period_seconds };
        HPAScalingRules {
            stabilization_window_seconds: self.stabilization_window_seconds,
            select_policy: self.select_policy,
            policies: self.policies.map(|all| all.into_iter().map(policy).collect()),
            tolerance: self.tolerance,
        }
    }
}
