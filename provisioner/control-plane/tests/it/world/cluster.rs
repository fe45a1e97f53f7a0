//! A control plane in this process, with a played kubelet, on a clock that the test moves.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use kprov_control_plane::api::{self, Server, User};
use kprov_control_plane::controllers::{self, Controllers};
use kprov_control_plane::pki::Pki;
use kprov_control_plane::scheduler::{self, Scheduler};
use kprov_control_plane::store::Store;
use kprov_control_plane::world::memory::MemoryWorld;
use serde_json::{Value, json};

/// How far the clock goes at once.
const STEP: Duration = Duration::from_millis(250);

pub(super) struct Cluster {
    memory: MemoryWorld,
    store: Store,
    server: Server,
    nodes: BTreeSet<String>,
    pod_addresses: u32,
    steps: u64,
    _controllers: Controllers,
    _scheduler: Scheduler,
    _folder: tempfile::TempDir,
}

impl Cluster {
    pub(super) async fn start() -> Self {
        let memory = MemoryWorld::new(7);
        let world = memory.world();
        let store = Store::open(&world, "store.redb").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let config = api::Config { listen: Vec::new(), ..api::Config::default() };
        let pki = Arc::new(Pki::open_or_create(folder.path(), &config.names(), &world).unwrap());
        let root_ca = pki.authority().to_owned();
        let server = Server::start(config, world.clone(), store.clone(), pki).await.unwrap();
        let manager = server.client(User::component("system:kube-controller-manager"));
        let scheduler = server.client(User::component("system:kube-scheduler"));
        let cluster = Self {
            _controllers: controllers::start(&manager, &world, &controllers::Config::new(root_ca)),
            _scheduler: scheduler::start(&scheduler, &world),
            memory,
            store,
            server,
            nodes: BTreeSet::new(),
            pod_addresses: 0,
            steps: 0,
            _folder: folder,
        };
        cluster.idle().await;
        cluster
    }

    /// Lets every task run until nothing is written any more.
    pub(super) async fn idle(&self) {
        let mut head = self.store.head();
        let mut quiet = 0;
        while quiet < 150 {
            tokio::task::yield_now().await;
            quiet += 1;
            if self.store.head() != head {
                head = self.store.head();
                quiet = 0;
            }
        }
    }

    /// Moves the clock, step by step, with the kubelets renewing their leases.
    pub(super) async fn pass(&mut self, time: Duration) {
        let mut left = time;
        while !left.is_zero() {
            self.memory.clock.advance(STEP.min(left));
            left = left.saturating_sub(STEP);
            self.steps += 1;
            if self.steps.is_multiple_of(20) {
                self.renew().await;
            }
            self.idle().await;
        }
    }

