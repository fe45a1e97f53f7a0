//! Reads the committed facts; their files explain the format at their head.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::Value;

use super::{
    Field, Node, Other, Ownership, PatchRule, Presence, Ref, Schema, Served, ServedSubresource, Shape, Struct,
};

type Names = HashMap<&'static str, u16>;
const JSON_SCHEMA: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";

pub(super) fn schema(structure: &'static str, kinds: &'static str) -> Result<Schema, String> {
    let lines = || structure.lines().filter(|line| !line.starts_with('#'));
    let mut names = Names::new();
    for name in lines().filter_map(|line| line.strip_prefix("@")) {
        let index = u16::try_from(names.len()).map_err(|_| "too many definitions")?;
        names.insert(name.split(' ').next().unwrap_or(name), index);
    }
    let mut structs: Vec<Struct> = Vec::with_capacity(names.len());
    for line in lines() {
        if let Some(head) = line.strip_prefix("@") {
            let (name, atomic) = head.strip_suffix(" atomic").map_or((head, false), |name| (name, true));
            structs.push(Struct { name: Cow::Borrowed(name), atomic, ..Struct::default() });
            continue;
        }
        let last = structs.last_mut().ok_or("a field before the first definition")?;
        if let Some(embedded) = line.strip_prefix("= ") {
            let (name, tag) = embedded.split_once(' ').ok_or_else(|| format!("no number: {line}"))?;
            last.embedded.push((number(tag)?, reference(&names, name)?));
        } else {
            last.fields.push(field(&names, line).map_err(|error| format!("{}: {line}: {error}", last.name))?);
        }
    }
    for index in 0..structs.len() {
        let embedded = embedded_fields(&structs, index);
        structs[index].fields.extend(embedded);
        structs[index].fields.sort_by(|a, b| a.name.cmp(&b.name));
    }
    let kinds = served(&names, kinds)?;
    let mut by_kind: HashMap<&'static str, Vec<u16>> = HashMap::new();
    for (index, one) in (0..).zip(&kinds) {
        by_kind.entry(one.kind).or_default().push(index);
    }
    Ok(Schema { structs, names, kinds, by_kind })
}

/// The fields that a struct's embedded structs bring, however deep, without their numbers: those count in a message of their own.
fn embedded_fields(structs: &[Struct], index: usize) -> Vec<Field> {
    let mut fields = Vec::new();
    for (_, embedded) in &structs[index].embedded {
        let Ref::Published(inner) = embedded else { continue };
        let inner = usize::from(*inner);
        let own = structs[inner].fields.iter().filter(|field| field.tag != 0).cloned();
        fields.extend(own.map(|field| Field { tag: 0, ..field }));
        fields.extend(embedded_fields(structs, inner));
    }
    fields
}

fn number(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("not a number: {text}"))
}

fn reference(names: &Names, name: &str) -> Result<Ref, String> {
    names.get(name).map(|index| Ref::Published(*index)).ok_or_else(|| format!("no definition {name}"))
}

fn field(names: &Names, line: &'static str) -> Result<Field, String> {
    let mut words = line.split(' ');
    let (Some(name), Some(tag), Some(presence), Some(shape)) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err("four words are needed".to_owned());
    };
    let mut node = node(names, shape)?;
    for attribute in words {
        let (key, value) = attribute.split_once('=').ok_or_else(|| format!("no value: {attribute}"))?;
        apply(&mut node, key, value)?;
    }
    Ok(Field {
        name: Cow::Borrowed(name),
        tag: number(tag)?,
        required: presence.contains('!'),
        presence: Presence {
            pointer: presence.contains('*'),
            omit_empty: presence.contains('?'),
            omit_zero: presence.contains('0'),
        },
        node,
    })
}

fn node(names: &Names, text: &'static str) -> Result<Node, String> {
    let mut made = Node::of(shape(names, text)?);
    if matches!(made.shape, Shape::Struct(_) | Shape::Map(_) | Shape::SchemaOr(..)) {
        made.ownership = Ownership::Granular;
    }
    Ok(made)
}

