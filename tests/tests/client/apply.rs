//! `apply` twice writes nothing the second time, two managers conflict visibly, a dry run writes nothing.

use kprov::client::kube::api::{Patch, PatchParams};
use kprov::client::kube::{Api, ResourceExt};
use kprov::client::{Apply, ClientError, Outcome};
use kprov::k8s_openapi::api::apps::v1::Deployment;
use kprov::k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;

use super::{Server, bundle, count, words};

const SHOP: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: nginx, image: 'nginx:1.27', ports: [{containerPort: 80, name: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: http}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: shop}
data: {colour: blue}
---
apiVersion: v1
kind: Secret
metadata: {name: key, namespace: shop}
stringData: {token: s3cret}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: web, namespace: shop}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
";

#[tokio::test]
async fn applying_twice_writes_nothing_the_second_time() {
    let server = Server::start().await;
    let shop = bundle(SHOP);
    for how in [Apply::new(), Apply::new().prune()] {
        let first = server.client.apply_with(&shop, &how, &mut |_| {}).await.unwrap();
        assert!(first.is_complete());
        let before = (server.revision().await, versions(&server).await);
        let second = server.client.apply_with(&shop, &how, &mut |_| {}).await.unwrap();
        assert_eq!(count(&second, |one| matches!(one, Outcome::Unchanged)), 6, "{:?}", words(&second));
        assert!(!second.changed());
        assert_eq!((server.revision().await, versions(&server).await), before, "nothing was written");
    }
    let changed = bundle(&SHOP.replace("replicas: 2", "replicas: 3"));
    let third = server.client.apply(&changed).await.unwrap();
    let said: Vec<String> = words(&third).into_iter().filter(|line| !line.ends_with("unchanged")).collect();
    assert_eq!(said, ["Deployment shop/web configured"]);
}

/// The resource versions of everything that the bundle made.
async fn versions(server: &Server) -> Vec<(String, String)> {
    let client = server.client.clone().in_namespace("shop");
    let mut all = Vec::new();
    for (version, kind) in
        [("apps/v1", "Deployment"), ("v1", "Service"), ("v1", "ConfigMap"), ("v1", "Secret"), ("v1", "ServiceAccount")]
    {
        for object in client.of_kind(version, kind).list("").await.unwrap() {
            let version = object.text(&["metadata", "resourceVersion"]).unwrap().to_owned();
            all.push((format!("{kind} {}", object.name()), version));
        }
    }
    assert!(all.len() >= 5, "{all:?}");
    all
}

#[tokio::test]
async fn two_managers_conflict_visibly_and_force_takes_over() {
    let server = Server::start().await;
    let map = |colour: &str| {
        bundle(&format!(
            "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: settings}}, data: {{colour: {colour}}}}}"
        ))
    };
    server.client.apply(&map("blue")).await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(server.client.kube().clone(), "default");
    let theirs = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"colour": "red"}});
    maps.patch("settings", &PatchParams::apply("painter").force(), &Patch::Apply(&theirs)).await.unwrap();

    let error = server.client.apply(&map("green")).await.unwrap_err();
    let ClientError::Incomplete(report) = &error else { panic!("{error}") };
    let Outcome::Failed(ClientError::Conflict(conflict)) = &report.objects[0].outcome else { panic!("{error}") };
    assert_eq!(conflict.fields.len(), 1, "{conflict}");
    assert_eq!(conflict.fields[0].0, "data.colour");
    assert!(conflict.fields[0].1.starts_with("painter"), "{conflict}");
    assert!(error.to_string().contains("data.colour -> painter"), "{error}");
    assert!(error.to_string().contains("--force-conflicts"), "{error}");
    assert_eq!(maps.get("settings").await.unwrap().data.unwrap()["colour"], "red");

    let forced = server.client.apply_with(&map("green"), &Apply::new().force(), &mut |_| {}).await.unwrap();
    assert_eq!(words(&forced), ["ConfigMap default/settings configured"]);
    assert_eq!(maps.get("settings").await.unwrap().data.unwrap()["colour"], "green");
}

#[tokio::test]
async fn a_field_that_left_the_bundle_leaves_the_object_and_others_fields_stay() {
    let server = Server::start().await;
    let map = |data: &str| {
        bundle(&format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: settings}}, data: {data}}}"))
    };
    server.client.apply(&map("{a: '1', b: '2'}")).await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(server.client.kube().clone(), "default");
    maps.patch("settings", &PatchParams::default(), &Patch::Merge(json!({"data": {"c": "3"}}))).await.unwrap();
    server.client.apply(&map("{a: '1'}")).await.unwrap();
    let data = maps.get("settings").await.unwrap().data.unwrap();
    assert_eq!(data, [("a".to_owned(), "1".to_owned()), ("c".to_owned(), "3".to_owned())].into());
}

#[tokio::test]
async fn a_dry_run_and_a_diff_tell_what_would_happen_and_write_nothing() {
    let server = Server::start().await;
    let shop = bundle(SHOP);
    let before = server.revision().await;
    let asked = server.client.apply_with(&shop, &Apply::new().dry_run().prune(), &mut |_| {}).await.unwrap();
    assert_eq!(count(&asked, |one| matches!(one, Outcome::Created)), 6, "{:?}", words(&asked));
    let changes = server.client.diff(&shop).await.unwrap();
    assert!(changes.iter().all(|change| change.before.is_none()));
    assert_eq!(server.revision().await, before);

    server.client.apply(&shop).await.unwrap();
    let before = server.revision().await;
    let same = server.client.diff(&shop).await.unwrap();
    assert!(same.iter().all(|change| !change.is_change()), "{same:?}");
    let other = bundle(&SHOP.replace("replicas: 2", "replicas: 5"));
    let asked = server.client.apply_with(&other, &Apply::new().dry_run(), &mut |_| {}).await.unwrap();
    assert_eq!(count(&asked, |one| matches!(one, Outcome::Configured)), 1, "{:?}", words(&asked));
    let changes = server.client.diff(&other).await.unwrap();
    let changed: Vec<_> = changes.iter().filter(|change| change.is_change()).collect();
    assert_eq!(changed.len(), 1);
    assert_eq!(changed[0].object.to_string(), "Deployment shop/web");
    assert_eq!(changed[0].before.as_ref().unwrap().at(&["spec", "replicas"]), Some(&json!(2)));
    assert_eq!(changed[0].after.at(&["spec", "replicas"]), Some(&json!(5)));
    assert_eq!(server.revision().await, before);
    let web: Deployment = server.client.clone().in_namespace("shop").get("web").await.unwrap();
    assert_eq!((web.name_any().as_str(), web.spec.replicas), ("web", Some(2)));
}

#[tokio::test]
async fn mistakes_come_in_the_servers_words_and_all_of_a_stage_at_once() {
    let server = Server::start().await;
    let wrong = bundle(
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: A_b}}\n---\n\
         {apiVersion: v1, kind: ConfigMap, metadata: {name: b}, dota: {a: b}}\n---\n\
         {apiVersion: v1, kind: ConfigMap, metadata: {name: c}}\n",
    );
    let error = server.client.apply(&wrong).await.unwrap_err().to_string();
    assert!(error.starts_with("2 of 3 objects failed\n"), "{error}");
    assert!(error.contains("metadata.name: Invalid value: \"A_b\""), "{error}");
    assert!(error.contains("dota"), "{error}");
    server.client.get::<ConfigMap>("c").await.unwrap();
}
