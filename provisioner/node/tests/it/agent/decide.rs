//! What the agent decides, case by case.

use std::time::Duration;

use expect_test::{Expect, expect};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kprov_node::agent::decide::{Decision, PodAction, decide};
use kprov_node::agent::failure::Reason;
use kprov_node::agent::memory::{
    BackOff, ContainerMemory, ContainerSeen, Facts, Failure, Health, Memory, Observed, SandboxSeen,
};
use kprov_node::agent::probe::ProbeKind;
use kprov_node::runtime::{Container, ContainerState, Exit, Limits};
use kprov_schema::Uid;
use serde_json::{Value, json};

/// Seconds after the beginning of every case.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + seconds).unwrap()
}

/// A pod and what is seen of it.
struct Case {
    spec: Value,
    meta: Value,
    status: Value,
    observed: Observed,
}

/// A pod of one container whose volumes and sandbox are there.
fn case(spec: Value) -> Case {
    let memory = Memory { volumes_ready: true, ..Memory::default() };
    let sandbox = Some(SandboxSeen { ready: true, address: Some([10, 0, 0, 2].into()) });
    let observed = Observed { host_ip: [172, 16, 0, 1].into(), sandbox, containers: Vec::new(), memory };
    let status = json!({"phase": "Pending", "startTime": at(0).to_string()});
    Case { spec, meta: json!({}), status, observed }
}

fn one(policy: &str) -> Value {
    json!({"restartPolicy": policy, "containers": [{"name": "c", "image": "i"}]})
}

fn with_init(policy: &str) -> Value {
    let inits = json!([{"name": "i1", "image": "i"}, {"name": "i2", "image": "i"}]);
    json!({"restartPolicy": policy, "initContainers": inits, "containers": [{"name": "c", "image": "i"}]})
}

fn with_sidecar() -> Value {
    let inits = json!([{"name": "side", "image": "i", "restartPolicy": "Always"}]);
    json!({"restartPolicy": "Never", "initContainers": inits, "containers": [{"name": "c", "image": "i"}]})
}

fn ended(code: i32, seconds: i64) -> ContainerState {
    let reason = if code == 0 { "Completed" } else { "Error" };
    ContainerState::Exited(Exit {
        code,
        signal: None,
        reason: reason.to_owned(),
        message: String::new(),
        started_at: Some(at(0)),
        finished_at: at(seconds),
    })
}

fn running() -> ContainerState {
    ContainerState::Running { started_at: at(1) }
}

impl Case {
    fn seen(mut self, name: &str, attempt: u32, state: ContainerState) -> Self {
        let id = format!("{name}{attempt}");
        let (pod, image) = (Uid("u".into()), "sha256:1".into());
        let container = Container { id, pod, name: name.into(), attempt, image, limits: None, state };
        self.observed.containers.push(ContainerSeen { container, message: None });
        self
    }

    /// The container seen last is held to these thousandths of a core.
    fn held(mut self, cpu: u64) -> Self {
        let seen = self.observed.containers.last_mut().unwrap();
        seen.container.limits =
            Some(Limits { cpu_request_millis: Some(cpu), cpu_limit_millis: Some(cpu), ..Limits::default() });
        self
    }

    fn memory(mut self, change: impl FnOnce(&mut Memory)) -> Self {
        change(&mut self.observed.memory);
        self
    }

    fn remembers(self, name: &str, memory: ContainerMemory) -> Self {
        self.memory(|all| {
            all.containers.insert(name.to_owned(), memory);
        })
    }

    fn sandbox(mut self, sandbox: Option<SandboxSeen>) -> Self {
        self.observed.sandbox = sandbox;
        self
    }

    fn deleted(mut self, grace: i64, until: i64) -> Self {
        self.meta = json!({"deletionTimestamp": at(until).to_string(), "deletionGracePeriodSeconds": grace});
        self
    }

    fn status(mut self, status: Value) -> Self {
        self.status = status;
        self
    }

