//! Discovery and OpenAPI documents against recorded ones.

use std::collections::{BTreeMap, BTreeSet};

use kprov_schema::KINDS;
use kprov_schema::discovery::{self, Entry};
use kprov_schema::openapi;
use kprov_schema::openapi::v2::Form;
use kprov_schema::structure::schema;
use serde_json::{Value, json};

use crate::recordings::{Step, steps};

/// What upstream serves by default since the recordings were made.
const NEWER: &[(&str, &str)] = &[
    ("certificates.k8s.io", "clustertrustbundles"),
    ("certificates.k8s.io", "podcertificaterequests"),
    ("resource.k8s.io", "devicetaintrules"),
    ("storagemigration.k8s.io", "storageversionmigrations"),
];

fn upstream() -> Vec<Entry> {
    let served = schema().kinds().iter().filter(|kind| !NEWER.contains(&(kind.group, kind.plural)));
    served.map(Entry::from).collect()
}

fn recorded(wanted: impl Fn(&str) -> bool) -> Vec<Step> {
    let steps = steps(Some("discovery")).into_iter();
    steps.filter(|step| step.code == 200 && wanted(&step.path) && step.answer.get("kind").is_some()).collect()
}

#[test]
fn legacy_documents_are_upstreams() {
    let entries = upstream();
    let mut seen = 0;
    for step in recorded(|path| path.starts_with("/api")) {
        let parts: Vec<&str> = step.path.trim_matches('/').split('/').collect();
        let got = match parts[..] {
            ["api"] => Some(discovery::api_versions("<serverAddress>")),
            ["apis"] => Some(discovery::group_list(&entries)),
            ["apis", group] => discovery::group(&entries, group),
            ["api", version] => discovery::resource_list(&entries, "", version),
            ["apis", group, version] => discovery::resource_list(&entries, group, version),
            _ => continue,
        };
        assert_eq!(got.unwrap(), step.answer, "{}", step.path);
        seen += 1;
    }
    assert!(seen > 30, "only {seen} documents");
    assert_eq!(discovery::resource_list(&entries, "apps", "v9"), None);
}

#[test]
fn both_forms_tell_the_same() {
    let entries = upstream();
    let mut legacy = BTreeSet::new();
    for entry in &entries {
        let list = discovery::resource_list(&entries, &entry.group, &entry.version).unwrap();
        for resource in list["resources"].as_array().unwrap() {
            legacy.insert(format!("{} {}", entry.api_version(), resource["name"].as_str().unwrap()));
        }
    }
    let mut aggregated = BTreeSet::new();
    for core in [true, false] {
        let document = discovery::aggregated(&entries, core);
        for group in document["items"].as_array().unwrap() {
            let name = group["metadata"]["name"].as_str();
            for version in group["versions"].as_array().unwrap() {
                let version_name = version["version"].as_str().unwrap();
                let api_version = name.map_or_else(|| version_name.to_owned(), |name| format!("{name}/{version_name}"));
                for resource in version["resources"].as_array().unwrap() {
                    let plural = resource["resource"].as_str().unwrap();
                    aggregated.insert(format!("{api_version} {plural}"));
                    for part in resource["subresources"].as_array().into_iter().flatten() {
                        aggregated.insert(format!("{api_version} {plural}/{}", part["subresource"].as_str().unwrap()));
                    }
                }
            }
        }
    }
    assert_eq!(legacy, aggregated);
}

#[test]
fn every_row_is_upstreams_entry() {
    for kind in KINDS {
        let served =
            schema().resource(&kind.resource).unwrap_or_else(|| panic!("{} is not served upstream", kind.kind));
        assert_eq!((kind.kind.as_ref(), kind.is_namespaced()), (served.kind, served.namespaced));
        for part in kind.subresources.iter() {
            let name = format!("{part:?}").to_ascii_lowercase();
            assert!(served.subresources.iter().any(|one| one.name == name), "{} has no {name}", kind.kind);
        }
    }
}

#[test]
fn the_index_names_the_documents_that_upstream_names() {
    let entries = upstream();
    let want = steps(Some("discovery")).into_iter().find(|step| step.path == "/openapi/v3").unwrap().answer;
    let hashes: BTreeMap<String, String> =
        openapi::names(&entries).into_iter().map(|name| (name, "<hash>".to_owned())).collect();
    assert_eq!(openapi::index(&hashes), want);
}

