//! Nodes: the machines that run pods.

use std::collections::BTreeSet;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Node, NodeSpec, NodeStatus, Taint};
use serde_json::{Value, json};

use super::fields::{fill, list, listed, text};
use super::pod::defaults::round_up;
use crate::internal::shown;
use crate::kind::{Column, Rules, Selectable, Subresource, Write};
use crate::meta::{MetaRules, Repeats, all_invalid};
use crate::names;
use crate::quantity::Quantity;
use crate::status::{FieldError, FieldErrorKind, quoted};
use crate::table;

const ADDRESSES: &str = "List of addresses reachable to the node. Queried from cloud provider, if available. More info: \
    https://kubernetes.io/docs/reference/node/node-status/#addresses Note: This field is declared as mergeable, but \
    the merge key is not sufficiently unique, which can cause data corruption when it is merged. Callers should \
    instead use a full-replacement patch. See https://pr.k8s.io/79391 for an example. Consumers should assume that \
    addresses can change during the lifetime of a Node. However, there are some exceptions where this may not be \
    possible, such as Pods that inherit a Node's address in its own status or consumers of the downward API \
    (status.hostIP).";
const ROLE_PREFIX: &str = "node-role.kubernetes.io/";
const ROLE: &str = "kubernetes.io/role";
const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];

impl Rules for Node {
    const META: MetaRules = MetaRules::COMMON.repeating(Repeats::Both);
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::Status];
    const COLUMNS: &'static [Column<Self>] = &[
        table::name(),
        table::text("Status", "The status of the node", |it, _| condition(it).into()),
        table::text("Roles", "The roles of the node", |it, _| roles(it)),
        table::age(),
        table::text("Version", "Kubelet Version reported by the node.", |it, _| info(it, 0).unwrap_or_default().into()),
        table::wide("Internal-IP", ADDRESSES, |it, _| address(it, "InternalIP")),
        table::wide("External-IP", ADDRESSES, |it, _| address(it, "ExternalIP")),
        table::wide(
            "OS-Image",
            "OS Image reported by the node from /etc/os-release (e.g. Debian GNU/Linux 7 (wheezy)).",
            |it, _| info(it, 1).unwrap_or("<unknown>").into(),
        ),
        table::wide(
            "Kernel-Version",
            "Kernel Version reported by the node from 'uname -r' (e.g. 3.16.0-0.bpo.4-amd64).",
            |it, _| kernel(it).into(),
        ),
        table::wide(
            "Container-Runtime",
            "ContainerRuntime Version reported by the node through runtime remote API (e.g. containerd://1.4.2).",
            |it, _| info(it, 3).unwrap_or("<unknown>").into(),
        ),
    ];
    const SELECTABLE: &'static [Selectable] = &[Selectable::truth("spec.unschedulable")];

    fn fill_defaults(&mut self) {
        if let Some(spec) = &mut self.spec {
            one_pod_range(spec);
        }
        if let Some(status) = &mut self.status {
            if status.allocatable.is_none() {
                status.allocatable.clone_from(&status.capacity);
            }
            for amounts in [&mut status.capacity, &mut status.allocatable].into_iter().flatten() {
                round_up(amounts);
            }
        }
    }

    fn prepare(&mut self, old: Option<&Self>, write: Write) {
        match (old, write) {
            (None, _) => {
                self.spec.get_or_insert_default().config_source = None;
                self.status.get_or_insert_default().config = None;
            }
            (Some(old), Write::Status) => self.spec.clone_from(&old.spec),
            (Some(old), _) => {
                self.status.clone_from(&old.status);
                if spec(old).is_none_or(|old| old.config_source.is_none())
                    && let Some(spec) = &mut self.spec
                {
                    spec.config_source = None;
                }
            }
        }
    }

    fn validate(&self, old: Option<&Self>, write: Write) -> Vec<FieldError> {
        let mut errors = Vec::new();
        if write != Write::Status || old.is_none() {
            errors.extend(whole(self));
        }
        if let Some(old) = old {
            errors.extend(update(self, old));
        }
        errors
    }

    fn warnings(&self, _: Option<&Self>) -> Vec<String> {
        let Some(spec) = spec(self) else { return Vec::new() };
        let mut warnings = Vec::new();
        if spec.config_source.is_some() {
            warnings.push(
                "spec.configSource: the feature is no longer supported for Kubernetes 1.22+, use kubelet config files \
                 instead"
                    .to_owned(),
            );
        }
        if !text(&spec.external_id).is_empty() {
            warnings.push("spec.externalID: this field is deprecated, and is unused by Kubernetes".to_owned());
        }
        for (index, range) in list(&spec.pod_cidrs).iter().enumerate() {
            warnings.extend(names::cidr_warnings(&format!("spec.podCIDRs[{index}]"), range));
        }
        warnings
    }
}

