//! What the API server promises to whoever calls it, in process or by HTTP.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use kprov_control_plane::api::{Body, Config, Server, User};
use kprov_control_plane::client::{Client, DeleteOptions, Event, Selection};
use kprov_control_plane::pki::Pki;
use kprov_control_plane::store::Store;
use kprov_control_plane::world::real;
use kprov_schema::{Key, Object, Reason, Resource, Revision, Subresource};
use serde_json::{Value, json};

pub(crate) async fn start(folder: &Path) -> (Server, Store) {
    let world = real::world(folder);
    let config = Config { listen: Vec::new(), ..Config::default() };
    let pki = Arc::new(Pki::open_or_create(&folder.join("pki"), &config.names(), &world).unwrap());
    let store = Store::open(&world, "state").unwrap();
    (Server::start(config, world, store.clone(), pki).await.unwrap(), store)
}

fn core(plural: &'static str) -> Resource {
    Resource { group: "".into(), version: "v1".into(), plural: plural.into() }
}

fn object(value: Value) -> Object {
    Object::try_from(value).unwrap()
}

fn config_map(name: &str) -> Object {
    object(json!({"metadata": {"name": name}}))
}

pub(crate) fn in_default(name: &str) -> Key {
    Key::new("default", name)
}

pub(crate) async fn make(client: &Client, plural: &'static str, value: Value) -> Arc<Object> {
    client.create(&core(plural), &in_default(""), None, object(value)).await.unwrap()
}

pub(crate) async fn with_account(server: &Server) -> Client {
    let admin = server.client(User::admin());
    make(&admin, "serviceaccounts", json!({"metadata": {"name": "default"}})).await;
    admin
}

async fn ask(server: &Server, method: &str, path: &str, user: Option<&User>, body: Value) -> Response<Body> {
    let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
    let request = Request::builder().method(method).uri(path).body(Full::new(body)).unwrap();
    server.handle(request, user).await
}

async fn value(response: Response<Body>) -> Value {
    serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

#[tokio::test]
async fn every_cluster_has_its_namespaces_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut revisions = Vec::new();
    for _ in 0..2 {
        let (server, store) = start(folder.path()).await;
        let client = server.client(User::admin());
        let namespaces = client.list(&core("namespaces"), &Selection::default()).await.unwrap();
        let names: Vec<&str> = namespaces.items.iter().map(|one| one.name()).collect();
        assert_eq!(names, ["default", "kube-node-lease", "kube-public", "kube-system"]);
        let service = client.get(&core("services"), &in_default("kubernetes")).await.unwrap();
        assert_eq!(service.text(&["spec", "clusterIP"]), Some("10.96.0.1"));
        revisions.push(store.head());
        server.shutdown().await;
        store.close().await;
    }
    assert_eq!(revisions[0], revisions[1], "a second start writes nothing");
}

#[tokio::test]
async fn a_watch_tells_what_a_selection_sees() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = start(folder.path()).await;
    let client = server.client(User::admin());
    let maps = core("configmaps");
    let selection = Selection { labels: "a=b".to_owned(), ..Selection::default() };
    let list = client.list(&maps, &selection).await.unwrap();
    let mut events = client.watch(&maps, &selection, list.revision).await.unwrap();
    let mut one = Object::clone(&*make(&client, "configmaps", json!({"metadata": {"name": "x"}})).await);
    one.set(&["metadata", "labels", "a"], "b".into());
    let mut one = Object::clone(&*client.update(&maps, None, one).await.unwrap());
    one.set(&["metadata", "labels", "a"], "c".into());
    let left = client.update(&maps, None, one).await.unwrap();
    assert!(matches!(events.next().await, Some(Ok(Event::Added(object))) if object.label("a") == Some("b")));
    let Some(Ok(Event::Deleted(last))) = events.next().await else { panic!("it left") };
    assert_eq!(last.label("a"), Some("b"));
    assert_eq!(last.revision(), left.revision());
}

#[tokio::test]
async fn stale_writes_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = start(folder.path()).await;
    let client = server.client(User::admin());
    let maps = core("configmaps");
    let first = Object::clone(&*make(&client, "configmaps", json!({"metadata": {"name": "x"}})).await);
    let mut newer = first.clone();
    newer.set(&["data", "k"], "v".into());
    client.update(&maps, None, newer.clone()).await.unwrap();
    assert!(client.update(&maps, None, newer.clone()).await.unwrap_err().is_conflict());
    newer.remove(&["metadata", "resourceVersion"]);
    client.update(&maps, None, newer).await.unwrap();
    let again = client.create(&maps, &in_default(""), None, config_map("x")).await.unwrap_err();
    assert!(again.already_exists());
    let nowhere = client.create(&maps, &Key::new("nowhere", ""), None, config_map("x")).await.unwrap_err();
    assert_eq!(nowhere.message, "namespaces \"nowhere\" not found");
}

