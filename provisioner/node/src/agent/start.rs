//! How a container comes to run: image, environment, privileges, mounts, and then the runtime.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod};
use kprov_schema::Uid;
use kprov_schema::reference::IN_CONTAINER;
use tokio::sync::{Notify, watch};

use super::Context;
use super::decide::PodEvent;
use super::deed::{Deed, Outcome, Target};
use super::env;
use super::expand::{command_line, expand_owned};
use super::failure::Reason;
use super::memory::Facts;
use super::pod_task::News;
use super::references::Names;
use super::resources;
use super::security;
use super::view::Role;
use crate::runtime::{ContainerSpec, Image, Mount, PullError, RuntimeError};
use crate::volumes::{Plugin, PodFolder, sub_path};

/// How long a hook may take at most: nobody says, and nobody waits for longer.
const HOOK: Duration = Duration::from_hours(24);

/// Why a container does not run.
#[derive(Clone, Debug, PartialEq)]
pub struct StartFailure {
    /// Shown as the reason of its waiting state.
    pub reason: Reason,
    /// Shown with it.
    pub message: String,
}

impl StartFailure {
    fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    fn config(message: impl Into<String>) -> Self {
        Self::new(Reason::CreateContainerConfigError, message)
    }
}

/// The repository of a reference, when capital letters in it are what is wrong.
fn capitals(reference: &str) -> Option<&str> {
    let path = match reference.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" || host != host.to_lowercase() => rest,
        _ => reference,
    };
    let name = path.split(':').next().unwrap_or_default();
    (name != name.to_lowercase()).then_some(name)
}

/// One start of one container.
pub struct Start<'a> {
    /// The agent's surroundings.
    pub context: &'a Context,
    /// The pod, with the address that it has now.
    pub pod: &'a Pod,
    /// Its uid.
    pub uid: &'a Uid,
    /// The container.
    pub container: &'a Container,
    /// Which list it is in.
    pub role: Role,
    /// How many containers of this name there were before.
    pub attempt: u32,
    /// Told when a config map or secret that it was made from changes.
    pub changed: &'a Arc<Notify>,
    /// What is new of the pod: one that is being deleted waits for no hook.
    pub news: watch::Receiver<News>,
    /// Records an event about the container.
    pub tell: &'a (dyn Fn(PodEvent) + Send + Sync),
}

