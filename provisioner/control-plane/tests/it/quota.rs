//! Quotas hold, however many writes come at the same time.

use futures::future::join_all;
use kprov_control_plane::api::{Server, User};
use kprov_control_plane::client::Client;
use kprov_schema::{Key, Object, Resource, Status, Subresource};
use serde_json::{Value, json};

use crate::api::start;

fn core(plural: &'static str) -> Resource {
    Resource { group: "".into(), version: "v1".into(), plural: plural.into() }
}

async fn create(client: &Client, plural: &'static str, object: Value) -> Result<(), Status> {
    let object = Object::try_from(object).unwrap();
    client.create(&core(plural), &Key::new("default", ""), None, object).await.map(drop)
}

/// A quota that was counted: nothing is used yet.
async fn limit(server: &Server, hard: Value) -> Client {
    let client = server.client(User::admin());
    let used: serde_json::Map<String, Value> =
        hard.as_object().unwrap().keys().map(|name| (name.clone(), "0".into())).collect();
    let quota = json!({"metadata": {"name": "q", "namespace": "default"}, "spec": {"hard": hard}});
    create(&client, "resourcequotas", quota).await.unwrap();
    let mut quota = Object::clone(&*client.get(&core("resourcequotas"), &Key::new("default", "q")).await.unwrap());
    quota.set(&["status"], json!({"hard": hard, "used": used}));
    client.update(&core("resourcequotas"), Some(Subresource::Status), quota).await.unwrap();
    client
}

async fn used(client: &Client) -> Value {
    let quota = client.get(&core("resourcequotas"), &Key::new("default", "q")).await.unwrap();
    quota.at(&["status", "used"]).unwrap().clone()
}

#[tokio::test]
async fn of_many_at_once_as_many_get_in_as_there_is_room_for() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = start(folder.path()).await;
    let client = limit(&server, json!({"count/secrets": "20"})).await;
    let secrets = (0..50).map(|number| create(&client, "secrets", json!({"metadata": {"name": format!("s{number}")}})));
    let results = join_all(secrets).await;
    let refused: Vec<String> = results.into_iter().filter_map(Result::err).map(|status| status.message).collect();
    assert_eq!(refused.len(), 30);
    let why = "is forbidden: exceeded quota: q, requested: count/secrets=1, used: count/secrets=20, limited: count/secrets=20";
    assert!(refused.iter().all(|message| message.ends_with(why)), "{refused:?}");
    assert_eq!(used(&client).await, json!({"count/secrets": "20"}));
}

#[tokio::test]
async fn what_is_not_written_is_not_charged() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = start(folder.path()).await;
    let client = limit(&server, json!({"configmaps": "1", "services.nodeports": "1", "services": "5"})).await;
    let map = |name: &str| json!({"metadata": {"name": name}});
    create(&client, "configmaps", map("a")).await.unwrap();
    assert_eq!(create(&client, "configmaps", map("b")).await.unwrap_err().code, 403);
    let service = |ports: u16| {
        let ports: Vec<Value> = (0..ports).map(|one| json!({"name": format!("p{one}"), "port": 80 + one})).collect();
        json!({"metadata": {"name": "s"}, "spec": {"type": "NodePort", "ports": ports}})
    };
    assert_eq!(create(&client, "services", service(2)).await.unwrap_err().code, 403);
    create(&client, "services", service(1)).await.unwrap();
    let there = create(&client, "services", json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 1}]}})).await;
    assert!(there.unwrap_err().already_exists());
    assert_eq!(used(&client).await, json!({"configmaps": "1", "services": "1", "services.nodeports": "1"}));
    let mut more = Object::clone(&*client.get(&core("services"), &Key::new("default", "s")).await.unwrap());
    more.set(&["spec", "ports"], service(2)["spec"]["ports"].clone());
    let refused = client.update(&core("services"), None, more).await.unwrap_err();
    let why =
        "exceeded quota: q, requested: services.nodeports=1, used: services.nodeports=1, limited: services.nodeports=1";
    assert!(refused.message.ends_with(why), "{}", refused.message);
}