#[tokio::test]
async fn service_addresses_are_given_once_also_under_concurrency_and_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (server, store) = start(folder.path()).await;
    let client = server.client(User::admin());
    let wanted = |name: String| {
        object(json!({
            "metadata": {"name": name},
            "spec": {"clusterIP": "10.96.5.5", "type": "NodePort", "ports": [{"port": 80, "nodePort": 30_080}]},
        }))
    };
    let services = core("services");
    let key = in_default("");
    let tries = (0..8).map(|index| client.create(&services, &key, None, wanted(format!("s{index}"))));
    let done = futures::future::join_all(tries).await;
    let winners: Vec<_> = done.iter().filter_map(|one| one.as_ref().ok()).collect();
    assert_eq!(winners.len(), 1);
    let loser = done.iter().find_map(|one| one.as_ref().err()).unwrap();
    assert!(loser.message.contains("provided IP is already allocated"), "{loser}");
    server.shutdown().await;
    store.close().await;
    drop(client);

    let (server, _) = start(folder.path()).await;
    let client = server.client(User::admin());
    assert_eq!(client.create(&services, &key, None, wanted("t".to_owned())).await.unwrap_err().code, 422);
    client.delete(&services, &winners[0].key(), DeleteOptions::default()).await.unwrap();
    client.create(&services, &key, None, wanted("t".to_owned())).await.unwrap();
}

/// Begins a request and hangs up as soon as it waits for the disk.
async fn abandon<T>(request: impl Future<Output = T>) {
    let mut request = std::pin::pin!(request);
    assert!(futures::poll!(&mut request).is_pending(), "it waits for the disk");
}

#[tokio::test]
async fn who_hangs_up_leaves_addresses_as_they_are_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = start(folder.path()).await;
    let client = server.client(User::admin());
    let services = core("services");
    let wanted = |name: &str, port: u16| {
        object(json!({
            "metadata": {"name": name},
            "spec": {"clusterIP": "10.96.5.5", "type": "NodePort", "ports": [{"port": 80, "nodePort": port}]},
        }))
    };
    let key = in_default("");
    let list = client.list(&services, &Selection::default()).await.unwrap();
    let mut events = client.watch(&services, &Selection::default(), list.revision).await.unwrap();
    abandon(client.create(&services, &key, None, wanted("first", 30_080))).await;
    assert!(matches!(events.next().await, Some(Ok(Event::Added(_)))));
    let first = client.get(&services, &in_default("first")).await.unwrap();
    let refused = client.create(&services, &key, None, wanted("second", 30_081)).await.unwrap_err();
    assert!(refused.message.contains("provided IP is already allocated"), "{refused}");

    let mut moved = Object::clone(&first);
    moved.set(&["spec", "ports"], json!([{"port": 80, "nodePort": 30_090}]));
    abandon(client.update(&services, None, moved)).await;
    assert!(matches!(events.next().await, Some(Ok(Event::Modified(_)))));
    // What follows a write is done before the next one is answered.
    make(&client, "configmaps", json!({"metadata": {"name": "a"}})).await;
    let node_port = |name: &str, port: u16| json!({"metadata": {"name": name}, "spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]}});
    make(&client, "services", node_port("left", 30_080)).await;
    let refused = client.create(&services, &key, None, object(node_port("kept", 30_090))).await.unwrap_err();
    assert!(refused.message.contains("provided port is already allocated"), "{refused}");

    abandon(client.delete(&services, &in_default("first"), DeleteOptions::default())).await;
    while !matches!(events.next().await, Some(Ok(Event::Deleted(_)))) {}
    make(&client, "configmaps", json!({"metadata": {"name": "b"}})).await;
    client.create(&services, &key, None, wanted("third", 30_090)).await.unwrap();
}

#[tokio::test]
async fn who_hangs_up_leaves_no_pod_half_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = start(folder.path()).await;
    let client = with_account(&server).await;
    let pods = core("pods");
    let spec = json!({"containers": [{"name": "c", "image": "i"}]});
    make(&client, "pods", json!({"metadata": {"name": "a"}, "spec": spec})).await;
    let list = client.list(&pods, &Selection::default()).await.unwrap();
    let mut events = client.watch(&pods, &Selection::default(), list.revision).await.unwrap();
    abandon(client.delete(&pods, &in_default("a"), DeleteOptions::default())).await;
    make(&client, "configmaps", json!({"metadata": {"name": "a"}})).await;
    assert!(client.get(&pods, &in_default("a")).await.unwrap_err().is_not_found());
    // Watchers see the mark, as upstream's do, and then the end.
    let Some(Ok(Event::Modified(marked))) = events.next().await else { panic!("it is marked") };
    assert!(marked.is_deleting());
    let Some(Ok(Event::Deleted(last))) = events.next().await else { panic!("it goes") };
    assert_eq!(last.text(&["metadata", "deletionTimestamp"]), marked.text(&["metadata", "deletionTimestamp"]));
}

