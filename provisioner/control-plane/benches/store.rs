//! What the store does per second on this machine's disk, beside what the disk allows.
//!
//! Run it with `cargo bench --package kprov-control-plane --bench store [-- FOLDER]`; it writes below FOLDER, which
//! decides the disk. Raw figures append the same bytes to a file with one `fdatasync` for as many objects as there are
//! committers: no store that syncs can do better. Both are measured by turns, so that they share the disk's mood.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a benchmark reads the real clock, ends at an error"
)]

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use kprov_control_plane::store::{Expect, Prefix, Store, StoreKey, Txn};
use kprov_control_plane::world::real;
use kprov_schema::{Object, Revision};
use serde_json::json;
use tokio::sync::{Barrier, mpsc};

const TURNS: u32 = 4;
const TURN: Duration = Duration::from_millis(700);
const WATCHERS: usize = 1000;
const UPDATES: usize = 60;
const FILLED: usize = 10_000;

#[tokio::main]
async fn main() {
    let given = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let folder = given.map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    let folder = tempfile::tempdir_in(folder).unwrap();
    println!("one object: {} bytes of JSON, below {}\n", bytes().len(), folder.path().display());
    commits(folder.path()).await;
    watches(folder.path()).await;
    reads(folder.path()).await;
}

/// A pod about as large as a real one.
fn pod(name: &str) -> Object {
    let environment: Vec<_> =
        (0..12).map(|index| json!({"name": format!("SETTING_{index}"), "value": "some value of it"})).collect();
    let value = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "uid": "0b7c2f1e-6f0e-4d53-9d60-3d1d1f9b8a11",
            "creationTimestamp": "2030-01-01T00:00:00Z", "labels": {"app": "web", "pod-template-hash": "5d8c7b9f4"}},
        "spec": {"nodeName": "one", "restartPolicy": "Always", "dnsPolicy": "ClusterFirst",
            "containers": [{"name": "web", "image": "registry.example/team/web:1.2.3", "env": environment,
                "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}]},
        "status": {"phase": "Running", "podIP": "10.244.0.17", "hostIP": "192.0.2.10", "startTime": "2030-01-01T00:00:01Z"},
    });
    Object::try_from(value).unwrap()
}

fn key(name: &str) -> StoreKey {
    StoreKey::parse(&format!("/core/pods/default/{name}")).unwrap()
}

fn bytes() -> Vec<u8> {
    serde_json::to_vec(pod("web").map()).unwrap()
}

async fn commits(folder: &Path) {
    println!("durable commits a second, one object each");
    println!("{:>10} {:>12} {:>12} {:>8}", "committers", "raw", "store", "ratio");
    let world = real::world(folder);
    for committers in [1, 10, 100, 1000] {
        let name = format!("commits-{committers}");
        let store = Store::open(&world, &name).unwrap();
        let mut raw = File::create(folder.join(format!("raw-{committers}"))).unwrap();
        let (mut of_raw, mut of_store) = (0.0, 0.0);
        for turn in 0..TURNS {
            of_raw += tokio::task::block_in_place(|| append(&mut raw, committers));
            of_store += commit(&store, committers, turn).await;
        }
        store.close().await;
        let (of_raw, of_store) = (of_raw / f64::from(TURNS), of_store / f64::from(TURNS));
        println!("{committers:>10} {of_raw:>12.0} {of_store:>12.0} {:>8.2}", of_store / of_raw);
    }
}

/// Objects a second when `group` of them are appended with one sync.
fn append(file: &mut File, group: usize) -> f64 {
    let bytes = bytes().repeat(group);
    let start = Instant::now();
    let mut objects = 0.0;
    while start.elapsed() < TURN {
        file.write_all(&bytes).unwrap();
        file.sync_data().unwrap();
        objects += group as f64;
    }
    objects / start.elapsed().as_secs_f64()
}

/// Commits a second of so many committers, each of which waits for its own before it makes the next.
async fn commit(store: &Store, committers: usize, turn: u32) -> f64 {
    let pod = Arc::new(pod("web"));
    let start = Instant::now();
    let tasks = (0..committers).map(|committer| {
        let (store, pod) = (store.clone(), pod.clone());
        tokio::spawn(async move {
            let mut count = 0_u32;
            while start.elapsed() < TURN {
                let key = key(&format!("web-{turn}-{committer}-{count}"));
                store.commit(Txn::put(key, Expect::Absent, Object::clone(&pod))).await.unwrap();
                count += 1;
            }
            count
        })
    });
    let total: u32 = join_all(tasks).await.into_iter().map(Result::unwrap).sum();
    f64::from(total) / start.elapsed().as_secs_f64()
}

async fn watches(folder: &Path) {
    let store = Store::open(&real::world(folder), "watches").unwrap();
    let first = store.commit(Txn::put(key("web"), Expect::Any, pod("web"))).await.unwrap().revision;
    let (seen, mut all) = mpsc::unbounded_channel();
    let ready = Arc::new(Barrier::new(WATCHERS + 1));
    let watchers: Vec<_> =
        (0..WATCHERS).map(|_| tokio::spawn(watch(store.clone(), first, seen.clone(), ready.clone()))).collect();
    ready.wait().await;
    let (mut whole, mut fan_out) = (Vec::new(), Vec::new());
    for _ in 0..UPDATES {
        let start = Instant::now();
        store.commit(Txn::put(key("web"), Expect::Any, pod("web"))).await.unwrap();
        let durable = Instant::now();
        for _ in 0..WATCHERS {
            all.recv().await.unwrap();
        }
        whole.push(start.elapsed());
        fan_out.push(durable.elapsed());
    }
    watchers.iter().for_each(tokio::task::JoinHandle::abort);
    println!("\none update seen by {WATCHERS} watchers, median of {UPDATES}");
    println!("  from the commit's start    {:>10.2?}", median(whole));
    println!("  from its acknowledgement   {:>10.2?}", median(fan_out));
    store.close().await;
}

async fn watch(store: Store, from: Revision, seen: mpsc::UnboundedSender<usize>, ready: Arc<Barrier>) {
    let prefix = Prefix::Object(key("web"));
    let (mut at, mut moved) = (from, store.moved_in(&prefix));
    ready.wait().await;
    while moved.beyond(at).await.is_ok() {
        let told = store.since(at, &prefix, 100).unwrap();
        at = told.upto;
        for change in told.events {
            seen.send(change.new.as_ref().unwrap().json().len()).unwrap();
        }
    }
}

async fn reads(folder: &Path) {
    let world = real::world(folder);
    let store = Store::open(&world, "reads").unwrap();
    let names: Vec<String> = (0..FILLED).map(|index| format!("web-{index}")).collect();
    for group in names.chunks(1000) {
        join_all(group.iter().map(|name| store.commit(Txn::put(key(name), Expect::Absent, pod(name))))).await;
    }
    store.close().await;
    let size = std::fs::metadata(folder.join("reads")).unwrap().len();
    let start = Instant::now();
    let store = Store::open(&world, "reads").unwrap();
    println!("\n{FILLED} objects, a file of {} MiB", size >> 20);
    println!("  open again                 {:>10.2?}", start.elapsed());
    let start = Instant::now();
    let page = store.list(&Prefix::Everything, None, None, None).unwrap();
    assert_eq!(page.items.len(), FILLED);
    println!("  list all of them           {:>10.2?}", start.elapsed());
    let start = Instant::now();
    for name in &names {
        assert!(store.get(&key(name)).is_some());
    }
    println!("  get one of them            {:>10.2?}", start.elapsed() / u32::try_from(FILLED).unwrap());
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
