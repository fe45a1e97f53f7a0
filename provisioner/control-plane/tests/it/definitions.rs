//! What the API server promises about kinds that are defined at run time.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use kprov_control_plane::api::{Body, Config, Server, User};
use kprov_control_plane::client::{Client, Event, Selection};
use kprov_control_plane::controllers;
use kprov_control_plane::pki::Pki;
use kprov_control_plane::store::Store;
use kprov_control_plane::world::real;
use kprov_schema::{Key, Object, Resource};
use serde_json::{Value, json};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

fn definitions() -> Resource {
    Resource { group: "apiextensions.k8s.io".into(), version: "v1".into(), plural: "customresourcedefinitions".into() }
}

fn version(name: &str, storage: bool, field: &str) -> Value {
    json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": {
        "type": "object", "properties": {"spec": {"type": "object", "properties": {
            field: {"type": "string", "default": "x"}}}}}}})
}

fn widgets(versions: &[Value]) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "versions": versions,
            "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wid"]}},
    })
}

pub(crate) struct Cluster {
    server: Server,
    store: Store,
    admin: Client,
}

impl Cluster {
    pub(crate) async fn start(folder: &Path) -> Self {
        let world = real::world(folder);
        let config = Config { listen: Vec::new(), ..Config::default() };
        let pki = Arc::new(Pki::open_or_create(&folder.join("pki"), &config.names(), &world).unwrap());
        let store = Store::open(&world, "state").unwrap();
        let server = Server::start(config, world, store.clone(), pki).await.unwrap();
        let admin = server.client(User::admin());
        Self { server, store, admin }
    }

    pub(crate) async fn stop(self) {
        self.server.shutdown().await;
        self.store.close().await;
    }

    async fn send(&self, method: &str, path: &str, kind: &str, body: Value) -> Response<Body> {
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let request = Request::builder().method(method).uri(path).header("Content-Type", kind);
        self.server.handle(request.body(Full::new(body)).unwrap(), Some(&User::admin())).await
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, kind: &str, body: Value) -> (u16, Value) {
        let answer = self.send(method, path, kind, body).await;
        let code = answer.status().as_u16();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        (code, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    /// The advice that comes back.
    pub(crate) async fn warnings(&self, method: &str, path: &str) -> (u16, Vec<String>) {
        let answer = self.send(method, path, "", Value::Null).await;
        let warnings = answer.headers().get_all("Warning").iter();
        (answer.status().as_u16(), warnings.map(|text| text.to_str().unwrap().to_owned()).collect())
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.ask("GET", path, "", Value::Null).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.ask("POST", path, "application/json", body).await
    }

    pub(crate) async fn merge(&self, path: &str, body: Value) -> (u16, Value) {
        self.ask("PATCH", path, "application/merge-patch+json", body).await
    }

    /// The definition, once it fits; `None` when it is gone.
    pub(crate) async fn until(&self, name: &str, fits: impl Fn(&Object) -> bool) -> Option<Arc<Object>> {
        let which = Selection { fields: format!("metadata.name={name}"), ..Selection::default() };
        let list = self.admin.list(&definitions(), &which).await.unwrap();
        let mut watch = self.admin.watch(&definitions(), &which, list.revision).await.unwrap();
        let found = list.items.into_iter().next()?;
        if fits(&found) {
            return Some(found);
        }
        while let Some(event) = watch.next().await {
            match event.unwrap() {
                Event::Added(one) | Event::Modified(one) if fits(&one) => return Some(one),
                Event::Deleted(_) => return None,
                _ => {}
            }
        }
        panic!("the watch ended");
    }

    pub(crate) async fn established(&self, name: &str) -> Arc<Object> {
        self.until(name, |one| said(one, "Established").starts_with("True")).await.unwrap()
    }
}

fn said(definition: &Object, condition: &str) -> String {
    let conditions = definition.at(&["status", "conditions"]).and_then(Value::as_array).into_iter().flatten();
    let found = conditions.into_iter().find(|one| one["type"] == condition);
    found
        .map(|one| format!("{} {}", one["status"].as_str().unwrap(), one["reason"].as_str().unwrap()))
        .unwrap_or_default()
}

fn widget(name: &str) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": {"odd": 1}})
}

const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";

#[tokio::test]
async fn a_defined_kind_is_served_while_its_definition_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(folder.path()).await;
    assert_eq!(cluster.get(WIDGETS).await.0, 404);
    assert_eq!(cluster.post(DEFINITIONS, widgets(&[version("v1", true, "a")])).await.0, 201);
    let definition = cluster.established("widgets.example.com").await;
    assert_eq!(said(&definition, "NamesAccepted"), "True NoConflicts");
    assert_eq!(definition.text(&["status", "acceptedNames", "listKind"]), Some("WidgetList"));