#[tokio::test]
async fn pods_get_what_admission_adds_then_end_in_their_time() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = start(folder.path()).await;
    let admin = with_account(&server).await;
    let pods = core("pods");
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let made = make(&admin, "pods", pod).await;
    assert_eq!(made.text(&["spec", "serviceAccountName"]), Some("default"));
    assert_eq!(made.at(&["spec", "tolerations"]).and_then(Value::as_array).map(Vec::len), Some(2));
    let binding = object(json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}}));
    let place = made.key();
    let bind = || admin.create(&pods, &place, Some(Subresource::Binding), binding.clone());
    bind().await.unwrap();
    assert!(bind().await.unwrap_err().is_conflict());
    admin.delete(&pods, &made.key(), DeleteOptions::default()).await.unwrap();
    let ending = admin.get(&pods, &made.key()).await.unwrap();
    assert!(ending.is_deleting());
    assert_eq!(ending.at(&["metadata", "deletionGracePeriodSeconds"]), Some(&json!(30)));
    let now = DeleteOptions { grace_seconds: Some(0), ..DeleteOptions::default() };
    let node = server.client(User::node("n"));
    node.delete(&pods, &made.key(), now).await.unwrap();
    assert!(admin.get(&pods, &made.key()).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn ingresses_without_a_class_get_the_newest_default_one() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = start(folder.path()).await;
    let admin = server.client(User::admin());
    let of = |plural| Resource { group: "networking.k8s.io".into(), version: "v1".into(), plural };
    let backend = json!({"service": {"name": "s", "port": {"number": 80}}});
    let class_of = async |name: &str, metadata: Value| {
        let mut ingress = object(json!({"metadata": metadata, "spec": {"defaultBackend": backend}}));
        ingress.set(&["metadata", "name"], name.into());
        let made = admin.create(&of("ingresses".into()), &in_default(""), None, ingress).await.unwrap();
        made.text(&["spec", "ingressClassName"]).map(str::to_owned)
    };
    assert_eq!(class_of("early", json!({})).await, None);
    for (name, is_default) in [("b", "true"), ("a", "true"), ("c", "false")] {
        let class = object(json!({
            "metadata": {"name": name, "annotations": {"ingressclass.kubernetes.io/is-default-class": is_default}},
            "spec": {"controller": "kprov.dev/x"},
        }));
        admin.create(&of("ingressclasses".into()), &Key::new("", ""), None, class).await.unwrap();
    }
    let given = class_of("late", json!({})).await;
    assert!(matches!(given.as_deref(), Some("a" | "b")), "{given:?}");
    assert_eq!(class_of("old", json!({"annotations": {"kubernetes.io/ingress.class": "x"}})).await, None);
    server.shutdown().await;
}

#[tokio::test]
async fn finalizers_hold_an_object_until_the_last_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = start(folder.path()).await;
    let client = server.client(User::admin());
    let maps = core("configmaps");
    let held = make(&client, "configmaps", json!({"metadata": {"name": "x", "finalizers": ["a.b/c"]}})).await;
    client.delete(&maps, &held.key(), DeleteOptions::default()).await.unwrap();
    let mut ending = Object::clone(&*client.get(&maps, &held.key()).await.unwrap());
    assert!(ending.is_deleting());
    ending.remove(&["metadata", "finalizers"]);
    client.update(&maps, None, ending).await.unwrap();
    assert!(client.get(&maps, &held.key()).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn node_agents_touch_what_is_theirs_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = start(folder.path()).await;
    let admin = with_account(&server).await;
    for (name, secret) in [("mine", "used"), ("other", "foreign")] {
        make(&admin, "secrets", json!({"metadata": {"name": secret}})).await;
        let node = if name == "mine" { "n" } else { "m" };
        let pod = json!({
            "metadata": {"name": name},
            "spec": {
                "nodeName": node, "containers": [{"name": "c", "image": "i"}],
                "volumes": [{"name": "v", "secret": {"secretName": secret}}],
            },
        });
        make(&admin, "pods", pod).await;
    }
    let node = server.client(User::node("n"));
    node.get(&core("pods"), &in_default("mine")).await.unwrap();
    node.get(&core("secrets"), &in_default("used")).await.unwrap();
    assert!(is_forbidden(node.get(&core("pods"), &in_default("other")).await));
    assert!(is_forbidden(node.get(&core("secrets"), &in_default("foreign")).await));
    assert!(is_forbidden(node.create(&core("configmaps"), &in_default(""), None, config_map("x")).await));
    assert!(node.list(&core("pods"), &Selection::default()).await.is_err());
    let own = Selection { fields: "spec.nodeName=n".to_owned(), ..Selection::default() };
    assert_eq!(node.list(&core("pods"), &own).await.unwrap().items.len(), 1);
}

/// A body that comes when it is told to.
struct Late(Option<tokio::sync::oneshot::Receiver<Bytes>>);

