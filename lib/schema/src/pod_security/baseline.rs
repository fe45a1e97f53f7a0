//! What the level `baseline` forbids: what is known to lead out of a container.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{LifecycleHandler, Probe, SELinuxOptions};

use super::words::{Setters, containers, plural, quoted};
use super::{Pod, Violation};

/// A violation, if there is somebody who commits it.
pub(super) fn violation(reason: &'static str, committed: bool, detail: impl FnOnce() -> String) -> Option<Violation> {
    committed.then(|| Violation { reason, detail: detail() })
}

pub(super) fn app_armor(pod: &Pod<'_>) -> Option<Violation> {
    const PREFIX: &str = "container.apparmor.security.beta.kubernetes.io/";
    let bad = |type_: &String| Some(type_.clone()).filter(|type_| !["RuntimeDefault", "Localhost"].contains(&&**type_));
    let of_pod = pod.security().and_then(|security| security.app_armor_profile.as_ref());
    let setters = Setters::of(
        of_pod.and_then(|profile| bad(&profile.type_)),
        pod.containers().map(|container| {
            let own = container.security.and_then(|security| security.app_armor_profile.as_ref());
            (container.name, own.and_then(|profile| bad(&profile.type_)))
        }),
    );
    let fine = |value: &str| value.is_empty() || value == "runtime/default" || value.starts_with("localhost/");
    let annotations: Vec<String> = pod
        .annotations
        .into_iter()
        .flatten()
        .filter(|(key, value)| key.starts_with(PREFIX) && !fine(value))
        .map(|(key, value)| format!("{key}={}", crate::status::quoted(value)))
        .collect();
    let mut names = setters.names();
    if !annotations.is_empty() {
        names.push(plural("annotation", "annotations", annotations.len()).to_owned());
    }
    let values: Vec<&String> = setters.values.iter().chain(&annotations).collect();
    let reason = plural("forbidden AppArmor profile", "forbidden AppArmor profiles", values.len());
    violation(reason, !names.is_empty(), || {
        format!("{} must not set AppArmor profile type to {}", names.join(" and "), quoted(&values))
    })
}

/// What containers have unless they say otherwise.
const DEFAULT_CAPABILITIES: &[&str] = &[
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

pub(super) fn capabilities(pod: &Pod<'_>) -> Option<Violation> {
    let more = |name: &&str| !DEFAULT_CAPABILITIES.contains(name);
    let bad = pod.named(|container| container.added().any(|name| more(&name)));
    violation("non-default capabilities", !bad.is_empty(), || {
        let names: BTreeSet<&str> = pod.containers().flat_map(|container| container.added()).filter(more).collect();
        format!("{} must not include {} in securityContext.capabilities.add", containers(&bad), quoted(names))
    })
}

pub(super) fn host_namespaces(pod: &Pod<'_>) -> Option<Violation> {
    let spec = pod.spec;
    let all = [("hostNetwork", spec.host_network), ("hostPID", spec.host_pid), ("hostIPC", spec.host_ipc)];
    let shared: Vec<String> =
        all.iter().filter(|(_, shared)| *shared == Some(true)).map(|(name, _)| format!("{name}=true")).collect();
    violation("host namespaces", !shared.is_empty(), || shared.join(", "))
}

pub(super) fn host_paths(pod: &Pod<'_>) -> Option<Violation> {
    let volumes = pod.spec.volumes.iter().flatten().filter(|volume| volume.host_path.is_some());
    let names: Vec<&str> = volumes.map(|volume| volume.name.as_str()).collect();
    violation("hostPath volumes", !names.is_empty(), || {
        format!("{} {}", plural("volume", "volumes", names.len()), quoted(&names))
    })
}

pub(super) fn host_ports(pod: &Pod<'_>) -> Option<Violation> {
    let bad = pod.named(|container| container.ports.iter().any(|port| port.host_port.unwrap_or_default() != 0));
    violation("hostPort", !bad.is_empty(), || {
        let ports = pod.containers().flat_map(|container| container.ports).filter_map(|port| port.host_port);
        // As texts: 10 before 9.
        let ports: BTreeSet<String> = ports.filter(|port| *port != 0).map(|port| port.to_string()).collect();
        let uses = plural("uses", "use", bad.len());
        let what = plural("hostPort", "hostPorts", ports.len());
        format!("{} {uses} {what} {}", containers(&bad), ports.into_iter().collect::<Vec<_>>().join(", "))
    })
}

/// Probes and hooks that speak with another host than the pod.
pub(super) fn other_hosts(pod: &Pod<'_>) -> Option<Violation> {
    let named: Vec<(&str, Vec<&str>)> = pod
        .containers()
        .map(|container| (container.name, hosts(&container)))
        .filter(|(_, hosts)| !hosts.is_empty())
        .collect();
    violation("probe or lifecycle host", !named.is_empty(), || {
        let bad: BTreeSet<&str> = named.iter().map(|(name, _)| *name).collect();
        let hosts: BTreeSet<&str> = named.iter().flat_map(|(_, hosts)| hosts).copied().collect();
        let uses = plural("uses", "use", bad.len());
        let what = plural("probe or lifecycle host", "probe or lifecycle hosts", hosts.len());
        format!("{} {uses} {what} {}", containers(&Vec::from_iter(bad)), quoted(hosts))
    })
}

fn hosts<'a>(container: &super::Container<'a>) -> Vec<&'a str> {
    let of_probe = |probe: &'a Probe| {
        [
            probe.http_get.as_ref().and_then(|get| get.host.as_ref()),
            probe.tcp_socket.as_ref().and_then(|tcp| tcp.host.as_ref()),
        ]
    };
    let of_hook = |hook: &'a LifecycleHandler| {
        [
            hook.http_get.as_ref().and_then(|get| get.host.as_ref()),
            hook.tcp_socket.as_ref().and_then(|tcp| tcp.host.as_ref()),
        ]
    };
    let probes = container.probes.into_iter().flatten().flat_map(of_probe);
    let hooks = container.lifecycle.into_iter().flat_map(|all| [&all.post_start, &all.pre_stop]);
    let hosts = probes.chain(hooks.flatten().flat_map(of_hook)).flatten();
    hosts.map(String::as_str).filter(|host| !host.is_empty()).collect()
}

