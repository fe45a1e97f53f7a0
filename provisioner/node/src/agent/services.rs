//! The cluster's services as environments need them.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use kprov_control_plane::client::{Client, Selection};
use kprov_control_plane::world::Clock;
use kprov_schema::{Key, Object, Resource};
use serde::Deserialize;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::env;
use super::reflector::{Change, Reflector};

type All = BTreeMap<Key, Service>;

/// Every service, once the first list has answered.
pub struct Services {
    all: watch::Receiver<Option<All>>,
    task: Option<AbortHandle>,
}

impl Services {
    /// Follows the services, or acts as if there were none.
    #[must_use]
    pub fn start(client: &Client, clock: &Arc<dyn Clock>, follow: bool) -> Self {
        if !follow {
            return Self { all: watch::channel(Some(All::new())).1, task: None };
        }
        let (sender, all) = watch::channel(None);
        let (resource, which) = (Resource::of::<Service>(), Selection::default());
        let reflector = Reflector { client: client.clone(), resource, which, clock: clock.clone() };
        let task = tokio::spawn(reflector.follow(None, move |change| sender.send_modify(|all| apply(all, change))));
        Self { all, task: Some(task.abort_handle()) }
    }

    /// Variables for a pod of a namespace. Waits for the first list: a pod without them would never get them.
    pub async fn variables(&self, namespace: &str, links: bool) -> Vec<(String, String)> {
        let mut all = self.all.clone();
        // The sender only goes when the agent does.
        let known = all.wait_for(Option::is_some).await.map(|all| all.clone().unwrap_or_default());
        env::of_services(known.unwrap_or_default().values(), namespace, links)
    }

    /// Ends following.
    pub fn stop(&self) {
        self.task.iter().for_each(AbortHandle::abort);
    }
}

fn apply(all: &mut Option<All>, change: Change) {
    let all = all.get_or_insert_default();
    match change {
        Change::All(list) => {
            all.clear();
            list.iter().for_each(|object| put(all, object));
        }
        Change::Put(object) => put(all, &object),
        Change::Gone(object) => {
            all.remove(&object.key());
        }
    }
}

fn put(all: &mut All, object: &Object) {
    match Service::deserialize(object.map()) {
        Ok(service) => {
            all.insert(object.key(), service);
        }
        Err(error) => tracing::error!(service = %object.key(), %error, "the API sent a service that can't be read"),
    }
}