impl hyper::body::Body for Late {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, std::io::Error>>> {
        let Some(waiting) = &mut self.0 else { return std::task::Poll::Ready(None) };
        let told = std::task::ready!(std::pin::Pin::new(waiting).poll(context));
        self.0 = None;
        std::task::Poll::Ready(told.ok().map(|bytes| Ok(hyper::body::Frame::data(bytes))))
    }
}

#[tokio::test]
async fn a_node_agent_that_holds_its_body_back_reaches_no_foreign_pod() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = start(folder.path()).await;
    let admin = with_account(&server).await;
    let node = User::node("n");
    let status = json!({"status": {"phase": "Failed"}});
    for (method, path, body) in [
        ("DELETE", "/api/v1/namespaces/default/pods/web-0", json!({"gracePeriodSeconds": 0})),
        ("PATCH", "/api/v1/namespaces/default/pods/web-0/status", status),
    ] {
        let (finish, late) = tokio::sync::oneshot::channel();
        let request = Request::builder().method(method).uri(path);
        let request = request.header(
            "Content-Type",
            if method == "PATCH" { "application/merge-patch+json" } else { "application/json" },
        );
        let mut answer = std::pin::pin!(server.handle(request.body(Late(Some(late))).unwrap(), Some(&node)));
        assert!(futures::poll!(&mut answer).is_pending(), "it waits for its body");
        let spec = json!({"nodeName": "m", "containers": [{"name": "c", "image": "i"}]});
        make(&admin, "pods", json!({"metadata": {"name": "web-0"}, "spec": spec})).await;
        finish.send(Bytes::from(body.to_string())).unwrap();
        let answer = answer.await;
        assert_eq!(answer.status(), 403, "{method}");
        let message = value(answer).await["message"].clone();
        assert!(message.as_str().unwrap().contains("with spec.nodeName set to itself"), "{message}");
        let pod = admin.get(&core("pods"), &in_default("web-0")).await.unwrap();
        assert_eq!(pod.text(&["status", "phase"]), Some("Pending"));
        let now = DeleteOptions { grace_seconds: Some(0), ..DeleteOptions::default() };
        admin.delete(&core("pods"), &in_default("web-0"), now).await.unwrap();
    }
}

#[tokio::test]
async fn a_node_agent_draws_no_pods_to_its_node() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = start(folder.path()).await;
    let (admin, node) = (server.client(User::admin()), server.client(User::node("n")));
    let nodes = core("nodes");
    let all = Key::new("", "");
    let labelled = |label: &str| object(json!({"metadata": {"name": "n", "labels": {label: "x"}}}));
    let refused = node.create(&nodes, &all, None, labelled("node-role.kubernetes.io/a")).await.unwrap_err();
    let words = "node \"n\" is not allowed to set the following labels: node-role.kubernetes.io/a";
    assert!(refused.message.ends_with(words), "{refused}");
    let made = Object::clone(&*node.create(&nodes, &all, None, labelled("kubernetes.io/hostname")).await.unwrap());
    assert!(made.at(&["spec", "taints"]).is_some(), "a new node is tainted");
    let changed = |path: &[&str], value: Value| {
        let mut changed = made.clone();
        changed.set(path, value);
        changed
    };
    let label = ["metadata", "labels", "node-restriction.kubernetes.io/pci"];
    for part in [None, Some(Subresource::Status)] {
        for (object, words) in [
            (changed(&["spec", "taints"], json!([])), "node \"n\" is not allowed to modify taints"),
            (changed(&label, json!("x")), "is not allowed to modify labels: node-restriction.kubernetes.io/pci"),
        ] {
            let refused = node.update(&nodes, part, object).await.unwrap_err();
            assert!(refused.message.ends_with(words), "{refused}");
        }
    }
    let own = node.update(&nodes, None, changed(&["metadata", "labels", "pool"], json!("x"))).await.unwrap();
    let mut bare = Object::clone(&own);
    bare.set(&["spec", "taints"], json!([]));
    admin.update(&nodes, None, bare).await.unwrap();
}

#[tokio::test]
async fn node_agents_read_the_volumes_of_their_pods_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = start(folder.path()).await;
    let admin = with_account(&server).await;
    for (name, node) in [("mine", "n"), ("other", "m")] {
        let capacity = json!({"storage": "1Gi"});
        let volume = json!({"metadata": {"name": name}, "spec": {"capacity": capacity, "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": "/x"}, "claimRef": {"namespace": "default", "name": name}}});
        admin.create(&core("persistentvolumes"), &Key::new("", ""), None, object(volume)).await.unwrap();
        let claim = json!({"metadata": {"name": name}, "spec": {"volumeName": name, "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": capacity}}});
        make(&admin, "persistentvolumeclaims", claim).await;
        let spec = json!({"nodeName": node, "containers": [{"name": "c", "image": "i"}],
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": name}}]});
        make(&admin, "pods", json!({"metadata": {"name": name}, "spec": spec})).await;
    }
    let node = server.client(User::node("n"));
    let volumes = core("persistentvolumes");
    node.get(&volumes, &Key::new("", "mine")).await.unwrap();
    assert!(is_forbidden(node.get(&volumes, &Key::new("", "other")).await));
    // An agent watches what its pods refer to, each by its name.
    let named = |name: &str| Selection { fields: format!("metadata.name={name}"), ..Selection::default() };
    let mine = node.list(&volumes, &named("mine")).await.unwrap();
    assert_eq!(mine.items.len(), 1);
    assert!(node.watch(&volumes, &named("mine"), mine.revision).await.is_ok());
    assert!(node.list(&volumes, &named("other")).await.is_err());
    assert!(node.list(&volumes, &Selection::default()).await.is_err());
}

