//! What `kubectl get` prints of an autoscaler.

use k8s_openapi::api::autoscaling::v2::{
    HorizontalPodAutoscaler, HorizontalPodAutoscalerStatus, MetricSpec, MetricStatus, MetricTarget, MetricValueStatus,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Amount;

use crate::quantity::Quantity;
use crate::rules::fields::list;

pub(super) const REFERENCE: &str = "scaleTargetRef points to the target resource to scale, and is used to the pods for which metrics should be \
    collected, as well as to actually change the replica count.";
pub(super) const TARGETS: &str = "metrics contains the specifications for which to use to calculate the desired replica count (the maximum \
    replica count across all metrics will be used).  The desired replica count is calculated multiplying the ratio \
    between the target value and the current value by the current number of pods.  Ergo, metrics used must decrease \
    as the pod count is increased, and vice-versa.  See the individual metric source types for more information \
    about how each type of metric must respond. If not set, the default metric will be set to 80% average CPU \
    utilization.";
pub(super) const MIN: &str = "minReplicas is the lower limit for the number of replicas to which the autoscaler can scale down.  It defaults \
    to 1 pod.  minReplicas is allowed to be 0 if the alpha feature gate HPAScaleToZero is enabled and at least one \
    Object or External metric is configured.  Scaling is active as long as at least one metric value is available.";
pub(super) const MAX: &str = "maxReplicas is the upper limit for the number of replicas to which the autoscaler can scale up. It cannot be \
    less that minReplicas.";
pub(super) const CURRENT: &str =
    "currentReplicas is current number of replicas of pods managed by this autoscaler, as last seen by the autoscaler.";

/// The columns of both faces; `$newer` turns an object into the newer form.
macro_rules! columns {
    ($newer:expr) => {
        &[
            crate::table::name(),
            crate::table::text("Reference", columns::REFERENCE, |it, _| {
                let target = ($newer)(it).spec.scale_target_ref;
                format!("{}/{}", target.kind, target.name).into()
            }),
            crate::table::text("Targets", columns::TARGETS, |it, _| columns::targets(&($newer)(it)).into()),
            crate::table::text("MinPods", columns::MIN, |it, _| {
                let min = ($newer)(it).spec.min_replicas;
                min.map_or_else(|| "<unset>".to_owned(), |min| min.to_string()).into()
            }),
            crate::table::text("MaxPods", columns::MAX, |it, _| ($newer)(it).spec.max_replicas.into()),
            crate::table::text("Replicas", columns::CURRENT, |it, _| {
                ($newer)(it).status.and_then(|status| status.current_replicas).unwrap_or_default().into()
            }),
            crate::table::age(),
        ]
    };
}
pub(super) use columns;

const UNKNOWN: &str = "<unknown>";

/// The first two metrics: what is, and what should be.
pub(super) fn targets(autoscaler: &HorizontalPodAutoscaler) -> String {
    const SHOWN: usize = 2;
    let specs = list(&autoscaler.spec.metrics);
    let none = HorizontalPodAutoscalerStatus::default();
    let now = list(&autoscaler.status.as_ref().unwrap_or(&none).current_metrics);
    let all: Vec<String> = specs.iter().enumerate().map(|(at, spec)| metric(spec, now.get(at))).collect();
    match all.len() {
        0 => "<none>".to_owned(),
        count if count > SHOWN => format!("{} + {} more...", all[..SHOWN].join(", "), count - SHOWN),
        _ => all.join(", "),
    }
}

fn metric(spec: &MetricSpec, now: Option<&MetricStatus>) -> String {
    match spec.type_.as_str() {
        "External" => {
            let current = now.and_then(|now| now.external.as_ref()).map(|it| &it.current);
            spec.external.as_ref().map(|it| value(&it.target, current))
        }
        "Object" => {
            let current = now.and_then(|now| now.object.as_ref()).map(|it| &it.current);
            spec.object.as_ref().map(|it| value(&it.target, current))
        }
        "Pods" => {
            let current = now.and_then(|now| now.pods.as_ref()).map(|it| &it.current);
            let current = current.and_then(|it| it.average_value.as_ref());
            spec.pods.as_ref().map(|it| format!("{}/{}", amount(current), target(it.target.average_value.as_ref())))
        }
        "Resource" => {
            let current = now.and_then(|now| now.resource.as_ref()).map(|it| &it.current);
            spec.resource.as_ref().map(|it| share(&it.name, &it.target, current))
        }
        "ContainerResource" => {
            let current = now.and_then(|now| now.container_resource.as_ref()).map(|it| &it.current);
            spec.container_resource.as_ref().map(|it| share(&it.name, &it.target, current))
        }
        _ => None,
    }
    .unwrap_or_else(|| "<unknown type>".to_owned())
}

fn amount(amount: Option<&Amount>) -> String {
    amount.map_or_else(|| UNKNOWN.to_owned(), |amount| Quantity::from(amount).to_string())
}

fn target(amount: Option<&Amount>) -> String {
    amount.map_or_else(|| "0".to_owned(), |amount| Quantity::from(amount).to_string())
}

fn value(wanted: &MetricTarget, current: Option<&MetricValueStatus>) -> String {
    match &wanted.average_value {
        Some(average) => {
            let current = current.and_then(|current| current.average_value.as_ref());
            format!("{}/{} (avg)", amount(current), target(Some(average)))
        }
        None => {
            let current = current.and_then(|current| current.value.as_ref());
            format!("{}/{}", amount(current), target(wanted.value.as_ref()))
        }
    }
}

fn share(name: &str, wanted: &MetricTarget, current: Option<&MetricValueStatus>) -> String {
    if let Some(average) = &wanted.average_value {
        let current = current.and_then(|current| current.average_value.as_ref());
        return format!("{name}: {}/{}", amount(current), target(Some(average)));
    }
    let percent = |share: Option<i32>, none: &str| share.map_or_else(|| none.to_owned(), |share| format!("{share}%"));
    let current = percent(current.and_then(|current| current.average_utilization), UNKNOWN);
    format!("{name}: {current}/{}", percent(wanted.average_utilization, "<auto>"))
}
