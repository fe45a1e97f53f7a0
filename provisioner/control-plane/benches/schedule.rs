//! How many pods a second get a node: the decision alone, then created, decided on and bound through the API server.
//!
//! Run it with `cargo bench --package kprov-control-plane --bench schedule [-- FOLDER]`; it writes below FOLDER.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a benchmark reads the real clock, ends at an error"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Node, Pod};
use kprov_control_plane::api::{self, Server, User};
use kprov_control_plane::client::{Client, Selection};
use kprov_control_plane::pki::Pki;
use kprov_control_plane::scheduler::{self, Decision, claims::Claims, decide, node::Nodes, pod::PodInfo};
use kprov_control_plane::store::Store;
use kprov_control_plane::world::real;
use kprov_schema::{Key, Object, Resource};
use serde_json::{Value, json};

const NODES: usize = 1000;
const PODS: usize = 5000;
const CREATORS: usize = 100;

#[tokio::main]
async fn main() {
    let given = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let folder = given.map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    let folder = tempfile::tempdir_in(folder).unwrap();
    decisions();
    whole(folder.path()).await;
}

fn node(at: usize) -> Value {
    let zone = format!("z{}", at % 3);
    let capacity = json!({"cpu": "32", "memory": "256Gi", "pods": "110"});
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": format!("n{at:04}"), "labels": {"topology.kubernetes.io/zone": zone}},
        "status": {"capacity": capacity, "allocatable": capacity, "conditions": [{"type": "Ready", "status": "True"}]},
    })
}

fn pod(at: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("p{at:05}"), "namespace": "default", "labels": {"app": "bench"}},
        "spec": {"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "100m", "memory": "500Mi"}}}]},
    })
}

fn decisions() {
    let mut nodes = Nodes::default();
    for at in 0..NODES {
        nodes.put_node(&serde_json::from_value::<Node>(node(at)).unwrap());
    }
    let pods: Vec<Arc<PodInfo>> = (0..PODS)
        .map(|at| {
            let typed: Pod = serde_json::from_value(pod(at)).unwrap();
            Arc::new(PodInfo::new(&Arc::new(Object::try_from(pod(at)).unwrap()), &typed, None))
        })
        .collect();
    let (begun, mut seed) = (Instant::now(), 1_u64);
    for pod in &pods {
        let mut random = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            seed >> 33
        };
        let Decision::Bind(name) = decide(pod, &nodes, &Claims::default(), &mut random) else {
            panic!("every pod fits")
        };
        nodes.put_pod(pod, &name);
    }
    report("decisions alone", begun);
}

fn report(what: &str, begun: Instant) {
    let seconds = begun.elapsed().as_secs_f64();
    println!("{what:<32}{PODS} pods on {NODES} nodes in {seconds:.2} s: {:.0}/s", PODS as f64 / seconds);
}

async fn create(client: &Client, resource: &Resource, objects: impl Iterator<Item = Value>) {
    let creating = objects.map(|object| {
        let object = Object::try_from(object).unwrap();
        async move { client.create(resource, &Key::new(object.namespace(), ""), None, object).await.unwrap() }
    });
    futures::stream::iter(creating).buffer_unordered(CREATORS).for_each(|_| async {}).await;
}

async fn whole(folder: &Path) {
    let world = real::world(folder);
    let store = Store::open(&world, "store.redb").unwrap();
    let config = api::Config { listen: Vec::new(), ..api::Config::default() };
    let pki = Arc::new(Pki::open_or_create(folder, &config.names(), &world).unwrap());
    let server = Server::start(config, world.clone(), store, pki).await.unwrap();
    let client = server.client(User::admin());
    let account =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "default"}});
    create(
        &client,
        &Resource { group: "".into(), version: "v1".into(), plural: "serviceaccounts".into() },
        [account].into_iter(),
    )
    .await;
    create(&client, &Resource::of::<Node>(), (0..NODES).map(node)).await;
    let untaint = json!({"spec": {"taints": null}});
    for at in 0..NODES {
        let (resource, key) = (Resource::of::<Node>(), Key::new("", format!("n{at:04}")));
        let kind = kprov_control_plane::client::PatchKind::Merge;
        client.patch(&resource, &key, None, kind, untaint.clone()).await.unwrap();
    }
    let _scheduler = scheduler::start(&server.client(User::component("system:kube-scheduler")), &world);
    let pods = Resource::of::<Pod>();
    let everything = Selection::default();
    let from = client.list(&pods, &everything).await.unwrap().revision;
    let mut changes = client.watch(&pods, &everything, from).await.unwrap();
    let begun = Instant::now();
    let waiting = async {
        let mut bound = 0;
        while bound < PODS {
            let event = changes.next().await.unwrap().unwrap();
            if let kprov_control_plane::client::Event::Modified(pod) = event {
                bound += usize::from(pod.text(&["spec", "nodeName"]).is_some());
            }
        }
    };
    tokio::join!(create(&client, &pods, (0..PODS).map(pod)), waiting);
    report("created, decided on and bound", begun);
}
