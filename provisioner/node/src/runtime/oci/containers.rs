//! Starts, stops and removes containers, by asking the shim of their pod.

use std::time::Duration;

use kprov_schema::Uid;
use nix::sys::signal::Signal;

use super::link::Pod;
use super::wire::{Ask, Launch};
use super::{Inner, blocking, system};
use crate::images;
use crate::runtime::{Container, ContainerSpec, ContainerState, Executed, Limits, RuntimeError};

impl Inner {
    pub(super) async fn start(&self, uid: &Uid, spec: ContainerSpec) -> Result<Container, RuntimeError> {
        check(&spec)?;
        let pod = self.pod(uid).ok_or_else(|| RuntimeError::NotFound(format!("the sandbox of pod {uid}")))?;
        let id = self.new_id();
        let launch = self.prepare(&pod, &id, spec).await?;
        let started = pod.ask(Ask::Start(Box::new(launch))).await;
        match pod.container(&id) {
            Some(container) => started.map(|()| container).map_err(Into::into),
            None => {
                self.release(&id).await?;
                self.discard(pod.folder.container(&id)).await?;
                Err(started.err().map_or_else(|| RuntimeError::NotFound(format!("container {id}")), Into::into))
            }
        }
    }

    /// Takes a lease on the image and gathers what the shim needs to know.
    async fn prepare(&self, pod: &Pod, id: &str, spec: ContainerSpec) -> Result<Launch, RuntimeError> {
        let (images, owner, lease, wanted) =
            (self.config.images.clone(), self.config.owner(), id.to_owned(), spec.image.clone());
        let (image, layers) = blocking(move || {
            let layers = images.lease(&owner, &lease, &wanted)?;
            let image = images.find(&wanted)?.ok_or_else(|| images::Error::Missing(wanted.clone()))?;
            Ok::<_, images::Error>((image, layers))
        })
        .await
        .map_err(|error| match error {
            images::Error::Missing(image) => RuntimeError::NotFound(format!("image {image}")),
            other => system("can't use an image")(other),
        })?;
        let container = Container {
            id: id.to_owned(),
            pod: pod.record.spec.pod.clone(),
            name: spec.name.clone(),
            attempt: spec.attempt,
            image: spec.image.clone(),
            limits: Some(spec.limits.clone()),
            state: ContainerState::Created,
        };
        let stop_signal = [&spec.stop_signal, &image.stop_signal]
            .into_iter()
            .find_map(|name| parse_signal(name))
            .unwrap_or(Signal::SIGTERM);
        Ok(Launch { container, spec, image, layers: layers.into(), stop_signal: stop_signal as i32 })
    }

    fn new_id(&self) -> String {
        (0..4).map(|_| format!("{:016x}", self.config.world.rng.next_u64())).collect()
    }

    pub(super) async fn stop(&self, id: &str, grace: Duration) -> Result<(), RuntimeError> {
        let pod = self.pod_of(id).ok_or_else(|| RuntimeError::NotFound(format!("container {id}")))?;
        if ended(&pod, id) {
            return Ok(());
        }
        let clock = &self.config.world.clock;
        let until =
            clock.now().saturating_add(jiff::SignedDuration::try_from(grace).unwrap_or(jiff::SignedDuration::MAX));
        if !grace.is_zero() {
            tell_to_end(&pod, id, Ask::Stop(id.to_owned())).await?;
        }
        let patience = until.map(|until| clock.sleep_until(until)).map_err(system("can't wait so long"))?;
        let in_time = tokio::select! {
            () = wait_for_end(&pod, id) => true,
            () = patience => false,
        };
        if !in_time {
            tell_to_end(&pod, id, Ask::Kill(id.to_owned())).await?;
            wait_for_end(&pod, id).await;
        }
        Ok(())
    }

    pub(super) async fn resize(&self, id: &str, limits: Limits) -> Result<(), RuntimeError> {
        let pod = self.pod_of(id).ok_or_else(|| RuntimeError::NotFound(format!("container {id}")))?;
        Ok(pod.ask(Ask::Resize { id: id.to_owned(), limits }).await?)
    }

    pub(super) async fn exec(&self, id: &str, args: Vec<String>, timeout: Duration) -> Result<Executed, RuntimeError> {
        let pod = self.pod_of(id).ok_or_else(|| RuntimeError::NotFound(format!("container {id}")))?;
        let clock = &self.config.world.clock;
        let timeout = jiff::SignedDuration::try_from(timeout).unwrap_or(jiff::SignedDuration::MAX);
        let until = clock.now().saturating_add(timeout).map_err(system("can't wait so long"))?;
        let number = pod.number();
        let mut asked = std::pin::pin!(pod.ask_as(number, Ask::Exec { id: id.to_owned(), args, streams: None }));
        let (ended, in_time) = tokio::select! {
            ended = &mut asked => (ended, true),
            () = clock.sleep_until(until) => {
                pod.ask(Ask::EndExec(number)).await?;
                (asked.await, false)
            }
        };
        let executed = ended?.unwrap_or(Executed { code: None, output: String::new() });
        Ok(if in_time { executed } else { Executed { code: None, ..executed } })
    }

    pub(super) async fn remove(&self, id: &str) -> Result<(), RuntimeError> {
        let Some(pod) = self.pod_of(id) else { return Ok(()) };
        if !ended(&pod, id) {
            return Err(RuntimeError::Refused(format!("container {id} is running: stop it first")));
        }
        if pod.is_alive() {
            pod.ask(Ask::Forget(id.to_owned())).await?;
        }
        self.discard(pod.folder.container(id)).await?;
        self.release(id).await?;
        pod.forget(id);
        Ok(())
    }
}

/// Refuses what is not built, before anything is made.
fn check(spec: &ContainerSpec) -> Result<(), RuntimeError> {
    let refuse = |words: String| Err(RuntimeError::Refused(words));
    if spec.args.is_empty() {
        return refuse("the container has no command, and its image names none".into());
    }
    if !spec.stop_signal.is_empty() && parse_signal(&spec.stop_signal).is_none() {
        return refuse(format!("{:?} is no signal", spec.stop_signal));
    }
    match spec.mounts.iter().find(|mount| !mount.source.exists()) {
        Some(mount) => refuse(format!("{} can't be mounted: it is not there", mount.source.display())),
        None => Ok(()),
    }
}

/// `SIGQUIT`, `QUIT` or `3`.
fn parse_signal(text: &str) -> Option<Signal> {
    if let Ok(number) = text.parse::<i32>() {
        return Signal::try_from(number).ok();
    }
    let upper = text.to_ascii_uppercase();
    let full = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    full.parse().ok()
}

fn ended(pod: &Pod, id: &str) -> bool {
    pod.container(id).is_none_or(|c| matches!(c.state, ContainerState::Exited(_)))
}

/// Returns when the container has ended, by whatever hand.
async fn wait_for_end(pod: &Pod, id: &str) {
    let mut changes = pod.changes();
    while !ended(pod, id) {
        // The sender lives as long as the pod.
        if changes.changed().await.is_err() {
            return;
        }
    }
}

async fn tell_to_end(pod: &Pod, id: &str, ask: Ask) -> Result<(), RuntimeError> {
    match pod.ask(ask).await {
        // It ended, or its shim did, before it could be told.
        Err(_) if ended(pod, id) => Ok(()),
        other => other.map_err(Into::into),
    }
}
