//! Pods: their number, and what their containers request and are limited to.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodAffinityTerm, PodSpec, ScopedResourceSelectorRequirement};

use super::{Amounts, selects};
use crate::kind::{Subresource, Typed, Write};
use crate::object::Object;
use crate::quantity::Quantity;
use crate::rules::pod::pod_resources::is_native;
use crate::rules::pod::{qos, totals};

pub(super) const NAMES: &[&str] = &[
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
];

/// What every container of a pod must say when a quota counts it.
const MUST_BE_SAID: &[&str] = &["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];
const HUGE_PAGES: &str = "hugepages-";

/// Huge pages, and resources that have a domain.
pub(super) fn is_counted(name: &str) -> bool {
    let requested = name.strip_prefix("requests.");
    name.starts_with(HUGE_PAGES) || requested.is_some_and(|name| name.starts_with(HUGE_PAGES) || !is_native(name))
}

pub(super) fn usage(object: &Object, now: Timestamp) -> Result<Amounts, String> {
    if is_over(object, now) {
        return Ok(Amounts::new());
    }
    let spec = Pod::from_object(object)?.spec.unwrap_or_default();
    let (mut requests, mut limits) = (totals(&spec, false), totals(&spec, true));
    for (name, more) in spec.overhead.iter().flatten() {
        requests.entry(name.clone()).or_default().add(&Quantity::from(more));
        if let Some(limit) = limits.get_mut(name).filter(|limit| !limit.is_zero()) {
            limit.add(&Quantity::from(more));
        }
    }
    let mut usage = named(&requests, &limits);
    usage.insert("pods".to_owned(), Quantity::whole(1));
    Ok(usage)
}

/// Requests and limits under the names by which quotas count them.
fn named(requests: &Amounts, limits: &Amounts) -> Amounts {
    let mut usage = Amounts::new();
    let counted = |name: &str| matches!(name, "cpu" | "memory" | "ephemeral-storage");
    for (name, amount) in requests {
        if counted(name) || name.starts_with(HUGE_PAGES) {
            usage.insert(name.clone(), amount.clone());
            usage.insert(format!("requests.{name}"), amount.clone());
        } else if !is_native(name) {
            usage.insert(format!("requests.{name}"), amount.clone());
        }
    }
    let limited = limits.iter().filter(|(name, _)| counted(name));
    usage.extend(limited.map(|(name, amount)| (format!("limits.{name}"), amount.clone())));
    usage
}

/// Whether it takes nothing any more: it has ended, or should have long ago.
fn is_over(pod: &Object, now: Timestamp) -> bool {
    matches!(pod.text(&["status", "phase"]), Some("Succeeded" | "Failed")) || until(pod).is_some_and(|end| now > end)
}

pub(super) fn until(pod: &Object) -> Option<Timestamp> {
    let at: Timestamp = pod.text(&["metadata", "deletionTimestamp"])?.parse().ok()?;
    let grace = pod.at(&["metadata", "deletionGracePeriodSeconds"])?.as_u64()?;
    at.checked_add(Duration::from_secs(grace)).ok()
}

pub(super) fn lacks(object: &Object, restricted: &BTreeSet<&str>) -> Result<Option<String>, String> {
    let required: Vec<&str> = MUST_BE_SAID.iter().copied().filter(|name| restricted.contains(name)).collect();
    if required.is_empty() {
        return Ok(None);
    }
    let spec = Pod::from_object(object)?.spec.unwrap_or_default();
    if says_of_itself(&spec) {
        return Ok(None);
    }
    let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
        let said = said(container);
        for name in required.iter().filter(|name| !said.contains_key(**name)) {
            missing.entry(name).or_default().insert(&container.name);
        }
    }
    let part = |(name, containers): (&&str, &BTreeSet<&str>)| {
        format!("{name} for: {}", containers.iter().copied().collect::<Vec<_>>().join(","))
    };
    let parts: Vec<String> = missing.iter().map(part).collect();
    Ok((!parts.is_empty()).then(|| format!("must specify {}", parts.join("; "))))
}

fn says_of_itself(spec: &PodSpec) -> bool {
    let resources = spec.resources.as_ref();
    let lists = resources.map(|all| [all.requests.as_ref(), all.limits.as_ref()]);
    lists.into_iter().flatten().flatten().any(|list| !list.is_empty())
}

fn said(container: &Container) -> Amounts {
    let resources = container.resources.as_ref();
    let list = |list: Option<&_>| super::read(list);
    let requests = list(resources.and_then(|all| all.requests.as_ref()));
    named(&requests, &list(resources.and_then(|all| all.limits.as_ref())))
}

/// A deadline more or less moves a pod between scopes; a resize changes what it takes.
pub(super) fn charges(old: &Object, new: &Object, door: Write) -> Result<bool, String> {
    Ok(match door {
        Write::Main => has_deadline(old) != has_deadline(new),
        Write::Other(part) => part == Subresource::Resize,
        Write::Status => false,
    })
}

fn has_deadline(pod: &Object) -> bool {
    pod.at(&["spec", "activeDeadlineSeconds"]).and_then(serde_json::Value::as_i64).is_some_and(|seconds| seconds >= 0)
}

pub(super) fn is_in_scope(scope: &ScopedResourceSelectorRequirement, pod: &Object) -> Result<bool, String> {
    let best_effort = || -> Result<bool, String> {
        let spec = Pod::from_object(pod)?.spec.unwrap_or_default();
        Ok(qos::class(&spec) == "BestEffort")
    };
    Ok(match scope.scope_name.as_str() {
        "Terminating" => has_deadline(pod),
        "NotTerminating" => !has_deadline(pod),
        "BestEffort" => best_effort()?,
        "NotBestEffort" => !best_effort()?,
        "PriorityClass" => selects(scope, pod.text(&["spec", "priorityClassName"]).filter(|name| !name.is_empty())),
        "CrossNamespacePodAffinity" => crosses_namespaces(pod)?,
        _ => false,
    })
}

/// Whether a rule about other pods looks into other namespaces.
fn crosses_namespaces(pod: &Object) -> Result<bool, String> {
    if pod.at(&["spec", "affinity"]).is_none() {
        return Ok(false);
    }
    let crosses = |term: &PodAffinityTerm| {
        term.namespaces.as_ref().is_some_and(|names| !names.is_empty()) || term.namespace_selector.is_some()
    };
    let affinity = Pod::from_object(pod)?.spec.and_then(|spec| spec.affinity).unwrap_or_default();
    let (near, far) = (affinity.pod_affinity.unwrap_or_default(), affinity.pod_anti_affinity.unwrap_or_default());
    let required = [
        near.required_during_scheduling_ignored_during_execution,
        far.required_during_scheduling_ignored_during_execution,
    ];
    let preferred = [
        near.preferred_during_scheduling_ignored_during_execution,
        far.preferred_during_scheduling_ignored_during_execution,
    ];
    Ok(required.iter().flatten().flatten().any(crosses)
        || preferred.iter().flatten().flatten().any(|one| crosses(&one.pod_affinity_term)))
}
