//! What a node may say of a pod.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodSpec, PodStatus};
use serde_json::json;

use crate::names;
use crate::rules::check::{Errors, Path};
use crate::rules::fields::{list, text};

const NOT_AGAIN: &str = "may not be transitioned to non-terminated state";

/// Checks a new status against the old pod.
pub(super) fn update(errors: &mut Errors, new: &Pod, old: &Pod) {
    let at = Path::root("status");
    let (none, no_spec) = (PodStatus::default(), PodSpec::default());
    let (after, before) = (new.status.as_ref().unwrap_or(&none), old.status.as_ref().unwrap_or(&none));
    let spec = old.spec.as_ref().unwrap_or(&no_spec);
    conditions(errors, &at.child("conditions"), after);
    nominated(errors, &at.child("nominatedNodeName"), after, before, spec);
    if let Some(generation) = after.observed_generation.filter(|generation| *generation < 0) {
        errors.invalid(&at.child("observedGeneration"), generation, "must be a non-negative integer");
    }
    if text(&after.qos_class) != text(&before.qos_class) {
        errors.invalid(&at.child("qosClass"), text(&after.qos_class), "field is immutable");
    }
    let lists = [
        ("containerStatuses", &after.container_statuses, &before.container_statuses, spec.containers.as_slice()),
        (
            "initContainerStatuses",
            &after.init_container_statuses,
            &before.init_container_statuses,
            list(&spec.init_containers),
        ),
        ("ephemeralContainerStatuses", &after.ephemeral_container_statuses, &before.ephemeral_container_statuses, &[]),
    ];
    for (field, new, old, containers) in &lists {
        transitions(errors, &at.child(field), (list(new), list(old)), spec, containers);
    }
    claims(errors, &at.child("resourceClaimStatuses"), after, spec);
    addresses(errors, &at, after);
    for (field, statuses, _, _) in &lists {
        users(errors, &at.child(field), list(statuses), spec);
    }
}

fn conditions(errors: &mut Errors, at: &Path<'_>, status: &PodStatus) {
    for (index, condition) in list(&status.conditions).iter().enumerate() {
        let at = at.index(index);
        if let Some(generation) = condition.observed_generation.filter(|generation| *generation < 0) {
            errors.invalid(&at.child("observedGeneration"), generation, "must be a non-negative integer");
        }
        let type_ = condition.type_.as_str();
        if !matches!(type_, "PodScheduled" | "Ready" | "Initialized") {
            errors.all(&at.child("Type"), type_, names::qualified(type_));
        }
    }
}

fn nominated(errors: &mut Errors, at: &Path<'_>, new: &PodStatus, old: &PodStatus, spec: &PodSpec) {
    let node = text(&new.nominated_node_name);
    if node.is_empty() || node == text(&old.nominated_node_name) {
        return;
    }
    errors.all(at, node, names::dns1123_subdomain(node));
    if !text(&spec.node_name).is_empty() {
        errors.forbidden(at, "may not be set on pods that are already bound to a node");
    }
}

/// A container that has ended runs again only where its restart policy says so.
fn transitions(
    errors: &mut Errors,
    at: &Path<'_>,
    (new, old): (&[ContainerStatus], &[ContainerStatus]),
    spec: &PodSpec,
    containers: &[Container],
) {
    let all = spec.containers.iter().chain(list(&spec.init_containers));
    let restarts_all = |container: &Container| {
        list(&container.restart_policy_rules).iter().any(|rule| rule.action == "RestartAllContainers")
    };
    if !containers.is_empty() && all.into_iter().any(restarts_all) {
        return;
    }
    for (index, old) in old.iter().enumerate() {
        let Some(ended) = old.state.as_ref().and_then(|state| state.terminated.as_ref()) else { continue };
        let again = new
            .iter()
            .any(|new| new.name == old.name && new.state.as_ref().is_none_or(|state| state.terminated.is_none()));
        let container = containers.iter().find(|one| one.name == old.name);
        let allowed = container.is_some_and(|container| may_restart(container, spec, ended.exit_code));
        if again && !allowed {
            let at = at.index(index);
            errors.forbidden(&at.child("state"), NOT_AGAIN);
        }
    }
}

