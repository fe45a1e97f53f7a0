//! Parts of objects as Kubernetes' internal types write them: what its messages show where a whole part is wrong.
//!
//! An internal type has its own names and order of fields, and leaves nothing out. The types of the machinery below
//! (metadata, selectors) are written as they are published.

use std::collections::HashMap;
use std::sync::OnceLock;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::canonical;
use crate::field_error::shown_json;
use crate::structure::{Node, Shape, Struct, schema};

/// The facts about internal types; the file explains itself.
const INTERNAL: &str = include_str!("../data/internal.txt");

type Fields = Map<String, Value>;

/// A line of an internal type.
#[derive(Debug)]
enum Line {
    /// A field.
    Field(Field),
    /// The fields of a published struct stand here.
    Inlined(&'static str),
}

#[derive(Debug)]
struct Field {
    name: &'static str,
    /// Whether an absent value is null.
    pointer: bool,
    json: &'static str,
    /// Whether the value stands in the struct around the published one.
    outside: bool,
}

fn types() -> &'static HashMap<&'static str, Vec<Line>> {
    static TYPES: OnceLock<HashMap<&'static str, Vec<Line>>> = OnceLock::new();
    TYPES.get_or_init(|| read(INTERNAL))
}

fn read(facts: &'static str) -> HashMap<&'static str, Vec<Line>> {
    let mut types = HashMap::new();
    let mut last = "";
    for line in facts.lines().filter(|line| !line.starts_with('#')) {
        match line.strip_prefix('@') {
            Some(name) => last = name,
            None => types.entry(last).or_insert_with(Vec::new).push(read_line(line)),
        }
    }
    types
}

fn read_line(line: &'static str) -> Line {
    let (name, json) = line.split_once(' ').expect("a field has two parts: a test reads the committed facts");
    if name == "+" {
        return Line::Inlined(json);
    }
    let bare = name.trim_end_matches('*');
    let inside = json.trim_start_matches('^');
    Line::Field(Field { name: bare, pointer: bare != name, json: inside, outside: inside != json })
}

/// A part of an object as the internal type writes it that stands for a published one, such as `api.core.v1.PodSpec`.
pub(crate) fn shown(definition: &str, part: &impl Serialize) -> String {
    let part = serde_json::to_value(part).expect("a part of a Kubernetes object serializes");
    let definition = schema().definition(&format!("io.k8s.{definition}"));
    let structure = definition.expect("rules name published definitions");
    let mut out = String::new();
    match &part {
        Value::Object(fields) => write_struct(&mut out, &structure, fields, &Map::new()),
        other => out.push_str(&shown_json(other)),
    }
    out
}

fn write(out: &mut String, node: &Node, value: Option<&Value>, pointer: bool, around: &Fields) {
    match (&node.shape, value.filter(|value| !value.is_null())) {
        (_, None) if pointer => out.push_str("null"),
        (Shape::Struct(inner), None) => write_struct(out, inner, &Map::new(), around),
        (_, None) => out.push_str(&shown_json(&canonical::zero(node))),
        (Shape::Struct(inner), Some(Value::Object(fields))) => write_struct(out, inner, fields, around),
        (Shape::List(item), Some(Value::Array(items))) => {
            let items = items.iter().map(|one| (String::new(), one));
            write_all(out, ('[', ']'), items, |out, one| write(out, item, Some(one), false, around));
        }
        (Shape::Map(item), Some(Value::Object(entries))) => {
            let entries = entries.iter().map(|(key, one)| (head(key), one));
            write_all(out, ('{', '}'), entries, |out, one| write(out, item, Some(one), false, around));
        }
        (_, Some(other)) => out.push_str(&shown_json(other)),
    }
}

fn head(name: &str) -> String {
    format!("{}:", shown_json(&name.into()))
}

/// Writes what has a head each, with commas between.
fn write_all<T>(
    out: &mut String,
    (open, close): (char, char),
    all: impl Iterator<Item = (String, T)>,
    mut one: impl FnMut(&mut String, T),
) {
    out.push(open);
    for (index, (head, value)) in all.enumerate() {
        if index > 0 {
            out.push(',');
        }
        out.push_str(&head);
        one(out, value);
    }
    out.push(close);
}

fn write_struct(out: &mut String, structure: &Struct, fields: &Fields, around: &Fields) {
    let mut parts = Vec::new();
    match types().get(structure.name.as_ref()) {
        Some(lines) => lines.iter().for_each(|line| parts.extend(internal(line, structure, fields, around))),
        None => parts = published(structure, fields),
    }
    write_all(out, ('{', '}'), parts.into_iter(), |out, text| out.push_str(&text));
}

/// What a line of an internal type writes: heads and values.
fn internal(line: &Line, structure: &Struct, fields: &Fields, around: &Fields) -> Vec<(String, String)> {
    let empty = Map::new();
    match line {
        Line::Inlined(json) => {
            let inner = structure.field(json).and_then(|field| field.node.as_struct());
            let inner = inner.expect("a published struct: a test reads the committed facts");
            published(inner, fields.get(*json).and_then(Value::as_object).unwrap_or(&empty))
        }
        Line::Field(field) => {
            let mut text = String::new();
            let (own, source) = if field.outside { (None, around) } else { (structure.field(field.json), fields) };
            let value = source.get(field.json);
            match own {
                Some(own) => write(&mut text, &own.node, value, field.pointer, fields),
                // What moved here are flags.
                None if field.pointer => text.push_str(&shown_json(value.unwrap_or(&Value::Null))),
                None => text.push_str(&shown_json(value.unwrap_or(&Value::Bool(false)))),
            }
            vec![(head(field.name), text)]
        }
    }
}

/// The fields of a struct that is written as it is published, in the order of its numbers.
fn published(structure: &Struct, fields: &Fields) -> Vec<(String, String)> {
    let mut fields = fields.clone();
    canonical::omitted(structure, &mut fields);
    let mut order: Vec<_> = structure.fields.iter().filter(|field| fields.contains_key(field.name.as_ref())).collect();
    order.sort_by_key(|field| field.tag);
    let written = |field: &crate::structure::Field| {
        let mut text = String::new();
        write(&mut text, &field.node, fields.get(field.name.as_ref()), true, &fields);
        (head(&field.name), text)
    };
    order.into_iter().map(written).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_line_has_its_published_field() {
        for (name, lines) in types() {
            let structure = schema().definition(name).expect(name);
            for line in lines {
                match line {
                    Line::Field(field) => assert!(field.outside || structure.field(field.json).is_some(), "{field:?}"),
                    Line::Inlined(json) => assert!(structure.field(json).is_some(), "{name} {json}"),
                }
            }
        }
        assert!(types().len() > 100);
    }

    #[test]
    fn leaves_nothing_out_and_keeps_empty_from_absent() {
        let check = |definition, part: Value, want| assert_eq!(shown(definition, &part), want);
        check(
            "api.batch.v1.PodFailurePolicy",
            json!({"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}]}),
            r#"{"Rules":[{"Action":"FailJob","OnExitCodes":{"ContainerName":null,"Operator":"In","Values":[42]},"OnPodConditions":null}]}"#,
        );
        check("api.batch.v1.SuccessPolicy", json!({"rules": []}), r#"{"Rules":[]}"#);
        check("api.batch.v1.SuccessPolicy", json!({}), r#"{"Rules":null}"#);
        check("api.apps.v1.DeploymentStrategy", json!({"type": "<"}), r#"{"Type":"\u003c","RollingUpdate":null}"#);
        check("api.core.v1.VolumeNodeAffinity", Value::Null, "null");
    }

    #[test]
    fn writes_the_machinery_as_it_is_published() {
        let template = json!({"metadata": {"labels": {"b": "1", "a": "2"}, "annotations": {}, "name": "x"}});
        let text = shown("api.core.v1.PodTemplateSpec", &template);
        assert!(text.starts_with(r#"{"name":"x","labels":{"a":"2","b":"1"},"Spec":{"Volumes":null,"#), "{text}");
        let budget = json!({"selector": {"matchExpressions": [{"operator": "In", "key": "a", "values": []}]}});
        let text = shown("api.policy.v1.PodDisruptionBudgetSpec", &budget);
        assert!(text.contains(r#""Selector":{"matchExpressions":[{"key":"a","operator":"In"}]},"#), "{text}");
    }

    #[test]
    fn a_pods_flags_stand_in_its_security_context() {
        let text = shown("api.core.v1.PodSpec", &json!({"hostNetwork": true, "hostUsers": false, "containers": []}));
        let context = r#""SecurityContext":{"HostNetwork":true,"HostPID":false,"HostIPC":false,"ShareProcessNamespace":null,"HostUsers":false,"#;
        assert!(text.contains(context), "{text}");
        assert!(text.contains(r#""Containers":[],"EphemeralContainers":null,"#), "{text}");
    }
}