#[tokio::test]
async fn who_is_not_recognized_gets_health_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = start(folder.path()).await;
    for (path, token, code) in [
        ("/readyz", None, 200),
        ("/version", None, 200),
        ("/api", None, 403),
        ("/api/v1/pods", None, 403),
        ("/readyz", Some("bad"), 401),
        ("/nonsense", None, 403),
    ] {
        let mut request = Request::builder().uri(path);
        if let Some(token) = token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let response = server.handle(request.body(Full::new(Bytes::new())).unwrap(), None).await;
        assert_eq!(response.status().as_u16(), code, "{path} {token:?}");
        assert!(response.headers().contains_key("audit-id"));
    }
}

#[tokio::test]
async fn tokens_live_as_long_as_what_they_are_bound_to() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = start(folder.path()).await;
    let admin = with_account(&server).await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let pod = make(&admin, "pods", pod).await;
    let request =
        json!({"spec": {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": pod.uid().0}}});
    let account = in_default("default");
    let answer =
        admin.create(&core("serviceaccounts"), &account, Some(Subresource::Token), object(request)).await.unwrap();
    let token = answer.text(&["status", "token"]).unwrap().to_owned();
    let code = async || {
        let request = Request::builder().uri("/api").header("Authorization", format!("Bearer {token}"));
        server.handle(request.body(Full::new(Bytes::new())).unwrap(), None).await.status().as_u16()
    };
    assert_eq!(code().await, 200);
    admin.delete(&core("pods"), &pod.key(), DeleteOptions::default()).await.unwrap();
    assert_eq!(code().await, 401);
}

#[tokio::test]
async fn pages_go_on_at_one_moment() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = start(folder.path()).await;
    let (admin, client) = (User::admin(), server.client(User::admin()));
    for name in ["a", "b", "c"] {
        make(&client, "configmaps", json!({"metadata": {"name": name}})).await;
    }
    let path = "/api/v1/namespaces/default/configmaps?limit=2";
    let page = value(ask(&server, "GET", path, Some(&admin), Value::Null).await).await;
    assert_eq!(page["metadata"]["remainingItemCount"], 1);
    make(&client, "configmaps", json!({"metadata": {"name": "d"}})).await;
    let next = format!("{path}&continue={}", page["metadata"]["continue"].as_str().unwrap());
    let rest = value(ask(&server, "GET", &next, Some(&admin), Value::Null).await).await;
    let names: Vec<&Value> = rest["items"].as_array().unwrap().iter().map(|one| &one["metadata"]["name"]).collect();
    assert_eq!(names, ["c"]);
    let ahead = client.watch(&core("configmaps"), &Selection::default(), Revision(1 << 40)).await.unwrap();
    drop(ahead);
}

#[tokio::test]
async fn large_answers_are_compressed_for_who_asks() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = start(folder.path()).await;
    let (admin, client) = (User::admin(), server.client(User::admin()));
    make(&client, "configmaps", json!({"metadata": {"name": "big"}, "data": {"k": "v".repeat(200_000)}})).await;
    for (accept, packed) in [("gzip", true), ("identity", false)] {
        let request = Request::builder().uri("/api/v1/configmaps").header("Accept-Encoding", accept);
        let response = server.handle(request.body(Full::new(Bytes::new())).unwrap(), Some(&admin)).await;
        assert_eq!(response.headers().contains_key("content-encoding"), packed);
    }
    let body = Full::new(Bytes::from(vec![b' '; (3 << 20) + 1]));
    let request = Request::builder().method("POST").uri("/api/v1/namespaces/default/configmaps").body(body).unwrap();
    assert_eq!(server.handle(request, Some(&admin)).await.status().as_u16(), 413);
}

