//! The builder form of every tutorial's manifests says what their YAML form says.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use kprov::Bundle;
use kprov::diff::Diff;
use kprov::schema::Object;
use kprov::schema::kind::KINDS;
use kprov_examples::tutorials;
use serde_json::Value;

/// Where a builder says it better than the tutorial on purpose.
struct Better {
    file: &'static str,
    kind: &'static str,
    /// The field, as a JSON pointer.
    field: &'static str,
    /// What the tutorial says, as JSON; `null` when it says nothing.
    tutorial: &'static str,
    /// What the builder says.
    builder: &'static str,
    why: &'static str,
}

const BETTER: &[Better] = &[
    Better {
        file: "s23-named-target.yaml",
        kind: "Service",
        field: "/spec/ports/0/name",
        tutorial: "null",
        builder: r#""http""#,
        why: "a service's port is named like the pods' port that it leads to, so that others can name it too",
    },
    Better {
        file: "s54-redis-config.yaml",
        kind: "Pod",
        field: "/spec/containers/0/resources/limits/cpu",
        tutorial: r#""0.1""#,
        builder: r#""100m""#,
        why: CANONICAL,
    },
    Better {
        file: "s54-redis-config.yaml",
        kind: "Pod",
        field: "/spec/containers/0/resources/requests/cpu",
        tutorial: r#""0.1""#,
        builder: r#""100m""#,
        why: CANONICAL,
    },
    Better {
        file: "s55-apache-http.yaml",
        kind: "Service",
        field: "/spec/ports/0/targetPort",
        tutorial: "80",
        builder: r#""web""#,
        why: NAMED_TARGET,
    },
    Better {
        file: "s56-web.yaml",
        kind: "Service",
        field: "/spec/ports/0/targetPort",
        tutorial: "80",
        builder: r#""web""#,
        why: NAMED_TARGET,
    },
    Better {
        file: "s63-zookeeper.yaml",
        kind: "StatefulSet",
        field: "/spec/updateStrategy/rollingUpdate",
        tutorial: "null",
        builder: r#"{"partition":0}"#,
        why: "the server completes the default strategy only when its type is not said, which a builder need not say",
    },
];
const CANONICAL: &str = "the same amount, as the server writes it";
const NAMED_TARGET: &str =
    "a stateful set's service leads to the pods' port by its name, so that the number can change";

impl Better {
    /// Puts what the builder says into the tutorial's object. Errors: the two say something else than the row.
    fn apply(&self, yaml: &mut [Object], built: &[Object]) -> Result<(), String> {
        let [tutorial, builder] =
            [self.tutorial, self.builder].map(|text| serde_json::from_str::<Value>(text).unwrap());
        let of_kind = |object: &&Object| object.kind() == self.kind;
        let at = |object: &Object| {
            let value = Value::Object(object.map().clone());
            value.pointer(self.field).cloned().unwrap_or_default()
        };
        let said = built.iter().find(of_kind).map(at).unwrap_or_default();
        let own = yaml.iter_mut().find(|object| object.kind() == self.kind).ok_or("it has no such kind")?;
        if (at(own), &said) != (tutorial, &builder) {
            return Err(format!(
                "{} is {} there and {said} here: not what is better ({})",
                self.field,
                at(own),
                self.why
            ));
        }
        let mut value = Value::Object(own.map().clone());
        let (parent, field) = self.field.rsplit_once('/').unwrap();
        value.pointer_mut(parent).unwrap()[field] = builder;
        *own = Object::try_from(value).unwrap();
        Ok(())
    }
}

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
    let mut yaml = yaml.to_vec();
    let better = BETTER.iter().filter(|row| row.file == file);
    let mut told: String =
        better.filter_map(|row| row.apply(&mut yaml, built).err()).map(|error| error + "\n").collect();
    told += &Diff::between(&yaml, built).to_string();
    if told.is_empty() && titles(&yaml) != titles(built) {
        told = format!("another order: {:?}, not {:?}\n", titles(built), titles(&yaml));
    }
    if told.is_empty() && yaml != built {
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
    let yaml = kept(&read("s56-web.yaml"));
    assert!(differences("s56-web.yaml", &yaml, &yaml).contains("not what is better"));
    let mut turned = yaml.clone();
    turned.reverse();
    assert!(differences("other", &yaml, &turned).contains("another order"));
}
