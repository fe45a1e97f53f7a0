//! What the Pod Security level `restricted` demands and forbids.
//!
//! Source: <https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted>

use k8s_openapi::api::core::v1 as core;
use kprov_schema::pod_security::{Level, Standard};

/// Asks of a container what the level `restricted` demands.
pub(super) fn harden(container: &mut core::Container) {
    let context = container.security_context.get_or_insert_default();
    context.allow_privilege_escalation = Some(false);
    context.run_as_non_root = context.run_as_non_root.filter(|non_root| *non_root);
    context.capabilities.get_or_insert_default().drop = Some(vec!["ALL".to_owned()]);
}

/// Hardens a container that joins a pod on which `restricted()` was called before.
#[track_caller]
pub(in crate::build) fn join(spec: &core::PodSpec, container: &mut core::Container) {
    let pod = spec.security_context.as_ref();
    let named = pod.is_some_and(|pod| pod.run_as_non_root == Some(true) && pod.seccomp_profile.is_some());
    let mut others = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    if named && !spec.containers.is_empty() && others.all(is_hardened) {
        harden(container);
        let mut joined = spec.clone();
        joined.containers.push(container.clone());
        assert_allowed(&joined);
    }
}

fn is_hardened(container: &core::Container) -> bool {
    container.security_context.as_ref().is_some_and(|context| {
        let dropped = context.capabilities.iter().flat_map(|capabilities| capabilities.drop.iter().flatten());
        context.allow_privilege_escalation == Some(false) && dropped.clone().any(|one| one == "ALL")
    })
}

/// What a pod asks for and the level `restricted` forbids.
#[track_caller]
pub(super) fn assert_allowed(spec: &core::PodSpec) {
    let forbidden = Standard::latest(Level::Restricted).forbids(None, spec);
    assert!(forbidden.is_empty(), "a restricted pod can't have: {forbidden}");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::build::{Container, Deployment, Pods, Secured, Volume};

    #[test]
    fn restricted_covers_containers_that_come_later() {
        let web = Deployment::new("web", Container::new("web", "shop:1").add_capability("NET_BIND_SERVICE"))
            .restricted()
            .init(Container::new("migrate", "shop:1"))
            .sidecar(Container::new("log", "fluent-bit:4"));
        let pod = serde_json::to_value(&web).unwrap()["spec"]["template"]["spec"].clone();
        let seccomp = json!({"type": "RuntimeDefault"});
        assert_eq!(pod["securityContext"], json!({"runAsNonRoot": true, "seccompProfile": seccomp}));
        let hardened = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
        assert_eq!(pod["initContainers"][0]["securityContext"], hardened);
        assert_eq!(pod["initContainers"][1]["securityContext"], hardened);
        let capabilities = json!({"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]});
        assert_eq!(pod["containers"][0]["securityContext"]["capabilities"], capabilities);
    }

    #[test]
    fn a_pod_that_is_not_restricted_keeps_what_it_has() {
        let web = Deployment::new("web", Container::new("web", "shop:1")).container(Container::new("b", "shop:1"));
        assert!(web.build().spec.template.spec.unwrap().containers[1].security_context.is_none());
    }

    #[test]
    #[should_panic(
        expected = "can't have: privileged (container \"web\" must not set securityContext.privileged=true), restricted volume"
    )]
    fn what_contradicts_is_named() {
        let etc = Volume::host_path("etc", "/etc");
        let _ = Deployment::new("web", Container::new("web", "shop:1").privileged().mount(&etc, "/host")).restricted();
    }

    #[test]
    #[should_panic(expected = "container \"log\" must not include \"SYS_ADMIN\"")]
    fn what_contradicts_later_is_named() {
        let log = Container::new("log", "fluent-bit:4").add_capability("SYS_ADMIN");
        let _ = Deployment::new("web", Container::new("web", "shop:1")).restricted().sidecar(log);
    }
}
