//! What was acknowledged survives power cuts, failed syncs, full disks.

use std::collections::BTreeMap;

use futures::future::join_all;
use kprov_control_plane::store::{CommitError, Effect, Expect, Prefix, Store, StoreError, Txn};
use kprov_control_plane::world::Rng;
use kprov_control_plane::world::memory::{MemoryWorld, SeededRng};
use kprov_schema::Revision;

use super::*;

type Objects = BTreeMap<String, String>;

/// The transactions of the workload, in the order in which they are committed: `None` deletes.
fn workload() -> Vec<Vec<(String, Option<String>)>> {
    let rng = SeededRng::new(7);
    let pick = |count: u64| rng.next_u64() % count;
    (0..24)
        .map(|index| {
            let first = pick(8);
            let ops = 0..1 + pick(3);
            ops.map(|op| {
                // Some values are larger than a page of the file.
                let size = if pick(5) == 0 { 6000 } else { 20 };
                let value = format!("{index}-{op}-{}", "x".repeat(size));
                (format!("pod-{}", (first + op) % 8), (pick(4) > 0).then_some(value))
            })
            .collect()
        })
        .collect()
}

fn txn(ops: &[(String, Option<String>)]) -> Txn {
    ops.iter().fold(Txn::default(), |txn, (name, value)| {
        let effect = value.as_ref().map_or(Effect::Delete, |value| Effect::Put(object(value)));
        txn.and(pod(name), Expect::Any, effect)
    })
}

/// What is there after each transaction, with the revision it has.
fn states() -> Vec<(Revision, Objects)> {
    let mut states = vec![(Revision(1), Objects::new())];
    for ops in workload() {
        let (revision, mut objects) = states.last().unwrap().clone();
        let mut changed = false;
        for (name, value) in ops {
            changed |= match value {
                Some(value) => {
                    objects.insert(name, value);
                    true
                }
                None => objects.remove(&name).is_some(),
            };
        }
        states.push((Revision(revision.0 + u64::from(changed)), objects));
    }
    states
}

/// Commits the workload, alone and in groups by turns; how many were acknowledged before the first that was not.
async fn commit_all(store: &Store) -> (usize, Option<CommitError>) {
    let mut acknowledged = 0;
    let txns: Vec<Txn> = workload().iter().map(|ops| txn(ops)).collect();
    for group in txns.chunk_by(|left, right| left.0.len() == right.0.len()) {
        for result in join_all(group.iter().map(|txn| store.commit(txn.clone()))).await {
            match result {
                Ok(_) => acknowledged += 1,
                Err(error) => return (acknowledged, Some(error)),
            }
        }
    }
    (acknowledged, None)
}

fn contents(store: &Store) -> Objects {
    names(store, None).into_iter().collect()
}

/// The store shows the state after some transaction that is not before the last acknowledged one.
fn check(store: &Store, acknowledged: usize, what: &str) {
    let shown = (store.head(), contents(store));
    let later = &states()[acknowledged..];
    assert!(later.contains(&shown), "{what}: {acknowledged} were acknowledged, revision {} is shown", shown.0);
}

async fn goes_on(store: &Store, what: &str) {
    let before = store.head();
    let committed = store.commit(Txn::put(pod("more"), Expect::Any, object("more"))).await.expect(what);
    assert_eq!(committed.revision, Revision(before.0 + 1));
    store.close().await;
}

/// How many changes, how many syncs the workload makes on a disk without accidents, opening and closing included.
async fn measure() -> (u64, u64) {
    let memory = MemoryWorld::new(0);
    let store = open(&memory);
    assert_eq!(commit_all(&store).await.0, workload().len());
    check(&store, workload().len(), "without accidents");
    store.close().await;
    (memory.disk.changes(), memory.disk.syncs())
}

/// Opens the store on a disk whose power may go while it does so.
async fn survives(memory: &MemoryWorld, acknowledged: usize, what: &str) {
    for attempt in 0..3 {
        memory.disk.restart();
        if attempt < 2 {
            memory.disk.cut_power_at(memory.disk.changes() + memory.rng.next_u64() % 12);
        }
        match Store::open(&memory.world(), FILE) {
            Ok(store) => {
                check(&store, acknowledged, what);
                // The power may go at once, so that this was the last that is known of it.
                drop(store);
                tokio::task::yield_now().await;
            }
            Err(error) => assert!(attempt < 2, "{what}: {error}"),
        }
    }
    memory.disk.restart();
    let store = Store::open(&memory.world(), FILE).expect(what);
    check(&store, acknowledged, what);
    goes_on(&store, what).await;
}

