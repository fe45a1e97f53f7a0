//! The schemas of a document: every definition that its kinds lead to.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::discovery::Entry;
use crate::structure::{Field, Node, Other, Ownership, Ref, Shape, Struct, schema};

const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";

/// Where schemas are reached from.
pub(super) enum Root {
    Kind(Box<Entry>),
    Definition(Ref),
}

/// A reference to a schema by name.
pub(super) fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// The name of a kind's schema: the published one, or the group turned round for a custom resource.
pub(super) fn kind_name(entry: &Entry) -> String {
    if !entry.custom {
        return entry.structure.name.to_string();
    }
    let mut parts: Vec<&str> = entry.group.split('.').rev().collect();
    parts.extend([entry.version.as_ref(), entry.kind.as_ref()]);
    parts.join(".")
}

pub(super) fn list_name(entry: &Entry) -> String {
    format!("{}List", kind_name(entry))
}

/// Every schema that the roots lead to.
pub(super) fn reachable(roots: Vec<Root>, entries: &[Entry]) -> BTreeMap<String, Value> {
    let mut made = BTreeMap::new();
    let mut queue: Vec<(String, Ref)> = Vec::new();
    for root in roots {
        match root {
            Root::Definition(definition) => queue.push((definition.name.to_string(), definition)),
            Root::Kind(entry) => {
                match &entry.schema {
                    Some(schema) => {
                        made.insert(kind_name(&entry), custom_kind(&entry, schema, &mut queue));
                    }
                    None => queue.push((kind_name(&entry), entry.structure.clone())),
                }
                let list = list_name(&entry);
                match schema().definition(&list) {
                    Some(published) => queue.push((list, published)),
                    None if entry.custom => {
                        made.insert(list, custom_list(&entry));
                        queue.extend(schema().definition(LIST_META).map(|meta| (LIST_META.to_owned(), meta)));
                    }
                    None => {}
                }
            }
        }
    }
    while let Some((name, definition)) = queue.pop() {
        if made.contains_key(&name) {
            continue;
        }
        let mut found = definition_schema(&definition, &mut queue);
        if let Some(kinds) = kinds_of(&name, entries) {
            found["x-kubernetes-group-version-kind"] = kinds;
        }
        made.insert(name, found);
    }
    made
}

/// The kinds that a schema describes; the options of a deletion stand for every version served.
fn kinds_of(name: &str, entries: &[Entry]) -> Option<Value> {
    let kind = |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    if let Some(word) = name.strip_prefix("io.k8s.apimachinery.pkg.apis.meta.v1.")
        && matches!(word, "DeleteOptions" | "WatchEvent")
    {
        let mut versions: Vec<(&str, &str)> =
            entries.iter().map(|one| (one.group.as_ref(), one.version.as_ref())).collect();
        versions.sort_unstable();
        versions.dedup();
        return Some(versions.into_iter().map(|(group, version)| kind(group, version, word)).collect());
    }
    let speaks = |entry: &&Entry| kind_name(entry) == name;
    if let Some(entry) = entries.iter().find(speaks) {
        return Some(json!([kind(&entry.group, &entry.version, &entry.kind)]));
    }
    if let Some(entry) = entries.iter().find(|entry| list_name(entry) == name) {
        return Some(json!([kind(&entry.group, &entry.version, &format!("{}List", entry.kind))]));
    }
    let parts = entries.iter().flat_map(|entry| &entry.subresources).map(|part| &part.speaks);
    parts
        .into_iter()
        .find(|(group, version, one)| schema().structure(group, version, one).is_some_and(|found| found.name == name))
        .map(|(group, version, one)| json!([kind(group, version, one)]))
}

/// The definition's own schema, with the fields that every object has.
fn custom_kind(entry: &Entry, schema: &Value, queue: &mut Vec<(String, Ref)>) -> Value {
    let mut made = schema.clone();
    if !made.is_object() {
        made = json!({"type": "object"});
    }
    for field in ["apiVersion", "kind", "metadata"] {
        if let Some(field) = entry.structure.field(field) {
            made["properties"][field.name.as_ref()] = property(field, queue);
        }
    }
    made["x-kubernetes-group-version-kind"] =
        json!([{"group": entry.group, "version": entry.version, "kind": entry.kind}]);
    made
}

fn custom_list(entry: &Entry) -> Value {
    json!({
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"allOf": [reference(LIST_META)]},
            "items": {"type": "array", "items": {"allOf": [reference(&kind_name(entry))]}},
        },
        "x-kubernetes-group-version-kind": [{"group": entry.group, "version": entry.version, "kind": format!("{}List", entry.kind)}],
    })
}

