//! The table of checks.
//!
//! Source: `pod-security-admission/policy`.

use super::{Check, Level, baseline, restricted};

const fn baseline(id: &'static str, versions: &'static [(u32, super::Judgement)]) -> Check {
    Check { id, level: Level::Baseline, replaces: None, versions }
}

const fn restricted(id: &'static str, versions: &'static [(u32, super::Judgement)]) -> Check {
    Check { id, level: Level::Restricted, replaces: None, versions }
}

/// Every check, in the order in which violations are told: by level, then by id.
pub const CHECKS: &[Check] = &[
    baseline("appArmorProfile", &[(0, baseline::app_armor)]),
    baseline("capabilities_baseline", &[(0, baseline::capabilities)]),
    baseline("hostNamespaces", &[(0, baseline::host_namespaces)]),
    baseline("hostPathVolumes", &[(0, baseline::host_paths)]),
    baseline("hostPorts", &[(0, baseline::host_ports)]),
    baseline("hostProbesAndHostLifecycle", &[(34, baseline::other_hosts)]),
    baseline("privileged", &[(0, baseline::privileged)]),
    baseline(
        "procMount",
        &[(0, baseline::proc_mount), (35, |pod| restricted::unless_own_users(pod, baseline::proc_mount))],
    ),
    baseline("seLinuxOptions", &[(0, |pod| baseline::selinux(pod, 0)), (31, |pod| baseline::selinux(pod, 31))]),
    baseline("seccompProfile_baseline", &[(0, baseline::seccomp_annotations), (19, baseline::seccomp)]),
    baseline(
        "sysctls",
        &[
            (0, |pod| baseline::sysctls(pod, 0)),
            (27, |pod| baseline::sysctls(pod, 27)),
            (29, |pod| baseline::sysctls(pod, 29)),
            (32, |pod| baseline::sysctls(pod, 32)),
        ],
    ),
    baseline("windowsHostProcess", &[(0, baseline::windows_host_process)]),
    restricted(
        "allowPrivilegeEscalation",
        &[(8, restricted::escalation), (25, |pod| restricted::unless_windows(pod, restricted::escalation))],
    ),
    Check {
        replaces: Some("capabilities_baseline"),
        ..restricted(
            "capabilities_restricted",
            &[(22, restricted::capabilities), (25, |pod| restricted::unless_windows(pod, restricted::capabilities))],
        )
    },
    Check { replaces: Some("procMount"), ..restricted("procMount_restricted", &[(35, baseline::proc_mount)]) },
    Check { replaces: Some("hostPathVolumes"), ..restricted("restrictedVolumes", &[(0, restricted::volumes)]) },
    restricted(
        "runAsNonRoot",
        &[(0, restricted::non_root), (35, |pod| restricted::unless_own_users(pod, restricted::non_root))],
    ),
    restricted("runAsUser", &[(23, restricted::user), (35, |pod| restricted::unless_own_users(pod, restricted::user))]),
    Check {
        replaces: Some("seccompProfile_baseline"),
        ..restricted(
            "seccompProfile_restricted",
            &[(19, restricted::seccomp), (25, |pod| restricted::unless_windows(pod, restricted::seccomp))],
        )
    },
];
