//! Pods that wait for a node: those to decide on now, those backing off, those that wait for something to change.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kprov_schema::Key;

use super::claims;
use super::decide::Reasons;
use super::pod::PodInfo;

const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const LAST_BACKOFF: Duration = Duration::from_secs(10);

/// What happened that may let waiting pods go somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// A node came or changed.
    Node,
    /// A pod left a node.
    Room,
    /// A pod came to a node.
    Neighbour,
    /// A claim, a volume or a storage class came or changed.
    Storage,
}

impl News {
    /// Whether a filter may decide otherwise after it.
    fn concerns(self, filter: &str) -> bool {
        match self {
            Self::Node => true,
            Self::Room => !matches!(
                filter,
                "NodeUnschedulable" | "NodeName" | "TaintToleration" | "NodeAffinity" | claims::FILTER
            ),
            Self::Storage => filter == claims::FILTER,
            Self::Neighbour => matches!(filter, "PodTopologySpread" | "InterPodAffinity"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Due,
    // Until then.
    Backing(Timestamp),
    Waiting,
    // Being decided on or bound.
    Out,
}

#[derive(Debug)]
struct Item {
    pod: Arc<PodInfo>,
    order: u64,
    attempts: u32,
    retry_at: Timestamp,
    reasons: Reasons,
    place: Place,
}

/// The queue. Higher priority first, then first come.
#[derive(Default)]
pub struct Queue {
    items: HashMap<Key, Item>,
    due: BTreeMap<(std::cmp::Reverse<i32>, u64), Key>,
    backing: BTreeSet<(Timestamp, Key)>,
    waiting: BTreeSet<Key>,
    // Those of the waiting that other pods' places concern.
    minding: BTreeSet<Key>,
    orders: u64,
}

impl Queue {
    /// Takes in a pod that has no node. One that is known is tried anew, since it has changed.
    pub fn put(&mut self, pod: Arc<PodInfo>) {
        let key = pod.key.clone();
        match self.items.get_mut(&key) {
            Some(item) if item.place == Place::Out => item.pod = pod,
            Some(_) => {
                self.unplace(&key);
                self.items.entry(key.clone()).and_modify(|item| item.pod = pod);
                self.place(&key, Place::Due);
            }
            None => {
                self.orders += 1;
                let item = Item {
                    pod,
                    order: self.orders,
                    attempts: 0,
                    retry_at: Timestamp::UNIX_EPOCH,
                    reasons: Reasons::default(),
                    place: Place::Out,
                };
                self.items.insert(key.clone(), item);
                self.place(&key, Place::Due);
            }
        }
    }

    /// Whether a pod is in it, and as which version.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&Arc<PodInfo>> {
        self.items.get(key).map(|item| &item.pod)
    }

    /// Forgets a pod.
    pub fn remove(&mut self, key: &Key) {
        self.unplace(key);
        self.items.remove(key);
    }

    /// The next pod to decide on. It is out until it comes back by `failed` or is removed.
    pub fn take(&mut self) -> Option<Arc<PodInfo>> {
        let (_, key) = self.due.pop_first()?;
        let item = self.items.get_mut(&key)?;
        item.place = Place::Out;
        item.attempts += 1;
        Some(Arc::clone(&item.pod))
    }

    /// A pod could not go anywhere: it waits for news that concern the reasons.
    pub fn wait(&mut self, key: &Key, reasons: Reasons, now: Timestamp) {
        let Some(item) = self.items.get_mut(key) else { return };
        item.retry_at = now + backoff(item.attempts);
        item.reasons = reasons;
        self.place(key, Place::Waiting);
    }

    /// A pod could not be bound: it is tried again after a while.
    pub fn retry(&mut self, key: &Key, now: Timestamp) {
        let Some(item) = self.items.get_mut(key) else { return };
        let at = now + backoff(item.attempts);
        item.retry_at = at;
        self.place(key, Place::Backing(at));
    }

    /// Wakes the pods that something concerns, though none before its back-off is over.
    pub fn news(&mut self, news: News, now: Timestamp) {
        let concerned = |key: &&Key| {
            let filters = &self.items[*key].reasons.filters;
            filters.is_empty() || filters.iter().any(|filter| news.concerns(filter))
        };
        let among = if news == News::Neighbour { &self.minding } else { &self.waiting };
        let woken: Vec<Key> = among.iter().filter(concerned).cloned().collect();
        for key in woken {
            let retry_at = self.items[&key].retry_at;
            self.place(&key, if retry_at <= now { Place::Due } else { Place::Backing(retry_at) });
        }
    }

    /// Makes pods due whose back-off is over; the next moment at which one is.
    pub fn ring(&mut self, now: Timestamp) -> Option<Timestamp> {
        while let Some((at, key)) = self.backing.first().cloned() {
            if at > now {
                return Some(at);
            }
            self.place(&key, Place::Due);
        }
        None
    }

    fn place(&mut self, key: &Key, place: Place) {
        self.unplace(key);
        let Some(item) = self.items.get_mut(key) else { return };
        item.place = place;
        match place {
            Place::Due => {
                self.due.insert((std::cmp::Reverse(item.pod.priority), item.order), key.clone());
            }
            Place::Backing(at) => {
                self.backing.insert((at, key.clone()));
            }
            Place::Waiting => {
                self.waiting.insert(key.clone());
                if item.reasons.filters.iter().any(|filter| News::Neighbour.concerns(filter)) {
                    self.minding.insert(key.clone());
                }
            }
            Place::Out => {}
        }
    }

    fn unplace(&mut self, key: &Key) {
        let Some(item) = self.items.get_mut(key) else { return };
        match std::mem::replace(&mut item.place, Place::Out) {
            Place::Due => {
                self.due.remove(&(std::cmp::Reverse(item.pod.priority), item.order));
            }
            Place::Backing(at) => {
                self.backing.remove(&(at, key.clone()));
            }
            Place::Waiting => {
                self.waiting.remove(key);
                self.minding.remove(key);
            }
            Place::Out => {}
        }
    }
}

/// A second, doubled by each attempt, up to ten.
fn backoff(attempts: u32) -> Duration {
    FIRST_BACKOFF.saturating_mul(1 << attempts.saturating_sub(1).min(10)).min(LAST_BACKOFF)
}

#[cfg(test)]
mod tests {
    use kprov_schema::Object;
    use serde_json::json;

    use super::*;

    fn pod(name: &str, priority: i32) -> Arc<PodInfo> {
        let object = json!({
            "metadata": {"name": name, "namespace": "n"},
            "spec": {"priority": priority, "containers": []},
        });
        let typed = serde_json::from_value(object.clone()).unwrap();
        Arc::new(PodInfo::new(&Arc::new(Object::try_from(object).unwrap()), &typed, None))
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_more_important_goes_first_then_the_earlier() {
        let mut queue = Queue::default();
        for (name, priority) in [("a", 0), ("b", 5), ("c", 0)] {
            queue.put(pod(name, priority));
        }
        let order: Vec<String> = std::iter::from_fn(|| queue.take()).map(|pod| pod.key.name.clone()).collect();
        assert_eq!(order, ["b", "a", "c"]);
    }

    #[test]
    fn only_news_that_concern_a_pod_wake_it_and_not_before_its_backoff() {
        let mut queue = Queue::default();
        queue.put(pod("a", 0));
        let taken = queue.take().unwrap();
        let reasons = Reasons { message: String::new(), filters: BTreeSet::from(["NodeResourcesFit"]) };
        queue.wait(&taken.key, reasons, at(10));
        queue.news(News::Neighbour, at(20));
        assert!(queue.take().is_none());
        queue.news(News::Room, at(10));
        assert!(queue.take().is_none());
        assert_eq!(queue.ring(at(10)), Some(at(11)));
        assert_eq!(queue.ring(at(11)), None);
        assert_eq!(queue.take().unwrap().key, taken.key);
    }
}
