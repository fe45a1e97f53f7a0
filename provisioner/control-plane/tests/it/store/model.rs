//! The store does what a map with a counter does, whatever it is asked.

use std::collections::BTreeMap;
use std::time::Duration;

use kprov_control_plane::store::{
    Amend, Amendment, CommitError, Effect, Expect, Op, Prefix, ReadError, Store, StoreKey, Txn, Window,
};
use kprov_control_plane::world::memory::MemoryWorld;
use kprov_schema::{Object, Revision};
use proptest::prelude::*;

use super::*;

/// Small enough that a run loses history, large enough that most reads find it; some of it is kept as text.
const WINDOW: Window = Window { bytes: 12_000, age: Duration::from_secs(60), whole: Duration::from_secs(1) };

const KEYS: &[&str] = &[
    "/core/pods/a/one",
    "/core/pods/a/two",
    "/core/pods/a-b/one",
    "/core/pods/b/one",
    "/core/nodes/one",
    "/core/nodes/two",
    "/apps/deployments/a/one",
];

fn prefixes() -> Vec<Prefix> {
    let mut all = vec![Prefix::Everything, Prefix::Resource("/none/such/".into())];
    for text in ["/core/pods/", "/core/nodes/", "/apps/deployments/"] {
        all.push(Prefix::Resource(text.into()));
    }
    for text in ["/core/pods/a/", "/core/pods/a-b/", "/core/pods/c/"] {
        all.push(Prefix::Namespace(text.into()));
    }
    all.extend(KEYS.iter().map(|text| Prefix::Object(key(text))));
    all
}

#[derive(Clone, Copy, Debug)]
enum Expected {
    Absent,
    Any,
    Right,
    Wrong,
}

#[derive(Clone, Debug)]
enum Step {
    /// Key, expectation, what to do: 0 deletes, 1 keeps, 2 amends, else puts.
    Commit(Vec<(usize, Expected, u8)>),
    /// Prefix, key to list behind, limit, revisions back from the head.
    List(usize, Option<usize>, Option<usize>, u64),
    /// Prefix, revisions back, events a read.
    Watch(usize, u64, usize),
    Wait(u64),
    Reopen,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let expected = prop_oneof![
        Just(Expected::Absent),
        Just(Expected::Any),
        Just(Expected::Any),
        Just(Expected::Right),
        Just(Expected::Wrong)
    ];
    let op = (0..KEYS.len(), expected, 0u8..8);
    prop_oneof![
        12 => prop::collection::vec(op, 1..4).prop_map(Step::Commit),
        6 => (0usize..99, prop::option::of(0..KEYS.len()), prop::option::of(0usize..5), 0u64..30)
            .prop_map(|(prefix, after, limit, back)| Step::List(prefix, after, limit, back)),
        6 => (0usize..99, 0u64..30, 1usize..4).prop_map(|(prefix, back, max)| Step::Watch(prefix, back, max)),
        1 => (1u64..90).prop_map(Step::Wait),
        1 => Just(Step::Reopen),
        1 => Just(Step::Crash),
    ]
}

type Objects = BTreeMap<StoreKey, (Revision, String)>;

/// What amendments make of a value.
fn longer(object: &Object) -> String {
    format!("{}+", object.label("is").unwrap())
}

/// All objects at every revision there was.
struct Model {
    moments: BTreeMap<Revision, Objects>,
    /// The head when the store was opened.
    base: Revision,
    next_value: u32,
}

impl Model {
    fn head(&self) -> Revision {
        *self.moments.keys().next_back().unwrap()
    }

    fn newest(&self) -> &Objects {
        &self.moments[&self.head()]
    }

