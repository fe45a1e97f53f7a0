//! Each program sends what the tutorials' Python program sends, and is at most half as long.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use kprov_examples::programs::{aws_auth, claim, deployment, ingress, naked_pod, service};
use serde::Serialize;
use serde_json::{Value, json};

#[track_caller]
fn check(ours: impl Serialize, theirs: Value) {
    assert_eq!(serde_json::to_value(ours).unwrap(), theirs);
}

#[test]
fn a_naked_pod() {
    let theirs = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "naked-pod-demo"},
        "spec": {"containers": [{"name": "naked-pod-demo-ctr", "image": "nginx"}]}
    });
    check(naked_pod::pod(), theirs);
}

#[test]
fn a_deployment() {
    let theirs = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "alpine"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "alpine"}},
            "template": {
                "metadata": {"labels": {"app": "alpine"}},
                "spec": {"containers": [{"name": "alpine-ctr", "image": "httpd:alpine"}]}
            }
        }
    });
    check(deployment::deployment(), theirs);
}

/// The Python program also spells out `protocol: TCP`, which is what a port without one has.
#[test]
fn a_service() {
    let theirs = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "alpine-service"},
        "spec": {
            "type": "LoadBalancer",
            "selector": {"app": "alpine"},
            "ports": [{"port": 8080, "protocol": "TCP", "targetPort": 80}]
        }
    });
    let mut ours = serde_json::to_value(service::service()).unwrap();
    let port = ours["spec"]["ports"][0].as_object_mut().unwrap();
    assert_eq!(port.insert("protocol".to_owned(), json!("TCP")), None);
    check(ours, theirs);
}

/// The Python program sends the beta version, which is gone: the same in the words of `v1`.
#[test]
fn an_ingress() {
    let to = |service: &str| json!({"service": {"name": service, "port": {"number": 8080}}});
    let theirs = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            "name": "test-ingress",
            "annotations": {"nginx.ingress.kubernetes.io/rewrite-target": "/"}
        },
        "spec": {"rules": [{"http": {"paths": [
            {"path": "/httpd", "pathType": "Prefix", "backend": to("httpd-service")},
            {"path": "/tomcat", "pathType": "Prefix", "backend": to("tomcat-service")}
        ]}}]}
    });
    check(ingress::ingress(), theirs);
}

#[test]
fn a_claim_and_the_deployment_that_mounts_it() {
    let claim = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "my-pvc"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "32Gi"}}}
    });
    let container = json!({
        "name": "alpine-ctr",
        "image": "httpd:alpine",
        "volumeMounts": [{"name": "my-pvc", "mountPath": "/test"}]
    });
    let volume = json!({"name": "my-pvc", "persistentVolumeClaim": {"claimName": "my-pvc"}});
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "pvc-test"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "alpine"}},
            "template": {
                "metadata": {"labels": {"app": "alpine"}},
                "spec": {"containers": [container], "volumes": [volume]}
            }
        }
    });
    let ours = claim::application();
    let sent: Vec<Value> = ours.in_order().into_iter().map(|object| Value::Object(object.map().clone())).collect();
    check(sent, json!([claim, deployment]));
}

#[test]
fn the_config_map_of_an_eks_cluster() {
    let theirs = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "aws-auth", "namespace": "kube-system"},
        "data": {"mapRoles": "- rolearn: arn:aws:iam::012345678901:role/nodes\n  \
            username: system:node:{{EC2PrivateDNSName}}\n  groups:\n    - system:bootstrappers\n    - system:nodes\n"}
    });
    check(aws_auth::config_map("arn:aws:iam::012345678901:role/nodes"), theirs);
}

/// Lines of code of the Python programs, without blank lines and comments.
const PYTHON: &[(&str, usize)] =
    &[("naked_pod", 25), ("deployment", 45), ("service", 30), ("ingress", 45), ("claim", 55), ("aws_auth", 30)];

#[test]
fn each_program_is_at_most_half_as_long() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, python) in PYTHON {
        let objects = root.join(format!("src/programs/{name}.rs"));
        let main = root.join(format!("examples/{name}.rs"));
        let ours = lines_of_code(&objects) + lines_of_code(&main);
        assert!(2 * ours <= *python, "{name}: {ours} lines, {python} in Python");
    }
}

fn lines_of_code(path: &Path) -> usize {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")).count()
}