pub(super) fn privileged(pod: &Pod<'_>) -> Option<Violation> {
    let bad = pod.named(|container| container.security.and_then(|security| security.privileged) == Some(true));
    violation("privileged", !bad.is_empty(), || {
        format!("{} must not set securityContext.privileged=true", containers(&bad))
    })
}

pub(super) fn proc_mount(pod: &Pod<'_>) -> Option<Violation> {
    let bad = |type_: &String| Some(type_.clone()).filter(|type_| type_ != "Default");
    let setters = Setters::of(
        None,
        pod.containers().map(|container| {
            let mount = container.security.and_then(|security| security.proc_mount.as_ref());
            (container.name, mount.and_then(bad))
        }),
    );
    violation("procMount", !setters.is_empty(), || {
        format!("{} must not set securityContext.procMount to {}", setters.all(), quoted(&setters.values))
    })
}

/// Types of programs that containers may be of, and from which minor version on.
const SELINUX_TYPES: &[(&str, u32)] =
    &[("", 0), ("container_t", 0), ("container_init_t", 0), ("container_kvm_t", 0), ("container_engine_t", 31)];

pub(super) fn selinux(pod: &Pod<'_>, minor: u32) -> Option<Violation> {
    let set = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    let bad_type = |options: &SELinuxOptions| {
        let type_ = options.type_.clone().unwrap_or_default();
        let known = SELINUX_TYPES.iter().any(|(name, since)| *name == type_ && *since <= minor);
        (!known).then_some(type_)
    };
    let is_bad = |options: &SELinuxOptions| bad_type(options).is_some() || set(&options.user) || set(&options.role);
    let of_pod = pod.security().and_then(|security| security.se_linux_options.as_ref());
    let of_containers =
        || pod.containers().filter_map(|one| Some((one.name, one.security?.se_linux_options.as_ref()?)));
    let setters = Setters {
        pod: of_pod.is_some_and(is_bad),
        containers: of_containers().filter(|(_, options)| is_bad(options)).map(|(name, _)| name).collect(),
        values: of_pod.into_iter().chain(of_containers().map(|(_, options)| options)).filter_map(bad_type).collect(),
    };
    violation("seLinuxOptions", !setters.is_empty(), || {
        let any = |text: fn(&SELinuxOptions) -> &Option<String>| {
            of_pod.into_iter().chain(of_containers().map(|(_, options)| options)).any(|options| set(text(options)))
        };
        let types = &setters.values;
        let mut data = Vec::new();
        if !types.is_empty() {
            data.push(format!("{} {}", plural("type", "types", types.len()), quoted(types)));
        }
        data.extend(any(|options| &options.user).then(|| "user may not be set".to_owned()));
        data.extend(any(|options| &options.role).then(|| "role may not be set".to_owned()));
        format!("{} set forbidden securityContext.seLinuxOptions: {}", setters.all(), data.join("; "))
    })
}

