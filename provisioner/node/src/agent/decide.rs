//! What to do next for one pod: a pure function of the pod, what was observed, and the time.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodStatus};

use super::failure::Reason;
use super::memory::{Observed, later};
use super::probe::{self, ProbeKind};
use super::refuse;
use super::resize;
use super::status;
use super::view::{Doing, Restarts, Role, View};

/// For how long a container that is held back shows as such before it starts.
pub const HELD_SHOWN: Duration = Duration::from_secs(1);

/// For how long the end of a deleted pod can be read before the API forgets it.
pub const END_SHOWN: Duration = Duration::from_millis(500);

/// What to do for a pod, and what its status is before that is done.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// To be done in this order; the first that fails ends the round.
    pub actions: Vec<PodAction>,
    /// What the API is told; `None` leaves the status as it is.
    pub status: Option<PodStatus>,
    /// When to decide again even if nothing happens.
    pub recheck_at: Option<Timestamp>,
}

/// One step for a pod.
#[derive(Clone, Debug, PartialEq)]
pub enum PodAction {
    /// Record an event, once for each `once`.
    Tell {
        /// What makes it the same event.
        once: String,
        /// The event.
        event: PodEvent,
    },
    /// Make its folder, volumes and files.
    SetUpVolumes,
    /// Attach it to the network and make its sandbox.
    CreateSandbox,
    /// Remove its sandbox with all containers, and detach it from the network.
    RemoveSandbox,
    /// Make and start a container.
    Start {
        /// Its name.
        container: String,
        /// How many containers of this name there were before.
        attempt: u32,
    },
    /// Ask a container to stop, and kill it at the time given.
    Kill {
        /// Its id.
        id: String,
        /// Its name.
        container: String,
        /// When patience ends.
        deadline: Timestamp,
        /// Text of the event.
        why: String,
        /// It starts again afterwards, whatever the restart policy says.
        restart: bool,
    },
    /// Hold a running container to what the pod asks for now.
    Resize {
        /// Its id.
        id: String,
        /// Its name.
        container: String,
    },
    /// Begin a probe of a running container.
    Probe {
        /// Its id.
        id: String,
        /// Its name.
        container: String,
        /// What for.
        kind: ProbeKind,
    },
    /// Take away its volumes; with `logs` all that is left of it on disk.
    TearDown {
        /// The logs too.
        logs: bool,
    },
    /// Ask the API to forget it.
    Delete,
}

/// An event of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodEvent {
    /// Something to worry about.
    pub warning: bool,
    /// Machine-readable.
    pub reason: String,
    /// For people.
    pub message: String,
    /// Field of the pod it is about, such as `spec.containers{c}`.
    pub field: Option<String>,
}

impl PodEvent {
    /// Something that happened as it should.
    #[must_use]
    pub fn normal(reason: &str, message: impl Into<String>) -> Self {
        Self { warning: false, reason: reason.to_owned(), message: message.into(), field: None }
    }

    /// Something to worry about.
    #[must_use]
    pub fn warning(reason: &str, message: impl Into<String>) -> Self {
        Self { warning: true, ..Self::normal(reason, message) }
    }

    /// The same about a container.
    #[must_use]
    pub fn about(mut self, role: Role, container: &str) -> Self {
        self.field = Some(format!("spec.{}{{{container}}}", role.list()));
        self
    }
}

/// What is to become of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It runs, or is on the way.
    Run,
    /// All is done, or there is no point in going on.
    Finish(End),
    /// It is being deleted.
    Delete,
}

/// How a pod ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// By its containers.
    Containers,
    /// It ran longer than it may.
    Deadline,
    /// This node can't do what it asks for, in the words of reason and message.
    Rejected(String, String),
    /// It ended before; its status says how.
    Already,
}

/// Text of an exceeded deadline, in events and statuses.
pub const DEADLINE: &str = "Pod was active on the node longer than the specified deadline";

/// Decides for a pod of this node. Calling it again with the same arguments gives the same answer.
#[must_use]
pub fn decide(pod: &Pod, observed: &Observed, now: Timestamp) -> Decision {
    let views = View::all(pod, observed);
    let fate = fate(pod, &views, now);
    let mut next = Next::new(pod, observed, now);
    match &fate {
        Fate::Run => next.run(&views),
        Fate::Finish(end) => next.finish(&views, end),
        Fate::Delete => next.delete(&views),
    }
    let status = status::of(pod, observed, &views, &fate, now);
    Decision { actions: next.actions, status: Some(status), recheck_at: next.recheck_at }
}