/// The older single range and the list say the same thing; where they differ, the single one wins.
fn one_pod_range(spec: &mut NodeSpec) {
    let single = text(&spec.pod_cidr).to_owned();
    let first = list(&spec.pod_cidrs).first().cloned().unwrap_or_default();
    if !single.is_empty() && single != first {
        spec.pod_cidrs = Some(vec![single]);
    } else if single.is_empty() && !first.is_empty() {
        fill(&mut spec.pod_cidr, &first);
    }
}

fn spec(node: &Node) -> Option<&NodeSpec> {
    node.spec.as_ref()
}

fn status(node: &Node) -> Option<&NodeStatus> {
    node.status.as_ref()
}

fn condition(node: &Node) -> String {
    let conditions = status(node).map(|status| list(&status.conditions)).unwrap_or_default();
    let ready = conditions.iter().rfind(|one| one.type_ == "Ready");
    let mut words = vec![match ready {
        Some(ready) if ready.status == "True" => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }];
    if spec(node).is_some_and(|spec| spec.unschedulable == Some(true)) {
        words.push("SchedulingDisabled");
    }
    words.join(",")
}

fn roles(node: &Node) -> Value {
    let labels = node.metadata.labels.iter().flatten();
    let role = |(key, value): (&String, &String)| match key.strip_prefix(ROLE_PREFIX) {
        Some(role) => Some(role.to_owned()),
        None => (key == ROLE).then(|| value.clone()),
    };
    let roles: BTreeSet<String> = labels.filter_map(role).filter(|role| !role.is_empty()).collect();
    table::or_none(Some(&roles.into_iter().collect::<Vec<_>>().join(",")))
}

fn address(node: &Node, kind: &str) -> Value {
    let addresses = status(node).map(|status| list(&status.addresses)).unwrap_or_default();
    addresses.iter().find(|one| one.type_ == kind).map_or(table::NONE, |one| one.address.as_str()).into()
}

/// Kubelet version, OS image, kernel, runtime, architecture of a node, by number; `None` when empty.
fn info(node: &Node, which: usize) -> Option<&str> {
    let info = status(node)?.node_info.as_ref()?;
    let all = [
        &info.kubelet_version,
        &info.os_image,
        &info.kernel_version,
        &info.container_runtime_version,
        &info.architecture,
    ];
    Some(all[which].as_str()).filter(|text| !text.is_empty())
}

fn kernel(node: &Node) -> String {
    let kernel = info(node, 2).unwrap_or("<unknown>");
    info(node, 4).map_or_else(|| kernel.to_owned(), |architecture| format!("{kernel} ({architecture})"))
}

fn whole(node: &Node) -> Vec<FieldError> {
    let mut errors = taints(spec(node).map(|spec| list(&spec.taints)).unwrap_or_default());
    errors.extend(resources(node));
    errors.extend(features(node));
    let ranges = spec(node).map(|spec| list(&spec.pod_cidrs)).unwrap_or_default();
    for (index, range) in ranges.iter().enumerate() {
        errors.extend(all_invalid(&format!("spec.podCIDRs[{index}]"), range, names::cidr(range)));
    }
    if ranges.len() > 1 {
        errors.extend(families(ranges));
    }
    errors
}

fn families(ranges: &[String]) -> Vec<FieldError> {
    const FIELD: &str = "spec.podCIDRs";
    let mut families = BTreeSet::new();
    for range in ranges {
        match names::parse_cidr(range) {
            Some((address, _)) => families.insert(matches!(address, IpAddr::V4(_))),
            None => {
                let why = format!(
                    "invalid PodCIDRs. failed to check with dual stack with error:invalid CIDR address: {range}"
                );
                let broken = FieldError::new(FieldErrorKind::Internal, FIELD, why);
                let why = "may specify no more than one CIDR for each IP family";
                return vec![broken, FieldError::invalid(FIELD, &listed(ranges), why)];
            }
        };
    }
    if families.len() == 2 && ranges.len() == 2 {
        return Vec::new();
    }
    vec![FieldError::invalid(FIELD, &listed(ranges), "may specify no more than one CIDR for each IP family")]
}

