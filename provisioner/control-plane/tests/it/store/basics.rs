//! Reading, writing, watching, opening again.

use std::time::Duration;

use kprov_control_plane::store::{
    Closed, CommitError, Effect, Expect, Prefix, ReadError, Store, StoreError, Txn, Window,
};
use kprov_control_plane::world::memory::MemoryWorld;
use kprov_schema::Revision;

use super::*;

#[tokio::test]
async fn stamps_what_it_stores() {
    let store = open(&MemoryWorld::new(1));
    assert_eq!(store.head(), Revision(1));
    let committed = put(&store, "a", "1").await;
    assert_eq!(committed.revision, Revision(2));
    let stored = store.get(&pod("a")).unwrap();
    assert_eq!((stored.revision, stored.object.revision()), (Revision(2), Some(Revision(2))));
    let json: serde_json::Value = serde_json::from_slice(&stored.json()).unwrap();
    assert_eq!(json["metadata"]["resourceVersion"], "2");
    assert_eq!(stored.json().as_ptr(), stored.json().as_ptr());
}

#[tokio::test]
async fn refuses_what_is_not_as_expected() {
    let store = open(&MemoryWorld::new(1));
    let first = put(&store, "a", "1").await.revision;
    let second = put(&store, "a", "2").await.revision;
    for (name, expect, holds) in [
        ("a", Expect::Absent, false),
        ("a", Expect::At(first), false),
        ("b", Expect::At(first), false),
        ("a", Expect::At(second), true),
        ("b", Expect::Absent, true),
    ] {
        let txn = Txn::default().and(pod(name), expect, Effect::Keep).and(pod("c"), Expect::Any, Effect::Delete);
        match store.commit(txn).await {
            Ok(committed) => {
                assert!(holds, "{name} {expect:?}");
                assert_eq!(committed.revision, second, "nothing changed");
            }
            Err(CommitError::Conflict { key, found }) => {
                assert!(!holds, "{name} {expect:?}");
                assert_eq!(key, pod(name));
                assert_eq!(found.map(|one| one.revision), (name == "a").then_some(second));
            }
            Err(other) => panic!("{other}"),
        }
    }
    let twice = Txn::put(pod("a"), Expect::Any, object("3")).and(pod("a"), Expect::Any, Effect::Delete);
    assert!(matches!(store.commit(twice).await, Err(CommitError::Twice { .. })));
    assert_eq!(names(&store, None), [("a".into(), "2".into())]);
}

#[tokio::test]
async fn lists_any_revision_of_the_window() {
    let store = open(&MemoryWorld::new(1));
    put(&store, "b", "1").await;
    put(&store, "d", "1").await;
    let then = store.head();
    put(&store, "a", "2").await;
    put(&store, "b", "2").await;
    put(&store, "b", "3").await;
    store.commit(Txn::delete(pod("d"), Expect::Any)).await.unwrap();
    put(&store, "e", "2").await;
    let pairs = |list: &[(&str, &str)]| -> Vec<(String, String)> {
        list.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect()
    };
    assert_eq!(names(&store, Some(Revision(1))), []);
    assert_eq!(names(&store, Some(then)), pairs(&[("b", "1"), ("d", "1")]));
    assert_eq!(names(&store, None), pairs(&[("a", "2"), ("b", "3"), ("e", "2")]));
    let page = store.list(&pods(), Some(&pod("b")), Some(1), Some(then)).unwrap();
    assert_eq!((page.items[0].key.clone(), page.more, page.remaining), (pod("d"), false, 0));
    let page = store.list(&pods(), None, Some(1), None).unwrap();
    assert_eq!((page.items.len(), page.more, page.remaining), (1, true, 2));
    let ahead = store.list(&pods(), None, None, Some(Revision(99)));
    assert!(matches!(ahead, Err(ReadError::Ahead { head, .. }) if head == store.head()));
}

#[tokio::test]
async fn tells_changes_once_and_in_order() {
    let store = open(&MemoryWorld::new(1));
    let start = store.head();
    put(&store, "a", "1").await;
    let txn = Txn::put(pod("a"), Expect::Any, object("2")).and(pod("b"), Expect::Absent, Effect::Put(object("1"))).and(
        key("/core/nodes/one"),
        Expect::Absent,
        Effect::Put(object("n")),
    );
    let both = store.commit(txn).await.unwrap();
    assert!(both.stored.iter().flatten().all(|one| one.revision == both.revision));
    store.commit(Txn::delete(pod("a"), Expect::Any)).await.unwrap();

    let first = store.since(start, &pods(), 1).unwrap();
    assert_eq!((first.events.len(), first.upto), (1, Revision(2)));
    let second = store.since(first.upto, &pods(), 1).unwrap();
    assert_eq!((second.events.len(), second.upto), (2, both.revision), "a transaction is never split");
    let third = store.since(second.upto, &pods(), 1).unwrap();
    let gone = &third.events[0];
    assert!(gone.new.is_none());
    assert_eq!(gone.last().unwrap().object.revision(), Some(gone.revision));
    assert_eq!(gone.old.as_ref().unwrap().revision, both.revision);
    assert_eq!(third.upto, store.head());
    assert_eq!(store.since(third.upto, &pods(), 1).unwrap().events.len(), 0);
    assert_eq!(store.since(start, &Prefix::Everything, 99).unwrap().events.len(), 5);
    assert_eq!(store.since(start, &Prefix::Object(pod("b")), 99).unwrap().events.len(), 1);
}