    fn decide(&self, seconds: i64) -> Decision {
        let mut meta = json!({"name": "p", "namespace": "n", "uid": "u", "generation": 1});
        meta.as_object_mut().unwrap().extend(self.meta.as_object().unwrap().clone());
        let pod: Pod =
            serde_json::from_value(json!({"metadata": meta, "spec": self.spec, "status": self.status})).unwrap();
        decide(&pod, &self.observed, at(seconds))
    }

    fn check(&self, seconds: i64, wanted: Expect) {
        wanted.assert_eq(&shown(&self.decide(seconds)));
    }
}

fn shown(decision: &Decision) -> String {
    let status = decision.status.as_ref().unwrap();
    let mut lines =
        vec![status.phase.clone().unwrap() + &status.reason.as_ref().map_or(String::new(), |why| format!(" {why}"))];
    let lists = [&status.init_container_statuses, &status.container_statuses, &status.ephemeral_container_statuses];
    let all = lists.into_iter().flatten().flatten();
    lines.extend(all.map(state));
    let conditions =
        status.conditions.iter().flatten().filter(|one| one.status == "True").map(|one| one.type_.as_str());
    lines.push(format!("true: {}", conditions.collect::<Vec<_>>().join(" ")));
    lines.extend(decision.actions.iter().map(action));
    lines.extend(decision.recheck_at.map(|time| format!("again at {}", time.as_second() - 1_000_000)));
    lines.join("\n") + "\n"
}

fn state(status: &ContainerStatus) -> String {
    let state = status.state.clone().unwrap();
    let last = status
        .last_state
        .clone()
        .unwrap()
        .terminated
        .map_or(String::new(), |how| format!(", before {}", how.exit_code));
    let text = match (state.waiting, state.running, state.terminated) {
        (Some(waiting), ..) => format!("waiting {}", waiting.reason.unwrap()),
        (_, Some(_), _) => "running".to_owned(),
        (.., Some(how)) => format!("terminated {} {}", how.reason.unwrap(), how.exit_code),
        _ => "nothing".to_owned(),
    };
    let ready = if status.ready { ", ready" } else { "" };
    format!("{}: {text}{ready}, restarts {}{last}", status.name, status.restart_count)
}

fn action(action: &PodAction) -> String {
    match action {
        PodAction::Tell { event, .. } => format!("> {}: {}", event.reason, event.message),
        PodAction::Start { container, attempt } => format!("> start {container} {attempt}"),
        PodAction::Kill { id, deadline, why, .. } => {
            format!("> kill {id} at {}: {why}", deadline.as_second() - 1_000_000)
        }
        other => format!("> {other:?}"),
    }
}

