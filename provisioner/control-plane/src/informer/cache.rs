//! One kind's objects by key, with the indexes that decisions look things up by.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use kprov_schema::{Key, Object, Resource, Revision, Typed, Uid};
use serde_json::Value;
use tokio::sync::watch;

/// An object that does not parse as the type it is served as.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{kind} {key} is unreadable: {why}")]
pub struct Unreadable {
    /// Its kind.
    pub kind: String,
    /// Its key.
    pub key: Key,
    /// What the parser said.
    pub why: String,
}

/// One version of an object. Its typed view is parsed on first use and then shared.
#[derive(Debug)]
pub struct Entry {
    /// The object as it travels.
    pub raw: Arc<Object>,
    /// Namespace and name.
    pub key: Key,
    /// Its `metadata.resourceVersion`.
    pub revision: Revision,
    /// Its `metadata.uid`.
    pub uid: Uid,
    typed: OnceLock<Result<Arc<dyn Any + Send + Sync>, Unreadable>>,
}

impl Entry {
    /// Wraps an object.
    #[must_use]
    pub fn new(raw: Arc<Object>) -> Self {
        let revision = raw.revision().unwrap_or_default();
        Self { key: raw.key(), revision, uid: raw.uid(), raw, typed: OnceLock::new() }
    }

    /// The typed view. Errors when the object does not parse; one cache holds one type.
    pub fn typed<T: Typed + Send + Sync + 'static>(&self) -> Result<Arc<T>, Unreadable> {
        let parsed = self.typed.get_or_init(|| match T::from_object(&self.raw) {
            Ok(typed) => Ok(Arc::new(typed) as Arc<dyn Any + Send + Sync>),
            Err(why) => Err(Unreadable { kind: self.raw.kind().to_owned(), key: self.key.clone(), why }),
        });
        let any = Arc::clone(parsed.as_ref().map_err(Clone::clone)?);
        Ok(any.downcast().expect("a resource is read as one type"))
    }

    /// Owners' uids.
    pub fn owners(&self) -> impl Iterator<Item = Uid> {
        let owners = self.raw.at(&["metadata", "ownerReferences"]).and_then(Value::as_array);
        owners.into_iter().flatten().filter_map(|owner| Some(Uid(owner.get("uid")?.as_str()?.to_owned())))
    }

    fn node(&self) -> Option<&str> {
        self.raw.text(&["spec", "nodeName"]).filter(|name| !name.is_empty())
    }
}

/// What happened to one object, or (both sides empty) only that the cache has come further.
#[derive(Clone, Debug)]
pub struct Change {
    /// The object before.
    pub old: Option<Arc<Entry>>,
    /// The object after; `None` when it is gone.
    pub new: Option<Arc<Entry>>,
    /// The revision up to which the cache knows everything.
    pub reached: Revision,
}

impl Change {
    /// The newest version known.
    #[must_use]
    pub fn latest(&self) -> Option<&Arc<Entry>> {
        self.new.as_ref().or(self.old.as_ref())
    }

    /// Both versions that are there.
    pub fn sides(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.old.iter().chain(self.new.iter())
    }
}

type Subscriber = Box<dyn Fn(&Change) + Send + Sync>;

#[derive(Default)]
struct State {
    objects: BTreeMap<Key, Arc<Entry>>,
    by_uid: HashMap<Uid, Key>,
    by_owner: HashMap<Uid, BTreeSet<Key>>,
    by_node: HashMap<String, BTreeSet<Key>>,
    reached: Revision,
}

impl State {
    fn insert(&mut self, entry: Arc<Entry>) -> Option<Arc<Entry>> {
        let old = self.take(&entry.key);
        self.by_uid.insert(entry.uid.clone(), entry.key.clone());
        for owner in entry.owners() {
            self.by_owner.entry(owner).or_default().insert(entry.key.clone());
        }
        if let Some(node) = entry.node() {
            self.by_node.entry(node.to_owned()).or_default().insert(entry.key.clone());
        }
        self.objects.insert(entry.key.clone(), entry);
        old
    }

    fn take(&mut self, key: &Key) -> Option<Arc<Entry>> {
        let old = self.objects.remove(key)?;
        self.by_uid.remove(&old.uid);
        for owner in old.owners() {
            unindex(&mut self.by_owner, &owner, key);
        }
        if let Some(node) = old.node() {
            unindex(&mut self.by_node, node, key);
        }
        Some(old)
    }

    fn of(&self, keys: Option<&BTreeSet<Key>>) -> Vec<Arc<Entry>> {
        keys.into_iter().flatten().filter_map(|key| self.objects.get(key).cloned()).collect()
    }
}

fn unindex<K, Q>(index: &mut HashMap<K, BTreeSet<Key>>, at: &Q, key: &Key)
where
    K: std::hash::Hash + Eq + std::borrow::Borrow<Q>,
    Q: std::hash::Hash + Eq + ?Sized,
{
    if let Some(keys) = index.get_mut(at) {
        keys.remove(key);
        if keys.is_empty() {
            index.remove(at);
        }
    }
}

