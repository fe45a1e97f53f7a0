//! What is forbidden at which level of which version, as tables.

use serde_json::{Value, json};

use super::*;

/// What a level says of a pod whose security is in order but for `spec` and the containers' `security`.
fn told(standard: Standard, spec: &Value, container: &Value) -> String {
    let mut whole = json!({
        "containers": [{"name": "c", "securityContext":
            {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}],
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
    });
    merge(&mut whole, spec);
    merge(&mut whole["containers"][0], container);
    let annotations = [
        ("container.apparmor.security.beta.kubernetes.io/c".to_owned(), "unconfined".to_owned()),
        ("seccomp.security.alpha.kubernetes.io/pod".to_owned(), "unconfined".to_owned()),
    ];
    let annotated = whole.as_object_mut().unwrap().remove("annotated").is_some();
    let annotations = annotated.then(|| annotations.into());
    standard.forbids(annotations.as_ref(), &serde_json::from_value(whole).unwrap()).to_string()
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

fn at(level: Level, minor: u32) -> Standard {
    Standard { level, version: Version::Minor(minor) }
}

const BASELINE: Standard = Standard::latest(Level::Baseline);
const RESTRICTED: Standard = Standard::latest(Level::Restricted);

#[test]
fn levels_forbid_what_their_checks_name() {
    let none = &json!({});
    let security = |value: Value| json!({"securityContext": value});
    for (standard, spec, container, want) in [
        (RESTRICTED, none, none, ""),
        (BASELINE, &json!({"hostPID": true, "hostIPC": true}), none, "host namespaces (hostPID=true, hostIPC=true)"),
        (
            BASELINE,
            none,
            &json!({"ports": [{"containerPort": 9, "hostPort": 9}, {"containerPort": 10, "hostPort": 10}]}),
            "hostPort (container \"c\" uses hostPorts 10, 9)",
        ),
        (
            BASELINE,
            none,
            &json!({"livenessProbe": {"httpGet": {"port": 1, "host": "a"}}, "lifecycle": {"preStop": {"tcpSocket": {"port": 1, "host": "b"}}}}),
            "probe or lifecycle host (container \"c\" uses probe or lifecycle hosts \"a\", \"b\")",
        ),
        (
            BASELINE,
            none,
            &security(json!({"privileged": true, "capabilities": {"add": ["SYS_TIME", "KILL", "NET_RAW"]}})),
            "non-default capabilities (container \"c\" must not include \"NET_RAW\", \"SYS_TIME\" in \
             securityContext.capabilities.add), privileged (container \"c\" must not set securityContext.privileged=true)",
        ),
        (
            BASELINE,
            &security(json!({"seLinuxOptions": {"type": "t", "user": "u"}})),
            &security(json!({"seLinuxOptions": {"role": "r", "type": "container_engine_t"}})),
            "seLinuxOptions (pod and container \"c\" set forbidden securityContext.seLinuxOptions: type \"t\"; user may \
             not be set; role may not be set)",
        ),
        (
            BASELINE,
            &security(json!({"windowsOptions": {"hostProcess": true}})),
            none,
            "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)",
        ),
        (
            BASELINE,
            &json!({"annotated": true}),
            &security(json!({"appArmorProfile": {"type": "Unconfined"}})),
            "forbidden AppArmor profiles (container \"c\" and annotation must not set AppArmor profile type to \
             \"Unconfined\", \"container.apparmor.security.beta.kubernetes.io/c=\"unconfined\"\")",
        ),
        (
            RESTRICTED,
            &json!({"volumes": [{"name": "n", "nfs": {"server": "s", "path": "/"}}, {"name": "u"}]}),
            none,
            "restricted volume types (volumes \"n\", \"u\" use restricted volume types \"nfs\", \"unknown\")",
        ),
        (
            RESTRICTED,
            none,
            &security(json!({"capabilities": {"drop": [], "add": ["NET_BIND_SERVICE", "KILL"]}})),
            "unrestricted capabilities (container \"c\" must set securityContext.capabilities.drop=[\"ALL\"]; \
             container \"c\" must not include \"KILL\" in securityContext.capabilities.add)",
        ),
        (
            RESTRICTED,
            &security(json!({"runAsNonRoot": null})),
            none,
            "runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true)",
        ),
        (RESTRICTED, &security(json!({"runAsNonRoot": null})), &security(json!({"runAsNonRoot": true})), ""),
        (
            RESTRICTED,
            none,
            &security(json!({"runAsNonRoot": false, "runAsUser": 0})),
            "runAsNonRoot != true (container \"c\" must not set securityContext.runAsNonRoot=false), runAsUser=0 \
             (container \"c\" must not set runAsUser=0)",
        ),
        (
            RESTRICTED,
            &security(json!({"seccompProfile": {"type": "Unconfined"}})),
            none,
            "seccompProfile (pod must not set securityContext.seccompProfile.type to \"Unconfined\")",
        ),
        (Standard::latest(Level::Privileged), &json!({"hostPID": true}), none, ""),
    ] {
        assert_eq!(told(standard, spec, container), want, "{standard} {spec} {container}");
    }
}

#[test]
fn versions_ask_for_what_they_knew() {
    let none = &json!({});
    let range = |name: &str| json!({"securityContext": {"sysctls": [{"name": name, "value": "1"}]}});
    let unmasked = json!({"securityContext": {"procMount": "Unmasked"}});
    let root = json!({"hostUsers": false, "securityContext": {"runAsNonRoot": false, "runAsUser": 0}});
    let proc = "procMount (container \"c\" must not set securityContext.procMount to \"Unmasked\")";
    let windows = json!({"os": {"name": "windows"}});
    let escalation = json!({"securityContext": {"allowPrivilegeEscalation": null}});
    for (standard, spec, container, want) in [
        (
            at(Level::Baseline, 28),
            &range("net.ipv4.tcp_fin_timeout"),
            none,
            "forbidden sysctls (net.ipv4.tcp_fin_timeout)",
        ),
        (at(Level::Baseline, 29), &range("net.ipv4.tcp_fin_timeout"), none, ""),
        (at(Level::Baseline, 31), &range("net.ipv4.tcp_rmem"), none, "forbidden sysctls (net.ipv4.tcp_rmem)"),
        (at(Level::Baseline, 99), &range("net.ipv4.tcp_rmem"), none, ""),
        (at(Level::Baseline, 34), &json!({"hostUsers": false}), &unmasked, proc),
        (at(Level::Baseline, 35), &json!({"hostUsers": false}), &unmasked, ""),
        (at(Level::Restricted, 35), &json!({"hostUsers": false}), &unmasked, proc),
        (RESTRICTED, &root, none, ""),
        (
            at(Level::Restricted, 34),
            &root,
            none,
            "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false), runAsUser=0 (pod must not set runAsUser=0)",
        ),
        (
            at(Level::Restricted, 22),
            &root,
            none,
            "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false)",
        ),
        (
            at(Level::Baseline, 18),
            &json!({"annotated": true, "securityContext": {"appArmorProfile": {"type": "Localhost"}}}),
            none,
            "forbidden AppArmor profile (annotation must not set AppArmor profile type to \
             \"container.apparmor.security.beta.kubernetes.io/c=\"unconfined\"\"), seccompProfile (forbidden annotation \
             seccomp.security.alpha.kubernetes.io/pod=\"unconfined\")",
        ),
        (
            at(Level::Restricted, 24),
            &windows,
            &escalation,
            "allowPrivilegeEscalation != false (container \"c\" must set securityContext.allowPrivilegeEscalation=false)",
        ),
        (at(Level::Restricted, 25), &windows, &escalation, ""),
        (at(Level::Restricted, 7), none, &escalation, ""),
    ] {
        assert_eq!(told(standard, spec, container), want, "{standard} {spec} {container}");
    }
}

#[test]
fn the_table_is_in_order() {
    assert!(CHECKS.is_sorted_by_key(|check| (check.level, check.id)));
    for check in CHECKS {
        assert!(check.versions.is_sorted_by_key(|(since, _)| *since) && !check.versions.is_empty(), "{}", check.id);
        let replaced = |id: &str| CHECKS.iter().any(|other| other.id == id && other.level == Level::Baseline);
        assert!(check.replaces.is_none_or(replaced), "{}", check.id);
    }
}

#[test]
fn labels_make_a_policy() {
    let of = |labels: &[(&str, &str)]| {
        let labels: Vec<(String, &str)> =
            labels.iter().map(|(mode, value)| (format!("{PREFIX}{mode}"), *value)).collect();
        let (policy, wrong) = Policy::of(labels.iter().map(|(key, value)| (key.as_str(), *value)));
        (policy.enforce.to_string(), policy.warn.to_string(), wrong.len())
    };
    let want = |enforce: &str, warn: &str, wrong: usize| (enforce.to_owned(), warn.to_owned(), wrong);
    assert_eq!(of(&[]), want("privileged:latest", "privileged:latest", 0));
    assert_eq!(of(&[("enforce", "baseline"), ("enforce-version", "v1.9")]), want("baseline:v1.9", "baseline:v1.9", 0));
    assert_eq!(of(&[("enforce", "baseline"), ("warn", "restricted")]), want("baseline:latest", "restricted:latest", 0));
    assert_eq!(of(&[("enforce", "no")]), want("restricted:latest", "privileged:latest", 1));
    assert_eq!(of(&[("warn", "no"), ("audit", "no")]), want("privileged:latest", "privileged:latest", 2));
    for (version, wrong) in [("v1.0", 0), ("v1.30", 0), ("v1.03", 1), ("v1.", 1), ("v2.1", 1), ("v1.+1", 1), ("1.3", 1)]
    {
        assert_eq!(of(&[("enforce-version", version)]).2, wrong, "{version}");
    }
}