impl Start<'_> {
    /// Starts it. Events tell of every step; the failure is what the status shows.
    pub async fn run(&self) -> Result<Facts, StartFailure> {
        let image = self.image().await?;
        let spec = self.spec(&image).await.map_err(|failure| self.failed(failure))?;
        let user = security::shown_user(&spec.privileges, &image.user);
        let container = match self.context.runtime.start(self.uid, spec).await {
            Ok(container) => container,
            Err(error) => return Err(self.refused(&error)),
        };
        self.tell(PodEvent::normal("Created", "Container created"));
        self.tell(PodEvent::normal("Started", "Container started"));
        self.post_start(&container.id).await?;
        Ok(Facts {
            id: container.id,
            reference: self.reference().to_owned(),
            image: image.names.first().cloned().unwrap_or_else(|| self.reference().to_owned()),
            image_id: image.id,
            user,
        })
    }

    /// The hook that a container is not seen as running before.
    async fn post_start(&self, id: &str) -> Result<(), StartFailure> {
        let hook = self.container.lifecycle.as_ref().and_then(|all| all.post_start.as_ref());
        let Some(deed) = hook.and_then(Deed::of_hook) else { return Ok(()) };
        let address = self.pod.status.as_ref().and_then(|status| status.pod_ip.as_deref()?.parse().ok());
        let address = address.unwrap_or_else(|| self.context.network.node_address());
        let target = Target { id: id.to_owned(), container: self.container.clone(), address };
        let mut news = self.news.clone();
        let deleted = async {
            let is_deleted = |news: &News| match news {
                News::Is(object) => object.is_deleting(),
                News::Gone => true,
            };
            drop(news.wait_for(is_deleted).await);
        };
        let outcome = tokio::select! {
            outcome = deed.perform(self.context, &target, HOOK) => outcome,
            () = deleted => return Ok(()),
        };
        let (Outcome::Failure(words) | Outcome::Error(words)) = outcome else { return Ok(()) };
        tracing::info!(container = id, words, "a hook after the start failed");
        self.tell(PodEvent::warning("FailedPostStartHook", "PostStartHook failed"));
        self.tell(PodEvent::normal("Killing", "FailedPostStartHook"));
        if let Err(error) = self.context.runtime.stop(id, super::decide::grace(self.pod)).await {
            tracing::warn!(container = id, error = super::chain(&error), "a container can't be stopped");
        }
        let (name, pod) = (&self.container.name, super::decide::full_name(self.pod));
        let message = format!("lifecycle hook for Container {name:?} in Pod {pod:?} failed: {words}");
        Err(StartFailure::new(Reason::PostStartHookError, message))
    }

    fn tell(&self, event: PodEvent) {
        (self.tell)(event.about(self.role, &self.container.name));
    }

    fn failed(&self, failure: StartFailure) -> StartFailure {
        self.tell(PodEvent::warning("Failed", format!("Error: {}", failure.message)));
        failure
    }

    fn refused(&self, error: &RuntimeError) -> StartFailure {
        let text = super::chain(error);
        match error {
            RuntimeError::Start(_) => {
                self.tell(PodEvent::normal("Created", "Container created"));
                self.failed(StartFailure::new(Reason::RunContainerError, format!("OCI runtime create failed: {text}")))
            }
            _ => self.failed(StartFailure::new(Reason::CreateContainerError, text)),
        }
    }

    fn reference(&self) -> &str {
        self.container.image.as_deref().unwrap_or_default()
    }

    async fn image(&self) -> Result<Image, StartFailure> {
        let reference = self.reference();
        let here = self.context.runtime.image(reference).await.map_err(|error| self.bad_image(&error))?;
        match (self.container.image_pull_policy.as_deref(), here) {
            (Some("Always"), _) => self.pull().await,
            (_, Some(image)) => {
                let text =
                    format!("Container image {reference:?} already present on machine and can be accessed by the pod");
                self.tell(PodEvent::normal("Pulled", text));
                Ok(image)
            }
            (Some("Never"), None) => {
                let message = format!("Container image {reference:?} is not present with pull policy of Never");
                self.tell(PodEvent::warning("ErrImageNeverPull", message.clone()));
                self.tell(PodEvent::warning("Failed", "Error: ErrImageNeverPull"));
                Err(StartFailure::new(Reason::ErrImageNeverPull, message))
            }
            (_, None) => self.pull().await,
        }
    }

    fn bad_image(&self, error: &PullError) -> StartFailure {
        let cause = super::chain(error);
        match error {
            PullError::InvalidName(_) => {
                let detail = capitals(self.reference())
                    .map_or(String::new(), |name| format!(": repository name ({name}) must be lowercase"));
                let message = format!("Failed to apply default image tag {:?}: {cause}{detail}", self.reference());
                self.tell(PodEvent::warning("InspectFailed", message.clone()));
                self.tell(PodEvent::warning("Failed", "Error: InvalidImageName"));
                StartFailure::new(Reason::InvalidImageName, message)
            }
            _ => {
                let message = format!("Failed to inspect image {:?}: {cause}", self.reference());
                self.tell(PodEvent::warning("InspectFailed", message.clone()));
                self.tell(PodEvent::warning("Failed", "Error: ImageInspectError"));
                StartFailure::new(Reason::ImageInspectError, message)
            }
        }
    }

    async fn pull(&self) -> Result<Image, StartFailure> {
        let reference = self.reference();
        let began = self.context.world.clock.now();
        self.tell(PodEvent::normal("Pulling", format!("Pulling image {reference:?}")));
        match self.context.runtime.pull(reference).await {
            Ok(image) => {
                let took = self.context.world.clock.now().duration_since(began).as_millis();
                let size = image.size_bytes;
                self.tell(PodEvent::normal("Pulled", format!(
                    "Successfully pulled image {reference:?} in {took}ms ({took}ms including waiting). Image size: {size} bytes."
                )));
                Ok(image)
            }
            Err(error) => {
                let cause = format!("failed to pull and unpack image {reference:?}: {}", super::chain(&error));
                self.tell(PodEvent::warning("Failed", format!("Failed to pull image {reference:?}: {cause}")));
                self.tell(PodEvent::warning("Failed", "Error: ErrImagePull"));
                self.tell(PodEvent::normal("BackOff", format!("Back-off pulling image {reference:?}")));
                self.tell(PodEvent::warning("Failed", "Error: ImagePullBackOff"));
                Err(StartFailure::new(Reason::ErrImagePull, cause))
            }
        }
    }

    async fn spec(&self, image: &Image) -> Result<ContainerSpec, StartFailure> {
        let own = self.own_env().await.map_err(StartFailure::config)?;
        let mut env = image.env.clone();
        env.push(("HOSTNAME".to_owned(), self.hostname()));
        env.extend(own.clone());
        let value = |name: &str| own.iter().rev().find(|(one, _)| one == name).map(|(_, value)| value.clone());
        let list = |texts: &Option<Vec<String>>| texts.clone().unwrap_or_default();
        let (command, args) = (list(&self.container.command), list(&self.container.args));
        let args = command_line(&command, &args, &image.entrypoint, &image.command, &value);
        if args.is_empty() {
            return Err(StartFailure::new(Reason::CreateContainerError, "no command specified"));
        }
        let privileges = security::privileges(self.pod, self.container, &image.user, &self.context.host());
        let memory = self.context.config.capacity.memory_bytes;
        Ok(ContainerSpec {
            name: self.container.name.clone(),
            attempt: self.attempt,
            image: image.id.clone(),
            args,
            env,
            working_dir: self.container.working_dir.clone().unwrap_or_default(),
            mounts: self.mounts(&value).await?,
            limits: resources::kernel_limits(self.pod, self.container, memory),
            privileges: privileges.map_err(StartFailure::config)?,
            stop_signal: self.stop_signal(image),
            tty: self.container.tty == Some(true),
            stdin: self.container.stdin == Some(true),
            stdin_once: self.container.stdin_once == Some(true),
            beside: self.beside(),
            log_path: self.folder().map_or_else(PathBuf::new, |folder| folder.log(&self.container.name, self.attempt)),
        })
    }

    /// The container that an ephemeral one is to look at.
    fn beside(&self) -> Option<String> {
        let all = self.pod.spec.as_ref()?.ephemeral_containers.iter().flatten();
        let own = all.into_iter().find(|one| self.role == Role::Ephemeral && one.name == self.container.name)?;
        own.target_container_name.clone().filter(|name| !name.is_empty())
    }

    fn stop_signal(&self, image: &Image) -> String {
        let own = self.container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.stop_signal.clone());
        own.unwrap_or_else(|| image.stop_signal.clone())
    }

    fn hostname(&self) -> String {
        super::names::kernel_hostname(self.pod, &self.context.config.cluster_domain).unwrap_or_default()
    }

    fn folder(&self) -> Option<PodFolder> {
        self.context.config.root.as_deref().map(|root| PodFolder::of(root, self.pod))
    }

    async fn own_env(&self) -> Result<Vec<(String, String)>, String> {
        let names = Names::of(IN_CONTAINER, self.container);
        let namespace = self.pod.metadata.namespace.as_deref().unwrap_or_default();
        let references = &self.context.references;
        let sources = references.sources(self.uid, self.changed, namespace, &names).await?;
        let links = self.pod.spec.as_ref().and_then(|spec| spec.enable_service_links) != Some(false);
        let services = self.context.services.variables(namespace, links).await;
        env::environment(self.pod, self.container, &sources, &services, &self.context.node_amounts())
    }

    /// Parents before children, so that a mount inside another one is seen.
    async fn mounts(&self, value: &(dyn Fn(&str) -> Option<String> + Sync)) -> Result<Vec<Mount>, StartFailure> {
        let Some(folder) = self.folder() else { return Ok(Vec::new()) };
        let mut mounts = self.files(&folder)?;
        let spec = self.pod.spec.as_ref();
        for (index, mount) in self.container.volume_mounts.iter().flatten().enumerate() {
            let volume = spec.and_then(|spec| spec.volumes.iter().flatten().find(|one| one.name == mount.name));
            let volume = volume.ok_or_else(|| StartFailure::config(format!("volume {:?} not found", mount.name)))?;
            let plugin = Plugin::of(volume).map_err(StartFailure::config)?;
            let path = folder.volume(volume, plugin);
            let sub = match (&mount.sub_path, &mount.sub_path_expr) {
                (Some(sub), _) if !sub.is_empty() => sub.clone(),
                (_, Some(text)) => self.expanded(text, value)?,
                _ => String::new(),
            };
            let source = if sub.is_empty() {
                path
            } else {
                let pin = folder.sub_path(&mount.name, &self.container.name, index);
                self.pin(path, &sub, &pin, &mount.name).await?;
                pin
            };
            let target = PathBuf::from(&mount.mount_path);
            mounts.retain(|other: &Mount| other.target != target);
            let claim = volume.persistent_volume_claim.as_ref();
            let read_only = mount.read_only == Some(true)
                || plugin.is_read_only()
                || claim.is_some_and(|claim| claim.read_only == Some(true));
            mounts.push(Mount { source, target, read_only });
        }
        mounts.sort_by(|one, other| one.target.cmp(&other.target));
        Ok(mounts)
    }

    fn expanded(&self, text: &str, value: &(dyn Fn(&str) -> Option<String> + Sync)) -> Result<String, StartFailure> {
        let missing = super::expand::names(text).into_iter().find(|name| value(name).is_none());
        if let Some(name) = missing {
            return Err(StartFailure::config(format!("missing value for {name:?}")));
        }
        Ok(expand_owned(text, &|name| value(name)))
    }

    async fn pin(&self, volume: PathBuf, sub: &str, pin: &Path, name: &str) -> Result<(), StartFailure> {
        let (relative, pin) = (PathBuf::from(sub), pin.to_owned());
        let done = super::blocking(move || sub_path::pin(&volume, &relative, &pin)).await;
        done.map_err(|error| {
            tracing::warn!(%error, volume = name, "a part of a volume can't be made visible");
            let container = &self.container.name;
            StartFailure::config(format!(
                "failed to prepare subPath for volumeMount {name:?} of container {container:?}"
            ))
        })
    }

    /// What every container sees of its pod, and the file for its last words.
    fn files(&self, folder: &PodFolder) -> Result<Vec<Mount>, StartFailure> {
        let words = folder.termination(&self.container.name, self.attempt);
        let made = words.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| {
            std::fs::write(&words, "")?;
            std::fs::set_permissions(&words, std::os::unix::fs::PermissionsExt::from_mode(0o666))
        });
        made.map_err(|error| {
            StartFailure::new(Reason::CreateContainerError, format!("make {}: {error}", words.display()))
        })?;
        let target = self.container.termination_message_path.as_deref().unwrap_or("/dev/termination-log");
        let pairs = [
            (folder.file("etc-hosts"), "/etc/hosts"),
            (folder.file("hostname"), "/etc/hostname"),
            (folder.file("resolv.conf"), "/etc/resolv.conf"),
            (words, target),
        ];
        Ok(pairs.map(|(source, target)| Mount { source, target: target.into(), read_only: false }).to_vec())
    }
}
