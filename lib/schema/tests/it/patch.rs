//! Recorded patches over objects as the server had created them.

use std::collections::HashMap;

use kprov_schema::decode::{Target, Validation};
use kprov_schema::kind::Write;
use kprov_schema::patch::{self, Format};
use kprov_schema::{KINDS, Kind, Object, Status, canonical};
use serde_json::{Value, json};

use crate::recordings::{Step, difference, scenarios, served, steps};

fn path_and_name(path: &str, body: &Value) -> (String, String) {
    let path = path.split('?').next().unwrap_or_default();
    let name = body["metadata"]["name"].as_str().unwrap_or_default();
    (path.to_owned(), name.to_owned())
}

/// Objects as they were answered on creation, by path and body.
fn created() -> HashMap<(String, String), (Value, Value)> {
    let mut found = HashMap::new();
    for step in steps(Some("create")) {
        if step.method == "POST" && step.code == 201 && !step.path.contains("dryRun") {
            found.entry(path_and_name(&step.path, &step.body)).or_insert((step.body, step.answer));
        }
    }
    found
}

fn format(media: &str) -> Option<Format> {
    match media {
        "application/json-patch+json" => Some(Format::Json),
        "application/merge-patch+json" => Some(Format::Merge),
        "application/strategic-merge-patch+json" => Some(Format::Strategic),
        _ => None,
    }
}

fn body(step: &Step) -> Vec<u8> {
    match &step.body {
        Value::String(text) => text.clone().into_bytes(),
        other => other.to_string().into_bytes(),
    }
}

/// What a patch of a main resource makes, as far as the table of kinds goes.
fn patched(target: &Target, kind: Option<&Kind>, current: &Object, step: &Step) -> Result<Object, Status> {
    let format = format(&step.media).unwrap();
    let mut object = patch::apply(target, current, format, &body(step), Validation::Warn)?.object;
    if let Some(kind) = kind {
        let broken = |text: String| Status::failure(500, "", text);
        kind.fill_defaults(&mut object).map_err(broken)?;
        kind.prepare(&mut object, Some(current), Write::Main).map_err(broken)?;
    }
    canonical::structured(&target.structure, object.map_mut());
    Ok(object)
}

/// An object without what the patch does not decide.
fn decided(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(meta) = object["metadata"].as_object_mut() {
        for field in ["managedFields", "generation", "resourceVersion", "uid", "creationTimestamp", "selfLink"] {
            meta.remove(field);
        }
    }
    object
}

/// Scenarios in which one patch ends otherwise, and why.
const OTHERWISE: &[(&str, &str)] = &[
    ("patch/pod-v1-full/4", "admission adds a toleration to what the patch makes"),
    (
        "patch/validatingadmissionpolicy-admissionregistration.k8s.io-v1-vap/1",
        "upstream's test compares escaped bytes, so no text with < is equal",
    ),
];

/// With a time and a port in place of what the recordings put there.
fn timed(object: &Value) -> Value {
    let text = object.to_string().replace("<time>", "2026-01-02T03:04:05Z").replace("\"<port>\"", "30123");
    serde_json::from_str(&text).unwrap()
}

fn is_about_the_patch(status: &Value) -> bool {
    let message = status["message"].as_str().unwrap_or_default();
    message.contains("decoding patch")
        || message.contains("patch: Invalid")
        || message.starts_with("the server rejected")
        || status["code"] == json!(500)
}

#[test]
fn patches_end_as_upstream_ends_them() {
    let created = created();
    let (mut seen, mut same, mut wrong) = (0, 0, Vec::new());
    for scenario in scenarios("patch") {
        let Some(first) = scenario.first() else { continue };
        let key = path_and_name(&first.path, &first.body);
        let Some((body, answer)) = created.get(&key) else { continue };
        let Some(served) = served(&first.path) else { continue };
        // Their recorded answers hide times, addresses and ports: they are replayed from creation on in `replay`.
        let hidden = ["Service", "Event"].contains(&served.kind);
        if first.method != "POST" || *body != first.body || hidden {
            continue;
        }
        let target = Target::published(served.group, served.version, served.kind).unwrap();
        let is_served = |kind: &&Kind| {
            let resource = &kind.resource;
            kind.kind == served.kind && resource.group == served.group && resource.version == served.version
        };
        let kind = KINDS.iter().find(is_served);
        let current = Object::try_from(timed(&decided(answer))).unwrap();
        for step in
            scenario.iter().filter(|step| step.method == "PATCH" && step.path.contains("dryRun") && step.code > 0)
        {
            let got = patched(&target, kind, &current, step);
            let agreed = match &got {
                Ok(_) if is_about_the_patch(&step.answer) => false,
                Ok(object) if step.code == 200 => {
                    seen += 1;
                    let equal = decided(&Value::from(object.clone())) == timed(&decided(&step.answer));
                    same += usize::from(equal);
                    equal || kind.is_none()
                }
                Ok(_) => true,
                Err(status) => {
                    u64::from(status.code) == step.code
                        && status.reason == step.answer["reason"].as_str().unwrap_or_default()
                }
            };
            if !agreed {
                wrong.push(match got {
                    Ok(object) if step.code == 200 => {
                        let at = difference(&decided(&Value::from(object)), &timed(&decided(&step.answer)), "");
                        format!("{} {:?} {}: {at}", step.scenario, target.kind, step.media)
                    }
                    got => format!(
                        "{} {} {:.300}: got {:.300?}, want {} {:.300}",
                        step.scenario,
                        step.media,
                        step.body.to_string(),
                        got.map(|_| ()),
                        step.code,
                        step.answer["message"].to_string()
                    ),
                });
            }
        }
    }
    wrong.retain(|one: &String| !OTHERWISE.iter().any(|(scenario, _)| one.starts_with(&format!("{scenario} "))));
    assert!(
        wrong.is_empty(),
        "{} wrong, {same} of {seen} objects equal\n{}",
        wrong.len(),
        wrong[..wrong.len().min(60)].join("\n")
    );
    assert!(seen > 100, "only {seen} objects");
}
