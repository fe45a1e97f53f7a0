//! Everything in memory: the newest objects, with as much history as the window allows.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kprov_schema::Revision;

use super::kept::Kept;
use super::{Change, Prefix, ReadError, StoreKey, Stored};

/// How much history is kept. What is outside either bound goes, whoever still wants to read it.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Estimated memory of the changes, in bytes.
    pub bytes: usize,
    /// Age of the oldest change.
    pub age: Duration,
    /// Age up to which changes are kept whole, for watches to tell them, in at most half of the bytes. Older ones are kept
    /// as text, which takes a tenth of the memory.
    pub whole: Duration,
}

impl Default for Window {
    /// 64 MiB of changes, five minutes at most.
    fn default() -> Self {
        Self { bytes: 64 << 20, age: Duration::from_secs(300), whole: Duration::from_secs(5) }
    }
}

/// Objects of a prefix at one revision, in the order of their keys.
#[derive(Clone, Debug)]
pub struct Page {
    /// The objects.
    pub items: Vec<Arc<Stored>>,
    /// The revision they are of.
    pub revision: Revision,
    /// How many more there are behind the last item.
    pub remaining: usize,
    /// Whether there are more.
    pub more: bool,
}

/// What happened after a revision.
#[derive(Clone, Debug)]
pub struct Events {
    /// The changes, oldest first. Those of one revision are never split over two reads.
    pub events: Vec<Arc<Change>>,
    /// Everything up to here has been told: go on from here.
    pub upto: Revision,
}

/// One resource.
#[derive(Debug)]
struct Shelf {
    objects: BTreeMap<StoreKey, Arc<Stored>>,
    log: VecDeque<Kept>,
    /// How many of the log's oldest changes are kept as text.
    packed: usize,
    /// Changes after this revision are all in `log`.
    floor: Revision,
}

/// What is read under the lock.
pub(super) struct Read {
    changes: Vec<Kept>,
    upto: Revision,
}

impl Read {
    pub(super) fn events(self) -> Events {
        Events { events: self.changes.iter().map(Kept::change).collect(), upto: self.upto }
    }
}

#[derive(Debug)]
struct Entry {
    change: Kept,
    at: Timestamp,
    weight: usize,
}

#[derive(Debug)]
pub(super) struct State {
    head: Revision,
    shelves: BTreeMap<Box<str>, Shelf>,
    history: VecDeque<Entry>,
    /// How many of the history's oldest changes are kept as text.
    packed: usize,
    weight: usize,
    /// What of the weight are changes that are kept whole.
    whole: usize,
    /// The head when the store was opened: the floor of a resource that has not been seen since.
    base: Revision,
    /// Changes after this revision are all in `history`.
    floor: Revision,
}

impl State {
    pub(super) fn new(head: Revision, objects: Vec<Arc<Stored>>) -> Self {
        let mut state = Self {
            head,
            shelves: BTreeMap::new(),
            history: VecDeque::new(),
            packed: 0,
            weight: 0,
            whole: 0,
            base: head,
            floor: head,
        };
        for stored in objects {
            let key = stored.key.clone();
            state.shelf(key.shelf()).objects.insert(key, stored);
        }
        state
    }

    pub(super) fn head(&self) -> Revision {
        self.head
    }

    pub(super) fn get(&self, key: &StoreKey) -> Option<&Arc<Stored>> {
        self.shelves.get(key.shelf())?.objects.get(key)
    }

    /// Takes over changes that are on disk. `changes` are in the order of their revisions, none beyond `head`.
    pub(super) fn apply(&mut self, changes: Vec<Arc<Change>>, head: Revision, at: Timestamp) {
        for change in changes {
            let shelf = self.shelf(change.key.shelf());
            match &change.new {
                Some(new) => shelf.objects.insert(change.key.clone(), new.clone()),
                None => shelf.objects.remove(&change.key),
            };
            let change = Kept::Whole(change);
            shelf.log.push_back(change.clone());
            let weight = change.weight();
            self.weight += weight;
            self.whole += weight;
            self.history.push_back(Entry { change, at, weight });
        }
        self.head = head;
    }

    /// Keeps older changes as text, drops what is outside the window, and hands over what goes, so that it can be freed
    /// outside of any lock.
    pub(super) fn trim(&mut self, window: Window, now: Timestamp) -> Vec<Kept> {
        let mut dropped = self.pack(window, now);
        let mut last = None;
        while let Some(front) = self.history.front() {
            // The changes of one revision go together, else a reader would see half a transaction.
            let begun = last.replace(front.change.revision()) == Some(front.change.revision());
            if !begun && self.weight <= window.bytes && age(front, now) < window.age {
                break;
            }
            let entry = self.history.pop_front().expect("there is a front");
            self.weight -= entry.weight;
            if self.packed == 0 {
                self.whole -= entry.weight;
            }
            self.packed = self.packed.saturating_sub(1);
            self.floor = entry.change.revision();
            let shelf = self.shelf(entry.change.key().shelf());
            shelf.log.pop_front();
            shelf.packed = shelf.packed.saturating_sub(1);
            shelf.floor = entry.change.revision();
            dropped.push(entry.change);
        }
        dropped
    }

