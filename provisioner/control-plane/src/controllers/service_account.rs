//! The service account `default` in every namespace.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kprov_schema::{Key, Object, Resource};
use serde_json::json;

use super::machinery::action::{Action, Outcome};
use super::machinery::snapshot::Snapshot;
use super::machinery::{Config, Controller, Watch};
use crate::informer::Unreadable;

/// Makes default service accounts.
pub struct DefaultAccounts;

impl Controller for DefaultAccounts {
    const NAME: &'static str = "serviceaccount-controller";

    fn new(_: &Config, _: Timestamp) -> Self {
        Self
    }

    fn watches() -> Vec<Watch> {
        vec![
            Watch::own::<Namespace>(),
            Watch::new::<ServiceAccount>(|change, _| {
                let ours = change.latest().filter(|entry| entry.key.name == "default");
                ours.map(|entry| Key::new("", &entry.key.namespace)).into_iter().collect()
            }),
        ]
    }

    fn reconcile(&self, key: &Key, world: &Snapshot, _: Timestamp) -> Result<Outcome, Unreadable> {
        let Some(namespace) = world.get::<Namespace>(key)?.filter(|one| !one.raw.is_deleting()) else {
            return Ok(Outcome::nothing());
        };
        let resource = Resource::of::<ServiceAccount>();
        if world.cache(&resource).get(&Key::new(namespace.raw.name(), "default")).is_some() {
            return Ok(Outcome::nothing());
        }
        let account = json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "default", "namespace": namespace.raw.name()},
        });
        Ok(vec![Action::create(resource, Object::try_from(account).expect("written as a map"))].into())
    }
}
