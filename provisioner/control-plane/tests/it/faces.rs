//! Kinds that are two faces of the same objects.

use std::sync::Arc;

use futures::StreamExt;
use kprov_control_plane::api::{Config, Server, User};
use kprov_control_plane::client::{Client, Event, Selection};
use kprov_control_plane::pki::Pki;
use kprov_control_plane::store::Store;
use kprov_control_plane::world::memory::MemoryWorld;
use kprov_schema::{Key, Object, Resource};
use serde_json::json;

async fn server(folder: &std::path::Path) -> Server {
    let world = MemoryWorld::new(7);
    let store = Store::open(&world.world(), "store").unwrap();
    let pki = Pki::open_or_create(folder, &[], &kprov_control_plane::world::real::world(folder)).unwrap();
    let config = Config { listen: Vec::new(), ..Config::default() };
    Server::start(config, world.world(), store, Arc::new(pki)).await.unwrap()
}

fn newer() -> Resource {
    Resource::of::<k8s_openapi::api::events::v1::Event>()
}

fn older() -> Resource {
    Resource::of::<k8s_openapi::api::core::v1::Event>()
}

fn which(fields: &str) -> Selection {
    Selection { namespace: Some("default".to_owned()), fields: fields.to_owned(), ..Selection::default() }
}

async fn create(client: &Client) -> Object {
    let event = json!({
        "metadata": {"name": "e", "namespace": "default"}, "eventTime": "2026-01-01T00:00:00.000000Z",
        "regarding": {"kind": "Pod", "name": "p", "namespace": "default"}, "note": "n", "reason": "R", "action": "A",
        "type": "Normal", "reportingController": "example.com/c", "reportingInstance": "i",
    });
    let object = Object::try_from(event).unwrap();
    Object::clone(&*client.create(&newer(), &Key::new("default", "e"), None, object).await.unwrap())
}

#[tokio::test]
async fn an_event_is_one_object_in_two_groups() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path()).await;
    let client = server.client(User::admin());
    let start = client.list(&newer(), &which("")).await.unwrap().revision;
    let made = create(&client).await;
    assert_eq!(made.text(&["note"]), Some("n"));

    let key = Key::new("default", "e");
    let old_face = client.get(&older(), &key).await.unwrap();
    assert_eq!(old_face.api_version(), "v1");
    assert_eq!(old_face.text(&["message"]), Some("n"));
    assert_eq!(old_face.uid(), made.uid());
    assert_eq!(*client.get(&newer(), &key).await.unwrap(), made);

    let by_new = client.list(&newer(), &which("regarding.name=p")).await.unwrap();
    let by_old = client.list(&older(), &which("involvedObject.name=p")).await.unwrap();
    assert_eq!((by_new.items.len(), by_old.items.len()), (1, 1));
    assert!(client.list(&newer(), &which("involvedObject.name=p")).await.is_err());

    let mut watch = client.watch(&newer(), &which("regarding.kind=Pod"), start).await.unwrap();
    let Some(Ok(Event::Added(seen))) = watch.next().await else { panic!("the event is not told") };
    assert_eq!(*seen, made);

    let mut changed = Object::clone(&old_face);
    changed.set(&["count"], json!(2));
    client.update(&older(), None, changed).await.unwrap();
    let seen = client.get(&newer(), &key).await.unwrap();
    assert_eq!(seen.at(&["deprecatedCount"]), Some(&json!(2)));
    server.shutdown().await;
}
