//! Versions of kinds that Kubernetes serves no more.
//!
//! Source: <https://kubernetes.io/docs/reference/using-api/deprecation-guide/>

/// A kind in a version that is gone.
pub(super) struct Removed {
    group_version: &'static str,
    kinds: &'static [&'static str],
    /// The release that no longer has it.
    pub(super) release: &'static str,
    /// The `apiVersion` to use; empty when the kind itself is gone.
    pub(super) now: &'static str,
    /// What else changes, or what to use for a kind that is gone.
    pub(super) note: &'static str,
}

const fn row(
    group_version: &'static str,
    kinds: &'static [&'static str],
    release: &'static str,
    now: &'static str,
    note: &'static str,
) -> Removed {
    Removed { group_version, kinds, release, now, note }
}

const INGRESS: &str = "backends are `service.name` and `service.port.number`, every path needs a `pathType`, and the \
                       class is `spec.ingressClassName`";
const SELECTOR: &str = "spec.selector is required";
const POD_SECURITY: &str =
    "label the namespace with `pod-security.kubernetes.io/enforce: restricted` (or baseline) instead";

const REMOVED: &[Removed] = &[
    row("extensions/v1beta1", &["Deployment", "DaemonSet", "ReplicaSet"], "1.16", "apps/v1", SELECTOR),
    row("extensions/v1beta1", &["NetworkPolicy"], "1.16", "networking.k8s.io/v1", ""),
    row("extensions/v1beta1", &["PodSecurityPolicy"], "1.16", "", POD_SECURITY),
    row("extensions/v1beta1", &["Ingress"], "1.22", "networking.k8s.io/v1", INGRESS),
    row("apps/v1beta1", &["Deployment", "StatefulSet"], "1.16", "apps/v1", SELECTOR),
    row("apps/v1beta1", &["ControllerRevision"], "1.16", "apps/v1", ""),
    row("apps/v1beta2", &["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"], "1.16", "apps/v1", SELECTOR),
    row("apps/v1beta2", &["ControllerRevision"], "1.16", "apps/v1", ""),
    row("networking.k8s.io/v1beta1", &["Ingress"], "1.22", "networking.k8s.io/v1", INGRESS),
    row("networking.k8s.io/v1beta1", &["IngressClass"], "1.22", "networking.k8s.io/v1", ""),
    row("policy/v1beta1", &["PodDisruptionBudget"], "1.25", "policy/v1", "an empty selector now selects every pod"),
    row("policy/v1beta1", &["PodSecurityPolicy"], "1.25", "", POD_SECURITY),
    row("batch/v1beta1", &["CronJob"], "1.25", "batch/v1", ""),
    row("batch/v2alpha1", &["CronJob"], "1.21", "batch/v1", ""),
    row(
        "rbac.authorization.k8s.io/v1beta1",
        &["Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"],
        "1.22",
        "rbac.authorization.k8s.io/v1",
        "",
    ),
    row(
        "storage.k8s.io/v1beta1",
        &["StorageClass", "VolumeAttachment", "CSIDriver", "CSINode"],
        "1.22",
        "storage.k8s.io/v1",
        "",
    ),
    row("storage.k8s.io/v1beta1", &["CSIStorageCapacity"], "1.27", "storage.k8s.io/v1", ""),
    row("scheduling.k8s.io/v1beta1", &["PriorityClass"], "1.22", "scheduling.k8s.io/v1", ""),
    row("coordination.k8s.io/v1beta1", &["Lease"], "1.22", "coordination.k8s.io/v1", ""),
    row("discovery.k8s.io/v1beta1", &["EndpointSlice"], "1.25", "discovery.k8s.io/v1", ""),
    row("events.k8s.io/v1beta1", &["Event"], "1.25", "events.k8s.io/v1", ""),
    row("node.k8s.io/v1beta1", &["RuntimeClass"], "1.25", "node.k8s.io/v1", ""),
    row("autoscaling/v2beta1", &["HorizontalPodAutoscaler"], "1.25", "autoscaling/v2", "metrics have a `target` now"),
    row("autoscaling/v2beta2", &["HorizontalPodAutoscaler"], "1.26", "autoscaling/v2", ""),
    row(
        "apiextensions.k8s.io/v1beta1",
        &["CustomResourceDefinition"],
        "1.22",
        "apiextensions.k8s.io/v1",
        "every version needs a structural schema",
    ),
    row(
        "admissionregistration.k8s.io/v1beta1",
        &["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"],
        "1.22",
        "admissionregistration.k8s.io/v1",
        "",
    ),
    row("apiregistration.k8s.io/v1beta1", &["APIService"], "1.22", "apiregistration.k8s.io/v1", ""),
    row("certificates.k8s.io/v1beta1", &["CertificateSigningRequest"], "1.22", "certificates.k8s.io/v1", ""),
    row(
        "flowcontrol.apiserver.k8s.io/v1beta3",
        &["FlowSchema", "PriorityLevelConfiguration"],
        "1.32",
        "flowcontrol.apiserver.k8s.io/v1",
        "",
    ),
];

/// The row of a kind in a version that is gone.
pub(super) fn find(api_version: &str, kind: &str) -> Option<&'static Removed> {
    REMOVED.iter().find(|row| row.group_version == api_version && row.kinds.contains(&kind))
}

#[cfg(test)]
mod tests {
    use kprov_schema::structure::schema;

    use super::*;

    #[test]
    fn what_is_removed_is_not_served_and_what_replaces_it_is() {
        for row in REMOVED {
            for kind in row.kinds {
                let served = |api_version: &str| {
                    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
                    schema().structure(group, version, kind).is_some()
                };
                assert!(!served(row.group_version), "{} {kind}", row.group_version);
                assert!(row.now.is_empty() || served(row.now), "{} {kind}", row.now);
            }
        }
    }
}
