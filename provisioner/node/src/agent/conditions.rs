//! The conditions of a pod that its node sets.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::memory::Observed;
use super::resize;
use super::status::{Phase, is_passed, whole_second};
use super::view::{Role, View};

/// What a condition says, without its type and times.
#[derive(Clone, Debug, Default)]
struct Verdict {
    holds: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

impl Verdict {
    fn yes() -> Self {
        Self { holds: true, ..Self::default() }
    }

    fn no(reason: &'static str, message: Option<String>) -> Self {
        Self { holds: false, reason: Some(reason), message }
    }
}

/// All conditions, in the order that upstream writes them; those of others are kept.
#[must_use]
pub fn of(pod: &Pod, observed: &Observed, views: &[View<'_>], phase: Phase, now: Timestamp) -> Vec<PodCondition> {
    let has_sandbox = observed.sandbox.as_ref().is_some_and(|sandbox| sandbox.ready && sandbox.address.is_some());
    let containers = containers_ready(views, phase);
    let ready = ready(pod, &containers);
    let mut own = vec![
        ("PodReadyToStartContainers", Verdict { holds: has_sandbox, ..Verdict::default() }),
        ("Initialized", initialized(views, phase)),
        ("Ready", ready),
        ("ContainersReady", containers),
        ("PodScheduled", Verdict::yes()),
    ];
    own.extend(resizing(pod, views).map(|verdict| (resize::IN_PROGRESS, verdict)));
    let old: Vec<PodCondition> = pod.status.iter().flat_map(|status| status.conditions.clone()).flatten().collect();
    let is_own =
        |one: &&PodCondition| one.type_ == resize::IN_PROGRESS || own.iter().any(|(type_, _)| one.type_ == *type_);
    let others = old.iter().filter(|one| !is_own(one)).cloned();
    let mut all: Vec<_> = own.iter().map(|(type_, verdict)| condition(pod, &old, type_, verdict, now)).collect();
    all.extend(others);
    all
}

fn condition(pod: &Pod, old: &[PodCondition], type_: &str, verdict: &Verdict, now: Timestamp) -> PodCondition {
    let status = if verdict.holds { "True" } else { "False" };
    let before = old.iter().find(|one| one.type_ == type_ && one.status == status);
    PodCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: verdict.reason.map(str::to_owned),
        message: verdict.message.clone(),
        last_probe_time: None,
        last_transition_time: before.and_then(|one| one.last_transition_time.clone()).or(Some(Time(whole_second(now)))),
        observed_generation: pod.metadata.generation,
    }
}

fn initialized(views: &[View<'_>], phase: Phase) -> Verdict {
    if phase == Phase::Succeeded {
        return Verdict { holds: true, reason: Some("PodCompleted"), message: None };
    }
    let begun = views.iter().any(|view| view.role == Role::Main && view.current.is_some());
    let late: Vec<&str> =
        views.iter().filter(|view| !begun && !is_passed(view)).map(|view| view.spec.name.as_str()).collect();
    if late.is_empty() {
        return Verdict::yes();
    }
    Verdict::no("ContainersNotInitialized", Some(format!("containers with incomplete status: [{}]", late.join(" "))))
}

fn containers_ready(views: &[View<'_>], phase: Phase) -> Verdict {
    match phase {
        Phase::Succeeded => return Verdict::no("PodCompleted", None),
        Phase::Failed => return Verdict::no("PodFailed", None),
        Phase::Pending | Phase::Running => {}
    }
    let counts = |view: &&View<'_>| !matches!(view.role, Role::Init | Role::Ephemeral) && !view.is_ready();
    let unready: Vec<&str> = views.iter().filter(counts).map(|view| view.spec.name.as_str()).collect();
    if unready.is_empty() {
        return Verdict::yes();
    }
    Verdict::no("ContainersNotReady", Some(format!("containers with unready status: [{}]", unready.join(" "))))
}

/// What is said of a resize as long as there is one.
fn resizing(pod: &Pod, views: &[View<'_>]) -> Option<Verdict> {
    if !resize::is_under_way(pod, views) {
        return None;
    }
    let failure = views.iter().find_map(|view| view.memory?.unsized_for.as_ref());
    let reason = failure.map(|failure| failure.reason.text());
    Some(Verdict { holds: true, reason, message: failure.map(|failure| failure.message.clone()) })
}

/// Source: kubelet `GeneratePodReadyCondition`.
fn ready(pod: &Pod, containers: &Verdict) -> Verdict {
    if !containers.holds {
        return containers.clone();
    }
    let gates = pod.spec.iter().flat_map(|spec| spec.readiness_gates.iter().flatten());
    let complaints: Vec<String> = gates.filter_map(|gate| complaint(pod, &gate.condition_type)).collect();
    if complaints.is_empty() {
        return Verdict::yes();
    }
    Verdict::no("ReadinessGatesNotReady", Some(complaints.join(", ")))
}

fn complaint(pod: &Pod, gate: &str) -> Option<String> {
    let all = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    match all.into_iter().find(|one| one.type_ == gate) {
        None => Some(format!("corresponding condition of pod readiness gate {gate:?} does not exist.")),
        Some(one) if one.status != "True" => {
            Some(format!("the status of pod readiness gate {gate:?} is not \"True\", but {}", one.status))
        }
        Some(_) => None,
    }
}
