//! One task a pod: reads what is, decides, does it, and waits for the next change.

mod containers;
mod observe;
mod probes;
mod sandbox;
mod stop;
mod volumes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kprov_control_plane::client::{DeleteOptions, PatchKind, Preconditions};
use kprov_schema::{Object, Resource, Status, Subresource, Uid};
use serde::Deserialize;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::decide::{self, PodAction, PodEvent};
use super::events::About;
use super::failure::Reason;
use super::memory::{BackOff, ContainerSeen, Failure, Memory, Observed, SandboxSeen, later};
use super::names;
use super::resources;
use super::view::View;
use super::{Context, blocking, chain, last_words, patch};
use crate::net::Attachment;
use crate::runtime::{ContainerState, Inventory, RuntimeError};
use crate::volumes::PodFolder;
use crate::volumes::payload::{TokenSpec, shows_itself};
use probes::Probed;
use volumes::Token;

/// The newest a task was told of its pod.
#[derive(Clone, Debug)]
pub enum News {
    /// The pod as it is.
    Is(Arc<Object>),
    /// The API no longer has it.
    Gone,
}

/// The other end of a task.
pub struct Handle {
    /// Tells it of its pod.
    pub news: watch::Sender<News>,
    /// Tells it that something changed in the runtime.
    pub wake: Arc<Notify>,
    /// Tells it that other images are here.
    pub images: Arc<Notify>,
}

/// How long to wait before trying again what the machine or the API refused.
const RETRY: Duration = Duration::from_secs(1);

/// The state of one pod's task.
pub struct PodTask {
    context: Arc<Context>,
    uid: Uid,
    object: Arc<Object>,
    pod: Pod,
    gone: bool,
    memory: Memory,
    news: watch::Receiver<News>,
    wake: Arc<Notify>,
    images: Arc<Notify>,
    changed: Arc<Notify>,
    attachment: Option<Attachment>,
    words: BTreeMap<String, Option<String>>,
    /// Containers that were started and never yet shown as running: one that ends at once is shown so once.
    unshown: BTreeSet<String>,
    tokens: BTreeMap<TokenSpec, Token>,
    /// Stops under way, by the id of their container.
    stops: JoinSet<(String, Result<(), RuntimeError>)>,
    /// Probes under way.
    probes: JoinSet<Probed>,
    /// Containers that could not be stopped the last time.
    unstopped: BTreeMap<String, Failure>,
}

/// What a round led to.
#[derive(Default)]
struct Round {
    /// Something was done that the next decision depends on.
    again: bool,
    recheck_at: Option<Timestamp>,
}

impl Round {
    fn recheck(&mut self, at: Timestamp) {
        self.recheck_at = Some(self.recheck_at.map_or(at, |other| other.min(at)));
    }
}

impl PodTask {
    /// A task for a pod, and its other end. Errors: the object is no pod.
    pub fn new(context: Arc<Context>, object: Arc<Object>) -> Result<(Self, Handle), String> {
        let pod = typed(&object)?;
        let (sender, news) = watch::channel(News::Is(object.clone()));
        let (wake, images) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let task = Self {
            context,
            uid: object.uid(),
            object,
            pod,
            gone: false,
            memory: Memory::default(),
            news,
            wake: wake.clone(),
            images: images.clone(),
            changed: Arc::new(Notify::new()),
            attachment: None,
            words: BTreeMap::new(),
            unshown: BTreeSet::new(),
            tokens: BTreeMap::new(),
            stops: JoinSet::new(),
            probes: JoinSet::new(),
            unstopped: BTreeMap::new(),
        };
        Ok((task, Handle { news: sender, wake, images }))
    }

    /// Runs until the pod is gone and nothing of it is left.
    pub async fn run(mut self) {
        loop {
            self.take_news();
            let mut round = self.round().await;
            if self.gone && self.memory.cleared.is_some() {
                break;
            }
            if let Some(at) = self.tokens.values().map(|token| token.renew_at).min() {
                round.recheck(at);
            }
            if !round.again {
                self.wait(round.recheck_at).await;
            }
        }
        self.context.references.release(&self.uid);
    }

    fn take_news(&mut self) {
        let news = self.news.borrow_and_update().clone();
        match news {
            News::Gone => self.lose(),
            News::Is(object) => self.adopt(object),
        }
    }