#[tokio::test]
async fn options_of_logs_are_checked_before_the_pod_is_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = start(folder.path()).await;
    let cases = [
        ("tailLines=-1", 422, "tailLines: Invalid value: -1: must be greater than or equal to 0"),
        ("stream=Stdout", 422, "stream: Forbidden: may not be specified"),
        (
            "sinceSeconds=0&sinceTime=2026-01-01T00:00:00Z",
            422,
            ": Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified",
        ),
        ("stream=", 404, "pods \"web\" not found"),
    ];
    for (query, code, why) in cases {
        let path = format!("/api/v1/namespaces/default/pods/web/log?{query}");
        let status = value(ask(&server, "GET", &path, Some(&User::admin()), Value::Null).await).await;
        let said = if code == 404 { why.to_owned() } else { format!("PodLogOptions \"web\" is invalid: {why}") };
        assert_eq!((&status["code"], status["message"].as_str().unwrap()), (&json!(code), said.as_str()), "{query}");
    }
}

#[tokio::test]
async fn watches_end_when_the_server_stops() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = start(folder.path()).await;
    let client = server.client(User::admin());
    let mut events = client.watch(&core("configmaps"), &Selection::default(), Revision(1)).await.unwrap();
    server.shutdown().await;
    while let Some(event) = events.next().await {
        event.unwrap();
    }
}

fn is_forbidden(result: Result<Arc<Object>, kprov_schema::Status>) -> bool {
    result.is_err_and(|status| status.reason() == Reason::Forbidden)
}

#[tokio::test]
async fn a_selector_that_only_looks_narrow_opens_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = start(folder.path()).await;
    let admin = with_account(&server).await;
    for secret in ["mine", "foreign"] {
        make(&admin, "secrets", json!({"metadata": {"name": secret}})).await;
    }
    let spec = json!({
        "nodeName": "n", "containers": [{"name": "c", "image": "i"}],
        "volumes": [{"name": "v", "secret": {"secretName": "mine"}}],
    });
    make(&admin, "pods", json!({"metadata": {"name": "p"}, "spec": spec})).await;
    let agent = User::node("n");
    for (path, code) in [
        ("secrets?fieldSelector=metadata.name=mine", 200),
        ("secrets?fieldSelector=type!=x%5C,metadata.name=mine", 403),
        ("pods?fieldSelector=spec.nodeName=n", 200),
        ("pods?fieldSelector=status.phase!=x%5C,spec.nodeName=n", 403),
    ] {
        let answer =
            ask(&server, "GET", &format!("/api/v1/namespaces/default/{path}"), Some(&agent), Value::Null).await;
        assert_eq!(answer.status().as_u16(), code, "{path}");
    }
    let watched = "/api/v1/watch/namespaces/default/pods/other?fieldSelector=spec.nodeName=n&timeoutSeconds=1";
    assert_eq!(ask(&server, "GET", watched, Some(&agent), Value::Null).await.status().as_u16(), 403);
}

#[tokio::test]
async fn node_agents_write_their_own_node_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = start(folder.path()).await;
    let (admin, agent) = (server.client(User::admin()), server.client(User::node("n")));
    let leases = Resource { group: "coordination.k8s.io".into(), version: "v1".into(), plural: "leases".into() };
    for (resource, namespace) in [(core("nodes"), ""), (leases, "kube-node-lease")] {
        let create = |name: &str| {
            let (agent, resource, name) = (agent.clone(), resource.clone(), name.to_owned());
            async move { agent.create(&resource, &Key::new(namespace, ""), None, config_map(&name)).await }
        };
        assert!(is_forbidden(create("m").await), "{resource}");
        create("n").await.unwrap();
    }
    admin.create(&core("nodes"), &Key::new("", ""), None, config_map("m")).await.unwrap();
    let patch = Request::builder()
        .method("PATCH")
        .uri("/api/v1/nodes/m?fieldSelector=metadata.name=n")
        .header("Content-Type", "application/merge-patch+json")
        .body(Full::new(Bytes::from(r#"{"metadata":{"labels":{"a":"b"}}}"#)))
        .unwrap();
    assert_eq!(server.handle(patch, Some(&User::node("n"))).await.status().as_u16(), 403);
}

#[tokio::test]
async fn node_agents_get_tokens_for_their_pods_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = start(folder.path()).await;
    let admin = with_account(&server).await;
    let mut uids = Vec::new();
    for (name, node) in [("mine", "n"), ("other", "m")] {
        let spec = json!({"nodeName": node, "containers": [{"name": "c", "image": "i"}]});
        uids.push(make(&admin, "pods", json!({"metadata": {"name": name}, "spec": spec})).await.uid().0);
    }
    let agent = server.client(User::node("n"));
    let account = in_default("default");
    let ask = async |bound: Value| {
        let request = object(json!({"spec": {"boundObjectRef": bound}}));
        agent.create(&core("serviceaccounts"), &account, Some(Subresource::Token), request).await
    };
    let of = |name: &str, uid: &str| json!({"kind": "Pod", "apiVersion": "v1", "name": name, "uid": uid});
    ask(of("mine", &uids[0])).await.unwrap();
    for bound in [Value::Null, of("mine", ""), of("other", &uids[1]), json!({"kind": "Node", "name": "n"})] {
        assert!(is_forbidden(ask(bound.clone()).await), "{bound}");
    }
}

#[tokio::test]
async fn an_eviction_that_is_refused_leaves_no_mark() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = start(folder.path()).await;
    let admin = with_account(&server).await;
    let spec = json!({"nodeName": "n", "containers": [{"name": "c", "image": "i"}]});
    let pod = make(&admin, "pods", json!({"metadata": {"name": "p"}, "spec": spec})).await;
    let evict = async |preconditions: Value| {
        let eviction = object(json!({"metadata": {"name": "p"}, "deleteOptions": {"preconditions": preconditions}}));
        admin.create(&core("pods"), &pod.key(), Some(Subresource::Eviction), eviction).await
    };
    for wrong in [json!({"uid": "another"}), json!({"resourceVersion": "1"})] {
        assert!(evict(wrong).await.unwrap_err().is_conflict());
        assert_eq!(admin.get(&core("pods"), &pod.key()).await.unwrap().revision(), pod.revision());
    }
    evict(json!({"resourceVersion": pod.revision().unwrap().to_string()})).await.unwrap();
    let ending = admin.get(&core("pods"), &pod.key()).await.unwrap();
    assert!(ending.is_deleting());
    let conditions = ending.at(&["status", "conditions"]).and_then(Value::as_array).unwrap();
    assert!(conditions.iter().any(|one| one["type"] == "DisruptionTarget"));
}

