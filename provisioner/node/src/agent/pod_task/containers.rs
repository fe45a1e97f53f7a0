//! Starts containers, and remembers how that went.

use std::io::ErrorKind;

use jiff::Timestamp;

use super::{BackOff, ContainerState, Failure, Observed, PodEvent, PodTask, Reason, View, blocking, chain, resources};
use crate::agent::memory::Facts;
use crate::agent::start::{Start, StartFailure};

impl PodTask {
    pub(super) async fn start(&mut self, name: &str, attempt: u32, observed: &Observed) -> Result<(), Timestamp> {
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
            container: &container,
            role,
            attempt,
            changed: &self.changed,
            news: self.news.clone(),
            tell: &tell,
        };
        let outcome = start.run().await;
        self.remember(name, observed, outcome)
    }

    /// Holds a running container to what its pod asks for now. The outcome shows in what is observed next.
    pub(super) async fn resize(&mut self, id: &str, name: &str) {
        let found = self.pod.spec.as_ref().and_then(|spec| resources::container(spec, name));
        let Some((container, _)) = found else { return };
        let limits = resources::kernel_limits(&self.pod, &container, self.context.config.capacity.memory_bytes);
        let done = self.context.runtime.resize(id, limits).await;
        let now = self.now();
        let memory = self.memory.containers.entry(name.to_owned()).or_default();
        memory.unsized_for = match done {
            Ok(()) => None,
            Err(error) => {
                let message = chain(&error);
                tracing::warn!(container = id, error = message, "a container can't be resized; trying again");
                Some(Failure::soon(memory.unsized_for.as_ref(), Reason::ResizeError, message, now))
            }
        };
    }

    pub(super) fn remember(
        &mut self,
        name: &str,
        observed: &Observed,
        outcome: Result<Facts, StartFailure>,
    ) -> Result<(), Timestamp> {
        let now = self.now();
        let views = View::all(&self.pod, observed);
        let finished = views
            .iter()
            .find(|view| view.spec.name == name)
            .and_then(|view| view.ended()?.finished_at.as_ref())
            .map(|time| time.0);
        let memory = self.memory.containers.entry(name.to_owned()).or_default();
        let made = outcome.as_ref().err().is_none_or(|failure| failure.reason.left_a_container());
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
                let steady = failure.reason == Reason::CreateContainerConfigError;
                let make = if steady { Failure::steady } else { Failure::after };
                let mut failed = make(old, failure.reason, failure.message, now);
                if failure.reason == Reason::PostStartHookError {
                    // It ran: it is held back as one that ended by itself.
                    failed.retry_at = memory.back_off.and_then(|back_off| back_off.until(now)).unwrap_or(now);
                }
                memory.failure = Some(failed);
                // The status shows the failure before anything else is tried.
                Ok(())
            }
        }
    }

    /// One dead container of a name is kept, for its log and its status.
    pub(super) async fn forget_older(&mut self, name: &str, attempt: u32, observed: &Observed) {
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
                match blocking(move || std::fs::remove_file(log)).await {
                    // A log that nobody wrote is as gone as it should be.
                    Err(error) if error.kind() != ErrorKind::NotFound => {
                        tracing::warn!(container = one.id, %error, "the log of a dead container can't be removed");
                    }
                    _ => {}
                }
            }
        }
    }
}
