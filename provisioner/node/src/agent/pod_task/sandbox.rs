//! What the containers of a pod share: made, and taken away.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Attachment, Failure, PodEvent, PodTask, RETRY, Reason, blocking, chain, later, names, resources};
use crate::runtime::SandboxSpec;

impl PodTask {
    /// Remembers a failure of the pod's own parts and tells of it; when to try again.
    pub(super) fn setup_failed(&mut self, reason: Reason, event: PodEvent) -> Timestamp {
        let failure = Failure::soon(self.memory.setup.as_ref(), reason, event.message.clone(), self.now());
        let retry_at = failure.retry_at;
        self.memory.setup = Some(failure);
        self.tell(event);
        retry_at
    }

    pub(super) async fn create_sandbox(&mut self) -> Result<(), Timestamp> {
        match self.make_sandbox().await {
            Ok(()) => {
                self.memory.setup = None;
                Ok(())
            }
            Err(error) => {
                let event =
                    PodEvent::warning("FailedCreatePodSandBox", format!("Failed to create pod sandbox: {error}"));
                Err(self.setup_failed(Reason::FailedCreatePodSandBox, event))
            }
        }
    }

    /// Where the pod is attached: to its own namespace, or to the node's.
    pub(super) async fn attach(&self) -> Result<Attachment, String> {
        let network = &self.context.network;
        if names::shares_network(&self.pod) {
            return Ok(network.host());
        }
        network.attach(&self.uid).await.map_err(|error| chain(&error))
    }

    pub(super) async fn make_sandbox(&mut self) -> Result<(), String> {
        let hostname = names::kernel_hostname(&self.pod, &self.context.config.cluster_domain)?;
        let attachment = self.attach().await?;
        self.attachment = Some(attachment.clone());
        self.write_files(&hostname, &attachment).await?;
        let spec = self.pod.spec.clone().unwrap_or_default();
        let context = spec.security_context.unwrap_or_default();
        let sysctls = context.sysctls.into_iter().flatten().map(|one| (one.name, one.value));
        let sysctls: BTreeMap<String, String> = sysctls.collect();
        let of_network = sysctls.keys().find(|name| name.replace('/', ".").starts_with("net."));
        if let Some(name) = of_network.filter(|_| names::shares_network(&self.pod)) {
            return Err(format!("sysctl {name:?} is not allowed with the node's network"));
        }
        let sandbox = SandboxSpec {
            pod: self.uid.clone(),
            name: self.object.key().to_string(),
            hostname,
            netns: attachment.netns,
            host_pid: spec.host_pid == Some(true),
            host_ipc: spec.host_ipc == Some(true),
            share_pid: spec.share_process_namespace == Some(true),
            sysctls,
            cgroup: resources::cgroup(&self.pod),
            log_dir: self.folder().map(|folder| folder.logs().to_owned()).unwrap_or_default(),
        };
        self.context.runtime.create_sandbox(sandbox).await.map_err(|error| chain(&error)).map(|_| ())
    }

    pub(super) async fn write_files(&self, hostname: &str, attachment: &Attachment) -> Result<(), String> {
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

    pub(super) async fn remove_sandbox(&mut self) -> Result<(), Timestamp> {
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
}
