//! What a pod's resource requests and limits mean for its class, its cgroup and the kernel.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use kprov_schema::quantity::Quantity;
use kprov_schema::rules::pod::as_container;

use super::view::Role;
use crate::runtime::Limits;

/// Processes that a pod's container may have; the kernel's own limit for a machine is far above.
const PIDS: u64 = 32_768;

type Amounts = BTreeMap<String, Text>;

/// `Guaranteed`, `Burstable` or `BestEffort`.
///
/// Source: <https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/>
#[must_use]
pub fn qos(pod: &Pod) -> &'static str {
    if let Some(class) = pod.status.as_ref().and_then(|status| status.qos_class.as_deref()) {
        return ["Guaranteed", "Burstable", "BestEffort"].into_iter().find(|one| *one == class).unwrap_or("BestEffort");
    }
    let Some(spec) = &pod.spec else { return "BestEffort" };
    let all: Vec<&Container> = spec.init_containers.iter().flatten().chain(&spec.containers).collect();
    let asks = |container: &&Container| {
        ["cpu", "memory"]
            .iter()
            .any(|name| amount(requests(container), name).is_some() || amount(limits(container), name).is_some())
    };
    let fixed = |container: &&Container| {
        ["cpu", "memory"].iter().all(|name| {
            let limit = amount(limits(container), name);
            limit.is_some() && amount(requests(container), name).or(limit.clone()) == limit
        })
    };
    match (all.iter().any(asks), all.iter().all(fixed)) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

fn requests(container: &Container) -> Option<&Amounts> {
    container.resources.as_ref()?.requests.as_ref()
}

fn limits(container: &Container) -> Option<&Amounts> {
    container.resources.as_ref()?.limits.as_ref()
}

/// The amount of one resource; `None` when it is absent or zero.
fn amount(amounts: Option<&Amounts>, name: &str) -> Option<Quantity> {
    Some(Quantity::from(amounts?.get(name)?)).filter(|amount| !amount.is_zero())
}

/// The sum of what the pod's containers ask for: init containers run alone, so the largest of them counts.
#[must_use]
pub fn pod_requests(pod: &Pod) -> Option<Amounts> {
    let spec = pod.spec.as_ref()?;
    let mut sum: BTreeMap<String, Quantity> = BTreeMap::new();
    let sidecar = |one: &&Container| one.restart_policy.as_deref() == Some("Always");
    let beside = spec.init_containers.iter().flatten().filter(sidecar);
    for (name, text) in spec.containers.iter().chain(beside).filter_map(requests).flatten() {
        sum.entry(name.clone()).or_default().add(&Quantity::from(text));
    }
    let alone = spec.init_containers.iter().flatten().filter(|one| !sidecar(one));
    for (name, text) in alone.filter_map(requests).flatten() {
        let mine = Quantity::from(text);
        let entry = sum.entry(name.clone()).or_default();
        if mine > *entry {
            *entry = mine;
        }
    }
    let texts: Amounts = sum.iter().map(|(name, amount)| (name.clone(), Text::from(amount))).collect();
    Some(texts).filter(|texts| !texts.is_empty())
}

/// Cgroup of a pod below the agent's own, such as `burstable/pod<uid>`.
#[must_use]
pub fn cgroup(pod: &Pod) -> String {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    match qos(pod) {
        "Burstable" => format!("burstable/pod{uid}"),
        "BestEffort" => format!("besteffort/pod{uid}"),
        _ => format!("pod{uid}"),
    }
}

/// What the kernel holds a container to. `memory_bytes` is the machine's memory.
#[must_use]
pub fn kernel_limits(pod: &Pod, container: &Container, memory_bytes: u64) -> Limits {
    let millis = |amounts, name| amount(amounts, name).and_then(|amount| u64::try_from(amount.milli_value()).ok());
    let memory = amount(limits(container), "memory").and_then(|amount| u64::try_from(amount.value()).ok());
    Limits {
        cpu_request_millis: millis(requests(container), "cpu").or(millis(limits(container), "cpu")),
        cpu_limit_millis: millis(limits(container), "cpu"),
        memory_limit_bytes: memory,
        pids: Some(PIDS),
        oom_score_adj: oom_score(pod, container, memory_bytes),
    }
}

/// How early the kernel's out-of-memory killer picks a container: 1000 first, -997 last.
///
/// Source: kubelet `qos.GetContainerOOMScoreAdjust`.
fn oom_score(pod: &Pod, container: &Container, memory_bytes: u64) -> i32 {
    const GUARANTEED: i32 = -997;
    let critical = pod.spec.as_ref().and_then(|spec| spec.priority).is_some_and(|priority| priority >= 2_000_001_000);
    match qos(pod) {
        _ if critical => GUARANTEED,
        "Guaranteed" => GUARANTEED,
        "BestEffort" => 1000,
        _ => {
            let asked = amount(requests(container), "memory").map_or(0, |amount| amount.value());
            let capacity = i64::try_from(memory_bytes).unwrap_or(i64::MAX).max(1);
            let score = 1000 - asked.saturating_mul(1000) / capacity;
            i32::try_from(score.clamp(3, 999)).expect("clamped to three digits")
        }
    }
}