    let (code, made) = cluster.post(WIDGETS, widget("w")).await;
    assert_eq!((code, &made["spec"]), (201, &json!({"a": "x"})), "{made}");
    let (_, listed) = cluster.get("/apis/example.com/v1").await;
    assert_eq!(listed["resources"][0]["shortNames"], json!(["wid"]));
    let (_, groups) = cluster.get("/apis").await;
    assert!(groups["groups"].as_array().unwrap().iter().any(|group| group["name"] == "example.com"));
    let (code, document) = cluster.get("/openapi/v3/apis/example.com/v1").await;
    assert_eq!(code, 200);
    assert!(document["components"]["schemas"]["com.example.v1.Widget"].is_object(), "{document}");
    let (code, refused) = cluster
        .ask("PATCH", &format!("{WIDGETS}/w"), "application/strategic-merge-patch+json", json!({"spec": {}}))
        .await;
    assert_eq!(code, 415, "{refused}");

    // An object that holds out holds the definition, to which nothing is added then.
    cluster.merge(&format!("{WIDGETS}/w"), json!({"metadata": {"finalizers": ["a.b/c"]}})).await;
    let (code, ending) = cluster.ask("DELETE", &format!("{DEFINITIONS}/widgets.example.com"), "", Value::Null).await;
    assert_eq!((code, &ending["kind"]), (200, &json!("CustomResourceDefinition")));
    let name = "widgets.example.com";
    cluster.until(name, |one| said(one, "Terminating").ends_with("InstanceDeletionInProgress")).await.unwrap();
    let (code, status) = cluster.post(WIDGETS, widget("late")).await;
    assert_eq!(code, 405, "{status}");
    cluster.merge(&format!("{WIDGETS}/w"), json!({"metadata": {"finalizers": null}})).await;
    assert!(cluster.until(name, |_| false).await.is_none());
    while cluster.get(WIDGETS).await.0 != 404 {
        tokio::task::yield_now().await;
    }
    cluster.stop().await;
}

#[tokio::test]
async fn controllers_see_defined_kinds_too() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(folder.path()).await;
    let world = real::world(folder.path());
    let client = cluster.server.client(User::component("system:kube-controller-manager"));
    let _controllers = controllers::start(&client, &world, &controllers::Config::new(""));
    cluster.post(DEFINITIONS, widgets(&[version("v1", true, "a")])).await;
    cluster.established("widgets.example.com").await;
    // What a custom resource owns goes with it.
    let (_, owner) = cluster.post(WIDGETS, widget("w")).await;
    let owned = json!({"metadata": {"name": "owned", "ownerReferences": [{
        "apiVersion": "example.com/v1", "kind": "Widget", "name": "w", "uid": owner["metadata"]["uid"]}]}});
    let maps = "/api/v1/namespaces/default/configmaps";
    cluster.post(maps, owned).await;
    cluster.ask("DELETE", &format!("{WIDGETS}/w"), "", Value::Null).await;
    while cluster.get(&format!("{maps}/owned")).await.0 != 404 {
        tokio::task::yield_now().await;
    }
    // A namespace is emptied of them.
    cluster.post("/api/v1/namespaces", json!({"metadata": {"name": "n"}})).await;
    let theirs = "/apis/example.com/v1/namespaces/n/widgets";
    assert_eq!(cluster.post(theirs, widget("w")).await.0, 201);
    cluster.ask("DELETE", "/api/v1/namespaces/n", "", Value::Null).await;
    while cluster.get("/api/v1/namespaces/n").await.0 != 404 {
        tokio::task::yield_now().await;
    }
    assert_eq!(cluster.get(&format!("{theirs}/w")).await.0, 404);
    cluster.stop().await;
}

