//! What a request for streams to a pod is refused for, in which order.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use http::Request;
use http_body_util::{BodyExt, Full};
use kprov_control_plane::api::{Server, User};
use kprov_control_plane::client::node::{Dial, LogOptions, NodeApi, Start, Task, Wanted};
use kprov_schema::{Object, Status};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::api::{in_default, make, start, with_account};

/// A node whose pods never run.
struct Idle;

impl NodeApi for Idle {
    fn logs(
        &self,
        _pod: Arc<Object>,
        _options: LogOptions,
    ) -> BoxFuture<'_, Result<BoxStream<'static, io::Result<Bytes>>, Status>> {
        Box::pin(async { Err(Status::failure(500, "", "no logs")) })
    }

    fn session(
        &self,
        _pod: Arc<Object>,
        container: String,
        _task: Task,
        _wanted: Wanted,
    ) -> BoxFuture<'_, Result<Start, Status>> {
        Box::pin(async move { Err(Status::failure(500, "", format!("container not found ({container:?})"))) })
    }

    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, Result<TcpStream, String>> {
        Box::pin(async move { TcpStream::connect(to).await.map_err(|error| error.to_string()) })
    }

    fn ports(&self, _pod: Arc<Object>) -> BoxFuture<'_, Result<Dial, Status>> {
        Box::pin(async { Err(Status::failure(500, "", "pod not found")) })
    }
}

/// Code and message of an answer.
async fn refusal(server: &Server, method: &str, part: &str, user: &User) -> (u16, String) {
    let path = format!("/api/v1/namespaces/default/pods/{part}");
    let request = Request::builder().method(method).uri(path).body(Full::new(Bytes::new())).unwrap();
    let answer = server.handle(request, Some(user)).await;
    let code = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    let message =
        serde_json::from_str::<Value>(&text).ok().and_then(|value| Some(value["message"].as_str()?.to_owned()));
    (code, message.unwrap_or(text))
}

#[tokio::test]
async fn refusals_come_in_upstreams_order() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = start(folder.path()).await;
    let client = with_account(&server).await;
    let pod = |name: &str, containers: &[&str], node: Option<&str>| {
        let containers: Vec<Value> = containers.iter().map(|name| json!({"name": name, "image": "i"})).collect();
        json!({"metadata": {"name": name}, "spec": {"containers": containers, "nodeName": node}})
    };
    make(&client, "pods", pod("waits", &["a"], None)).await;
    make(&client, "pods", pod("lost", &["a"], Some("gone"))).await;
    make(&client, "pods", pod("two", &["a", "b"], Some("idle"))).await;
    server.attach_node("idle", Arc::new(Idle));
    let admin = User::admin();
    for (method, part, code, message) in [
        ("GET", "nobody/exec?container=x", 404, "pods \"nobody\" not found"),
        ("POST", "two/exec", 400, "a container name must be specified for pod two, choose one of: [a b]"),
        ("POST", "two/attach?container=x", 400, "container x is not valid for pod two"),
        ("POST", "waits/exec?container=x", 400, "container x is not valid for pod waits"),
        ("POST", "waits/exec", 400, "pod waits does not have a host assigned"),
        ("POST", "waits/portforward", 400, "pod waits does not have a host assigned"),
        ("GET", "two/exec?container=a", 400, "Upgrade request required"),
        ("GET", "two/portforward", 400, "Upgrade request required"),
        ("PUT", "two/exec", 405, "the server does not allow this method on the requested resource"),
        ("DELETE", "two/portforward", 405, "the server does not allow this method on the requested resource"),
    ] {
        assert_eq!(refusal(&server, method, part, &admin).await, (code, message.to_owned()), "{method} {part}");
    }
    let (code, message) = refusal(&server, "POST", "lost/exec", &admin).await;
    assert!(code == 500 && message.contains("the agent of node \"gone\" is not connected"), "{code} {message}");
    let role = json!({"metadata": {"name": "reader"}, "rules": [
        {"apiGroups": [""], "resources": ["pods/exec", "pods/attach"], "verbs": ["get"]}]});
    let binding = json!({"metadata": {"name": "reader"}, "subjects": [{"kind": "User", "name": "reader", "apiGroup": "rbac.authorization.k8s.io"}],
        "roleRef": {"kind": "Role", "name": "reader", "apiGroup": "rbac.authorization.k8s.io"}});
    for (plural, value) in [("roles", role), ("rolebindings", binding)] {
        let resource = kprov_schema::Resource {
            group: "rbac.authorization.k8s.io".into(),
            version: "v1".into(),
            plural: plural.into(),
        };
        client.create(&resource, &in_default(""), None, Object::try_from(value).unwrap()).await.unwrap();
    }
    // To read is not enough, and to create was not given.
    let reader = User::new("reader", &["system:authenticated"]);
    for (method, part) in [("GET", "two/exec?container=a"), ("GET", "two/attach?container=a")] {
        let (code, message) = refusal(&server, method, part, &reader).await;
        assert!(code == 403 && message.contains("cannot create resource"), "{code} {message}");
    }
}