    fn txn(&mut self, ops: &[(usize, Expected, u8)]) -> Txn {
        let ops = ops.iter().map(|(index, expected, effect)| {
            let key = key(KEYS[*index]);
            let revision = self.newest().get(&key).map_or(Revision(999_999), |(revision, _)| *revision);
            let expect = match expected {
                Expected::Absent => Expect::Absent,
                Expected::Any => Expect::Any,
                Expected::Right => Expect::At(revision),
                Expected::Wrong => Expect::At(Revision(revision.0 - 1)),
            };
            self.next_value += 1;
            let effect = match effect {
                0 => Effect::Delete,
                1 => Effect::Keep,
                2 => Effect::Amend(Amend::new(|stored| Amendment::Put(object(&longer(&stored.object))))),
                3 => Effect::Last(object(&self.next_value.to_string())),
                _ => Effect::Put(object(&self.next_value.to_string())),
            };
            Op { key, expect, effect }
        });
        Txn(ops.collect())
    }

    /// The objects after each revision of a transaction; `None` when it is refused.
    fn apply(&self, txn: &Txn) -> Option<Vec<Objects>> {
        let mut objects = self.newest().clone();
        let (next, mut changed, mut going) = (Revision(self.head().0 + 1), false, Vec::new());
        for (index, op) in txn.0.iter().enumerate() {
            let found = self.newest().get(&op.key);
            let holds = match op.expect {
                Expect::Absent => found.is_none(),
                Expect::At(revision) => found.is_some_and(|(found, _)| *found == revision),
                Expect::Any => true,
            };
            if !holds || txn.0[..index].iter().any(|other| other.key == op.key) {
                return None;
            }
            match &op.effect {
                Effect::Put(object) => {
                    objects.insert(op.key.clone(), (next, object.label("is").unwrap().to_owned()));
                    changed = true;
                }
                Effect::Last(object) => {
                    objects.insert(op.key.clone(), (next, object.label("is").unwrap().to_owned()));
                    going.push(&op.key);
                    changed = true;
                }
                Effect::Delete => changed |= objects.remove(&op.key).is_some(),
                Effect::Keep => {}
                Effect::Amend(_) => {
                    let (_, value) = found?;
                    objects.insert(op.key.clone(), (next, format!("{value}+")));
                    changed = true;
                }
            }
        }
        let mut after: Vec<Objects> = changed.then(|| objects.clone()).into_iter().collect();
        if !going.is_empty() {
            going.iter().for_each(|key| drop(objects.remove(*key)));
            after.push(objects);
        }
        Some(after)
    }
}

async fn commit(model: &mut Model, store: &Store, ops: &[(usize, Expected, u8)]) {
    let txn = model.txn(ops);
    match (store.commit(txn.clone()).await, model.apply(&txn)) {
        (Ok(committed), Some(after)) => {
            for objects in after {
                model.moments.insert(Revision(model.head().0 + 1), objects);
            }
            assert_eq!((committed.revision, store.head()), (model.head(), model.head()));
            let there = txn.0.iter().map(|op| model.newest().get(&op.key).map(|(revision, _)| *revision));
            let stored = committed.stored.iter().map(|one| one.as_ref().map(|one| one.revision));
            assert!(stored.eq(there), "{txn:?} left {:?}", committed.stored);
        }
        (Err(CommitError::Conflict { key, found }), None) => {
            let known = model.newest().get(&key).map(|(revision, _)| *revision);
            assert_eq!(found.map(|one| one.revision), known);
        }
        (Err(CommitError::Twice { .. }), None) => {}
        (got, expected) => panic!("{txn:?}: {got:?}, expected {expected:?}"),
    }
    for text in KEYS {
        let got = store.get(&key(text)).map(|one| (one.revision, one.object.label("is").unwrap().to_owned()));
        assert_eq!(got.as_ref(), model.newest().get(&key(text)));
    }
}

/// A refusal is right only when history has gone: never at the head, always before the store was opened.
fn refused(model: &Model, error: ReadError, asked: Revision, prefix: &Prefix, store: &Store) {
    let ReadError::Compacted { oldest, .. } = error else { panic!("{error}") };
    assert!(asked < oldest && oldest <= model.head());
    assert!(store.list(prefix, None, None, Some(oldest)).is_ok());
}

