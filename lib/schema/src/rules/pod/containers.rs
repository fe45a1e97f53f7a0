//! Which containers a pod may have.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, ContainerRestartRule, EphemeralContainer, PodSpec, Volume};

use super::defaults::as_container;
use super::pod_resources::is_sidecar;
use super::{container_resources, env, mounts, probes, security};
use crate::names;
use crate::rules::check::{Errors, Path};
use crate::rules::fields::{list, text};

/// What the checks of containers know of the pod around them.
pub(super) struct Around<'a> {
    pub(super) spec: &'a PodSpec,
    /// The volumes that nothing is wrong with.
    pub(super) volumes: BTreeMap<&'a str, &'a Volume>,
    pub(super) claims: BTreeSet<&'a str>,
}

impl Around<'_> {
    /// The time that the pod's containers get to end.
    pub(super) fn grace_seconds(&self) -> Option<i64> {
        self.spec.termination_grace_period_seconds
    }

    /// Whether users in containers are those of the node.
    pub(super) fn host_users(&self) -> bool {
        self.spec.host_users.unwrap_or(true)
    }
}

/// Checks the containers proper.
pub(super) fn containers(errors: &mut Errors, at: &Path<'_>, around: &Around<'_>) {
    let containers = &around.spec.containers;
    if containers.is_empty() {
        errors.required(at, "");
    }
    let mut names = BTreeSet::new();
    for (index, container) in containers.iter().enumerate() {
        let at = at.index(index);
        common(errors, &at, container, around);
        if !names.insert(container.name.as_str()) {
            errors.duplicate(&at.child("name"), &container.name);
        }
        probes::container(errors, &at, container, around);
        restart_policy(errors, &at, container);
    }
    host_port_conflicts(errors, at, containers);
}

/// Checks the init containers.
pub(super) fn init_containers(errors: &mut Errors, at: &Path<'_>, around: &Around<'_>) {
    let mut names: BTreeSet<&str> = around.spec.containers.iter().map(|one| one.name.as_str()).collect();
    for (index, container) in list(&around.spec.init_containers).iter().enumerate() {
        let list_at = at;
        let at = at.index(index);
        common(errors, &at, container, around);
        restart_policy(errors, &at, container);
        if names.contains(container.name.as_str()) {
            errors.duplicate(&at.child("name"), &container.name);
        } else if !container.name.is_empty() {
            names.insert(&container.name);
        }
        host_port_conflicts(errors, list_at, std::slice::from_ref(container));
        if is_sidecar(container) {
            probes::container(errors, &at, container, around);
        } else {
            without_probes(errors, &at, container);
        }
    }
}

fn without_probes(errors: &mut Errors, at: &Path<'_>, container: &Container) {
    const WHY: &str = "may not be set for init containers without restartPolicy=Always";
    let set = [
        ("lifecycle", container.lifecycle.is_some()),
        ("livenessProbe", container.liveness_probe.is_some()),
        ("readinessProbe", container.readiness_probe.is_some()),
        ("startupProbe", container.startup_probe.is_some()),
    ];
    for (field, _) in set.iter().filter(|(_, set)| *set) {
        errors.forbidden(&at.child(field), WHY);
    }
    let policies = at.child("resizePolicy");
    for (index, policy) in list(&container.resize_policy).iter().enumerate() {
        if policy.restart_policy == "RestartContainer" {
            let at = policies.index(index);
            let why = "must not be set to 'RestartContainer' for non-sidecar initContainers";
            errors.invalid(&at.child("restartPolicy"), policy.restart_policy.as_str(), why);
        }
    }
}

/// Checks the ephemeral containers.
pub(super) fn ephemeral_containers(errors: &mut Errors, at: &Path<'_>, around: &Around<'_>) {
    let spec = around.spec;
    let others: BTreeSet<&str> =
        spec.containers.iter().chain(list(&spec.init_containers)).map(|one| one.name.as_str()).collect();
    let mut names = others.clone();
    for (index, ephemeral) in list(&spec.ephemeral_containers).iter().enumerate() {
        let at = at.index(index);
        let container = as_container(ephemeral);
        common(errors, &at, &container, around);
        image_padding(errors, &at, &container);
        if !names.insert(&ephemeral.name) {
            errors.duplicate(&at.child("name"), &ephemeral.name);
        }
        let target = text(&ephemeral.target_container_name);
        if !target.is_empty() && !others.contains(target) {
            errors.not_found(&at.child("targetContainerName"), target);
        }
        ephemeral_fields(errors, &at, ephemeral);
    }
}

