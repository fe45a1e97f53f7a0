//! What pods and pod templates share: their `spec`.

use k8s_openapi::api::core::v1::{PodResourceClaim, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::json;

use super::annotations::MIRROR;
use super::containers::{self, Around};
use super::{Options, affinity, container_resources, env, network, placement, security, volumes, windows};
use crate::names;
use crate::rules::check::{Errors, Path};
use crate::rules::fields::{list, text};

/// Whether pods push others away to get their place.
pub(crate) const PREEMPTION_POLICIES: &[&str] = &["PreemptLowerPriority", "Never"];

/// Checks a `spec`; `pod` is the metadata of the pod, none for a template.
pub(super) fn spec(errors: &mut Errors, at: &Path<'_>, spec: &PodSpec, pod: Option<&ObjectMeta>, options: Options) {
    if spec.termination_grace_period_seconds.is_none() {
        errors.required(&at.child("terminationGracePeriodSeconds"), "");
    }
    let volumes = volumes::volumes(errors, &at.child("volumes"), list(&spec.volumes), pod, options);
    let claims = list(&spec.resource_claims).iter().map(|one| one.name.as_str()).filter(|name| !name.is_empty());
    let around = Around { spec, volumes, claims: claims.collect() };
    resource_claims(errors, &at.child("resourceClaims"), list(&spec.resource_claims), pod);
    containers::containers(errors, &at.child("containers"), &around);
    containers::init_containers(errors, &at.child("initContainers"), &around);
    containers::ephemeral_containers(errors, &at.child("ephemeralContainers"), &around);
    container_resources::pod(errors, at, spec, &around.claims);
    network::host_network(errors, at, spec, options);
    let restart = text(&spec.restart_policy);
    errors.filled_one_of(&at.child("restartPolicy"), restart, &["Always", "OnFailure", "Never"]);
    let dns = text(&spec.dns_policy);
    let policies = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    errors.filled_one_of(&at.child("dnsPolicy"), dns, &policies);
    if let Some(labels) = &spec.node_selector {
        errors.labels(&at.child("nodeSelector"), labels);
    }
    security::pod(errors, &at.child("securityContext"), spec);
    if let Some(wanted) = &spec.affinity {
        affinity::affinity(errors, &at.child("affinity"), wanted, options);
    }
    network::dns(errors, &at.child("dnsConfig"), spec);
    gates(errors, at, spec);
    let constraints = list(&spec.topology_spread_constraints);
    placement::spread(errors, &at.child("topologySpreadConstraints"), constraints, options.lenient_selectors);
    windows::host_processes(errors, at, spec);
    network::host_users(errors, at, spec);
    network::hostname_override(errors, at, spec);
    names_of_others(errors, at, spec);
    rest(errors, at, spec);
}

fn gates(errors: &mut Errors, at: &Path<'_>, spec: &PodSpec) {
    let readiness = at.child("readinessGates");
    for (index, gate) in list(&spec.readiness_gates).iter().enumerate() {
        let at = readiness.index(index);
        errors.all(&at.child("conditionType"), &gate.condition_type, names::qualified(&gate.condition_type));
    }
    placement::gates(errors, &at.child("schedulingGates"), list(&spec.scheduling_gates));
}

fn names_of_others(errors: &mut Errors, at: &Path<'_>, spec: &PodSpec) {
    let subdomains = [("serviceAccountName", text(&spec.service_account_name)), ("nodeName", text(&spec.node_name))];
    for (field, name) in subdomains.iter().filter(|(_, name)| !name.is_empty()) {
        errors.all(&at.child(field), name, names::dns1123_subdomain(name));
    }
    if let Some(seconds) = spec.active_deadline_seconds.filter(|one| !(1..=i64::from(i32::MAX)).contains(one)) {
        let why = "must be between 1 and 2147483647, inclusive";
        errors.invalid(&at.child("activeDeadlineSeconds"), seconds, why);
    }
    let labels = [("hostname", text(&spec.hostname)), ("subdomain", text(&spec.subdomain))];
    for (field, name) in labels.iter().filter(|(_, name)| !name.is_empty()) {
        errors.all(&at.child(field), name, names::dns1123_label(name));
    }
}

fn rest(errors: &mut Errors, at: &Path<'_>, spec: &PodSpec) {
    placement::tolerations(errors, &at.child("tolerations"), list(&spec.tolerations));
    network::host_aliases(errors, &at.child("hostAliases"), spec);
    let class = text(&spec.priority_class_name);
    if !class.is_empty() {
        errors.all(&at.child("priorityClassName"), class, names::dns1123_subdomain(class));
    }
    if let Some(class) = &spec.runtime_class_name {
        errors.all(&at.child("runtimeClassName"), class, names::dns1123_subdomain(class));
    }
    if let Some(policy) = &spec.preemption_policy {
        errors.filled_one_of(&at.child("preemptionPolicy"), policy, PREEMPTION_POLICIES);
    }
    if let Some(overhead) = &spec.overhead {
        container_resources::overhead(errors, &at.child("overhead"), overhead);
    }
    windows::os(errors, at, spec);
    if let Some(group) = &spec.scheduling_group {
        placement::group(errors, &at.child("schedulingGroup"), group);
    }
    env::files(errors, at, spec);
}

fn resource_claims(errors: &mut Errors, at: &Path<'_>, claims: &[PodResourceClaim], pod: Option<&ObjectMeta>) {
    let mirror = pod.is_some_and(|meta| meta.annotations.iter().flatten().any(|(key, _)| key == MIRROR));
    let mut seen = std::collections::BTreeSet::new();
    for (index, claim) in claims.iter().enumerate() {
        let at = at.index(index);
        if mirror {
            errors.forbidden(&Path::root(""), "static pods do not support resource claims");
            continue;
        }
        let name_at = at.child("name");
        if errors.filled(&name_at, &claim.name) {
            if seen.insert(claim.name.as_str()) {
                errors.all(&name_at, &claim.name, names::dns1123_label(&claim.name));
            } else {
                errors.duplicate(&name_at, &claim.name);
            }
        }
        claim_source(errors, &at, claim);
    }
}

fn claim_source(errors: &mut Errors, at: &Path<'_>, claim: &PodResourceClaim) {
    let (name, template) = (&claim.resource_claim_name, &claim.resource_claim_template_name);
    let why = match (name, template) {
        (Some(_), Some(_)) => "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified",
        (None, None) => "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
        _ => "",
    };
    if !why.is_empty() {
        let shown = format!(
            "{{\"Name\":{},\"ResourceClaimName\":{},\"ResourceClaimTemplateName\":{}}}",
            json!(claim.name),
            json!(name),
            json!(template)
        );
        errors.invalid_written(at, &shown, why);
    }
    for (field, name) in [("resourceClaimName", name), ("resourceClaimTemplateName", template)] {
        if let Some(name) = name {
            errors.all(&at.child(field), name, names::dns1123_subdomain(name));
        }
    }
}