/// Whether a container that ended with a code is started again.
fn may_restart(container: &Container, spec: &PodSpec, exit_code: i32) -> bool {
    let by_rule = list(&container.restart_policy_rules).iter().any(|rule| {
        let codes = rule.exit_codes.as_ref();
        codes.is_some_and(|codes| {
            let listed = list(&codes.values).contains(&exit_code);
            (codes.operator == "In" && listed) || (codes.operator == "NotIn" && !listed)
        })
    });
    let of_pod = text(&spec.restart_policy);
    match container.restart_policy.as_deref().unwrap_or(of_pod) {
        _ if by_rule => true,
        "Always" => true,
        "OnFailure" => exit_code != 0,
        _ => false,
    }
}

fn claims(errors: &mut Errors, at: &Path<'_>, status: &PodStatus, spec: &PodSpec) {
    let mut seen = BTreeSet::new();
    for (index, claim) in list(&status.resource_claim_statuses).iter().enumerate() {
        let at = at.index(index);
        let name_at = at.child("name");
        if !list(&spec.resource_claims).iter().any(|one| one.name == claim.name) {
            let why = "must match the name of an entry in `spec.resourceClaims`";
            errors.invalid(&name_at, claim.name.as_str(), why);
        }
        if !seen.insert(claim.name.as_str()) {
            errors.duplicate(&name_at, &claim.name);
        }
        if let Some(name) = &claim.resource_claim_name {
            errors.all(&at.child("resourceClaimName"), name, names::dns1123_subdomain(name));
        }
    }
}

fn addresses(errors: &mut Errors, at: &Path<'_>, status: &PodStatus) {
    let pods: Vec<&str> = list(&status.pod_ips).iter().map(|one| one.ip.as_str()).collect();
    let pods_at = at.child("podIPs");
    for (index, ip) in pods.iter().enumerate() {
        errors.all(&pods_at.index(index), ip, names::ip(ip));
    }
    one_a_family(errors, &pods_at, &pods, json!(status.pod_ips));
    let hosts: Vec<&str> = list(&status.host_ips).iter().map(|one| one.ip.as_str()).collect();
    let hosts_at = at.child("hostIPs");
    if let Some(first) = hosts.first().filter(|first| **first != text(&status.host_ip)) {
        let at = hosts_at.index(0);
        errors.invalid(&at.child("ip"), *first, "must be equal to `hostIP`");
    }
    for (index, ip) in hosts.iter().enumerate() {
        errors.all(&hosts_at.index(index), ip, names::ip(ip));
    }
    one_a_family(errors, &hosts_at, &hosts, json!(status.host_ips));
}

fn one_a_family(errors: &mut Errors, at: &Path<'_>, ips: &[&str], shown: serde_json::Value) {
    if ips.len() < 2 {
        return;
    }
    let families: BTreeSet<bool> = ips.iter().map(|ip| ip.contains(':')).collect();
    if families.len() < 2 || ips.len() > 2 {
        let shown = shown.to_string().replace("\"ip\":", "\"IP\":");
        errors.invalid_written(at, &shown, "may specify no more than one IP for each IP family");
    }
}

fn users(errors: &mut Errors, at: &Path<'_>, statuses: &[ContainerStatus], spec: &PodSpec) {
    let windows = spec.os.as_ref().is_some_and(|os| os.name == "windows");
    for (index, status) in statuses.iter().enumerate() {
        let Some(user) = status.user.as_ref().and_then(|user| user.linux.as_ref()) else { continue };
        let at = at.index(index);
        let at = at.child("user");
        let at = at.child("linux");
        if windows {
            errors.forbidden(&at, "cannot be set for a windows pod");
            continue;
        }
        id(errors, &at.child("uid"), user.uid);
        id(errors, &at.child("gid"), user.gid);
        let groups = at.child("supplementalGroups");
        for (index, group) in list(&user.supplemental_groups).iter().enumerate() {
            id(errors, &groups.index(index), *group);
        }
    }
}

fn id(errors: &mut Errors, at: &Path<'_>, id: i64) {
    if !(0..=i64::from(i32::MAX)).contains(&id) {
        errors.invalid(at, id, "must be between 0 and 2147483647, inclusive");
    }
}
