//! Objects that every cluster on this machine begins with, besides those of every control plane.

use kprov::k8s_openapi::api::networking::v1::IngressClass;
use kprov::k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kprov::k8s_openapi::api::storage::v1::StorageClass;
use kprov_control_plane::client::Client;
use kprov_control_plane::controllers::{ingress, provisioner};
use kprov_schema::{Object, Resource, Status};
use serde_json::json;

/// Who the nodes' proxies for ingresses are, and the name of the role that this user has.
pub(super) const INGRESS_USER: &str = "system:kprov:ingress";

/// Makes what is missing. What has the name already is left as it is.
pub(super) async fn make(client: &Client) -> Result<(), Status> {
    let all = [
        (Resource::of::<StorageClass>(), provisioner::standard_class()),
        (Resource::of::<IngressClass>(), ingress::standard_class()),
        (Resource::of::<ClusterRole>(), ingress_role()),
        (Resource::of::<ClusterRoleBinding>(), ingress_binding()),
    ];
    let made = all.into_iter().map(|(resource, object)| async move {
        match client.create(&resource, &object.key(), None, object.clone()).await {
            Err(status) if !status.already_exists() => Err(status),
            _ => Ok(()),
        }
    });
    futures::future::try_join_all(made).await.map(|_| ())
}

/// What a proxy for ingresses reads. It writes nothing.
fn ingress_role() -> Object {
    let reads = |group: &str, resources: &[&str]| json!({"apiGroups": [group], "resources": resources, "verbs": ["get", "list", "watch"]});
    object(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": INGRESS_USER},
        "rules": [
            reads("", &["services", "secrets"]),
            reads("discovery.k8s.io", &["endpointslices"]),
            reads("networking.k8s.io", &["ingresses", "ingressclasses"]),
        ],
    }))
}

fn ingress_binding() -> Object {
    let group = "rbac.authorization.k8s.io";
    object(json!({
        "apiVersion": format!("{group}/v1"),
        "kind": "ClusterRoleBinding",
        "metadata": {"name": INGRESS_USER},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": INGRESS_USER},
        "subjects": [{"apiGroup": group, "kind": "User", "name": INGRESS_USER}],
    }))
}

fn object(body: serde_json::Value) -> Object {
    Object::try_from(body).expect("written as a map")
}
