//! What the structure makes of recorded bodies and objects.

use std::collections::BTreeMap;

use kprov_schema::canonical;
use kprov_schema::decode::{Media, Target, Validation, decode_as};
use kprov_schema::structure::schema;
use serde_json::Value;

use crate::recordings::{Step, served, steps};

/// Every object inside an answer: itself, items of a list, objects of watch events.
fn objects(answer: &Value) -> Vec<&Value> {
    match answer {
        Value::Array(events) => events.iter().flat_map(|event| objects(&event["object"])).collect(),
        Value::Object(map) if map.get("items").is_some_and(Value::is_array) => {
            map["items"].as_array().unwrap().iter().collect()
        }
        Value::Object(_) => vec![answer],
        _ => Vec::new(),
    }
}

fn parts(object: &Value) -> Option<(String, String, String)> {
    let (api_version, kind) = (object["apiVersion"].as_str()?, object["kind"].as_str()?);
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    Some((group.to_owned(), version.to_owned(), kind.to_owned()))
}

#[test]
fn every_recorded_object_is_canonical() {
    let (mut seen, mut wrong) = (0, BTreeMap::<String, (usize, String)>::new());
    for step in steps(None).iter().filter(|step| step.code < 300) {
        for object in objects(&step.answer) {
            let Some((group, version, kind)) = parts(object) else { continue };
            let Some(served) = schema().served(&group, &version, &kind) else { continue };
            let Value::Object(mut map) = object.clone() else { continue };
            canonical::structured(&served.structure, &mut map);
            seen += 1;
            let map = Value::Object(map);
            if map != *object {
                let (at, from, to) = difference(object, &map, String::new());
                let entry = wrong.entry(format!("{kind}{at}: {from} became {to}")).or_default();
                *entry = (entry.0 + 1, step.scenario.clone());
            }
        }
    }
    assert!(seen > 3000, "only {seen} objects");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn difference(a: &Value, b: &Value, at: String) -> (String, String, String) {
    match (a, b) {
        (Value::Object(x), Value::Object(y)) => {
            for key in x.keys().chain(y.keys()) {
                if x.get(key) != y.get(key) {
                    let nothing = Value::from("<nothing>");
                    return difference(
                        x.get(key).unwrap_or(&nothing),
                        y.get(key).unwrap_or(&nothing),
                        format!("{at}.{key}"),
                    );
                }
            }
            unreachable!("maps that differ differ in a key")
        }
        (Value::Array(x), Value::Array(y)) if x.len() == y.len() => {
            let index = x.iter().zip(y).position(|(a, b)| a != b).unwrap();
            difference(&x[index], &y[index], format!("{at}[]"))
        }
        _ => (at, a.to_string().chars().take(80).collect(), b.to_string().chars().take(80).collect()),
    }
}

fn body(step: &Step) -> Vec<u8> {
    match &step.body {
        Value::String(text) => text.clone().into_bytes(),
        other => other.to_string().into_bytes(),
    }
}

fn validation(path: &str) -> Validation {
    match path {
        _ if path.contains("fieldValidation=Strict") => Validation::Strict,
        _ if path.contains("fieldValidation=Ignore") => Validation::Ignore,
        _ => Validation::Warn,
    }
}

#[test]
fn bodies_are_refused_where_upstream_refuses_them() {
    let (mut seen, mut wrong) = (0, Vec::new());
    for step in steps(None) {
        if !["POST", "PUT"].contains(&step.method.as_str()) || step.media != "application/json" || step.body.is_null() {
            continue;
        }
        let Some(served) = served(&step.path) else { continue };
        let target = Target::published(served.group, served.version, served.kind).unwrap();
        let got = decode_as(&target, &body(&step), Media::Json, validation(&step.path));
        let message = step.answer["message"].as_str().unwrap_or_default();
        let refused =
            step.code == 400 && (message.contains("cannot be handled as") || message.contains("unrecognized"));
        seen += 1;
        let agreed = match &got {
            Ok(_) => !refused,
            Err(status) => {
                step.code == 400
                    && (message.contains("json: ")
                        || message.contains("json parse error")
                        || normal(&status.message) == normal(message))
            }
        };
        if !agreed {
            wrong.push(format!(
                "{} {} {}: {got:.300?}, upstream {} {message:.300}",
                step.scenario, step.method, step.path, step.code
            ));
        }
    }
    assert!(seen > 1000, "only {seen} bodies");
    assert!(wrong.is_empty(), "{} of {seen}: {:#?}", wrong.len(), &wrong[..wrong.len().min(40)]);
}

/// A message without the layout of times, which the recordings took for a time, and without the head of a body.
fn normal(message: &str) -> String {
    let message = message.split(" ({").next().unwrap_or(message);
    message.replace("2006-01-02T15:04:05.000000Z", "<time>").replace("2006-01-02T15:04:05Z", "<time>")
}
