//! The older face: one share of processor time as a field, everything else as annotations.
//!
//! Source: `pkg/apis/autoscaling/v1/conversion.go`.

use k8s_openapi::api::autoscaling::v1::HorizontalPodAutoscaler;
use k8s_openapi::api::autoscaling::v2;
use k8s_openapi::api::autoscaling::v2::{MetricSpec, MetricStatus};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::v1_annotations::{self as annotations, BEHAVIOR, CONDITIONS, CURRENT_METRICS, METRICS};
use super::{CPU_PERCENT, columns, cpu};
use crate::canonical;
use crate::key::Resource;
use crate::kind::{Column, Rules, StoredAs, Subresource, Typed, Write};
use crate::object::Object;
use crate::status::FieldError;
use crate::structure::schema;

const CPU_TARGET: &[&str] = &["spec", "targetCPUUtilizationPercentage"];
const CPU_NOW: &[&str] = &["status", "currentCPUUtilizationPercentage"];

impl Rules for HorizontalPodAutoscaler {
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::Status];
    const STORED_AS: Option<StoredAs> = Some(StoredAs {
        resource: Resource::of::<v2::HorizontalPodAutoscaler>(),
        write: |_, object| to_stored(object),
        read: |_, object| from_stored(object),
    });
    const COLUMNS: &'static [Column<Self>] = columns::columns!(newer);

    /// Brings it into the form that it comes back in: what the newer face can't say is dropped.
    fn fill_untyped(object: &mut Object) {
        to_stored(object);
        from_stored(object);
    }

    fn fill_defaults(&mut self) {
        self.spec.min_replicas.get_or_insert(1);
    }

    fn prepare(&mut self, old: Option<&Self>, write: Write) {
        let mut object = newer(self);
        object.prepare(old.map(newer).as_ref(), write);
        let mut written = object.to_object();
        from_stored(&mut written);
        *self = Self::from_object(&written).expect("what the conversion writes is of the older form");
    }

    fn validate(&self, old: Option<&Self>, write: Write) -> Vec<FieldError> {
        newer(self).validate(old.map(newer).as_ref(), write)
    }
}

/// The same autoscaler in the newer form.
fn newer(autoscaler: &HorizontalPodAutoscaler) -> v2::HorizontalPodAutoscaler {
    let mut object = autoscaler.to_object();
    to_stored(&mut object);
    v2::HorizontalPodAutoscaler::from_object(&object).expect("what the conversion writes is of the newer form")
}

fn taken<T: DeserializeOwned>(object: &mut Object, path: &[&str]) -> Option<T> {
    let value = object.at(path).filter(|value| !value.is_null()).cloned();
    object.remove(path);
    value.and_then(|value| serde_json::from_value(value).ok())
}

fn put<T: Serialize>(object: &mut Object, path: &[&str], values: &[T]) {
    if !values.is_empty() {
        object.set(path, json!(values));
    }
}

fn shape(object: &mut Object, version: &str) {
    object.set(&["apiVersion"], format!("autoscaling/{version}").into());
    if let Some(structure) = schema().structure("autoscaling", version, "HorizontalPodAutoscaler") {
        canonical::structured(&structure, object.map_mut());
    }
}

fn to_stored(object: &mut Object) {
    let mut notes = annotations::take(object);
    let share: Option<i32> = taken(object, CPU_TARGET);
    let mut metrics: Vec<MetricSpec> = notes
        .read(METRICS)
        .map(|all: Vec<_>| all.into_iter().map(annotations::Metric::newer).collect())
        .unwrap_or_default();
    metrics.extend(share.map(cpu));
    if metrics.is_empty() {
        metrics.push(cpu(CPU_PERCENT));
    }
    put(object, &["spec", "metrics"], &metrics);
    if let Some(behavior) = notes.read::<annotations::Behavior>(BEHAVIOR).filter(|behavior| !behavior.is_empty()) {
        object.set(&["spec", "behavior"], json!(behavior.newer()));
    }
    let used: Option<i32> = taken(object, CPU_NOW);
    let current: Option<Vec<annotations::Current>> = notes.read(CURRENT_METRICS);
    let current: Vec<MetricStatus> = match current {
        Some(all) => all.into_iter().map(annotations::Current::newer).collect(),
        None => used.map(annotations::cpu_now).into_iter().collect(),
    };
    put(object, &["status", "currentMetrics"], &current);
    let conditions: Vec<annotations::Condition> = notes.read(CONDITIONS).unwrap_or_default();
    put(object, &["status", "conditions"], &conditions);
    shape(object, "v2");
}

