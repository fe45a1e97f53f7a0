//! Who a container runs as, and what it may do, from its security context, its pod's and its image.

use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{
    Container, ContainerUser, LinuxContainerUser, Pod, SELinuxOptions, SeccompProfile, SecurityContext,
};

use super::decide::full_name;
use crate::runtime::{Privileges, Seccomp};

/// What the node's machine offers to security contexts.
#[derive(Clone, Debug)]
pub struct Host {
    /// Where seccomp profiles of the node are.
    pub profiles: PathBuf,
    /// Whether the kernel labels processes by SELinux.
    pub selinux: bool,
}

/// The privileges of a container.
///
/// `image_user` is the image's `USER` as written. Errors: a text for `CreateContainerConfigError`.
/// Source: kubelet `verifyRunAsNonRoot`, `determineEffectiveSecurityContext`.
pub fn privileges(pod: &Pod, container: &Container, image_user: &str, host: &Host) -> Result<Privileges, String> {
    let of_pod = pod.spec.as_ref().and_then(|spec| spec.security_context.clone()).unwrap_or_default();
    let own = container.security_context.clone().unwrap_or_default();
    let user = id("runAsUser", own.run_as_user.or(of_pod.run_as_user))?;
    let group = id("runAsGroup", own.run_as_group.or(of_pod.run_as_group))?;
    if own.run_as_non_root.or(of_pod.run_as_non_root) == Some(true) {
        not_root(pod, container, user, image_user)?;
    }
    // Where nothing is labelled, as on most machines, labels are left out: runtimes do so everywhere.
    let labels = own.se_linux_options.as_ref().or(of_pod.se_linux_options.as_ref());
    if host.selinux && labels.is_some_and(|labels| *labels != SELinuxOptions::default()) {
        return Err("seLinuxOptions are not supported by this node".to_owned());
    }
    let mut extra_groups = Vec::new();
    for group in of_pod.supplemental_groups.iter().flatten().copied().chain(of_pod.fs_group) {
        extra_groups.extend(id("supplementalGroups", Some(group))?);
    }
    let privileged = own.privileged == Some(true);
    let profile = own.seccomp_profile.as_ref().or(of_pod.seccomp_profile.as_ref());
    let seccomp = seccomp(profile.filter(|_| !privileged), &host.profiles)?;
    let capabilities = own.capabilities.clone().unwrap_or_default();
    Ok(Privileges {
        user,
        group,
        extra_groups,
        groups_of_pod_only: of_pod.supplemental_groups_policy.as_deref() == Some("Strict"),
        privileged,
        add: plain(capabilities.add),
        drop: plain(capabilities.drop),
        no_new_privileges: no_new_privileges(&own),
        read_only_root: own.read_only_root_filesystem == Some(true),
        unmasked_proc: privileged || own.proc_mount.as_deref() == Some("Unmasked"),
        seccomp,
    })
}

fn id(field: &str, value: Option<i64>) -> Result<Option<u32>, String> {
    value.map(|value| u32::try_from(value).map_err(|_| format!("{field} {value} is out of range"))).transpose()
}

/// Privileged containers and those with `CAP_SYS_ADMIN` may always gain privileges.
fn no_new_privileges(own: &SecurityContext) -> bool {
    own.allow_privilege_escalation == Some(false) && own.privileged != Some(true)
}

fn plain(names: Option<Vec<String>>) -> Vec<String> {
    names.into_iter().flatten().map(|name| name.trim_start_matches("CAP_").to_owned()).collect()
}

fn not_root(pod: &Pod, container: &Container, user: Option<u32>, image_user: &str) -> Result<(), String> {
    let place = format!("(pod: \"{}\", container: {})", full_name(pod), container.name);
    match user {
        Some(0) => return Err(format!("container's runAsUser breaks non-root policy {place}")),
        Some(_) => return Ok(()),
        None => {}
    }
    let name = image_user.split(':').next().unwrap_or_default();
    match (name, name.parse::<u32>()) {
        ("", _) | (_, Ok(0)) => Err(format!("container has runAsNonRoot and image will run as root {place}")),
        (_, Ok(_)) => Ok(()),
        (name, Err(_)) => Err(format!(
            "container has runAsNonRoot and image has non-numeric user ({name}), cannot verify user is non-root {place}"
        )),
    }
}

