//! What a client may send stays within bounds of memory, time and depth.

use kprov_schema::decode::{Media, Target, Validation, decode_as};
use kprov_schema::kind::Write;
use kprov_schema::patch::{self, Format};
use kprov_schema::structure::{Shape, Struct};
use kprov_schema::{Kind, Object, custom};
use serde_json::{Value, json};

use crate::protobuf::{encoder, envelope};

/// Lists so long that comparing every pair of items would take minutes.
const LONG: usize = 50_000;

fn revisions() -> Target {
    Target::published("apps", "v1", "ControllerRevision").unwrap()
}

fn revision(data: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": {"name": "a"}, "data": data, "revision": 1})
}

/// Maps inside each other, with an empty one innermost.
fn nested(levels: usize) -> Value {
    (1..levels).fold(json!({}), |inner, _| json!({"a": inner}))
}

fn tag(structure: &Struct, name: &str) -> u32 {
    structure.field(name).unwrap().tag
}

fn inside(structure: &Struct, name: &str) -> kprov_schema::structure::Ref {
    fn of(shape: &Shape) -> kprov_schema::structure::Ref {
        match shape {
            Shape::Struct(inner) => inner.clone(),
            Shape::List(item) => of(&item.shape),
            other => panic!("{other:?} has no fields"),
        }
    }
    of(&structure.field(name).unwrap().node.shape)
}

/// A definition whose schema is `not` so many times.
fn definition(levels: usize) -> Vec<u8> {
    let target = Target::published("apiextensions.k8s.io", "v1", "CustomResourceDefinition").unwrap();
    let spec = inside(&target.structure, "spec");
    let version = inside(&spec, "versions");
    let validation = inside(&version, "schema");
    let schema = inside(&validation, "openAPIV3Schema");
    let within = |tag: u32, content: &[u8]| {
        let mut out = Vec::new();
        encoder::bytes(&mut out, tag, content);
        out
    };
    let message = (0..levels).fold(Vec::new(), |message, _| within(tag(&schema, "not"), &message));
    let message = within(tag(&validation, "openAPIV3Schema"), &message);
    let message = within(tag(&version, "schema"), &message);
    let message = within(tag(&spec, "versions"), &message);
    let message = within(tag(&target.structure, "spec"), &message);
    envelope("apiextensions.k8s.io/v1", "CustomResourceDefinition", &message)
}

#[test]
fn protobuf_does_not_nest_without_bound() {
    let target = Target::published("apiextensions.k8s.io", "v1", "CustomResourceDefinition").unwrap();
    let read = |levels| decode_as(&target, &definition(levels), Media::Protobuf, Validation::Warn);
    assert!(read(20).is_ok());
    for levels in [200, 20_000] {
        let status = read(levels).unwrap_err();
        assert!(status.code == 400 && status.message.ends_with("exceeded max depth"), "{}", status.message);
    }
}

/// What is taken is stored, and must be readable as JSON with its managed fields, which nest deeper than itself.
#[test]
fn what_nests_too_deep_to_be_kept_is_refused_in_every_form() {
    for (levels, taken) in [(90, true), (110, false)] {
        let body = revision(nested(levels)).to_string();
        for media in [Media::Json, Media::Yaml] {
            let decoded = decode_as(&revisions(), body.as_bytes(), media, Validation::Warn);
            assert_eq!(decoded.is_ok(), taken, "{levels} levels as {media:?}");
        }
        let current = Object::try_from(revision(json!({}))).unwrap();
        for (format, patch) in [
            (Format::Merge, json!({"data": nested(levels)})),
            (Format::Json, json!([{"op": "add", "path": "/data", "value": nested(levels)}])),
            (Format::Strategic, json!({"data": nested(levels)})),
        ] {
            let patched = patch::apply(&revisions(), &current, format, patch.to_string().as_bytes(), Validation::Warn);
            assert_eq!(patched.is_ok(), taken, "{levels} levels by {format:?}");
        }
    }
    let deep = Object::try_from(revision(json!({"x": nested(60), "y": nested(60)}))).unwrap();
    let moved = json!([{"op": "move", "from": "/data/x", "path": format!("/data/y{}/x", "/a".repeat(59))}]).to_string();
    assert!(patch::apply(&revisions(), &deep, Format::Json, moved.as_bytes(), Validation::Warn).is_err());
}

#[test]
fn a_patch_has_no_more_operations_than_upstream_takes() {
    let current = Object::try_from(revision(json!({}))).unwrap();
    let patched = |count: usize| {
        let test = json!({"op": "test", "path": "/revision", "value": 1});
        let patch = Value::from(vec![test; count]).to_string();
        patch::apply(&revisions(), &current, Format::Json, patch.as_bytes(), Validation::Warn)
    };
    assert!(patched(10_000).is_ok());
    let status = patched(10_001).unwrap_err();
    let words = "Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001";
    assert_eq!((status.code, status.message.as_str()), (413, words));
}

