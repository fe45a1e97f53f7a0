//! Parts of an object that are read and written through a path of their own, as a table.

use kprov_schema::decode::Target as Decoding;
use kprov_schema::kind::Write;
use kprov_schema::{FieldError, Kind, Object, Resource, Status, Subresource, selector};
use serde_json::{Value, json};

use super::errors;
use super::target::Target;

/// A part that is read, replaced and patched like an object.
pub(crate) struct Part {
    part: Subresource,
    /// The kind that it speaks, when it is another than the object's.
    pub(crate) speaks: Option<Spoken>,
    /// The door that its writes come through.
    pub(crate) door: Write,
    /// The part of an object.
    pub(crate) show: fn(&Kind, &Object) -> Object,
    /// The object with a new part.
    pub(crate) put: fn(&Kind, &Object, Object) -> Result<Object, Status>,
    /// Whether it can be patched.
    pub(crate) patchable: bool,
    /// Whether it can be read.
    pub(crate) readable: bool,
}

const fn own(part: Subresource, door: Write) -> Part {
    Part {
        part,
        speaks: None,
        door,
        show: |_, object| object.clone(),
        put: |_, _, new| Ok(new),
        patchable: true,
        readable: true,
    }
}

/// The parts that are read and written; what is only created stands in `actions`.
const PARTS: &[Part] = &[
    own(Subresource::Status, Write::Status),
    own(Subresource::EphemeralContainers, Write::Other(Subresource::EphemeralContainers)),
    own(Subresource::Resize, Write::Other(Subresource::Resize)),
    own(Subresource::Approval, Write::Other(Subresource::Approval)),
    Part {
        put: finalize,
        patchable: false,
        readable: false,
        ..own(Subresource::Finalize, Write::Other(Subresource::Finalize))
    },
    Part {
        speaks: Some(("autoscaling", "v1", "Scale")),
        show: show_scale,
        put: put_scale,
        ..own(Subresource::Scale, Write::Main)
    },
];

/// A kind that bodies are in: its group, version and name.
type Spoken = (&'static str, &'static str, &'static str);

/// The parts that have rows, and the kinds that they speak where it is not the object's own.
#[cfg(test)]
pub(super) fn rows() -> Vec<(Subresource, Option<Spoken>)> {
    PARTS.iter().map(|row| (row.part, row.speaks)).collect()
}

/// The row of a part; what has none is not read or written.
pub(crate) fn part(part: Subresource) -> Result<&'static Part, Status> {
    PARTS.iter().find(|one| one.part == part).ok_or_else(errors::method_not_allowed)
}

/// How the body for a target, or for its part, is decoded.
pub(crate) fn decoding(target: &Target) -> Result<Decoding, Status> {
    match target.part.map(part).transpose()?.and_then(|part| part.speaks) {
        None => Ok(Decoding::of(&target.kind)),
        Some((group, version, kind)) => Decoding::published(group, version, kind)
            .ok_or_else(|| errors::internal(format!("{kind} is not published"))),
    }
}

/// The namespace with the finalizers of the new one: nothing else changes through this door.
fn finalize(_: &Kind, old: &Object, new: Object) -> Result<Object, Status> {
    let mut object = old.clone();
    match new.at(&["spec", "finalizers"]).filter(|value| value.as_array().is_some_and(|list| !list.is_empty())) {
        Some(finalizers) => object.set(&["spec", "finalizers"], finalizers.clone()),
        None => {
            object.remove(&["spec", "finalizers"]);
        }
    }
    object.remove(&["metadata", "resourceVersion"]);
    if let Some(version) = new.text(&["metadata", "resourceVersion"]) {
        object.set(&["metadata", "resourceVersion"], version.into());
    }
    Ok(object)
}

/// Where the numbers of a scale stand in an object.
struct Places<'a> {
    wanted: Vec<&'a str>,
    running: Vec<&'a str>,
    /// A selector that is written as text; else it is `spec.selector`.
    selector: Option<Vec<&'a str>>,
}

