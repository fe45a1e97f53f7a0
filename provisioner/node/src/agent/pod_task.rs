//! One task a pod: reads what is, decides, does it, and waits for the next change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodStatus, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kprov_control_plane::client::{DeleteOptions, PatchKind, Preconditions};
use kprov_schema::{Key, Object, Resource, Status, Subresource, Uid};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{Notify, watch};
use tokio::task::{JoinError, JoinSet};

use super::decide::{self, PodAction, PodEvent};
use super::events::About;
use super::memory::{BackOff, ContainerSeen, Failure, Memory, Observed, SandboxSeen, later};
use super::names;
use super::resources;
use super::start::{Start, StartFailure};
use super::view::View;
use super::{Context, blocking, chain, last_words, patch};
use crate::net::Attachment;
use crate::runtime::{ContainerState, Inventory, RuntimeError, SandboxSpec};
use crate::volumes::payload::{self, Material, TokenSpec};
use crate::volumes::{Content, Plugin, PodFolder, Prepared, VolumeError, host_path, mounts};

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
/// Reasons of failures that other images may mend.
const IMAGE_FAILURES: [&str; 3] = ["ErrImagePull", "ErrImageNeverPull", "ImageInspectError"];
/// Tokens are renewed at this part of their life, at the latest after a day.
const TOKEN_LIFE: (i64, i64) = (80, 100);
const TOKEN_LONGEST: SignedDuration = SignedDuration::from_hours(24);