fn taints(taints: &[Taint]) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut seen = BTreeSet::new();
    for (index, taint) in taints.iter().enumerate() {
        let at = format!("metadata.taints[{index}]");
        errors.extend(all_invalid(&format!("{at}.key"), &taint.key, names::qualified(&taint.key)));
        let value = text(&taint.value);
        let wrong = names::label_value(value);
        if !wrong.is_empty() {
            errors.push(FieldError::invalid_text(format!("{at}.value"), value, &wrong.join(";")));
        }
        if taint.effect.is_empty() {
            errors.push(FieldError::required(format!("{at}.effect"), ""));
        } else if !EFFECTS.contains(&taint.effect.as_str()) {
            errors.push(FieldError::not_supported(format!("{at}.effect"), &json!(taint.effect), EFFECTS));
        }
        if !seen.insert((&taint.effect, &taint.key)) {
            let shown = format!("{}: taints must be unique by key and effect pair", shown("api.core.v1.Taint", taint));
            errors.push(FieldError::new(FieldErrorKind::Duplicate, at, shown));
        }
    }
    errors
}

fn resources(node: &Node) -> Vec<FieldError> {
    let Some(status) = status(node) else { return Vec::new() };
    let lists = [("capacity", &status.capacity), ("allocatable", &status.allocatable)];
    let mut errors = Vec::new();
    for (list, amounts) in lists {
        for (name, amount) in amounts.iter().flatten() {
            if Quantity::from(amount).sign() < 0 {
                let field = format!("status.{list}.{name}");
                errors.push(FieldError::invalid_text(field, &amount.0, "must be greater than or equal to 0"));
            }
        }
    }
    errors
}

fn features(node: &Node) -> Vec<FieldError> {
    let features = status(node).map(|status| list(&status.declared_features)).unwrap_or_default();
    let mut errors = Vec::new();
    for (index, feature) in features.iter().enumerate() {
        let at = format!("status.declaredFeatures[{index}]");
        if let Some(why) = bad_feature(feature) {
            errors.push(FieldError::invalid_text(at.clone(), feature, &why));
        }
        match index.checked_sub(1).map(|before| features[before].cmp(feature)) {
            Some(std::cmp::Ordering::Equal) => errors.push(FieldError::duplicate(at, &json!(feature))),
            Some(std::cmp::Ordering::Greater) => {
                errors.push(FieldError::invalid_text(at, feature, "list must be sorted alphabetically"));
            }
            _ => {}
        }
    }
    errors
}

fn bad_feature(feature: &str) -> Option<String> {
    let name = format!("invalid feature name {}", quoted(feature));
    if feature.len() > 253 {
        return Some(format!("{name}: must be no more than 253 characters"));
    }
    let mut parts = feature.split('/');
    let fine = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let first = parts.next().is_some_and(|part| fine(part) && part.starts_with(|one: char| one.is_ascii_uppercase()));
    (!(first && parts.all(fine))).then(|| {
        format!(
            "{name}: must start with an UpperCamelCase segment, with subsequent segments separated by '/' (e.g., \
             MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters and slashes"
        )
    })
}

fn update(node: &Node, old: &Node) -> Vec<FieldError> {
    let mut errors = resources(node);
    errors.extend(features(node));
    let addresses = status(node).map(|status| list(&status.addresses)).unwrap_or_default();
    for (index, address) in addresses.iter().enumerate().filter(|(at, one)| addresses[..*at].contains(one)) {
        let shown = format!("{{\"Type\":{},\"Address\":{}}}", json!(address.type_), json!(address.address));
        let field = format!("status.addresses[{index}]");
        errors.push(FieldError::new(FieldErrorKind::Duplicate, field, shown));
    }
    let ranges = |node: &Node| spec(node).map(|spec| list(&spec.pod_cidrs).to_vec()).unwrap_or_default();
    let (had, has) = (ranges(old), ranges(node));
    if !had.is_empty() && had != has {
        let why = "node updates may not change podCIDR except from \"\" to valid";
        errors.push(FieldError::forbidden("spec.podCIDRs", why));
    }
    let provider = |node: &Node| spec(node).map(|spec| text(&spec.provider_id).to_owned()).unwrap_or_default();
    if !provider(old).is_empty() && provider(old) != provider(node) {
        let why = "node updates may not change providerID except from \"\" to valid";
        errors.push(FieldError::forbidden("spec.providerID", why));
    }
    errors.extend(taints(spec(node).map(|spec| list(&spec.taints)).unwrap_or_default()));
    let external = |node: &Node| spec(node).map(|spec| text(&spec.external_id).to_owned()).unwrap_or_default();
    if external(old) != external(node) {
        errors.push(FieldError::forbidden("spec.externalID", "may not be updated"));
    }
    errors
}