fn cluster(group: &'static str, version: &'static str, plural: &'static str) -> Resource {
    Resource { group: group.into(), version: version.into(), plural: plural.into() }
}

#[tokio::test]
async fn an_eviction_takes_from_the_pods_budget() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = start(folder.path()).await;
    let admin = with_account(&server).await;
    let budgets = cluster("policy", "v1", "poddisruptionbudgets");
    let key = in_default("b");
    let spec = json!({"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}});
    let budget = object(json!({"metadata": {"name": "b"}, "spec": spec}));
    admin.create(&budgets, &in_default(""), None, budget).await.unwrap();
    let allow = async |allowed: i64| {
        let mut budget = Object::clone(&admin.get(&budgets, &key).await.unwrap());
        let status = json!({"observedGeneration": 1, "disruptionsAllowed": allowed, "currentHealthy": 1,
                            "desiredHealthy": 1, "expectedPods": 2});
        budget.set(&["status"], status);
        admin.update(&budgets, Some(Subresource::Status), budget).await.unwrap();
    };
    let serving = async |name: &str, ready: &str| {
        let spec = json!({"nodeName": "n", "terminationGracePeriodSeconds": 0,
                          "containers": [{"name": "c", "image": "i"}]});
        let metadata = json!({"name": name, "labels": {"app": "a"}});
        let made = make(&admin, "pods", json!({"metadata": metadata, "spec": spec})).await;
        let mut pod = Object::clone(&made);
        let conditions = json!([{"type": "Ready", "status": ready}]);
        pod.set(&["status"], json!({"phase": "Running", "conditions": conditions}));
        admin.update(&core("pods"), Some(Subresource::Status), pod).await.unwrap();
    };
    let evict = async |name: &str| {
        let eviction = object(json!({"metadata": {"name": name}}));
        admin.create(&core("pods"), &in_default(name), Some(Subresource::Eviction), eviction).await
    };
    serving("p0", "True").await;
    serving("p1", "True").await;
    // A budget that its controller has not seen yet says nothing.
    let behind = evict("p0").await.unwrap_err();
    assert_eq!((behind.code, behind.details.unwrap()["retryAfterSeconds"].as_i64()), (429, Some(10)));
    allow(1).await;
    evict("p0").await.unwrap();
    let left = admin.get(&budgets, &key).await.unwrap();
    assert_eq!(left.at(&["status", "disruptionsAllowed"]), Some(&json!(0)));
    assert!(left.at(&["status", "disruptedPods", "p0"]).is_some());
    assert_eq!(left.at(&["status", "conditions"]).unwrap()[0]["reason"], "InsufficientPods");
    let refused = evict("p1").await.unwrap_err();
    assert_eq!((refused.code, refused.reason.as_str()), (429, "TooManyRequests"));
    assert_eq!(refused.message, "Cannot evict pod as it would violate the pod's disruption budget.");
    let cause = json!({"reason": "DisruptionBudget",
                       "message": "The disruption budget b needs 1 healthy pods and has 1 currently"});
    assert_eq!(refused.causes().collect::<Vec<_>>(), [&cause]);
    assert!(admin.get(&core("pods"), &in_default("p1")).await.is_ok());
    // One that serves nobody may go while enough others are healthy.
    serving("p2", "False").await;
    evict("p2").await.unwrap();
    assert_eq!(admin.get(&budgets, &key).await.unwrap().revision(), left.revision());
    server.shutdown().await;
}

#[tokio::test]
async fn priority_classes_give_pods_their_priority() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = start(folder.path()).await;
    let admin = with_account(&server).await;
    let classes = cluster("scheduling.k8s.io", "v1", "priorityclasses");
    let priority_of = async |name: &str, class: Value| {
        let spec = json!({"priorityClassName": class, "containers": [{"name": "c", "image": "i"}]});
        let pod = make(&admin, "pods", json!({"metadata": {"name": name}, "spec": spec})).await;
        pod.at(&["spec", "priority"]).and_then(Value::as_i64)
    };
    assert_eq!(priority_of("plain", Value::Null).await, Some(0));
    assert_eq!(priority_of("system", json!("system-node-critical")).await, Some(2_000_001_000));
    let class =
        |name: &str, value: i64| object(json!({"metadata": {"name": name}, "value": value, "globalDefault": true}));
    let create = async |class: Object| admin.create(&classes, &Key::new("", ""), None, class).await;
    create(class("usual", 7)).await.unwrap();
    let second = create(class("second", 8)).await.unwrap_err();
    assert!(second.message.ends_with("PriorityClass usual is already marked as default. Only one default can exist"));
    assert_eq!(priority_of("default", Value::Null).await, Some(7));
    let kept = admin.delete(&classes, &Key::new("", "system-node-critical"), DeleteOptions::default()).await;
    assert!(kept.unwrap_err().message.ends_with("this is a system priority class and cannot be deleted"));
    server.shutdown().await;
}

