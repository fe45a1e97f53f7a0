//! Whole lives of pods: the agent against the API server in process, on simulated containers and a clock that is moved.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event as PodEvent, Namespace, Node, Pod, ServiceAccount};
use kprov_control_plane::api::{Config, Server, User};
use kprov_control_plane::client::{Client, DeleteOptions, Selection};
use kprov_control_plane::pki::Pki;
use kprov_control_plane::store::Store;
use kprov_control_plane::world::Clock;
use kprov_control_plane::world::memory::MemoryWorld;
use kprov_node::agent::machine::Capacity;
use kprov_node::agent::{self, Agent, AgentConfig};
use kprov_node::net::PodNetwork;
use kprov_node::net::simulated::SimulatedNetwork;
use kprov_node::runtime::Runtime;
use kprov_node::runtime::simulated::Simulated;
use kprov_schema::{Key, Object, Resource};
use serde_json::{Value, json};

const NODE: &str = "node1";

struct Cluster {
    world: MemoryWorld,
    server: Server,
    client: Client,
    runtime: Simulated,
    network: Arc<SimulatedNetwork>,
    config: AgentConfig,
    agent: Option<Agent>,
    _keys: tempfile::TempDir,
}

impl Cluster {
    async fn start(root: Option<&Path>) -> Self {
        let world = MemoryWorld::new(7);
        let keys = tempfile::tempdir().unwrap();
        let config = Config { listen: Vec::new(), ..Config::default() };
        let pki = Arc::new(Pki::open_or_create(keys.path(), &config.names(), &world.world()).unwrap());
        let store = Store::open(&world.world(), "store").unwrap();
        let server = Server::start(config, world.world(), store, pki).await.unwrap();
        let capacity = Capacity { cpus: 2, memory_bytes: 1 << 30, disk_bytes: 1 << 30, pods: 110 };
        let config = AgentConfig { root: root.map(Path::to_owned), ..AgentConfig::simulated(NODE, capacity) };
        let network = Arc::new(SimulatedNetwork::new([172, 30, 0, 2].into(), [10, 96, 0, 10].into()));
        network.set_pod_range("10.244.0.0/24".parse().unwrap());
        let mut cluster = Self {
            client: server.client(User::admin()),
            runtime: Simulated::new(world.world()),
            network,
            world,
            server,
            config,
            agent: None,
            _keys: keys,
        };
        cluster.make::<Namespace>(json!({"metadata": {"name": "ns"}})).await;
        cluster.make::<ServiceAccount>(json!({"metadata": {"name": "default", "namespace": "ns"}})).await;
        cluster.start_agent();
        cluster.until::<Node>("", NODE, is_ready).await;
        cluster
    }

    fn start_agent(&mut self) {
        let client = self.server.client(User::node(NODE));
        let runtime = Arc::new(self.runtime.clone());
        let agent = agent::start(self.config.clone(), client, runtime, self.network.clone(), self.world.world());
        self.agent = Some(agent);
    }

    async fn make<T: k8s_openapi::Resource>(&self, body: Value) -> Arc<Object> {
        let mut object = Object::try_from(body).unwrap();
        object.set(&["apiVersion"], json!(T::API_VERSION));
        object.set(&["kind"], json!(T::KIND));
        let key = object.key();
        self.client.create(&Resource::of::<T>(), &key, None, object).await.unwrap()
    }

    /// A pod of this node whose only container runs `words`.
    async fn pod(&self, name: &str, words: &str, spec: Value) {
        let words: Vec<&str> = words.split(' ').collect();
        let mut all = json!({
            "nodeName": NODE,
            "containers": [{"name": "c", "image": "busybox", "command": words}],
        });
        all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        self.make::<Pod>(json!({"metadata": {"name": name, "namespace": "ns"}, "spec": all})).await;
    }

    /// Waits until an object is as wanted; the clock moves on whenever nothing happens.
    async fn until<T: k8s_openapi::Resource>(
        &self,
        namespace: &str,
        name: &str,
        wanted: impl Fn(&Object) -> bool,
    ) -> Arc<Object> {
        use kprov_control_plane::client::Event;
        let resource = Resource::of::<T>();
        let namespace = Some(namespace.to_owned()).filter(|one| !one.is_empty());
        let which = Selection { namespace, labels: String::new(), fields: format!("metadata.name={name}") };
        let list = self.client.list(&resource, &which).await.unwrap();
        if let Some(found) = list.items.iter().find(|one| wanted(one)) {
            return found.clone();
        }
        let mut changes = self.client.watch(&resource, &which, list.revision).await.unwrap();
        let mut last = list.items.first().cloned();
        loop {
            match self.next(&mut changes, last.as_deref()).await {
                Event::Added(object) | Event::Modified(object) if wanted(&object) => return object,
                Event::Added(object) | Event::Modified(object) => last = Some(object),
                Event::Deleted(object) => panic!("it went: {object:?}"),
                Event::Bookmark(_) => {}
            }
        }
    }

