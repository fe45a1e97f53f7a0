//! Who owns what, as clients and the components of this process see it.

use std::path::Path;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use kprov_control_plane::api::{Server, User};
use kprov_control_plane::client::PatchKind;
use kprov_schema::{Key, Object, Resource, Subresource};
use serde_json::{Value, json};

use crate::api::start;

struct Asking {
    server: Server,
}

impl Asking {
    async fn start(folder: &Path) -> Self {
        let (server, _) = start(folder).await;
        Self { server }
    }

    /// Code and body of the answer to a request of `agent`.
    async fn ask(&self, agent: &str, method: &str, path: &str, kind: &str, body: &str) -> (u16, Value) {
        let request = Request::builder().method(method).uri(path).header("User-Agent", agent);
        let request = request.header("Content-Type", kind).body(Full::new(Bytes::from(body.to_owned()))).unwrap();
        let response = self.server.handle(request, Some(&User::admin())).await;
        let code = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (code, serde_json::from_slice(&body).unwrap())
    }

    async fn apply(&self, manager: &str, path: &str, body: Value) -> (u16, Value) {
        let path = format!("{path}?fieldManager={manager}");
        self.ask("t/1", "PATCH", &path, "application/apply-patch+yaml", &body.to_string()).await
    }
}

/// Manager, operation, subresource, fields of each entry.
fn owners(object: &Value) -> Vec<(String, String, String, Value)> {
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    entries
        .map(|one| (text(one, "manager"), text(one, "operation"), text(one, "subresource"), one["fieldsV1"].clone()))
        .collect()
}

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn a_writer_is_known_by_its_name_or_its_agent() {
    let folder = tempfile::tempdir().unwrap();
    let asking = Asking::start(folder.path()).await;
    let json = "application/json";
    let map = r#"{"metadata": {"name": "a"}, "data": {"x": "1"}}"#;
    let (code, made) = asking.ask("kubectl-1.37/v1.37.0 (linux)", "POST", MAPS, json, map).await;
    assert_eq!(code, 201);
    let fields = json!({"f:data": {".": {}, "f:x": {}}});
    assert_eq!(owners(&made), [("kubectl-1.37".into(), "Update".into(), String::new(), fields)]);
    // The same again is not written, so the manager's time stays.
    let path = format!("{MAPS}/a");
    let (code, same) = asking.ask("other/1", "PUT", &path, json, map).await;
    assert_eq!((code, &same), (200, &made));
    let patch = r#"{"data": {"y": "1"}}"#;
    let named = format!("{path}?fieldManager=mine");
    let (_, patched) = asking.ask("other/1", "PATCH", &named, "application/merge-patch+json", patch).await;
    assert_eq!(owners(&patched)[1].0, "mine");
    let reset = r#"{"metadata": {"managedFields": [{}]}}"#;
    let (_, bare) = asking.ask("other/1", "PATCH", &path, "application/merge-patch+json", reset).await;
    assert_eq!(bare["metadata"].get("managedFields"), None);
}

#[tokio::test]
async fn an_apply_makes_changes_and_conflicts() {
    let folder = tempfile::tempdir().unwrap();
    let asking = Asking::start(folder.path()).await;
    let path = format!("{MAPS}/a");
    let config =
        |data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data});
    let (code, made) = asking.apply("one", &path, config(json!({"x": "1"}))).await;
    assert_eq!((code, &made["data"]), (201, &json!({"x": "1"})));
    let (code, same) = asking.apply("one", &path, config(json!({"x": "1"}))).await;
    assert_eq!((code, &same), (200, &made));
    let (code, refused) = asking.apply("two", &path, config(json!({"x": "2"}))).await;
    assert_eq!((code, refused["reason"].as_str()), (409, Some("Conflict")));
    assert_eq!(refused["message"], "Apply failed with 1 conflict: conflict with \"one\": .data.x");
    let (code, dry) = asking.apply("two&force=true&dryRun=All", &path, config(json!({"x": "2"}))).await;
    assert_eq!((code, &dry["data"]), (200, &json!({"x": "2"})));
    let (_, there) = asking.ask("t", "GET", &path, "", "").await;
    assert_eq!(there, made);

    for (query, body, code, message) in [
        (
            "fieldManager=",
            config(json!({})),
            422,
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
        ),
        (
            "fieldManager=m",
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}}),
            400,
            "invalid object type: /v1, Kind=Secret",
        ),
        (
            "fieldManager=m",
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "foo": 1}),
            500,
            "failed to create typed patch object (/a; /v1, Kind=ConfigMap): .foo: field not declared in schema",
        ),
    ] {
        let path = format!("{path}?{query}");
        let (got, answer) = asking.ask("t", "PATCH", &path, "application/apply-patch+yaml", &body.to_string()).await;
        assert_eq!((got, answer["message"].as_str()), (code, Some(message)));
    }
    let (code, _) = asking.ask("t", "PATCH", &path, "application/apply-patch+cbor", "").await;
    assert_eq!(code, 415);
    let twice = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {x: '1', x: '1'}}";
    let strict = format!("{path}?fieldManager=one&fieldValidation=Strict");
    let (code, answer) = asking.ask("t", "PATCH", &strict, "application/apply-patch+yaml", twice).await;
    assert!(code == 400 && answer["message"].as_str().unwrap().starts_with("error strict decoding YAML: "), "{answer}");
    let uid = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b", "uid": "1"}});
    let (code, answer) = asking.apply("one", &format!("{MAPS}/b"), uid).await;
    assert!(code == 409 && answer["message"].as_str().unwrap().contains("uid mismatch"), "{answer}");
}

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {
            "selector": {"matchLabels": {"a": "b"}}, "replicas": 1,
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
        },
    })
}

