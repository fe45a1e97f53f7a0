//! Keeps the table of routes in step with the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressBackend, IngressClass};
use kprov_control_plane::informer::{Caches, Unreadable};
use kprov_control_plane::world::Clock;
use kprov_schema::rules::ingress::class_of;
use kprov_schema::{Key, Object, Resource, Status, Uid};
use tokio::sync::{Notify, watch};

use super::State;
use super::certificates::{Certificates, secrets};
use super::routes::{Routes, Sources};
use crate::agent::references::{References, Sort};
use crate::net::endpoints::text;

/// How long to wait before what could not be read is read again.
const PAUSE: Duration = Duration::from_secs(1);

/// The kinds that are followed as a whole. Secrets are not: those that ingresses name are, each by its name.
pub(super) fn resources() -> [Resource; 4] {
    [
        Resource::of::<Ingress>(),
        Resource::of::<IngressClass>(),
        Resource::of::<Service>(),
        Resource::of::<EndpointSlice>(),
    ]
}

#[derive(Debug, thiserror::Error)]
enum FollowError {
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error("{0}")]
    Refused(#[from] Status),
}

pub(super) struct Follower {
    pub(super) caches: Arc<Caches>,
    pub(super) references: References,
    pub(super) serves: fn(&str) -> bool,
    pub(super) state: watch::Sender<Arc<State>>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Follower {
    pub(super) async fn run(self) {
        let wake = Arc::new(Notify::new());
        for cache in self.caches.values() {
            let wake = Arc::clone(&wake);
            cache.subscribe(move |_| wake.notify_one());
            cache.synced().await;
        }
        let mut held = BTreeSet::new();
        loop {
            match self.step(&mut held, &wake).await {
                Ok(state) => {
                    self.state.send_replace(Arc::new(state));
                    wake.notified().await;
                }
                Err(error) => {
                    tracing::warn!(%error, "ingresses are behind, trying again");
                    self.clock.sleep_until(self.clock.now() + PAUSE).await;
                }
            }
        }
    }

    async fn step(&self, held: &mut BTreeSet<Key>, wake: &Arc<Notify>) -> Result<State, FollowError> {
        let classes = self.classes();
        let sources = self.sources(&classes)?;
        let wanted = sources.ingresses.iter().flat_map(|ingress| secrets(ingress)).collect();
        let secrets = self.secrets(wanted, held, wake).await?;
        let certificates = Certificates::new(&sources.ingresses, &secrets);
        Ok(State { open: !classes.is_empty(), routes: Routes::new(&sources), certificates })
    }

    /// Names of the classes that are served.
    fn classes(&self) -> BTreeSet<String> {
        let all = self.caches[&Resource::of::<IngressClass>()].all();
        let ours = all.iter().filter(|class| class.raw.text(&["spec", "controller"]).is_some_and(self.serves));
        ours.map(|class| class.key.name.clone()).collect()
    }

    fn sources(&self, classes: &BTreeSet<String>) -> Result<Sources, Unreadable> {
        let mut sources = Sources::default();
        let mut namespaces = BTreeSet::new();
        for entry in self.caches[&Resource::of::<Ingress>()].all() {
            let ingress: Arc<Ingress> = entry.typed()?;
            if class_of(&ingress).is_none_or(|class| classes.contains(class)) {
                namespaces.insert(entry.key.namespace.clone());
                sources.ingresses.push(ingress);
            }
        }
        let named: BTreeSet<Key> = sources.ingresses.iter().flat_map(|ingress| services(ingress)).collect();
        let services = &self.caches[&Resource::of::<Service>()];
        for key in named {
            if let Some(entry) = services.get(&key) {
                sources.services.insert(key, entry.typed()?);
            }
        }
        let slices = &self.caches[&Resource::of::<EndpointSlice>()];
        for entry in namespaces.iter().flat_map(|namespace| slices.in_namespace(namespace)) {
            sources.slices.push(entry.typed()?);
        }
        Ok(sources)
    }

    /// The secrets wanted that are there; from now on `wake` is told of their changes, and no longer of those of others.
    async fn secrets(
        &self,
        wanted: BTreeSet<Key>,
        held: &mut BTreeSet<Key>,
        wake: &Arc<Notify>,
    ) -> Result<BTreeMap<Key, Arc<Object>>, Status> {
        let user = |key: &Key| Uid(key.to_string());
        held.iter().filter(|key| !wanted.contains(*key)).for_each(|key| self.references.release(&user(key)));
        held.clone_from(&wanted);
        let mut found = BTreeMap::new();
        for key in wanted {
            if let Some(secret) = self.references.get(&user(&key), wake, Sort::Secret, &key).await? {
                found.insert(key, secret);
            }
        }
        Ok(found)
    }
}

fn services(ingress: &Ingress) -> Vec<Key> {
    let spec = ingress.spec.as_ref();
    let rules = spec.and_then(|spec| spec.rules.as_deref()).unwrap_or_default();
    let paths = rules.iter().filter_map(|rule| rule.http.as_ref()).flat_map(|http| &http.paths);
    let backends = paths.map(|path| &path.backend).chain(spec.and_then(|spec| spec.default_backend.as_ref()));
    let named = |backend: &IngressBackend| Some(backend.service.as_ref()?.name.clone());
    backends.filter_map(named).map(|name| Key::new(text(&ingress.metadata.namespace), name)).collect()
}