fn ephemeral_fields(errors: &mut Errors, at: &Path<'_>, container: &EphemeralContainer) {
    const WHY: &str = "cannot be set for an Ephemeral Container";
    let resources = container.resources.clone().unwrap_or_default();
    let set = [
        ("ports", container.ports.is_some()),
        ("resources", resources.limits.is_some() || resources.requests.is_some() || resources.claims.is_some()),
        ("resizePolicy", container.resize_policy.is_some()),
        ("restartPolicy", container.restart_policy.is_some()),
        ("restartPolicyRules", container.restart_policy_rules.is_some()),
        ("livenessProbe", container.liveness_probe.is_some()),
        ("readinessProbe", container.readiness_probe.is_some()),
        ("startupProbe", container.startup_probe.is_some()),
        ("lifecycle", container.lifecycle.is_some()),
    ];
    for (field, _) in set.iter().filter(|(_, set)| *set) {
        errors.forbidden(&at.child(field), WHY);
    }
    let mounts = at.child("volumeMounts");
    for (index, mount) in list(&container.volume_mounts).iter().enumerate() {
        let at = mounts.index(index);
        if !text(&mount.sub_path).is_empty() {
            errors.forbidden(&at.child("subPath"), WHY);
        }
        if !text(&mount.sub_path_expr).is_empty() {
            errors.forbidden(&at.child("subPathExpr"), WHY);
        }
    }
}

/// Checks what all sorts of containers share.
fn common(errors: &mut Errors, at: &Path<'_>, container: &Container, around: &Around<'_>) {
    if errors.filled(&at.child("name"), &container.name) {
        errors.all(&at.child("name"), &container.name, names::dns1123_label(&container.name));
    }
    errors.filled(&at.child("image"), text(&container.image));
    let policy = text(&container.termination_message_policy);
    errors.filled_one_of(&at.child("terminationMessagePolicy"), policy, &["File", "FallbackToLogsOnError"]);
    ports(errors, &at.child("ports"), container);
    env::variables(errors, &at.child("env"), container);
    env::sources(errors, &at.child("envFrom"), container);
    mounts::mounts(errors, &at.child("volumeMounts"), container, around);
    mounts::devices(errors, &at.child("volumeDevices"), container, around);
    pull_policy(errors, &at.child("imagePullPolicy"), text(&container.image_pull_policy));
    let none = k8s_openapi::api::core::v1::ResourceRequirements::default();
    let resources = container.resources.as_ref().unwrap_or(&none);
    container_resources::requirements(errors, &at.child("resources"), resources, &around.claims);
    resize_policies(errors, &at.child("resizePolicy"), container, around);
    security::container(errors, &at.child("securityContext"), container.security_context.as_ref(), around);
}

/// Checks when an image is pulled.
pub(super) fn pull_policy(errors: &mut Errors, at: &Path<'_>, policy: &str) {
    errors.filled_one_of(at, policy, &["Always", "IfNotPresent", "Never"]);
}

/// An image may not have blanks around it.
pub(super) fn image_padding(errors: &mut Errors, at: &Path<'_>, container: &Container) {
    let image = text(&container.image);
    if image.trim() != image {
        errors.invalid(&at.child("image"), image, "must not have leading or trailing whitespace");
    }
}

fn ports(errors: &mut Errors, at: &Path<'_>, container: &Container) {
    let mut names_seen = BTreeSet::new();
    for (index, port) in list(&container.ports).iter().enumerate() {
        let at = at.index(index);
        let name = text(&port.name);
        if !name.is_empty() {
            let complaints = names::port_name(name);
            if !complaints.is_empty() {
                errors.all(&at.child("name"), name, complaints);
            } else if !names_seen.insert(name) {
                errors.duplicate(&at.child("name"), name);
            }
        }
        if port.container_port == 0 {
            errors.required(&at.child("containerPort"), "");
        } else {
            port_number(errors, &at.child("containerPort"), port.container_port);
        }
        if let Some(host) = port.host_port.filter(|host| *host != 0) {
            port_number(errors, &at.child("hostPort"), host);
        }
        errors.protocol(&at.child("protocol"), text(&port.protocol));
    }
}

