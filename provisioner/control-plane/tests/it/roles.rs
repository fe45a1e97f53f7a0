//! Who may do what: roles bound to users, and nobody grants more than they have.

use http_body_util::{BodyExt, Full};
use kprov_control_plane::api::{Server, User};
use serde_json::{Value, json};

use crate::api::start;

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

/// Code and body of an answer to a user, who may act as another one.
async fn ask(server: &Server, user: &User, method: &str, path: &str, body: Value, like: Option<&str>) -> (u16, Value) {
    let mut request = http::Request::builder().method(method).uri(path);
    if let Some(like) = like {
        request = request.header("Impersonate-User", like);
    }
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let request = request.body(Full::new(bytes::Bytes::from(body))).unwrap();
    let response = server.handle(request, Some(user)).await;
    let code = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into_owned().into()))
}

fn role(name: &str, resources: &[&str], verbs: &[&str]) -> Value {
    json!({"metadata": {"name": name}, "rules": [{"apiGroups": [""], "resources": resources, "verbs": verbs}]})
}

fn binding(name: &str, role: &str, user: &str) -> Value {
    json!({"metadata": {"name": name}, "roleRef": {"kind": "Role", "name": role},
           "subjects": [{"kind": "User", "name": user}]})
}

#[tokio::test]
async fn a_binding_gives_what_its_role_says_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _store) = start(folder.path()).await;
    let (admin, jane) = (User::admin(), User::new("jane", &[]));
    let pods = "/api/v1/namespaces/default/pods";
    let (code, refused) = ask(&server, &jane, "GET", pods, Value::Null, None).await;
    let text =
        "pods is forbidden: User \"jane\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\"";
    assert_eq!((code, refused["message"].as_str()), (403, Some(text)));
    let roles = format!("{RBAC}/namespaces/default/roles");
    let bindings = format!("{RBAC}/namespaces/default/rolebindings");
    assert_eq!(ask(&server, &admin, "POST", &roles, role("reader", &["pods"], &["get", "list"]), None).await.0, 201);
    assert_eq!(ask(&server, &admin, "POST", &bindings, binding("readers", "reader", "jane"), None).await.0, 201);
    for (method, path, want) in [
        ("GET", pods, 200),
        ("GET", "/api/v1/pods", 403),
        ("GET", "/api/v1/namespaces/kube-system/pods", 403),
        ("GET", "/api/v1/namespaces/default/secrets", 403),
        ("DELETE", "/api/v1/namespaces/default/pods/x", 403),
        ("GET", "/apis", 200),
        ("GET", "/metrics", 403),
    ] {
        assert_eq!(ask(&server, &jane, method, path, Value::Null, None).await.0, want, "{method} {path}");
    }
    assert_eq!(ask(&server, &admin, "DELETE", &format!("{bindings}/readers"), Value::Null, None).await.0, 200);
    assert_eq!(ask(&server, &jane, "GET", pods, Value::Null, None).await.0, 403, "what was bound is not any more");
}

#[tokio::test]
async fn strangers_read_health_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _store) = start(folder.path()).await;
    for (path, want) in [("/readyz", 200), ("/version", 200), ("/api", 403), ("/api/v1/nodes", 403)] {
        assert_eq!(ask(&server, &User::anonymous(), "GET", path, Value::Null, None).await.0, want, "{path}");
    }
}