#[test]
fn what_a_patch_made_is_not_told_at_length() {
    let current = Object::try_from(revision(json!({"a": "x".repeat(100_000)}))).unwrap();
    let patch = json!([{"op": "replace", "path": "/revision", "value": "one"}]).to_string();
    let status = patch::apply(&revisions(), &current, Format::Json, patch.as_bytes(), Validation::Warn).unwrap_err();
    assert!(status.message.contains("json: cannot unmarshal string"), "{}", &status.message[..200]);
    assert!(status.message.len() < 20_000, "{} bytes", status.message.len());
}

#[test]
fn long_lists_are_merged_without_comparing_every_pair() {
    let target = Target::published("", "v1", "Pod").unwrap();
    let names: Vec<String> = (0..LONG).map(|at| format!("a.b/{at}")).collect();
    let current = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "finalizers": names, "labels": {"a": "b"}}});
    let current = Object::try_from(current).unwrap();
    let apply = |patch: Value| {
        let patched =
            patch::apply(&target, &current, Format::Strategic, patch.to_string().as_bytes(), Validation::Warn);
        patched.unwrap_or_else(|status| panic!("{status}")).object
    };
    let turned: Vec<&String> = names.iter().rev().collect();
    let new: Vec<String> = (0..LONG).map(|at| format!("c.d/{at}")).collect();
    let count = |object: &Object| object.finalizers().count();
    assert_eq!(count(&apply(json!({"metadata": {"finalizers": new}}))), 2 * LONG);
    let ordered = apply(json!({"metadata": {"$setElementOrder/finalizers": turned}}));
    assert_eq!(ordered.finalizers().next(), Some(turned[0].as_str()));
    assert_eq!(count(&apply(json!({"metadata": {"$setElementOrder/finalizers": [], "finalizers": new}}))), 2 * LONG);
    assert_eq!(count(&apply(json!({"metadata": {"$deleteFromPrimitiveList/finalizers": turned}}))), 0);
    let fields: serde_json::Map<_, _> = names.iter().map(|name| (name.clone(), json!("x"))).collect();
    let mut labels = fields.clone();
    labels.insert("$retainKeys".to_owned(), json!(names));
    let kept = apply(json!({"metadata": {"labels": labels}}));
    assert_eq!(kept.at(&["metadata", "labels"]).and_then(Value::as_object).map(serde_json::Map::len), Some(LONG));
    let taints: Vec<Value> = (0..LONG).map(|at| json!({"name": format!("n{at}"), "value": "x"})).collect();
    let gone: Vec<Value> = (0..LONG).map(|at| json!({"name": format!("n{at}"), "$patch": "delete"})).collect();
    let pod = |env: &[Value]| json!({"spec": {"containers": [{"name": "a", "env": env}]}});
    let mut with_env = pod(&taints);
    with_env["metadata"] = json!({"name": "a"});
    let current = Object::try_from(with_env).unwrap();
    for (patch, left) in [(pod(&taints), LONG), (pod(&gone), 0)] {
        let text = patch.to_string();
        let patched = patch::apply(&target, &current, Format::Strategic, text.as_bytes(), Validation::Warn).unwrap();
        let env = &patched.object.at(&["spec", "containers"]).unwrap()[0]["env"];
        assert_eq!(env.as_array().map_or(0, Vec::len), left);
    }
}

fn made(schema: &Value) -> Kind {
    let definition = json!({
        "metadata": {"name": "boxes.a.example"},
        "spec": {
            "group": "a.example", "scope": "Namespaced", "names": {"kind": "Box", "plural": "boxes", "singular": "box"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object", "properties": schema}}}}}],
        },
    });
    custom::kind(&Object::try_from(definition).unwrap(), "v1").unwrap()
}

fn a_box(spec: Value) -> Object {
    let object = json!({"apiVersion": "a.example/v1", "kind": "Box",
        "metadata": {"name": "a", "namespace": "b", "uid": "u", "resourceVersion": "1", "creationTimestamp": "2026-01-02T03:04:05Z"}, "spec": spec});
    Object::try_from(object).unwrap()
}

#[test]
fn long_lists_are_checked_without_comparing_every_pair() {
    let number = json!({"type": "integer"});
    let kind = made(&json!({
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": number},
        "unique": {"type": "array", "uniqueItems": true, "items": number},
        "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "required": ["k"], "properties": {"k": number, "v": number}}},
    }));
    let numbers: Vec<Value> = (0..LONG).map(Value::from).collect();
    let entries = |value: usize| -> Vec<Value> { (0..LONG).map(|at| json!({"k": at, "v": value})).collect() };
    let old = a_box(json!({"set": [], "unique": [], "map": entries(1)}));
    let new = a_box(json!({"set": numbers, "unique": numbers, "map": entries(2)}));
    assert_eq!(kind.validate(&new, Some(&old), Write::Main).unwrap(), []);
    let mut twice = numbers.clone();
    twice.extend([json!(7), json!(7)]);
    let wrong = a_box(json!({"set": twice}));
    let errors = kind.validate(&wrong, None, Write::Main).unwrap();
    let fields: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
    assert_eq!(fields, [format!("spec.set[{LONG}]"), format!("spec.set[{}]", LONG + 1)]);
}
