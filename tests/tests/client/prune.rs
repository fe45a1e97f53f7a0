//! `prune` deletes what left the bundle, and never what the bundle did not make.

use kprov::Bundle;
use kprov::client::kube::Api;
use kprov::client::kube::api::{Patch, PatchParams};
use kprov::client::{Apply, ClientError, Outcome, Progress};
use kprov::k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;

use super::{Server, bundle, during, words};

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

const A: &str = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {a: b}}\n";
const SECRET: &str = "---\n{apiVersion: v1, kind: Secret, metadata: {name: s}}\n";
const OLD_SECRET: &str = "---\n{apiVersion: v1, kind: Secret, metadata: {name: old}}\n";
const ACCOUNT: &str = "---\n{apiVersion: v1, kind: ServiceAccount, metadata: {name: first}}\n";

/// What a prune of everything deletes: all that the cluster remembers.
async fn remembered(server: &Server) -> Vec<String> {
    let report = server.client.apply_with(&Bundle::new("shop"), &Apply::new().prune(), &mut |_| {}).await.unwrap();
    assert!(server.client.get::<ConfigMap>("kprov-shop").await.unwrap_err().is_not_found());
    words(&report)
}

fn deleted(progress: &Progress<'_>) -> bool {
    matches!(progress, Progress::Did(did) if matches!(did.outcome, Outcome::Deleted))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kinds_that_another_apply_added_during_a_prune_are_not_forgotten() {
    let server = Server::start().await;
    let prune = Apply::new().prune();
    server.client.apply_with(&maps(&["a", "b"]), &prune, &mut |_| {}).await.unwrap();
    let other = bundle(&format!("{A}{SECRET}"));
    let meanwhile = async { server.client.apply_with(&other, &prune, &mut |_| {}).await };
    server.client.apply_with(&maps(&["a"]), &prune, &mut during(deleted, meanwhile)).await.unwrap();
    assert_eq!(remembered(&server).await, ["ConfigMap default/a deleted", "Secret default/s deleted"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kinds_that_another_apply_found_remembered_during_a_prune_are_not_forgotten() {
    let server = Server::start().await;
    let prune = Apply::new().prune();
    server.client.apply_with(&bundle(&format!("{A}{OLD_SECRET}")), &prune, &mut |_| {}).await.unwrap();
    let other = bundle(&format!("{A}{SECRET}"));
    let track = Apply::new().track();
    let meanwhile = async { server.client.apply_with(&other, &track, &mut |_| {}).await };
    server.client.apply_with(&maps(&["a"]), &prune, &mut during(deleted, meanwhile)).await.unwrap();
    assert_eq!(remembered(&server).await, ["ConfigMap default/a deleted", "Secret default/s deleted"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kinds_that_another_prune_forgot_during_an_apply_are_remembered_again() {
    let server = Server::start().await;
    let prune = Apply::new().prune();
    let first = |progress: &Progress<'_>| matches!(progress, Progress::Did(did) if did.object.name == "first");
    for nothing_else in [false, true] {
        let other = if nothing_else { Bundle::new("shop") } else { maps(&["a"]) };
        let meanwhile = async { server.client.apply_with(&other, &prune, &mut |_| {}).await };
        let ours = bundle(&format!("{A}{SECRET}{ACCOUNT}"));
        server.client.apply_with(&ours, &Apply::new().track(), &mut during(first, meanwhile)).await.unwrap();
        assert_eq!(remembered(&server).await, ["ConfigMap default/a deleted", "Secret default/s deleted"]);
    }
}

#[tokio::test]
async fn a_namespace_stays_while_it_holds_the_inventory_or_an_object_of_the_bundle() {
    let server = Server::start().await;
    let client = server.client.clone().in_namespace("shop");
    let prune = Apply::new().prune();
    let shop = "---\n{apiVersion: v1, kind: Namespace, metadata: {name: shop}}\n";
    let far = "---\n{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: default}}\n";
    client.apply_with(&bundle(&format!("{A}{shop}{far}")), &prune, &mut |_| {}).await.unwrap();

    let report = client.apply_with(&bundle(A), &prune, &mut |_| {}).await.unwrap();
    let said = ["ConfigMap shop/a unchanged", "Secret default/s deleted", "Namespace shop unchanged"];
    assert_eq!(words(&report), said, "one of its objects is in it");
    assert!(report.objects[2].warnings[0].contains("ConfigMap shop/a"), "{report:?}");

    client.apply_with(&bundle(&format!("{A}{far}")), &prune, &mut |_| {}).await.unwrap();
    let report = client.apply_with(&bundle(far), &prune, &mut |_| {}).await.unwrap();
    let said = ["Secret default/s unchanged", "ConfigMap shop/a deleted", "Namespace shop unchanged"];
    assert_eq!(words(&report), said, "the inventory is in it");
    assert!(report.objects[2].warnings[0].contains("ConfigMap shop/kprov-shop"), "{report:?}");

    let report = client.apply_with(&Bundle::new("shop"), &prune, &mut |_| {}).await.unwrap();
    assert_eq!(words(&report), ["Secret default/s deleted", "Namespace shop deleted"]);
}

#[tokio::test]
async fn the_inventory_goes_with_the_last_object_that_is_deleted() {
    let server = Server::start().await;
    let client = &server.client;
    client.apply_with(&maps(&["a", "b"]), &Apply::new().prune(), &mut |_| {}).await.unwrap();
    // By other manifests, whose name is not that of the bundle.
    let named = |name| {
        let text = format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}}}}}");
        Bundle::from_yaml("manifests", &text).unwrap()
    };
    client.delete(&named("a")).await.unwrap();
    assert!(client.get::<ConfigMap>("kprov-shop").await.is_ok(), "b is still remembered");
    client.delete(&named("b")).await.unwrap();
    assert!(client.get::<ConfigMap>("kprov-shop").await.unwrap_err().is_not_found());
}