#[tokio::test]
async fn autoscalers_have_two_faces() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = start(folder.path()).await;
    let admin = server.client(User::admin());
    let [old, new] = ["v1", "v2"].map(|version| cluster("autoscaling", version, "horizontalpodautoscalers"));
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"});
    let spec = json!({"scaleTargetRef": target, "maxReplicas": 3, "targetCPUUtilizationPercentage": 50});
    let made = object(json!({"metadata": {"name": "h"}, "spec": spec}));
    admin.create(&old, &in_default(""), None, made).await.unwrap();
    let mut newer = Object::clone(&admin.get(&new, &in_default("h")).await.unwrap());
    assert_eq!(newer.api_version(), "autoscaling/v2");
    let mut metrics = newer.at(&["spec", "metrics"]).unwrap().as_array().unwrap().clone();
    assert_eq!(metrics[0]["resource"]["target"], json!({"type": "Utilization", "averageUtilization": 50}));
    metrics.push(json!({"type": "Pods", "pods": {"metric": {"name": "qps"},
                                                 "target": {"type": "AverageValue", "averageValue": "1k"}}}));
    newer.set(&["spec", "metrics"], metrics.into());
    admin.update(&new, None, newer.clone()).await.unwrap();
    let mut older = Object::clone(&admin.get(&old, &in_default("h")).await.unwrap());
    let note = r#"[{"type":"Pods","pods":{"metricName":"qps","targetAverageValue":"1k"}}]"#;
    assert_eq!(older.annotation("autoscaling.alpha.kubernetes.io/metrics"), Some(note));
    older.set(&["spec", "maxReplicas"], json!(4));
    admin.update(&old, None, older).await.unwrap();
    let newest = admin.get(&new, &in_default("h")).await.unwrap();
    assert_eq!(newest.at(&["spec", "maxReplicas"]), Some(&json!(4)));
    let kinds = |object: &Object| {
        let all = object.at(&["spec", "metrics"]).and_then(Value::as_array).cloned().unwrap_or_default();
        all.iter().filter_map(|one| one["type"].as_str().map(str::to_owned)).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(kinds(&newest), kinds(&newer));
    server.shutdown().await;
}

#[tokio::test]
async fn a_broken_store_is_told() {
    let folder = tempfile::tempdir().unwrap();
    // The store's writer dies with the runtime that it runs on.
    let apart = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let world = real::world(folder.path());
    let store = {
        let _inside = apart.enter();
        Store::open(&world, "state").unwrap()
    };
    let config = Config { listen: Vec::new(), ..Config::default() };
    let pki = Arc::new(Pki::open_or_create(&folder.path().join("pki"), &config.names(), &world).unwrap());
    let server = Server::start(config, world, store.clone(), pki).await.unwrap();
    let probes = ["/livez", "/readyz", "/livez/store"];
    for path in probes {
        assert_eq!(ask(&server, "GET", path, Some(&User::admin()), Value::Null).await.status().as_u16(), 200, "{path}");
    }
    let client = server.client(User::admin());
    let mut events = client.watch(&core("configmaps"), &Selection::default(), store.head()).await.unwrap();
    apart.shutdown_background();
    let told = events.next().await.expect("the watch tells why it ends");
    assert_eq!(told.unwrap_err().code, 503);
    assert!(events.next().await.is_none());
    for path in probes {
        assert_eq!(ask(&server, "GET", path, Some(&User::admin()), Value::Null).await.status().as_u16(), 500, "{path}");
    }
}