impl<'a> Places<'a> {
    /// Where a definition says, or where built-in kinds have them.
    fn of(kind: &'a Kind) -> Self {
        let split = |path: &'a str| path.split('.').filter(|part| !part.is_empty()).collect();
        match kind.scale_paths() {
            Some(paths) => Self {
                wanted: split(&paths.spec_replicas),
                running: split(&paths.status_replicas),
                selector: Some(split(paths.label_selector.as_deref().unwrap_or_default())),
            },
            None => Self { wanted: vec!["spec", "replicas"], running: vec!["status", "replicas"], selector: None },
        }
    }
}

/// The scale of an object.
fn show_scale(kind: &Kind, object: &Object) -> Object {
    let places = Places::of(kind);
    let meta = |field: &str| object.at(&["metadata", field]).cloned();
    let mut scale = Object::from(serde_json::Map::new());
    scale.set(&["kind"], "Scale".into());
    scale.set(&["apiVersion"], "autoscaling/v1".into());
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = meta(field) {
            scale.set(&["metadata", field], value);
        }
    }
    scale.set(&["spec"], json!({}));
    if let Some(replicas) = number(object, &places.wanted).filter(|replicas| *replicas != 0) {
        scale.set(&["spec", "replicas"], replicas.into());
    }
    let running = number(object, &places.running).unwrap_or_default();
    scale.set(&["status", "replicas"], running.into());
    let selector = match &places.selector {
        Some(path) if path.is_empty() => String::new(),
        Some(path) => object.text(path).unwrap_or_default().to_owned(),
        None => selector_text(object),
    };
    if !selector.is_empty() {
        scale.set(&["status", "selector"], selector.into());
    }
    scale
}

fn number(object: &Object, path: &[&str]) -> Option<i64> {
    object.at(path).and_then(Value::as_i64)
}

/// The selector in the text form of a query: what pods are counted. Some kinds have labels alone where others have a
/// selector.
fn selector_text(object: &Object) -> String {
    let Some(given) = object.at(&["spec", "selector"]) else { return String::new() };
    let whole = given.get("matchLabels").is_some() || given.get("matchExpressions").is_some();
    let given = if whole { given.clone() } else { json!({"matchLabels": given}) };
    // What is stored has passed validation, so it is a selector.
    let selector = serde_json::from_value(given).ok();
    selector.and_then(|selector| selector::text(&selector)).unwrap_or_default()
}

fn put_scale(kind: &Kind, old: &Object, scale: Object) -> Result<Object, Status> {
    let replicas = number(&scale, &["spec", "replicas"]).unwrap_or_default();
    if replicas < 0 {
        let detail = "must be greater than or equal to 0";
        let error = FieldError::invalid("spec.replicas", &replicas.into(), detail);
        return Err(errors::invalid_as("autoscaling", "Scale", scale.name(), &[error]));
    }
    let mut object = old.clone();
    object.set(&Places::of(kind).wanted, replicas.into());
    for field in ["uid", "resourceVersion"] {
        match scale.text(&["metadata", field]).filter(|text| !text.is_empty()) {
            Some(text) => object.set(&["metadata", field], text.into()),
            None => {
                object.remove(&["metadata", field]);
            }
        }
    }
    Ok(object)
}

/// Whether a kind has a part.
pub(crate) fn has(kind: &Kind, part: Subresource) -> bool {
    kind.subresources.contains(&part)
}

/// `pods/binding`, as messages about a part of a resource name it.
pub(crate) fn qualified(resource: &Resource, part: Subresource) -> String {
    format!("{}/{}", resource.plural, part.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_selectors_as_queries() {
        for (selector, text) in [
            (json!({"matchLabels": {"b": "1", "a": "2"}}), "a=2,b=1"),
            (json!({"matchExpressions": [{"key": "c", "operator": "In", "values": ["y", "x"]}]}), "c in (x,y)"),
            (json!({"a": "b"}), "a=b"),
        ] {
            let object = Object::try_from(json!({"spec": {"selector": selector}})).unwrap();
            assert_eq!(selector_text(&object), text);
        }
    }
}
