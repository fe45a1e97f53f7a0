//! Events that the agent records: repeated ones are counted, not repeated.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use kprov_control_plane::client::{Client, PatchKind};
use kprov_control_plane::world::Clock;
use kprov_schema::{Key, Object, Resource};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::decide::PodEvent;

/// Events that may wait to be written; beyond that they are dropped with a word in the log, as nobody acts on them.
const QUEUE: usize = 1024;
/// Events whose repetition is still recognised.
const REMEMBERED: usize = 4096;

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct About {
    /// `Pod` or `Node`.
    pub kind: &'static str,
    /// Its namespace and name.
    pub key: Key,
    /// Its uid.
    pub uid: String,
    /// Its resourceVersion, for kinds where it says something.
    pub version: String,
}

#[derive(Debug)]
struct Record {
    about: About,
    event: PodEvent,
    at: Timestamp,
}

/// Writes events in the background.
#[derive(Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Record>,
    clock: Arc<dyn Clock>,
}

impl Recorder {
    /// Starts writing for the node of this name; it ends when the last recorder does.
    #[must_use]
    pub fn start(client: Client, clock: Arc<dyn Clock>, node: String) -> Self {
        let (queue, records) = mpsc::channel(QUEUE);
        tokio::spawn(Writer { client, node, known: BTreeMap::new(), last_name: 0 }.run(records));
        Self { queue, clock }
    }

    /// Records an event.
    pub fn record(&self, about: About, event: PodEvent) {
        let at = self.clock.now();
        if let Err(error) = self.queue.try_send(Record { about, event, at }) {
            tracing::warn!(%error, "an event is dropped");
        }
    }
}

type Same = (About, bool, String, String, Option<String>);

struct Known {
    key: Key,
    count: i64,
}

struct Writer {
    client: Client,
    node: String,
    known: BTreeMap<Same, Known>,
    /// Nanoseconds in the newest name.
    last_name: i128,
}

impl Writer {
    async fn run(mut self, mut records: mpsc::Receiver<Record>) {
        while let Some(record) = records.recv().await {
            self.write(record).await;
        }
    }

    async fn write(&mut self, record: Record) {
        let Record { about, event, at } = &record;
        let about_always = About { version: String::new(), ..about.clone() };
        let same: Same =
            (about_always, event.warning, event.reason.clone(), event.message.clone(), event.field.clone());
        let resource = Resource::of::<k8s_openapi::api::core::v1::Event>();
        if let Some(known) = self.known.get_mut(&same) {
            known.count += 1;
            let patch = json!({"count": known.count, "lastTimestamp": seconds(*at)});
            match self.client.patch(&resource, &known.key, None, PatchKind::Merge, patch).await {
                Ok(_) => return,
                // It has outlived its time and is written anew.
                Err(status) if status.is_not_found() => {}
                Err(status) => return tracing::warn!(error = %status, "an event is lost"),
            }
        }
        // Names are times; of two events at the same one the later takes the next.
        self.last_name = at.as_nanosecond().max(self.last_name + 1);
        let object = self.object(&record);
        let key = object.key();
        match self.client.create(&resource, &key, None, object).await {
            Ok(_) => {
                if self.known.len() >= REMEMBERED {
                    self.known.clear();
                }
                self.known.insert(same, Known { key, count: 1 });
            }
            // A namespace that is going takes no more events.
            Err(status) => tracing::debug!(error = %status, "an event is lost"),
        }
    }

    fn object(&self, record: &Record) -> Object {
        let Record { about, event, at } = record;
        // Events of cluster-scoped objects live in the default namespace.
        let namespace = if about.key.namespace.is_empty() { "default" } else { &about.key.namespace };
        let name = format!("{}.{:x}", about.key.name, self.last_name);
        let mut involved = json!({"kind": about.kind, "name": about.key.name, "uid": about.uid});
        if about.kind == "Pod" {
            involved["apiVersion"] = json!("v1");
            involved["namespace"] = json!(namespace);
            involved["resourceVersion"] = json!(about.version);
        }
        if let Some(field) = &event.field {
            involved["fieldPath"] = json!(field);
        }
        let body = json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": involved,
            "reason": event.reason,
            "message": event.message,
            "type": if event.warning { "Warning" } else { "Normal" },
            "source": {"component": "kubelet", "host": self.node},
            "reportingComponent": "kubelet",
            "reportingInstance": self.node,
            "firstTimestamp": seconds(*at),
            "lastTimestamp": seconds(*at),
            "eventTime": Value::Null,
            "count": 1,
        });
        Object::try_from(body).expect("a JSON map")
    }
}

/// As the API writes times: whole seconds.
#[must_use]
pub fn seconds(time: Timestamp) -> String {
    super::status::whole_second(time).to_string()
}
