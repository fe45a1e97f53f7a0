//! The order in which objects need each other: one table, read forwards to apply and backwards to delete.

use kprov_schema::Object;

/// A stage of an apply: what is in it needs nothing of its own stage or of a later one.
///
/// ```
/// use kprov::Stage;
///
/// assert!(Stage::Namespaces < Stage::Config && Stage::Services < Stage::Workloads);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Namespaces.
    Namespaces,
    /// Definitions of custom kinds.
    Definitions,
    /// Classes, limits and identities that others are checked against.
    Ground,
    /// Configuration and secrets.
    Config,
    /// Volumes and claims.
    Storage,
    /// Roles and their bindings.
    Access,
    /// Services, which pods find in their environment when they were there first.
    Services,
    /// What runs, and objects of custom kinds.
    Workloads,
    /// Routes to what runs, and what watches over it.
    Routes,
    /// What the API server asks about later writes.
    Hooks,
}

/// Kinds by stage: group, kind. Every other kind is a workload.
const STAGES: &[(Stage, &[(&str, &str)])] = &[
    (Stage::Namespaces, &[("", "Namespace")]),
    (Stage::Definitions, &[("apiextensions.k8s.io", "CustomResourceDefinition")]),
    (
        Stage::Ground,
        &[
            ("scheduling.k8s.io", "PriorityClass"),
            ("node.k8s.io", "RuntimeClass"),
            ("storage.k8s.io", "StorageClass"),
            ("storage.k8s.io", "VolumeAttributesClass"),
            ("storage.k8s.io", "CSIDriver"),
            ("networking.k8s.io", "IngressClass"),
            ("", "ResourceQuota"),
            ("", "LimitRange"),
            ("networking.k8s.io", "NetworkPolicy"),
            ("", "ServiceAccount"),
        ],
    ),
    (Stage::Config, &[("", "ConfigMap"), ("", "Secret")]),
    (Stage::Storage, &[("", "PersistentVolume"), ("", "PersistentVolumeClaim")]),
    (
        Stage::Access,
        &[
            ("rbac.authorization.k8s.io", "ClusterRole"),
            ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
            ("rbac.authorization.k8s.io", "Role"),
            ("rbac.authorization.k8s.io", "RoleBinding"),
        ],
    ),
    (Stage::Services, &[("", "Service"), ("", "Endpoints"), ("discovery.k8s.io", "EndpointSlice")]),
    (
        Stage::Routes,
        &[
            ("networking.k8s.io", "Ingress"),
            ("policy", "PodDisruptionBudget"),
            ("autoscaling", "HorizontalPodAutoscaler"),
            ("apiregistration.k8s.io", "APIService"),
        ],
    ),
    (
        Stage::Hooks,
        &[
            ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
            ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
            ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"),
            ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"),
        ],
    ),
];

impl Stage {
    /// The stage of an object.
    ///
    /// ```
    /// use kprov::{Stage, schema::Object};
    /// use serde_json::json;
    ///
    /// let pod = Object::try_from(json!({"apiVersion": "v1", "kind": "Pod"}))?;
    /// assert_eq!(Stage::of(&pod), Stage::Workloads);
    /// # Ok::<(), String>(())
    /// ```
    #[must_use]
    pub fn of(object: &Object) -> Self {
        Self::of_kind(object.api_version(), object.kind())
    }

    /// The stage of a kind. Its version doesn't matter.
    ///
    /// ```
    /// use kprov::Stage;
    ///
    /// assert!(Stage::of_kind("v1", "ConfigMap") < Stage::of_kind("apps/v1", "Deployment"));
    /// ```
    #[must_use]
    pub fn of_kind(api_version: &str, kind: &str) -> Self {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        let here = STAGES.iter().find(|(_, kinds)| kinds.contains(&(group, kind)));
        here.map_or(Self::Workloads, |(stage, _)| *stage)
    }
}

#[cfg(test)]
mod tests {
    use kprov_schema::structure::schema;

    use super::*;

    #[test]
    fn every_row_is_a_kind_that_is_served() {
        for (group, kind) in STAGES.iter().flat_map(|(_, kinds)| *kinds) {
            let served = schema().kinds().iter().any(|served| served.group == *group && served.kind == *kind);
            assert!(served, "{group} {kind}");
        }
    }

    #[test]
    fn what_is_needed_comes_first() {
        let order = [
            ("v1", "Namespace"),
            ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
            ("v1", "ServiceAccount"),
            ("v1", "Secret"),
            ("v1", "PersistentVolumeClaim"),
            ("rbac.authorization.k8s.io/v1", "RoleBinding"),
            ("v1", "Service"),
            ("example.com/v1", "Widget"),
            ("networking.k8s.io/v1", "Ingress"),
        ];
        let stages: Vec<Stage> = order.iter().map(|(version, kind)| Stage::of_kind(version, kind)).collect();
        assert!(stages.is_sorted(), "{stages:?}");
        assert_eq!(
            Stage::of_kind("example.com/v1", "Ingress"),
            Stage::Workloads,
            "another group's kind is another kind"
        );
    }
}
