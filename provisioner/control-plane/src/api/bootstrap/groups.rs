//! The groups that this server serves itself, as the aggregator lists them.
//!
//! Source: `pkg/controlplane/apiserver/aggregator.go`.

use std::collections::BTreeSet;

use futures::future::try_join_all;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kprov_schema::Status;
use serde_json::json;

use crate::api::core::Core;
use crate::api::inprocess::InProcess;
use crate::api::registry::Registry;

/// Groups, or versions of them, with the priorities of group and version.
const PRIORITIES: &[(&str, &str, i32, i32)] = &[
    ("", "v1", 18_000, 1),
    ("apps", "v1", 17_800, 15),
    ("events.k8s.io", "v1", 17_750, 15),
    ("authentication.k8s.io", "v1", 17_700, 15),
    ("authorization.k8s.io", "v1", 17_600, 15),
    ("autoscaling", "v1", 17_500, 15),
    ("autoscaling", "v2", 17_500, 30),
    ("batch", "v1", 17_400, 15),
    ("certificates.k8s.io", "v1", 17_300, 15),
    ("networking.k8s.io", "v1", 17_200, 15),
    ("policy", "v1", 17_100, 15),
    ("rbac.authorization.k8s.io", "v1", 17_000, 15),
    ("storage.k8s.io", "v1", 16_800, 15),
    ("apiextensions.k8s.io", "v1", 16_700, 15),
    ("admissionregistration.k8s.io", "v1", 16_700, 15),
    ("scheduling.k8s.io", "v1", 16_600, 15),
    ("coordination.k8s.io", "v1", 16_500, 15),
    ("node.k8s.io", "v1", 16_300, 15),
    ("resource.k8s.io", "v1", 16_200, 21),
    ("discovery.k8s.io", "v1", 16_200, 15),
    ("flowcontrol.apiserver.k8s.io", "v1", 16_100, 21),
    ("storagemigration.k8s.io", "v1", 15_800, 9),
];

/// Makes what is missing, all at once. The aggregator's own group is not among them.
pub(super) async fn ensure(core: &Core, client: &InProcess) -> Result<(), Status> {
    let registry = Registry::built_in();
    let served: BTreeSet<(&str, &str)> =
        registry.entries().iter().map(|entry| (entry.group.as_ref(), entry.version.as_ref())).collect();
    let listed = PRIORITIES.iter().filter(|(group, version, ..)| served.contains(&(group, version)));
    let made = listed.map(|(group, version, group_priority, version_priority)| {
        let object = json!({
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
            "metadata": {
                "name": format!("{version}.{group}"),
                "labels": {"kube-aggregator.kubernetes.io/automanaged": "onstart"},
            },
            "spec": {
                "group": group, "version": version,
                "groupPriorityMinimum": group_priority, "versionPriority": version_priority,
            },
        });
        super::ensure::<APIService>(core, client, object)
    });
    try_join_all(made).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_that_is_served_has_its_priorities() {
        let registry = Registry::built_in();
        for entry in registry.entries().iter().filter(|entry| entry.group != "apiregistration.k8s.io") {
            let listed =
                PRIORITIES.iter().any(|(group, version, ..)| entry.group == *group && entry.version == *version);
            assert!(listed, "{}/{}", entry.group, entry.version);
        }
    }
}
