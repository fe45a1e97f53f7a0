//! Protobuf bodies: those of real clients, and every recorded object written and read back.

pub(crate) mod encoder;

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kprov_schema::decode::{Media, Target, Validation, decode_as};
use kprov_schema::structure::schema;
use kprov_schema::{canonical, protobuf};
use serde_json::{Value, json};

use crate::recordings::{difference, served, steps};

fn target(path: &str) -> Target {
    if path.ends_with("/token") {
        return Target::published("authentication.k8s.io", "v1", "TokenRequest").unwrap();
    }
    let served = served(path).unwrap();
    Target::published(served.group, served.version, served.kind).unwrap()
}

/// What the bodies of `kubectl_bodies.txt` say, by path; without the namespace, which all of them name.
fn said() -> BTreeMap<&'static str, Value> {
    let web = json!({"app": "web"});
    BTreeMap::from([
        (
            "/apis/apps/v1/namespaces/default/deployments",
            json!({"metadata": {"name": "web", "labels": web}, "status": {}, "spec": {
                "replicas": 2, "selector": {"matchLabels": web}, "strategy": {},
                "template": {"metadata": {"labels": web}, "spec": {"containers": [
                    {"name": "nginx", "image": "nginx", "resources": {}, "ports": [{"containerPort": 80}]}]}}}}),
        ),
        ("/api/v1/namespaces/default/configmaps", json!({"metadata": {"name": "c"}, "data": {"a": "b", "x": ""}})),
        ("/api/v1/namespaces/default/secrets", json!({"metadata": {"name": "s"}, "data": {"k": "dg=="}})),
        (
            "/apis/batch/v1/namespaces/default/cronjobs",
            json!({"metadata": {"name": "cj"}, "status": {}, "spec": {"schedule": "* * * * *", "jobTemplate": {"metadata": {"name": "cj"},
                "spec": {"template": {"metadata": {}, "spec": {"containers": [{"name": "cj", "image": "b", "resources": {}}],
                "restartPolicy": "OnFailure"}}}}}}),
        ),
        (
            "/apis/networking.k8s.io/v1/namespaces/default/ingresses",
            json!({"metadata": {"name": "i"}, "status": {"loadBalancer": {}}, "spec": {"rules": [{"host": "a.b", "http": {"paths": [
                {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "svc", "port": {"number": 80}}}}]}}]}}),
        ),
        (
            "/apis/policy/v1/namespaces/default/poddisruptionbudgets",
            json!({"metadata": {"name": "p"}, "status": {}, "spec": {"minAvailable": "50%", "selector": {"matchLabels": {"a": "b"}}}}),
        ),
        (
            "/api/v1/namespaces/default/resourcequotas",
            json!({"metadata": {"name": "q"}, "status": {}, "spec": {"hard": {"cpu": "1500m", "pods": "3"}}}),
        ),
        (
            "/api/v1/namespaces/default/services",
            json!({"metadata": {"name": "np", "labels": {"app": "np"}}, "status": {"loadBalancer": {}}, "spec": {"type": "NodePort",
                "selector": {"app": "np"}, "ports": [{"name": "80-8080", "protocol": "TCP", "port": 80, "targetPort": 8080}]}}),
        ),
        (
            "/apis/scheduling.k8s.io/v1/priorityclasses",
            json!({"metadata": {"name": "pc"}, "value": 5, "preemptionPolicy": "PreemptLowerPriority"}),
        ),
        (
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            json!({"metadata": {}, "status": {}, "spec": {"resourceAttributes": {"namespace": "default", "verb": "get", "resource": "pods"}}}),
        ),
        (
            "/apis/batch/v1/namespaces/default/jobs",
            json!({"metadata": {"name": "j"}, "status": {}, "spec": {"template": {"metadata": {}, "spec": {"restartPolicy": "Never",
                "containers": [{"name": "j", "image": "busybox", "resources": {}, "command": ["sh", "-c", "exit 0"]}]}}}}),
        ),
        ("/api/v1/namespaces", json!({"metadata": {"name": "n"}, "spec": {}, "status": {}})),
    ])
}

#[test]
fn bodies_of_kubectl_say_what_was_asked() {
    let (said, mut compared) = (said(), 0);
    for line in include_str!("kubectl_bodies.txt").lines().filter(|line| !line.starts_with('#')) {
        let (path, body) = line.split_once(' ').unwrap();
        let target = target(path);
        let decoded = decode_as(&target, &STANDARD.decode(body).unwrap(), Media::Protobuf, Validation::Strict);
        let mut object = decoded.unwrap_or_else(|status| panic!("{path}: {status}")).object;
        for field in ["apiVersion", "kind"] {
            assert!(object.remove(&[field]).is_some(), "{path}");
        }
        object.remove(&["metadata", "namespace"]);
        if let Some(want) = said.get(path) {
            assert_eq!(Value::from(object), *want, "{path}");
            compared += 1;
        }
    }
    assert_eq!(compared, said.len());
}

