//! The ConfigMap in each namespace by which pods check the API server.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kprov_schema::{Key, Object, Resource};
use serde_json::json;

use super::machinery::action::{Action, Outcome};
use super::machinery::snapshot::Snapshot;
use super::machinery::{Config, Controller, Watch};
use crate::informer::Unreadable;

const NAME: &str = "kube-root-ca.crt";
const DESCRIPTION: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.";

/// Publishes the cluster's root certificates.
pub struct RootCa {
    root_ca: String,
}

impl Controller for RootCa {
    const NAME: &'static str = "root-ca-certificate-publisher";

    fn new(config: &Config, _: Timestamp) -> Self {
        Self { root_ca: config.root_ca.clone() }
    }

    fn watches() -> Vec<Watch> {
        vec![
            Watch::own::<Namespace>(),
            Watch::new::<ConfigMap>(|change, _| {
                let ours = change.latest().filter(|entry| entry.key.name == NAME);
                ours.map(|entry| Key::new("", &entry.key.namespace)).into_iter().collect()
            }),
        ]
    }

    fn reconcile(&self, key: &Key, world: &Snapshot, _: Timestamp) -> Result<Outcome, Unreadable> {
        let Some(namespace) = world.get::<Namespace>(key)?.filter(|one| !one.raw.is_deleting()) else {
            return Ok(Outcome::nothing());
        };
        let resource = Resource::of::<ConfigMap>();
        let current = world.cache(&resource).get(&Key::new(namespace.raw.name(), NAME));
        let Some(current) = current else {
            let map = json!({
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {
                    "name": NAME,
                    "namespace": namespace.raw.name(),
                    "annotations": {"kubernetes.io/description": DESCRIPTION},
                },
                "data": {"ca.crt": self.root_ca},
            });
            return Ok(vec![Action::create(resource, Object::try_from(map).expect("written as a map"))].into());
        };
        let data = json!({"ca.crt": self.root_ca});
        let described = current.raw.annotation("kubernetes.io/description") == Some(DESCRIPTION);
        if current.raw.at(&["data"]) == Some(&data) && described {
            return Ok(Outcome::nothing());
        }
        let mut object = Object::clone(&current.raw);
        object.set(&["data"], data);
        object.set(&["metadata", "annotations", "kubernetes.io/description"], json!(DESCRIPTION));
        Ok(vec![Action::update(resource, object)].into())
    }
}
