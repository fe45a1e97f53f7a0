//! How much of which resource may be asked for.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{PodSpec, ResourceClaim, ResourceRequirements};

use super::defaults::Amounts;
use super::pod_resources::{aggregate, is_huge_page, is_native, is_supported, limits, may_overcommit, requests};
use crate::names;
use crate::quantity::Quantity;
use crate::rules::check::{Errors, Path};
use crate::rules::fields::{list, text};
use crate::status::FieldErrorKind;

const STANDARD: &[&str] = &[
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
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "storage",
    "requests.storage",
    "services.nodeports",
    "services.loadbalancers",
];

const COUNTED: &[&str] = &[
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];

/// Checks the name of a resource, and whether it may stand where it does.
type NameCheck = fn(&mut Errors, &Path<'_>, &str);

/// Checks the resources of a container.
pub(super) fn requirements(
    errors: &mut Errors,
    at: &Path<'_>,
    resources: &ResourceRequirements,
    claims: &BTreeSet<&str>,
) {
    amounts(errors, at, resources, container_name);
    claim_names(errors, &at.child("claims"), list(&resources.claims), claims);
}

/// Checks the resources that running the pod itself takes.
pub(crate) fn overhead(errors: &mut Errors, at: &Path<'_>, overhead: &Amounts) {
    let resources = ResourceRequirements { limits: Some(overhead.clone()), ..Default::default() };
    amounts(errors, at, &resources, container_name);
}

/// Checks the resources of a pod as a whole.
pub(super) fn pod(errors: &mut Errors, spec_at: &Path<'_>, spec: &PodSpec, claims: &BTreeSet<&str>) {
    let Some(resources) = &spec.resources else { return };
    let at = &spec_at.child("resources");
    if spec.os.as_ref().is_some_and(|os| os.name == "windows") {
        errors.forbidden(at, "may not be set for a windows pod");
        return;
    }
    if resources.claims.is_some() {
        errors.forbidden(&at.child("claims"), "claims may not be set for Resources at pod-level");
    }
    amounts(errors, at, resources, pod_name);
    claim_names(errors, &at.child("claims"), list(&resources.claims), claims);
    consistency(errors, at, spec, resources);
}

fn consistency(errors: &mut Errors, at: &Path<'_>, spec: &PodSpec, resources: &ResourceRequirements) {
    let checks = [
        (at.child("requests"), aggregate(spec, requests), requests(resources), "requests", false),
        (at.child("limits"), aggregate(spec, limits), limits(resources), "limits", true),
    ];
    for (at, sums, own, kind, only_huge) in &checks {
        for (name, sum) in sums.iter().filter(|(name, _)| !only_huge || is_huge_page(name)) {
            let Some(own) = own.and_then(|own| own.get(name)).map(Quantity::from) else { continue };
            let sum = Quantity::from(sum);
            if sum > own {
                let why = format!("must be greater than or equal to aggregate container {kind} of {sum}");
                errors.invalid(&at.key(name), own.to_string(), &why);
            }
        }
    }
    let containers = at.child("containers");
    for (index, container) in spec.containers.iter().enumerate() {
        let at = containers.index(index);
        for (name, limit) in container.resources.as_ref().and_then(limits).into_iter().flatten() {
            let Some(own) = limits(resources).and_then(|own| own.get(name)).map(Quantity::from) else { continue };
            let limit = Quantity::from(limit);
            if limit > own {
                let at = at.key(name);
                let why = format!("must be less than or equal to pod limits of {own}");
                errors.invalid(&at.child("limits"), limit.to_string(), &why);
            }
        }
    }
}

fn amounts(errors: &mut Errors, at: &Path<'_>, resources: &ResourceRequirements, name_check: NameCheck) {
    let (limits_at, requests_at) = (at.child("limits"), at.child("requests"));
    for (name, text) in limits(resources).into_iter().flatten() {
        amount(errors, &limits_at.key(name), name, &Quantity::from(text), name_check);
    }
    for (name, text) in requests(resources).into_iter().flatten() {
        let wanted = Quantity::from(text);
        let at = requests_at.key(name);
        name_check(errors, &at, name);
        quantity(errors, &at, name, &wanted);
        match limits(resources).and_then(|limits| limits.get(name)).map(Quantity::from) {
            Some(limit) if wanted != limit && !may_overcommit(name) => {
                let why = format!("must be equal to {name} limit of {limit}");
                errors.invalid(&requests_at, wanted.to_string(), &why);
            }
            Some(limit) if wanted > limit => {
                let why = format!("must be less than or equal to {name} limit of {limit}");
                errors.invalid(&requests_at, wanted.to_string(), &why);
            }
            None if !may_overcommit(name) => {
                errors.required(&limits_at, "Limit must be set for non overcommitable resources");
            }
            _ => {}
        }
        huge_page(errors, &at, name, &wanted);
    }
    let names: Vec<&String> = limits(resources)
        .into_iter()
        .flatten()
        .chain(requests(resources).into_iter().flatten())
        .map(|(name, _)| name)
        .collect();
    let huge = names.iter().any(|name| is_huge_page(name));
    if huge && !names.iter().any(|name| matches!(name.as_str(), "cpu" | "memory")) {
        errors.forbidden(at, "HugePages require cpu or memory");
    }
}

fn amount(errors: &mut Errors, at: &Path<'_>, name: &str, amount: &Quantity, name_check: NameCheck) {
    name_check(errors, at, name);
    quantity(errors, at, name, amount);
    huge_page(errors, at, name, amount);
}

/// Checks an amount of a resource, whatever it is for.
pub(crate) fn quantity(errors: &mut Errors, at: &Path<'_>, name: &str, amount: &Quantity) {
    if amount.sign() < 0 {
        errors.invalid(at, amount.to_string(), "must be greater than or equal to 0");
    }
    let counted = COUNTED.contains(&name) || (name.contains('/') && is_extended(name));
    if counted && amount.milli_value() % 1000 != 0 {
        errors.invalid(at, amount.to_string(), "must be an integer");
    }
}

fn huge_page(errors: &mut Errors, at: &Path<'_>, name: &str, amount: &Quantity) {
    let Some(size) = name.strip_prefix("hugepages-") else { return };
    let divides = size
        .parse::<Quantity>()
        .ok()
        .and_then(|size| size.as_whole())
        .is_some_and(|size| size > 0 && amount.value() % size == 0);
    if !divides {
        errors.invalid(at, amount.to_string(), &format!("{amount} is not positive integer multiple of {name}"));
    }
}

/// Checks the name of a resource that a container may ask for.
pub(crate) fn container_name(errors: &mut Errors, at: &Path<'_>, name: &str) {
    standard_name(errors, at, name);
    if !name.contains('/') {
        let known = matches!(name, "cpu" | "memory" | "ephemeral-storage") || is_huge_page(name);
        if !known {
            errors.invalid(at, name, "must be a standard resource for containers");
        }
    } else if !is_native(name) && !is_extended(name) {
        errors.invalid(at, name, "doesn't follow extended resource name standard");
    }
}

fn pod_name(errors: &mut Errors, at: &Path<'_>, name: &str) {
    let before = errors.count();
    standard_name(errors, at, name);
    if errors.count() == before && !is_supported(name) {
        errors.not_supported(at, name, &["cpu", "hugepages-", "memory"]);
    }
}

/// Whether a resource is a size of huge pages, or what is requested of them in a namespace.
pub(crate) fn is_counted_huge_page(name: &str) -> bool {
    is_huge_page(name.strip_prefix("requests.").unwrap_or(name))
}

/// Checks the name of a resource: one of Kubernetes' own, or one with a domain.
pub(crate) fn standard_name(errors: &mut Errors, at: &Path<'_>, name: &str) {
    let complaints = names::qualified(name);
    if !complaints.is_empty() {
        errors.all(at, name, complaints);
    } else if !name.contains('/') && !STANDARD.contains(&name) && !is_counted_huge_page(name) {
        errors.invalid(at, name, "must be a standard resource type or fully qualified");
    }
}

pub(crate) fn is_extended(name: &str) -> bool {
    !is_native(name) && !name.starts_with("requests.") && names::qualified(&format!("requests.{name}")).is_empty()
}

fn claim_names(errors: &mut Errors, at: &Path<'_>, claims: &[ResourceClaim], known: &BTreeSet<&str>) {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for (index, claim) in claims.iter().enumerate() {
        let at = at.index(index);
        let name = claim.name.as_str();
        if !errors.filled(&at, name) {
            continue;
        }
        claim_repeats(errors, &at, claim, &mut seen);
        if !known.contains(name) {
            let names: Vec<&str> = known.iter().copied().collect();
            let listed =
                if names.is_empty() { " which is empty".to_owned() } else { format!(": {}", names.join(", ")) };
            let detail = format!("{name:?}: must be one of the names in pod.spec.resourceClaims{listed}");
            errors.extend([crate::status::FieldError::new(FieldErrorKind::NotFound, &at, detail)]);
        }
    }
}

/// The same claim may be used once as a whole or once a request.
fn claim_repeats(errors: &mut Errors, at: &Path<'_>, claim: &ResourceClaim, seen: &mut BTreeSet<String>) {
    let (name, request) = (claim.name.as_str(), text(&claim.request));
    if seen.contains(name) {
        errors.duplicate(at, name);
        return;
    }
    let key = if request.is_empty() { name.to_owned() } else { format!("{name}/{request}") };
    if !request.is_empty() {
        errors.all(&at.child("request"), request, names::dns1123_label(request));
    }
    if seen.contains(&key) {
        errors.duplicate(at, &key);
    } else if request.is_empty() {
        let parts = seen.iter().filter(|one| one.split_once('/').is_some_and(|(whole, _)| whole == name)).count();
        for _ in 0..parts {
            errors.duplicate(at, name);
        }
    }
    seen.insert(key);
}