/// What was said by annotations before there were fields.
pub(super) fn seccomp_annotations(pod: &Pod<'_>) -> Option<Violation> {
    const POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
    const CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
    let fine = |value: &str| ["runtime/default", "docker/default"].contains(&value) || value.starts_with("localhost/");
    let of_containers = pod.containers().map(|container| format!("{CONTAINER}{}", container.name));
    let set = std::iter::once(POD.to_owned()).chain(of_containers).filter_map(|key| {
        let value = pod.annotation(&key)?;
        (!fine(value)).then(|| format!("{key}={}", crate::status::quoted(value)))
    });
    let bad: BTreeSet<String> = set.collect();
    violation("seccompProfile", !bad.is_empty(), || {
        let annotations = plural("annotation", "annotations", bad.len());
        format!("forbidden {annotations} {}", bad.into_iter().collect::<Vec<_>>().join(", "))
    })
}

/// Who asks for a seccomp profile that may not be.
pub(super) fn seccomp_setters<'a>(pod: &Pod<'a>) -> Setters<'a> {
    let bad = |type_: &String| Some(type_.clone()).filter(|type_| !["Localhost", "RuntimeDefault"].contains(&&**type_));
    let of_pod = pod.security().and_then(|security| security.seccomp_profile.as_ref());
    Setters::of(
        of_pod.and_then(|profile| bad(&profile.type_)),
        pod.containers().map(|container| {
            let own = container.security.and_then(|security| security.seccomp_profile.as_ref());
            (container.name, own.and_then(|profile| bad(&profile.type_)))
        }),
    )
}

pub(super) fn seccomp(pod: &Pod<'_>) -> Option<Violation> {
    let setters = seccomp_setters(pod);
    violation("seccompProfile", !setters.is_empty(), || {
        format!("{} must not set securityContext.seccompProfile.type to {}", setters.all(), quoted(&setters.values))
    })
}

/// Settings of the kernel that concern nobody but the pod, and from which minor version on they may be set.
const SYSCTLS: &[(&str, u32)] = &[
    ("kernel.shm_rmid_forced", 0),
    ("net.ipv4.ip_local_port_range", 0),
    ("net.ipv4.tcp_syncookies", 0),
    ("net.ipv4.ping_group_range", 0),
    ("net.ipv4.ip_unprivileged_port_start", 0),
    ("net.ipv4.ip_local_reserved_ports", 27),
    ("net.ipv4.tcp_keepalive_time", 29),
    ("net.ipv4.tcp_fin_timeout", 29),
    ("net.ipv4.tcp_keepalive_intvl", 29),
    ("net.ipv4.tcp_keepalive_probes", 29),
    ("net.ipv4.tcp_rmem", 32),
    ("net.ipv4.tcp_wmem", 32),
];

pub(super) fn sysctls(pod: &Pod<'_>, minor: u32) -> Option<Violation> {
    let set = pod.security().into_iter().flat_map(|security| security.sysctls.iter().flatten());
    let safe = |name: &&str| SYSCTLS.iter().any(|(safe, since)| safe == name && *since <= minor);
    let bad: Vec<&str> = set.map(|sysctl| sysctl.name.as_str()).filter(|name| !safe(name)).collect();
    violation("forbidden sysctls", !bad.is_empty(), || bad.join(", "))
}

pub(super) fn windows_host_process(pod: &Pod<'_>) -> Option<Violation> {
    let of_pod = pod.security().and_then(|security| security.windows_options.as_ref()?.host_process);
    let setters = Setters {
        pod: of_pod == Some(true),
        containers: pod.named(|container| {
            container.security.and_then(|security| security.windows_options.as_ref()?.host_process) == Some(true)
        }),
        ..Setters::default()
    };
    violation("hostProcess", !setters.is_empty(), || {
        format!("{} must not set securityContext.windowsOptions.hostProcess=true", setters.all())
    })
}