#[tokio::test]
async fn power_cut_at_every_change() {
    let (changes, _) = measure().await;
    assert!(changes > 100, "{changes}");
    for cut in 0..changes {
        for seed in 0..3 {
            let what = format!("cut at change {cut} of {changes}, seed {seed}");
            let memory = MemoryWorld::new(seed);
            memory.disk.cut_power_at(cut);
            let acknowledged = match Store::open(&memory.world(), FILE) {
                Ok(store) => {
                    let (acknowledged, error) = commit_all(&store).await;
                    if let Some(error) = error {
                        assert!(matches!(error, CommitError::Failed { .. }), "{what}: {error}");
                        assert_eq!(states()[acknowledged], (store.head(), contents(&store)), "{what}");
                    }
                    store.close().await;
                    acknowledged
                }
                Err(StoreError::Io { .. }) => 0,
                Err(other) => panic!("{what}: {other}"),
            };
            survives(&memory, acknowledged, &what).await;
        }
    }
}

#[tokio::test]
async fn every_sync_failing_once() {
    let (_, syncs) = measure().await;
    for failing in 0..syncs {
        // Whether the machine stops before the store is opened again: if not, what the device lost still shows.
        for (seed, stops) in [(1, true), (2, true), (3, false), (4, false), (5, false)] {
            let what = format!("sync {failing} of {syncs} fails, seed {seed}, machine stops: {stops}");
            let memory = MemoryWorld::new(seed);
            memory.disk.fail_sync_at(failing);
            let acknowledged = match Store::open(&memory.world(), FILE) {
                Ok(store) => fails_for_good(&store, &what).await,
                Err(StoreError::Io { .. }) => 0,
                Err(other) => panic!("{what}: {other}"),
            };
            if !stops {
                let store = Store::open(&memory.world(), FILE).expect(&what);
                check(&store, acknowledged, &what);
                let head = put(&store, "later", "1").await.revision;
                memory.disk.restart();
                let store = Store::open(&memory.world(), FILE).expect(&what);
                assert_eq!(store.head(), head, "{what}");
                assert_eq!(contents(&store).get("later").map(String::as_str), Some("1"), "{what}");
                continue;
            }
            survives(&memory, acknowledged, &what).await;
        }
    }
}

/// After the first failure nothing is acknowledged, nothing that was not acknowledged is shown.
async fn fails_for_good(store: &Store, what: &str) -> usize {
    let (acknowledged, error) = commit_all(store).await;
    if let Some(error) = error {
        let CommitError::Failed { what: why, .. } = error else { panic!("{what}: {error}") };
        assert!(why.contains("sync failed"), "{what}: {why}");
        assert_eq!(states()[acknowledged], (store.head(), contents(store)), "{what}");
        let told = store.since(Revision(1), &Prefix::Everything, usize::MAX).unwrap();
        assert!(told.events.iter().all(|change| change.revision <= store.head()), "{what}");
        let again = store.commit(Txn::put(pod("more"), Expect::Any, object("more"))).await;
        assert!(matches!(again, Err(CommitError::Failed { .. })), "{what}");
    }
    store.close().await;
    acknowledged
}

#[tokio::test]
async fn goes_on_when_a_full_disk_has_space_again() {
    let memory = MemoryWorld::new(1);
    let store = open(&memory);
    let start = memory.disk.used();
    for room in (0..40).map(|blocks| start + blocks * 4096) {
        memory.disk.set_capacity(Some(room.max(memory.disk.used())));
        let mut acknowledged = contents(&store);
        let refused = loop {
            let name = format!("{room}-{}", acknowledged.len());
            match store.commit(Txn::put(pod(&name), Expect::Absent, object(&"x".repeat(2000)))).await {
                Ok(_) => acknowledged.insert(name, "x".repeat(2000)),
                Err(CommitError::Full { path }) => {
                    assert_eq!(path.to_str(), Some(FILE));
                    break name;
                }
                Err(other) => panic!("{room}: {other}"),
            };
        };
        assert_eq!(contents(&store), acknowledged);
        let again = store.commit(Txn::put(pod("other"), Expect::Any, object("1"))).await;
        assert!(matches!(again, Err(CommitError::Full { .. }) | Ok(_)));
        memory.disk.set_capacity(None);
        put(&store, &refused, "there").await;
        put(&store, "other", "2").await;
        acknowledged.extend([(refused, "there".to_owned()), ("other".to_owned(), "2".to_owned())]);
        assert_eq!(contents(&store), acknowledged);
    }
    let (head, all) = (store.head(), contents(&store));
    memory.disk.restart();
    let store = open(&memory);
    assert_eq!((store.head(), contents(&store)), (head, all));
}

#[tokio::test]
async fn a_full_disk_at_the_start_is_told() {
    let memory = MemoryWorld::new(1);
    memory.disk.set_capacity(Some(0));
    let error = Store::open(&memory.world(), FILE).err().unwrap();
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    assert!(error.to_string().contains(FILE), "{error}");
    memory.disk.set_capacity(None);
    put(&open(&memory), "a", "1").await;
}
