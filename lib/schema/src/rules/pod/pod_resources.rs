//! Resources of a pod as a whole, beside those of its containers.

use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use super::defaults::Amounts;
use crate::quantity::Quantity;

/// Which of a container's two lists is meant.
type List = fn(&ResourceRequirements) -> Option<&Amounts>;

/// Requests that a resource list holds.
pub(crate) fn requests(resources: &ResourceRequirements) -> Option<&Amounts> {
    resources.requests.as_ref()
}

/// Limits that a resource list holds.
pub(crate) fn limits(resources: &ResourceRequirements) -> Option<&Amounts> {
    resources.limits.as_ref()
}

/// Whether a resource may be given for a pod as a whole.
pub(crate) fn is_supported(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || is_huge_page(name)
}

/// Whether a resource is a size of huge pages.
pub(crate) fn is_huge_page(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// Whether more of a resource may be promised than there is: Kubernetes' own but huge pages.
pub(crate) fn may_overcommit(name: &str) -> bool {
    is_native(name) && !is_huge_page(name)
}

/// Whether a resource's name is one of Kubernetes' own.
pub(crate) fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// Whether an init container runs beside the others.
pub(crate) fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// Fills in a pod's own requests and huge page limits from what its containers ask for.
pub(super) fn fill_defaults(spec: &mut PodSpec) {
    let Some(mut resources) = spec.resources.clone() else { return };
    let filled = |amounts: Option<&Amounts>| amounts.is_some_and(|amounts| !amounts.is_empty());
    if filled(limits(&resources)) || filled(requests(&resources)) {
        let mut own = resources.limits.clone().unwrap_or_default();
        for (name, amount) in aggregate(spec, limits) {
            let requested = requests(&resources).is_some_and(|requests| requests.contains_key(&name));
            if is_huge_page(&name) && !requested {
                own.entry(name).or_insert(amount);
            }
        }
        resources.limits = Some(own).filter(|own| !own.is_empty()).or(resources.limits);
    }
    if filled(limits(&resources)) {
        let mut own = resources.requests.clone().unwrap_or_default();
        for (name, amount) in aggregate(spec, requests) {
            if is_supported(&name) && may_overcommit(&name) {
                own.entry(name).or_insert(amount);
            }
        }
        for (name, amount) in resources.limits.iter().flatten().filter(|(name, _)| is_supported(name)) {
            own.entry(name.clone()).or_insert_with(|| amount.clone());
        }
        resources.requests = Some(own).filter(|own| !own.is_empty()).or(resources.requests);
    }
    spec.resources = Some(resources);
}

/// What a pod requests, or is limited to: what it says of itself wins over what its containers need together.
#[must_use]
pub fn totals(spec: &PodSpec, of_limits: bool) -> std::collections::BTreeMap<String, Quantity> {
    let pick = if of_limits { limits } else { requests };
    let own = spec.resources.as_ref().and_then(pick);
    let of_containers = aggregate(spec, pick);
    let all = of_containers.iter().chain(own.into_iter().flatten());
    all.map(|(name, amount)| (name.clone(), Quantity::from(amount))).collect()
}

/// What all containers need at the worst moment: those that run together summed, or an init container before them.
pub(crate) fn aggregate(spec: &PodSpec, list: List) -> Amounts {
    let mut running = Amounts::new();
    spec.containers.iter().for_each(|container| add(&mut running, amounts(container, list)));
    let (mut sidecars, mut worst) = (Amounts::new(), Amounts::new());
    for container in spec.init_containers.iter().flatten() {
        if is_sidecar(container) {
            add(&mut running, amounts(container, list));
            add(&mut sidecars, amounts(container, list));
            raise(&mut worst, &sidecars);
        } else {
            let mut alone = sidecars.clone();
            add(&mut alone, amounts(container, list));
            raise(&mut worst, &alone);
        }
    }
    raise(&mut running, &worst);
    running
}

fn amounts(container: &Container, list: List) -> Option<&Amounts> {
    container.resources.as_ref().and_then(list)
}

fn add(sums: &mut Amounts, amounts: Option<&Amounts>) {
    for (name, amount) in amounts.into_iter().flatten() {
        let sum = sums.entry(name.clone()).or_insert_with(|| Text("0".to_owned()));
        let mut total = Quantity::from(&*sum);
        total.add(&Quantity::from(amount));
        *sum = Text::from(&total);
    }
}

fn raise(to: &mut Amounts, from: &Amounts) {
    for (name, amount) in from {
        let larger = to.get(name).is_none_or(|old| Quantity::from(old) < Quantity::from(amount));
        if larger {
            to.insert(name.clone(), amount.clone());
        }
    }
}
