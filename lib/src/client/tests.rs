//! The client against recorded answers: what it asks, in which order, and what it makes of refusals.

use std::sync::{Arc, Mutex};

use http::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};

use super::*;
use crate::Bundle;

/// What was asked: `PATCH /api/v1/... <body>`.
type Asked = Arc<Mutex<Vec<(String, Value)>>>;

/// A client whose server answers as `answer` says, given method with path (without its query) and body.
fn client(answer: impl Fn(&str, &Value) -> (u16, Value) + Clone + Send + 'static) -> (Client, Asked) {
    let asked = Asked::default();
    let heard = asked.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let (answer, heard) = (answer.clone(), heard.clone());
        async move {
            let call = format!("{} {}", request.method(), request.uri().path());
            let query = request.uri().query().unwrap_or_default().to_owned();
            let bytes = request.into_body().collect_bytes().await?;
            let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
            let (code, said) = answer(&call, &body);
            let shown = if query.is_empty() { call } else { format!("{call}?{query}") };
            heard.lock().unwrap().push((shown, body));
            let answer = Response::builder().status(code).body(Body::from(said.to_string().into_bytes()));
            Ok::<_, kube::Error>(answer.unwrap())
        }
    });
    (Client::from_kube(kube::Client::new(service, "default"), "https://fake", "tester"), asked)
}

fn status(code: u16, reason: &str, message: &str) -> (u16, Value) {
    (code, kprov_schema::Status::failure(code, reason, message).to_json())
}

fn bundle() -> Bundle {
    let text = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: one, namespace: shop}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: two, namespace: shop}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
";
    Bundle::from_yaml("shop", text).unwrap()
}

fn words(report: &Report) -> Vec<String> {
    report.objects.iter().map(|did| format!("{} {}", did.object, did.outcome)).collect()
}

/// A server on which nothing is there, and everything can be made.
fn empty(call: &str, body: &Value) -> (u16, Value) {
    match call.split(' ').next() {
        Some("GET") => status(404, "NotFound", "not found"),
        _ => (201, body.clone()),
    }
}

#[tokio::test]
async fn objects_are_applied_in_the_order_of_their_needs() {
    let (client, asked) = client(empty);
    let report = client.apply(&bundle()).await.unwrap();
    let said = ["Namespace shop", "ConfigMap shop/one", "ConfigMap shop/two", "Deployment shop/web"];
    assert_eq!(words(&report), said.map(|object| format!("{object} created")));
    let asked = asked.lock().unwrap();
    let (call, body) = asked.iter().find(|(call, _)| call.starts_with("PATCH")).unwrap();
    let query = "?&force=false&fieldManager=kprov&fieldValidation=Strict";
    assert!(call == &format!("PATCH /api/v1/namespaces/shop{query}") || call.contains("fieldManager=kprov"), "{call}");
    assert!(call.contains("fieldValidation=Strict"), "{call}");
    assert_eq!(body, &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}));
}

#[tokio::test]
async fn a_stage_is_tried_to_its_end_and_the_next_is_not() {
    let (client, asked) = client(|call, body| match call {
        "PATCH /api/v1/namespaces/shop/configmaps/one" => status(422, "Invalid", "one is invalid"),
        call => empty(call, body),
    });
    let error = client.apply(&bundle()).await.unwrap_err();
    let ClientError::Incomplete(report) = &error else { panic!("{error}") };
    let said = words(report);
    assert!(said[1].starts_with("ConfigMap shop/one failed: apply ConfigMap shop/one: one is invalid"), "{said:?}");
    assert_eq!(said[2], "ConfigMap shop/two created");
    assert!(said[3].starts_with("Deployment shop/web skipped"), "{said:?}");
    assert!(error.to_string().starts_with("1 of 4 objects failed\nConfigMap shop/one: "), "{error}");
    assert!(!asked.lock().unwrap().iter().any(|(call, _)| call.contains("deployments")));
}

#[tokio::test]
async fn what_is_tracked_is_noted_before_the_first_object_is_made() {
    let (client, asked) = client(empty);
    client.apply_with(&bundle(), &Apply::new().track(), &mut |_| {}).await.unwrap();
    let asked = asked.lock().unwrap();
    let writes: Vec<&(String, Value)> = asked.iter().filter(|(call, _)| !call.starts_with("GET")).collect();
    let (call, note) = writes[0];
    assert!(call.starts_with("POST /api/v1/namespaces/default/configmaps"), "{call}");
    let kinds = &note["metadata"]["annotations"]["applyset.kubernetes.io/contains-group-kinds"];
    assert_eq!(kinds, "ConfigMap,Deployment.apps,Namespace");
    let id = &note["metadata"]["labels"]["applyset.kubernetes.io/id"];
    for (call, body) in writes.iter().filter(|(call, _)| call.starts_with("PATCH")) {
        assert_eq!(&body["metadata"]["labels"]["applyset.kubernetes.io/part-of"], id, "{call}");
    }
}

