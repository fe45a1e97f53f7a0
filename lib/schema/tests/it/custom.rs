//! The recorded life of a custom resource.

use jiff::Timestamp;
use kprov_schema::decode::{Media, Target, Validation, decode_as};
use kprov_schema::discovery::{self, Entry};
use kprov_schema::kind::Write;
use kprov_schema::{Kind, Object, Status, canonical, custom, openapi};
use serde_json::{Value, json};

use crate::recordings::{Step, difference, scenarios};

fn widget() -> Kind {
    let definition = scenarios("crd")
        .into_iter()
        .flatten()
        .find(|step| step.body["spec"]["names"]["kind"] == "Widget")
        .unwrap()
        .body;
    custom::kind(&Object::try_from(definition).unwrap(), "v1").unwrap()
}

/// What a creation ends with.
fn create(kind: &Kind, step: &Step) -> Result<(Object, Vec<String>), Status> {
    let validation = if step.path.contains("Strict") { Validation::Strict } else { Validation::Warn };
    let decoded = decode_as(&Target::of(kind), step.body.to_string().as_bytes(), Media::Json, validation)?;
    let mut object = decoded.object;
    object.set(&["metadata", "namespace"], json!("ref"));
    kind.fill_defaults(&mut object).unwrap();
    kind.prepare(&mut object, None, Write::Main).unwrap();
    canonical::canonicalise(kind, &mut object);
    let errors = kind.validate(&object, None, Write::Main).unwrap();
    if errors.is_empty() { Ok((object, decoded.warnings)) } else { Err(kind.invalid(object.name(), &errors)) }
}

fn decided(object: &Value) -> Value {
    let mut object = object.clone();
    for field in ["managedFields", "uid", "resourceVersion", "creationTimestamp", "namespace"] {
        object["metadata"].as_object_mut().unwrap().remove(field);
    }
    object
}

#[test]
fn widgets_are_taken_or_refused_as_upstream_does() {
    let kind = widget();
    let (mut seen, mut wrong) = (0, Vec::new());
    for step in scenarios("crd").iter().flatten() {
        let creates = step.method == "POST" && step.path.contains("/widgets?") && step.code > 0;
        if !creates {
            continue;
        }
        seen += 1;
        let text = step.answer.to_string().replace("<time>", "2026-01-02T03:04:05Z");
        let want: Value = serde_json::from_str(&text).unwrap();
        let why = match create(&kind, step) {
            Ok((object, _)) if step.code == 201 => {
                let (got, want) = (decided(&Value::from(object)), decided(&want));
                (got != want).then(|| difference(&got, &want, ""))
            }
            Ok(_) => Some(format!("taken, want {} {}", step.code, want["message"])),
            Err(status) => {
                let message = want["message"].as_str().unwrap_or_default();
                let same =
                    u64::from(status.code) == step.code && (status.message == message || message.contains("json: "));
                (!same).then(|| format!("{}, want {} {message}", status.message, step.code))
            }
        };
        wrong.extend(why.map(|why| format!("{}: {why}", step.scenario)));
    }
    assert!(wrong.is_empty(), "{} of {seen}\n{}", wrong.len(), wrong.join("\n"));
    assert!(seen > 50, "only {seen}");
}

#[test]
fn tables_discovery_and_schemas_are_made_from_the_definition() {
    let (kind, life) = (
        widget(),
        scenarios("crd").into_iter().find(|one| one.iter().any(|step| step.scenario == "crd/life")).unwrap(),
    );
    let table = life.iter().find(|step| step.answer["kind"] == "Table").unwrap();
    let heads: Vec<&str> =
        table.answer["columnDefinitions"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    let columns = kind.columns();
    assert_eq!(columns.iter().map(|one| one.name.as_ref()).collect::<Vec<_>>(), heads);
    for (column, want) in columns.iter().zip(table.answer["columnDefinitions"].as_array().unwrap()) {
        assert_eq!(
            (json!(column.description), json!(column.kind)),
            (want["description"].clone(), want["type"].clone())
        );
    }
    let object =
        json!({"metadata": {"name": "w"}, "spec": {"size": 3, "color": "red", "ports": [{"port": 80}, {"port": 81}]}});
    let row = kind.row(&Object::try_from(object).unwrap(), Timestamp::UNIX_EPOCH).unwrap().cells;
    assert_eq!(row, [json!("w"), json!(3), json!("red"), json!(null), json!("80"), json!(null), json!(null)]);

    let entries = [Entry::of(&kind)];
    let recorded = |path: &str| life.iter().find(|step| step.path == path).unwrap().answer.clone();
    assert_eq!(
        discovery::resource_list(&entries, "ref.example.com", "v1").unwrap(),
        recorded("/apis/ref.example.com/v1")
    );
    assert_eq!(discovery::group(&entries, "ref.example.com").unwrap(), recorded("/apis/ref.example.com"));
    let document = openapi::document(&entries, "apis/ref.example.com/v1").unwrap();
    let schema = &document["components"]["schemas"]["com.example.ref.v1.Widget"];
    assert_eq!(
        schema["properties"]["spec"]["properties"]["ports"]["x-kubernetes-list-map-keys"],
        json!(["port", "proto"])
    );

    assert_eq!(kind.scale_paths().unwrap().spec_replicas, ".spec.replicas");
    assert!(kind.knows_field("spec.color").is_ok());
    assert_eq!(kind.knows_field("spec.size").unwrap_err(), "field label not supported: spec.size");
}
