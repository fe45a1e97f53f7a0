//! This node as the API shows it: registration, status and lease.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kprov_control_plane::client::{Client, PatchKind};
use kprov_schema::version::RELEASE;
use kprov_schema::{Key, Object, Resource, Status, Subresource, conditions};
use serde_json::{Value, json};

use super::Context;
use super::events::seconds;
use super::machine::{Capacity, System};
use super::memory::later;
use crate::runtime::Image;

/// Renewals that a lease holds for.
const LEASE: u32 = 4;
/// How often the status is sent when nothing changed.
const STATUS: Duration = Duration::from_secs(300);
/// Images that a node's status names, the largest first.
const IMAGES: usize = 50;
/// Where leases of nodes are.
const LEASES: &str = "kube-node-lease";

/// Labels of a node, own ones last: they win.
#[must_use]
pub fn labels(name: &str, system: &System, own: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let arch = system.architecture.as_str();
    let fixed = [
        ("beta.kubernetes.io/arch", arch),
        ("beta.kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", arch),
        ("kubernetes.io/hostname", name),
        ("kubernetes.io/os", "linux"),
    ];
    let mut all: BTreeMap<String, String> = fixed.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    all.extend(own.clone());
    all
}

/// The node's status.
#[must_use]
pub fn status(context: &Context, images: &[Image], old: Option<&Value>, now: Timestamp) -> Value {
    let amounts = amounts(&context.config.capacity);
    json!({
        "addresses": [
            {"type": "InternalIP", "address": context.network.node_address().to_string()},
            {"type": "Hostname", "address": context.config.name},
        ],
        "allocatable": amounts.clone(),
        "capacity": amounts,
        "conditions": healthy(old, now),
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 0}},
        "images": shown_images(images),
        "nodeInfo": info(context),
    })
}

fn amounts(capacity: &Capacity) -> Value {
    json!({
        "cpu": capacity.cpus.to_string(),
        "ephemeral-storage": format!("{}Ki", capacity.disk_bytes / 1024),
        "hugepages-1Gi": "0",
        "hugepages-2Mi": "0",
        "memory": format!("{}Ki", capacity.memory_bytes / 1024),
        "pods": capacity.pods.to_string(),
    })
}

fn shown_images(images: &[Image]) -> Value {
    let mut images: Vec<&Image> = images.iter().collect();
    images.sort_by_key(|image| (std::cmp::Reverse(image.size_bytes), image.names.clone()));
    images.iter().take(IMAGES).map(|image| json!({"names": image.names, "sizeBytes": image.size_bytes})).collect()
}

fn info(context: &Context) -> Value {
    let system = &context.config.system;
    json!({
        "architecture": system.architecture,
        "bootID": system.boot_id,
        "containerRuntimeVersion": context.runtime.version(),
        "kernelVersion": system.kernel,
        "kubeProxyVersion": "",
        "kubeletVersion": RELEASE,
        "machineID": system.machine_id,
        "operatingSystem": "linux",
        "osImage": system.os_image,
        "systemUUID": system.machine_id,
    })
}

/// Type, status, reason and message of what a healthy node says.
const CONDITIONS: &[(&str, &str, &str, &str)] = &[
    ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
];

fn healthy(old: Option<&Value>, now: Timestamp) -> Value {
    let before = old.and_then(|old| old["conditions"].as_array()).map_or(&[][..], Vec::as_slice);
    let all = CONDITIONS.iter().map(|(type_, status, reason, message)| {
        let new = json!({
            "type": type_, "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": seconds(now), "lastTransitionTime": seconds(now),
        });
        conditions::after(before, new)
    });
    all.collect()
}

/// Makes the node's object, or brings its labels up to date. Returns it.
pub async fn register(context: &Context) -> Result<Arc<Object>, Status> {
    let resource = Resource::of::<Node>();
    let key = Key::new("", &context.config.name);
    let labels = labels(&context.config.name, &context.config.system, &context.config.labels);
    let annotations = json!({"volumes.kubernetes.io/controller-managed-attach-detach": "true"});
    let meta = json!({"name": context.config.name, "labels": labels, "annotations": annotations});
    let body = json!({"apiVersion": "v1", "kind": "Node", "metadata": meta, "spec": {"taints": context.config.taints}});
    let object = Object::try_from(body).expect("a JSON map");
    match context.client.create(&resource, &key, None, object).await {
        Err(status) if status.already_exists() => {
            let patch = json!({"metadata": {"labels": labels, "annotations": annotations}});
            context.client.patch(&resource, &key, None, PatchKind::Merge, patch).await
        }
        other => other,
    }
}