    /// Takes a newer state of the pod; an older one than the agent's own last write is no news.
    fn adopt(&mut self, object: Arc<Object>) {
        if object.revision() <= self.object.revision() {
            return;
        }
        match typed(&object) {
            Ok(pod) => {
                if shows_itself(&pod) && !looks_alike(&pod, &self.pod) {
                    self.memory.volumes_ready = false;
                }
                self.pod = pod;
                self.object = object;
            }
            Err(error) => tracing::error!(pod = %object.key(), %error, "the API sent a pod that can't be read"),
        }
    }

    /// The API forgot the pod: it ends as if it were deleted, and nobody is told.
    fn lose(&mut self) {
        if self.gone {
            return;
        }
        self.gone = true;
        self.memory.deletion_sent = true;
        if self.pod.metadata.deletion_timestamp.is_none() {
            let seconds = self.pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(30);
            let grace = Duration::from_secs(u64::try_from(seconds).unwrap_or(1).max(1));
            self.pod.metadata.deletion_timestamp = Some(Time(later(self.now(), grace)));
        }
    }

    fn now(&self) -> Timestamp {
        self.context.world.clock.now()
    }

    async fn wait(&mut self, recheck_at: Option<Timestamp>) {
        let clock = self.context.world.clock.clone();
        let sleep = async {
            match recheck_at {
                Some(at) => clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            told = self.news.changed() => if told.is_err() {
                // The runner is gone; so is this task, as soon as it is dropped.
                std::future::pending::<()>().await;
            },
            () = self.wake.notified() => {}
            () = self.changed.notified() => self.refresh(),
            () = self.images.notified() => self.retry_images().await,
            Some(ended) = self.stops.join_next() => self.stopped(ended),
            Some(ended) = self.probes.join_next() => self.probed(ended),
            () = sleep => self.renew(),
        }
    }

    /// What a config map or secret made fail may work now; what was made from it is made again.
    fn refresh(&mut self) {
        let now = self.now();
        self.memory.volumes_ready = false;
        self.memory.setup = None;
        for one in self.memory.containers.values_mut() {
            if let Some(failure) =
                one.failure.as_mut().filter(|failure| failure.reason == Reason::CreateContainerConfigError)
            {
                failure.retry_at = now;
            }
        }
    }

    /// What failed for want of an image that is here now is tried again at once.
    async fn retry_images(&mut self) {
        let now = self.now();
        let Some(spec) = &self.pod.spec else { return };
        for (name, one) in &mut self.memory.containers {
            let image = resources::container(spec, name).and_then(|(own, _)| own.into_owned().image);
            let failure = one.failure.as_mut().filter(|failure| failure.reason.is_of_image());
            let (Some(image), Some(failure)) = (image, failure) else { continue };
            // An error is for the next try to tell.
            if !matches!(self.context.runtime.image(&image).await, Ok(None)) {
                failure.retry_at = failure.retry_at.min(now);
            }
        }
    }

    fn renew(&mut self) {
        let now = self.now();
        if self.tokens.values().any(|token| token.renew_at <= now) {
            self.tokens.retain(|_, token| token.renew_at > now);
            self.memory.volumes_ready = false;
        }
    }

    async fn round(&mut self) -> Round {
        let mut round = Round::default();
        let now = self.now();
        let observed = match self.observe().await {
            Ok(observed) => observed,
            Err(error) => {
                tracing::warn!(pod = %self.object.key(), error, "a pod can't be observed; trying again");
                round.recheck(later(now, RETRY));
                return round;
            }
        };
        let decision = decide::decide(&self.pod, &observed, now);
        round.recheck_at = decision.recheck_at;
        let post = self.post(decision.status);
        // What is about to be removed must be on record first.
        let removes = |action: &PodAction| matches!(action, PodAction::RemoveSandbox | PodAction::Delete);
        let posted = if decision.actions.iter().any(removes) {
            let posted = post.await;
            if posted.is_ok() {
                self.act(decision.actions, &observed, &mut round).await;
            }
            posted
        } else {
            tokio::join!(post, self.act(decision.actions, &observed, &mut round)).0
        };
        match posted {
            Ok(Some(object)) => self.adopt(object),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(pod = %self.object.key(), %error, "a pod's status can't be sent; trying again");
                round.recheck(later(now, RETRY));
            }
        }
        round
    }

