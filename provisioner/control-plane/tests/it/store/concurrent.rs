//! Many committers at once: each gets its own answer, all of them right.

use std::sync::Arc;

use futures::future::join_all;
use kprov_control_plane::store::{Amend, Amendment, CommitError, Effect, Expect, Prefix, Store, Txn};
use kprov_control_plane::world::memory::MemoryWorld;
use kprov_control_plane::world::{World, real};
use kprov_schema::Revision;

use super::*;

const TASKS: usize = 60;
const ROUNDS: usize = 10;
const COUNTERS: usize = 4;

fn count(store: &Store, name: &str) -> (usize, Expect) {
    match store.get(&pod(name)) {
        Some(stored) => (stored.object.label("is").unwrap().parse().unwrap(), Expect::At(stored.revision)),
        None => (0, Expect::Absent),
    }
}

/// Adds one to a counter, again for every conflict; the revision that did it.
async fn add_one(store: &Store, name: &str) -> Revision {
    loop {
        let (value, expect) = count(store, name);
        match store.commit(Txn::put(pod(name), expect, object(&(value + 1).to_string()))).await {
            Ok(committed) => {
                assert!(store.get(&pod(name)).unwrap().revision >= committed.revision, "what is acknowledged is seen");
                return committed.revision;
            }
            Err(CommitError::Conflict { found, .. }) => {
                let seen = store.get(&pod(name)).map(|one| one.revision);
                assert!(seen >= found.map(|one| one.revision), "what it was refused for is seen");
            }
            Err(other) => panic!("{other}"),
        }
    }
}

async fn counts(world: World) {
    let store = Store::open(&world, FILE).unwrap();
    let tasks = (0..TASKS).map(|task| {
        let store = store.clone();
        tokio::spawn(async move {
            let name = format!("counter-{}", task % COUNTERS);
            let mut revisions = Vec::new();
            for _ in 0..ROUNDS {
                revisions.push(add_one(&store, &name).await);
            }
            revisions
        })
    });
    let mut revisions: Vec<Revision> = join_all(tasks).await.into_iter().flat_map(Result::unwrap).collect();
    revisions.sort();
    revisions.dedup();
    assert_eq!(revisions.len(), TASKS * ROUNDS, "every commit has a revision of its own");
    assert_eq!(store.head(), Revision(1 + (TASKS * ROUNDS) as u64));
    store.close().await;
    let store = Store::open(&world, FILE).unwrap();
    for index in 0..COUNTERS {
        assert_eq!(count(&store, &format!("counter-{index}")).0, TASKS * ROUNDS / COUNTERS);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn counters_lose_nothing_on_a_disk_in_memory() {
    counts(MemoryWorld::new(1).world()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn counters_lose_nothing_on_a_real_disk() {
    let folder = tempfile::tempdir().unwrap();
    counts(real::world(folder.path())).await;
}

#[tokio::test]
async fn one_sync_acknowledges_many() {
    let memory = MemoryWorld::new(1);
    let store = open(&memory);
    let before = memory.disk.syncs();
    let tasks = (0..500).map(|index| {
        let store = store.clone();
        tokio::spawn(async move { put(&store, &format!("pod-{index}"), "1").await })
    });
    assert!(join_all(tasks).await.iter().all(Result::is_ok));
    let syncs = memory.disk.syncs() - before;
    assert!(syncs <= 4, "{syncs} syncs for 500 commits");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_watcher_sees_every_change_once() {
    let store = open(&MemoryWorld::new(1));
    let watchers = (0..50).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            let (mut at, mut moved, mut seen) = (Revision(1), store.moved_in(&pods()), Vec::new());
            while seen.len() < 200 {
                moved.beyond(at).await.unwrap();
                let told = store.since(at, &pods(), 7).unwrap();
                seen.extend(told.events.iter().map(|change| change.revision));
                at = told.upto;
            }
            seen
        })
    });
    let watchers: Vec<_> = watchers.collect();
    let store = Arc::new(store);
    let writers = (0..200).map(|index| {
        let store = store.clone();
        async move { put(&store, &format!("pod-{}", index % 9), "1").await.revision }
    });
    let mut written = join_all(writers).await;
    written.sort();
    for seen in join_all(watchers).await {
        assert_eq!(seen.unwrap(), written);
    }
    assert_eq!(store.since(Revision(1), &Prefix::Everything, 999).unwrap().events.len(), 200);
}

/// Takes one of what is left, if there is one.
fn take_one() -> Effect {
    Effect::Amend(Amend::new(|stored| match stored.object.label("is").unwrap().parse::<u32>().unwrap() {
        0 => Amendment::Refuse,
        left => Amendment::Put(object(&(left - 1).to_string())),
    }))
}

#[tokio::test]
async fn no_more_is_taken_than_there_is_and_nothing_is_left_of_what_was_refused() {
    let store = open(&MemoryWorld::new(3));
    put(&store, "left", "20").await;
    let takers = (0..50).map(|taker| {
        let txn = Txn::put(pod(&format!("taker-{taker}")), Expect::Absent, object("1"));
        store.commit(txn.and(pod("left"), Expect::Any, take_one()))
    });
    let taken = join_all(takers).await.into_iter().filter(Result::is_ok).count();
    let left = store.get(&pod("left")).unwrap();
    assert_eq!((taken, left.object.label("is")), (20, Some("0")));
    let there = (0..50).filter(|taker| store.get(&pod(&format!("taker-{taker}"))).is_some()).count();
    assert_eq!(there, 20);
}
