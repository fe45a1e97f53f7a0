//! Readiness as a table: what the server shows, and what is made of it.

use serde_json::json;

use super::*;

/// How an object is: `ready`, `waiting: ...` or `failed: ...`.
fn judged(kind: &str, rest: Value) -> String {
    let (api_version, kind) = kind.rsplit_once('/').unwrap();
    let mut object = Object::try_from(rest).unwrap();
    object.set(&["apiVersion"], api_version.into());
    object.set(&["kind"], kind.into());
    match readiness(&object) {
        Ready => "ready".to_owned(),
        Waiting(why) => format!("waiting: {why}"),
        Failed(why) => format!("failed: {why}"),
    }
}

fn check(cases: &[(&str, Value, &str)]) {
    for (kind, object, said) in cases {
        assert_eq!(judged(kind, object.clone()), *said, "{kind} {object}");
    }
}

fn deployment(status: Value) -> Value {
    let mut all = json!({"metadata": {"generation": 2}, "spec": {"replicas": 2}, "status": {"observedGeneration": 2}});
    all["status"].as_object_mut().unwrap().extend(status.as_object().unwrap().clone());
    all
}

#[test]
fn deployments_and_their_kin() {
    let stuck = json!({"conditions": [{
        "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"
    }]});
    let quota = json!({"conditions": [{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}]});
    check(&[
        ("apps/v1/Deployment", json!({}), "waiting: its controller has not seen it yet"),
        (
            "apps/v1/Deployment",
            json!({"metadata": {"generation": 3}, "status": {"observedGeneration": 2}}),
            "waiting: its controller has not seen the last change yet",
        ),
        ("apps/v1/Deployment", deployment(json!({})), "waiting: 0 of 2 pods are of the new template"),
        ("apps/v1/Deployment", deployment(stuck), "failed: timed out"),
        ("apps/v1/Deployment", deployment(quota), "waiting: pods can't be made: exceeded quota"),
        (
            "apps/v1/Deployment",
            deployment(json!({"replicas": 3, "updatedReplicas": 2, "availableReplicas": 3})),
            "waiting: 1 pods of an old template are left",
        ),
        (
            "apps/v1/Deployment",
            deployment(json!({"replicas": 2, "updatedReplicas": 2, "availableReplicas": 1})),
            "waiting: 1 of 2 pods are available",
        ),
        (
            "apps/v1/Deployment",
            deployment(json!({"replicas": 2, "updatedReplicas": 2, "availableReplicas": 2})),
            "ready",
        ),
        (
            "apps/v1/Deployment",
            json!({"spec": {"paused": true}, "status": {"observedGeneration": 1}}),
            "waiting: its rollout is paused",
        ),
        (
            "apps/v1/Deployment",
            json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}),
            "waiting: it is being deleted",
        ),
        (
            "apps/v1/ReplicaSet",
            json!({"status": {"observedGeneration": 1, "replicas": 1, "availableReplicas": 1}}),
            "ready",
        ),
        (
            "v1/ReplicationController",
            json!({"spec": {"replicas": 0}, "status": {"observedGeneration": 1, "replicas": 1}}),
            "waiting: there are more pods than wanted",
        ),
    ]);
}

