//! The order in which objects need each other: one table, read forwards to apply and backwards to delete.

use k8s_openapi::Resource;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
    ValidatingWebhookConfiguration,
};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, LimitRange, Namespace, PersistentVolume, PersistentVolumeClaim, ResourceQuota, Secret,
    Service, ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass, NetworkPolicy};
use k8s_openapi::api::node::v1::RuntimeClass;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::api::storage::v1::{CSIDriver, StorageClass, VolumeAttributesClass};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
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

/// Group and name of a kind.
const fn of<T: Resource>() -> (&'static str, &'static str) {
    (T::GROUP, T::KIND)
}

/// Kinds by stage. Every other kind is a workload.
const STAGES: &[(Stage, &[(&str, &str)])] = &[
    (Stage::Namespaces, &[of::<Namespace>()]),
    (Stage::Definitions, &[of::<CustomResourceDefinition>()]),
    (
        Stage::Ground,
        &[
            of::<PriorityClass>(),
            of::<RuntimeClass>(),
            of::<StorageClass>(),
            of::<VolumeAttributesClass>(),
            of::<CSIDriver>(),
            of::<IngressClass>(),
            of::<ResourceQuota>(),
            of::<LimitRange>(),
            of::<NetworkPolicy>(),
            of::<ServiceAccount>(),
        ],
    ),
    (Stage::Config, &[of::<ConfigMap>(), of::<Secret>()]),
    (Stage::Storage, &[of::<PersistentVolume>(), of::<PersistentVolumeClaim>()]),
    (Stage::Access, &[of::<ClusterRole>(), of::<ClusterRoleBinding>(), of::<Role>(), of::<RoleBinding>()]),
    (Stage::Services, &[of::<Service>(), of::<Endpoints>(), of::<EndpointSlice>()]),
    (
        Stage::Routes,
        &[of::<Ingress>(), of::<PodDisruptionBudget>(), of::<HorizontalPodAutoscaler>(), of::<APIService>()],
    ),
    (
        Stage::Hooks,
        &[
            of::<MutatingWebhookConfiguration>(),
            of::<ValidatingWebhookConfiguration>(),
            of::<ValidatingAdmissionPolicy>(),
            of::<ValidatingAdmissionPolicyBinding>(),
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
