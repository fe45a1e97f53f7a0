//! What only Linux pods, or only Windows pods, may have.

use k8s_openapi::api::core::v1::{PodSecurityContext, PodSpec, SecurityContext, WindowsSecurityContextOptions};

use super::containers::visit;
use crate::names;
use crate::rules::check::{Errors, Path};

const WINDOWS: &str = "cannot be set for a windows pod";

/// Checks `os` and what goes with it.
pub(super) fn os(errors: &mut Errors, at: &Path<'_>, spec: &PodSpec) {
    let Some(os) = &spec.os else { return };
    let os_at = at.child("os");
    match os.name.as_str() {
        "" => errors.required(&os_at.child("name"), ""),
        "linux" => linux(errors, at, spec),
        "windows" => windows(errors, at, spec),
        other => errors.not_supported(&os_at, other, &["linux", "windows"]),
    }
}

fn linux(errors: &mut Errors, at: &Path<'_>, spec: &PodSpec) {
    const WHY: &str = "windows options cannot be set for a linux pod";
    if spec.security_context.as_ref().is_some_and(|context| context.windows_options.is_some()) {
        let at = at.child("securityContext");
        errors.forbidden(&at.child("windowsOptions"), WHY);
    }
    visit(spec, at, |container, at| {
        if container.security_context.as_ref().is_some_and(|context| context.windows_options.is_some()) {
            let at = at.child("securityContext");
            errors.forbidden(&at.child("windowsOptions"), WHY);
        }
    });
}

fn windows(errors: &mut Errors, at: &Path<'_>, spec: &PodSpec) {
    let none = PodSecurityContext::default();
    let context = spec.security_context.as_ref().unwrap_or(&none);
    let context_at = at.child("securityContext");
    let set = [
        (context_at.child("appArmorProfile"), context.app_armor_profile.is_some()),
        (context_at.child("seLinuxOptions"), context.se_linux_options.is_some()),
        (at.child("hostUsers"), spec.host_users.is_some()),
        (at.child("hostPID"), spec.host_pid == Some(true)),
        (at.child("hostIPC"), spec.host_ipc == Some(true)),
        (context_at.child("seccompProfile"), context.seccomp_profile.is_some()),
        (context_at.child("fsGroup"), context.fs_group.is_some()),
        (context_at.child("fsGroupChangePolicy"), context.fs_group_change_policy.is_some()),
        (context_at.child("sysctls"), context.sysctls.as_ref().is_some_and(|all| !all.is_empty())),
        (at.child("shareProcessNamespace"), spec.share_process_namespace.is_some()),
        (context_at.child("runAsUser"), context.run_as_user.is_some()),
        (context_at.child("runAsGroup"), context.run_as_group.is_some()),
        (context_at.child("supplementalGroups"), context.supplemental_groups.is_some()),
        (context_at.child("supplementalGroupsPolicy"), context.supplemental_groups_policy.is_some()),
        (context_at.child("seLinuxChangePolicy"), context.se_linux_change_policy.is_some()),
    ];
    set.iter().filter(|(_, set)| *set).for_each(|(at, _)| errors.forbidden(at, WINDOWS));
    visit(spec, at, |container, at| {
        let Some(context) = &container.security_context else { return };
        windows_container(errors, &at.child("securityContext"), context);
    });
}

fn windows_container(errors: &mut Errors, at: &Path<'_>, context: &SecurityContext) {
    let set = [
        ("appArmorProfile", context.app_armor_profile.is_some()),
        ("seLinuxOptions", context.se_linux_options.is_some()),
        ("seccompProfile", context.seccomp_profile.is_some()),
        ("capabilities", context.capabilities.is_some()),
        ("readOnlyRootFilesystem", context.read_only_root_filesystem.is_some()),
        ("privileged", context.privileged.is_some()),
        ("allowPrivilegeEscalation", context.allow_privilege_escalation.is_some()),
        ("procMount", context.proc_mount.is_some()),
        ("runAsUser", context.run_as_user.is_some()),
        ("runAsGroup", context.run_as_group.is_some()),
    ];
    set.iter().filter(|(_, set)| *set).for_each(|(field, _)| errors.forbidden(&at.child(field), WINDOWS));
}

