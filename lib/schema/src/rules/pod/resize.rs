//! Resizing the containers of a running pod.

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceRequirements};

use super::defaults::Amounts;
use super::pod_resources::{is_sidecar, limits, requests};
use super::{qos, same};
use crate::rules::check::{Errors, Path};
use crate::rules::fields::{list, text};

/// Checks a resize against the old pod; metadata and `spec` themselves are checked elsewhere.
pub(super) fn resize(errors: &mut Errors, new: &Pod, old: &Pod) {
    let at = Path::root("spec");
    let none = PodSpec::default();
    let (after, before) = (new.spec.as_ref().unwrap_or(&none), old.spec.as_ref().unwrap_or(&none));
    let class = |pod: &Pod| pod.status.as_ref().map_or("", |status| text(&status.qos_class)).to_owned();
    let old_class = Some(class(old)).filter(|class| !class.is_empty()).unwrap_or_else(|| qos::class(before).into());
    if old_class != qos::class(after) {
        errors.invalid(&at, class(new), "Pod QOS Class may not change as a result of resizing");
    }
    if !is_supported(old) {
        errors.forbidden(&at, "Pod running on node without support for resize");
    }
    let mut rest = after.clone();
    pod_level(errors, &at, &mut rest, before);
    if !order(errors, &at, after, before) {
        return;
    }
    let init_at = at.child("initContainers");
    for (index, (new, old)) in list(&after.init_containers).iter().zip(list(&before.init_containers)).enumerate() {
        let at = init_at.index(index);
        not_removed(errors, &at.child("resources"), new, old);
    }
    let main_at = at.child("containers");
    for (index, (new, old)) in after.containers.iter().zip(&before.containers).enumerate() {
        let at = main_at.index(index);
        not_removed(errors, &at.child("resources"), new, old);
    }
    let found = errors.count();
    only_resources(errors, &at, &mut rest, before);
    if errors.count() == found && !same(&rest, before) {
        errors.forbidden(&at, "only cpu and memory resources are mutable");
    }
}

/// A node that reports no resources of its running containers cannot resize them.
fn is_supported(pod: &Pod) -> bool {
    let statuses = pod.status.as_ref().map(|status| list(&status.container_statuses)).unwrap_or_default();
    let running = |state: &&k8s_openapi::api::core::v1::ContainerStatus| {
        state.state.as_ref().is_some_and(|state| state.running.is_some())
    };
    statuses.iter().find(running).is_none_or(|status| status.resources.is_some())
}

fn order(errors: &mut Errors, at: &Path<'_>, new: &PodSpec, old: &PodSpec) -> bool {
    let found = errors.count();
    let lists = [
        ("containers", new.containers.as_slice(), old.containers.as_slice()),
        ("initContainers", list(&new.init_containers), list(&old.init_containers)),
    ];
    for (field, new, old) in lists {
        let at = at.child(field);
        if new.len() != old.len() {
            errors.forbidden(&at, &format!("{field} may not be added or removed on resize"));
            continue;
        }
        for (index, _) in new.iter().zip(old).enumerate().filter(|(_, (new, old))| new.name != old.name) {
            let at = at.index(index);
            errors.forbidden(&at.child("name"), &format!("{field} may not be renamed or reordered on resize"));
        }
    }
    errors.count() == found
}

fn not_removed(errors: &mut Errors, at: &Path<'_>, new: &Container, old: &Container) {
    let none = ResourceRequirements::default();
    let (new, old) = (new.resources.as_ref().unwrap_or(&none), old.resources.as_ref().unwrap_or(&none));
    if lacks(requests(new), requests(old)) {
        errors.forbidden(&at.child("requests"), "resource requests cannot be removed");
    }
    if lacks(limits(new), limits(old)) {
        errors.forbidden(&at.child("limits"), "resource limits cannot be removed");
    }
}

fn lacks(new: Option<&Amounts>, old: Option<&Amounts>) -> bool {
    old.into_iter().flatten().any(|(name, _)| new.is_none_or(|new| !new.contains_key(name)))
}

fn pod_level(errors: &mut Errors, at: &Path<'_>, rest: &mut PodSpec, old: &PodSpec) {
    let none = ResourceRequirements::default();
    let (Some(before), at_resources) = (old.resources.as_ref(), at.child("resources")) else {
        if let Some(own) = &mut rest.resources {
            keep_processor_and_memory(own, &none);
        }
        rest.resources = rest.resources.take().filter(|own| !same(own, &none));
        return;
    };
    let Some(own) = &mut rest.resources else {
        errors.forbidden(&at_resources, "pod-level resources cannot be removed");
        return;
    };
    if lacks(requests(own), requests(before)) {
        errors.forbidden(&at_resources.child("requests"), "pod-level resource requests cannot be removed");
    }
    if lacks(limits(own), limits(before)) {
        errors.forbidden(&at_resources.child("limits"), "pod-level resource limits cannot be removed");
    }
    keep_processor_and_memory(own, before);
    if !same(own, before) {
        errors.forbidden(at, "only cpu and memory resources are mutable at pod-level");
    }
}

/// Puts the old amounts of processor and memory back, so that what else differs shows.
fn keep_processor_and_memory(new: &mut ResourceRequirements, old: &ResourceRequirements) {
    let keep = |new: &mut Option<Amounts>, old: &Option<Amounts>| {
        let mut amounts = new.take().unwrap_or_default();
        for name in ["cpu", "memory"] {
            amounts.remove(name);
            if let Some(amount) = old.as_ref().and_then(|old| old.get(name)) {
                amounts.insert(name.to_owned(), amount.clone());
            }
        }
        *new = Some(amounts).filter(|amounts| !amounts.is_empty());
    };
    keep(&mut new.limits, &old.limits);
    keep(&mut new.requests, &old.requests);
}

fn only_resources(errors: &mut Errors, at: &Path<'_>, rest: &mut PodSpec, old: &PodSpec) {
    for (container, old) in rest.containers.iter_mut().zip(&old.containers) {
        keep_container(container, old);
        if !same(container, old) {
            errors.forbidden(at, "only cpu and memory resources are mutable");
        }
    }
    let at = at.child("initContainers");
    let pairs = rest.init_containers.iter_mut().flatten().zip(list(&old.init_containers));
    for (index, (container, old)) in pairs.enumerate() {
        let at = at.index(index);
        let changed = !same(container, old);
        keep_container(container, old);
        if !same(container, old) {
            errors.forbidden(&at, "only cpu and memory resources for init or sidecar containers are mutable");
        }
        let restarts = list(&container.resize_policy).iter().filter(|one| one.restart_policy == "RestartContainer");
        for _ in restarts.take_while(|_| changed && !is_sidecar(old)) {
            let why = "non-sidecar init containers with a resize policy of RestartContainer cannot be resized";
            errors.forbidden(&at, why);
        }
    }
}

fn keep_container(container: &mut Container, old: &Container) {
    let none = ResourceRequirements::default();
    let mut resources = container.resources.take().unwrap_or_default();
    keep_processor_and_memory(&mut resources, old.resources.as_ref().unwrap_or(&none));
    container.resources = Some(ResourceRequirements { claims: None, ..resources });
}