#[tokio::test]
async fn versions_are_faces_of_the_same_objects() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(folder.path()).await;
    cluster.post(DEFINITIONS, widgets(&[version("v1", true, "a"), version("v2", false, "b")])).await;
    cluster.established("widgets.example.com").await;
    cluster.post(WIDGETS, widget("w")).await;
    let (_, old) = cluster.get("/apis/example.com/v2/namespaces/default/widgets/w").await;
    assert_eq!((&old["apiVersion"], &old["spec"]), (&json!("example.com/v2"), &json!({"b": "x"})), "{old}");
    let (_, groups) = cluster.get("/apis/example.com").await;
    assert_eq!(groups["preferredVersion"]["version"], "v2");

    // The storage version moves; the one before must stay defined.
    let two = [version("v1", false, "a"), version("v2", true, "b")];
    let path = format!("{DEFINITIONS}/widgets.example.com");
    let (code, moved) = cluster.merge(&path, json!({"spec": {"versions": two}})).await;
    assert_eq!((code, &moved["status"]["storedVersions"]), (200, &json!(["v1", "v2"])), "{moved}");
    let (code, refused) = cluster.merge(&path, json!({"spec": {"versions": [version("v2", true, "b")]}})).await;
    assert_eq!(code, 422);
    assert_eq!(refused["details"]["causes"][0]["field"], "status.storedVersions[0]");
    cluster.stop().await;
}

#[tokio::test]
async fn a_watch_ends_when_its_kind_is_defined_anew() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(folder.path()).await;
    cluster.post(DEFINITIONS, widgets(&[version("v1", true, "a")])).await;
    cluster.established("widgets.example.com").await;
    let resource = Resource { group: "example.com".into(), version: "v1".into(), plural: "widgets".into() };
    let everything = Selection::default();
    let list = cluster.admin.list(&resource, &everything).await.unwrap();
    let mut watch = cluster.admin.watch(&resource, &everything, list.revision).await.unwrap();
    cluster.post(WIDGETS, widget("w")).await;
    assert!(matches!(watch.next().await, Some(Ok(Event::Added(_)))));
    // What is said about the definition does not matter to its objects.
    let path = format!("{DEFINITIONS}/widgets.example.com");
    cluster.merge(&path, json!({"metadata": {"labels": {"a": "b"}}})).await;
    cluster.post(WIDGETS, widget("x")).await;
    assert!(matches!(watch.next().await, Some(Ok(Event::Added(_)))));
    cluster.merge(&path, json!({"spec": {"versions": [version("v1", true, "b")]}})).await;
    assert!(watch.next().await.is_none());
    let (_, seen) = cluster.get(&format!("{WIDGETS}/w")).await;
    assert_eq!(seen["spec"], json!({"b": "x"}));
    cluster.stop().await;
}

#[tokio::test]
async fn a_server_that_starts_again_serves_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(folder.path()).await;
    cluster.post(DEFINITIONS, widgets(&[version("v1", true, "a")])).await;
    cluster.established("widgets.example.com").await;
    cluster.post(WIDGETS, widget("w")).await;
    cluster.stop().await;
    let cluster = Cluster::start(folder.path()).await;
    assert_eq!(cluster.get(&format!("{WIDGETS}/w")).await.0, 200);
    cluster.stop().await;
}

#[tokio::test]
async fn a_name_is_given_once_and_again_when_it_is_free() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(folder.path()).await;
    cluster.post(DEFINITIONS, widgets(&[version("v1", true, "a")])).await;
    cluster.established("widgets.example.com").await;
    let mut second = widgets(&[version("v1", true, "a")]);
    second["metadata"]["name"] = json!("wodgets.example.com");
    second["spec"]["names"] = json!({"plural": "wodgets", "kind": "Widget"});
    cluster.post(DEFINITIONS, second).await;
    let name = "wodgets.example.com";
    let waiting = cluster.until(name, |one| !said(one, "NamesAccepted").is_empty()).await.unwrap();
    assert_eq!(said(&waiting, "NamesAccepted"), "False ListKindConflict");
    assert_eq!(said(&waiting, "Established"), "False NotAccepted");
    cluster.ask("DELETE", &format!("{DEFINITIONS}/widgets.example.com"), "", Value::Null).await;
    let given = cluster.established(name).await;
    assert_eq!(given.text(&["status", "acceptedNames", "kind"]), Some("Widget"));
    let key = Key::new("default", "w");
    let resource = Resource { group: "example.com".into(), version: "v1".into(), plural: "wodgets".into() };
    let made = Object::try_from(json!({"metadata": {"name": "w"}})).unwrap();
    cluster.admin.create(&resource, &key, None, made).await.unwrap();
    cluster.stop().await;
}