    async fn renew(&mut self) {
        let now = self.memory.world().clock.now().strftime("%Y-%m-%dT%H:%M:%S.000000Z").to_string();
        for node in self.nodes.clone() {
            let spec = json!({"holderIdentity": node, "leaseDurationSeconds": 40, "renewTime": now});
            let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
            let path = format!("{leases}/{node}");
            let (code, _) =
                self.send("PATCH", &path, Some("application/merge-patch+json"), Some(&json!({"spec": spec}))).await;
            if code == 404 {
                let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                    "metadata": {"name": node, "namespace": "kube-node-lease"}, "spec": spec});
                self.send("POST", leases, None, Some(&lease)).await;
            }
        }
    }

    /// One request as the administrator: status code and body.
    pub(super) async fn send(
        &self,
        method: &str,
        path: &str,
        media: Option<&str>,
        body: Option<&Value>,
    ) -> (u16, Value) {
        let bytes = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", media.unwrap_or("application/json"))
            .header("user-agent", "world/1")
            .body(Full::new(bytes))
            .unwrap();
        let response = self.server.handle(request, Some(&User::admin())).await;
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (code, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    pub(super) async fn get(&self, path: &str) -> Option<Value> {
        let (code, body) = self.send("GET", path, None, None).await;
        (code == 200).then_some(body)
    }

    pub(super) async fn items(&self, path: &str) -> Vec<Value> {
        let list = self.get(path).await;
        list.and_then(|mut list| list["items"].as_array_mut().map(std::mem::take)).unwrap_or_default()
    }

    fn now(&self) -> String {
        self.memory.world().clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// A "node" step: makes a node, or removes it.
    pub(super) async fn node(&mut self, step: &Value) {
        let name = step[0].as_str().unwrap().to_owned();
        if step[1].is_null() {
            self.remove_node(&name).await;
            return;
        }
        let mut capacity = json!({"cpu": "4", "memory": "8Gi", "pods": "110"});
        let mut labels = json!({"kubernetes.io/hostname": name});
        for (map, extra) in [(&mut labels, &step[1]), (&mut capacity, &step[2])] {
            map.as_object_mut().unwrap().extend(extra.as_object().cloned().unwrap_or_default());
        }
        let now = self.now();
        let conditions: Vec<Value> = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"]
            .map(|kind| {
                json!({"type": kind, "status": if kind == "Ready" { "True" } else { "False" }, "reason": "x",
                    "message": "x", "lastHeartbeatTime": now, "lastTransitionTime": now})
            })
            .into();
        let taints = if step[3].is_null() { json!([]) } else { step[3].clone() };
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": labels},
            "spec": {"taints": taints, "unschedulable": step[4].as_bool().unwrap_or(false)},
            "status": {"capacity": capacity, "allocatable": capacity, "conditions": conditions,
                "addresses": [{"type": "InternalIP", "address": "10.7.0.1"}]},
        });
        let (code, body) = self.send("POST", "/api/v1/nodes", None, Some(&node)).await;
        assert_eq!(code, 201, "{body}");
        self.nodes.insert(name);
        self.renew().await;
        self.idle().await;
    }

    async fn remove_node(&mut self, name: &str) {
        self.send("DELETE", &format!("/api/v1/nodes/{name}"), None, None).await;
        self.nodes.remove(name);
        self.idle().await;
    }

    /// A node's kubelet says nothing any more.
    pub(super) fn silence(&mut self, name: &str) {
        self.nodes.remove(name);
    }

    pub(super) async fn remove_nodes(&mut self) {
        for name in self.nodes.clone() {
            self.remove_node(&name).await;
        }
    }

    /// A "kubelet" step: sets statuses of pods that are bound and live.
    pub(super) async fn kubelet(&mut self, namespace: &str, step: &Value) {
        let to = step["to"].as_str().unwrap_or("ready").to_owned();
        let first = step["first"].as_u64().unwrap_or(u64::MAX);
        let pods = format!("/api/v1/namespaces/{namespace}/pods");
        let mut items = self.items(&pods).await;
        items.sort_by_cached_key(|pod| {
            (pod["metadata"]["creationTimestamp"].to_string(), pod["metadata"]["name"].to_string())
        });
        let mut done = 0;
        for pod in items {
            let labels = step["labels"].as_object().cloned().unwrap_or_default();
            let selected = labels.iter().all(|(key, value)| pod["metadata"]["labels"][key] == *value);
            let ended = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
            let bound = pod["spec"]["nodeName"].as_str().is_some_and(|name| !name.is_empty());
            if !selected || ended || !bound || !pod["metadata"]["deletionTimestamp"].is_null() {
                continue;
            }
            if done >= first {
                break;
            }
            done += 1;
            let status = self.status(&pod, &to);
            let path = format!("{pods}/{}/status", pod["metadata"]["name"].as_str().unwrap());
            let media = Some("application/strategic-merge-patch+json");
            self.send("PATCH", &path, media, Some(&json!({"status": status}))).await;
            self.idle().await;
        }
    }

    fn status(&mut self, pod: &Value, to: &str) -> Value {
        let now = self.now();
        self.pod_addresses += 1;
        let fresh = format!("10.240.0.{}", self.pod_addresses % 250 + 1);
        let address = pod["status"]["podIP"].as_str().map_or(fresh, str::to_owned);
        let (up, ready) = (matches!(to, "ready" | "unready" | "running"), to == "ready");
        let state = if up {
            json!({"running": {"startedAt": now}})
        } else {
            let (code, reason) = if to == "succeeded" { (0, "Completed") } else { (1, "Error") };
            json!({"terminated": {"exitCode": code, "reason": reason, "startedAt": now, "finishedAt": now}})
        };
        let conditions: Vec<Value> = ["Ready", "ContainersReady", "Initialized", "PodScheduled"]
            .map(|kind| {
                let holds = ready || matches!(kind, "Initialized" | "PodScheduled");
                json!({"type": kind, "status": if holds { "True" } else { "False" }, "lastTransitionTime": now})
            })
            .into();
        let containers = pod["spec"]["containers"].as_array().unwrap();
        let statuses: Vec<Value> = containers
            .iter()
            .map(|container| {
                json!({"name": container["name"], "image": container["image"], "imageID": "x", "ready": ready,
                    "started": up, "restartCount": 0, "state": state})
            })
            .collect();
        let phase = match to {
            "succeeded" => "Succeeded",
            "failed" => "Failed",
            _ => "Running",
        };
        json!({"phase": phase, "podIP": address, "podIPs": [{"ip": address}], "hostIP": "10.7.0.1", "startTime": now,
            "conditions": conditions, "containerStatuses": statuses})
    }

    /// Pods that are being deleted end at once. Whether there were any.
    pub(super) async fn reap(&self, namespace: &str) -> bool {
        let pods = format!("/api/v1/namespaces/{namespace}/pods");
        let mut reaped = false;
        for pod in self.items(&pods).await {
            if !pod["metadata"]["deletionTimestamp"].is_null() {
                let name = pod["metadata"]["name"].as_str().unwrap();
                self.send("DELETE", &format!("{pods}/{name}?gracePeriodSeconds=0"), None, None).await;
                reaped = true;
            }
        }
        self.idle().await;
        reaped
    }
}