/// Checks a port's number.
pub(super) fn port_number(errors: &mut Errors, at: &Path<'_>, port: i32) {
    for why in names::port_number(port.into()) {
        errors.invalid(at, port, &why);
    }
}

fn host_port_conflicts(errors: &mut Errors, at: &Path<'_>, containers: &[Container]) {
    let mut taken = BTreeSet::new();
    for (index, container) in containers.iter().enumerate() {
        let at = at.index(index);
        let at = at.child("ports");
        for (index, port) in list(&container.ports).iter().enumerate() {
            let Some(number) = port.host_port.filter(|number| *number != 0) else { continue };
            let name = format!("{}/{}/{number}", text(&port.protocol), text(&port.host_ip));
            if taken.contains(&name) {
                let at = at.index(index);
                errors.duplicate(&at.child("hostPort"), &name);
            }
            taken.insert(name);
        }
    }
}

fn resize_policies(errors: &mut Errors, at: &Path<'_>, container: &Container, around: &Around<'_>) {
    let mut seen = BTreeSet::new();
    for (index, policy) in list(&container.resize_policy).iter().enumerate() {
        if !seen.insert(&policy.resource_name) {
            errors.duplicate(&at.index(index), &policy.resource_name);
        }
        errors.filled_one_of(at, &policy.resource_name, &["cpu", "memory"]);
        errors.filled_one_of(at, &policy.restart_policy, &["NotRequired", "RestartContainer"]);
        if text(&around.spec.restart_policy) == "Never" && policy.restart_policy != "NotRequired" {
            let why = "must be 'NotRequired' when pod `restartPolicy` is 'Never'";
            errors.invalid(at, policy.restart_policy.as_str(), why);
        }
    }
}

fn restart_policy(errors: &mut Errors, at: &Path<'_>, container: &Container) {
    let rules = list(&container.restart_policy_rules);
    match &container.restart_policy {
        Some(policy) => errors.one_of(&at.child("restartPolicy"), policy, &["Always", "Never", "OnFailure"]),
        None if rules.is_empty() => {}
        None => errors.required(&at.child("restartPolicy"), "must specify restartPolicy when restart rules are used"),
    }
    let at = at.child("restartPolicyRules");
    if rules.len() > 20 {
        errors.too_many(&at, rules.len(), 20);
    }
    for (index, rule) in rules.iter().enumerate() {
        restart_rule(errors, &at.index(index), rule);
    }
}

fn restart_rule(errors: &mut Errors, at: &Path<'_>, rule: &ContainerRestartRule) {
    errors.one_of(&at.child("action"), &rule.action, &["Restart", "RestartAllContainers"]);
    let at = at.child("exitCodes");
    let Some(codes) = &rule.exit_codes else {
        errors.required(&at, "must be specified");
        return;
    };
    errors.one_of(&at.child("operator"), &codes.operator, &["In", "NotIn"]);
    if list(&codes.values).len() > 255 {
        errors.too_many(&at.child("values"), list(&codes.values).len(), 255);
    }
}

/// Every container of a pod with its path below `at`: init containers, containers, ephemeral ones.
pub(super) fn visit(spec: &PodSpec, at: &Path<'_>, mut visitor: impl FnMut(&Container, &Path<'_>)) {
    let init = at.child("initContainers");
    for (index, container) in list(&spec.init_containers).iter().enumerate() {
        visitor(container, &init.index(index));
    }
    let main = at.child("containers");
    for (index, container) in spec.containers.iter().enumerate() {
        visitor(container, &main.index(index));
    }
    let ephemeral = at.child("ephemeralContainers");
    for (index, container) in list(&spec.ephemeral_containers).iter().enumerate() {
        visitor(&as_container(container), &ephemeral.index(index));
    }
}
