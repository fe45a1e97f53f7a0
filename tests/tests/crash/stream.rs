//! Kills in the middle of creates and deletes lose nothing that was acknowledged, and no container. Needs root.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::time::Duration;

use futures::future::{join_all, try_join_all};
use http::{Method, StatusCode};
use kprov_control_plane::world::memory::SeededRng;
use kprov_control_plane::world::{Rng, real::SystemRng};
use kprov_tests::cluster::TestCluster;
use kprov_tests::https::{Access, Connection};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::KPROV;
use super::adopt::containers;

const KILLS: usize = 12;
const WRITERS: usize = 4;
/// Longest time that a server is under load before it is killed.
const LOAD: Duration = Duration::from_millis(150);
const OBJECTS: &str = "/api/v1/namespaces/default/configmaps";

/// What clients were told of objects by name.
#[derive(Default)]
struct Told {
    /// Uid and revision of what was created and is to be there.
    there: BTreeMap<String, (String, String)>,
    /// What was deleted.
    gone: BTreeSet<String>,
    /// What was asked of the server when it was killed: it may have happened or not.
    unsure: BTreeSet<String>,
}

impl Told {
    fn join(&mut self, other: Self) {
        self.there.extend(other.there);
        self.gone.extend(other.gone);
        self.unsure.extend(other.unsure);
    }

    /// Compares with what a server has.
    async fn check(&self, access: &Access) {
        let list = access.connect().await.unwrap().get(OBJECTS).await.unwrap();
        assert_eq!(list.status, StatusCode::OK, "{}", list.text());
        let list = list.json().unwrap();
        let there: BTreeMap<_, _> = list["items"].as_array().unwrap().iter().map(seen).collect();
        for (name, seen) in &self.there {
            assert_eq!(there.get(name), Some(seen), "{name} was acknowledged");
        }
        let back: Vec<_> = self.gone.iter().filter(|name| there.contains_key(*name)).collect();
        assert!(back.is_empty(), "were deleted: {back:?}");
        let known =
            |name: &String| self.there.contains_key(name) || self.unsure.contains(name) || !name.starts_with("life-");
        let odd: Vec<_> = there.keys().filter(|name| !known(name)).collect();
        assert!(odd.is_empty(), "nobody asked for: {odd:?}");
    }
}

fn seen(object: &Value) -> (String, (String, String)) {
    let text = |field: &str| object["metadata"][field].as_str().unwrap().to_owned();
    (text("name"), (text("uid"), text("resourceVersion")))
}

/// Creates objects and deletes every second of them, until the connection breaks.
async fn write(mut connection: Connection, name: String) -> Told {
    let mut told = Told::default();
    for number in 0.. {
        let name = format!("{name}-{number}");
        let object = json!({"metadata": {"name": name}, "data": {"text": "x".repeat(300)}});
        let Ok(answer) = connection.send(Method::POST, OBJECTS, object.to_string()).await else {
            told.unsure.insert(name);
            break;
        };
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        if number % 2 == 0 {
            told.there.extend([seen(&answer.json().unwrap())]);
            continue;
        }
        let Ok(answer) = connection.send(Method::DELETE, &format!("{OBJECTS}/{name}"), "").await else {
            told.unsure.insert(name);
            break;
        };
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        told.gone.insert(name);
    }
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_and_what_runs_outlive_kills_in_a_stream_of_writes() {
    let given = std::env::var("KPROV_SEED").ok().map(|seed| seed.parse().unwrap());
    let seed = given.unwrap_or_else(|| SystemRng.next_u64());
    eprintln!("the moments of this run: KPROV_SEED={seed}");
    let rng = SeededRng::new(seed);
    let cluster = TestCluster::up(KPROV, "stream", &["--demo"]).unwrap();
    let before = containers(&cluster);
    assert_eq!(before.len(), 2, "{before:?}");
    let mut told = Told::default();
    for life in 0..KILLS {
        let access = Access::from_kubeconfig(&cluster.kubeconfig()).unwrap();
        let connections = try_join_all((0..WRITERS).map(|_| access.connect())).await.unwrap().into_iter().enumerate();
        let writers: Vec<_> = connections
            .map(|(writer, connection)| tokio::spawn(write(connection, format!("life-{life}-{writer}"))))
            .collect();
        let moment = Duration::from_micros(rng.next_u64() % u64::try_from(LOAD.as_micros()).unwrap());
        timeout(moment, pending::<()>()).await.unwrap_err();
        cluster.end_server(Signal::SIGKILL).unwrap();
        join_all(writers).await.into_iter().for_each(|writer| told.join(writer.unwrap()));
        cluster.kprov("up", &[]).unwrap();
        told.check(&access).await;
        cluster.k("wait --for=condition=Available deployment/demo --timeout=60s").unwrap();
        assert_eq!(containers(&cluster), before, "the same containers, none of them restarted");
    }
    eprintln!("{} creates and {} deletes were acknowledged", told.there.len(), told.gone.len());
    assert!(told.there.len() > KILLS && told.gone.len() > KILLS, "the kills came before the load");
}