#[test]
fn hashes_change_with_what_is_served() {
    let entries = upstream();
    let (all, fewer) = (openapi::hashes(&entries), openapi::hashes(&entries[1..]));
    assert_eq!(all.keys().collect::<Vec<_>>(), openapi::names(&entries).iter().collect::<Vec<_>>());
    assert_eq!(all, openapi::hashes(&entries));
    assert_ne!(all["api/v1"], fewer["api/v1"]);
    assert_ne!(all["api/v1"], all["apis/apps/v1"]);
    assert!(all["api/v1"].len() == 128 && !all["api/v1"].contains(|c: char| c.is_ascii_lowercase()));
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            if let Some(name) = map.get("$ref").and_then(Value::as_str) {
                found.insert(name.trim_start_matches("#/components/schemas/").to_owned());
            }
            map.values().for_each(|inner| references(inner, found));
        }
        Value::Array(items) => items.iter().for_each(|inner| references(inner, found)),
        _ => {}
    }
}

#[test]
fn every_document_is_closed_under_reference() {
    let entries = upstream();
    for name in openapi::names(&entries) {
        let document = openapi::document(&entries, &name).unwrap();
        let mut wanted = BTreeSet::new();
        references(&document, &mut wanted);
        for reference in wanted {
            assert!(document["components"]["schemas"].get(&reference).is_some(), "{name} lacks {reference}");
        }
    }
    assert_eq!(openapi::document(&entries, "apis/apps/v9"), None);
}

#[test]
fn the_document_of_v2_is_closed_and_tells_what_older_clients_ask_for() {
    let entries = upstream();
    let document: Value = serde_json::from_slice(&openapi::v2::document(&entries, Form::Json)).unwrap();
    let mut wanted = BTreeSet::new();
    references(&document, &mut wanted);
    assert!(wanted.contains("#/definitions/io.k8s.api.core.v1.PodSpec"));
    for reference in wanted {
        let name = reference.trim_start_matches("#/definitions/");
        assert!(document["definitions"].get(name).is_some(), "{reference}");
    }
    let pods = &document["paths"]["/api/v1/namespaces/{namespace}/pods"]["post"];
    assert_eq!(pods["parameters"][0]["schema"]["$ref"], "#/definitions/io.k8s.api.core.v1.Pod");
    let definitions = &document["definitions"];
    let pod = &definitions["io.k8s.api.core.v1.Pod"];
    assert_eq!(pod["x-kubernetes-group-version-kind"], json!([{"group": "", "version": "v1", "kind": "Pod"}]));
    let spec = &definitions["io.k8s.api.core.v1.PodSpec"]["properties"];
    assert_eq!(spec["containers"]["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(spec["containers"]["items"]["$ref"], "#/definitions/io.k8s.api.core.v1.Container");
    let port = &definitions["io.k8s.api.core.v1.ServicePort"]["properties"]["targetPort"];
    assert_eq!((&port["type"], &port["format"]), (&json!("string"), &json!("int-or-string")));
    let protobuf = openapi::v2::document(&entries, Form::Protobuf);
    assert!(protobuf.starts_with(b"\x12") || protobuf.starts_with(b"\x0a"), "a field of the document comes first");
}

#[test]
fn a_document_tells_what_kubectl_asks_for() {
    let document = openapi::document(&upstream(), "apis/apps/v1").unwrap();
    let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert_eq!(
        patch["x-kubernetes-group-version-kind"],
        json!({"group": "apps", "version": "v1", "kind": "Deployment"})
    );
    let parameters: Vec<&str> =
        patch["parameters"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert!(parameters.contains(&"fieldValidation") && parameters.contains(&"dryRun"));
    assert!(patch["requestBody"]["content"].get("application/strategic-merge-patch+json").is_some());
    let schemas = &document["components"]["schemas"];
    let containers = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(containers["x-kubernetes-patch-strategy"], "merge");
    assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
    let kinds = &schemas["io.k8s.api.apps.v1.Deployment"]["x-kubernetes-group-version-kind"];
    assert_eq!(*kinds, json!([{"group": "apps", "version": "v1", "kind": "Deployment"}]));
}
