//! The caches of some kinds: those that were asked for, and those of kinds that are defined at run time.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, Guard};
use kprov_schema::{Kind, Resource, Revision};

use super::Cache;

/// A kind that is defined at run time, with its objects.
pub type Defined = (Arc<Kind>, Arc<Cache>);

type Subscriber = Box<dyn Fn(&Arc<Cache>) + Send + Sync>;

/// Caches by resource. It dereferences to those that were asked for.
#[derive(Default)]
pub struct Caches {
    fixed: HashMap<Resource, Arc<Cache>>,
    defined: ArcSwap<Vec<Defined>>,
    // Held while kinds come and go, so that a subscriber is told of each once.
    subscribers: Mutex<Vec<Subscriber>>,
}

impl Deref for Caches {
    type Target = HashMap<Resource, Arc<Cache>>;
    fn deref(&self) -> &Self::Target {
        &self.fixed
    }
}

impl FromIterator<(Resource, Arc<Cache>)> for Caches {
    fn from_iter<I: IntoIterator<Item = (Resource, Arc<Cache>)>>(caches: I) -> Self {
        Self { fixed: caches.into_iter().collect(), ..Self::default() }
    }
}

impl Caches {
    /// The kinds that are defined at run time, as of now; none unless they are followed.
    #[must_use]
    pub fn defined(&self) -> Guard<Arc<Vec<Defined>>> {
        self.defined.load()
    }

    /// Calls `told` with the cache of every defined kind, and of those that come. It must not block.
    pub fn subscribe_to_defined(&self, told: impl Fn(&Arc<Cache>) + Send + Sync + 'static) {
        let mut subscribers = self.subscribers();
        self.defined.load().iter().for_each(|(_, cache)| told(cache));
        subscribers.push(Box::new(told));
    }

    /// Takes in which kinds are defined now; the answer is the caches that are new.
    pub(super) fn define(&self, kinds: Vec<Arc<Kind>>) -> Vec<Arc<Cache>> {
        let subscribers = self.subscribers();
        let before = self.defined.load_full();
        let had = |resource: &Resource| before.iter().find(|(kind, _)| kind.resource == *resource);
        let mut new = Vec::new();
        let after: Vec<Defined> = kinds
            .into_iter()
            .map(|kind| match had(&kind.resource) {
                Some((_, cache)) => (kind, Arc::clone(cache)),
                None => {
                    let cache = Arc::new(Cache::new(kind.resource.clone()));
                    new.push(Arc::clone(&cache));
                    (kind, cache)
                }
            })
            .collect();
        let stays = |resource: &Resource| after.iter().any(|(kind, _)| kind.resource == *resource);
        let gone: Vec<Arc<Cache>> =
            before.iter().filter(|(kind, _)| !stays(&kind.resource)).map(|(_, cache)| Arc::clone(cache)).collect();
        self.defined.store(Arc::new(after));
        for cache in &new {
            subscribers.iter().for_each(|told| told(cache));
        }
        // What is not served any more is gone, whether or not its end was seen.
        gone.iter().for_each(|cache| cache.replace(Revision::default(), Vec::new()));
        new
    }

    fn subscribers(&self) -> MutexGuard<'_, Vec<Subscriber>> {
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use kprov_schema::{Object, custom};
    use serde_json::json;

    use super::*;

    fn kind(plural: &str) -> Arc<Kind> {
        let definition = json!({"spec": {
            "group": "a.b", "scope": "Namespaced", "names": {"plural": plural, "kind": "X"},
            "versions": [{"name": "v1", "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}],
        }});
        Arc::new(custom::kind(&Object::try_from(definition).unwrap(), "v1").unwrap())
    }

    #[test]
    fn kinds_come_and_go_with_what_they_hold() {
        let caches = Caches::default();
        let (kinds, changes) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        assert_eq!(caches.define(vec![kind("xs")]).len(), 1);
        let (told, seen) = (kinds.clone(), changes.clone());
        caches.subscribe_to_defined(move |cache| {
            told.fetch_add(1, Ordering::Relaxed);
            let seen = seen.clone();
            cache.subscribe(move |change| {
                seen.fetch_add(usize::from(change.new.is_none() && change.old.is_some()), Ordering::Relaxed);
            });
        });
        assert_eq!(caches.define(vec![kind("xs"), kind("ys")]).len(), 1);
        assert_eq!(kinds.load(Ordering::Relaxed), 2);
        let object = json!({"metadata": {"name": "one", "uid": "1", "resourceVersion": "1"}});
        caches.defined()[0].1.put(Arc::new(Object::try_from(object).unwrap()));
        assert!(caches.define(vec![kind("ys")]).is_empty());
        assert_eq!((caches.defined().len(), changes.load(Ordering::Relaxed)), (1, 1));
    }
}
