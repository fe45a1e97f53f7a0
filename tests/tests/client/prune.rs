//! `prune` deletes what left the bundle, and never what the bundle did not make.

use kprov::Bundle;
use kprov::client::kube::Api;
use kprov::client::kube::api::{Patch, PatchParams};
use kprov::client::{Apply, ClientError};
use kprov::k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;

use super::{Server, bundle, words};

/// Config maps by name.
fn maps(names: &[&str]) -> Bundle {
    let one =
        |name: &&str| format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}}}, data: {{a: b}}}}\n");
    bundle(&names.iter().map(one).collect::<Vec<_>>().join("---\n"))
}

/// The names of the config maps that are there, without the inventory.
async fn there(server: &Server) -> Vec<String> {
    let all: Vec<ConfigMap> = server.client.list().await.unwrap();
    let names = all.into_iter().filter_map(|map| map.metadata.name);
    names.filter(|name| name != "kprov-shop" && name != "kube-root-ca.crt").collect()
}

#[tokio::test]
async fn what_left_the_bundle_is_deleted_and_nothing_else() {
    let server = Server::start().await;
    let client = &server.client;
    let api: Api<ConfigMap> = Api::namespaced(client.kube().clone(), "default");
    // Made by somebody else before: configured, never ours.
    client.create(&named("before")).await.unwrap();
    let prune = Apply::new().prune();
    client.apply_with(&maps(&["before", "goes", "stays"]), &prune, &mut |_| {}).await.unwrap();
    // Labelled by somebody else, as controllers do that copy labels.
    let ours = client.get::<ConfigMap>("goes").await.unwrap();
    let label = ours.metadata.labels.unwrap()["applyset.kubernetes.io/part-of"].clone();
    let copied = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "copied", "labels": {"applyset.kubernetes.io/part-of": label}},
    });
    api.patch("copied", &PatchParams::apply("copier"), &Patch::Apply(&copied)).await.unwrap();
    let other = Bundle::from_yaml("other", "{apiVersion: v1, kind: ConfigMap, metadata: {name: others}}").unwrap();
    client.apply_with(&other, &prune, &mut |_| {}).await.unwrap();

    let dry = client.apply_with(&maps(&["stays"]), &Apply::new().prune().dry_run(), &mut |_| {}).await.unwrap();
    assert_eq!(words(&dry), ["ConfigMap default/stays unchanged", "ConfigMap default/goes deleted"]);
    assert!(there(&server).await.contains(&"goes".to_owned()), "a dry run deletes nothing");

    let report = client.apply_with(&maps(&["stays"]), &prune, &mut |_| {}).await.unwrap();
    assert_eq!(words(&report), ["ConfigMap default/stays unchanged", "ConfigMap default/goes deleted"]);
    assert_eq!(there(&server).await, ["before", "copied", "kprov-other", "others", "stays"]);
}

fn named(name: &str) -> ConfigMap {
    let mut map = ConfigMap::default();
    map.metadata.name = Some(name.to_owned());
    map
}

#[tokio::test]
async fn a_bundle_without_objects_takes_its_inventory_along() {
    let server = Server::start().await;
    let prune = Apply::new().prune();
    server.client.apply_with(&maps(&["a", "b"]), &prune, &mut |_| {}).await.unwrap();
    assert!(server.client.get::<ConfigMap>("kprov-shop").await.is_ok());
    server.client.apply_with(&Bundle::new("shop"), &prune, &mut |_| {}).await.unwrap();
    assert_eq!(there(&server).await, Vec::<String>::new());
    assert!(server.client.get::<ConfigMap>("kprov-shop").await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn other_kinds_and_namespaces_are_found_after_they_left() {
    let server = Server::start().await;
    let elsewhere = bundle(
        "{apiVersion: v1, kind: Namespace, metadata: {name: far}}\n---\n\
         {apiVersion: v1, kind: Secret, metadata: {name: s, namespace: far}}\n---\n\
         {apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {a: b}}\n",
    );
    let prune = Apply::new().prune();
    server.client.apply_with(&elsewhere, &prune, &mut |_| {}).await.unwrap();
    let report = server.client.apply_with(&maps(&["a"]), &prune, &mut |_| {}).await.unwrap();
    assert_eq!(words(&report), ["ConfigMap default/a unchanged", "Secret far/s deleted", "Namespace far deleted"]);
}

#[tokio::test]
async fn an_object_of_another_bundle_is_refused_by_name() {
    let server = Server::start().await;
    let prune = Apply::new().prune();
    server.client.apply_with(&maps(&["a"]), &prune, &mut |_| {}).await.unwrap();
    let other = Bundle::from_yaml("other", "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}").unwrap();
    let error = server.client.apply_with(&other, &prune, &mut |_| {}).await.unwrap_err().to_string();
    assert!(error.contains("ConfigMap default/a: another bundle made it"), "{error}");
    // An apply that tracks nothing leaves the object with its bundle.
    server.client.apply(&maps(&["a"])).await.unwrap();
    let report = server.client.apply_with(&Bundle::new("shop"), &prune, &mut |_| {}).await.unwrap();
    assert_eq!(words(&report), ["ConfigMap default/a deleted"]);
}

#[tokio::test]
async fn an_inventory_of_somebody_else_is_left_alone() {
    let server = Server::start().await;
    server.client.create(&named("kprov-shop")).await.unwrap();
    let error = server.client.apply_with(&maps(&["a"]), &Apply::new().prune(), &mut |_| {}).await.unwrap_err();
    assert!(matches!(error, ClientError::Object { .. }), "{error}");
    assert!(error.to_string().contains("choose another name for the bundle"), "{error}");
    assert_eq!(there(&server).await, Vec::<String>::new());
}