    /// Keeps older changes as text, and hands over what they were.
    fn pack(&mut self, window: Window, now: Timestamp) -> Vec<Kept> {
        let mut before = Vec::new();
        while let Some(entry) = self.history.get_mut(self.packed) {
            if age(entry, now) < window.whole && self.whole <= window.bytes / 2 {
                break;
            }
            let packed = entry.change.packed();
            self.whole -= entry.weight;
            self.weight -= entry.weight;
            entry.weight = packed.weight();
            self.weight += entry.weight;
            before.push(std::mem::replace(&mut entry.change, packed.clone()));
            self.packed += 1;
            // A resource's log has the same changes in the same order.
            let shelf = self.shelf(packed.key().shelf());
            let at = shelf.packed;
            before.extend(shelf.log.get_mut(at).map(|change| std::mem::replace(change, packed)));
            shelf.packed += 1;
        }
        before
    }

    /// When the oldest change will be too old.
    pub(super) fn expiry(&self, window: Window) -> Option<Timestamp> {
        self.history.front().map(|entry| entry.at.saturating_add(window.age).unwrap_or(Timestamp::MAX))
    }

    pub(super) fn list(
        &self,
        prefix: &Prefix,
        after: Option<&StoreKey>,
        limit: Option<usize>,
        at: Option<Revision>,
    ) -> Result<Page, ReadError> {
        let revision = at.unwrap_or(self.head);
        self.reached(revision)?;
        let limit = limit.unwrap_or(usize::MAX);
        let mut page = Page { items: Vec::new(), revision, remaining: 0, more: false };
        let mut visit = |stored: &Arc<Stored>| {
            if page.items.len() < limit {
                page.items.push(stored.clone());
            } else {
                page.remaining += 1;
            }
        };
        match prefix.shelf() {
            None => {
                kept(revision, self.floor)?;
                self.shelves.values().for_each(|shelf| shelf.visit(prefix, after, revision, &mut visit));
            }
            Some(name) => {
                let shelf = self.shelves.get(name);
                kept(revision, shelf.map_or(self.base, |shelf| shelf.floor))?;
                shelf.into_iter().for_each(|shelf| shelf.visit(prefix, after, revision, &mut visit));
            }
        }
        page.more = page.remaining > 0;
        Ok(page)
    }

    pub(super) fn since(&self, revision: Revision, prefix: &Prefix, max: usize) -> Result<Read, ReadError> {
        self.reached(revision)?;
        let Some(name) = prefix.shelf() else {
            kept(revision, self.floor)?;
            let start = self.history.partition_point(|entry| entry.change.revision() <= revision);
            return Ok(self.cut(self.history.range(start..).map(|entry| &entry.change), max));
        };
        let shelf = self.shelves.get(name);
        kept(revision, shelf.map_or(self.base, |shelf| shelf.floor))?;
        let log = shelf.into_iter().flat_map(|shelf| shelf.log.range(shelf.after(revision)..));
        Ok(self.cut(log.filter(|change| prefix.covers(change.key())), max))
    }

    /// At least `max` changes if there are as many, then to the end of the last one's revision.
    fn cut<'a>(&self, log: impl Iterator<Item = &'a Kept>, max: usize) -> Read {
        let mut changes: Vec<Kept> = Vec::new();
        for change in log {
            if let Some(last) = changes.last()
                && changes.len() >= max
                && last.revision() != change.revision()
            {
                let upto = last.revision();
                return Read { changes, upto };
            }
            changes.push(change.clone());
        }
        Read { changes, upto: self.head }
    }

    fn reached(&self, asked: Revision) -> Result<(), ReadError> {
        if asked > self.head { Err(ReadError::Ahead { asked, head: self.head }) } else { Ok(()) }
    }

    fn shelf(&mut self, name: &str) -> &mut Shelf {
        if !self.shelves.contains_key(name) {
            let shelf = Shelf { objects: BTreeMap::new(), log: VecDeque::new(), packed: 0, floor: self.base };
            self.shelves.insert(name.into(), shelf);
        }
        self.shelves.get_mut(name).expect("it was made when it was not there")
    }
}

impl Shelf {
    /// The position in the log of the first change after a revision.
    fn after(&self, revision: Revision) -> usize {
        self.log.partition_point(|change| change.revision() <= revision)
    }

    /// Calls `visit` with every object as it was at a revision not behind the floor.
    ///
    /// What has changed since then is undone: the oldest change after the revision knows the object before it.
    fn visit(&self, prefix: &Prefix, after: Option<&StoreKey>, at: Revision, visit: &mut impl FnMut(&Arc<Stored>)) {
        let wanted = |key: &StoreKey| prefix.covers(key) && after.is_none_or(|after| key > after);
        let mut undone: BTreeMap<&StoreKey, Option<Arc<Stored>>> = BTreeMap::new();
        for change in self.log.range(self.after(at)..).filter(|change| wanted(change.key())) {
            undone.entry(change.key()).or_insert_with(|| change.old());
        }
        let start = match after {
            Some(after) if after.as_str() >= prefix.start() => Bound::Excluded(after.as_str()),
            _ => Bound::Included(prefix.start()),
        };
        let mut undone = undone.into_iter().peekable();
        let newest = self.objects.range::<str, _>((start, Bound::Unbounded));
        for (key, stored) in newest.take_while(|(key, _)| prefix.covers(key)) {
            while let Some((_, old)) = undone.next_if(|(gone, _)| *gone < key) {
                old.iter().for_each(&mut *visit);
            }
            match undone.next_if(|(changed, _)| *changed == key) {
                Some((_, old)) => old.iter().for_each(&mut *visit),
                None => visit(stored),
            }
        }
        undone.filter_map(|(_, old)| old).for_each(|old| visit(&old));
    }
}

fn age(entry: &Entry, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(entry.at)).unwrap_or(Duration::ZERO)
}

fn kept(asked: Revision, oldest: Revision) -> Result<(), ReadError> {
    if asked < oldest { Err(ReadError::Compacted { asked, oldest }) } else { Ok(()) }
}