    async fn next<E: Send>(
        &self,
        changes: &mut futures::stream::BoxStream<'static, Result<E, kprov_schema::Status>>,
        last: Option<&Object>,
    ) -> E {
        let start = self.world.clock.now();
        loop {
            // Everything that can run without time passing runs first.
            for _ in 0..2_000 {
                if let Some(change) = changes.next().now_or_never() {
                    let Some(change) = change else { panic!("it never came; the last: {last:?}") };
                    return change.unwrap();
                }
                tokio::task::yield_now().await;
            }
            let passed = self.world.clock.now().duration_since(start);
            assert!(passed.as_secs() < 4_000, "it never came; the last: {last:?}");
            match self.world.clock.next_wake() {
                Some(time) => self.world.clock.advance_to(time),
                None => self.world.clock.advance(Duration::from_millis(100)),
            }
        }
    }

    /// Waits until a pod is no longer there.
    async fn gone(&self, name: &str) {
        while let Ok(pod) = self.client.get(&Resource::of::<Pod>(), &Key::new("ns", name)).await {
            assert!(pod.is_deleting(), "{pod:?}");
            self.world.clock.advance(Duration::from_millis(10));
            tokio::task::yield_now().await;
        }
    }

    async fn delete(&self, name: &str, grace: i64) {
        let options = DeleteOptions { grace_seconds: Some(grace), ..DeleteOptions::default() };
        self.client.delete(&Resource::of::<Pod>(), &Key::new("ns", name), options).await.unwrap();
    }

    async fn events(&self, name: &str) -> Vec<String> {
        let which = Selection { namespace: Some("ns".to_owned()), ..Selection::default() };
        for _ in 0..2_000 {
            tokio::task::yield_now().await;
        }
        let list = self.client.list(&Resource::of::<PodEvent>(), &which).await.unwrap();
        let mine = list.items.iter().filter(|one| one.text(&["involvedObject", "name"]) == Some(name));
        mine.map(|one| format!("{}: {}", one.text(&["reason"]).unwrap(), one.text(&["message"]).unwrap())).collect()
    }
}

fn is_ready(object: &Object) -> bool {
    let all = object.at(&["status", "conditions"]).and_then(Value::as_array);
    all.into_iter().flatten().any(|one| one["type"] == "Ready" && one["status"] == "True")
}

fn container(pod: &Object) -> Value {
    pod.at(&["status", "containerStatuses"]).map_or(Value::Null, |all| all[0].clone())
}

fn phase(pod: &Object) -> &str {
    pod.text(&["status", "phase"]).unwrap_or_default()
}

#[tokio::test]
async fn a_pod_runs_until_it_is_deleted() {
    let cluster = Cluster::start(None).await;
    cluster.pod("p", "simulate stubborn", json!({})).await;
    let pod = cluster.until::<Pod>("ns", "p", is_ready).await;
    assert_eq!(phase(&pod), "Running");
    assert_eq!(pod.text(&["status", "podIP"]), Some("10.244.0.2"));
    assert_eq!(container(&pod)["image"], "docker.io/library/busybox:latest");
    cluster.delete("p", 5).await;
    let last = cluster.until::<Pod>("ns", "p", |pod| phase(pod) == "Failed").await;
    assert_eq!(container(&last)["state"]["terminated"]["exitCode"], 137);
    cluster.gone("p").await;
    assert_eq!(cluster.runtime.inventory().await.unwrap(), kprov_node::runtime::Inventory::default());
    let events = cluster.events("p").await;
    assert_eq!(
        events.iter().map(|event| event.split(':').next().unwrap()).collect::<Vec<_>>(),
        ["Pulling", "Pulled", "Created", "Started", "Killing"],
        "{events:?}"
    );
}

#[tokio::test]
async fn a_crash_loop_is_shown_and_counted() {
    let cluster = Cluster::start(None).await;
    cluster.pod("p", "simulate exit=7 after=1", json!({})).await;
    let waiting = |pod: &Object| container(pod)["state"]["waiting"]["reason"] == "CrashLoopBackOff";
    let held = cluster.until::<Pod>("ns", "p", waiting).await;
    assert_eq!(container(&held)["restartCount"], 1);
    assert_eq!(container(&held)["lastState"]["terminated"]["exitCode"], 7);
    cluster.until::<Pod>("ns", "p", |pod| container(pod)["restartCount"] == 3).await;
    let all = cluster.runtime.inventory().await.unwrap().containers;
    assert!(all.len() <= 2, "one dead container is kept: {all:?}");
    assert!(
        cluster
            .events("p")
            .await
            .iter()
            .any(|event| event.starts_with("BackOff: Back-off restarting failed container c"))
    );
}