#[test]
fn stateful_and_daemon_sets_and_jobs() {
    let set =
        |strategy: Value, status: Value| json!({"spec": {"replicas": 3, "updateStrategy": strategy}, "status": status});
    let full =
        |updated: i64| json!({"observedGeneration": 1, "replicas": 3, "readyReplicas": 3, "updatedReplicas": updated});
    let daemon = |updated: i64, available: i64| {
        json!({"status": {
            "observedGeneration": 1, "desiredNumberScheduled": 2, "currentNumberScheduled": 2,
            "updatedNumberScheduled": updated, "numberAvailable": available,
        }})
    };
    check(&[
        (
            "apps/v1/StatefulSet",
            set(json!({}), json!({"observedGeneration": 1, "replicas": 1})),
            "waiting: 1 of 3 pods are made",
        ),
        ("apps/v1/StatefulSet", set(json!({}), full(1)), "waiting: 1 of 3 pods are of the new template"),
        ("apps/v1/StatefulSet", set(json!({"type": "OnDelete"}), full(1)), "ready"),
        ("apps/v1/StatefulSet", set(json!({"rollingUpdate": {"partition": 2}}), full(1)), "ready"),
        ("apps/v1/StatefulSet", set(json!({}), full(3)), "ready"),
        ("apps/v1/DaemonSet", json!({}), "waiting: its controller has not seen it yet"),
        ("apps/v1/DaemonSet", daemon(1, 2), "waiting: 1 of 2 pods are of the new template"),
        ("apps/v1/DaemonSet", daemon(2, 1), "waiting: 1 of 2 pods are available"),
        ("apps/v1/DaemonSet", daemon(2, 2), "ready"),
        ("batch/v1/Job", json!({"status": {"failed": 2}}), "waiting: 0 of 1 pods have succeeded, 2 failed"),
        ("batch/v1/Job", json!({"spec": {"suspend": true}}), "ready"),
        ("batch/v1/Job", json!({"status": {"conditions": [{"type": "Complete", "status": "True"}]}}), "ready"),
        (
            "batch/v1/Job",
            json!({"status": {"conditions": [{"type": "Failed", "status": "True", "message": "backoff limit"}]}}),
            "failed: backoff limit",
        ),
    ]);
}

#[test]
fn pods_say_what_keeps_them() {
    let with = |phase: &str, conditions: Value, containers: Value| json!({"status": {"phase": phase, "conditions": conditions, "containerStatuses": containers}});
    let waits = |name: &str, reason: &str, message: &str| json!({"name": name, "state": {"waiting": {"reason": reason, "message": message}}});
    let unscheduled =
        json!([{"type": "PodScheduled", "status": "False", "message": "0/2 nodes are available: 2 Insufficient cpu."}]);
    let ready = |status: &str| json!([{"type": "Ready", "status": status, "reason": "ContainersNotReady"}]);
    let crashing = json!({
        "name": "a", "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
        "lastState": {"terminated": {"exitCode": 3, "reason": "Error"}},
    });
    check(&[
        ("v1/Pod", with("Pending", unscheduled, json!([])), "waiting: 0/2 nodes are available: 2 Insufficient cpu."),
        (
            "v1/Pod",
            with("Pending", ready("False"), json!([waits("a", "ErrImagePull", "not found")])),
            "waiting: ErrImagePull: not found",
        ),
        (
            "v1/Pod",
            with(
                "Pending",
                ready("False"),
                json!([waits("a", "ContainerCreating", ""), waits("b", "ErrImagePull", "x")]),
            ),
            "waiting: container b: ErrImagePull: x",
        ),
        (
            "v1/Pod",
            with("Running", ready("False"), json!([crashing])),
            "waiting: CrashLoopBackOff: back-off 10s (last time: Error, exit code 3)",
        ),
        (
            "v1/Pod",
            with("Running", ready("False"), json!([{"name": "a", "state": {"running": {}}, "ready": false}])),
            "waiting: container a runs and is not ready yet",
        ),
        ("v1/Pod", with("Running", ready("True"), json!([])), "ready"),
        ("v1/Pod", with("Succeeded", ready("False"), json!([])), "ready"),
        (
            "v1/Pod",
            json!({"status": {"phase": "Failed", "reason": "Evicted", "message": "low on memory"}}),
            "failed: Evicted: low on memory",
        ),
        ("v1/Pod", json!({}), "waiting: it is starting"),
    ]);
}

