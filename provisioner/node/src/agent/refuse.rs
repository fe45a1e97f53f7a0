//! What pods may ask for and this node can't give: a table of fields.

use k8s_openapi::api::core::v1::{AppArmorProfile, Container, Pod, PodSpec};
use kprov_schema::quantity::Quantity;

use super::resources::containers;

/// A pod that must not even be tried, as reason and message; its phase becomes Failed.
#[must_use]
pub fn rejection(pod: &Pod) -> Option<(String, String)> {
    let spec = pod.spec.as_ref()?;
    let asks = |profile: Option<&AppArmorProfile>| profile.is_some_and(|profile| profile.type_ != "Unconfined");
    let own = spec.security_context.as_ref().and_then(|context| context.app_armor_profile.as_ref());
    let mut all = containers(spec);
    let any = asks(own)
        || all
            .any(|(one, _)| asks(one.security_context.as_ref().and_then(|context| context.app_armor_profile.as_ref())));
    any.then(|| ("AppArmor".to_owned(), "Cannot enforce AppArmor: AppArmor is not enabled on the host".to_owned()))
}

/// Everything a pod asks for that this node does not do. One text a field, in the order of the table.
#[must_use]
pub fn unsupported(pod: &Pod) -> Vec<String> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let of_pod = POD.iter().filter(|(_, asks)| asks(spec)).map(|(field, _)| (*field).to_owned());
    let of_containers = containers(spec).flat_map(|(container, _)| {
        // Ports of a pod that shares the node's network are the node's.
        let given = |field: &str| field == HOST_PORT && spec.host_network == Some(true);
        let asked = CONTAINER.iter().filter(|(field, asks)| asks(&container) && !given(field));
        asked.map(|(field, _)| format!("{field} of container {}", container.name)).collect::<Vec<_>>()
    });
    of_pod.chain(of_containers).map(|what| format!("{what} is not supported by this node")).collect()
}

fn some<T>(list: Option<&Vec<T>>) -> bool {
    list.is_some_and(|list| !list.is_empty())
}

type Asks<T> = (&'static str, fn(&T) -> bool);

const POD: &[Asks<PodSpec>] = &[
    ("spec.hostUsers: false", |spec| spec.host_users == Some(false)),
    ("spec.runtimeClassName", |spec| spec.runtime_class_name.is_some()),
    ("spec.resourceClaims", |spec| some(spec.resource_claims.as_ref())),
    ("spec.resources", |spec| spec.resources.is_some()),
    ("spec.volumes.emptyDir.sizeLimit on disk", |spec| {
        let empty = spec.volumes.iter().flatten().filter_map(|volume| volume.empty_dir.as_ref());
        empty.into_iter().any(|one| {
            // Zero is no limit.
            let limited = one.size_limit.as_ref().is_some_and(|limit| Quantity::from(limit).value() != 0);
            limited && one.medium.as_deref() != Some("Memory")
        })
    }),
    ("spec.os other than linux", |spec| spec.os.as_ref().is_some_and(|os| os.name != "linux")),
    ("spec.securityContext.windowsOptions", |spec| {
        spec.security_context.as_ref().is_some_and(|context| context.windows_options.is_some())
    }),
];

const HOST_PORT: &str = "hostPort";

const CONTAINER: &[Asks<Container>] = &[
    ("lifecycle with tcpSocket", |one| {
        let hooks = one.lifecycle.iter().flat_map(|all| [&all.post_start, &all.pre_stop]).flatten();
        hooks.into_iter().any(|hook| hook.tcp_socket.is_some())
    }),
    ("restartPolicyRules", |one| some(one.restart_policy_rules.as_ref())),
    ("volumeDevices", |one| some(one.volume_devices.as_ref())),
    ("resources.claims", |one| one.resources.as_ref().is_some_and(|all| some(all.claims.as_ref()))),
    ("resources.limits of ephemeral-storage", |one| {
        let limits = one.resources.as_ref().and_then(|all| all.limits.as_ref());
        limits.is_some_and(|limits| limits.contains_key("ephemeral-storage"))
    }),
    (HOST_PORT, |one| one.ports.iter().flatten().any(|port| port.host_port.is_some_and(|port| port != 0))),
    ("mountPropagation", |one| {
        let mut mounts = one.volume_mounts.iter().flatten();
        mounts.any(|mount| mount.mount_propagation.as_deref().is_some_and(|mode| mode != "None"))
    }),
    ("volumeMounts.recursiveReadOnly: Enabled", |one| {
        one.volume_mounts.iter().flatten().any(|mount| mount.recursive_read_only.as_deref() == Some("Enabled"))
    }),
    ("securityContext.windowsOptions", |one| {
        one.security_context.as_ref().is_some_and(|context| context.windows_options.is_some())
    }),
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn refused(volume: &Value, mount: &Value, resources: &Value) -> Vec<String> {
        let container = json!({"name": "c", "volumeMounts": [mount], "resources": resources});
        let pod = json!({"metadata": {}, "spec": {"volumes": [volume], "containers": [container]}});
        unsupported(&serde_json::from_value(pod).expect("a pod"))
    }

    #[test]
    fn refuses_limits_that_nobody_would_keep() {
        let (volume, mount) = (json!({"name": "v", "emptyDir": {}}), json!({"name": "v", "mountPath": "/v"}));
        assert!(refused(&volume, &mount, &json!({"requests": {"ephemeral-storage": "1Gi"}})).is_empty());
        let limit = json!({"limits": {"ephemeral-storage": "1Gi"}});
        let text = "resources.limits of ephemeral-storage of container c is not supported by this node";
        assert_eq!(refused(&volume, &mount, &limit), [text]);
        for (source, ok) in [
            (json!({"sizeLimit": "1Mi"}), false),
            (json!({"sizeLimit": "0"}), true),
            (json!({"sizeLimit": "1Mi", "medium": "Memory"}), true),
        ] {
            let volume = json!({"name": "v", "emptyDir": source});
            assert_eq!(refused(&volume, &mount, &json!({})).is_empty(), ok, "{source}");
        }
        for (mode, ok) in [("Enabled", false), ("IfPossible", true), ("Disabled", true)] {
            let mount = json!({"name": "v", "mountPath": "/v", "readOnly": true, "recursiveReadOnly": mode});
            assert_eq!(refused(&volume, &mount, &json!({})).is_empty(), ok, "{mode}");
        }
    }
}