#[tokio::test]
async fn a_stop_that_fails_is_tried_again() {
    let cluster = Cluster::start(None).await;
    cluster.pod("p", "run", json!({})).await;
    cluster.until::<Pod>("ns", "p", is_ready).await;
    cluster.runtime.fail_stops(2);
    cluster.delete("p", 5).await;
    cluster.until::<Pod>("ns", "p", |pod| container(pod)["state"]["terminated"].is_object()).await;
    cluster.gone("p").await;
    let events = cluster.events("p").await;
    for (reason, count) in [("Killing", 1), ("FailedKillPod", 1)] {
        let told = events.iter().filter(|event| event.split(':').next() == Some(reason)).count();
        assert_eq!(told, count, "{reason}: {events:?}");
    }
}

#[tokio::test]
async fn a_pod_that_waits_for_an_image_starts_when_it_is_loaded() {
    let cluster = Cluster::start(None).await;
    for (name, policy) in [("pulls", "IfNotPresent"), ("never", "Never")] {
        let container = json!({"name": "c", "image": "absent/app:1", "imagePullPolicy": policy});
        cluster.pod(name, "", json!({"containers": [container]})).await;
        let waits = |pod: &Object| !container_waits(pod).is_empty();
        cluster.until::<Pod>("ns", name, waits).await;
    }
    let before = cluster.world.clock.now();
    cluster.runtime.load("absent/other:1").unwrap();
    cluster.runtime.load("absent/app:1").unwrap();
    let mut rounds = 0;
    for name in ["pulls", "never"] {
        let key = Key::new("ns", name);
        while !is_ready(&cluster.client.get(&Resource::of::<Pod>(), &key).await.unwrap()) {
            rounds += 1;
            assert!(rounds < 20_000, "{name} waits out its back-off");
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(cluster.world.clock.now(), before);
    let names =
        |node: &Object| node.at(&["status", "images"]).is_some_and(|all| all.to_string().contains("absent/app"));
    cluster.until::<Node>("", NODE, names).await;
}

fn container_waits(pod: &Object) -> String {
    let reason = container(pod)["state"]["waiting"]["reason"].as_str().unwrap_or_default().to_owned();
    if reason.contains("Image") { reason } else { String::new() }
}

#[tokio::test]
async fn a_pod_may_have_the_address_of_its_node() {
    let cluster = Cluster::start(None).await;
    let ports = json!({"ports": [{"containerPort": 80}]});
    let mut spec = containers(ports);
    spec["hostNetwork"] = json!(true);
    cluster.pod("p", "run", spec).await;
    let pod = cluster.until::<Pod>("ns", "p", is_ready).await;
    assert_eq!(
        (pod.text(&["status", "podIP"]), pod.text(&["status", "hostIP"])),
        (Some("172.30.0.2"), Some("172.30.0.2"))
    );
    assert!(cluster.network.attached().await.unwrap().is_empty(), "it takes no address of the pods'");
    cluster.pod("q", "run", containers(json!({"ports": [{"containerPort": 80, "hostPort": 80}]}))).await;
    let refused = |pod: &Object| {
        container(pod)["state"]["waiting"]["message"].as_str().is_some_and(|text| text.contains("hostPort"))
    };
    cluster.until::<Pod>("ns", "q", refused).await;
}

fn exec(words: &str) -> Value {
    json!({"exec": {"command": words.split(' ').collect::<Vec<_>>()}})
}

fn probe(words: &str, failures: i32) -> Value {
    let mut probe = exec(words);
    probe
        .as_object_mut()
        .unwrap()
        .extend([("periodSeconds".to_owned(), json!(1)), ("failureThreshold".to_owned(), json!(failures))]);
    probe
}

/// A pod whose only container has these fields too.
fn containers(fields: Value) -> Value {
    let mut container = json!({"name": "c", "image": "busybox", "command": ["run"]});
    container.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    json!({"containers": [container]})
}

#[tokio::test]
async fn a_pod_is_ready_while_its_probe_says_so() {
    let mut cluster = Cluster::start(None).await;
    let fields = json!({
        "startupProbe": probe("simulate fails-until=3", 9), "readinessProbe": probe("simulate fails-from=20", 2),
    });
    let began = cluster.world.clock.now();
    cluster.pod("p", "run", containers(fields)).await;
    let started = |pod: &Object| container(pod)["started"] == true;
    let pod = cluster.until::<Pod>("ns", "p", started).await;
    assert!(!is_ready(&pod), "it has started and was not asked yet");
    cluster.until::<Pod>("ns", "p", is_ready).await;
    let took = cluster.world.clock.now().duration_since(began).as_secs();
    assert!((3..6).contains(&took), "{took}");
    assert!(cluster.events("p").await.contains(&"Unhealthy: Startup probe failed: ".to_owned()));

    cluster.agent.take().unwrap().stop();
    cluster.start_agent();
    let since = |pod: &Object| {
        let all = pod.at(&["status", "conditions"]).and_then(Value::as_array).cloned().unwrap_or_default();
        all.iter().find(|one| one["type"] == "Ready").map(|one| one["lastTransitionTime"].clone())
    };
    let read = || async { cluster.client.get(&Resource::of::<Pod>(), &Key::new("ns", "p")).await.unwrap() };
    let before = since(&*read().await);
    cluster.world.clock.advance(Duration::from_secs(5));
    for _ in 0..2_000 {
        tokio::task::yield_now().await;
    }
    let pod = read().await;
    assert!(is_ready(&pod) && since(&pod) == before, "a new agent does not doubt it");
    let lost = cluster.until::<Pod>("ns", "p", |pod| !is_ready(pod)).await;
    assert_eq!(container(&lost)["restartCount"], 0);
}

#[tokio::test]
async fn a_container_that_is_not_alive_is_restarted() {
    let cluster = Cluster::start(None).await;
    let fields = json!({"livenessProbe": probe("simulate fails-from=5 log=dead", 2)});
    cluster.pod("p", "run", containers(fields)).await;
    cluster.until::<Pod>("ns", "p", |pod| container(pod)["restartCount"] == 1 && is_ready(pod)).await;
    let events = cluster.events("p").await;
    for event in
        ["Unhealthy: Liveness probe failed: dead\n", "Killing: Container c failed liveness probe, will be restarted"]
    {
        assert!(events.contains(&event.to_owned()), "{events:?}");
    }
}

#[tokio::test]
async fn a_hook_that_fails_after_the_start_ends_the_container() {
    let cluster = Cluster::start(None).await;
    cluster.pod("p", "run", containers(json!({"lifecycle": {"postStart": exec("simulate exit=9")}}))).await;
    let shown = |pod: &Object| container(pod)["state"]["waiting"]["reason"] == "PostStartHookError";
    let pod = cluster.until::<Pod>("ns", "p", shown).await;
    assert!(container(&pod)["state"]["running"].is_null());
    cluster.until::<Pod>("ns", "p", |pod| shown(pod) && container(pod)["restartCount"] == 2).await;
    let events = cluster.events("p").await;
    for event in ["FailedPostStartHook: PostStartHook failed", "Killing: FailedPostStartHook"] {
        assert!(events.contains(&event.to_owned()), "{events:?}");
    }
    assert!(
        events.iter().any(|event| event.starts_with("BackOff: Back-off restarting failed container c")),
        "{events:?}"
    );
}

#[tokio::test]
async fn hooks_run_before_a_container_is_shown_and_before_it_is_stopped() {
    let cluster = Cluster::start(None).await;
    let hooks = json!({"postStart": {"sleep": {"seconds": 3}}, "preStop": exec("simulate exit=0 after=4")});
    let began = cluster.world.clock.now();
    cluster.pod("p", "run", containers(json!({"lifecycle": hooks}))).await;
    cluster.until::<Pod>("ns", "p", is_ready).await;
    assert!(cluster.world.clock.now().duration_since(began).as_secs() >= 3);
    let asked = cluster.world.clock.now();
    cluster.delete("p", 30).await;
    cluster.until::<Pod>("ns", "p", |pod| container(pod)["state"]["terminated"]["exitCode"] == 0).await;
    let took = cluster.world.clock.now().duration_since(asked).as_secs();
    assert!((4..10).contains(&took), "{took}");
    cluster.gone("p").await;

    let hooks = json!({"postStart": exec("simulate stubborn"), "preStop": exec("simulate exit=1")});
    cluster.pod("q", "run", containers(json!({"lifecycle": hooks}))).await;
    while cluster.runtime.inventory().await.unwrap().containers.is_empty() {
        tokio::task::yield_now().await;
    }
    cluster.delete("q", 30).await;
    cluster.gone("q").await;
    let waited = cluster.world.clock.now().duration_since(asked).as_secs();
    assert!(waited < 9_999, "who is deleted waits for no hook");
    assert!(cluster.events("q").await.contains(&"FailedPreStopHook: PreStopHook failed".to_owned()));
}

#[tokio::test]
async fn a_pod_that_is_done_keeps_its_end() {
    let cluster = Cluster::start(None).await;
    cluster.pod("p", "simulate exit=3 after=1", json!({"restartPolicy": "Never"})).await;
    let gone = |pod: &Object| {
        let all = pod.at(&["status", "conditions"]).and_then(Value::as_array).cloned().unwrap_or_default();
        all.iter().any(|one| one["type"] == "PodReadyToStartContainers" && one["status"] == "False")
    };
    let pod = cluster.until::<Pod>("ns", "p", |pod| phase(pod) == "Failed" && gone(pod)).await;
    assert_eq!(container(&pod)["state"]["terminated"]["exitCode"], 3);
    assert!(cluster.runtime.inventory().await.unwrap().sandboxes.is_empty());
}

#[tokio::test]
async fn an_agent_that_comes_back_adopts_what_runs() {
    let mut cluster = Cluster::start(None).await;
    cluster.pod("stays", "run", json!({})).await;
    cluster.pod("goes", "run", json!({})).await;
    let before = cluster.until::<Pod>("ns", "stays", is_ready).await;
    cluster.until::<Pod>("ns", "goes", is_ready).await;
    cluster.agent.take().unwrap().stop();
    cluster.delete("goes", 0).await;
    assert_eq!(cluster.runtime.inventory().await.unwrap().containers.len(), 2);
    cluster.start_agent();
    let started = cluster.world.clock.now();
    while cluster.runtime.inventory().await.unwrap().containers.len() == 2 {
        tokio::task::yield_now().await;
        assert_eq!(cluster.world.clock.now(), started);
    }
    cluster.runtime.lose_sandbox(&before.uid());
    let after = cluster.until::<Pod>("ns", "stays", |pod| container(pod)["restartCount"] == 1 && is_ready(pod)).await;
    assert_eq!(after.uid(), before.uid());
    assert_eq!(container(&after)["lastState"]["terminated"]["exitCode"], 137);
}

#[tokio::test]
async fn a_node_is_registered_and_its_lease_renewed() {
    let cluster = Cluster::start(None).await;
    let node = cluster.until::<Node>("", NODE, is_ready).await;
    assert_eq!(node.label("kubernetes.io/hostname"), Some(NODE));
    assert_eq!(node.text(&["status", "capacity", "memory"]), Some("1Gi"));
    let lease = cluster.until::<Lease>("kube-node-lease", NODE, |_| true).await;
    let first = lease.at(&["spec", "renewTime"]).cloned();
    cluster.until::<Lease>("kube-node-lease", NODE, |lease| lease.at(&["spec", "renewTime"]) != first.as_ref()).await;
}

#[cfg(containers)]
mod mounts;

mod contract {
    use futures::future::BoxFuture;
    use kprov_node::runtime::contract::{self, Program, Subject};

    use super::*;

    struct Arm {
        runtime: Simulated,
        world: MemoryWorld,
        folder: tempfile::TempDir,
    }

    impl Subject for Arm {
        fn runtime(&self) -> &dyn Runtime {
            &self.runtime
        }

        fn image(&self) -> &str {
            "busybox:1.28"
        }

        fn args(&self, program: Program) -> Vec<String> {
            match program {
                Program::UntilStopped => vec!["simulate".to_owned()],
                Program::Stubborn => vec!["simulate".to_owned(), "stubborn".to_owned()],
                Program::Exit(code) => vec!["simulate".to_owned(), format!("exit={code}"), "after=1".to_owned()],
                Program::Missing => vec!["simulate".to_owned(), "missing".to_owned()],
                Program::Hello => vec!["simulate".to_owned(), "log=hello".to_owned(), "exit=0".to_owned()],
            }
        }

        fn folder(&self) -> &Path {
            self.folder.path()
        }

        fn elapse(&self, time: Duration) -> BoxFuture<'_, ()> {
            Box::pin(async move {
                self.world.clock.advance(time);
                tokio::task::yield_now().await;
            })
        }
    }

    #[tokio::test]
    async fn the_simulated_runtime_keeps_every_promise() {
        let world = MemoryWorld::new(1);
        let arm = Arm { runtime: Simulated::new(world.world()), world, folder: tempfile::tempdir().unwrap() };
        contract::all(&arm).await;
    }
}