pub(crate) fn envelope(api_version: &str, kind: &str, message: &[u8]) -> Vec<u8> {
    let mut meta = Vec::new();
    encoder::bytes(&mut meta, 1, api_version.as_bytes());
    encoder::bytes(&mut meta, 2, kind.as_bytes());
    let mut body = b"k8s\0".to_vec();
    encoder::bytes(&mut body, 1, &meta);
    encoder::bytes(&mut body, 2, message);
    body
}

#[test]
fn every_recorded_object_survives_protobuf() {
    let mut kinds = BTreeMap::<String, usize>::new();
    for step in steps(None).iter().filter(|step| step.code < 300) {
        let text = step.answer.to_string().replace("<time>", "2026-01-02T03:04:05Z").replace("\"<port>\"", "30123");
        let mut answer: Value = serde_json::from_str(&text).unwrap();
        // The wire has no kind of a claim's template; it is the same for all, so a rule of StatefulSets puts it back.
        for claim in
            answer.pointer_mut("/spec/volumeClaimTemplates").and_then(Value::as_array_mut).into_iter().flatten()
        {
            claim.as_object_mut().unwrap().retain(|field, _| field != "kind" && field != "apiVersion");
        }
        let (Some(api_version), Some(kind)) = (answer["apiVersion"].as_str(), answer["kind"].as_str()) else {
            continue;
        };
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let Some(served) = schema().served(group, version, kind) else { continue };
        let target = Target::published(served.group, served.version, served.kind).unwrap();
        let body = envelope(api_version, kind, &encoder::message(&served.structure, &answer));
        let decoded = decode_as(&target, &body, Media::Protobuf, Validation::Strict)
            .unwrap_or_else(|status| panic!("{kind}: {status}"));
        let mut map = decoded.object.map().clone();
        canonical::structured(&served.structure, &mut map);
        // Micro times were recorded as times, so their fraction is what the writer adds.
        let got = Value::Object(map).to_string().replace("05.000000Z", "05Z");
        let want = answer.to_string().replace("05.000000Z", "05Z");
        if got != want {
            let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap();
            panic!("{} {kind}: {}", step.scenario, difference(&parsed(&got), &parsed(&want), ""));
        }
        *kinds.entry(kind.to_owned()).or_default() += 1;
    }
    assert!(kinds.len() > 40, "{kinds:?}");
}

#[test]
fn options_and_subresources_are_read() {
    let read = |group, version, kind, message: &[u8]| {
        let target = Target::published(group, version, kind).unwrap();
        let body =
            envelope(&if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }, kind, message);
        let mut object = decode_as(&target, &body, Media::Protobuf, Validation::Strict).unwrap().object;
        object.remove(&["apiVersion"]);
        object.remove(&["kind"]);
        Value::from(object)
    };
    // gracePeriodSeconds = 30, preconditions.uid = "u", propagationPolicy = "Foreground", dryRun = ["All"]
    let options = b"\x08\x1e\x12\x03\x0a\x01u\x22\x0aForeground\x2a\x03All";
    assert_eq!(
        read("", "v1", "DeleteOptions", options),
        json!({"gracePeriodSeconds": 30, "preconditions": {"uid": "u"}, "propagationPolicy": "Foreground", "dryRun": ["All"]})
    );
    // spec.replicas = 3
    assert_eq!(read("autoscaling", "v1", "Scale", b"\x12\x02\x08\x03"), json!({"spec": {"replicas": 3}}));
    // A grace of 0 is a pointer's value, so it stays.
    assert_eq!(read("", "v1", "DeleteOptions", b"\x08\x00"), json!({"gracePeriodSeconds": 0}));
    // Number 1000 is not known to anyone.
    assert_eq!(read("", "v1", "DeleteOptions", b"\xc2\x3e\x01x\x08\x05"), json!({"gracePeriodSeconds": 5}));
    // A negative number takes ten bytes.
    let minus = b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
    assert_eq!(read("", "v1", "DeleteOptions", minus), json!({"gracePeriodSeconds": -1}));
}

#[test]
fn damaged_bodies_are_refused() {
    let target = Target::published("", "v1", "ConfigMap").unwrap();
    let body = STANDARD.decode("azhzAAoPCgJ2MRIJQ29uZmlnTWFwEgA=").unwrap();
    assert!(protobuf::envelope(&body).is_ok());
    for length in 0..body.len() {
        // Cut anywhere it is refused, but for the places where a shorter message ends.
        let cut = decode_as(&target, &body[..length], Media::Protobuf, Validation::Strict);
        assert!(cut.is_err() || [4, 21].contains(&length), "{length}: {cut:?}");
    }
}
