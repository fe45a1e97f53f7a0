//! Every acknowledged create outlives kills of the server at random moments.

use std::collections::BTreeMap;
use std::future::pending;
use std::path::Path;
use std::time::Duration;

use futures::future::{join_all, try_join_all};
use http::{Method, StatusCode};
use kprov_control_plane::world::memory::SeededRng;
use kprov_control_plane::world::{Rng, real::SystemRng};
use kprov_tests::https::{Access, Connection};
use kprov_tests::server::ApiServer;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::KPROV;

const KILLS: usize = 200;
/// Kills that one folder lives through; then the next begins, so that the making of a cluster is killed too.
const KILLS_A_FOLDER: usize = 20;
const WRITERS: usize = 8;
/// Longest time that a server is under load before it is killed.
const LOAD: Duration = Duration::from_millis(100);
/// Longest time that a server has to start before it is killed, when it is to be killed in its start.
const START: Duration = Duration::from_millis(80);
const OBJECTS: &str = "/api/v1/namespaces/default/configmaps";

/// What was seen of an object; it must not change.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    revision: u64,
    uid: String,
}

/// What clients were told.
#[derive(Debug, Default)]
struct Told {
    objects: BTreeMap<String, Seen>,
    head: u64,
}

impl Told {
    fn add(&mut self, object: &Value) {
        let (name, seen) = seen(object);
        self.head = self.head.max(seen.revision);
        let before = self.objects.entry(name.clone()).or_insert_with(|| seen.clone());
        assert_eq!(*before, seen, "{name} is another object than it was");
    }

    /// Compares with what the server has now, which counts as told from then on.
    async fn check(&mut self, access: &Access) {
        let list = access.connect().await.unwrap().get(OBJECTS).await.unwrap();
        assert_eq!(list.status, StatusCode::OK, "{}", list.text());
        let list = list.json().unwrap();
        let revision = number(&list["metadata"]["resourceVersion"]);
        assert!(revision >= self.head, "revision {revision} after {} was told", self.head);
        let items = list["items"].as_array().unwrap();
        let there: BTreeMap<String, Seen> = items.iter().map(seen).collect();
        for (name, seen) in &self.objects {
            assert_eq!(there.get(name), Some(seen), "{name} was told of before the kill");
        }
        self.objects = there;
        self.head = revision;
    }
}

fn seen(object: &Value) -> (String, Seen) {
    let metadata = &object["metadata"];
    let text = |field: &str| metadata[field].as_str().unwrap().to_owned();
    (text("name"), Seen { revision: number(&metadata["resourceVersion"]), uid: text("uid") })
}

fn number(revision: &Value) -> u64 {
    revision.as_str().unwrap().parse().unwrap()
}

/// Creates objects until the connection breaks, and returns what was acknowledged.
async fn create(mut connection: Connection, name: String) -> Vec<Value> {
    let mut acknowledged = Vec::new();
    for number in 0.. {
        let object = json!({"metadata": {"name": format!("{name}-{number}")}, "data": {"text": "x".repeat(300)}});
        let Ok(answer) = connection.send(Method::POST, OBJECTS, object.to_string()).await else { break };
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        acknowledged.push(answer.json().unwrap());
    }
    acknowledged
}

/// Watches until the connection breaks, and returns what was shown: that must be on disk, too.
async fn watch(access: Access, from: u64) -> Vec<Value> {
    let mut shown = Vec::new();
    let Ok(connection) = access.connect().await else { return shown };
    let Ok(mut watch) = connection.watch(&format!("{OBJECTS}?watch=1&resourceVersion={from}")).await else {
        return shown;
    };
    while let Ok(Some(line)) = watch.next().await {
        let event: Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(event["type"], "ADDED", "{event}");
        shown.push(event["object"].clone());
    }
    shown
}

/// One life of a server under load; how many creates it acknowledged.
async fn live_and_die(folder: &Path, life: usize, rng: &SeededRng, told: &mut Told) -> usize {
    let mut server = ApiServer::start(Path::new(KPROV), folder).unwrap();
    if rng.next_u64().is_multiple_of(5) {
        // Whether it became ready in time makes no difference.
        let _ = timeout(moment(rng, START), server.ready()).await;
        server.kill().await.unwrap();
        return 0;
    }
    let access = server.ready().await.unwrap();
    told.check(&access).await;
    let watcher = tokio::spawn(watch(access.clone(), told.head));
    let connections = try_join_all((0..WRITERS).map(|_| access.connect())).await.unwrap().into_iter().enumerate();
    let writers =
        connections.map(|(writer, connection)| tokio::spawn(create(connection, format!("life-{life}-{writer}"))));
    let writers: Vec<_> = writers.collect();
    timeout(moment(rng, LOAD), pending::<()>()).await.unwrap_err();
    server.kill().await.unwrap();
    let acknowledged: Vec<Value> = join_all(writers).await.into_iter().flat_map(Result::unwrap).collect();
    let shown = watcher.await.unwrap();
    acknowledged.iter().chain(&shown).for_each(|object| told.add(object));
    acknowledged.len()
}

fn moment(rng: &SeededRng, most: Duration) -> Duration {
    Duration::from_micros(rng.next_u64() % u64::try_from(most.as_micros()).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_object_outlives_200_kills() {
    let given = std::env::var("KPROV_SEED").ok().map(|seed| seed.parse().unwrap());
    let seed = given.unwrap_or_else(|| SystemRng.next_u64());
    eprintln!("the moments of this run: KPROV_SEED={seed}");
    let rng = SeededRng::new(seed);
    let mut acknowledged = 0;
    for _ in 0..KILLS / KILLS_A_FOLDER {
        let folder = tempfile::Builder::new().prefix("kp").tempdir().unwrap();
        let mut told = Told::default();
        for life in 0..KILLS_A_FOLDER {
            acknowledged += live_and_die(folder.path(), life, &rng, &mut told).await;
        }
        let mut server = ApiServer::start(Path::new(KPROV), folder.path()).unwrap();
        told.check(&server.ready().await.unwrap()).await;
        server.end().await.unwrap();
    }
    eprintln!("{acknowledged} creates were acknowledged");
    assert!(acknowledged > KILLS, "{acknowledged} creates in all: the kills came before the load");
}
