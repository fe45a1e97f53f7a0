//! Which keys are due: each once, never while it is being worked on or while caches have not shown its last writes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use jiff::Timestamp;
use kprov_schema::{Key, Resource, Revision, Uid};

use crate::informer::{Change, Entry};

/// A write whose effect a cache must show before its key is looked at again.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Written {
    /// The cache of the kind must reach the revision.
    At(Resource, Revision),
    /// The object of this life must be gone, or be on its way out.
    Deleted(Resource, Key, Uid),
    /// The object of this life must be gone.
    Gone(Resource, Key, Uid),
}

/// An object whose end a key waits to see.
struct Leaving {
    uid: Uid,
    // Whether it must be gone; else it is enough that it is on its way out.
    gone: bool,
    key: Key,
}

impl Leaving {
    fn is_there(&self, object: &Entry) -> bool {
        object.uid == self.uid && (self.gone || !object.raw.is_deleting())
    }
}

#[derive(Default)]
pub(super) struct Queue {
    due: VecDeque<Key>,
    queued: HashSet<Key>,
    working: HashSet<Key>,
    // Keys that changed while they could not be looked at.
    again: HashSet<Key>,
    // How many writes a key still waits to see.
    unseen: HashMap<Key, usize>,
    by_revision: HashMap<Resource, BTreeMap<Revision, Vec<Key>>>,
    by_deletion: HashMap<(Resource, Key), Vec<Leaving>>,
    timers: BTreeSet<(Timestamp, Key)>,
    timer_of: HashMap<Key, Timestamp>,
}

impl Queue {
    /// Asks for a key to be looked at.
    pub(super) fn add(&mut self, key: Key) {
        if self.working.contains(&key) || self.unseen.contains_key(&key) {
            self.again.insert(key);
        } else if self.queued.insert(key.clone()) {
            self.due.push_back(key);
        }
    }

    /// Asks for a key to be looked at no later than a moment; an earlier request stands.
    pub(super) fn add_at(&mut self, key: Key, at: Timestamp) {
        if let Some(before) = self.timer_of.get(&key).copied() {
            if before <= at {
                return;
            }
            self.timers.remove(&(before, key.clone()));
        }
        self.timer_of.insert(key.clone(), at);
        self.timers.insert((at, key));
    }

