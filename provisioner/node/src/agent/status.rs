//! The status of a pod as its containers, sandbox and fate make it.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
    HostIP, Pod, PodIP, PodStatus, ResourceRequirements, VolumeMountStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::conditions;
use super::decide::{DEADLINE, End, Fate, HELD_SHOWN, full_name, held_until};
use super::failure::Reason;
use super::memory::{Failure, Observed, later};
use super::refuse;
use super::resources;
use super::view::{Doing, Restarts, Role, SCHEME, View, lost};

/// For how long a failed pull shows as itself before it shows as being held back.
const PULL_ERROR_SHOWN: Duration = Duration::from_secs(2);

/// Phases of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are Kubernetes' own phases")]
pub enum Phase {
    Pending,
    Running,
    Succeeded,
    Failed,
}

impl Phase {
    /// As it stands in a status.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }
}

/// The status of a pod.
#[must_use]
pub fn of(pod: &Pod, observed: &Observed, views: &[View<'_>], fate: &Fate, now: Timestamp) -> PodStatus {
    let old = pod.status.clone().unwrap_or_default();
    let down = views.iter().all(|view| !view.is_up()) && observed.sandbox.is_none();
    let terminal = down && *fate != Fate::Run;
    let begun = views.iter().any(|view| view.role == Role::Main && !matches!(view.doing, Doing::Absent));
    let statuses = |list: &str| -> Vec<ContainerStatus> {
        let picked = views.iter().filter(|view| view.role.list() == list);
        picked.map(|view| container(pod, view, terminal && begun, now)).collect()
    };
    let [inits, mains, late] = [Role::Init, Role::Main, Role::Ephemeral].map(|role| statuses(role.list()));
    let phase = phase(pod, views, fate, &inits, &mains, terminal);
    let mut status = PodStatus {
        phase: Some(phase.text().to_owned()),
        observed_generation: pod.metadata.generation,
        host_ip: Some(observed.host_ip.to_string()),
        host_ips: Some(vec![HostIP { ip: observed.host_ip.to_string() }]),
        start_time: old.start_time.clone().or(Some(Time(whole_second(now)))),
        qos_class: Some(resources::qos(pod).to_owned()),
        allocated_resources: resources::pod_requests(pod),
        init_container_statuses: Some(inits).filter(|list| !list.is_empty()),
        container_statuses: Some(mains),
        ephemeral_container_statuses: Some(late).filter(|list| !list.is_empty()),
        ..old.clone()
    };
    if let Some(address) = observed.sandbox.as_ref().and_then(|sandbox| sandbox.address) {
        status.pod_ip = Some(address.to_string());
        status.pod_ips = Some(vec![PodIP { ip: address.to_string() }]);
    }
    if phase == Phase::Failed {
        match fate {
            Fate::Finish(End::Deadline) => explain(&mut status, "DeadlineExceeded", DEADLINE),
            Fate::Finish(End::Rejected(reason, message)) => reject(&mut status, reason, message),
            _ => {}
        }
    }
    status.conditions = Some(conditions::of(pod, observed, views, phase, now));
    status
}

fn explain(status: &mut PodStatus, reason: &str, message: &str) {
    status.reason = Some(reason.to_owned());
    status.message = Some(message.to_owned());
}

fn reject(status: &mut PodStatus, reason: &str, message: &str) {
    explain(status, reason, &format!("Pod was rejected: {message}"));
    status.init_container_statuses = None;
    status.container_statuses = None;
    status.ephemeral_container_statuses = None;
}

/// Times in a status are whole seconds; cutting here keeps a status equal to what the API gives back.
#[must_use]
pub fn whole_second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// Source: kubelet `getPhase`.
fn phase(
    pod: &Pod,
    views: &[View<'_>],
    fate: &Fate,
    inits: &[ContainerStatus],
    mains: &[ContainerStatus],
    terminal: bool,
) -> Phase {
    match pod.status.as_ref().and_then(|status| status.phase.as_deref()) {
        Some("Succeeded") => return Phase::Succeeded,
        Some("Failed") => return Phase::Failed,
        _ => {}
    }
    let up = views.iter().any(View::is_up);
    if let Fate::Finish(End::Deadline | End::Rejected(..)) = fate
        && !up
    {
        return Phase::Failed;
    }
    let exits: Vec<Option<i32>> = mains.iter().map(exit_code).collect();
    let all_ended = !up && exits.iter().all(Option::is_some);
    let succeeded = exits.iter().all(|code| *code == Some(0));
    let over = matches!(fate, Fate::Finish(End::Containers)) || terminal;
    if over && !up {
        return if all_ended && succeeded { Phase::Succeeded } else { Phase::Failed };
    }
    let initialized = views.iter().zip(inits).all(|(view, _)| view.role == Role::Main || is_passed(view));
    let begun = mains.iter().any(|status| status.container_id.is_some() || exit_code(status).is_some());
    if begun && (initialized || pod_ran(pod)) { running_or_pending(mains) } else { Phase::Pending }
}

fn pod_ran(pod: &Pod) -> bool {
    pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Running"))
}

/// A container that waits for its first run keeps the pod pending unless another has already ended.
fn running_or_pending(mains: &[ContainerStatus]) -> Phase {
    let waits = |status: &ContainerStatus| {
        status.state.as_ref().is_some_and(|state| state.waiting.is_some()) && exit_code(status).is_none()
    };
    let waiting = mains.iter().any(waits);
    let stopped = mains.iter().any(|status| exit_code(status).is_some());
    if waiting && !stopped { Phase::Pending } else { Phase::Running }
}

/// The code of the run that ended last, also behind a waiting state.
fn exit_code(status: &ContainerStatus) -> Option<i32> {
    let state = status.state.as_ref()?;
    if let Some(how) = &state.terminated {
        return Some(how.exit_code);
    }
    state.waiting.as_ref()?;
    status.last_state.as_ref()?.terminated.as_ref().map(|how| how.exit_code)
}

/// Whether an init container or sidecar no longer holds up what comes after it.
#[must_use]
pub fn is_passed(view: &View<'_>) -> bool {
    match view.role {
        Role::Init => view.ended().is_some_and(|how| how.exit_code == 0),
        Role::Sidecar => view.is_started() || view.ended().is_some(),
        Role::Main | Role::Ephemeral => true,
    }
}

/// Until when a failure shows under its own reason.
#[must_use]
pub fn failure_shown_until(failure: &Failure) -> Timestamp {
    if failure.reason == Reason::ErrImagePull { later(failure.at, PULL_ERROR_SHOWN) } else { failure.retry_at }
}

fn container(pod: &Pod, view: &View<'_>, terminal: bool, now: Timestamp) -> ContainerStatus {
    let waiting = waiting(pod, view, now);
    let ended = view.ended().cloned();
    let (mut state, mut last) = match (&view.doing, waiting) {
        (Doing::Running(since), _) => (running(*since), before(view)),
        (Doing::Ended(_), None) => (terminated(ended), before(view)),
        (_, Some(waiting)) => {
            let state = ContainerState { waiting: Some(waiting), ..ContainerState::default() };
            (state, ended.map_or_else(ContainerState::default, |how| terminated(Some(how))))
        }
        (Doing::Absent | Doing::Created, None) => (ContainerState::default(), ContainerState::default()),
    };
    if terminal && state.terminated.is_none() {
        last = ContainerState::default();
        state = terminated(Some(lost(&view.old.cloned().unwrap_or_default())));
    }
    let made =
        view.current.is_some() || state.terminated.is_some() || view.old.is_some_and(|old| old.container_id.is_some());
    let mut status = ContainerStatus {
        name: view.spec.name.clone(),
        ready: view.is_ready(),
        started: (view.role != Role::Ephemeral).then(|| view.is_started()),
        restart_count: view.restart_count(),
        container_id: id_of(view, &state, &last),
        last_state: Some(last),
        state: Some(state),
        ..ContainerStatus::default()
    };
    identify(view, &mut status);
    if made {
        // While it is being resized, what it has is what was said last.
        let last = view.old.filter(|_| view.resize(pod).is_some()).and_then(|old| old.resources.clone());
        status.resources = last.or_else(|| Some(shown_resources(&view.spec)));
        status.allocated_resources = view.spec.resources.as_ref().and_then(|all| all.requests.clone());
        status.volume_mounts = volume_mounts(&view.spec);
    }
    status
}

fn running(since: Timestamp) -> ContainerState {
    ContainerState {
        running: Some(ContainerStateRunning { started_at: Some(Time(whole_second(since))) }),
        ..ContainerState::default()
    }
}

fn terminated(how: Option<ContainerStateTerminated>) -> ContainerState {
    let how = how.map(|mut how| {
        for time in [&mut how.started_at, &mut how.finished_at].into_iter().flatten() {
            time.0 = whole_second(time.0);
        }
        how
    });
    ContainerState { terminated: how, ..ContainerState::default() }
}

/// How the run before the present one ended.
fn before(view: &View<'_>) -> ContainerState {
    if let Some(seen) = view.previous
        && let crate::runtime::ContainerState::Exited(exit) = &seen.container.state
    {
        return terminated(Some(super::view::terminated(&seen.container.id, exit, seen.message.clone())));
    }
    let Some(old) = view.old else { return ContainerState::default() };
    let same = old.restart_count == view.restart_count();
    let kept = if same { &old.last_state } else { &old.state };
    let how = kept.as_ref().and_then(|state| state.terminated.clone());
    let how = how.or_else(|| (!same && old.container_id.is_some()).then(|| lost(old)));
    how.map_or_else(ContainerState::default, |how| terminated(Some(how)))
}

fn id_of(view: &View<'_>, state: &ContainerState, last: &ContainerState) -> Option<String> {
    let ended = state.terminated.as_ref().or(last.terminated.as_ref());
    view.id()
        .map(|id| format!("{SCHEME}{id}"))
        .or_else(|| ended.and_then(|how| how.container_id.clone()))
        .or_else(|| view.old.and_then(|old| old.container_id.clone()))
}

/// Image and user: from what it was started with, else what the last status says of the same container.
fn identify(view: &View<'_>, status: &mut ContainerStatus) {
    let facts = view.memory.and_then(|memory| memory.facts.as_ref());
    let old = view.old.filter(|old| old.container_id.is_some() && old.container_id == status.container_id);
    status.image = view.spec.image.clone().unwrap_or_default();
    if let Some(facts) = facts.filter(|facts| Some(facts.id.as_str()) == view.id()) {
        status.image.clone_from(&facts.image);
        status.image_id.clone_from(&facts.image_id);
        status.user.clone_from(&facts.user);
    } else if let Some(old) = old {
        status.image.clone_from(&old.image);
        status.image_id.clone_from(&old.image_id);
        status.user.clone_from(&old.user);
    } else if let Some(seen) = view.current {
        status.image_id.clone_from(&seen.container.image);
    }
}

/// Why a container is not running, when it should be and never ended or is held back.
fn waiting(pod: &Pod, view: &View<'_>, now: Timestamp) -> Option<ContainerStateWaiting> {
    if pod.metadata.deletion_timestamp.is_none() {
        if let Some(failure) = view.memory.and_then(|memory| memory.failure.as_ref())
            && !(view.restarts == Restarts::Never && view.ended().is_some())
        {
            return Some(failed(view, failure, now));
        }
        if let Some(due) = held_until(view)
            && view.should_restart()
            && due <= now
            && now < later(due, HELD_SHOWN)
        {
            return Some(crash_loop(pod, view));
        }
    }
    match view.doing {
        Doing::Absent | Doing::Created => Some(making(pod)),
        Doing::Running(_) | Doing::Ended(_) => None,
    }
}

fn making(pod: &Pod) -> ContainerStateWaiting {
    let spec = pod.spec.as_ref();
    if let Some(message) = refuse::unsupported(pod).first() {
        return why("CreateContainerConfigError", Some(message.clone()));
    }
    let has_inits = spec.is_some_and(|spec| spec.init_containers.iter().flatten().next().is_some());
    why(if has_inits { "PodInitializing" } else { "ContainerCreating" }, None)
}

fn why(reason: &str, message: Option<String>) -> ContainerStateWaiting {
    ContainerStateWaiting { reason: Some(reason.to_owned()), message }
}

fn failed(view: &View<'_>, failure: &Failure, now: Timestamp) -> ContainerStateWaiting {
    if now < failure_shown_until(failure) || failure.reason != Reason::ErrImagePull {
        return why(failure.reason.text(), Some(failure.message.clone()));
    }
    let image = view.spec.image.as_deref().unwrap_or_default();
    let message = format!("Back-off pulling image {image:?}: {}: {}", failure.reason.text(), failure.message);
    why("ImagePullBackOff", Some(message))
}

fn crash_loop(pod: &Pod, view: &View<'_>) -> ContainerStateWaiting {
    let delay = view.memory.and_then(|memory| memory.back_off).map_or(0, |back_off| back_off.delay.as_secs());
    let name = &view.spec.name;
    let text = duration_text(delay);
    let message = format!("back-off {text} restarting failed container={name} pod={}", full_name(pod));
    why("CrashLoopBackOff", Some(message))
}

/// `40s`, `1m20s`, `5m0s`: as Go writes a duration.
fn duration_text(seconds: u64) -> String {
    if seconds < 60 { format!("{seconds}s") } else { format!("{}m{}s", seconds / 60, seconds % 60) }
}

fn shown_resources(spec: &Container) -> ResourceRequirements {
    let own = spec.resources.clone().unwrap_or_default();
    ResourceRequirements { claims: None, ..own }
}

fn volume_mounts(spec: &Container) -> Option<Vec<VolumeMountStatus>> {
    let mounts = spec.volume_mounts.as_ref()?.iter().map(|mount| VolumeMountStatus {
        mount_path: mount.mount_path.clone(),
        name: mount.name.clone(),
        read_only: mount.read_only.filter(|yes| *yes),
        recursive_read_only: mount.read_only.filter(|yes| *yes).map(|_| "Disabled".to_owned()),
        volume_status: None,
    });
    Some(mounts.collect())
}
