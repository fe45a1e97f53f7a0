//! What a pod's client left out.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EphemeralContainer, HTTPGetAction, Lifecycle, ObjectFieldSelector, Pod, PodSpec,
    PodTemplateSpec, Probe, ResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use super::volume_defaults;
use crate::image;
use crate::quantity::Quantity;

/// A resource list.
pub(crate) type Amounts = BTreeMap<String, Text>;

/// Sets a field that is absent or empty.
pub(crate) fn default_text(field: &mut Option<String>, value: &str) {
    if field.as_deref().unwrap_or_default().is_empty() {
        *field = Some(value.to_owned());
    }
}

/// Sets a number that is absent or zero.
pub(crate) fn default_number(field: &mut Option<i32>, value: i32) {
    if field.unwrap_or_default() == 0 {
        *field = Some(value);
    }
}

/// Fills in a pod.
pub(crate) fn pod(pod: &mut Pod) {
    let spec = pod.spec.get_or_insert_default();
    for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        requests_from_limits(container);
    }
    super::pod_resources::fill_defaults(spec);
    spec.enable_service_links.get_or_insert(true);
    pod_spec(spec);
    if spec.host_network == Some(true) {
        for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
            container.ports.iter_mut().flatten().for_each(host_port);
        }
    }
}

/// Fills in the pod template of a workload.
pub(crate) fn template(template: &mut PodTemplateSpec) {
    pod_spec(template.spec.get_or_insert_default());
}

/// Fills in what pods and templates share.
fn pod_spec(spec: &mut PodSpec) {
    default_text(&mut spec.dns_policy, "ClusterFirst");
    default_text(&mut spec.restart_policy, "Always");
    default_text(&mut spec.scheduler_name, "default-scheduler");
    spec.security_context.get_or_insert_default();
    spec.termination_grace_period_seconds.get_or_insert(30);
    mirror_service_account(spec);
    spec.volumes.iter_mut().flatten().for_each(volume_defaults::volume);
    spec.init_containers.iter_mut().flatten().for_each(container);
    spec.containers.iter_mut().for_each(container);
    for ephemeral in spec.ephemeral_containers.iter_mut().flatten() {
        let mut common = as_container(ephemeral);
        container(&mut common);
        set_common(ephemeral, common);
    }
    for amounts in spec.overhead.iter_mut().chain(resource_lists(&mut spec.resources)) {
        round_up(amounts);
    }
}

/// The old name of `serviceAccountName` counts when the new one is not set, and follows it always.
pub(crate) fn mirror_service_account(spec: &mut PodSpec) {
    let name = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let account = name(&spec.service_account_name).or_else(|| name(&spec.service_account));
    spec.service_account_name.clone_from(&account);
    spec.service_account = account;
}

fn container(container: &mut Container) {
    let latest = image::parse(container.image.as_deref().unwrap_or_default())
        .is_some_and(|image| image.tag.as_deref() == Some("latest"));
    default_text(&mut container.image_pull_policy, if latest { "Always" } else { "IfNotPresent" });
    default_text(&mut container.termination_message_path, "/dev/termination-log");
    default_text(&mut container.termination_message_policy, "File");
    container.ports.iter_mut().flatten().for_each(|port| default_text(&mut port.protocol, "TCP"));
    for source in container.env.iter_mut().flatten().filter_map(|env| env.value_from.as_mut()) {
        source.field_ref.iter_mut().for_each(field_selector);
        source.file_key_ref.iter_mut().for_each(|file| {
            file.optional.get_or_insert(false);
        });
    }
    resource_lists(&mut container.resources).for_each(round_up);
    let probes = [&mut container.liveness_probe, &mut container.readiness_probe, &mut container.startup_probe];
    probes.into_iter().flatten().for_each(probe);
    container.lifecycle.iter_mut().for_each(lifecycle);
}

fn probe(probe: &mut Probe) {
    default_number(&mut probe.timeout_seconds, 1);
    default_number(&mut probe.period_seconds, 10);
    default_number(&mut probe.success_threshold, 1);
    default_number(&mut probe.failure_threshold, 3);
    probe.http_get.iter_mut().for_each(http_get);
    if let Some(grpc) = &mut probe.grpc {
        grpc.service.get_or_insert_default();
    }
}

fn http_get(action: &mut HTTPGetAction) {
    default_text(&mut action.path, "/");
    default_text(&mut action.scheme, "HTTP");
}

fn lifecycle(lifecycle: &mut Lifecycle) {
    for handler in [&mut lifecycle.post_start, &mut lifecycle.pre_stop].into_iter().flatten() {
        handler.http_get.iter_mut().for_each(http_get);
    }
}

pub(super) fn field_selector(selector: &mut ObjectFieldSelector) {
    default_text(&mut selector.api_version, "v1");
}

fn host_port(port: &mut ContainerPort) {
    default_number(&mut port.host_port, port.container_port);
}

fn requests_from_limits(container: &mut Container) {
    let Some(resources) = &mut container.resources else { return };
    let Some(limits) = &resources.limits else { return };
    let requests = resources.requests.get_or_insert_default();
    for (name, limit) in limits {
        requests.entry(name.clone()).or_insert_with(|| limit.clone());
    }
}

fn resource_lists(resources: &mut Option<ResourceRequirements>) -> impl Iterator<Item = &mut Amounts> {
    resources.iter_mut().flat_map(|one| one.limits.iter_mut().chain(&mut one.requests))
}

/// Nothing finer than a thousandth of a resource is counted.
pub(crate) fn round_up(amounts: &mut Amounts) {
    for text in amounts.values_mut() {
        let mut quantity = Quantity::from(&*text);
        if !quantity.is_whole_millis() {
            quantity.round_up_to_milli();
            *text = Text::from(&quantity);
        }
    }
}

/// An ephemeral container as the container that it mostly is.
#[must_use]
pub fn as_container(from: &EphemeralContainer) -> Container {
    let from = from.clone();
    Container {
        args: from.args,
        command: from.command,
        env: from.env,
        env_from: from.env_from,
        image: from.image,
        image_pull_policy: from.image_pull_policy,
        lifecycle: from.lifecycle,
        liveness_probe: from.liveness_probe,
        name: from.name,
        ports: from.ports,
        readiness_probe: from.readiness_probe,
        resize_policy: from.resize_policy,
        resources: from.resources,
        restart_policy: from.restart_policy,
        restart_policy_rules: from.restart_policy_rules,
        security_context: from.security_context,
        startup_probe: from.startup_probe,
        stdin: from.stdin,
        stdin_once: from.stdin_once,
        termination_message_path: from.termination_message_path,
        termination_message_policy: from.termination_message_policy,
        tty: from.tty,
        volume_devices: from.volume_devices,
        volume_mounts: from.volume_mounts,
        working_dir: from.working_dir,
    }
}

/// Takes over the fields that defaults touch.
fn set_common(to: &mut EphemeralContainer, from: Container) {
    to.env = from.env;
    to.image_pull_policy = from.image_pull_policy;
    to.lifecycle = from.lifecycle;
    to.liveness_probe = from.liveness_probe;
    to.ports = from.ports;
    to.readiness_probe = from.readiness_probe;
    to.resources = from.resources;
    to.startup_probe = from.startup_probe;
    to.termination_message_path = from.termination_message_path;
    to.termination_message_policy = from.termination_message_policy;
}