#[test]
fn volumes_then_sandbox_then_containers() {
    let fresh = case(one("Always")).status(json!({})).sandbox(None).memory(|all| all.volumes_ready = false);
    fresh.check(
        0,
        expect![[r#"
        Pending
        c: waiting ContainerCreating, restarts 0
        true: Initialized PodScheduled
        > SetUpVolumes
    "#]],
    );
    case(one("Always")).sandbox(None).check(
        0,
        expect![[r#"
        Pending
        c: waiting ContainerCreating, restarts 0
        true: Initialized PodScheduled
        > CreateSandbox
    "#]],
    );
    case(one("Always")).check(
        0,
        expect![[r#"
        Pending
        c: waiting ContainerCreating, restarts 0
        true: PodReadyToStartContainers Initialized PodScheduled
        > start c 0
    "#]],
    );
    case(one("Always")).seen("c", 0, running()).check(
        2,
        expect![[r#"
        Running
        c: running, ready, restarts 0
        true: PodReadyToStartContainers Initialized Ready ContainersReady PodScheduled
    "#]],
    );
}

#[test]
fn what_fails_to_be_set_up_is_tried_again_later() {
    let failure = Failure::soon(None, Reason::FailedMount, "no".to_owned(), at(0));
    let failing = case(one("Always")).sandbox(None).memory(|all| {
        all.volumes_ready = false;
        all.setup = Some(failure);
    });
    assert!(failing.decide(0).actions.is_empty());
    assert_eq!(failing.decide(1).actions, [PodAction::SetUpVolumes]);
}

#[test]
fn a_lost_sandbox_is_made_anew() {
    let lost = Some(SandboxSeen { ready: false, address: None });
    let status = json!({"phase": "Running", "containerStatuses": [
        {"name": "c", "image": "i", "imageID": "", "ready": true, "restartCount": 2, "containerID": "kprov://c2", "state": {"running": {}}},
    ]});
    let before = case(one("Always")).status(status.clone()).sandbox(lost);
    assert_eq!(before.decide(9).actions, [PodAction::RemoveSandbox]);
    case(one("Always")).status(status).check(
        9,
        expect![[r#"
        Running
        c: terminated ContainerStatusUnknown 137, restarts 2
        true: PodReadyToStartContainers Initialized PodScheduled
        > start c 3
    "#]],
    );
}

#[test]
fn init_containers_run_one_after_the_other() {
    case(with_init("Always")).check(
        0,
        expect![[r#"
        Pending
        i1: waiting PodInitializing, restarts 0
        i2: waiting PodInitializing, restarts 0
        c: waiting PodInitializing, restarts 0
        true: PodReadyToStartContainers PodScheduled
        > start i1 0
    "#]],
    );
    assert_eq!(case(with_init("Always")).seen("i1", 0, running()).decide(0).actions, []);
    case(with_init("Always")).seen("i1", 0, ended(0, 2)).check(
        2,
        expect![[r#"
        Pending
        i1: terminated Completed 0, ready, restarts 0
        i2: waiting PodInitializing, restarts 0
        c: waiting PodInitializing, restarts 0
        true: PodReadyToStartContainers PodScheduled
        > start i2 0
    "#]],
    );
    case(with_init("Never")).seen("i1", 0, ended(0, 2)).seen("i2", 0, ended(0, 3)).check(
        3,
        expect![[r#"
        Pending
        i1: terminated Completed 0, ready, restarts 0
        i2: terminated Completed 0, ready, restarts 0
        c: waiting PodInitializing, restarts 0
        true: PodReadyToStartContainers Initialized PodScheduled
        > start c 0
    "#]],
    );
}

#[test]
fn a_failed_init_container_ends_the_pod_or_runs_again() {
    case(with_init("Never")).seen("i1", 0, ended(2, 2)).check(
        3,
        expect![[r#"
        Failed
        i1: terminated Error 2, restarts 0
        i2: waiting PodInitializing, restarts 0
        c: waiting PodInitializing, restarts 0
        true: PodReadyToStartContainers PodScheduled
        > RemoveSandbox
        > TearDown { logs: false }
    "#]],
    );
    case(with_init("Always")).seen("i1", 0, ended(2, 2)).check(
        3,
        expect![[r#"
        Pending
        i1: terminated Error 2, restarts 0
        i2: waiting PodInitializing, restarts 0
        c: waiting PodInitializing, restarts 0
        true: PodReadyToStartContainers PodScheduled
        > start i1 1
    "#]],
    );
}

#[test]
fn restart_policies() {
    let starts = |policy: &str, code: i32| {
        let decision = case(one(policy)).seen("c", 0, ended(code, 2)).decide(3);
        decision.actions.contains(&PodAction::Start { container: "c".into(), attempt: 1 })
    };
    assert_eq!([starts("Always", 0), starts("Always", 1)], [true, true]);
    assert_eq!([starts("OnFailure", 0), starts("OnFailure", 1)], [false, true]);
    assert_eq!([starts("Never", 0), starts("Never", 1)], [false, false]);
    case(one("Never")).seen("c", 0, ended(42, 2)).check(
        3,
        expect![[r#"
        Failed
        c: terminated Error 42, restarts 0
        true: PodReadyToStartContainers Initialized PodScheduled
        > RemoveSandbox
        > TearDown { logs: false }
    "#]],
    );
    let over = json!({"phase": "Succeeded", "containerStatuses": [
        {"name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "containerID": "kprov://c0",
         "state": {"terminated": {"exitCode": 0, "reason": "Completed", "containerID": "kprov://c0"}}},
    ]});
    case(one("Never")).status(over).sandbox(None).memory(|all| all.torn_down = true).check(
        9,
        expect![[r#"
        Succeeded
        c: terminated Completed 0, restarts 0
        true: Initialized PodScheduled
    "#]],
    );
}

#[test]
fn a_crashing_container_is_held_back() {
    let back_off = Some(BackOff { delay: Duration::from_secs(10), set_at: at(2) });
    let memory = ContainerMemory { back_off, ..ContainerMemory::default() };
    let crashing = case(one("Always")).seen("c", 0, ended(7, 1)).seen("c", 1, ended(7, 3)).remembers("c", memory);
    crashing.check(
        3,
        expect![[r#"
        Running
        c: terminated Error 7, restarts 1, before 7
        true: PodReadyToStartContainers Initialized PodScheduled
        > BackOff: Back-off restarting failed container c in pod p_n(u)
        again at 13
    "#]],
    );
    crashing.check(
        13,
        expect![[r#"
        Running
        c: waiting CrashLoopBackOff, restarts 1, before 7
        true: PodReadyToStartContainers Initialized PodScheduled
        again at 14
    "#]],
    );
    assert_eq!(crashing.decide(14).actions, [PodAction::Start { container: "c".into(), attempt: 2 }]);
}

#[test]
fn a_start_that_failed_shows_why() {
    let failing = |reason: Reason| {
        let failure = Some(Failure::after(None, reason, "why".to_owned(), at(0)));
        case(one("Always")).remembers("c", ContainerMemory { failure, ..ContainerMemory::default() })
    };
    failing(Reason::ErrImagePull).check(
        1,
        expect![[r#"
        Pending
        c: waiting ErrImagePull, restarts 0
        true: PodReadyToStartContainers Initialized PodScheduled
        again at 2
    "#]],
    );
    failing(Reason::ErrImagePull).check(
        2,
        expect![[r#"
        Pending
        c: waiting ImagePullBackOff, restarts 0
        true: PodReadyToStartContainers Initialized PodScheduled
        again at 10
    "#]],
    );
    assert_eq!(
        failing(Reason::ErrImagePull).decide(10).actions,
        [PodAction::Start { container: "c".into(), attempt: 0 }]
    );
    failing(Reason::RunContainerError).seen("c", 0, ended(128, 0)).check(
        1,
        expect![[r#"
        Running
        c: waiting RunContainerError, restarts 0, before 128
        true: PodReadyToStartContainers Initialized PodScheduled
        again at 10
    "#]],
    );
}

#[test]
fn a_deadline_ends_a_pod() {
    let mut spec = one("Always");
    spec["activeDeadlineSeconds"] = json!(3);
    spec["terminationGracePeriodSeconds"] = json!(2);
    case(spec.clone()).seen("c", 0, running()).check(
        2,
        expect![[r#"
        Running
        c: running, ready, restarts 0
        true: PodReadyToStartContainers Initialized Ready ContainersReady PodScheduled
        again at 3
    "#]],
    );
    case(spec.clone()).seen("c", 0, running()).check(
        3,
        expect![[r#"
        Running
        c: running, ready, restarts 0
        true: PodReadyToStartContainers Initialized Ready ContainersReady PodScheduled
        > DeadlineExceeded: Pod was active on the node longer than the specified deadline
        > kill c0 at 5: Stopping container c
    "#]],
    );
    case(spec).seen("c", 0, ended(0, 4)).memory(|all| _ = all.told.insert("DeadlineExceeded".into())).check(
        4,
        expect![[r#"
        Failed DeadlineExceeded
        c: terminated Completed 0, restarts 0
        true: PodReadyToStartContainers Initialized PodScheduled
        > RemoveSandbox
        > TearDown { logs: false }
    "#]],
    );
}

#[test]
fn a_deletion_stops_removes_and_forgets() {
    let deleted = || case(one("Always")).deleted(10, 12);
    deleted().seen("c", 0, running()).check(
        2,
        expect![[r#"
        Running
        c: running, ready, restarts 0
        true: PodReadyToStartContainers Initialized Ready ContainersReady PodScheduled
        > kill c0 at 12: Stopping container c
    "#]],
    );
    let stopping = |until| move |all: &mut Memory| _ = all.stopping.insert("c0".into(), at(until));
    assert_eq!(deleted().seen("c", 0, running()).memory(stopping(12)).decide(3).actions, []);
    // A shorter grace is heeded.
    assert_eq!(
        case(one("Always")).deleted(1, 4).seen("c", 0, running()).memory(stopping(12)).decide(3).actions.len(),
        1
    );
    deleted().seen("c", 0, ended(0, 3)).check(
        4,
        expect![[r#"
        Running
        c: terminated Completed 0, restarts 0
        true: PodReadyToStartContainers Initialized PodScheduled
        > RemoveSandbox
    "#]],
    );
    let status = json!({"phase": "Running", "containerStatuses": [
        {"name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "containerID": "kprov://c0",
         "state": {"terminated": {"exitCode": 137, "reason": "Error", "containerID": "kprov://c0"}}},
    ]});
    let down = || deleted().status(status.clone()).sandbox(None);
    assert_eq!(down().decide(4).actions, [PodAction::TearDown { logs: true }]);
    down().memory(|all| all.cleared = Some(at(4))).check(
        5,
        expect![[r#"
        Failed
        c: terminated Error 137, restarts 0
        true: Initialized PodScheduled
        > Delete
    "#]],
    );
}

#[test]
fn sidecars_start_first_and_stop_last() {
    assert_eq!(case(with_sidecar()).decide(0).actions, [PodAction::Start { container: "side".into(), attempt: 0 }]);
    let both = || case(with_sidecar()).seen("side", 0, running());
    assert_eq!(both().decide(1).actions, [PodAction::Start { container: "c".into(), attempt: 0 }]);
    both().seen("c", 0, ended(0, 4)).check(
        5,
        expect![[r#"
        Running
        side: running, ready, restarts 0
        c: terminated Completed 0, restarts 0
        true: PodReadyToStartContainers Initialized PodScheduled
        > kill side0 at 35: Stopping container side
    "#]],
    );
    let deleted = both().seen("c", 0, running()).deleted(10, 12).decide(2);
    assert!(matches!(deleted.actions.as_slice(), [PodAction::Kill { id, .. }] if id == "c0"));
    let again = case(with_sidecar()).seen("side", 0, ended(1, 2)).seen("c", 0, running()).decide(5);
    assert_eq!(again.actions, [PodAction::Start { container: "side".into(), attempt: 1 }]);
}

#[test]
fn another_image_restarts_a_container() {
    let facts =
        Facts { id: "c0".into(), reference: "old".into(), image: String::new(), image_id: String::new(), user: None };
    let memory = ContainerMemory { facts: Some(facts), ..ContainerMemory::default() };
    let decision = case(one("Never")).seen("c", 0, running()).remembers("c", memory.clone()).decide(1);
    assert!(matches!(decision.actions.as_slice(), [PodAction::Kill { restart: true, .. }]));
    let restarted = ContainerMemory { restart: true, ..memory };
    let decision = case(one("Never")).seen("c", 0, ended(0, 2)).remembers("c", restarted).decide(2);
    assert_eq!(decision.actions, [PodAction::Start { container: "c".into(), attempt: 1 }]);
}

#[test]
fn an_ephemeral_container_starts_at_once_and_once() {
    let mut spec = with_init("Always");
    spec["ephemeralContainers"] = json!([{"name": "debug", "image": "i"}]);
    case(spec.clone()).seen("i1", 0, running()).check(
        0,
        expect![[r#"
        Pending
        i1: running, restarts 0
        i2: waiting PodInitializing, restarts 0
        c: waiting PodInitializing, restarts 0
        debug: waiting PodInitializing, restarts 0
        true: PodReadyToStartContainers PodScheduled
        > start debug 0
    "#]],
    );
    case(spec.clone()).seen("i1", 0, running()).seen("debug", 0, ended(1, 2)).check(
        3,
        expect![[r#"
        Pending
        i1: running, restarts 0
        i2: waiting PodInitializing, restarts 0
        c: waiting PodInitializing, restarts 0
        debug: terminated Error 1, restarts 0
        true: PodReadyToStartContainers PodScheduled
    "#]],
    );
    case(spec).seen("c", 0, running()).seen("debug", 0, running()).deleted(30, 60).check(
        30,
        expect![[r#"
        Pending
        i1: waiting PodInitializing, restarts 0
        i2: waiting PodInitializing, restarts 0
        c: running, ready, restarts 0
        debug: running, restarts 0
        true: PodReadyToStartContainers Initialized Ready ContainersReady PodScheduled
        > kill c0 at 60: Stopping container c
        > kill debug0 at 60: Stopping container debug
    "#]],
    );
}

#[test]
fn a_running_container_is_resized() {
    let sized = |policy: &str| {
        let mut spec = one("Always");
        spec["containers"][0]["resources"] = json!({"limits": {"cpu": "300m"}});
        spec["containers"][0]["resizePolicy"] = json!([{"resourceName": "cpu", "restartPolicy": policy}]);
        case(spec).status(json!({"phase": "Running", "startTime": at(0).to_string()}))
    };
    sized("NotRequired").seen("c", 0, running()).held(200).check(3, expect![[r#"
        Running
        c: running, ready, restarts 0
        true: PodReadyToStartContainers Initialized Ready ContainersReady PodScheduled PodResizeInProgress
        > ResizeStarted: Pod resize started: {"containers":[{"name":"c","resources":{"limits":{"cpu":"300m"}}}],"generation":1}
        > Resize { id: "c0", container: "c" }
    "#]]);
    let condition = json!({"type": "PodResizeInProgress", "status": "True"});
    let status = json!({"phase": "Running", "startTime": at(0).to_string(), "conditions": [condition]});
    sized("NotRequired").status(status).seen("c", 0, running()).held(300).check(3, expect![[r#"
        Running
        c: running, ready, restarts 0
        true: PodReadyToStartContainers Initialized Ready ContainersReady PodScheduled
        > ResizeCompleted: Pod resize completed: {"containers":[{"name":"c","resources":{"limits":{"cpu":"300m"}}}],"generation":1}
    "#]]);
    let failure = Failure::soon(None, Reason::ResizeError, "busy".into(), at(2));
    let memory =
        ContainerMemory { unsized_for: Some(Failure { retry_at: at(5), ..failure }), ..ContainerMemory::default() };
    let decision = sized("NotRequired").seen("c", 0, running()).held(200).remembers("c", memory).decide(3);
    assert_eq!(decision.recheck_at, Some(at(5)));
    let conditions = decision.status.unwrap().conditions.unwrap();
    let told = conditions.iter().find(|one| one.type_ == "PodResizeInProgress").unwrap();
    assert_eq!((told.reason.as_deref(), told.message.as_deref()), (Some("Error"), Some("busy")));
    sized("RestartContainer").seen("c", 0, running()).held(200).check(3, expect![[r#"
        Running
        c: running, ready, restarts 0
        true: PodReadyToStartContainers Initialized Ready ContainersReady PodScheduled PodResizeInProgress
        > ResizeStarted: Pod resize started: {"containers":[{"name":"c","resources":{"limits":{"cpu":"300m"}}}],"generation":1}
        > kill c0 at 33: Container c resize requires restart
    "#]]);
}

#[test]
fn what_is_not_built_is_refused() {
    let mut spec = one("Always");
    spec["hostUsers"] = json!(false);
    case(spec).check(
        0,
        expect![[r#"
        Pending
        c: waiting CreateContainerConfigError, restarts 0
        true: PodReadyToStartContainers Initialized PodScheduled
        > Failed: Error: spec.hostUsers: false is not supported by this node
    "#]],
    );
    let mut spec = one("Always");
    spec["securityContext"] = json!({"appArmorProfile": {"type": "RuntimeDefault"}});
    case(spec).sandbox(None).memory(|all| all.torn_down = true).check(
        0,
        expect![[r#"
        Failed AppArmor
        true: Initialized PodScheduled
        > AppArmor: Cannot enforce AppArmor: AppArmor is not enabled on the host
    "#]],
    );
}

#[test]
fn readiness_gates_wait_for_others() {
    let mut spec = one("Always");
    spec["readinessGates"] = json!([{"conditionType": "example.com/x"}]);
    let waiting = case(spec.clone()).seen("c", 0, running()).decide(1);
    let ready = |decision: &Decision| {
        let all = decision.status.as_ref().unwrap().conditions.clone().unwrap();
        all.into_iter()
            .find(|one| one.type_ == "Ready")
            .map(|one| (one.status, one.reason.unwrap_or_default()))
            .unwrap()
    };
    assert_eq!(ready(&waiting), ("False".into(), "ReadinessGatesNotReady".into()));
    let set = json!({"phase": "Running", "conditions": [{"type": "example.com/x", "status": "True"}]});
    assert_eq!(ready(&case(spec).status(set).seen("c", 0, running()).decide(1)), ("True".into(), String::new()));
}

/// A container that runs since second 1, with probes of every kind.
fn probed(health: Health) -> Case {
    let probe = |delay: i32| json!({"exec": {"command": ["true"]}, "periodSeconds": 5, "initialDelaySeconds": delay});
    let container = json!({
        "name": "c", "image": "i", "startupProbe": probe(0), "livenessProbe": probe(20), "readinessProbe": probe(0),
    });
    let memory = ContainerMemory { health: Health { id: "c0".into(), ..health }, ..ContainerMemory::default() };
    case(json!({"restartPolicy": "Always", "containers": [container]})).seen("c", 0, running()).remembers("c", memory)
}

fn probes(decision: &Decision) -> Vec<ProbeKind> {
    let kinds = decision.actions.iter().filter_map(|action| match action {
        PodAction::Probe { kind, .. } => Some(*kind),
        _ => None,
    });
    kinds.collect()
}

#[test]
fn probes_wait_for_the_beginning_and_for_each_other() {
    let fresh = probed(Health::default());
    assert_eq!((probes(&fresh.decide(1)), fresh.decide(1).recheck_at), (vec![], Some(at(2))));
    assert_eq!(probes(&fresh.decide(2)), [ProbeKind::Startup]);
    let mut asked = Health::default();
    asked.begin(ProbeKind::Startup, at(2));
    assert_eq!(probes(&probed(asked.clone()).decide(60)), [], "one at a time");
    asked.end(ProbeKind::Startup, Some(false), &Default::default());
    assert_eq!(probed(asked).decide(3).recheck_at, Some(at(7)), "a period later");

    let started = Health { started: true, ..Health::default() };
    assert_eq!(probes(&probed(started.clone()).decide(10)), [ProbeKind::Readiness]);
    assert_eq!(probes(&probed(started.clone()).decide(21)), [ProbeKind::Liveness, ProbeKind::Readiness]);
    let ending = probed(started).deleted(30, 60);
    assert_eq!(probes(&ending.decide(21)), [ProbeKind::Readiness], "what ends is not restarted");
}

#[test]
fn a_probe_that_gives_up_restarts_its_container() {
    let failed = Health { started: true, failed: Some(ProbeKind::Liveness), ..Health::default() };
    let decision = probed(failed).decide(30);
    let kill = decision.actions.iter().find(|action| matches!(action, PodAction::Kill { .. })).unwrap();
    let PodAction::Kill { deadline, why, .. } = kill else { unreachable!() };
    assert_eq!(why, "Container c failed liveness probe, will be restarted");
    assert_eq!(*deadline, at(60));
    assert_eq!(probes(&decision), [ProbeKind::Readiness]);
}

#[test]
fn a_new_agent_believes_the_last_status_until_it_has_asked() {
    let status = |id: &str| {
        let one = json!({"name": "c", "containerID": format!("kprov://{id}"), "ready": true, "started": true,
            "restartCount": 0, "image": "i", "imageID": "i"});
        json!({"phase": "Running", "containerStatuses": [one]})
    };
    let ready = |id: &str| {
        let mut case = probed(Health::default()).status(status(id));
        case.observed.memory.containers.clear();
        case.decide(30).status.unwrap().container_statuses.unwrap()[0].ready
    };
    assert!(ready("c0") && !ready("another"));
}
