//! What a pod is advised against, though it may have it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, NodeSelectorTerm, Pod, PodAffinityTerm, PodSpec, PodTemplateSpec, Volume,
    WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use super::annotations::{APP_ARMOR, Annotations, SECCOMP_CONTAINER, SECCOMP_POD, app_armor_field};
use super::containers::visit;
use super::defaults::Amounts;
use super::overlaps;
use crate::names;
use crate::quantity::Quantity;
use crate::rules::check::Path;
use crate::rules::claim;
use crate::rules::fields::{list, text};
use crate::status::quoted;

const DEPRECATED_LABELS: &[(&str, &str)] = &[
    ("beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"),
    ("beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    ("failure-domain.beta.kubernetes.io/zone", "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"),
    ("beta.kubernetes.io/instance-type", "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead"),
    ("app.kubernetes.io/created-by", "deprecated since v1.9"),
    ("scheduler.alpha.kubernetes.io/preferAvoidPods", "deprecated since v1.22; use Taints and Tolerations instead"),
    ("node-role.kubernetes.io/master", "use \"node-role.kubernetes.io/control-plane\" instead"),
];

const DEPRECATED_ANNOTATIONS: &[(&str, &str)] = &[
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "non-functional in v1.16+; use the \"priorityClassName\" field instead",
    ),
    ("security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
    ("security.alpha.kubernetes.io/unsafe-sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
];

/// Why a label of nodes should not be used any more.
pub(crate) fn deprecated_label(key: &str) -> Option<&'static str> {
    DEPRECATED_LABELS.iter().find(|(label, _)| *label == key).map(|(_, why)| *why)
}

/// Advice about a new pod, or about the addresses in a new status.
pub(super) fn pod(pod: &Pod, old: Option<&Pod>) -> Vec<String> {
    if old.is_some() {
        return addresses(pod);
    }
    let mut warnings = Vec::new();
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let complaints = names::dns1123_label(name);
    if !complaints.is_empty() {
        warnings.push(format!(
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label \
             is recommended: [{}]",
            complaints.join(" ")
        ));
    }
    let metadata = Path::root("metadata");
    if let Some(spec) = &pod.spec {
        all(&mut warnings, &metadata, &Path::root("spec"), spec, &pod.metadata, false);
    }
    warnings
}

/// Advice about the template of a workload at `at`.
pub(crate) fn template(at: &Path<'_>, template: &PodTemplateSpec) -> Vec<String> {
    let mut warnings = Vec::new();
    let metadata = template.metadata.clone().unwrap_or_default();
    if let Some(spec) = &template.spec {
        all(&mut warnings, &at.child("metadata"), &at.child("spec"), spec, &metadata, true);
    }
    warnings
}

/// Advice about the name of a workload, from which its pods get theirs.
pub(crate) fn workload_name(name: &str) -> Option<String> {
    let complaints = names::dns1123_label(name);
    (!complaints.is_empty()).then(|| {
        format!(
            "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS \
             label is recommended: [{}]",
            complaints.join(" ")
        )
    })
}

fn addresses(pod: &Pod) -> Vec<String> {
    let Some(status) = &pod.status else { return Vec::new() };
    let pods = list(&status.pod_ips).iter().map(|one| ("podIPs", &one.ip)).enumerate();
    let hosts = list(&status.host_ips).iter().map(|one| ("hostIPs", &one.ip)).enumerate();
    pods.chain(hosts)
        .filter_map(|(index, (field, ip))| names::ip_warning(&format!("status.{field}[{index}].ip"), ip))
        .collect()
}

fn all(
    warnings: &mut Vec<String>,
    metadata_at: &Path<'_>,
    at: &Path<'_>,
    spec: &PodSpec,
    metadata: &ObjectMeta,
    of_template: bool,
) {
    let none = Annotations::new();
    let annotations = metadata.annotations.as_ref().unwrap_or(&none);
    let annotations_at = metadata_at.child("annotations");
    nodes(warnings, at, spec);
    for (key, why) in DEPRECATED_ANNOTATIONS.iter().filter(|(key, _)| annotations.contains_key(*key)) {
        warnings.push(format!("{}: {why}", annotations_at.key(key)));
    }
    let volumes = at.child("volumes");
    for (index, one) in list(&spec.volumes).iter().enumerate() {
        volume(warnings, &volumes.index(index), one);
    }
    warnings.extend(overlaps::warnings(list(&spec.volumes)));
    repeats(warnings, at, spec);
    fractions(warnings, &at.child("overhead"), spec.overhead.as_ref(), &["memory", "ephemeral-storage"]);
    let seccomp = spec.security_context.as_ref().is_some_and(|context| context.seccomp_profile.is_some());
    if !seccomp && annotations.contains_key(SECCOMP_POD) {
        warnings.push(seccomp_annotation(&annotations_at.key(SECCOMP_POD)));
    }
    visit(spec, at, |one, at| {
        container_annotations(warnings, &annotations_at, one, spec, annotations, of_template);
        container(warnings, at, one);
    });
    ports(warnings, at, spec);
    if spec.termination_grace_period_seconds.is_some_and(|seconds| seconds < 0) {
        let at = at.child("terminationGracePeriodSeconds");
        warnings.push(format!("{at}: must be >= 0; negative values are invalid and will be treated as 1"));
    }
    other_pods(warnings, at, spec);
    written_addresses(warnings, at, spec);
}

fn nodes(warnings: &mut Vec<String>, at: &Path<'_>, spec: &PodSpec) {
    let selector = at.child("nodeSelector");
    for (key, _) in spec.node_selector.iter().flatten() {
        if let Some(why) = deprecated_label(key) {
            warnings.push(format!("{}: {why}", selector.key(key)));
        }
    }
    let affinity_at = at.child("affinity");
    let node_at = affinity_at.child("nodeAffinity");
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required = affinity.and_then(|one| one.required_during_scheduling_ignored_during_execution.as_ref());
    let required_at = node_at.child("requiredDuringSchedulingIgnoredDuringExecution");
    let terms_at = required_at.child("nodeSelectorTerms");
    for (index, term) in required.map(|one| one.node_selector_terms.iter()).into_iter().flatten().enumerate() {
        node_term(warnings, &terms_at.index(index), term, false);
    }
    let preferred = affinity.map(|one| list(&one.preferred_during_scheduling_ignored_during_execution));
    let preferred_at = node_at.child("preferredDuringSchedulingIgnoredDuringExecution");
    for (index, term) in preferred.unwrap_or_default().iter().enumerate() {
        let at = preferred_at.index(index);
        node_term(warnings, &at.child("preference"), &term.preference, true);
    }
    let constraints_at = at.child("topologySpreadConstraints");
    for (index, constraint) in list(&spec.topology_spread_constraints).iter().enumerate() {
        let at = constraints_at.index(index);
        if let Some(why) = deprecated_label(&constraint.topology_key) {
            warnings.push(format!("{}: {} is {why}", at.child("topologyKey"), constraint.topology_key));
        }
        if constraint.label_selector.is_none() {
            warnings.push(no_selector(&at.child("labelSelector")));
        }
    }
}

fn no_selector(at: &Path<'_>) -> String {
    format!("{at}: a null labelSelector results in matching no pod")
}

/// Advice about the labels of nodes that a term asks for, and their values if `with_values`.
pub(crate) fn node_term(warnings: &mut Vec<String>, at: &Path<'_>, term: &NodeSelectorTerm, with_values: bool) {
    let expressions = at.child("matchExpressions");
    for (index, one) in list(&term.match_expressions).iter().enumerate() {
        let at = expressions.index(index);
        if let Some(why) = deprecated_label(&one.key) {
            warnings.push(format!("{}: {} is {why}", at.child("key"), one.key));
        }
        let values = at.child("values");
        for (index, value) in list(&one.values).iter().enumerate().filter(|_| with_values) {
            for why in names::label_value(value) {
                warnings.push(format!("{}: {value} is invalid, {why}", values.index(index)));
            }
        }
    }
}

/// Advice about the labels of nodes that a label selector asks for.
pub(crate) fn node_labels(at: &Path<'_>, selector: &LabelSelector) -> Vec<String> {
    let expressions = at.child("matchExpressions");
    let of_expressions = list(&selector.match_expressions).iter().enumerate().filter_map(|(index, one)| {
        let why = deprecated_label(&one.key)?;
        Some(format!("{}: {} is {why}", expressions.index(index).child("key"), one.key))
    });
    let labels = at.child("matchLabels");
    let of_labels = selector.match_labels.iter().flatten().filter_map(|(label, _)| {
        let why = deprecated_label(label)?;
        Some(format!("{}: {why}", labels.child(label)))
    });
    of_expressions.chain(of_labels).collect()
}

fn volume(warnings: &mut Vec<String>, at: &Path<'_>, volume: &Volume) {
    let gone = [
        (
            "photonPersistentDisk",
            volume.photon_persistent_disk.is_some(),
            "deprecated in v1.11, non-functional in v1.16+",
        ),
        ("gitRepo", volume.git_repo.is_some(), "deprecated in v1.11, and disabled by default in v1.33+"),
        ("scaleIO", volume.scale_io.is_some(), "deprecated in v1.16, non-functional in v1.22+"),
        ("flocker", volume.flocker.is_some(), "deprecated in v1.22, non-functional in v1.25+"),
        ("storageOS", volume.storageos.is_some(), "deprecated in v1.22, non-functional in v1.25+"),
        ("quobyte", volume.quobyte.is_some(), "deprecated in v1.22, non-functional in v1.25+"),
        ("glusterfs", volume.glusterfs.is_some(), "deprecated in v1.25, non-functional in v1.26+"),
    ];
    for (field, _, why) in gone.iter().filter(|(_, set, _)| *set) {
        warnings.push(format!("{}: {why}", at.child(field)));
    }
    if let Some(template) = volume.ephemeral.as_ref().and_then(|one| one.volume_claim_template.as_ref()) {
        let at = at.child("ephemeral");
        let at = at.child("volumeClaimTemplate");
        warnings.extend(claim::warnings(&at.child("spec"), Some(&template.spec)));
    }
    let gone = [("cephfs", volume.cephfs.is_some()), ("rbd", volume.rbd.is_some())];
    for (field, _) in gone.iter().filter(|(_, set)| *set) {
        warnings.push(format!("{}: deprecated in v1.28, non-functional in v1.31+", at.child(field)));
    }
}

fn repeats(warnings: &mut Vec<String>, at: &Path<'_>, spec: &PodSpec) {
    let aliases = at.child("hostAliases");
    let ips: Vec<&str> = list(&spec.host_aliases).iter().map(|one| one.ip.as_str()).collect();
    for (index, ip) in ips.iter().enumerate().filter(|(index, ip)| ips[..*index].contains(ip)) {
        let at = aliases.index(index);
        warnings.push(format!("{}: duplicate ip {}", at.child("ip"), quoted(ip)));
    }
    let secrets = at.child("imagePullSecrets");
    let names: Vec<&str> = list(&spec.image_pull_secrets).iter().map(|one| one.name.as_str()).collect();
    for (index, name) in names.iter().enumerate().filter(|(index, name)| names[..*index].contains(name)) {
        let at = secrets.index(index);
        warnings.push(format!("{}: duplicate name {}", at.child("name"), quoted(name)));
    }
    for (index, _) in names.iter().enumerate().filter(|(_, name)| name.is_empty()) {
        let at = secrets.index(index);
        warnings.push(format!("{}: invalid empty name \"\"", at.child("name")));
    }
}

/// Bytes come whole.
pub(crate) fn fractions(warnings: &mut Vec<String>, at: &Path<'_>, amounts: Option<&Amounts>, names: &[&str]) {
    for name in names {
        let Some(amount) = amounts.and_then(|amounts| amounts.get(*name)).map(Quantity::from) else { continue };
        if amount.milli_value() % 1000 != 0 {
            let at = at.key(name);
            warnings.push(format!("{at}: fractional byte value \"{amount}\" is invalid, must be an integer"));
        }
    }
}

fn seccomp_annotation(at: &Path<'_>) -> String {
    format!("{at}: non-functional in v1.27+; use the \"seccompProfile\" field instead")
}

fn container_annotations(
    warnings: &mut Vec<String>,
    at: &Path<'_>,
    container: &Container,
    spec: &PodSpec,
    annotations: &Annotations,
    of_template: bool,
) {
    let context = container.security_context.as_ref();
    let key = format!("{SECCOMP_CONTAINER}{}", container.name);
    if context.is_none_or(|context| context.seccomp_profile.is_none()) && annotations.contains_key(&key) {
        warnings.push(seccomp_annotation(&at.key(&key)));
    }
    let key = format!("{APP_ARMOR}{}", container.name);
    let Some(annotation) = annotations.get(&key) else { return };
    let of_pod = spec.security_context.as_ref().and_then(|context| context.app_armor_profile.as_ref());
    let of_container = context.and_then(|context| context.app_armor_profile.as_ref());
    let asked = app_armor_field(annotation);
    // A pod's annotations have been taken over into its fields by now, a template's have not.
    let warned = match (of_container, &asked) {
        (Some(field), Some(asked)) if !of_template => field == asked && of_pod != Some(asked),
        (Some(_), _) => false,
        (None, asked) => of_pod.is_none() || of_pod != asked.as_ref(),
    };
    if warned {
        warnings.push(format!("{}: deprecated since v1.30; use the \"appArmorProfile\" field instead", at.key(&key)));
    }
}

fn container(warnings: &mut Vec<String>, at: &Path<'_>, container: &Container) {
    let resources_at = at.child("resources");
    let resources = container.resources.clone().unwrap_or_default();
    for name in ["memory", "ephemeral-storage"] {
        fractions(warnings, &resources_at.child("limits"), resources.limits.as_ref(), &[name]);
        fractions(warnings, &resources_at.child("requests"), resources.requests.as_ref(), &[name]);
    }
    let variables_at = at.child("env");
    let variables = list(&container.env);
    for (index, variable) in variables.iter().enumerate() {
        let seen = variables[..index].iter().any(|other| other.name == variable.name);
        let reference = format!("$({})", variable.name);
        let value = text(&variable.value);
        // A value that builds upon the earlier one needs both.
        let extends = variable.value_from.is_none() && value != reference && value.contains(&reference);
        if seen && !extends {
            warnings.push(format!(
                "{}: hides previous definition of {}, which may be dropped when using apply",
                variables_at.index(index),
                quoted(&variable.name)
            ));
        }
    }
}

fn ports(warnings: &mut Vec<String>, at: &Path<'_>, spec: &PodSpec) {
    let mut known: BTreeMap<(i32, String), Vec<(String, ContainerPort)>> = BTreeMap::new();
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    let mut by_name = Vec::new();
    visit(spec, at, |container, at| {
        let ports_at = at.child("ports");
        for (index, port) in list(&container.ports).iter().enumerate() {
            let at = ports_at.index(index).to_string();
            let others = known.entry((port.container_port, text(&port.protocol).to_owned())).or_default();
            if !text(&port.host_ip).is_empty() && port.host_port.unwrap_or_default() == 0 {
                warnings.push(format!("{at}: hostIP set without hostPort: {}", written(port)));
            }
            warnings.extend(others.iter().filter_map(|(other_at, other)| clash(&at, port, other_at, other)));
            others.push((at.clone(), port.clone()));
            let name = text(&port.name);
            if let Some(other) = names.get(name) {
                by_name.push(format!(
                    "{at}: duplicate port name {} with {other}, services and probes that select ports by name will \
                     use {other}",
                    quoted(name)
                ));
            } else if !name.is_empty() {
                names.insert(name.to_owned(), at);
            }
        }
    });
    warnings.extend(by_name);
}

fn written(port: &ContainerPort) -> String {
    format!(
        "{{Name:{} HostPort:{} ContainerPort:{} Protocol:{} HostIP:{}}}",
        text(&port.name),
        port.host_port.unwrap_or_default(),
        port.container_port,
        text(&port.protocol),
        text(&port.host_ip)
    )
}

fn clash(at: &str, port: &ContainerPort, other_at: &str, other: &ContainerPort) -> Option<String> {
    let ip = |port: &ContainerPort| text(&port.host_ip).to_owned();
    let (number, other_number) = (port.host_port.unwrap_or_default(), other.host_port.unwrap_or_default());
    let how = if ip(port) == ip(other) && number == other_number {
        "duplicate"
    } else if number == 0 || other_number == 0 {
        "overlapping"
    } else if number == other_number && ip(port).is_empty() != ip(other).is_empty() {
        "dangerously ambiguous"
    } else {
        return None;
    };
    Some(format!("{at}: {how} port definition with {other_at}"))
}

fn other_pods(warnings: &mut Vec<String>, at: &Path<'_>, spec: &PodSpec) {
    let Some(affinity) = &spec.affinity else { return };
    let at = at.child("affinity");
    if let Some(to) = &affinity.pod_affinity {
        let required = list(&to.required_during_scheduling_ignored_during_execution);
        let preferred = list(&to.preferred_during_scheduling_ignored_during_execution);
        pod_terms(warnings, &at.child("podAffinity"), required, preferred);
    }
    if let Some(from) = &affinity.pod_anti_affinity {
        let required = list(&from.required_during_scheduling_ignored_during_execution);
        let preferred = list(&from.preferred_during_scheduling_ignored_during_execution);
        pod_terms(warnings, &at.child("podAntiAffinity"), required, preferred);
    }
}

fn pod_terms(
    warnings: &mut Vec<String>,
    at: &Path<'_>,
    required: &[PodAffinityTerm],
    preferred: &[WeightedPodAffinityTerm],
) {
    let required_at = at.child("requiredDuringSchedulingIgnoredDuringExecution");
    for (index, _) in required.iter().enumerate().filter(|(_, term)| term.label_selector.is_none()) {
        let at = required_at.index(index);
        warnings.push(no_selector(&at.child("labelSelector")));
    }
    let preferred_at = at.child("preferredDuringSchedulingIgnoredDuringExecution");
    let open = |term: &WeightedPodAffinityTerm| term.pod_affinity_term.label_selector.is_none();
    for (index, _) in preferred.iter().enumerate().filter(|(_, term)| open(term)) {
        let at = preferred_at.index(index);
        let at = at.child("podAffinityTerm");
        warnings.push(no_selector(&at.child("labelSelector")));
    }
}

fn written_addresses(warnings: &mut Vec<String>, at: &Path<'_>, spec: &PodSpec) {
    let config = spec.dns_config.as_ref().map(|config| list(&config.nameservers)).unwrap_or_default();
    let dns = at.child("dnsConfig");
    let servers = dns.child("nameservers");
    for (index, server) in config.iter().enumerate() {
        warnings.extend(names::ip_warning(&servers.index(index).to_string(), server));
    }
    let aliases = at.child("hostAliases");
    for (index, alias) in list(&spec.host_aliases).iter().enumerate() {
        let at = aliases.index(index);
        warnings.extend(names::ip_warning(&at.child("ip").to_string(), &alias.ip));
    }
}
