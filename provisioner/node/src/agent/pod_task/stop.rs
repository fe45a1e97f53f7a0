//! Stops containers: a hook first, then the signal.

use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinError;

use super::{About, Failure, PodEvent, PodTask, Reason, chain, resources};
use crate::agent::Context;
use crate::agent::deed::{Deed, Outcome, Target};
use crate::agent::events::Recorder;
use crate::agent::view::Role;
use crate::runtime::RuntimeError;

/// What a container gets after its hook has used its time up.
///
/// Source: kubelet `minimumGracePeriodInSeconds`.
const AFTER_HOOK: Duration = Duration::from_secs(2);

impl PodTask {
    /// Begins to stop a container. Errors: it could not be stopped a moment ago; when to try again.
    pub(super) fn kill(
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
        let newly = self.memory.stopping.insert(id.clone(), deadline).is_none() && is_first;
        if newly {
            let role =
                self.pod.spec.as_ref().and_then(|spec| resources::container(spec, container)).map(|(_, role)| role);
            let event = PodEvent::normal("Killing", why);
            self.tell(role.map_or(event.clone(), |role| event.about(role, container)));
        }
        if restart {
            self.memory.containers.entry(container.to_owned()).or_default().restart = true;
        }
        // Who gets no time is not asked.
        let hook = (newly && !grace.is_zero()).then(|| self.pre_stop(&id, container)).flatten();
        let context = self.context.clone();
        self.stops.spawn(async move {
            let mut grace = grace;
            if let Some(hook) = hook {
                hook.run(&context, grace).await;
                let left = Duration::try_from(deadline.duration_since(context.world.clock.now()));
                grace = left.unwrap_or(Duration::ZERO).max(AFTER_HOOK);
            }
            let stopped = context.runtime.stop(&id, grace).await;
            (id, stopped)
        });
        Ok(())
    }

    fn pre_stop(&self, id: &str, name: &str) -> Option<Hook> {
        let (container, role) = resources::container(self.pod.spec.as_ref()?, name)?;
        let deed = Deed::of_hook(container.lifecycle.as_ref()?.pre_stop.as_ref()?)?;
        let target = Target { id: id.to_owned(), container: container.into_owned(), address: self.address() };
        Some(Hook { deed, target, role, about: self.about(), recorder: self.context.recorder.clone() })
    }

    /// A container that can't be stopped is not being stopped: the next decision asks again.
    pub(super) fn stopped(&mut self, ended: Result<(String, Result<(), RuntimeError>), JoinError>) {
        match ended {
            Ok((id, Ok(()))) => {
                self.unstopped.remove(&id);
            }
            Ok((id, Err(error))) => {
                let error = chain(&error);
                tracing::warn!(container = id, error, "a container can't be stopped; trying again");
                self.tell(PodEvent::warning("FailedKillPod", format!("error killing pod: {error}")));
                self.memory.stopping.remove(&id);
                let failure = Failure::soon(self.unstopped.get(&id), Reason::FailedKillPod, error, self.now());
                self.unstopped.insert(id, failure);
            }
            Err(error) => {
                tracing::error!(pod = %self.object.key(), %error, "stopping a container broke off; trying again");
                self.memory.stopping.clear();
            }
        }
    }
}

/// What a container does before it is told to stop.
struct Hook {
    deed: Deed,
    target: Target,
    role: Role,
    about: About,
    recorder: Recorder,
}

impl Hook {
    /// For as long as `grace` at most; whether it works or not, the container is stopped after it.
    async fn run(self, context: &Context, grace: Duration) {
        let outcome = self.deed.perform(context, &self.target, grace).await;
        if let Outcome::Failure(words) | Outcome::Error(words) = outcome {
            tracing::info!(container = self.target.id, words, "a hook before the stop failed");
            let event = PodEvent::warning("FailedPreStopHook", "PreStopHook failed");
            self.recorder.record(self.about, event.about(self.role, &self.target.container.name));
        }
    }
}
