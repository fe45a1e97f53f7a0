//! What there is of a pod on this node.

use super::{
    ContainerSeen, ContainerState, Inventory, Observed, PodTask, SandboxSeen, blocking, chain, last_words, resources,
};
use crate::runtime::Container;

impl PodTask {
    pub(super) async fn observe(&mut self) -> Result<Observed, String> {
        let Inventory { sandboxes, containers } =
            self.context.runtime.inventory_of(&self.uid).await.map_err(|error| chain(&error))?;
        let sandbox = sandboxes.into_iter().next();
        if sandbox.is_some() && self.attachment.is_none() {
            self.attachment = Some(self.attach().await?);
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
    pub(super) fn show_running(&mut self, container: &mut Container) {
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
    pub(super) async fn words_of(&mut self, container: &Container) -> Option<String> {
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
}
