//! What kinds do beside being kept: runtime classes to pods, decisions to requests for certificates, documents to clients.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::{Value, json};

use crate::definitions::Cluster;

const JSON: &str = "application/json";
const PODS: &str = "/api/v1/namespaces/default/pods";
const CLASSES: &str = "/apis/node.k8s.io/v1/runtimeclasses";
const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";

#[tokio::test]
async fn a_pod_gets_what_its_runtime_class_says() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(folder.path()).await;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    assert_eq!(cluster.post("/api/v1/namespaces/default/serviceaccounts", account).await.0, 201);
    let class = json!({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "boxed"},
        "handler": "box", "overhead": {"podFixed": {"cpu": "10m"}},
        "scheduling": {"nodeSelector": {"box": "yes"}, "tolerations": [{"key": "box", "operator": "Exists"}]}});
    assert_eq!(cluster.post(CLASSES, class).await.0, 201);
    let pod = |name: &str, class: Value, more: Value| {
        let mut spec = json!({"containers": [{"name": "c", "image": "i"}], "runtimeClassName": class});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
    };
    let (code, made) = cluster.post(PODS, pod("a", json!("boxed"), json!({"nodeSelector": {"own": "1"}}))).await;
    assert_eq!(code, 201, "{made}");
    assert_eq!(made["spec"]["overhead"], json!({"cpu": "10m"}));
    assert_eq!(made["spec"]["nodeSelector"], json!({"own": "1", "box": "yes"}));
    let tolerations = made["spec"]["tolerations"].as_array().unwrap();
    assert!(tolerations.contains(&json!({"key": "box", "operator": "Exists"})), "{made}");
    let overhead = json!({"overhead": {"cpu": "20m"}});
    for (given, why) in [
        (pod("b", json!("none"), json!({})), "pod rejected: RuntimeClass \"none\" not found"),
        (
            pod("b", json!("boxed"), json!({"nodeSelector": {"box": "no"}})),
            "conflict: runtimeClass.scheduling.nodeSelector[box] = yes; pod.spec.nodeSelector[box] = no",
        ),
        (
            pod("b", json!("boxed"), overhead.clone()),
            "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
        ),
        (
            pod("b", Value::Null, overhead),
            "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
        ),
    ] {
        let (code, answer) = cluster.post(PODS, given).await;
        let wanted = format!("pods \"b\" is forbidden: {why}");
        assert_eq!((code, answer["message"].as_str()), (403, Some(wanted.as_str())));
    }
    cluster.stop().await;
}

fn request(name: &str, pem: &str) -> Value {
    json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": name},
           "spec": {"request": STANDARD.encode(pem), "signerName": "kubernetes.io/kube-apiserver-client",
                    "usages": ["client auth"], "username": "somebody else"}})
}

fn pem(organization: &str) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "jane");
    params.distinguished_name.push(DnType::OrganizationName, organization);
    params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap()
}

#[tokio::test]
async fn a_request_for_a_certificate_is_read_and_decided() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(folder.path()).await;
    let (code, made) = cluster.post(REQUESTS, request("jane", &pem("makers"))).await;
    assert_eq!(code, 201, "{made}");
    assert_eq!(made["spec"]["username"], "kubernetes-admin");
    let (code, answer) = cluster.post(REQUESTS, request("no", "nonsense")).await;
    assert_eq!((code, &answer["details"]["causes"][0]["field"]), (422, &json!("spec.request")), "{answer}");
    let (code, answer) = cluster.post(REQUESTS, request("no", &pem("system:masters"))).await;
    assert!(code == 403 && answer["message"].as_str().unwrap().contains("system:masters"), "{answer}");
    let mut approved = made;
    approved["status"] = json!({"conditions": [{"type": "Approved", "status": "True", "reason": "Fine"}]});
    let path = format!("{REQUESTS}/jane/approval");
    let (code, answer) = cluster.ask("PUT", &path, JSON, approved).await;
    assert_eq!(code, 200, "{answer}");
    let condition = &answer["status"]["conditions"][0];
    assert!(condition["lastUpdateTime"].is_string() && condition["lastTransitionTime"].is_string(), "{answer}");
    let mut denied = answer;
    let other = json!({"type": "Denied", "status": "True"});
    denied["status"]["conditions"].as_array_mut().unwrap().push(other);
    let (code, answer) = cluster.ask("PUT", &path, JSON, denied).await;
    assert_eq!(code, 422, "{answer}");
    cluster.stop().await;
}

#[tokio::test]
async fn priorities_groups_and_the_service_range_are_there_from_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(folder.path()).await;
    let count = |list: &Value| list["items"].as_array().unwrap().len();
    let (_, levels) = cluster.get("/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations").await;
    let (_, flows) = cluster.get("/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas").await;
    assert_eq!((count(&levels), count(&flows)), (8, 11));
    let found = flows["items"].as_array().unwrap().iter().map(|one| &one["status"]["conditions"][0]["reason"]);
    assert!(found.clone().all(|reason| reason == "Found"), "{:?}", found.collect::<Vec<_>>());
    let (_, range) = cluster.get("/apis/networking.k8s.io/v1/servicecidrs/kubernetes").await;
    assert_eq!(range["status"]["conditions"][0]["status"], "True");
    let (_, apps) = cluster.get("/apis/apiregistration.k8s.io/v1/apiservices/v1.apps").await;
    assert_eq!(apps["status"]["conditions"][0]["reason"], "Local");
    cluster.stop().await;
}