fn list(model: &Model, store: &Store, prefix: &Prefix, after: Option<&StoreKey>, limit: Option<usize>, at: Revision) {
    let page = match store.list(prefix, after, limit, Some(at)) {
        Ok(page) => page,
        Err(error) => return refused(model, error, at, prefix, store),
    };
    assert!(at >= model.base);
    let covered = model.moments[&at].iter().filter(|(key, _)| prefix.covers(key) && after.is_none_or(|one| *key > one));
    let all: Vec<_> = covered.map(|(key, (revision, value))| (key.clone(), *revision, value.clone())).collect();
    let count = limit.unwrap_or(all.len()).min(all.len());
    let value = |one: &kprov_schema::Object| one.label("is").unwrap().to_owned();
    let got: Vec<_> = page.items.iter().map(|one| (one.key.clone(), one.revision, value(&one.object))).collect();
    assert_eq!(got, all[..count]);
    assert_eq!((page.revision, page.remaining, page.more), (at, all.len() - count, count < all.len()));
}

/// Replays what a watch tells: it leads from the objects of one revision to those of another, step by step.
fn watch(model: &Model, store: &Store, prefix: &Prefix, from: Revision, max: usize) {
    let mut at = from;
    let mut objects = model.moments[&from].clone();
    objects.retain(|key, _| prefix.covers(key));
    while at < model.head() {
        let told = match store.since(at, prefix, max) {
            Ok(told) => told,
            Err(error) => return refused(model, error, at, prefix, store),
        };
        assert!(at >= model.base && told.upto > at);
        for change in &told.events {
            assert!(change.revision > at && change.revision <= told.upto);
            let old = change.old.as_ref().map(|one| one.revision);
            assert_eq!(objects.get(&change.key).map(|(revision, _)| *revision), old);
            match &change.new {
                Some(new) => {
                    let value = new.object.label("is").unwrap().to_owned();
                    objects.insert(change.key.clone(), (change.revision, value))
                }
                None => objects.remove(&change.key),
            };
        }
        let mut expected = model.moments[&told.upto].clone();
        expected.retain(|key, _| prefix.covers(key));
        assert_eq!(objects, expected);
        at = told.upto;
    }
}

async fn run(seed: u64, steps: &[Step]) {
    let memory = MemoryWorld::new(seed);
    let mut store = Store::open_with(&memory.world(), FILE, WINDOW).unwrap();
    let mut model = Model { moments: [(Revision(1), Objects::new())].into(), base: Revision(1), next_value: 0 };
    let prefixes = prefixes();
    for step in steps {
        let back = |revisions: u64| Revision(model.head().0.saturating_sub(revisions).max(1));
        match step {
            Step::Commit(ops) => commit(&mut model, &store, ops).await,
            Step::List(prefix, after, limit, revisions) => {
                let after = after.map(|index| key(KEYS[index]));
                let prefix = &prefixes[prefix % prefixes.len()];
                list(&model, &store, prefix, after.as_ref(), *limit, back(*revisions));
            }
            Step::Watch(prefix, revisions, max) => {
                watch(&model, &store, &prefixes[prefix % prefixes.len()], back(*revisions), *max);
            }
            Step::Wait(seconds) => {
                memory.clock.advance(Duration::from_secs(*seconds));
                tokio::task::yield_now().await;
            }
            Step::Reopen | Step::Crash => {
                if matches!(step, Step::Reopen) {
                    store.close().await;
                } else {
                    memory.disk.restart();
                }
                store = Store::open_with(&memory.world(), FILE, WINDOW).unwrap();
                model.base = model.head();
                assert_eq!(store.head(), model.head());
            }
        }
    }
    list(&model, &store, &Prefix::Everything, None, None, model.head());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_a_map(seed: u64, steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(run(seed, &steps));
    }
}
