//! One container of a pod as its specification, the runtime, the last status and the agent's memory show it together.

use std::borrow::Cow;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerState, ContainerStateTerminated, ContainerStatus, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::memory::{ContainerMemory, ContainerSeen, Observed};
use super::resources::{self, containers};
use crate::runtime::{ContainerState as Runs, Exit, Limits};

/// Scheme of container ids in a pod's status.
pub const SCHEME: &str = "kprov://";

/// What becomes of a container that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restarts {
    /// It starts again.
    Always,
    /// It starts again unless it succeeded.
    OnFailure,
    /// It stays as it is.
    Never,
}

/// What a container is to its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Runs to its end before the main ones.
    Init,
    /// Starts in the order of the init containers, runs beside the main ones.
    Sidecar,
    /// What the pod is for.
    Main,
    /// Added to a running pod to look at it: starts at once, once, and nothing depends on it.
    Ephemeral,
}

impl Role {
    /// The field of a pod's specification that its containers stand in.
    #[must_use]
    pub fn list(self) -> &'static str {
        match self {
            Self::Init | Self::Sidecar => "initContainers",
            Self::Main => "containers",
            Self::Ephemeral => "ephemeralContainers",
        }
    }
}

/// What a container is doing, from the best source there is.
#[derive(Clone, Debug, PartialEq)]
pub enum Doing {
    /// It was never made.
    Absent,
    /// It is being made.
    Created,
    /// It runs since.
    Running(Timestamp),
    /// It has ended.
    Ended(Box<ContainerStateTerminated>),
}

/// One container.
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// Its specification.
    pub spec: Cow<'a, Container>,
    /// Which list it is in.
    pub role: Role,
    /// Its restart policy.
    pub restarts: Restarts,
    /// The newest container of its name in the runtime.
    pub current: Option<&'a ContainerSeen>,
    /// The one before, if it is still there.
    pub previous: Option<&'a ContainerSeen>,
    /// Its last status.
    pub old: Option<&'a ContainerStatus>,
    /// The agent's memory of it.
    pub memory: Option<&'a ContainerMemory>,
    /// What it is doing.
    pub doing: Doing,
}

impl<'a> View<'a> {
    /// All of a pod, in the order of [`containers`].
    #[must_use]
    pub fn all(pod: &'a Pod, observed: &'a Observed) -> Vec<Self> {
        let Some(spec) = &pod.spec else { return Vec::new() };
        let status = pod.status.as_ref();
        let of_role = |role| {
            let status = status?;
            match role {
                Role::Init | Role::Sidecar => status.init_container_statuses.as_deref(),
                Role::Main => status.container_statuses.as_deref(),
                Role::Ephemeral => status.ephemeral_container_statuses.as_deref(),
            }
        };
        let view = |(container, role): (Cow<'a, Container>, Role)| {
            let old = of_role(role).and_then(|list| list.iter().find(|status| status.name == container.name));
            Self::of(spec, container, role, old, observed)
        };
        containers(spec).map(view).collect()
    }

    fn of(
        pod: &'a PodSpec,
        spec: Cow<'a, Container>,
        role: Role,
        old: Option<&'a ContainerStatus>,
        observed: &'a Observed,
    ) -> Self {
        let mut mine: Vec<_> = observed.containers.iter().filter(|seen| seen.container.name == spec.name).collect();
        mine.sort_by_key(|seen| std::cmp::Reverse(seen.container.attempt));
        let current = mine.first().copied();
        let doing = current.map_or_else(|| remembered(old), seen_doing);
        let memory = observed.memory.containers.get(&spec.name);
        let restarts = restarts(pod, &spec, role);
        Self { spec, role, restarts, current, previous: mine.get(1).copied(), old, memory, doing }
    }

    /// How many containers of this name there were before the newest.
    #[must_use]
    pub fn restart_count(&self) -> i32 {
        match self.current {
            Some(seen) => i32::try_from(seen.container.attempt).unwrap_or(i32::MAX),
            None => self.old.map_or(0, |old| old.restart_count),
        }
    }

    /// The attempt that a new container of this name is.
    #[must_use]
    pub fn next_attempt(&self) -> u32 {
        let ever = self.current.is_some() || !matches!(self.doing, Doing::Absent);
        let count = u32::try_from(self.restart_count()).unwrap_or(0);
        if ever { count.saturating_add(1) } else { count }
    }

    /// The runtime's id of the newest container.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.current.map(|seen| seen.container.id.as_str())
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn ended(&self) -> Option<&ContainerStateTerminated> {
        match &self.doing {
            Doing::Ended(how) => Some(how),
            _ => None,
        }
    }