fn fate(pod: &Pod, views: &[View<'_>], now: Timestamp) -> Fate {
    if pod.metadata.deletion_timestamp.is_some() {
        return Fate::Delete;
    }
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    if matches!(phase, Some("Succeeded" | "Failed")) {
        return Fate::Finish(End::Already);
    }
    if let Some((reason, message)) = refuse::rejection(pod) {
        return Fate::Finish(End::Rejected(reason, message));
    }
    if deadline(pod).is_some_and(|deadline| deadline <= now) {
        return Fate::Finish(End::Deadline);
    }
    if is_over(views) { Fate::Finish(End::Containers) } else { Fate::Run }
}

/// Whether no container has anything left to do.
fn is_over(views: &[View<'_>]) -> bool {
    let mut inits = views.iter().filter(|view| view.role == Role::Init);
    let init_failed =
        inits.any(|view| view.restarts == Restarts::Never && view.ended().is_some_and(|how| how.exit_code != 0));
    let mut mains = views.iter().filter(|view| view.role == Role::Main);
    init_failed || mains.all(|view| view.ended().is_some() && !view.should_restart() && !is_failing(view))
}

/// Whether a start that failed hides behind an ended container.
fn is_failing(view: &View<'_>) -> bool {
    view.restarts != Restarts::Never && view.memory.is_some_and(|memory| memory.failure.is_some())
}

/// When the pod's `activeDeadlineSeconds` run out.
#[must_use]
pub fn deadline(pod: &Pod) -> Option<Timestamp> {
    let seconds = pod.spec.as_ref()?.active_deadline_seconds?;
    let start = pod.status.as_ref()?.start_time.as_ref()?.0;
    start.checked_add(SignedDuration::from_secs(seconds)).ok()
}

/// Seconds that the pod's containers get to end; at least one, so that the signal is sent.
#[must_use]
pub fn grace(pod: &Pod) -> Duration {
    let own = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
    let seconds = pod.metadata.deletion_grace_period_seconds.or(own).unwrap_or(30).max(1);
    Duration::from_secs(u64::try_from(seconds).unwrap_or(1))
}

struct Next<'a> {
    pod: &'a Pod,
    observed: &'a Observed,
    now: Timestamp,
    actions: Vec<PodAction>,
    recheck_at: Option<Timestamp>,
}

impl<'a> Next<'a> {
    fn new(pod: &'a Pod, observed: &'a Observed, now: Timestamp) -> Self {
        Self { pod, observed, now, actions: Vec::new(), recheck_at: None }
    }

    fn recheck(&mut self, at: Timestamp) {
        self.recheck_at = Some(self.recheck_at.map_or(at, |other| other.min(at)));
    }

    fn tell(&mut self, once: String, event: PodEvent) {
        if !self.observed.memory.told.contains(&once) {
            self.actions.push(PodAction::Tell { once, event });
        }
    }

    fn run(&mut self, views: &[View<'_>]) {
        if let Some(at) = deadline(self.pod) {
            self.recheck(at);
        }
        let refused = refuse::unsupported(self.pod);
        if !refused.is_empty() {
            return self
                .tell("Unsupported".to_owned(), PodEvent::warning("Failed", format!("Error: {}", refused.join(", "))));
        }
        if !self.is_set_up() {
            return;
        }
        for view in views.iter().filter(|view| view.role == Role::Ephemeral && matches!(view.doing, Doing::Absent)) {
            self.start(view);
        }
        self.tell_of_resize(views);
        if self.inits(views) {
            for view in views.iter().filter(|view| view.role == Role::Main) {
                self.main(view);
            }
        }
        for view in views.iter().filter(|view| view.role == Role::Sidecar) {
            self.keep(view);
        }
        self.probe(views, false);
    }

    fn probe(&mut self, views: &[View<'_>], ending: bool) {
        for view in views {
            let Some(id) = view.id() else { continue };
            for (kind, at) in probe::due(view, ending) {
                if at > self.now {
                    self.recheck(at);
                } else {
                    let (id, container) = (id.to_owned(), view.spec.name.clone());
                    self.actions.push(PodAction::Probe { id, container, kind });
                }
            }
        }
    }

    /// Volumes first, then the sandbox: a pod whose volumes fail has no address.
    fn is_set_up(&mut self) -> bool {
        let memory = &self.observed.memory;
        let wanted = match &self.observed.sandbox {
            Some(sandbox) if !sandbox.ready => PodAction::RemoveSandbox,
            _ if !memory.volumes_ready => PodAction::SetUpVolumes,
            Some(_) => return true,
            None => PodAction::CreateSandbox,
        };
        match &memory.setup {
            Some(failure) if failure.retry_at > self.now => self.recheck(failure.retry_at),
            _ => self.actions.push(wanted),
        }
        false
    }

    /// Brings the init containers on by one; whether the main ones may run.
    fn inits(&mut self, views: &[View<'_>]) -> bool {
        let begun = views.iter().any(|view| view.role == Role::Main && view.current.is_some());
        for view in views.iter().filter(|view| matches!(view.role, Role::Init | Role::Sidecar)) {
            let passed = match (&view.doing, view.role) {
                (_, Role::Sidecar) => begun || view.is_started(),
                // What the last status says is not enough: a new sandbox begins anew.
                (Doing::Ended(how), _) => begun || (how.exit_code == 0 && view.current.is_some()),
                _ => begun,
            };
            if passed {
                continue;
            }
            if !view.is_up() {
                self.start(view);
            }
            return false;
        }
        true
    }

    fn main(&mut self, view: &View<'_>) {
        match &view.doing {
            Doing::Absent => self.start(view),
            Doing::Ended(_) if view.should_restart() || is_failing(view) => self.start(view),
            Doing::Running(_) => self.keep(view),
            Doing::Created | Doing::Ended(_) => {}
        }
    }

    /// Stops a running container that is no longer as it should be.
    fn keep(&mut self, view: &View<'_>) {
        let name = &view.spec.name;
        let failed = view.health().and_then(|health| health.failed);
        let why = match failed {
            _ if !matches!(view.doing, Doing::Running(_)) => return self.revive(view),
            _ if view.is_changed() => format!("Container {name} definition changed, will be restarted"),
            Some(probe) => format!("Container {name} failed {} probe, will be restarted", probe.text()),
            None if resize::restarts(view, self.pod) => format!("Container {name} resize requires restart"),
            None => return self.resize(view),
        };
        let restart = view.is_changed() || failed.is_none();
        let own = failed.and_then(|kind| kind.of(&view.spec)?.termination_grace_period_seconds);
        let own = own.map(|seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or(1).max(1)));
        self.kill(view, later(self.now, own.unwrap_or_else(|| grace(self.pod))), why, restart);
    }

    /// Holds a container to other amounts than it was started with.
    fn resize(&mut self, view: &View<'_>) {
        let Some((id, _)) = view.id().zip(view.resize(self.pod)) else { return };
        match view.memory.and_then(|memory| memory.unsized_for.as_ref()) {
            Some(failure) if failure.retry_at > self.now => self.recheck(failure.retry_at),
            _ => self.actions.push(PodAction::Resize { id: id.to_owned(), container: view.spec.name.clone() }),
        }
    }

    /// Says that a resize has begun, and when what the last status called in progress is done.
    fn tell_of_resize(&mut self, views: &[View<'_>]) {
        let generation = self.pod.metadata.generation.unwrap_or_default();
        let (word, reason) = match (resize::is_under_way(self.pod, views), resize::was_under_way(self.pod)) {
            (true, _) => ("started", "ResizeStarted"),
            (false, true) => ("completed", "ResizeCompleted"),
            (false, false) => return,
        };
        let message = format!("Pod resize {word}: {}", resize::summary(self.pod));
        self.tell(format!("{reason} {generation}"), PodEvent::normal(reason, message));
    }

    /// A sidecar that ended runs again, also while the main containers run.
    fn revive(&mut self, view: &View<'_>) {
        let already = self
            .actions
            .iter()
            .any(|action| matches!(action, PodAction::Start { container, .. } if *container == view.spec.name));
        if view.role == Role::Sidecar && view.current.is_some() && view.ended().is_some() && !already {
            self.start(view);
        }
    }

    /// Starts a container now, or when it no longer is held back.
    fn start(&mut self, view: &View<'_>) {
        if let Some(failure) = view.memory.and_then(|memory| memory.failure.as_ref()) {
            if failure.retry_at > self.now {
                if failure.reason == Reason::PostStartHookError {
                    self.hold(view, failure.retry_at);
                }
                // The status changes from the error to the waiting for the next attempt.
                self.recheck(
                    Some(status::failure_shown_until(failure)).filter(|at| *at > self.now).unwrap_or(failure.retry_at),
                );
                return;
            }
        } else if let Some(due) = held_until(view) {
            self.hold(view, due);
            let start_at = later(due, HELD_SHOWN);
            if start_at > self.now {
                self.recheck(if due > self.now { due } else { start_at });
                return;
            }
        }
        self.actions.push(PodAction::Start { container: view.spec.name.clone(), attempt: view.next_attempt() });
    }

    fn hold(&mut self, view: &View<'_>, due: Timestamp) {
        if due <= self.now {
            return;
        }
        let name = &view.spec.name;
        let message = format!("Back-off restarting failed container {name} in pod {}", full_name(self.pod));
        let event = PodEvent::warning("BackOff", message).about(view.role, name);
        self.tell(format!("BackOff {name} {}", view.restart_count()), event);
    }

    fn kill(&mut self, view: &View<'_>, deadline: Timestamp, why: String, restart: bool) {
        let Some(id) = view.id() else { return };
        if self.observed.memory.stopping.get(id).is_some_and(|at| *at <= deadline) {
            return;
        }
        let container = view.spec.name.clone();
        self.actions.push(PodAction::Kill { id: id.to_owned(), container, deadline, why, restart });
    }

    /// Stops what runs, sidecars after everything else; whether nothing runs any more.
    fn stop_all(&mut self, views: &[View<'_>], deadline: Timestamp) -> bool {
        let up =
            |sidecar: bool| views.iter().filter(move |view| view.is_up() && (view.role == Role::Sidecar) == sidecar);
        let sidecars_too = up(false).next().is_none();
        for view in up(false) {
            self.kill(view, deadline, format!("Stopping container {}", view.spec.name), false);
        }
        if sidecars_too {
            for view in up(true) {
                self.kill(view, deadline, format!("Stopping container {}", view.spec.name), false);
            }
        }
        sidecars_too && up(true).next().is_none()
    }

    fn finish(&mut self, views: &[View<'_>], end: &End) {
        match end {
            End::Deadline => {
                self.tell("DeadlineExceeded".to_owned(), PodEvent::normal("DeadlineExceeded", DEADLINE));
            }
            End::Rejected(reason, message) => {
                self.tell(format!("Rejected {reason}"), PodEvent::warning(reason, message.clone()));
            }
            End::Containers | End::Already => {}
        }
        if self.stop_all(views, later(self.now, grace(self.pod))) {
            if self.observed.sandbox.is_some() {
                self.actions.push(PodAction::RemoveSandbox);
            }
            if !self.observed.memory.torn_down {
                self.actions.push(PodAction::TearDown { logs: false });
            }
        }
    }

    fn delete(&mut self, views: &[View<'_>]) {
        let asked = self.pod.metadata.deletion_timestamp.as_ref().map_or(self.now, |time| time.0);
        let deadline = asked.max(later(self.now, Duration::from_secs(1)));
        // A second deletion may cut the time short; the clock going on may not push it back.
        let deadline = if asked <= self.now { self.now } else { deadline };
        self.probe(views, true);
        if !self.stop_all(views, deadline) {
            return;
        }
        let memory = &self.observed.memory;
        if self.observed.sandbox.is_some() {
            self.actions.push(PodAction::RemoveSandbox);
        } else if let Some(cleared) = memory.cleared {
            let forget_at = later(cleared, END_SHOWN);
            if memory.deletion_sent {
                return;
            }
            if forget_at > self.now {
                self.recheck(forget_at);
            } else {
                self.actions.push(PodAction::Delete);
            }
        } else {
            self.actions.push(PodAction::TearDown { logs: true });
        }
    }
}

/// When a container that ended may start again; `None` when at once.
#[must_use]
pub fn held_until(view: &View<'_>) -> Option<Timestamp> {
    let memory = view.memory?;
    if memory.restart {
        return None;
    }
    let finished = view.ended()?.finished_at.as_ref()?.0;
    memory.back_off?.until(finished)
}

/// A pod as the kubelet's messages name it: `name_namespace(uid)`.
#[must_use]
pub fn full_name(pod: &Pod) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let meta = &pod.metadata;
    format!("{}_{}({})", text(&meta.name), text(&meta.namespace), text(&meta.uid))
}
