//! What `kubectl get pods` prints.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerStateTerminated, ContainerStatus, Pod, PodCondition, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use crate::kind::Column;
use crate::table;

/// The columns of pods.
pub(super) const COLUMNS: &[Column<Pod>] = &[
    table::name(),
    table::text("Ready", "The aggregate readiness state of this pod for accepting traffic.", |pod, _| {
        let summary = Summary::of(pod);
        format!("{}/{}", summary.ready, summary.total).into()
    }),
    table::text("Status", "The aggregate status of the containers in this pod.", |pod, _| {
        Summary::of(pod).reason.into()
    }),
    table::text(
        "Restarts",
        "The number of times the containers in this pod have been restarted and when the last container in this pod \
         has restarted.",
        restarts,
    ),
    table::age(),
    table::wide(
        "IP",
        "podIP address allocated to the pod. Routable at least within the cluster. Empty if not yet allocated.",
        |pod, _| {
            let addresses = pod.status.as_ref().and_then(|status| status.pod_ips.as_ref());
            table::or_none(addresses.and_then(|all| all.first()).map(|first| first.ip.as_str()))
        },
    ),
    table::wide(
        "Node",
        "NodeName indicates in which node this pod is scheduled. If empty, this pod is a candidate for scheduling by \
         the scheduler defined in schedulerName. Once this field is set, the kubelet for this node becomes responsible \
         for the lifecycle of this pod. This field should not be used to express a desire for the pod to be scheduled \
         on a specific node. https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#nodename",
        |pod, _| table::or_none(pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref())),
    ),
    table::wide(
        "Nominated Node",
        "nominatedNodeName is set only when this pod preempts other pods on the node, but it cannot be scheduled right \
         away as preemption victims receive their graceful termination periods. This field does not guarantee that the \
         pod will be scheduled on this node. Scheduler may decide to place the pod elsewhere if other nodes become \
         available sooner. Scheduler may also decide to give the resources on this node to a higher priority pod that \
         is created after preemption. As a result, this field may be different than PodSpec.nodeName when the pod is \
         scheduled.",
        |pod, _| table::or_none(pod.status.as_ref().and_then(|status| status.nominated_node_name.as_deref())),
    ),
    table::wide(
        "Readiness Gates",
        "If specified, all readiness gates will be evaluated for pod readiness. A pod is ready when all its containers \
         are ready AND all conditions specified in the readiness gates have status equal to \"True\" More info: \
         https://git.k8s.io/enhancements/keps/sig-network/580-pod-readiness-gates",
        |pod, _| readiness_gates(pod),
    ),
];

fn restarts(pod: &Pod, now: Timestamp) -> Value {
    let summary = Summary::of(pod);
    match &summary.last_restart {
        Some(last) if summary.restarts != 0 => format!("{} ({} ago)", summary.restarts, table::since(Some(last), now)),
        _ => summary.restarts.to_string(),
    }
    .into()
}

fn readiness_gates(pod: &Pod) -> Value {
    let gates = pod.spec.as_ref().and_then(|spec| spec.readiness_gates.as_deref()).unwrap_or_default();
    if gates.is_empty() {
        return table::NONE.into();
    }
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let met = gates.iter().filter(|gate| is_true(conditions, &gate.condition_type)).count();
    format!("{met}/{}", gates.len()).into()
}

/// Whether the first condition of a type is true.
fn is_true(conditions: &[PodCondition], type_: &str) -> bool {
    conditions.iter().find(|one| one.type_ == type_).is_some_and(|one| one.status == "True")
}

/// What the containers of a pod come to.
#[derive(Default)]
struct Summary {
    total: usize,
    ready: usize,
    restarts: i32,
    last_restart: Option<Time>,
    reason: String,
}

impl Summary {
    fn of(pod: &Pod) -> Self {
        let none = PodStatus::default();
        let status = pod.status.as_ref().unwrap_or(&none);
        let mut summary = Self { reason: phase(status), ..Self::default() };
        let init = init_containers(pod);
        let containers = pod.spec.as_ref().map_or(0, |spec| spec.containers.len());
        summary.total = containers + init.iter().filter(|one| is_sidecar(one)).count();
        let initializing = summary.read_init(init, status);
        let conditions = status.conditions.as_deref().unwrap_or_default();
        if !initializing || is_true(conditions, "Initialized") {
            summary.read_sidecars(init, status);
            summary.read_containers(status, conditions);
        }
        summary.read_deletion(pod, status);
        summary
    }