/// The container of a pod by name, with its role.
#[must_use]
pub fn container<'a>(spec: &'a PodSpec, name: &str) -> Option<(Cow<'a, Container>, Role)> {
    containers(spec).find(|(container, _)| container.name == name)
}

/// All containers of a pod with their roles: init containers first, in order, then the main ones, then ephemeral ones.
pub fn containers(spec: &PodSpec) -> impl Iterator<Item = (Cow<'_, Container>, Role)> {
    let inits = spec.init_containers.iter().flatten().map(|one| {
        let sidecar = one.restart_policy.as_deref() == Some("Always");
        (Cow::Borrowed(one), if sidecar { Role::Sidecar } else { Role::Init })
    });
    let mains = spec.containers.iter().map(|one| (Cow::Borrowed(one), Role::Main));
    let late = spec.ephemeral_containers.iter().flatten().map(|one| (Cow::Owned(as_container(one)), Role::Ephemeral));
    inits.chain(mains).chain(late)
}

/// A resource of a container as `resourceFieldRef` asks for it, divided and rounded up.
///
/// A limit that is not set is what the node could give. Errors: a text for the pod's status.
pub fn field(
    container: &Container,
    resource: &str,
    divisor: Option<&Text>,
    node: &NodeAmounts,
) -> Result<String, String> {
    let (kind, name) =
        resource.split_once('.').ok_or_else(|| format!("unsupported container resource : {resource}"))?;
    let own = match kind {
        "limits" => amount(limits(container), name).or_else(|| node.amount(name)),
        "requests" => amount(requests(container), name).or_else(|| amount(limits(container), name)),
        _ => return Err(format!("unsupported container resource : {resource}")),
    };
    let own = own.unwrap_or_default();
    let divisor =
        divisor.map(Quantity::from).filter(|divisor| !divisor.is_zero()).unwrap_or_else(|| Quantity::whole(1));
    let parts = if name == "cpu" {
        divide(own.milli_value(), divisor.milli_value())
    } else {
        divide(own.value(), divisor.value())
    };
    Ok(parts.to_string())
}

fn divide(amount: i64, divisor: i64) -> i64 {
    let divisor = divisor.max(1);
    amount / divisor + i64::from(amount % divisor > 0)
}

/// What a node can give its pods.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeAmounts {
    /// Thousandths of a core.
    pub cpu_millis: i64,
    /// Bytes of memory.
    pub memory_bytes: i64,
    /// Bytes of disk.
    pub disk_bytes: i64,
}

impl NodeAmounts {
    fn amount(&self, name: &str) -> Option<Quantity> {
        match name {
            "cpu" => Some(Quantity::milli(self.cpu_millis)),
            "memory" => Some(Quantity::whole(self.memory_bytes)),
            "ephemeral-storage" => Some(Quantity::whole(self.disk_bytes)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(resources: &Value) -> Pod {
        let spec = json!({"containers": [{"name": "c", "image": "i", "resources": resources}]});
        serde_json::from_value(json!({"metadata": {"uid": "u"}, "spec": spec})).expect("a pod")
    }

    #[test]
    fn classes() {
        let cases = [
            (json!({}), "BestEffort", 1000, "besteffort/podu"),
            (json!({"limits": {"cpu": "1", "memory": "1Gi"}}), "Guaranteed", -997, "podu"),
            (json!({"limits": {"cpu": "1"}}), "Burstable", 999, "burstable/podu"),
            (json!({"requests": {"memory": "512Mi"}}), "Burstable", 500, "burstable/podu"),
        ];
        for (resources, class, score, group) in cases {
            let pod = pod(&resources);
            let spec = pod.spec.as_ref().expect("set above");
            assert_eq!(qos(&pod), class, "{resources}");
            assert_eq!(oom_score(&pod, &spec.containers[0], 1 << 30), score, "{resources}");
            assert_eq!(cgroup(&pod), group);
        }
    }

    #[test]
    fn fields_are_divided_and_rounded_up() {
        let pod = pod(&json!({"limits": {"cpu": "1500m", "memory": "32Mi"}}));
        let spec = pod.spec.as_ref().expect("set above");
        let node = NodeAmounts { cpu_millis: 2000, memory_bytes: 1 << 30, disk_bytes: 7 };
        let cases = [
            ("limits.cpu", None, "2"),
            ("limits.cpu", Some("1m"), "1500"),
            ("requests.memory", Some("1Mi"), "32"),
            ("limits.ephemeral-storage", None, "7"),
            ("requests.ephemeral-storage", None, "0"),
        ];
        for (resource, divisor, wanted) in cases {
            let divisor = divisor.map(|text| Text(text.to_owned()));
            let got = field(&spec.containers[0], resource, divisor.as_ref(), &node);
            assert_eq!(got.as_deref(), Ok(wanted), "{resource}");
        }
        assert!(field(&spec.containers[0], "cpu", None, &node).is_err());
    }
}
