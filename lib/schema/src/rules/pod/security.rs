//! Security contexts of pods and containers.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{AppArmorProfile, PodSecurityContext, PodSpec, SeccompProfile, SecurityContext};

use super::containers::Around;
use super::{mounts, windows};
use crate::internal::shown;
use crate::rules::check::{Errors, Path};
use crate::rules::fields::list;

const MAX_ID: i64 = i32::MAX as i64;

/// Checks a container's context.
pub(super) fn container(errors: &mut Errors, at: &Path<'_>, context: Option<&SecurityContext>, around: &Around<'_>) {
    let Some(context) = context else { return };
    id(errors, &at.child("runAsUser"), context.run_as_user);
    id(errors, &at.child("runAsGroup"), context.run_as_group);
    if let Some(mount) = &context.proc_mount {
        errors.one_of(&at.child("procMount"), mount, &["Default", "Unmasked"]);
        if around.host_users() && mount == "Unmasked" {
            errors.invalid(&at.child("procMount"), mount.as_str(), "`hostUsers` must be false to use `Unmasked`");
        }
    }
    seccomp(errors, &at.child("seccompProfile"), context.seccomp_profile.as_ref());
    escalation(errors, at, context);
    windows::options(errors, &at.child("windowsOptions"), context.windows_options.as_ref());
    app_armor(errors, &at.child("appArmorProfile"), context.app_armor_profile.as_ref());
}

fn escalation(errors: &mut Errors, at: &Path<'_>, context: &SecurityContext) {
    if context.allow_privilege_escalation != Some(false) {
        return;
    }
    if context.privileged == Some(true) {
        let why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
        errors.invalid_written(at, &shown("api.core.v1.SecurityContext", context), why);
    }
    let added = context.capabilities.as_ref().map(|capabilities| list(&capabilities.add)).unwrap_or_default();
    for _ in added.iter().filter(|one| *one == "CAP_SYS_ADMIN") {
        let why = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
        errors.invalid_written(at, &shown("api.core.v1.SecurityContext", context), why);
    }
}

fn id(errors: &mut Errors, at: &Path<'_>, id: Option<i64>) {
    if let Some(id) = id.filter(|id| !(0..=MAX_ID).contains(id)) {
        errors.invalid(at, id, "must be between 0 and 2147483647, inclusive");
    }
}

/// Checks a pod's context.
pub(super) fn pod(errors: &mut Errors, at: &Path<'_>, spec: &PodSpec) {
    let Some(context) = &spec.security_context else { return };
    id(errors, &at.child("fsGroup"), context.fs_group);
    id(errors, &at.child("runAsUser"), context.run_as_user);
    id(errors, &at.child("runAsGroup"), context.run_as_group);
    let groups = at.child("supplementalGroups");
    for (index, group) in list(&context.supplemental_groups).iter().enumerate() {
        id(errors, &groups.index(index), Some(*group));
    }
    if spec.share_process_namespace == Some(true) && spec.host_pid == Some(true) {
        let why = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.invalid(&at.child("shareProcessNamespace"), true, why);
    }
    sysctls(errors, &at.child("sysctls"), context, spec);
    if let Some(policy) = &context.fs_group_change_policy {
        errors.one_of(&at.child("fsGroupChangePolicy"), policy, &["Always", "OnRootMismatch"]);
    }
    seccomp(errors, &at.child("seccompProfile"), context.seccomp_profile.as_ref());
    windows::options(errors, &at.child("windowsOptions"), context.windows_options.as_ref());
    app_armor(errors, &at.child("appArmorProfile"), context.app_armor_profile.as_ref());
    if let Some(policy) = &context.supplemental_groups_policy {
        errors.one_of(&at.child("supplementalGroupsPolicy"), policy, &["Merge", "Strict"]);
    }
    if let Some(policy) = &context.se_linux_change_policy {
        errors.one_of(&at.child("seLinuxChangePolicy"), policy, &["MountOption", "Recursive"]);
    }
}