    /// Sends the status if it differs: the object as it then is.
    fn post(
        &self,
        status: Option<PodStatus>,
    ) -> impl Future<Output = Result<Option<Arc<Object>>, Status>> + Send + use<> {
        let (context, object) = (self.context.clone(), self.object.clone());
        let gone = self.gone;
        async move {
            let Some(status) = status.filter(|_| !gone) else { return Ok(None) };
            let new = serde_json::to_value(status).expect("a status serializes");
            let Some(patch) = patch::of_status(&object.uid().0, object.at(&["status"]), &new) else { return Ok(None) };
            let resource = Resource::of::<Pod>();
            let sub = Some(Subresource::Status);
            match context.client.patch(&resource, &object.key(), sub, PatchKind::Strategic, patch).await {
                Ok(object) => Ok(Some(object)),
                // It is gone, or another pod of its name is there: the watch will tell.
                Err(status) if status.is_not_found() || status.is_conflict() => Ok(None),
                Err(status) => Err(status),
            }
        }
    }

    fn folder(&self) -> Option<PodFolder> {
        self.context.config.root.as_deref().map(|root| PodFolder::of(root, &self.pod))
    }

    fn tell(&self, event: PodEvent) {
        self.context.recorder.record(self.about(), event);
    }

    fn about(&self) -> About {
        About {
            kind: "Pod",
            key: self.object.key(),
            uid: self.uid.0.clone(),
            version: self.object.revision().map(|revision| revision.to_string()).unwrap_or_default(),
        }
    }

    /// Does one after the other; the first that fails ends the round.
    async fn act(&mut self, actions: Vec<PodAction>, observed: &Observed, round: &mut Round) {
        for action in actions {
            let done = match action {
                PodAction::Tell { once, event } => {
                    self.memory.told.insert(once);
                    self.tell(event);
                    continue;
                }
                PodAction::Kill { id, container, deadline, why, restart } => {
                    if let Err(retry_at) = self.kill(id, &container, deadline, why, restart) {
                        round.recheck(retry_at);
                    }
                    continue;
                }
                PodAction::Probe { id, container, kind } => {
                    self.probe(&id, &container, kind, observed);
                    continue;
                }
                PodAction::SetUpVolumes => self.set_up_volumes().await,
                PodAction::CreateSandbox => self.create_sandbox().await,
                PodAction::RemoveSandbox => self.remove_sandbox().await,
                PodAction::Resize { id, container } => {
                    self.resize(&id, &container).await;
                    Ok(())
                }
                PodAction::Start { container, attempt } => self.start(&container, attempt, observed).await,
                PodAction::TearDown { logs } => self.tear_down(logs).await,
                PodAction::Delete => self.delete().await,
            };
            round.again |= done.is_ok();
            if let Err(retry_at) = done {
                round.recheck(retry_at);
                return;
            }
        }
    }

    /// The pod as its containers may see it: with the address it has by now.
    fn pod_now(&self) -> Pod {
        let mut pod = self.pod.clone();
        let status = pod.status.get_or_insert_default();
        let host = self.context.network.node_address().to_string();
        status.host_ip.get_or_insert(host.clone());
        status.host_ips.get_or_insert_with(|| vec![k8s_openapi::api::core::v1::HostIP { ip: host }]);
        if let Some(attachment) = &self.attachment {
            let ip = attachment.address.to_string();
            status.pod_ips = Some(vec![k8s_openapi::api::core::v1::PodIP { ip: ip.clone() }]);
            status.pod_ip = Some(ip);
        }
        pod
    }

    async fn delete(&mut self) -> Result<(), Timestamp> {
        let options = DeleteOptions {
            grace_seconds: Some(0),
            preconditions: Preconditions { uid: Some(self.uid.0.clone()), resource_version: None },
            propagation: None,
        };
        let deleted = self.context.client.delete(&Resource::of::<Pod>(), &self.object.key(), options).await;
        match deleted {
            Err(error) if !error.is_not_found() && !self.is_replaced().await => {
                tracing::warn!(pod = %self.object.key(), %error, "a pod can't be deleted; trying again");
                Err(later(self.now(), RETRY))
            }
            _ => {
                self.memory.deletion_sent = true;
                Ok(())
            }
        }
    }

    /// Whether the pod is gone and another one has its name by now, here or on another node.
    async fn is_replaced(&self) -> bool {
        match self.context.client.get(&Resource::of::<Pod>(), &self.object.key()).await {
            Ok(there) => there.uid() != self.uid,
            Err(error) => error.is_not_found() || error.reason() == kprov_schema::Reason::Forbidden,
        }
    }
}

fn typed(object: &Object) -> Result<Pod, String> {
    Pod::deserialize(object.map()).map_err(|error| error.to_string())
}

/// Whether two states of a pod agree in all that its volumes may show of it.
fn looks_alike(one: &Pod, other: &Pod) -> bool {
    let (meta, others) = (&one.metadata, &other.metadata);
    meta.labels == others.labels && meta.annotations == others.annotations && one.spec == other.spec
}