    /// Whether a process of it may be there.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self.doing, Doing::Running(_) | Doing::Created)
    }

    /// Whether it runs and its startup probe, if any, has succeeded.
    #[must_use]
    pub fn is_started(&self) -> bool {
        let known = || self.health().map_or_else(|| self.was(|old| old.started == Some(true)), |health| health.started);
        let probed = self.spec.startup_probe.is_none() || known();
        matches!(self.doing, Doing::Running(_)) && probed
    }

    /// Whether it counts as ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        match self.role {
            Role::Init => self.ended().is_some_and(|how| how.exit_code == 0),
            Role::Ephemeral => false,
            Role::Main | Role::Sidecar => {
                let known = || self.health().map_or_else(|| self.was(|old| old.ready), |health| health.ready);
                self.is_started() && (self.spec.readiness_probe.is_none() || known())
            }
        }
    }

    /// What the last status says, as long as it is about the newest container: a new agent has seen no probe.
    fn was(&self, said: impl Fn(&ContainerStatus) -> bool) -> bool {
        let own = self.id().map(|id| format!("{SCHEME}{id}"));
        self.old.is_some_and(|old| old.container_id == own && said(old))
    }

    /// What probes found out about the newest container.
    #[must_use]
    pub fn health(&self) -> Option<&super::memory::Health> {
        let health = &self.memory?.health;
        (Some(health.id.as_str()) == self.id()).then_some(health)
    }

    /// Whether the policy asks for another run after it ended.
    #[must_use]
    pub fn should_restart(&self) -> bool {
        let Some(how) = self.ended() else { return false };
        self.memory.is_some_and(|memory| memory.restart)
            || match self.restarts {
                Restarts::Always => true,
                Restarts::OnFailure => how.exit_code != 0,
                Restarts::Never => false,
            }
    }

    /// What the kernel holds the running container to, and what the pod asks for, when the two differ.
    #[must_use]
    pub fn resize(&self, pod: &Pod) -> Option<(&Limits, Limits)> {
        let now = self.current.filter(|_| matches!(self.doing, Doing::Running(_)))?.container.limits.as_ref()?;
        let wanted = resources::kernel_limits(pod, &self.spec, 0);
        (!now.same_size(&wanted)).then_some((now, wanted))
    }

    /// Whether the pod asks for another image than the running container was made from.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        let facts = self.memory.and_then(|memory| memory.facts.as_ref());
        facts.is_some_and(|facts| {
            Some(facts.id.as_str()) == self.id() && Some(facts.reference.as_str()) != self.spec.image.as_deref()
        })
    }
}

fn restarts(pod: &PodSpec, container: &Container, role: Role) -> Restarts {
    let policy = container.restart_policy.as_deref().or(pod.restart_policy.as_deref()).unwrap_or("Always");
    match (policy, role) {
        ("Never", _) | (_, Role::Ephemeral) => Restarts::Never,
        // An init container is done once it has succeeded, whatever the policy.
        ("OnFailure", _) | (_, Role::Init) => Restarts::OnFailure,
        _ => Restarts::Always,
    }
}

fn seen_doing(seen: &ContainerSeen) -> Doing {
    match &seen.container.state {
        Runs::Created => Doing::Created,
        Runs::Running { started_at } => Doing::Running(*started_at),
        Runs::Exited(exit) => Doing::Ended(Box::new(terminated(&seen.container.id, exit, seen.message.clone()))),
    }
}

/// The API's form of how a container ended.
#[must_use]
pub fn terminated(id: &str, exit: &Exit, message: Option<String>) -> ContainerStateTerminated {
    let said = message.filter(|text| !text.is_empty());
    ContainerStateTerminated {
        container_id: Some(format!("{SCHEME}{id}")),
        exit_code: exit.code,
        finished_at: Some(Time(exit.finished_at)),
        message: said.or_else(|| Some(exit.message.clone()).filter(|text| !text.is_empty())),
        reason: Some(exit.reason.clone()),
        signal: None,
        started_at: Some(Time(exit.started_at.unwrap_or(Timestamp::UNIX_EPOCH))),
    }
}

/// What the last status says of a container that the runtime no longer has.
fn remembered(old: Option<&ContainerStatus>) -> Doing {
    let Some(old) = old else { return Doing::Absent };
    let state = old.state.as_ref();
    if let Some(how) = state.and_then(|state| state.terminated.clone()) {
        return Doing::Ended(Box::new(how));
    }
    if state.is_some_and(|state| state.running.is_some()) {
        return Doing::Ended(Box::new(lost(old)));
    }
    let last: Option<&ContainerState> = old.last_state.as_ref();
    last.and_then(|state| state.terminated.clone()).map_or(Doing::Absent, |how| Doing::Ended(Box::new(how)))
}

/// How a container ended that nobody saw ending.
///
/// Source: kubelet `ContainerStatusUnknown`.
#[must_use]
pub fn lost(old: &ContainerStatus) -> ContainerStateTerminated {
    ContainerStateTerminated {
        container_id: old.container_id.clone(),
        exit_code: 137,
        message: Some("The container could not be located when the pod was terminated".to_owned()),
        reason: Some("ContainerStatusUnknown".to_owned()),
        ..ContainerStateTerminated::default()
    }
}