/// Checks `windowsOptions`.
pub(super) fn options(errors: &mut Errors, at: &Path<'_>, options: Option<&WindowsSecurityContextOptions>) {
    let Some(options) = options else { return };
    if let Some(name) = &options.gmsa_credential_spec_name {
        errors.all(&at.child("gmsaCredentialSpecName"), name, names::dns1123_subdomain(name));
    }
    if let Some(spec) = &options.gmsa_credential_spec {
        let at = at.child("gmsaCredentialSpec");
        if spec.is_empty() {
            errors.invalid(&at, "", "gmsaCredentialSpec cannot be an empty string");
        } else if spec.len() > 64 * 1024 {
            errors.invalid(&at, spec.as_str(), "gmsaCredentialSpec size must be under 64 KiB");
        }
    }
    if let Some(user) = &options.run_as_user_name {
        user_name(errors, &at.child("runAsUserName"), user);
    }
}

fn user_name(errors: &mut Errors, at: &Path<'_>, name: &str) {
    let parts: Vec<&str> = name.split('\\').collect();
    let whole = match parts.as_slice() {
        _ if name.is_empty() => Some("runAsUserName cannot be an empty string"),
        _ if name.bytes().any(|byte| byte < 0x20) => Some("runAsUserName cannot contain control characters"),
        [_, _, _, ..] => Some("runAsUserName cannot contain more than one backslash"),
        _ => None,
    };
    if let Some(why) = whole {
        errors.invalid(at, name, why);
        return;
    }
    let (domain, user) = name.split_once('\\').map_or((None, name), |(domain, user)| (Some(domain), user));
    if domain.is_some_and(|domain| domain.len() >= 256) {
        errors.invalid(at, name, "runAsUserName's Domain length must be under 256 characters");
    }
    if domain.is_some_and(|domain| !is_net_bios(domain) && !is_dns_domain(domain)) {
        errors.invalid(at, name, "runAsUserName's Domain doesn't match the NetBios nor the DNS format");
    }
    if user.is_empty() {
        errors.invalid(at, name, "runAsUserName's User cannot be empty");
    } else if user.len() > 104 {
        errors.invalid(at, name, "runAsUserName's User length must not be longer than 104 characters");
    }
    if !user.is_empty() && user.chars().all(|c| c == '.' || c == ' ') {
        errors.invalid(at, name, "runAsUserName's User cannot contain only periods or spaces");
    }
    if user.contains(['"', '/', '\\', ':', ';', '|', '=', ',', '+', '*', '?', '<', '>', '@', '[', ']']) {
        let why = "runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]";
        errors.invalid(at, name, why);
    }
}

fn is_net_bios(domain: &str) -> bool {
    let bad = ['\\', '/', ':', '*', '?', '"', '<', '>', '|', '.'];
    (1..=15).contains(&domain.len()) && !domain.contains(bad)
}

fn is_dns_domain(domain: &str) -> bool {
    let edge = |c: char| c.is_ascii_alphanumeric();
    let part = |part: &str| part.starts_with(edge) && part.ends_with(edge) && part.chars().all(|c| edge(c) || c == '-');
    domain.split('.').all(part)
}

/// Containers that are processes of a Windows node: all of a pod or none.
pub(super) fn host_processes(errors: &mut Errors, at: &Path<'_>, spec: &PodSpec) {
    let of_pod = spec.security_context.as_ref().and_then(|context| context.windows_options.as_ref());
    let of_pod = of_pod.and_then(|options| options.host_process);
    let (mut all, mut on_host) = (0, 0);
    visit(spec, at, |container, at| {
        all += 1;
        let own = container.security_context.as_ref().and_then(|context| context.windows_options.as_ref());
        let own = own.and_then(|options| options.host_process);
        if let (Some(pod), Some(own)) = (of_pod, own)
            && pod != own
        {
            let at = at.child("securityContext");
            let at = at.child("windowsOptions");
            let why = format!("pod hostProcess value must be identical if both are specified, was {pod}");
            errors.invalid(&at.child("hostProcess"), own, &why);
        }
        on_host += usize::from(own.or(of_pod).unwrap_or_default());
    });
    if on_host == 0 {
        return;
    }
    if on_host != all {
        let why = "If pod contains any hostProcess containers then all containers must be HostProcess containers";
        errors.invalid(at, "", why);
    }
    if spec.host_network != Some(true) {
        let why = "hostNetwork must be true if pod contains any hostProcess containers";
        errors.invalid(&at.child("hostNetwork"), false, why);
    }
}