#[tokio::test]
async fn parts_have_owners_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let asking = Asking::start(folder.path()).await;
    let path = format!("{DEPLOYMENTS}/d");
    let (code, _) = asking.apply("one", &path, deployment()).await;
    assert_eq!(code, 201);
    let status = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
                        "spec": {"replicas": 9}, "status": {"observedGeneration": 1}});
    let (code, object) = asking.apply("two", &format!("{path}/status"), status.clone()).await;
    assert_eq!(
        (code, &object["spec"]["replicas"], &object["status"]["observedGeneration"]),
        (200, &json!(1), &json!(1))
    );
    let fields = json!({"f:status": {"f:observedGeneration": {}}});
    assert!(owners(&object).contains(&("two".into(), "Apply".into(), "status".into(), fields)), "{object}");
    let (code, _) = asking.apply("two", &format!("{DEPLOYMENTS}/none/status"), status).await;
    assert_eq!(code, 404);

    let scale = r#"{"spec": {"replicas": 3}}"#;
    let merge = "application/merge-patch+json";
    let (code, scaled) = asking.ask("hpa/1", "PATCH", &format!("{path}/scale"), merge, scale).await;
    assert_eq!((code, &scaled["spec"]["replicas"]), (200, &json!(3)));
    let (_, object) = asking.ask("t", "GET", &path, "", "").await;
    let fields = json!({"f:spec": {"f:replicas": {}}});
    assert!(owners(&object).contains(&("hpa".into(), "Update".into(), "scale".into(), fields)), "{object}");
    let (code, conflict) = asking.apply("one", &path, deployment()).await;
    let message =
        "Apply failed with 1 conflict: conflict with \"hpa\" with subresource \"scale\" using apps/v1: .spec.replicas";
    assert_eq!((code, conflict["message"].as_str()), (409, Some(message)));
}

#[tokio::test]
async fn owners_are_told_in_the_version_that_they_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let asking = Asking::start(folder.path()).await;
    let event = json!({
        "metadata": {"name": "e"}, "regarding": {"namespace": "default"}, "reason": "R", "note": "m", "action": "A",
        "type": "Normal", "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "example.com/c", "reportingInstance": "i",
    });
    let new = "/apis/events.k8s.io/v1/namespaces/default/events";
    let (code, made) = asking.ask("one/1", "POST", new, "application/json", &event.to_string()).await;
    assert_eq!(code, 201, "{made}");
    let old = "/api/v1/namespaces/default/events/e";
    let (code, patched) =
        asking.ask("two/1", "PATCH", old, "application/merge-patch+json", r#"{"message": "n"}"#).await;
    assert_eq!(code, 200, "{patched}");
    let entries = patched["metadata"]["managedFields"].as_array().unwrap();
    let of = |manager: &str| entries.iter().find(|entry| entry["manager"] == manager).unwrap();
    assert_eq!((&of("one")["apiVersion"], &of("two")["apiVersion"]), (&json!("events.k8s.io/v1"), &json!("v1")));
    assert_eq!(of("two")["fieldsV1"], json!({"f:message": {}}));
    assert!(of("one")["fieldsV1"].get("f:reason").is_some() && of("one")["fieldsV1"].get("f:note").is_none());
}

#[tokio::test]
async fn components_of_this_process_go_by_upstreams_names() {
    let folder = tempfile::tempdir().unwrap();
    let asking = Asking::start(folder.path()).await;
    let pods = Resource { group: "".into(), version: "v1".into(), plural: "pods".into() };
    let account = r#"{"metadata": {"name": "default"}}"#;
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    asking.ask("t", "POST", accounts, "application/json", account).await;
    let manager = asking.server.client(User::component("system:kube-controller-manager"));
    let pod = json!({"metadata": {"name": "p", "namespace": "default"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let made = manager.create(&pods, &Key::new("default", ""), None, Object::try_from(pod).unwrap()).await.unwrap();
    let made = Value::from(Object::clone(&made));
    let [(name, _, _, fields)] = &owners(&made)[..] else { panic!("one owner") };
    assert_eq!(name, "kube-controller-manager");
    let text = fields.to_string();
    // What defaults fill in is the creator's, what admission adds is nobody's.
    assert!(
        text.contains("f:enableServiceLinks") && !text.contains("f:tolerations") && !text.contains("f:volumes"),
        "{text}"
    );

    let scheduler = asking.server.client(User::component("system:kube-scheduler"));
    let key = Key::new("default", "p");
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}});
    let binding = Object::try_from(binding).unwrap();
    scheduler.create(&pods, &key, Some(Subresource::Binding), binding).await.unwrap();
    let bound = manager.get(&pods, &key).await.unwrap();
    assert_eq!(owners(&Value::from(Object::clone(&bound))).len(), 1);
    let agent = asking.server.client(User::node("n"));
    let status = json!({"status": {"phase": "Running"}});
    let patched = agent.patch(&pods, &key, Some(Subresource::Status), PatchKind::Strategic, status).await.unwrap();
    let entry = ("kubelet".into(), "Update".into(), "status".into(), json!({"f:status": {"f:phase": {}}}));
    assert!(owners(&Value::from(Object::clone(&patched))).contains(&entry));
}
