//! What the level `restricted` demands beyond `baseline`: today's best practice.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Volume;

use super::baseline::{seccomp_setters, violation};
use super::words::{Setters, containers, plural, quoted};
use super::{Judgement, Pod, Violation};

/// Pods of Windows have nothing that could be set.
pub(super) fn unless_windows(pod: &Pod<'_>, judge: Judgement) -> Option<Violation> {
    if pod.is_windows() { None } else { judge(pod) }
}

/// Who is the superuser among users of a pod's own is nobody outside.
pub(super) fn unless_own_users(pod: &Pod<'_>, judge: Judgement) -> Option<Violation> {
    if pod.has_own_users() { None } else { judge(pod) }
}

pub(super) fn escalation(pod: &Pod<'_>) -> Option<Violation> {
    let bad = pod.named(|one| one.security.and_then(|security| security.allow_privilege_escalation) != Some(false));
    violation("allowPrivilegeEscalation != false", !bad.is_empty(), || {
        format!("{} must set securityContext.allowPrivilegeEscalation=false", containers(&bad))
    })
}

pub(super) fn capabilities(pod: &Pod<'_>) -> Option<Violation> {
    let more = |name: &&str| *name != "NET_BIND_SERVICE";
    let keeping = pod.named(|container| !container.dropped().any(|name| name == "ALL"));
    let adding = pod.named(|container| container.added().any(|name| more(&name)));
    violation("unrestricted capabilities", !keeping.is_empty() || !adding.is_empty(), || {
        let mut details = Vec::new();
        if !keeping.is_empty() {
            details.push(format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", containers(&keeping)));
        }
        if !adding.is_empty() {
            let names: BTreeSet<&str> = pod.containers().flat_map(|container| container.added()).filter(more).collect();
            let who = containers(&adding);
            details.push(format!("{who} must not include {} in securityContext.capabilities.add", quoted(names)));
        }
        details.join("; ")
    })
}

/// A sort of volume, and whether a volume is of it.
type Sort = (&'static str, fn(&Volume) -> bool);

macro_rules! sorts {
    ($($name:literal $field:ident)*) => { &[$(($name, |volume: &Volume| volume.$field.is_some())),*] };
}

/// Volumes that hold nothing but what the cluster gives out.
const ALLOWED_VOLUMES: &[Sort] = sorts! {
    "configMap" config_map "csi" csi "downwardAPI" downward_api "emptyDir" empty_dir "ephemeral" ephemeral
    "image" image "persistentVolumeClaim" persistent_volume_claim "projected" projected "secret" secret
};

/// The others.
const RESTRICTED_VOLUMES: &[Sort] = sorts! {
    "hostPath" host_path "gcePersistentDisk" gce_persistent_disk "awsElasticBlockStore" aws_elastic_block_store
    "gitRepo" git_repo "nfs" nfs "iscsi" iscsi "glusterfs" glusterfs "rbd" rbd "flexVolume" flex_volume
    "cinder" cinder "cephfs" cephfs "flocker" flocker "fc" fc "azureFile" azure_file "vsphereVolume" vsphere_volume
    "quobyte" quobyte "azureDisk" azure_disk "photonPersistentDisk" photon_persistent_disk
    "portworxVolume" portworx_volume "scaleIO" scale_io "storageos" storageos
};

pub(super) fn volumes(pod: &Pod<'_>) -> Option<Violation> {
    let sort = |sorts: &[Sort], volume: &Volume| sorts.iter().find(|(_, is)| is(volume)).map(|(name, _)| *name);
    let all = pod.spec.volumes.iter().flatten();
    let bad: Vec<&Volume> = all.filter(|volume| sort(ALLOWED_VOLUMES, volume).is_none()).collect();
    violation("restricted volume types", !bad.is_empty(), || {
        let sorts: BTreeSet<&str> =
            bad.iter().map(|volume| sort(RESTRICTED_VOLUMES, volume).unwrap_or("unknown")).collect();
        let (volumes, uses) = (plural("volume", "volumes", bad.len()), plural("uses", "use", bad.len()));
        let types = plural("restricted volume type", "restricted volume types", sorts.len());
        format!("{volumes} {} {uses} {types} {}", quoted(bad.iter().map(|volume| &volume.name)), quoted(sorts))
    })
}

pub(super) fn non_root(pod: &Pod<'_>) -> Option<Violation> {
    const REASON: &str = "runAsNonRoot != true";
    let of_pod = pod.security().and_then(|security| security.run_as_non_root);
    let said = |value: Option<bool>| {
        pod.named(|container| container.security.and_then(|security| security.run_as_non_root) == value)
    };
    let setters = Setters { pod: of_pod == Some(false), containers: said(Some(false)), ..Setters::default() };
    if !setters.is_empty() {
        let detail = format!("{} must not set securityContext.runAsNonRoot=false", setters.all());
        return Some(Violation { reason: REASON, detail });
    }
    let silent = said(None);
    violation(REASON, of_pod.is_none() && !silent.is_empty(), || {
        format!("pod or {} must set securityContext.runAsNonRoot=true", containers(&silent))
    })
}

pub(super) fn user(pod: &Pod<'_>) -> Option<Violation> {
    let setters = Setters {
        pod: pod.security().and_then(|security| security.run_as_user) == Some(0),
        containers: pod.named(|container| container.security.and_then(|security| security.run_as_user) == Some(0)),
        ..Setters::default()
    };
    violation("runAsUser=0", !setters.is_empty(), || format!("{} must not set runAsUser=0", setters.all()))
}

pub(super) fn seccomp(pod: &Pod<'_>) -> Option<Violation> {
    if let Some(found) = super::baseline::seccomp(pod) {
        return Some(found);
    }
    let setters = seccomp_setters(pod);
    let of_pod = pod.security().is_some_and(|security| security.seccomp_profile.is_some()) && !setters.pod;
    let silent = pod.named(|container| container.security.is_none_or(|security| security.seccomp_profile.is_none()));
    violation("seccompProfile", !of_pod && !silent.is_empty(), || {
        let who = containers(&silent);
        format!("pod or {who} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"")
    })
}