fn from_stored(object: &mut Object) {
    annotations::take(object);
    let metrics: Vec<MetricSpec> = taken(object, &["spec", "metrics"]).unwrap_or_default();
    let is_cpu = |one: &&MetricSpec| annotations::cpu_share(one).is_some();
    if let Some(share) = metrics.iter().find_map(annotations::cpu_share) {
        object.set(CPU_TARGET, share.into());
    }
    let others: Vec<_> = metrics.iter().filter(|one| !is_cpu(one)).map(annotations::Metric::of).collect();
    annotations::note_all(object, METRICS, &others);
    let current: Vec<MetricStatus> = taken(object, &["status", "currentMetrics"]).unwrap_or_default();
    if let Some(used) = current.iter().filter_map(annotations::cpu_used).next_back() {
        object.set(CPU_NOW, used.into());
    }
    let current: Vec<_> = current.iter().map(annotations::Current::of).collect();
    annotations::note_all(object, CURRENT_METRICS, &current);
    let behavior: Option<v2::HorizontalPodAutoscalerBehavior> = taken(object, &["spec", "behavior"]);
    if let Some(behavior) = behavior {
        annotations::note(object, BEHAVIOR, &annotations::Behavior::of(&behavior));
    }
    let conditions: Vec<annotations::Condition> = taken(object, &["status", "conditions"]).unwrap_or_default();
    annotations::note_all(object, CONDITIONS, &conditions);
    shape(object, "v1");
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn object(value: Value) -> Object {
        let mut value = value;
        value["kind"] = json!("HorizontalPodAutoscaler");
        Object::try_from(value).unwrap()
    }

    fn full() -> Object {
        let mut object = object(json!({
            "apiVersion": "autoscaling/v2",
            "metadata": {"name": "h", "annotations": {"mine": "1"}},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"},
                "minReplicas": 2, "maxReplicas": 3,
                "metrics": [
                    {"type": "Pods", "pods": {"metric": {"name": "qps"},
                                              "target": {"type": "AverageValue", "averageValue": "1k"}}},
                    {"type": "Object", "object": {
                        "describedObject": {"apiVersion": "v1", "kind": "Service", "name": "s"},
                        "metric": {"name": "hits"}, "target": {"type": "Value", "value": "100"}}},
                    {"type": "External", "external": {"metric": {"name": "q", "selector": {"matchLabels": {"a": "b"}}},
                                                      "target": {"type": "AverageValue", "averageValue": "30"}}},
                    {"type": "ContainerResource", "containerResource": {
                        "name": "memory", "container": "c", "target": {"type": "AverageValue", "averageValue": "1Mi"}}},
                    {"type": "Resource", "resource": {"name": "cpu",
                                                      "target": {"type": "Utilization", "averageUtilization": 60}}}
                ],
                "behavior": {"scaleUp": {"stabilizationWindowSeconds": 0, "selectPolicy": "Max",
                                         "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}]}}
            },
            "status": {
                "currentReplicas": 2, "desiredReplicas": 3,
                "currentMetrics": [{"type": "Resource", "resource": {"name": "cpu", "current": {
                    "averageUtilization": 70, "averageValue": "70m"}}}],
                "conditions": [{"type": "AbleToScale", "status": "True", "reason": "R", "message": "m",
                                "lastTransitionTime": "2026-01-01T00:00:00Z"}]
            }
        }));
        shape(&mut object, "v2");
        object
    }

    #[test]
    fn nothing_is_lost_on_the_way_there_and_back() {
        let mut object = full();
        from_stored(&mut object);
        assert_eq!(object.at(CPU_TARGET), Some(&json!(60)));
        assert_eq!(object.at(CPU_NOW), Some(&json!(70)));
        to_stored(&mut object);
        assert_eq!(object, full());
    }

    #[test]
    fn annotations_are_written_as_upstream_writes_them() {
        let mut object = full();
        from_stored(&mut object);
        let texts = [
            (
                METRICS,
                r#"[{"type":"Pods","pods":{"metricName":"qps","targetAverageValue":"1k"}},{"type":"Object","object":{"target":{"kind":"Service","name":"s","apiVersion":"v1"},"metricName":"hits","targetValue":"100"}},{"type":"External","external":{"metricName":"q","metricSelector":{"matchLabels":{"a":"b"}},"targetAverageValue":"30"}},{"type":"ContainerResource","containerResource":{"name":"memory","targetAverageValue":"1Mi","container":"c"}}]"#,
            ),
            (
                BEHAVIOR,
                r#"{"ScaleUp":{"StabilizationWindowSeconds":0,"SelectPolicy":"Max","Policies":[{"Type":"Pods","Value":4,"PeriodSeconds":15}],"Tolerance":null},"ScaleDown":null}"#,
            ),
            (
                CURRENT_METRICS,
                r#"[{"type":"Resource","resource":{"name":"cpu","currentAverageUtilization":70,"currentAverageValue":"70m"}}]"#,
            ),
            (
                CONDITIONS,
                r#"[{"type":"AbleToScale","status":"True","lastTransitionTime":"2026-01-01T00:00:00Z","reason":"R","message":"m"}]"#,
            ),
        ];
        for (key, text) in texts {
            assert_eq!(object.annotation(key), Some(text));
        }
        assert_eq!(object.annotation("mine"), Some("1"));
    }

    #[test]
    fn a_bare_one_scales_by_processor_time() {
        let mut object = object(json!({"apiVersion": "autoscaling/v1", "metadata": {"name": "h", "annotations": {
            METRICS: "not json"}}, "spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "D", "name": "d"}}}));
        HorizontalPodAutoscaler::fill_untyped(&mut object);
        assert_eq!(object.at(CPU_TARGET), Some(&json!(80)));
        assert_eq!(object.annotation(METRICS), None);
        assert_eq!(object.at(&["status"]), Some(&json!({"currentReplicas": 0, "desiredReplicas": 0})));
    }
}