fn sysctls(errors: &mut Errors, at: &Path<'_>, context: &PodSecurityContext, spec: &PodSpec) {
    let mut seen = BTreeSet::new();
    for (index, sysctl) in list(&context.sysctls).iter().enumerate() {
        let (at, name) = (at.index(index), sysctl.name.as_str());
        let at = at.child("name");
        if errors.filled(&at, name) {
            if !is_sysctl(name) {
                let why = "must have at most 253 characters and match regex \
                           ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
                errors.invalid(&at, name, why);
            } else if seen.contains(name) {
                errors.duplicate(&at, name);
            }
        }
        match sysctl_namespace(name) {
            Some("net") if spec.host_network == Some(true) => {
                errors.invalid(&at, name, "may not be specified when 'hostNetwork' is true");
            }
            Some("ipc") if spec.host_ipc == Some(true) => {
                errors.invalid(&at, name, "may not be specified when 'hostIPC' is true");
            }
            _ => {}
        }
        seen.insert(name);
    }
}

fn is_sysctl(name: &str) -> bool {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let inner = |c: char| edge(c) || c == '-' || c == '_';
    let segment = |part: &str| part.starts_with(edge) && part.ends_with(edge) && part.chars().all(inner);
    name.len() <= 253 && name.split(['.', '/']).all(segment)
}

/// The kernel namespace that a setting belongs to: `net`, `ipc` or none.
fn sysctl_namespace(name: &str) -> Option<&'static str> {
    // The first separator decides whether dots or slashes part the name.
    let dotted = match (name.find('.'), name.find('/')) {
        (Some(dot), Some(slash)) => dot < slash,
        (dot, _) => dot.is_some(),
    };
    let name = if dotted { name.to_owned() } else { name.replace('/', ".") };
    match name.as_str() {
        "kernel.sem" => Some("ipc"),
        name if name.starts_with("kernel.shm") || name.starts_with("kernel.msg") => Some("ipc"),
        name if name.starts_with("fs.mqueue.") => Some("ipc"),
        name if name.starts_with("net.") => Some("net"),
        _ => None,
    }
}

fn seccomp(errors: &mut Errors, at: &Path<'_>, profile: Option<&SeccompProfile>) {
    let Some(profile) = profile else { return };
    match profile.type_.as_str() {
        "" => errors.required(&at.child("type"), "type is required when seccompProfile is set"),
        other => errors.one_of(&at.child("type"), other, &["Localhost", "RuntimeDefault", "Unconfined"]),
    }
    let at = at.child("localhostProfile");
    match (&profile.localhost_profile, profile.type_ == "Localhost") {
        (None, true) => errors.required(&at, "must be set when seccomp type is Localhost"),
        (Some(path), true) => mounts::descending(errors, &at, path),
        (Some(_), false) => {
            let why = "can only be set when seccomp type is Localhost";
            errors.invalid_written(&at, &shown("api.core.v1.SeccompProfile", profile), why);
        }
        (None, false) => {}
    }
}

fn app_armor(errors: &mut Errors, at: &Path<'_>, profile: Option<&AppArmorProfile>) {
    let Some(profile) = profile else { return };
    let local = at.child("localhostProfile");
    match (profile.type_.as_str(), &profile.localhost_profile) {
        ("Localhost", None) => errors.required(&local, "must be set when AppArmor type is Localhost"),
        ("Localhost", Some(name)) => {
            if name.trim() != name {
                errors.invalid(&local, name.as_str(), "must not be padded with whitespace");
            } else if name.is_empty() {
                errors.required(&local, "must be set when AppArmor type is Localhost");
            }
            if name.len() > 4095 {
                errors.too_long(&local, 4095);
            }
        }
        ("RuntimeDefault" | "Unconfined", Some(name)) => {
            errors.invalid(&local, name.as_str(), "can only be set when AppArmor type is Localhost");
        }
        ("RuntimeDefault" | "Unconfined", None) => {}
        ("", _) => errors.required(&at.child("type"), "type is required when appArmorProfile is set"),
        (other, _) => {
            errors.not_supported(&at.child("type"), other, &["Localhost", "RuntimeDefault", "Unconfined"]);
        }
    }
}