fn definition_schema(definition: &Struct, queue: &mut Vec<(String, Ref)>) -> Value {
    let properties: Map<String, Value> =
        definition.fields.iter().map(|field| (field.name.to_string(), property(field, queue))).collect();
    let mut made = json!({"type": "object"});
    if !properties.is_empty() {
        made["properties"] = Value::Object(properties);
    }
    let required: Vec<&str> =
        definition.fields.iter().filter(|field| field.required).map(|field| field.name.as_ref()).collect();
    if !required.is_empty() {
        made["required"] = json!(required);
    }
    if definition.atomic {
        made["x-kubernetes-map-type"] = json!("atomic");
    }
    if definition.open {
        made["x-kubernetes-preserve-unknown-fields"] = json!(true);
    }
    made
}

fn property(field: &Field, queue: &mut Vec<(String, Ref)>) -> Value {
    let mut made = node_schema(&field.node, queue);
    let presence = field.presence;
    if made.get("allOf").is_some() && !presence.pointer && matches!(field.node.shape, Shape::Struct(Ref::Published(_)))
    {
        made["default"] = json!({});
    }
    made
}

fn node_schema(node: &Node, queue: &mut Vec<(String, Ref)>) -> Value {
    let mut made = shape_schema(&node.shape, queue);
    let list = matches!(node.shape, Shape::List(_) | Shape::Wrapped);
    match &node.ownership {
        Ownership::Whole if list => made["x-kubernetes-list-type"] = json!("atomic"),
        Ownership::Whole if matches!(node.shape, Shape::Map(_) | Shape::Struct(_)) => {
            made["x-kubernetes-map-type"] = json!("atomic")
        }
        Ownership::Set => made["x-kubernetes-list-type"] = json!("set"),
        Ownership::Keyed(keys) => {
            made["x-kubernetes-list-type"] = json!("map");
            made["x-kubernetes-list-map-keys"] = json!(keys);
        }
        Ownership::Apart => made["x-kubernetes-map-type"] = json!("granular"),
        Ownership::Whole | Ownership::Granular => {}
    }
    if let Some(key) = &node.patch.key {
        made["x-kubernetes-patch-merge-key"] = json!(key);
    }
    let strategies: Vec<&str> =
        [(node.patch.merge, "merge"), (node.patch.retain_keys, "retainKeys"), (node.patch.replace, "replace")]
            .into_iter()
            .filter_map(|(set, word)| set.then_some(word))
            .collect();
    if !strategies.is_empty() {
        made["x-kubernetes-patch-strategy"] = json!(strategies.join(","));
    }
    if !node.allowed.is_empty() {
        made["enum"] = json!(node.allowed);
    }
    if let Some(default) = &node.default {
        made["default"] = default.clone();
    }
    if node.nullable {
        made["nullable"] = json!(true);
    }
    made
}

fn shape_schema(shape: &Shape, queue: &mut Vec<(String, Ref)>) -> Value {
    match shape {
        Shape::Text | Shape::Duration => json!({"type": "string"}),
        Shape::Bool => json!({"type": "boolean"}),
        Shape::Int32 => json!({"type": "integer", "format": "int32"}),
        Shape::Int64 => json!({"type": "integer", "format": "int64"}),
        Shape::Double => json!({"type": "number", "format": "double"}),
        Shape::Bytes => json!({"type": "string", "format": "byte"}),
        Shape::Time | Shape::MicroTime => json!({"type": "string", "format": "date-time"}),
        Shape::Quantity => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
        Shape::IntOrText => json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]}),
        Shape::Any => json!({"x-kubernetes-preserve-unknown-fields": true}),
        Shape::Struct(inner @ Ref::Published(_)) => {
            queue.push((inner.name.to_string(), inner.clone()));
            json!({"allOf": [reference(&inner.name)]})
        }
        Shape::Struct(Ref::Made(made)) => definition_schema(made, queue),
        Shape::List(item) => json!({"type": "array", "items": node_schema(item, queue)}),
        Shape::Wrapped => json!({"type": "array", "items": {"type": "string"}}),
        Shape::Map(value) => json!({"type": "object", "additionalProperties": node_schema(value, queue)}),
        Shape::SchemaOr(other, inner) => {
            queue.push((inner.name.to_string(), inner.clone()));
            let other = match other {
                Other::Schemas => json!({"type": "array", "items": reference(&inner.name)}),
                Other::Bool => json!({"type": "boolean"}),
                Other::Texts => json!({"type": "array", "items": {"type": "string"}}),
            };
            json!({"oneOf": [reference(&inner.name), other]})
        }
    }
}