fn shape(names: &Names, text: &'static str) -> Result<Shape, String> {
    if let Some(name) = text.strip_prefix('@') {
        return Ok(Shape::Struct(reference(names, name)?));
    }
    if let Some(item) = text.strip_prefix("[]") {
        return Ok(Shape::List(Box::new(node(names, item)?)));
    }
    if let Some(value) = text.strip_prefix("{}") {
        return Ok(Shape::Map(Box::new(node(names, value)?)));
    }
    Ok(match text {
        "string" => Shape::Text,
        "bool" => Shape::Bool,
        "int32" => Shape::Int32,
        "int64" => Shape::Int64,
        "double" => Shape::Double,
        "bytes" => Shape::Bytes,
        "time" => Shape::Time,
        "microtime" => Shape::MicroTime,
        "duration" => Shape::Duration,
        "quantity" => Shape::Quantity,
        "intorstring" => Shape::IntOrText,
        "any" => Shape::Any,
        "strings" => Shape::Wrapped,
        "schema-or-array" => Shape::SchemaOr(Other::Schemas, reference(names, JSON_SCHEMA)?),
        "schema-or-bool" => Shape::SchemaOr(Other::Bool, reference(names, JSON_SCHEMA)?),
        "schema-or-strings" => Shape::SchemaOr(Other::Texts, reference(names, JSON_SCHEMA)?),
        other => return Err(format!("no type {other}")),
    })
}

fn apply(node: &mut Node, key: &str, value: &'static str) -> Result<(), String> {
    let words = || value.split(',').map(Cow::Borrowed).collect::<Vec<Cow<'static, str>>>();
    match (key, value) {
        ("list" | "map", "atomic") => node.ownership = Ownership::Whole,
        ("list", "set") => node.ownership = Ownership::Set,
        ("map", "granular") => node.ownership = Ownership::Apart,
        ("list", "map") => {}
        ("keys", _) => node.ownership = Ownership::Keyed(words()),
        ("merge", _) => node.patch.key = Some(Cow::Borrowed(value)),
        ("patch", _) => value.split(',').try_for_each(|word| strategy(&mut node.patch, word))?,
        ("enum", _) => node.allowed = value.split('|').map(Cow::Borrowed).collect(),
        ("default", _) => node.default = Some(serde_json::from_str::<Value>(value).map_err(|error| error.to_string())?),
        _ => return Err(format!("no attribute {key}={value}")),
    }
    Ok(())
}

fn strategy(rule: &mut PatchRule, word: &str) -> Result<(), String> {
    match word {
        "merge" => rule.merge = true,
        "retainKeys" => rule.retain_keys = true,
        "replace" => rule.replace = true,
        other => return Err(format!("no patch strategy {other}")),
    }
    Ok(())
}

fn served(names: &Names, text: &'static str) -> Result<Vec<Served>, String> {
    let mut kinds: Vec<Served> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&'static str> = line.split(' ').collect();
        match words[..] {
            ["kind", group, version, kind, plural, scope, verbs, short, categories, storage, structure] => {
                kinds.push(Served {
                    group: group_name(group),
                    version,
                    kind,
                    plural,
                    namespaced: scope == "namespaced",
                    verbs: list(verbs),
                    short_names: list(short),
                    categories: list(categories),
                    storage: storage.split_once('/').map(|(group, version)| (group_name(group), version)),
                    structure: reference(names, structure)?,
                    subresources: Vec::new(),
                });
            }
            ["sub", name, verbs, group, version, kind] => {
                let parent = kinds.last_mut().ok_or("a subresource before the first kind")?;
                let sub = ServedSubresource { name, verbs: list(verbs), group: group_name(group), version, kind };
                parent.subresources.push(sub);
            }
            _ => return Err(format!("not a kind: {line}")),
        }
    }
    Ok(kinds)
}

fn group_name(text: &'static str) -> &'static str {
    if text == "core" { "" } else { text }
}

fn list(text: &'static str) -> Vec<&'static str> {
    if text == "-" { Vec::new() } else { text.split(',').collect() }
}