    /// The next moment at which a key becomes due.
    pub(super) fn next_timer(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Moves keys whose moment has come to the due ones.
    pub(super) fn ring(&mut self, now: Timestamp) {
        while let Some((at, key)) = self.timers.first().cloned() {
            if at > now {
                return;
            }
            self.timers.pop_first();
            self.timer_of.remove(&key);
            self.add(key);
        }
    }

    /// Takes the next due key to work on. What it asked to be woken for is up to its next outcome.
    pub(super) fn take(&mut self) -> Option<Key> {
        let key = self.due.pop_front()?;
        self.queued.remove(&key);
        self.working.insert(key.clone());
        if let Some(at) = self.timer_of.remove(&key) {
            self.timers.remove(&(at, key.clone()));
        }
        Some(key)
    }

    /// A key's round is over; `writes` are those that its caches do not show yet.
    pub(super) fn finish(&mut self, key: &Key, writes: Vec<Written>) {
        self.working.remove(key);
        if writes.is_empty() {
            self.release(key);
            return;
        }
        self.unseen.insert(key.clone(), writes.len());
        for write in writes {
            match write {
                Written::At(resource, revision) => {
                    self.by_revision.entry(resource).or_default().entry(revision).or_default().push(key.clone());
                }
                Written::Deleted(resource, object, uid) => self.leaves(resource, object, uid, false, key),
                Written::Gone(resource, object, uid) => self.leaves(resource, object, uid, true, key),
            }
        }
    }

    fn leaves(&mut self, resource: Resource, object: Key, uid: Uid, gone: bool, key: &Key) {
        let leaving = Leaving { uid, gone, key: key.clone() };
        self.by_deletion.entry((resource, object)).or_default().push(leaving);
    }

    fn release(&mut self, key: &Key) {
        if self.again.remove(key) {
            self.add(key.clone());
        }
    }

    fn saw_one(&mut self, key: &Key) {
        let Some(left) = self.unseen.get_mut(key) else { return };
        *left -= 1;
        if *left == 0 {
            self.unseen.remove(key);
            self.release(key);
        }
    }

    /// Notes what a cache shows now. Changed keys must be added before, so that they are looked at once released.
    pub(super) fn saw(&mut self, resource: &Resource, change: &Change) {
        if let Some(waiting) = self.by_revision.get_mut(resource) {
            let later = waiting.split_off(&Revision(change.reached.0 + 1));
            let passed = std::mem::replace(waiting, later);
            for key in passed.into_values().flatten() {
                self.saw_one(&key);
            }
        }
        let Some(latest) = change.latest() else { return };
        let at = (resource.clone(), latest.key.clone());
        let Some(waiting) = self.by_deletion.remove(&at) else { return };
        let (still, passed): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|leaving| change.new.as_ref().is_some_and(|new| leaving.is_there(new)));
        if !still.is_empty() {
            self.by_deletion.insert(at, still);
        }
        for leaving in passed {
            self.saw_one(&leaving.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kprov_schema::Object;
    use serde_json::json;

    use super::*;

    fn pods() -> Resource {
        Resource::of::<k8s_openapi::api::core::v1::Pod>()
    }

    fn pod(uid: &str, revision: u64, deleting: bool) -> Arc<Entry> {
        let mut object = Object::try_from(
            json!({"metadata": {"name": "p", "namespace": "n", "uid": uid, "resourceVersion": revision.to_string()}}),
        )
        .unwrap();
        if deleting {
            object.set(&["metadata", "deletionTimestamp"], json!("2026-01-01T00:00:00Z"));
        }
        Arc::new(Entry::new(Arc::new(object)))
    }

    #[test]
    fn a_key_is_queued_once_and_waits_for_its_own_writes() {
        let (mut queue, key) = (Queue::default(), Key::new("n", "k"));
        queue.add(key.clone());
        queue.add(key.clone());
        assert_eq!(queue.take(), Some(key.clone()));
        assert_eq!(queue.take(), None);
        queue.add(key.clone());
        queue.finish(&key, vec![Written::At(pods(), Revision(7))]);
        assert_eq!(queue.take(), None, "the cache has not shown the write yet");
        queue.saw(&pods(), &Change { old: None, new: None, reached: Revision(6) });
        assert_eq!(queue.take(), None);
        queue.saw(&pods(), &Change { old: None, new: None, reached: Revision(7) });
        assert_eq!(queue.take(), Some(key));
    }

    #[test]
    fn a_deletion_is_seen_when_the_object_is_going_or_gone() {
        let (mut queue, key) = (Queue::default(), Key::new("n", "k"));
        queue.add(key.clone());
        assert!(queue.take().is_some());
        queue.add(key.clone());
        queue.finish(&key, vec![Written::Deleted(pods(), Key::new("n", "p"), Uid("u".into()))]);
        let change = |new: Arc<Entry>| Change { old: None, reached: new.revision, new: Some(new) };
        queue.saw(&pods(), &change(pod("u", 3, false)));
        assert_eq!(queue.take(), None);
        queue.saw(&pods(), &change(pod("u", 4, true)));
        assert_eq!(queue.take(), Some(key));
    }

    #[test]
    fn an_object_that_a_write_let_go_is_waited_for_until_it_is_gone() {
        let (mut queue, key) = (Queue::default(), Key::new("n", "k"));
        queue.add(key.clone());
        assert!(queue.take().is_some());
        queue.add(key.clone());
        queue.finish(&key, vec![Written::Gone(pods(), Key::new("n", "p"), Uid("u".into()))]);
        let (before, reached) = (pod("u", 4, true), Revision(4));
        queue.saw(&pods(), &Change { old: None, new: Some(before.clone()), reached });
        assert_eq!(queue.take(), None, "its deletion had begun before");
        queue.saw(&pods(), &Change { old: Some(before), new: None, reached });
        assert_eq!(queue.take(), Some(key));
    }

    #[test]
    fn an_earlier_timer_stands() {
        let (mut queue, key) = (Queue::default(), Key::new("", "k"));
        let at = |second| Timestamp::from_second(second).unwrap();
        queue.add_at(key.clone(), at(20));
        queue.add_at(key.clone(), at(10));
        queue.add_at(key.clone(), at(30));
        assert_eq!(queue.next_timer(), Some(at(10)));
        queue.ring(at(9));
        assert_eq!(queue.take(), None);
        queue.ring(at(10));
        assert_eq!(queue.take(), Some(key));
        assert_eq!(queue.next_timer(), None);
    }
}