    fn count(&mut self, container: &ContainerStatus) {
        self.restarts += container.restart_count;
        let ended = container.last_state.as_ref().and_then(|last| last.terminated.as_ref());
        let ended = ended.and_then(|terminated| terminated.finished_at.clone());
        // A missing time sorts before every other.
        self.last_restart = self.last_restart.take().max(ended);
    }

    /// Whether an init container is still to finish; it then decides what is shown.
    fn read_init(&mut self, init: &[Container], status: &PodStatus) -> bool {
        for (at, container) in status.init_container_statuses.iter().flatten().enumerate() {
            self.count(container);
            let state = container.state.clone().unwrap_or_default();
            let sidecar = init.iter().any(|one| one.name == container.name && is_sidecar(one));
            let waiting = state.waiting.and_then(|waiting| waiting.reason).filter(|reason| !reason.is_empty());
            match (state.terminated, waiting) {
                (Some(terminated), _) if terminated.exit_code == 0 => continue,
                _ if sidecar && container.started == Some(true) => {
                    self.ready += usize::from(container.ready);
                    continue;
                }
                (Some(terminated), _) => self.reason = format!("Init:{}", end(&terminated)),
                (None, Some(reason)) if reason != "PodInitializing" => self.reason = format!("Init:{reason}"),
                _ => self.reason = format!("Init:{at}/{}", init.len()),
            }
            return true;
        }
        false
    }

    /// Once initialized, only the restarts of sidecars count.
    fn read_sidecars(&mut self, init: &[Container], status: &PodStatus) {
        self.restarts = 0;
        self.last_restart = None;
        for container in status.init_container_statuses.iter().flatten() {
            if init.iter().any(|one| one.name == container.name && is_sidecar(one)) {
                self.count(container);
            }
        }
    }

    fn read_containers(&mut self, status: &PodStatus, conditions: &[PodCondition]) {
        let mut running = false;
        let mut error = None;
        for container in status.container_statuses.iter().flatten().rev() {
            self.count(container);
            let state = container.state.clone().unwrap_or_default();
            let waiting = state.waiting.and_then(|waiting| waiting.reason).filter(|reason| !reason.is_empty());
            if let Some(reason) = waiting {
                self.reason = reason;
            } else if let Some(terminated) = state.terminated {
                self.reason = end(&terminated);
                if terminated.exit_code != 0 {
                    error = Some(self.reason.clone());
                }
            } else if container.ready && state.running.is_some() {
                running = true;
                self.ready += 1;
            }
        }
        if self.reason == "Completed" {
            match error {
                _ if running && is_true_any(conditions, "Ready") => self.reason = "Running".to_owned(),
                Some(error) => self.reason = error,
                None if running => self.reason = "NotReady".to_owned(),
                None => {}
            }
        }
    }

    fn read_deletion(&mut self, pod: &Pod, status: &PodStatus) {
        if pod.metadata.deletion_timestamp.is_none() {
            return;
        }
        if status.reason.as_deref() == Some("NodeLost") {
            self.reason = "Unknown".to_owned();
        } else if !matches!(status.phase.as_deref(), Some("Failed" | "Succeeded")) {
            self.reason = "Terminating".to_owned();
        }
    }
}

fn is_true_any(conditions: &[PodCondition], type_: &str) -> bool {
    conditions.iter().any(|one| one.type_ == type_ && one.status == "True")
}

fn phase(status: &PodStatus) -> String {
    let gated = |one: &PodCondition| one.type_ == "PodScheduled" && one.reason.as_deref() == Some("SchedulingGated");
    if status.conditions.iter().flatten().any(gated) {
        return "SchedulingGated".to_owned();
    }
    let reason = status.reason.clone().filter(|reason| !reason.is_empty());
    reason.or_else(|| status.phase.clone()).unwrap_or_default()
}

fn end(terminated: &ContainerStateTerminated) -> String {
    match (terminated.reason.as_deref().unwrap_or_default(), terminated.signal.unwrap_or_default()) {
        ("", 0) => format!("ExitCode:{}", terminated.exit_code),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn init_containers(pod: &Pod) -> &[Container] {
    pod.spec.as_ref().and_then(|spec| spec.init_containers.as_deref()).unwrap_or_default()
}

fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// A pod that has ended is marked, so that clients may leave it out.
pub(super) fn conditions(pod: &Pod) -> Vec<Value> {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let message = match phase {
        Some("Succeeded") => "The pod has completed successfully.",
        Some("Failed") => "The pod failed.",
        _ => return Vec::new(),
    };
    vec![json!({"type": "Completed", "status": "True", "reason": phase, "message": message})]
}
