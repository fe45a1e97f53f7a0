//! What pods of this node refer to (config maps, secrets, claims and their volumes), each followed while a pod needs it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Secret};
use kprov_control_plane::client::{Client, Selection};
use kprov_control_plane::world::Clock;
use kprov_schema::reference::{self, Naming};
use kprov_schema::{Key, Object, Resource, Status, Uid};
use serde::Serialize;
use tokio::sync::{Notify, OnceCell};
use tokio::task::AbortHandle;

use super::env::Sources;
use super::reflector::{Change, Reflector};

/// Which sort of object is referred to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Sort {
    /// A config map.
    ConfigMap,
    /// A secret.
    Secret,
    /// A claim.
    Claim,
    /// A volume; its key has no namespace.
    Volume,
}

impl Sort {
    fn resource(self) -> Resource {
        match self {
            Self::ConfigMap => Resource::of::<ConfigMap>(),
            Self::Secret => Resource::of::<Secret>(),
            Self::Claim => Resource::of::<PersistentVolumeClaim>(),
            Self::Volume => Resource::of::<PersistentVolume>(),
        }
    }
}

/// Config maps and secrets that a part of a pod is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Config maps of the pod's namespace.
    pub config_maps: Vec<String>,
    /// Secrets of the pod's namespace.
    pub secrets: Vec<String>,
}

impl Names {
    /// Those that a container or a volume names, in the fields of its table.
    #[must_use]
    pub fn of(table: &'static [Naming], part: &impl Serialize) -> Self {
        let part = serde_json::to_value(part).expect("parts of pods are maps");
        let all = reference::named(table, &part, "");
        let of = |wanted: Resource| {
            all.iter().filter(|(row, _)| row.resource == wanted).map(|(_, named)| named.name.to_owned()).collect()
        };
        Self { config_maps: of(Resource::of::<ConfigMap>()), secrets: of(Resource::of::<Secret>()) }
    }
}

/// Everything that is referred to. One watch an object, by name: a node may read no others.
pub struct References {
    client: Client,
    clock: Arc<dyn Clock>,
    entries: Mutex<BTreeMap<(Sort, Key), Arc<Entry>>>,
}

#[derive(Default)]
struct Entry {
    /// Set once the first list has answered.
    begun: OnceCell<AbortHandle>,
    object: Mutex<Option<Arc<Object>>>,
    users: Mutex<BTreeMap<Uid, Arc<Notify>>>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(task) = self.begun.get() {
            task.abort();
        }
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no code panics while it holds the lock")
}

impl References {
    /// Nothing is referred to yet.
    #[must_use]
    pub fn new(client: Client, clock: Arc<dyn Clock>) -> Self {
        Self { client, clock, entries: Mutex::new(BTreeMap::new()) }
    }

    /// The object, or `None` when there is none. From now on `changed` is told whenever that answer changes.
    pub async fn get(
        &self,
        user: &Uid,
        changed: &Arc<Notify>,
        sort: Sort,
        key: &Key,
    ) -> Result<Option<Arc<Object>>, Status> {
        let entry = held(&self.entries).entry((sort, key.clone())).or_default().clone();
        held(&entry.users).insert(user.clone(), changed.clone());
        entry.begun.get_or_try_init(|| self.begin(&entry, sort, key)).await?;
        let object = held(&entry.object).clone();
        Ok(object)
    }

    /// A pod no longer needs anything.
    pub fn release(&self, user: &Uid) {
        held(&self.entries).retain(|_, entry| {
            let mut users = held(&entry.users);
            users.remove(user);
            !users.is_empty()
        });
    }

    async fn begin(&self, entry: &Arc<Entry>, sort: Sort, key: &Key) -> Result<AbortHandle, Status> {
        let which = Selection {
            namespace: Some(key.namespace.clone()).filter(|name| !name.is_empty()),
            labels: String::new(),
            fields: format!("metadata.name={}", key.name),
        };
        let reflector =
            Reflector { client: self.client.clone(), resource: sort.resource(), which, clock: self.clock.clone() };
        let list = reflector.list().await?;
        *held(&entry.object) = list.items.into_iter().next();
        // Weak: the entry owns the task, not the other way round.
        let weak = Arc::downgrade(entry);
        let task = tokio::spawn(reflector.follow(Some(list.revision), move |change| {
            if let Some(entry) = weak.upgrade() {
                entry.set(change);
            }
        }));
        Ok(task.abort_handle())
    }

    /// The volume that a claim of a namespace is bound to. Errors: a text for the pod's events.
    pub async fn volume(
        &self,
        user: &Uid,
        changed: &Arc<Notify>,
        namespace: &str,
        claim: &str,
    ) -> Result<PersistentVolume, String> {
        let key = Key::new(namespace, claim);
        let found: Option<PersistentVolumeClaim> = typed(self.get(user, changed, Sort::Claim, &key).await)?;
        let found = found.ok_or_else(|| format!("persistentvolumeclaim {claim:?} not found"))?;
        if found.metadata.deletion_timestamp.is_some() {
            return Err("PVC is being deleted".to_owned());
        }
        let bound = found.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound");
        let name =
            found.spec.as_ref().and_then(|spec| spec.volume_name.clone()).filter(|name| bound && !name.is_empty());
        let name = name.ok_or("PVC is not bound")?;
        let volume = self.get(user, changed, Sort::Volume, &Key::new("", name.as_str())).await;
        let volume: PersistentVolume = typed(volume)?.ok_or_else(|| format!("persistentvolume {name:?} not found"))?;
        let named = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()).and_then(|one| one.uid.as_ref());
        if named != found.metadata.uid.as_ref() {
            return Err(format!("persistentvolume {name:?} is bound to another claim"));
        }
        Ok(volume)
    }

    /// Config maps and secrets of a namespace by name, with those that are not there.
    pub async fn sources(
        &self,
        user: &Uid,
        changed: &Arc<Notify>,
        namespace: &str,
        names: &Names,
    ) -> Result<Sources, String> {
        let mut all = Sources::default();
        for name in &names.config_maps {
            let object = self.get(user, changed, Sort::ConfigMap, &Key::new(namespace, name)).await;
            all.config_maps.insert(name.clone(), typed(object)?);
        }
        for name in &names.secrets {
            let object = self.get(user, changed, Sort::Secret, &Key::new(namespace, name)).await;
            all.secrets.insert(name.clone(), typed(object)?);
        }
        Ok(all)
    }
}

impl Entry {
    fn set(&self, change: Change) {
        let new = match change {
            Change::All(list) => list.into_iter().next(),
            Change::Put(object) => Some(object),
            Change::Gone(_) => None,
        };
        let old = std::mem::replace(&mut *held(&self.object), new.clone());
        if old.map(|object| object.revision()) != new.map(|object| object.revision()) {
            held(&self.users).values().for_each(|user| user.notify_one());
        }
    }
}

fn typed<T: serde::de::DeserializeOwned>(object: Result<Option<Arc<Object>>, Status>) -> Result<Option<T>, String> {
    let object = object.map_err(|status| status.message)?;
    object.map(|object| T::deserialize(object.map()).map_err(|error| error.to_string())).transpose()
}
