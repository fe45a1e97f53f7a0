//! The builder form of every tutorial's manifests says what their YAML form says.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use kprov::Bundle;
use kprov::diff::{Diff, Difference};
use kprov::schema::Object;
use kprov::schema::kind::KINDS;
use kprov_examples::tutorials;

/// Where a builder says it better than the tutorial on purpose: the file, the field, and the reason.
const BETTER: &[(&str, &str, &str)] = &[
    (
        "s23-named-target.yaml",
        "spec.ports[port=4000,protocol=TCP].name",
        "a service's port is named like the pods' port that it leads to, so that others can name it too",
    ),
    ("s54-redis-config.yaml", "spec.containers[name=redis].resources.limits.cpu", CANONICAL),
    ("s54-redis-config.yaml", "spec.containers[name=redis].resources.requests.cpu", CANONICAL),
    ("s55-apache-http.yaml", "spec.ports[port=80,protocol=TCP].targetPort", NAMED_TARGET),
    ("s56-web.yaml", "spec.ports[port=80,protocol=TCP].targetPort", NAMED_TARGET),
    (
        "s63-zookeeper.yaml",
        "spec.updateStrategy.rollingUpdate",
        "the server completes the default strategy only when its type is not said, which a builder need not say",
    ),
];
const CANONICAL: &str = "the tutorial says 0.1 and the builder 100m, which is the same amount";
const NAMED_TARGET: &str =
    "a stateful set's service leads to the pods' port by its name, so that the number can change";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tutorials")
}

fn read(file: &str) -> Bundle {
    Bundle::read(file, [folder().join(file)], false).unwrap()
}

fn files() -> BTreeSet<String> {
    fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// The objects as the server would keep them, where it knows their kind: a default that is not said equals one that is.
fn kept(bundle: &Bundle) -> Vec<Object> {
    let mut objects = bundle.objects().to_vec();
    for object in &mut objects {
        let kind =
            KINDS.iter().find(|kind| kind.kind == object.kind() && kind.resource.api_version() == object.api_version());
        if let Some(kind) = kind {
            kind.fill_defaults(object).unwrap();
        }
    }
    objects
}

fn titles(objects: &[Object]) -> Vec<String> {
    objects.iter().map(|object| format!("{} {}", object.kind(), object.name())).collect()
}

/// What is different besides what [`BETTER`] allows, a line a field.
fn differences(file: &str, yaml: &[Object], built: &[Object]) -> String {
    let mut allowed: Vec<&str> = BETTER.iter().filter(|row| row.0 == file).map(|row| row.1).collect();
    let exact = allowed.is_empty();
    let mut diff = Diff::between(yaml, built);
    for (_, difference) in &mut diff.objects {
        if let Difference::Changed(changes) = difference {
            changes.retain(|change| {
                let found = allowed.iter().position(|path| *path == change.path);
                found.map(|at| allowed.remove(at)).is_none()
            });
        }
    }
    diff.objects.retain(|(_, difference)| !matches!(difference, Difference::Changed(changes) if changes.is_empty()));
    let mut told = diff.to_string();
    told.extend(allowed.iter().map(|path| format!("{path} is no longer better: take it off the list\n")));
    if told.is_empty() && titles(yaml) != titles(built) {
        told = format!("another order: {:?}, not {:?}\n", titles(built), titles(yaml));
    }
    if told.is_empty() && exact && yaml != built {
        told = "the items of a list have another order\n".to_owned();
    }
    told
}

#[test]
fn builders_say_what_the_manifests_say() {
    let mut wrong = String::new();
    for (file, program) in tutorials::all() {
        let told = differences(file, &kept(&read(file)), &kept(&program()));
        if !told.is_empty() {
            wrong.push_str(&format!("{file}\n{told}\n"));
        }
    }
    assert!(wrong.is_empty(), "from the YAML form to the builders':\n{wrong}");
}

#[test]
fn every_manifest_has_a_builder_form() {
    let rows: Vec<String> = tutorials::all().map(|(file, _)| file.to_owned()).collect();
    let distinct: BTreeSet<String> = rows.iter().cloned().collect();
    assert_eq!(rows.len(), distinct.len(), "a file has two rows: {rows:?}");
    assert_eq!(distinct, files(), "files with a row, and files that there are");
}

#[test]
fn what_is_written_is_read_again() {
    for (file, program) in tutorials::all() {
        for bundle in [read(file), program()] {
            let text = bundle.to_yaml().unwrap();
            let again = Bundle::from_yaml(bundle.name(), &text).unwrap();
            assert_eq!(again, bundle, "{file}, written as\n{text}");
        }
    }
}

#[test]
fn a_difference_is_told() {
    let yaml = kept(&read("s03-deployment.yaml"));
    let mut built = yaml.clone();
    built[0].set(&["spec", "replicas"], 3.into());
    let told = differences("s03-deployment.yaml", &yaml, &built);
    assert!(told.contains("spec.replicas"), "{told}");
    assert!(differences("s23-named-target.yaml", &yaml, &yaml).contains("no longer better"));
}