/// All objects of one resource.
pub struct Cache {
    resource: Resource,
    state: RwLock<State>,
    // Held while a change is applied and told, so that subscribers see changes in order and none twice.
    subscribers: Mutex<Vec<Subscriber>>,
    synced: watch::Sender<bool>,
}

impl Cache {
    /// An empty cache that has reached nothing yet.
    #[must_use]
    pub fn new(resource: Resource) -> Self {
        Self { resource, state: RwLock::default(), subscribers: Mutex::default(), synced: watch::Sender::new(false) }
    }

    /// What it holds.
    #[must_use]
    pub fn resource(&self) -> &Resource {
        &self.resource
    }

    /// The revision up to which everything is known.
    #[must_use]
    pub fn reached(&self) -> Revision {
        self.read().reached
    }

    /// Completes when the first list is in.
    pub async fn synced(&self) {
        let mut seen = self.synced.subscribe();
        // The sender lives in `self`, so waiting can't fail.
        let _ = seen.wait_for(|synced| *synced).await;
    }

    /// Calls `told` for every object that is there, then for every change, in order. It must not block.
    pub fn subscribe(&self, told: impl Fn(&Change) + Send + Sync + 'static) {
        let mut subscribers = self.telling();
        let (entries, reached) = {
            let state = self.read();
            (state.objects.values().cloned().collect::<Vec<_>>(), state.reached)
        };
        for entry in entries {
            told(&Change { old: None, new: Some(entry), reached });
        }
        subscribers.push(Box::new(told));
    }

    /// One object.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        self.read().objects.get(key).cloned()
    }

    /// The object of this life.
    #[must_use]
    pub fn by_uid(&self, uid: &Uid) -> Option<Arc<Entry>> {
        let state = self.read();
        state.objects.get(state.by_uid.get(uid)?).cloned()
    }

    /// Everything, by key.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Entry>> {
        self.read().objects.values().cloned().collect()
    }

    /// Everything of a namespace, by name.
    #[must_use]
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<Entry>> {
        let from = Bound::Included(Key::new(namespace, ""));
        let state = self.read();
        let range = state.objects.range((from, Bound::Unbounded));
        range.take_while(|(key, _)| key.namespace == namespace).map(|(_, entry)| Arc::clone(entry)).collect()
    }

    /// What names `owner` among its owners.
    #[must_use]
    pub fn owned_by(&self, owner: &Uid) -> Vec<Arc<Entry>> {
        let state = self.read();
        state.of(state.by_owner.get(owner))
    }

    /// What `spec.nodeName` binds to a node.
    #[must_use]
    pub fn on_node(&self, node: &str) -> Vec<Arc<Entry>> {
        let state = self.read();
        state.of(state.by_node.get(node))
    }

    /// Takes a list in: what is not in it is gone.
    pub fn replace(&self, revision: Revision, items: Vec<Arc<Object>>) {
        let listed: BTreeSet<Key> = items.iter().map(|item| item.key()).collect();
        let gone: Vec<Key> = self.read().objects.keys().filter(|key| !listed.contains(*key)).cloned().collect();
        let subscribers = self.telling();
        for key in gone {
            let old = self.write(|state| state.take(&key));
            self.tell(&subscribers, old, None);
        }
        for item in items {
            let entry = Arc::new(Entry::new(item));
            if self.get(&entry.key).is_some_and(|have| have.revision == entry.revision && have.uid == entry.uid) {
                continue;
            }
            let old = self.write(|state| state.insert(Arc::clone(&entry)));
            self.tell(&subscribers, old, Some(entry));
        }
        self.write(|state| state.reached = state.reached.max(revision));
        self.tell(&subscribers, None, None);
        drop(subscribers);
        self.synced.send_replace(true);
    }

    /// Takes in that an object is new or has changed.
    pub fn put(&self, object: Arc<Object>) {
        let entry = Arc::new(Entry::new(object));
        let subscribers = self.telling();
        if self.get(&entry.key).is_some_and(|have| have.uid == entry.uid && have.revision >= entry.revision) {
            return;
        }
        let old = self.write(|state| {
            state.reached = state.reached.max(entry.revision);
            state.insert(Arc::clone(&entry))
        });
        self.tell(&subscribers, old, Some(entry));
    }

    /// Takes in that an object is gone; `last` is its last state.
    pub fn remove(&self, last: &Object) {
        let subscribers = self.telling();
        let old = self.write(|state| {
            state.reached = state.reached.max(last.revision().unwrap_or_default());
            state.take(&last.key())
        });
        self.tell(&subscribers, old, None);
    }

    /// Takes in that nothing changed up to a revision.
    pub fn advance(&self, revision: Revision) {
        let subscribers = self.telling();
        self.write(|state| state.reached = state.reached.max(revision));
        self.tell(&subscribers, None, None);
    }

    fn tell(&self, subscribers: &[Subscriber], old: Option<Arc<Entry>>, new: Option<Arc<Entry>>) {
        let change = Change { old, new, reached: self.reached() };
        for told in subscribers {
            told(&change);
        }
    }

    fn telling(&self) -> MutexGuard<'_, Vec<Subscriber>> {
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        change(&mut self.state.write().unwrap_or_else(PoisonError::into_inner))
    }
}