#[tokio::test]
async fn nobody_grants_what_they_do_not_have() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _store) = start(folder.path()).await;
    let (admin, jane) = (User::admin(), User::new("jane", &[]));
    let roles = format!("{RBAC}/namespaces/default/roles");
    let bindings = format!("{RBAC}/namespaces/default/rolebindings");
    let own = json!({"metadata": {"name": "own"}, "rules": [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
        {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "rolebindings"], "verbs": ["create"]},
    ]});
    assert_eq!(ask(&server, &admin, "POST", &roles, own, None).await.0, 201);
    assert_eq!(ask(&server, &admin, "POST", &bindings, binding("own", "own", "jane"), None).await.0, 201);
    assert_eq!(ask(&server, &jane, "POST", &roles, role("same", &["pods"], &["get"]), None).await.0, 201);
    let (code, refused) = ask(&server, &jane, "POST", &roles, role("more", &["nodes"], &["get"]), None).await;
    let text = "roles.rbac.authorization.k8s.io \"more\" is forbidden: user \"jane\" (groups=[\"system:authenticated\"]) \
                is attempting to grant RBAC permissions not currently held:\n\
                {APIGroups:[\"\"], Resources:[\"nodes\"], Verbs:[\"get\"]}";
    assert_eq!((code, refused["message"].as_str()), (403, Some(text)));
    let all = json!({"metadata": {"name": "all"}, "roleRef": {"kind": "ClusterRole", "name": "cluster-admin"}});
    assert_eq!(ask(&server, &jane, "POST", &bindings, all, None).await.0, 403);
    let same = binding("same", "same", "joe");
    assert_eq!(ask(&server, &jane, "POST", &bindings, same, None).await.0, 201);
}

#[tokio::test]
async fn questions_are_answered_as_requests_would_be() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _store) = start(folder.path()).await;
    let (admin, jane) = (User::admin(), User::new("jane", &[]));
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let may = |verb: &str| json!({"spec": {"resourceAttributes": {"namespace": "default", "verb": verb, "resource": "pods"}}});
    let (code, answer) = ask(&server, &admin, "POST", path, may("delete"), None).await;
    assert_eq!((code, &answer["status"]), (201, &json!({"allowed": true})));
    assert_eq!(ask(&server, &jane, "POST", path, may("get"), None).await.1["status"], json!({"allowed": false}));
    let like = Some("system:serviceaccount:default:default");
    assert_eq!(ask(&server, &admin, "POST", path, may("get"), like).await.1["status"], json!({"allowed": false}));
    let (code, refused) = ask(&server, &jane, "POST", path, may("get"), Some("kubernetes-admin")).await;
    let text = "users \"kubernetes-admin\" is forbidden: User \"jane\" cannot impersonate resource \"users\" in API \
                group \"\" at the cluster scope";
    assert_eq!((code, refused["message"].as_str()), (403, Some(text)));
    let who = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let (_, answer) = ask(&server, &admin, "POST", who, json!({}), like).await;
    let groups = ["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"];
    assert_eq!(answer["status"]["userInfo"]["groups"], json!(groups));
    assert_eq!(ask(&server, &admin, "GET", who, Value::Null, None).await.0, 405);
}

/// What a service account with every right is answered when it sends headers of impersonation.
async fn as_if(server: &Server, headers: &[(&str, &[u8])]) -> (u16, Value) {
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let mut request = http::Request::builder().method("POST").uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = server.handle(request.body(Full::new("{}".into())).unwrap(), Some(&User::admin())).await;
    let code = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap())
}

#[tokio::test]
async fn who_is_impersonated_is_never_the_sender() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _store) = start(folder.path()).await;
    let user = |answer: &Value, field: &str| answer["status"]["userInfo"][field].clone();
    let (code, answer) = as_if(&server, &[("Impersonate-User", "jörg".as_bytes())]).await;
    assert_eq!((code, user(&answer, "username")), (201, json!("jörg")));
    let (_, answer) = as_if(&server, &[("Impersonate-User", b"jane"), ("Impersonate-Group", "größe".as_bytes())]).await;
    assert_eq!(user(&answer, "groups"), json!(["größe", "system:authenticated"]));
    let (_, answer) = as_if(&server, &[("Impersonate-User", b"first"), ("Impersonate-User", b"second")]).await;
    assert_eq!(user(&answer, "username"), "first");
    for headers in [
        &[("Impersonate-User", b"j\xf6rg".as_slice())][..],
        &[("Impersonate-User", b"jane"), ("Impersonate-Group", b"\xff")],
        &[("Impersonate-User", b"jane"), ("Impersonate-Extra-a", b"\xff")],
    ] {
        let (code, answer) = as_if(&server, headers).await;
        assert_eq!(code, 400, "{answer}");
    }
    let (code, answer) = as_if(&server, &[("Impersonate-Group", b"g")]).await;
    let words = "requested [{Group  g    }] without impersonating a user";
    assert_eq!((code, answer["message"].as_str()), (400, Some(words)));
}
