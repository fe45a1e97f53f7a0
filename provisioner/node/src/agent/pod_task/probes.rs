//! Probes of a pod's containers: begun when a decision says so, heard when they end.

use std::net::IpAddr;

use tokio::task::JoinError;

use super::{Observed, PodEvent, PodTask, View, resources};
use crate::agent::deed::{Deed, Outcome, Target};
use crate::agent::memory::Health;
use crate::agent::probe::{self, ProbeKind};

/// A probe that has ended.
pub(super) struct Probed {
    id: String,
    container: String,
    kind: ProbeKind,
    outcome: Outcome,
}

impl PodTask {
    /// The pod's address, by which its containers are asked.
    pub(super) fn address(&self) -> IpAddr {
        let own = self.attachment.as_ref().map(|attachment| attachment.address);
        own.unwrap_or_else(|| self.context.network.node_address())
    }

    /// Begins a probe.
    pub(super) fn probe(&mut self, id: &str, name: &str, kind: ProbeKind, observed: &Observed) {
        let (now, address) = (self.now(), self.address());
        let views = View::all(&self.pod, observed);
        let Some(view) = views.iter().find(|view| view.spec.name == name) else { return };
        let memory = self.memory.containers.entry(name.to_owned()).or_default();
        if memory.health.id != id {
            memory.health = Health::of(view);
        }
        memory.health.begin(kind, now);
        // One that does nothing was refused by the API.
        let Some((probe, deed)) = kind.of(&view.spec).and_then(|probe| Some((probe, Deed::of_probe(probe)?))) else {
            return;
        };
        let timeout = probe::timeout(probe);
        let target = Target { id: id.to_owned(), container: view.spec.clone().into_owned(), address };
        let context = self.context.clone();
        self.probes.spawn(async move {
            let outcome = deed.perform(&context, &target, timeout).await;
            Probed { id: target.id, container: target.container.name, kind, outcome }
        });
    }

    /// A probe has ended. What a container that is gone answered is no news.
    pub(super) fn probed(&mut self, ended: Result<Probed, JoinError>) {
        let Probed { id, container, kind, outcome } = match ended {
            Ok(probed) => probed,
            Err(error) => {
                tracing::error!(pod = %self.object.key(), %error, "a probe broke off");
                let all = self.memory.containers.values_mut().flat_map(|one| one.health.tallies.values_mut());
                return all.for_each(|tally| tally.under_way = false);
            }
        };
        let found = self.pod.spec.as_ref().and_then(|spec| resources::container(spec, &container));
        let Some((own, role)) = found else { return };
        let Some(probe) = kind.of(&own) else { return };
        let Some(memory) = self.memory.containers.get_mut(&container).filter(|memory| memory.health.id == id) else {
            return;
        };
        let title = kind.title();
        let (succeeded, words) = match outcome {
            Outcome::Success => (Some(true), None),
            Outcome::Failure(words) => (Some(false), Some(format!("{title} probe failed: {words}"))),
            Outcome::Error(words) => {
                (None, Some(format!("{title} probe errored and resulted in unknown state: {words}")))
            }
        };
        memory.health.end(kind, succeeded, probe);
        if let Some(words) = words {
            self.tell(PodEvent::warning("Unhealthy", words).about(role, &container));
        }
    }
}