struct Token {
    text: String,
    renew_at: Timestamp,
}

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
            () = sleep => self.renew(),
        }
    }

    /// What a config map or secret made fail may work now; what was made from it is made again.
    fn refresh(&mut self) {
        let now = self.now();
        self.memory.volumes_ready = false;
        self.memory.setup = None;
        for one in self.memory.containers.values_mut() {
            if let Some(failure) = one.failure.as_mut().filter(|failure| failure.reason == "CreateContainerConfigError")
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
            let image = resources::container(spec, name).and_then(|(own, _)| own.image.as_deref());
            let failure = one.failure.as_mut().filter(|failure| IMAGE_FAILURES.contains(&failure.reason.as_str()));
            let (Some(image), Some(failure)) = (image, failure) else { continue };
            // An error is for the next try to tell.
            if !matches!(self.context.runtime.image(image).await, Ok(None)) {
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

    async fn observe(&mut self) -> Result<Observed, String> {
        let Inventory { sandboxes, containers } =
            self.context.runtime.inventory_of(&self.uid).await.map_err(|error| chain(&error))?;
        let sandbox = sandboxes.into_iter().next();
        if sandbox.is_some() && self.attachment.is_none() {
            let attachment = self.context.network.attach(&self.uid).await.map_err(|error| chain(&error))?;
            self.attachment = Some(attachment);
        }
        let address = self.attachment.as_ref().map(|attachment| attachment.address);
        let mut seen = Vec::with_capacity(containers.len());
        for mut container in containers {
            self.show_running(&mut container);
            let message = self.words_of(&container).await;
            seen.push(ContainerSeen { container, message });
        }
        Ok(Observed {
            host_ip: self.context.network.node_address(),
            sandbox: sandbox.map(|sandbox| SandboxSeen { ready: sandbox.ready, address }),
            containers: seen,
            memory: self.memory.clone(),
        })
    }

    /// Shows a container as running once, also when it has ended since it was started; the next round sees its end.
    fn show_running(&mut self, container: &mut crate::runtime::Container) {
        if !self.unshown.remove(&container.id) {
            return;
        }
        if let ContainerState::Exited(exit) = &container.state
            && let Some(started_at) = exit.started_at
        {
            container.state = ContainerState::Running { started_at };
            self.wake.notify_one();
        }
    }

    /// The last words of an ended container, read once.
    async fn words_of(&mut self, container: &crate::runtime::Container) -> Option<String> {
        let ContainerState::Exited(exit) = &container.state else { return None };
        if let Some(words) = self.words.get(&container.id) {
            return words.clone();
        }
        let spec = self.pod.spec.as_ref()?;
        let (own, _) = resources::container(spec, &container.name)?;
        let policy = last_words::Policy::of(own.termination_message_policy.as_deref(), exit.code);
        let words = match self.folder() {
            Some(folder) => {
                let (file, log) = (
                    folder.termination(&container.name, container.attempt),
                    folder.log(&container.name, container.attempt),
                );
                let read = blocking(move || last_words::read(&file, &log, policy)).await;
                read.unwrap_or_else(|error| {
                    tracing::warn!(container = container.id, %error, "a container's last words can't be read");
                    Some(format!("Error on reading termination message: {error}"))
                })
            }
            None => None,
        };
        self.words.insert(container.id.clone(), words.clone());
        words
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
                PodAction::SetUpVolumes => self.set_up_volumes().await,
                PodAction::CreateSandbox => self.create_sandbox().await,
                PodAction::RemoveSandbox => self.remove_sandbox().await,
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

    /// Begins to stop a container. Errors: it could not be stopped a moment ago; when to try again.
    fn kill(
        &mut self,
        id: String,
        container: &str,
        deadline: Timestamp,
        why: String,
        restart: bool,
    ) -> Result<(), Timestamp> {
        let failure = self.unstopped.get(&id);
        if let Some(failure) = failure.filter(|failure| failure.retry_at > self.now()) {
            return Err(failure.retry_at);
        }
        let is_first = failure.is_none();
        let grace = Duration::try_from(deadline.duration_since(self.now())).unwrap_or(Duration::ZERO);
        if self.memory.stopping.insert(id.clone(), deadline).is_none() && is_first {
            let role =
                self.pod.spec.as_ref().and_then(|spec| resources::container(spec, container)).map(|(_, role)| role);
            let event = PodEvent::normal("Killing", why);
            self.tell(role.map_or(event.clone(), |role| event.about(role, container)));
        }
        if restart {
            self.memory.containers.entry(container.to_owned()).or_default().restart = true;
        }
        let context = self.context.clone();
        self.stops.spawn(async move {
            let stopped = context.runtime.stop(&id, grace).await;
            (id, stopped)
        });
        Ok(())
    }

    /// A container that can't be stopped is not being stopped: the next decision asks again.
    fn stopped(&mut self, ended: Result<(String, Result<(), RuntimeError>), JoinError>) {
        match ended {
            Ok((id, Ok(()))) => {
                self.unstopped.remove(&id);
            }
            Ok((id, Err(error))) => {
                let error = chain(&error);
                tracing::warn!(container = id, error, "a container can't be stopped; trying again");
                self.tell(PodEvent::warning("FailedKillPod", format!("error killing pod: {error}")));
                self.memory.stopping.remove(&id);
                let failure = Failure::soon(self.unstopped.get(&id), "FailedKillPod", error, self.now());
                self.unstopped.insert(id, failure);
            }
            Err(error) => {
                tracing::error!(pod = %self.object.key(), %error, "stopping a container broke off; trying again");
                self.memory.stopping.clear();
            }
        }
    }

    /// Remembers a failure of the pod's own parts and tells of it; when to try again.
    fn setup_failed(&mut self, reason: &str, event: PodEvent) -> Timestamp {
        let failure = Failure::soon(self.memory.setup.as_ref(), reason, event.message.clone(), self.now());
        let retry_at = failure.retry_at;
        self.memory.setup = Some(failure);
        self.tell(event);
        retry_at
    }

    async fn set_up_volumes(&mut self) -> Result<(), Timestamp> {
        match self.make_volumes().await {
            Ok(()) => {
                self.memory.volumes_ready = true;
                self.memory.torn_down = false;
                self.memory.setup = None;
                Ok(())
            }
            Err(error) => Err(self.setup_failed("FailedMount", PodEvent::warning("FailedMount", error.to_string()))),
        }
    }

    async fn make_volumes(&mut self) -> Result<(), VolumeError> {
        let Some(folder) = self.folder() else { return Ok(()) };
        let volumes = self.pod.spec.as_ref().and_then(|spec| spec.volumes.clone()).unwrap_or_default();
        let mut all = Vec::with_capacity(volumes.len());
        for volume in &volumes {
            let fail = |message: String| VolumeError::new(&volume.name, message);
            let plugin = Plugin::of(volume).map_err(fail)?;
            let content = self.content(volume, plugin).await.map_err(fail)?;
            let group = self.pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref()?.fs_group);
            let group = group.and_then(|group| u32::try_from(group).ok());
            all.push((folder.volume(volume, plugin), Prepared { name: volume.name.clone(), content, group }));
        }
        let made = blocking(move || Ok(all.iter().try_for_each(|(path, one)| one.set_up(path)))).await;
        made.map_err(|error| VolumeError::new("", error))?
    }

    async fn content(
        &mut self,
        volume: &k8s_openapi::api::core::v1::Volume,
        plugin: Plugin,
    ) -> Result<Content, String> {
        if let Some(host) = &volume.host_path {
            let kind = host_path::Kind::parse(host.type_.as_deref().unwrap_or_default())?;
            return Ok(Content::Host { path: host.path.clone().into(), kind });
        }
        let needs = payload::needs(volume);
        for spec in &needs.tokens {
            self.token(spec).await?;
        }
        let namespace = self.object.namespace().to_owned();
        let names = (needs.config_maps.as_slice(), needs.secrets.as_slice());
        let sources = self.context.references.sources(&self.uid, &self.changed, &namespace, names).await?;
        let tokens = self.tokens.iter().map(|(spec, token)| (spec.clone(), token.text.clone())).collect();
        let node = self.context.node_amounts();
        let pod = self.pod_now();
        let material = Material { pod: &pod, sources: &sources, tokens: &tokens, node: &node };
        match material.files(volume)? {
            Some(payload) => Ok(Content::Files { payload, memory: plugin.in_memory() }),
            None => crate::volumes::empty(&volume.empty_dir.clone().unwrap_or_default()),
        }
    }

    /// Asks for a token unless a fresh one is at hand.
    async fn token(&mut self, spec: &TokenSpec) -> Result<(), String> {
        if self.tokens.contains_key(spec) {
            return Ok(());
        }
        let account = self.pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone());
        let account = account.filter(|name| !name.is_empty()).unwrap_or_else(|| "default".to_owned());
        let key = Key::new(self.object.namespace(), account);
        let audiences: Vec<&str> = [spec.audience.as_str()].into_iter().filter(|one| !one.is_empty()).collect();
        let bound = json!({"apiVersion": "v1", "kind": "Pod", "name": self.object.name(), "uid": self.uid.0});
        let body = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "metadata": {},
            "spec": {"audiences": audiences, "expirationSeconds": spec.seconds, "boundObjectRef": bound},
        });
        let object = Object::try_from(body).expect("a JSON map");
        let resource = Resource::of::<ServiceAccount>();
        let answer = self.context.client.create(&resource, &key, Some(Subresource::Token), object).await;
        let answer = answer.map_err(|status| format!("failed to fetch token: {status}"))?;
        let text = answer.text(&["status", "token"]).ok_or("failed to fetch token: the answer has none")?.to_owned();
        let expires = answer.text(&["status", "expirationTimestamp"]).and_then(|text| text.parse::<Timestamp>().ok());
        let expires = expires.ok_or("failed to fetch token: the answer does not say when it expires")?;
        let now = self.now();
        let part = expires.duration_since(now).as_secs() * TOKEN_LIFE.0 / TOKEN_LIFE.1;
        let life = SignedDuration::from_secs(part).min(TOKEN_LONGEST);
        let renew_at = now.checked_add(life).unwrap_or(Timestamp::MAX);
        self.tokens.insert(spec.clone(), Token { text, renew_at });
        Ok(())
    }

    async fn create_sandbox(&mut self) -> Result<(), Timestamp> {
        match self.make_sandbox().await {
            Ok(()) => {
                self.memory.setup = None;
                Ok(())
            }
            Err(error) => {
                let event =
                    PodEvent::warning("FailedCreatePodSandBox", format!("Failed to create pod sandbox: {error}"));
                Err(self.setup_failed("FailedCreatePodSandBox", event))
            }
        }
    }

    async fn make_sandbox(&mut self) -> Result<(), String> {
        let hostname = names::kernel_hostname(&self.pod, &self.context.config.cluster_domain)?;
        let attachment = self.context.network.attach(&self.uid).await.map_err(|error| chain(&error))?;
        self.attachment = Some(attachment.clone());
        self.write_files(&hostname, &attachment).await?;
        let spec = self.pod.spec.clone().unwrap_or_default();
        let context = spec.security_context.unwrap_or_default();
        let sysctls = context.sysctls.into_iter().flatten().map(|one| (one.name, one.value));
        let sandbox = SandboxSpec {
            pod: self.uid.clone(),
            name: self.object.key().to_string(),
            hostname,
            netns: attachment.netns,
            host_pid: spec.host_pid == Some(true),
            host_ipc: spec.host_ipc == Some(true),
            share_pid: spec.share_process_namespace == Some(true),
            sysctls: sysctls.collect(),
            cgroup: resources::cgroup(&self.pod),
            log_dir: self.folder().map(|folder| folder.logs().to_owned()).unwrap_or_default(),
        };
        self.context.runtime.create_sandbox(sandbox).await.map_err(|error| chain(&error)).map(|_| ())
    }

    async fn write_files(&self, hostname: &str, attachment: &Attachment) -> Result<(), String> {
        let Some(folder) = self.folder() else { return Ok(()) };
        let config = &self.context.config;
        let mut resolver =
            names::resolver(&self.pod, self.context.network.dns_address(), &config.cluster_domain, &config.resolver);
        for complaint in resolver.limit() {
            self.tell(PodEvent::warning("DNSConfigForming", complaint));
        }
        let files = [
            (folder.file("etc-hosts"), names::hosts_file(&self.pod, attachment.address, &config.cluster_domain)),
            (folder.file("hostname"), format!("{hostname}\n")),
            (folder.file("resolv.conf"), resolver.text()),
        ];
        let place = folder.pod();
        let written = blocking(move || {
            std::fs::create_dir_all(&place)?;
            files.iter().try_for_each(|(path, text)| std::fs::write(path, text))
        });
        written.await.map_err(|error| format!("write the pod's files: {error}"))
    }

    async fn remove_sandbox(&mut self) -> Result<(), Timestamp> {
        let removed = self.context.runtime.remove_sandbox(&self.uid).await.map_err(|error| chain(&error));
        let detached = self.context.network.detach(&self.uid).await.map_err(|error| chain(&error));
        self.attachment = None;
        self.memory.stopping.clear();
        self.unstopped.clear();
        removed.and(detached).map_err(|error| {
            tracing::warn!(pod = %self.object.key(), error, "a sandbox can't be removed; trying again");
            later(self.now(), RETRY)
        })
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

    async fn start(&mut self, name: &str, attempt: u32, observed: &Observed) -> Result<(), Timestamp> {
        self.forget_older(name, attempt, observed).await;
        let pod = self.pod_now();
        let Some((container, role)) = pod.spec.as_ref().and_then(|spec| resources::container(spec, name)) else {
            return Ok(());
        };
        let (recorder, about) = (self.context.recorder.clone(), self.about());
        let tell = move |event: PodEvent| recorder.record(about.clone(), event);
        let start = Start {
            context: &self.context,
            pod: &pod,
            uid: &self.uid,
            container,
            role,
            attempt,
            changed: &self.changed,
            tell: &tell,
        };
        let outcome = start.run().await;
        self.remember(name, observed, outcome)
    }

    fn remember(
        &mut self,
        name: &str,
        observed: &Observed,
        outcome: Result<super::memory::Facts, StartFailure>,
    ) -> Result<(), Timestamp> {
        let now = self.now();
        let views = View::all(&self.pod, observed);
        let finished = views
            .iter()
            .find(|view| view.spec.name == name)
            .and_then(|view| view.ended()?.finished_at.as_ref())
            .map(|time| time.0);
        let memory = self.memory.containers.entry(name.to_owned()).or_default();
        let made = match &outcome {
            Ok(_) => true,
            // The container is there, and has ended: it counts as a run.
            Err(failure) => failure.reason == "RunContainerError",
        };
        if made {
            memory.back_off =
                finished.map(|finished| BackOff::next(memory.back_off, finished, now)).or(memory.back_off);
            memory.restart = false;
        }
        match outcome {
            Ok(facts) => {
                memory.failure = None;
                self.unshown.insert(facts.id.clone());
                memory.facts = Some(facts);
                Ok(())
            }
            Err(failure) => {
                let old = memory.failure.as_ref();
                let steady = failure.reason == "CreateContainerConfigError";
                let make = if steady { Failure::steady } else { Failure::after };
                memory.failure = Some(make(old, failure.reason, failure.message, now));
                // The status shows the failure before anything else is tried.
                Ok(())
            }
        }
    }

    /// One dead container of a name is kept, for its log and its status.
    async fn forget_older(&mut self, name: &str, attempt: u32, observed: &Observed) {
        for seen in observed.containers.iter().filter(|seen| seen.container.name == name) {
            let one = &seen.container;
            if one.attempt.saturating_add(1) >= attempt || !matches!(one.state, ContainerState::Exited(_)) {
                continue;
            }
            if let Err(error) = self.context.runtime.remove(&one.id).await {
                tracing::warn!(container = one.id, error = chain(&error), "a dead container can't be removed");
                continue;
            }
            self.words.remove(&one.id);
            if let Some(folder) = self.folder() {
                let log = folder.log(name, one.attempt);
                // A log that nobody wrote is as gone as it should be.
                let _ = blocking(move || std::fs::remove_file(log)).await;
            }
        }
    }

    async fn tear_down(&mut self, logs: bool) -> Result<(), Timestamp> {
        self.context.references.release(&self.uid);
        self.tokens.clear();
        if let Some(folder) = self.folder() {
            let removed = blocking(move || {
                mounts::unmount_below(&folder.pod())?;
                remove_folder(&folder.pod())?;
                if logs { remove_folder(folder.logs()) } else { Ok(()) }
            });
            if let Err(error) = removed.await {
                tracing::warn!(pod = %self.object.key(), %error, "a pod's files can't be removed; trying again");
                return Err(later(self.now(), RETRY));
            }
        }
        self.memory.volumes_ready = false;
        self.memory.torn_down = true;
        if logs {
            let now = self.now();
            self.memory.cleared.get_or_insert(now);
        }
        Ok(())
    }

    async fn delete(&mut self) -> Result<(), Timestamp> {
        let options = DeleteOptions {
            grace_seconds: Some(0),
            preconditions: Preconditions { uid: Some(self.uid.0.clone()), resource_version: None },
            propagation: None,
        };
        match self.context.client.delete(&Resource::of::<Pod>(), &self.object.key(), options).await {
            Err(error) if !error.is_not_found() && !error.is_conflict() => {
                tracing::warn!(pod = %self.object.key(), %error, "a pod can't be deleted; trying again");
                Err(later(self.now(), RETRY))
            }
            _ => {
                self.memory.deletion_sent = true;
                Ok(())
            }
        }
    }
}

fn remove_folder(path: &std::path::Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn typed(object: &Object) -> Result<Pod, String> {
    Pod::deserialize(object.map()).map_err(|error| error.to_string())
}