/// The profile that a container asks for; profiles of the node lie below `profiles`.
fn seccomp(profile: Option<&SeccompProfile>, profiles: &Path) -> Result<Seccomp, String> {
    match profile.map(|profile| (profile.type_.as_str(), profile.localhost_profile.as_deref())) {
        None | Some(("Unconfined", _)) => Ok(Seccomp::Unconfined),
        Some(("RuntimeDefault", _)) => Ok(Seccomp::RuntimeDefault),
        Some(("Localhost", Some(name))) => Ok(Seccomp::Localhost(profiles.join(name))),
        Some((kind, _)) => Err(format!("seccomp profile {kind} is not supported by this node")),
    }
}

/// How the status shows who a container runs as; `None` when only the image's own files could tell.
#[must_use]
pub fn shown_user(privileges: &Privileges, image_user: &str) -> Option<ContainerUser> {
    let mut named = image_user.split(':');
    let number =
        |text: Option<&str>| text.map_or(Some(0), |text| if text.is_empty() { Some(0) } else { text.parse().ok() });
    let uid = privileges.user.map(i64::from).or_else(|| number(named.next()))?;
    let gid = privileges
        .group
        .map(i64::from)
        .or_else(|| if privileges.user.is_some() { Some(0) } else { number(named.next()) })?;
    let mut groups = vec![gid];
    groups.extend(privileges.extra_groups.iter().map(|group| i64::from(*group)).filter(|group| *group != gid));
    Some(ContainerUser { linux: Some(LinuxContainerUser { uid, gid, supplemental_groups: Some(groups) }) })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(pod: Value, own: Value, image_user: &str) -> Result<Privileges, String> {
        on(false, pod, own, image_user)
    }

    fn on(selinux: bool, pod: Value, own: Value, image_user: &str) -> Result<Privileges, String> {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u"},
            "spec": {"securityContext": pod, "containers": [{"name": "c", "securityContext": own}]},
        }))
        .expect("a pod");
        let container = &pod.spec.as_ref().expect("set above").containers[0];
        privileges(&pod, container, image_user, &Host { profiles: PathBuf::from("/profiles"), selinux })
    }

    #[test]
    fn labels_are_refused_only_where_there_are_some() {
        let labels = json!({"seLinuxOptions": {"level": "s0:c1,c2"}});
        for (pod, own) in [(labels.clone(), json!({})), (json!({}), labels)] {
            assert_eq!(on(false, pod.clone(), own.clone(), ""), Ok(Privileges::default()));
            assert_eq!(on(true, pod, own, ""), Err("seLinuxOptions are not supported by this node".to_owned()));
        }
        assert_eq!(on(true, json!({"seLinuxOptions": {}}), json!({}), ""), Ok(Privileges::default()));
    }

    #[test]
    fn a_strict_pod_takes_no_groups_from_its_image() {
        let policy = |policy: &str| of(json!({"supplementalGroupsPolicy": policy}), json!({}), "");
        assert_eq!(policy("Merge"), Ok(Privileges::default()));
        assert_eq!(policy("Strict"), Ok(Privileges { groups_of_pod_only: true, ..Privileges::default() }));
    }

    #[test]
    fn the_containers_own_context_wins() {
        let got = of(
            json!({"runAsUser": 1, "runAsGroup": 2, "fsGroup": 3, "supplementalGroups": [4]}),
            json!({"runAsUser": 5, "capabilities": {"add": ["CAP_NET_RAW"], "drop": ["ALL"]}, "allowPrivilegeEscalation": false}),
            "",
        );
        let wanted = Privileges {
            user: Some(5),
            group: Some(2),
            extra_groups: vec![4, 3],
            add: vec!["NET_RAW".to_owned()],
            drop: vec!["ALL".to_owned()],
            no_new_privileges: true,
            ..Privileges::default()
        };
        assert_eq!(got, Ok(wanted));
    }

    #[test]
    fn root_is_refused_where_it_must_not_be() {
        let place = "(pod: \"p_n(u)\", container: c)";
        let cases = [
            (json!({}), "", Some(format!("container has runAsNonRoot and image will run as root {place}"))),
            (json!({}), "0:5", Some(format!("container has runAsNonRoot and image will run as root {place}"))),
            (json!({}), "1000", None),
            (json!({"runAsUser": 0}), "1000", Some(format!("container's runAsUser breaks non-root policy {place}"))),
            (json!({"runAsUser": 7}), "", None),
        ];
        for (own, user, wanted) in cases {
            assert_eq!(of(json!({"runAsNonRoot": true}), own, user).err(), wanted, "{user}");
        }
        let named = of(json!({"runAsNonRoot": true}), json!({}), "nginx").expect_err("a name can't be verified");
        assert!(named.contains("non-numeric user (nginx)"), "{named}");
    }
}