#[tokio::test]
async fn wakes_by_resource() {
    let store = open(&MemoryWorld::new(1));
    let start = store.head();
    let mut all = store.moved();
    let mut nodes = store.moved_in(&Prefix::Resource("/core/nodes/".into()));
    put(&store, "a", "1").await;
    assert_eq!(all.beyond(start).await, Ok(store.head()));
    let quiet = futures::FutureExt::now_or_never(nodes.beyond(start));
    assert_eq!(quiet, None, "a pod is no node");
    store.commit(Txn::put(key("/core/nodes/one"), Expect::Any, object("n"))).await.unwrap();
    assert_eq!(nodes.beyond(start).await, Ok(store.head()));
    store.close().await;
    assert_eq!(nodes.beyond(store.head()).await, Err(Closed));
    assert!(matches!(store.commit(Txn::default()).await, Err(CommitError::Closed)));
}

#[tokio::test]
async fn opens_again_where_it_was() {
    let memory = MemoryWorld::new(1);
    let store = open(&memory);
    put(&store, "a", "1").await;
    put(&store, "b", "1").await;
    let before = store.get(&pod("b")).unwrap();
    store.commit(Txn::delete(pod("a"), Expect::Any)).await.unwrap();
    let head = store.head();
    assert!(matches!(Store::open(&memory.world(), FILE), Err(StoreError::InUse { .. })));
    store.close().await;

    let store = open(&memory);
    assert_eq!(store.head(), head, "the deletion had a revision");
    let after = store.get(&pod("b")).unwrap();
    assert_eq!((after.revision, after.json()), (before.revision, before.json()));
    assert_eq!(after.object, before.object);
    let behind = store.since(Revision(head.0 - 1), &pods(), 9).unwrap_err();
    assert_eq!(behind, ReadError::Compacted { asked: Revision(head.0 - 1), oldest: head });
    assert_eq!(put(&store, "c", "1").await.revision, Revision(head.0 + 1));
}

#[tokio::test]
async fn history_is_bounded_by_bytes() {
    let memory = MemoryWorld::new(1);
    let window = Window { bytes: 20_000, ..Window::default() };
    let store = Store::open_with(&memory.world(), FILE, window).unwrap();
    put(&store, "quiet", "1").await;
    let node = key("/core/nodes/one");
    for round in 0..500 {
        store.commit(Txn::put(node.clone(), Expect::Any, object(&round.to_string()))).await.unwrap();
    }
    let nodes = node.resource();
    let ReadError::Compacted { oldest, .. } = store.since(Revision(1), &nodes, 9).unwrap_err() else { panic!() };
    let kept = store.since(oldest, &nodes, 999).unwrap().events.len();
    assert!((10..200).contains(&kept), "{kept}");
    assert!(store.list(&nodes, None, None, Some(oldest)).is_ok());
    assert!(store.list(&nodes, None, None, Some(Revision(oldest.0 - 1))).is_err());
    assert!(store.since(Revision(2), &pods(), 9).is_ok(), "a quiet resource loses no history it does not have");
    assert!(store.since(Revision(1), &pods(), 9).is_err());
}

#[tokio::test]
async fn history_is_bounded_by_age_without_any_write() {
    let memory = MemoryWorld::new(1);
    let store = open(&memory);
    put(&store, "a", "1").await;
    while memory.clock.next_wake().is_none() {
        tokio::task::yield_now().await;
    }
    memory.clock.advance(Duration::from_secs(299));
    tokio::task::yield_now().await;
    assert!(store.since(Revision(1), &pods(), 9).is_ok());
    memory.clock.advance(Duration::from_secs(1));
    while store.since(Revision(1), &pods(), 9).is_ok() {
        tokio::task::yield_now().await;
    }
    assert_eq!(names(&store, None).len(), 1, "only history goes");
    assert_eq!(store.since(store.head(), &pods(), 9).unwrap().events.len(), 0);
}

#[tokio::test]
async fn closes_when_the_last_handle_goes() {
    let memory = MemoryWorld::new(1);
    let store = open(&memory);
    put(&store, "a", "1").await;
    let mut moved = store.clone().moved();
    let head = store.head();
    drop(store);
    assert_eq!(moved.beyond(head).await, Err(Closed));
    assert_eq!(names(&open(&memory), None).len(), 1);
}