/// Keeps status and lease fresh, for ever.
pub async fn keep(context: Arc<Context>) {
    let clock = context.world.clock.clone();
    let node = registered(&context).await;
    let mut beat = Beat {
        context: context.clone(),
        uid: node.uid().0,
        lease_there: false,
        sent: None,
        images: Vec::new(),
        stale: true,
    };
    loop {
        let now = clock.now();
        beat.status(now).await;
        beat.lease(now).await;
        tokio::select! {
            () = clock.sleep_until(later(now, context.config.heartbeat.0)) => {}
            () = context.images_changed.notified() => beat.stale = true,
        }
    }
}

async fn registered(context: &Context) -> Arc<Object> {
    let mut wait = Duration::from_millis(200);
    loop {
        match register(context).await {
            Ok(node) => return node,
            Err(error) => {
                tracing::warn!(%error, node = context.config.name, "the node can't be registered; trying again")
            }
        }
        context.world.clock.sleep_until(later(context.world.clock.now(), wait)).await;
        wait = (wait * 2).min(Duration::from_secs(7));
    }
}

struct Beat {
    context: Arc<Context>,
    uid: String,
    lease_there: bool,
    sent: Option<Timestamp>,
    images: Vec<Image>,
    /// Whether other images may be here than those that were listed last.
    stale: bool,
}

impl Beat {
    fn client(&self) -> &Client {
        &self.context.client
    }

    /// Sends the status when it is time, or when other images are here.
    async fn status(&mut self, now: Timestamp) {
        let due = self.sent.is_none_or(|sent| later(sent, STATUS) <= now);
        if !due && !self.stale {
            return;
        }
        let listed = self.context.runtime.images().await;
        let stale = listed.is_err();
        let images = listed.unwrap_or_else(|error| {
            tracing::warn!(%error, "the images can't be listed");
            self.images.clone()
        });
        if due || images != self.images {
            if let Err(error) = self.send(&images, now).await {
                return tracing::warn!(%error, "the node's status can't be sent");
            }
            self.images = images;
            self.sent = Some(now);
        }
        self.stale = stale;
    }

    async fn send(&self, images: &[Image], now: Timestamp) -> Result<(), Status> {
        let resource = Resource::of::<Node>();
        let key = Key::new("", &self.context.config.name);
        let old = match self.client().get(&resource, &key).await {
            // Somebody deleted the node: it registers again.
            Err(status) if status.is_not_found() => register(&self.context).await?,
            other => other?,
        };
        let status = status(&self.context, images, old.at(&["status"]), now);
        let patch = json!({"status": status});
        let sub = Some(Subresource::Status);
        self.client().patch(&resource, &key, sub, PatchKind::Strategic, patch).await.map(|_| ())
    }

    async fn lease(&mut self, now: Timestamp) {
        let renewed = if self.lease_there { self.renew(now).await } else { self.make(now).await };
        match renewed {
            Ok(()) => self.lease_there = true,
            Err(status) if status.is_not_found() => self.lease_there = false,
            Err(status) if status.already_exists() => self.lease_there = true,
            Err(error) => tracing::warn!(%error, "the node's lease can't be renewed"),
        }
    }

    async fn renew(&self, now: Timestamp) -> Result<(), Status> {
        let patch = json!({"spec": {"holderIdentity": self.context.config.name, "renewTime": micros(now)}});
        let key = Key::new(LEASES, &self.context.config.name);
        self.client().patch(&Resource::of::<Lease>(), &key, None, PatchKind::Merge, patch).await.map(|_| ())
    }

    async fn make(&self, now: Timestamp) -> Result<(), Status> {
        let name = &self.context.config.name;
        let owner = json!({"apiVersion": "v1", "kind": "Node", "name": name, "uid": self.uid});
        let seconds = (self.context.config.heartbeat.0 * LEASE).as_secs().max(1);
        let spec = json!({"holderIdentity": name, "leaseDurationSeconds": seconds, "renewTime": micros(now)});
        let meta = json!({"name": name, "namespace": LEASES, "ownerReferences": [owner]});
        let body = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec});
        let key = Key::new(LEASES, name);
        let object = Object::try_from(body).expect("a JSON map");
        self.client().create(&Resource::of::<Lease>(), &key, None, object).await.map(|_| ())
    }
}

/// Times of leases have six decimals.
fn micros(time: Timestamp) -> String {
    format!("{time:.6}")
}
