//! The structure of a custom resource, made from its schema.

use serde_json::Value;

use crate::structure::{Field, Node, Ownership, Presence, Ref, Shape, Struct, schema};

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// The structure of a kind whose version has `schema`.
pub(super) fn structure(kind: &str, schema: &Value) -> Ref {
    root(kind, schema)
}

/// A resource or an embedded one: `apiVersion`, `kind` and `metadata` are always known.
fn root(name: &str, of: &Value) -> Ref {
    let mut fields = fields(of);
    fields.retain(|field| !["apiVersion", "kind", "metadata"].contains(&field.name.as_ref()));
    let meta = schema().definition(OBJECT_META).expect("the published schema has the metadata of objects");
    let mut meta = Node::of(Shape::Struct(meta));
    meta.ownership = Ownership::Granular;
    fields.extend([
        field("apiVersion", Node::of(Shape::Text)),
        field("kind", Node::of(Shape::Text)),
        field("metadata", meta),
    ]);
    Struct::made(name.to_owned(), fields, preserves(of), false)
}

fn fields(of: &Value) -> Vec<Field> {
    let required: Vec<&str> = of["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let properties = of["properties"].as_object().into_iter().flatten();
    properties
        .map(|(name, inner)| Field { required: required.contains(&name.as_str()), ..field(name, node(inner)) })
        .collect()
}

fn field(name: &str, node: Node) -> Field {
    let presence = Presence { pointer: true, omit_empty: true, omit_zero: false };
    Field { name: name.to_owned().into(), tag: 0, required: false, presence, node }
}

fn preserves(of: &Value) -> bool {
    of["x-kubernetes-preserve-unknown-fields"] == Value::Bool(true)
}

fn node(of: &Value) -> Node {
    let mut node = Node::of(shape(of));
    node.ownership = ownership(of, &node.shape);
    node.default = of.get("default").cloned();
    node.nullable = of["nullable"] == Value::Bool(true);
    let allowed = of["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
    node.allowed = allowed.map(|one| one.to_owned().into()).collect();
    node
}

fn shape(of: &Value) -> Shape {
    let is = |name: &str| of[name] == Value::Bool(true);
    if is("x-kubernetes-int-or-string") {
        return Shape::IntOrText;
    }
    match of["type"].as_str() {
        Some("string") => Shape::Text,
        Some("boolean") => Shape::Bool,
        Some("integer") if of["format"] == "int32" => Shape::Int32,
        Some("integer") => Shape::Int64,
        Some("number") => Shape::Double,
        Some("array") => Shape::List(Box::new(node(&of["items"]))),
        Some("object") if is("x-kubernetes-embedded-resource") => Shape::Struct(root("", of)),
        Some("object") if of["additionalProperties"].is_object() => {
            Shape::Map(Box::new(node(&of["additionalProperties"])))
        }
        Some("object") if of["additionalProperties"] == Value::Bool(true) => {
            let mut anything = Node::of(Shape::Any);
            anything.ownership = Ownership::Granular;
            Shape::Map(Box::new(anything))
        }
        Some("object") => {
            Shape::Struct(Struct::made("", fields(of), preserves(of), of["x-kubernetes-map-type"] == "atomic"))
        }
        _ => Shape::Any,
    }
}

fn ownership(of: &Value, shape: &Shape) -> Ownership {
    match (shape, of["x-kubernetes-list-type"].as_str()) {
        (Shape::List(_), Some("set")) => Ownership::Set,
        (Shape::List(_), Some("map")) => {
            let keys = of["x-kubernetes-list-map-keys"].as_array().into_iter().flatten().filter_map(Value::as_str);
            Ownership::Keyed(keys.map(|key| key.to_owned().into()).collect())
        }
        (Shape::Map(_) | Shape::Struct(_) | Shape::Any, _) if of["x-kubernetes-map-type"] != "atomic" => {
            Ownership::Granular
        }
        _ => Ownership::Whole,
    }
}
