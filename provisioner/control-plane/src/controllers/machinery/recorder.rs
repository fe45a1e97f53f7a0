//! Records events, counting repetitions on one object instead of writing a new one each time.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use k8s_openapi::api::core::v1::Event;
use kprov_schema::{Key, Object, Resource, Status};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::action::Note;
use crate::client::{Client, PatchKind};
use crate::world::World;

/// Events waiting to be written. Beyond it new ones are dropped, with a warning in the log: they are advice, not state.
const WAITING: usize = 16_384;
/// Writes under way at the same time.
const PARALLEL: usize = 64;
/// Distinct events whose repetitions are still counted.
const REMEMBERED: usize = 4096;

/// Takes events and writes them in the background.
#[derive(Clone)]
pub struct Recorder {
    notes: mpsc::Sender<(&'static str, Note)>,
}

impl Recorder {
    /// A recorder, and the task that writes what it takes.
    #[must_use]
    pub fn new(client: &Client, world: &World) -> (Self, BoxFuture<'static, ()>) {
        let (notes, taken) = mpsc::channel(WAITING);
        let writer =
            Writer { client: Arc::clone(client), world: world.clone(), known: HashMap::new(), order: VecDeque::new() };
        (Self { notes }, Box::pin(writer.run(taken)))
    }

    /// Records a note; `component` is its source unless it names one.
    pub fn record(&self, component: &'static str, note: Note) {
        let source = if note.source.is_empty() { component } else { note.source };
        if let Err(refused) = self.notes.try_send((source, note)) {
            tracing::warn!(error = %refused, "event dropped");
        }
    }
}

/// What makes two notes the same event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Identity {
    source: &'static str,
    uid: String,
    object: Key,
    field: String,
    reason: &'static str,
    message: String,
}

/// An event that was written, or is being written.
struct Known {
    key: Key,
    count: i64,
    // Repetitions that came while a write was under way.
    pending: i64,
    writing: bool,
}

struct Writer {
    client: Client,
    world: World,
    known: HashMap<Identity, Known>,
    order: VecDeque<Identity>,
}

type Written = (Identity, Note, Result<Arc<Object>, Status>);

impl Writer {
    async fn run(mut self, mut taken: mpsc::Receiver<(&'static str, Note)>) {
        let mut writes: FuturesUnordered<BoxFuture<'static, Written>> = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(written) = writes.next() => {
                    if let Some(more) = self.written(written) {
                        writes.push(more);
                    }
                }
                note = taken.recv(), if writes.len() < PARALLEL => match note {
                    Some((source, note)) => writes.extend(self.take(source, note)),
                    None => return,
                },
            }
        }
    }

    fn take(&mut self, source: &'static str, note: Note) -> Option<BoxFuture<'static, Written>> {
        let identity = identity(source, &note);
        if let Some(known) = self.known.get_mut(&identity) {
            known.pending += 1;
            return if known.writing { None } else { Some(self.count(identity, note)) };
        }
        let now = self.world.clock.now();
        let name = format!(
            "{}.{:x}",
            note.about.name.as_deref().unwrap_or_default(),
            now.as_nanosecond() as u64 ^ (self.world.rng.next_u64() & 0xffff)
        );
        let namespace =
            note.about.namespace.clone().filter(|text| !text.is_empty()).unwrap_or_else(|| "default".into());
        let key = Key::new(namespace, name);
        let event = event(source, &note, &key, now);
        self.remember(identity.clone(), Known { key: key.clone(), count: 1, pending: 0, writing: true });
        let client = Arc::clone(&self.client);
        Some(Box::pin(async move {
            let result = client.create(&Resource::of::<Event>(), &key, None, event).await;
            (identity, note, result)
        }))
    }

    /// Writes a higher count.
    fn count(&mut self, identity: Identity, note: Note) -> BoxFuture<'static, Written> {
        let known = self.known.get_mut(&identity).expect("the caller looked it up");
        known.count += std::mem::take(&mut known.pending);
        known.writing = true;
        let patch = json!({"count": known.count, "lastTimestamp": seconds(self.world.clock.now())});
        let (client, key) = (Arc::clone(&self.client), known.key.clone());
        Box::pin(async move {
            let result = client.patch(&Resource::of::<Event>(), &key, None, PatchKind::Merge, patch).await;
            (identity, note, result)
        })
    }

    fn written(&mut self, (identity, note, result): Written) -> Option<BoxFuture<'static, Written>> {
        if let Err(status) = result {
            // Events of a namespace on its way out are refused; that is not worth a line.
            tracing::debug!(error = %status, reason = note.reason, "event not written");
            let known = self.known.remove(&identity)?;
            self.order.retain(|one| *one != identity);
            // It was counted up after it had expired: what is new starts a new one.
            return if status.is_not_found() && known.count > 1 { self.take(identity.source, note) } else { None };
        }
        let known = self.known.get_mut(&identity)?;
        known.writing = false;
        if known.pending > 0 { Some(self.count(identity, note)) } else { None }
    }

    fn remember(&mut self, identity: Identity, known: Known) {
        if self.order.len() >= REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.order.push_back(identity.clone());
        self.known.insert(identity, known);
    }
}

fn identity(source: &'static str, note: &Note) -> Identity {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    Identity {
        source,
        uid: text(&note.about.uid),
        object: Key::new(text(&note.about.namespace), text(&note.about.name)),
        field: text(&note.about.field_path),
        reason: note.reason,
        message: note.message.clone(),
    }
}

/// A moment in whole seconds, as Kubernetes writes `metav1.Time`.
fn seconds(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn event(source: &str, note: &Note, key: &Key, now: jiff::Timestamp) -> Object {
    let about = serde_json::to_value(&note.about).expect("an object reference is a map");
    let body = json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": key.name, "namespace": key.namespace},
        "involvedObject": about,
        "reason": note.reason,
        "message": note.message,
        "source": {"component": source},
        "firstTimestamp": seconds(now),
        "lastTimestamp": seconds(now),
        "count": 1,
        "type": if note.warning { "Warning" } else { "Normal" },
        "eventTime": Value::Null,
        "reportingComponent": source,
        "reportingInstance": "",
    });
    Object::try_from(body).expect("written as a map")
}