#[tokio::test]
async fn what_somebody_made_in_between_does_not_become_ours() {
    let (client, asked) = client(|call, body| match call {
        "PATCH /api/v1/namespaces/shop" => (200, body.clone()),
        call => empty(call, body),
    });
    let report = client.apply_with(&bundle(), &Apply::new().track(), &mut |_| {}).await.unwrap();
    assert_eq!(words(&report)[0], "Namespace shop configured");
    let asked = asked.lock().unwrap();
    let (_, last) = asked.iter().rfind(|(call, _)| call.starts_with("PATCH /api/v1/namespaces/shop?")).unwrap();
    assert_eq!(last["metadata"], json!({"name": "shop"}), "the label is taken back");
}

#[tokio::test]
async fn the_same_object_twice_and_objects_without_a_name_are_refused_before_anything_is_sent() {
    let twice = "{apiVersion: v1, kind: Secret, metadata: {name: a}}";
    let cases = [
        (format!("{twice}\n---\n{twice}\n"), "Secret default/a: it is there twice"),
        ("{apiVersion: v1, kind: Secret, metadata: {generateName: a}}".to_owned(), "it has no metadata.name"),
    ];
    for (text, said) in cases {
        let (client, asked) = client(empty);
        let error = client.apply(&Bundle::from_yaml("b", &text).unwrap()).await.unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
        assert!(asked.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn kinds_that_are_not_published_are_looked_up_and_unknown_ones_named() {
    let list = json!({"kind": "APIResourceList", "resources": [
        {"name": "widgets", "kind": "Widget", "namespaced": true},
    ]});
    let (client, asked) = client(move |call, body| match call {
        "GET /apis/example.com/v1" => (200, list.clone()),
        call => empty(call, body),
    });
    let widget = "{apiVersion: example.com/v1, kind: Widget, metadata: {name: a}}";
    let bundle = Bundle::from_yaml("b", &format!("{widget}\n---\n{}\n", widget.replace("name: a", "name: b"))).unwrap();
    client.apply(&bundle).await.unwrap();
    let asked: Vec<String> = asked.lock().unwrap().iter().map(|(call, _)| call.clone()).collect();
    assert!(asked.iter().any(|call| call.starts_with("PATCH /apis/example.com/v1/namespaces/default/widgets/b?")));
    let bundle = Bundle::from_yaml("b", "{apiVersion: example.com/v1, kind: Gadget, metadata: {name: a}}").unwrap();
    let error = client.apply(&bundle).await.unwrap_err().to_string();
    assert!(error.contains("https://fake as tester serves no kind Gadget of example.com/v1"), "{error}");
}

#[tokio::test]
async fn single_objects_are_typed_and_deleting_twice_is_fine() {
    use k8s_openapi::api::core::v1::ConfigMap;
    let (client, asked) = client(|call, body| match call {
        "DELETE /api/v1/namespaces/kube-system/configmaps/aws-auth" => status(404, "NotFound", "not found"),
        "POST /api/v1/namespaces/kube-system/configmaps" if body["data"].is_null() => {
            status(409, "AlreadyExists", "configmaps \"aws-auth\" already exists")
        }
        _ => (201, body.clone()),
    });
    let client = client.in_namespace("kube-system");
    let maps = client.of::<ConfigMap>();
    assert!(!maps.delete_if_exists("aws-auth").await.unwrap());
    let mut map = ConfigMap::default();
    map.metadata.name = Some("aws-auth".to_owned());
    let error = client.create(&map).await.unwrap_err();
    let api = error.api().unwrap();
    assert_eq!((api.code(), api.reason()), (409, "AlreadyExists"));
    map.data = Some([("mapRoles".to_owned(), "[]".to_owned())].into());
    assert_eq!(client.create(&map).await.unwrap().data, map.data);
    let (_, sent) = asked.lock().unwrap().last().unwrap().clone();
    assert_eq!((&sent["apiVersion"], &sent["kind"]), (&json!("v1"), &json!("ConfigMap")));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_with_the_next_step() {
    // Port 1 of this machine: nothing listens there.
    let server = Server::at("http://127.0.0.1:1").token("t");
    let client = Client::connect(server).await.unwrap();
    let error = client.list::<k8s_openapi::api::core::v1::Pod>().await.unwrap_err().to_string();
    let said =
        "list Pod: can't reach http://127.0.0.1:1 as the holder of a token: nothing listens there; is the cluster up?";
    assert!(error.starts_with(said), "{error}");
}
