//! The order in which objects are applied: what others need comes first.

use kprov_schema::Object;

/// Kinds in the order in which they are applied; everything else comes after them, and what makes traffic flow is last.
const FIRST: &[&str] = &[
    "Namespace",
    "CustomResourceDefinition",
    "PriorityClass",
    "RuntimeClass",
    "StorageClass",
    "IngressClass",
    "ResourceQuota",
    "LimitRange",
    "NetworkPolicy",
    "PodDisruptionBudget",
    "ServiceAccount",
    "ConfigMap",
    "Secret",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "Service",
    "EndpointSlice",
    "Endpoints",
    "DaemonSet",
    "Pod",
    "ReplicationController",
    "ReplicaSet",
    "Deployment",
    "StatefulSet",
    "Job",
    "CronJob",
    "HorizontalPodAutoscaler",
];
const LAST: &[&str] = &["Ingress", "APIService", "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"];

/// Where an object stands in the order; equal ones keep the order of the bundle.
pub(super) fn rank(object: &Object) -> usize {
    let place = |kinds: &[&str]| kinds.iter().position(|kind| *kind == object.kind());
    place(FIRST).or_else(|| place(LAST).map(|at| FIRST.len() + 1 + at)).unwrap_or(FIRST.len())
}