#[test]
fn everything_else() {
    let condition = |kind: &str, status: &str, message: &str| json!({"status": {"conditions": [{"type": kind, "status": status, "message": message}]}});
    let addressed = json!({"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}});
    check(&[
        ("v1/ConfigMap", json!({}), "ready"),
        ("v1/Service", json!({"spec": {}}), "waiting: it has no cluster IP yet"),
        ("v1/Service", json!({"spec": {"clusterIP": "None"}}), "ready"),
        ("v1/Service", json!({"spec": {"type": "ExternalName"}}), "ready"),
        (
            "v1/Service",
            json!({"spec": {"type": "LoadBalancer", "clusterIP": "10.0.0.1"}}),
            "waiting: no load balancer has given it an address yet",
        ),
        (
            "v1/Service",
            json!({"spec": {"type": "LoadBalancer", "clusterIP": "10.0.0.1"}, "status": addressed}),
            "ready",
        ),
        ("networking.k8s.io/v1/Ingress", json!({}), "waiting: no ingress controller has given it an address yet"),
        ("networking.k8s.io/v1/Ingress", json!({ "status": addressed }), "ready"),
        ("v1/PersistentVolumeClaim", json!({"status": {"phase": "Pending"}}), "waiting: no volume is bound to it yet"),
        ("v1/PersistentVolumeClaim", json!({"status": {"phase": "Lost"}}), "failed: its volume is lost"),
        ("v1/PersistentVolume", json!({"status": {"phase": "Available"}}), "ready"),
        ("v1/Namespace", json!({"status": {"phase": "Active"}}), "ready"),
        (
            "apiextensions.k8s.io/v1/CustomResourceDefinition",
            condition("NamesAccepted", "False", "taken"),
            "failed: its names are taken: taken",
        ),
        ("apiextensions.k8s.io/v1/CustomResourceDefinition", json!({}), "waiting: its kind is not served yet"),
        ("apiextensions.k8s.io/v1/CustomResourceDefinition", condition("Established", "True", ""), "ready"),
        (
            "policy/v1/PodDisruptionBudget",
            json!({"status": {"observedGeneration": 1, "currentHealthy": 1, "desiredHealthy": 2}}),
            "waiting: 1 of the 2 pods that it demands are healthy",
        ),
        ("autoscaling/v2/HorizontalPodAutoscaler", condition("AbleToScale", "True", ""), "ready"),
        (
            "autoscaling/v2/HorizontalPodAutoscaler",
            condition("AbleToScale", "False", "no metrics"),
            "waiting: no metrics",
        ),
        (
            "apiregistration.k8s.io/v1/APIService",
            condition("Available", "False", "no endpoints"),
            "waiting: no endpoints",
        ),
        ("example.com/v1/Widget", json!({}), "ready"),
        ("example.com/v1/Widget", condition("Ready", "False", "still mixing"), "waiting: still mixing"),
        ("example.com/v1/Widget", condition("Stalled", "True", "no sugar"), "failed: no sugar"),
        (
            "example.com/v1/Widget",
            json!({"metadata": {"generation": 2}, "status": {"observedGeneration": 1}}),
            "waiting: its controller has not seen the last change yet",
        ),
    ]);
}

#[test]
fn what_keeps_a_deleted_object() {
    let object = |value: Value| Object::try_from(value).unwrap();
    assert_eq!(remains(&object(json!({"metadata": {}}))), None, "another one has its name");
    let kept = object(json!({"metadata": {"deletionTimestamp": "x", "finalizers": ["a/b", "c"]}}));
    assert_eq!(remains(&kept).as_deref(), Some("it is kept by the finalizers a/b, c"));
    let said = json!({"conditions": [
        {"type": "NamespaceContentRemaining", "status": "True", "message": "Some resources are remaining"},
        {"type": "NamespaceDeletionContentFailure", "status": "False", "message": "fine"},
    ]});
    let namespace = object(json!({"kind": "Namespace", "metadata": {"deletionTimestamp": "x"}, "status": said}));
    assert_eq!(remains(&namespace).as_deref(), Some("Some resources are remaining"));
}

#[test]
fn every_rule_is_for_a_kind_that_is_served() {
    for (group, kind, _) in RULES {
        let kinds = kprov_schema::structure::schema().kinds();
        // Definitions are served by the API server itself, outside of the published kinds.
        let served = kinds.iter().any(|served| served.group == *group && served.kind == *kind);
        assert!(served, "{group} {kind}");
    }
}
