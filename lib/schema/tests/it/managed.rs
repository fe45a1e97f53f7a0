//! Who owns what after applies and other writes: stories as tables, laws over random objects of real kinds.

use kprov_schema::kind::{Reset, Write};
use kprov_schema::managed::{
    Element, Managed, Operation, Refusal, Scene, Set, compare, fields_of, merge, same_but_times,
};
use kprov_schema::structure::{Node, Ownership, Shape, Struct};
use kprov_schema::{KINDS, Kind, Object, custom};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn kind(name: &str) -> &'static Kind {
    KINDS.iter().find(|kind| kind.kind == name).unwrap()
}

/// An object with the writes that it went through.
struct Story {
    kind: Kind,
    object: Option<Object>,
    managed: Managed,
    clock: u64,
}

impl Story {
    fn of(name: &str) -> Self {
        Self::with(kind(name).clone())
    }

    fn with(kind: Kind) -> Self {
        Self { kind, object: None, managed: Managed::default(), clock: 0 }
    }

    fn scene<R>(&self, manager: &str, write: Write, run: impl FnOnce(&Scene<'_>) -> R) -> R {
        run(&Scene {
            structure: self.kind.structure(),
            api_version: &self.kind.resource.api_version(),
            manager,
            subresource: if write == Write::Status { "status" } else { "" },
            reset: self.kind.reset(write),
            now: format!("2026-01-01T00:00:{:02}Z", self.clock).into(),
            in_version: &|_, _| None,
            from_version: &|_, _| None,
        })
    }

    fn config(&self, fields: Value) -> Object {
        let mut object = Object::try_from(fields).unwrap();
        object.set(&["apiVersion"], self.kind.resource.api_version().into());
        object.set(&["kind"], self.kind.kind.as_ref().into());
        object.set(&["metadata", "name"], "a".into());
        object
    }

    fn apply_with(&mut self, manager: &str, fields: Value, force: bool) -> Result<(), Refusal> {
        self.clock += 1;
        let config = self.config(fields);
        let had = self.managed.clone();
        let applied =
            self.scene(manager, Write::Main, |scene| scene.apply(self.object.as_ref(), &config, had, force))?;
        self.object = Some(applied.object);
        self.managed = applied.managed;
        Ok(())
    }

    fn apply(mut self, manager: &str, fields: Value) -> Self {
        self.apply_with(manager, fields, false).unwrap();
        self
    }

    /// Writes the whole object, as PUT does.
    fn update(mut self, manager: &str, write: Write, fields: Value) -> Self {
        self.clock += 1;
        let new = self.config(fields);
        let had = std::mem::take(&mut self.managed);
        self.managed = self.scene(manager, write, |scene| scene.update(self.object.as_ref(), &new, had));
        self.object = Some(new);
        self
    }

    /// Manager, operation, second of the last change, fields.
    fn owners(&self) -> Value {
        let entries = self.managed.clone().written().unwrap_or_else(|| json!([]));
        let line = |entry: &Value| {
            let second = entry["time"].as_str().map(|time| time[17..19].parse::<u64>().unwrap());
            json!([entry["manager"], entry["operation"], second, entry["fieldsV1"]])
        };
        entries.as_array().unwrap().iter().map(line).collect()
    }
}

#[test]
fn an_update_owns_what_it_changes() {
    let story = Story::of("ConfigMap")
        .update("one", Write::Main, json!({"data": {"a": "1", "b": "1"}}))
        .update("two", Write::Main, json!({"data": {"a": "2", "b": "1"}}))
        .update("one", Write::Main, json!({"data": {"a": "2", "b": "1"}}));
    let want = json!([
        ["one", "Update", 1, {"f:data": {".": {}, "f:b": {}}}],
        ["two", "Update", 2, {"f:data": {"f:a": {}}}],
    ]);
    assert_eq!(story.owners(), want);
    let gone = story.update("two", Write::Main, json!({"data": {"b": "1"}}));
    assert_eq!(gone.owners(), json!([["one", "Update", 1, {"f:data": {".": {}, "f:b": {}}}]]));
}

#[test]
fn an_apply_takes_back_what_it_no_longer_names_and_nobody_else_owns() {
    let story = Story::of("ConfigMap")
        .apply("one", json!({"data": {"a": "1", "b": "1", "c": "1"}}))
        .apply("two", json!({"data": {"b": "1"}}))
        .apply("one", json!({"data": {"c": "1"}}));
    assert_eq!(story.object.as_ref().unwrap().at(&["data"]), Some(&json!({"b": "1", "c": "1"})));
    let want = json!([
        ["two", "Apply", null, {"f:data": {"f:b": {}}}],
        ["one", "Apply", 3, {"f:data": {"f:c": {}}}],
    ]);
    assert_eq!(story.owners(), want);
}

#[test]
fn others_must_be_forced() {
    let mut story = Story::of("Deployment")
        .update("kubectl-create", Write::Main, json!({"spec": {"replicas": 1}}))
        .apply("one", json!({"metadata": {"labels": {"x": "1"}}}));
    let wanted = json!({"metadata": {"labels": {"x": "2"}}, "spec": {"replicas": 2}});
    let status = story.apply_with("two", wanted.clone(), false).unwrap_err().into_status();
    let message = "Apply failed with 2 conflicts: conflicts with \"kubectl-create\" using apps/v1:\n- .spec.replicas\n\
                   conflicts with \"one\":\n- .metadata.labels.x";
    assert_eq!((status.code, status.message.as_str()), (409, message));
    let causes = json!([
        {"reason": "FieldManagerConflict", "message": "conflict with \"kubectl-create\" using apps/v1", "field": ".spec.replicas"},
        {"reason": "FieldManagerConflict", "message": "conflict with \"one\"", "field": ".metadata.labels.x"},
    ]);
    assert_eq!(status.details.unwrap()["causes"], causes);
    story.apply_with("two", wanted, true).unwrap();
    assert_eq!(
        story.owners(),
        json!([["two", "Apply", 4, {"f:metadata": {"f:labels": {"f:x": {}}}, "f:spec": {"f:replicas": {}}}]])
    );
}

#[test]
fn items_of_lists_have_owners_of_their_own() {
    let item = |name: &str, image: &str| json!({"spec": {"containers": [{"name": name, "image": image}]}});
    let story = Story::of("Pod").apply("one", item("a", "x")).apply("two", item("b", "y"));
    let containers = json!([{"name": "a", "image": "x"}, {"name": "b", "image": "y"}]);
    assert_eq!(story.object.as_ref().unwrap().at(&["spec", "containers"]), Some(&containers));
    let story = story.apply("one", json!({}));
    assert_eq!(story.object.as_ref().unwrap().at(&["spec", "containers"]), Some(&json!([{"name": "b", "image": "y"}])));
    assert_eq!(story.managed.0.len(), 1);
    let ports = json!({"spec": {"ports": [{"port": 53}, {"port": 53, "protocol": "UDP"}]}});
    let story = Story::of("Service").apply("one", ports);
    let keys = json!({"f:ports": {
        "k:{\"port\":53,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}},
        "k:{\"port\":53,\"protocol\":\"UDP\"}": {".": {}, "f:port": {}, "f:protocol": {}},
    }});
    assert_eq!(story.owners()[0][3]["f:spec"], keys);
}

#[test]
fn a_door_owns_what_it_can_change() {
    let whole = |replicas: u64| json!({"spec": {"replicas": 1}, "status": {"replicas": replicas}});
    let story = Story::of("ReplicaSet").update("one", Write::Main, whole(1));
    assert_eq!(story.owners()[0][3], json!({"f:spec": {"f:replicas": {}}}));
    let story = story.update("two", Write::Status, json!({"spec": {"replicas": 5}, "status": {"replicas": 2}}));
    assert_eq!(story.owners()[1], json!(["two", "Update", 2, {"f:status": {"f:replicas": {}}}]));
    assert_eq!(kind("Pod").reset(Write::Main), Reset::Except(&[&["status"]]));
}

#[test]
fn nothing_owned_stays_so_until_an_apply() {
    let mut story = Story::of("ConfigMap").update("one", Write::Main, json!({"data": {"a": "1"}}));
    story.managed = Managed::before(story.managed.clone().written().as_ref(), Some(&json!([{}])));
    assert_eq!(story.managed, Managed::default());
    let story = story.update("two", Write::Main, json!({"data": {"a": "2"}}));
    assert_eq!(story.managed, Managed::default());
    let story = story.apply("three", json!({"data": {"b": "1"}}));
    let want = json!([
        ["three", "Apply", 3, {"f:data": {"f:b": {}}}],
        ["before-first-apply", "Update", 3, {"f:data": {".": {}, "f:a": {}}}],
    ]);
    assert_eq!(story.owners(), want);
}

#[test]
fn old_managers_are_folded_into_one() {
    let mut story = Story::of("ConfigMap");
    let mut data = Map::new();
    for number in 0..12 {
        data.insert(format!("k{number:02}"), json!("v"));
        story = story.update(&format!("m{number:02}"), Write::Main, json!({"data": data}));
    }
    let owners = story.owners();
    assert_eq!(owners.as_array().unwrap().len(), 10);
    let ancient = json!(["ancient-changes", "Update", 3, {"f:data": {".": {}, "f:k00": {}, "f:k01": {}, "f:k02": {}}}]);
    assert_eq!(owners[0], ancient);
}

#[test]
fn what_does_not_fit_is_refused() {
    for (name, fields, text) in [
        ("ConfigMap", json!({"foo": 1}), ".foo: field not declared in schema"),
        (
            "Deployment",
            json!({"spec": {"replicas": "x"}}),
            ".spec.replicas: expected numeric (int or float), got string",
        ),
        ("Pod", json!({"spec": {"hostNetwork": 1}}), ".spec.hostNetwork: expected boolean, got &{1}"),
        (
            "Pod",
            json!({"spec": {"containers": [{"name": "a"}, {"name": "a"}]}}),
            ".spec.containers: duplicate entries for key [name=\"a\"]",
        ),
        (
            "Pod",
            json!({"spec": {"containers": [{"image": "a"}]}}),
            ".spec.containers: element 0: associative list with keys has an element that omits all key fields [\"name\"] (and doesn't have default values for any key fields)",
        ),
    ] {
        let status = Story::of(name).apply_with("one", fields, false).unwrap_err().into_status();
        assert_eq!(status.code, 500);
        let want = format!("; {}/{}, Kind={name}): {text}", kind(name).resource.group, kind(name).resource.version);
        assert_eq!(status.message, format!("failed to create typed patch object (/a{want}"));
    }
    let managers = json!({"metadata": {"managedFields": []}});
    let status = Story::of("ConfigMap").apply_with("one", managers, false).unwrap_err().into_status();
    assert_eq!((status.code, status.message.as_str()), (400, "metadata.managedFields must be nil"));
}

#[test]
fn kubectl_takes_back_what_it_applied_by_itself() {
    let last = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "1"}}).to_string();
    let annotated = json!({
        "metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": last}},
        "data": {"a": "1", "b": "1"},
    });
    let mut story = Story::of("ConfigMap").update("kubectl-client-side-apply", Write::Main, annotated);
    let refused = story.apply_with("kubectl", json!({"data": {"b": "2"}}), false);
    assert!(matches!(refused, Err(Refusal::Conflicts(_))));
    story.apply_with("kubectl", json!({"data": {"a": "2"}}), false).unwrap();
    let object = story.object.unwrap();
    assert_eq!(object.text(&["data", "a"]), Some("2"));
    let annotation = object.annotation("kubectl.kubernetes.io/last-applied-configuration").unwrap();
    assert_eq!(
        annotation,
        "{\"apiVersion\":\"v1\",\"data\":{\"a\":\"2\"},\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"a\"}}\n"
    );
}

#[test]
fn custom_kinds_have_owners_by_their_own_schema() {
    let text = json!({"type": "string"});
    let properties = json!({
        "set": {"type": "array", "items": text, "x-kubernetes-list-type": "set"},
        "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object", "properties": {"name": text, "value": text}}},
        "list": {"type": "array", "items": text},
        "whole": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"a": text}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    });
    let definition = json!({
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"kind": "Widget", "listKind": "WidgetList", "plural": "widgets", "singular": "widget"},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "properties": properties}, "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                }}},
            }],
        },
    });
    let kind = custom::kind(&Object::try_from(definition).unwrap(), "v1").unwrap();
    let spec = json!({
        "set": ["a", "b"], "map": [{"name": "x", "value": "1"}], "list": ["a"], "whole": {"a": "1"},
        "free": {"deep": {"er": 1}, "list": [1]},
    });
    let story = Story::with(kind.clone()).apply("one", json!({"spec": spec}));
    let fields = json!({"f:spec": {
        "f:set": {"v:\"a\"": {}, "v:\"b\"": {}},
        "f:map": {"k:{\"name\":\"x\"}": {".": {}, "f:name": {}, "f:value": {}}},
        "f:list": {}, "f:whole": {},
        "f:free": {"f:deep": {".": {}, "f:er": {}}, "f:list": {}},
    }});
    assert_eq!(story.owners()[0][3], fields);
    let story = story.apply("two", json!({"spec": {"set": ["c"], "map": [{"name": "y"}]}}));
    assert_eq!(story.object.as_ref().unwrap().at(&["spec", "set"]), Some(&json!(["a", "b", "c"])));
    let story = story.apply("one", json!({}));
    assert_eq!(story.object.as_ref().unwrap().at(&["spec", "set"]), Some(&json!(["c"])));
    let created =
        Story::with(kind.clone()).update("one", Write::Main, json!({"spec": {"list": ["a"]}, "status": {"a": 1}}));
    assert_eq!(created.owners()[0][3], json!({"f:spec": {".": {}, "f:list": {}}}));
    let unknown = Story::with(kind).apply_with("one", json!({"spec": {"other": 1}}), false).unwrap_err().into_status();
    assert!(unknown.message.ends_with("Kind=Widget): .spec.other: field not declared in schema"), "{unknown}");
}

/// Choices that a random object is made by.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn below(&mut self, bound: usize) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*first) % bound.max(1)
    }
}

const DEEPEST: usize = 7;

fn random_struct(of: &Struct, choices: &mut Choices<'_>, depth: usize) -> Map<String, Value> {
    let mut map = Map::new();
    if of.fields.is_empty() {
        return map;
    }
    for _ in 0..=choices.below(4) {
        let field = &of.fields[choices.below(of.fields.len())];
        if !["apiVersion", "kind", "managedFields"].contains(&field.name.as_ref()) {
            map.insert(field.name.to_string(), random(&field.node, choices, depth + 1));
        }
    }
    map
}

fn random_item(
    node: &Node,
    keys: &[std::borrow::Cow<'static, str>],
    number: usize,
    choices: &mut Choices<'_>,
    depth: usize,
) -> Value {
    let mut item = random(node, choices, depth);
    for key in keys {
        let number = match &node.as_struct().unwrap().field(key).unwrap().node.shape {
            Shape::Text => json!(format!("k{number}")),
            _ => json!(number),
        };
        item[key.as_ref()] = number;
    }
    item
}

fn random(node: &Node, choices: &mut Choices<'_>, depth: usize) -> Value {
    let text = |choices: &mut Choices<'_>| json!(format!("t{}", choices.below(3)));
    match &node.shape {
        Shape::Bool => json!(choices.below(2) == 1),
        Shape::Int32 | Shape::Int64 | Shape::Double => json!(choices.below(3)),
        Shape::Struct(_) | Shape::Map(_) | Shape::List(_) | Shape::SchemaOr(..) if depth > DEEPEST => Value::Null,
        Shape::Struct(inner) | Shape::SchemaOr(_, inner) => Value::Object(random_struct(inner, choices, depth)),
        Shape::Map(entry) => {
            let entries = 0..=choices.below(3);
            Value::Object(entries.map(|number| (format!("e{number}"), random(entry, choices, depth + 1))).collect())
        }
        Shape::List(item) => {
            let numbers = 0..=choices.below(3);
            let of = |number: usize, choices: &mut Choices<'_>| match &node.ownership {
                Ownership::Keyed(keys) => random_item(item, keys, number, choices, depth + 1),
                Ownership::Set if matches!(item.shape, Shape::Int32 | Shape::Int64) => json!(number),
                Ownership::Set => json!(format!("s{number}")),
                _ => random(item, choices, depth + 1),
            };
            numbers.map(|number| of(number, choices)).collect()
        }
        Shape::Wrapped => json!(["a"]),
        _ => text(choices),
    }
}

fn choices() -> impl Strategy<Value = (usize, Vec<u8>, Vec<u8>)> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..200);
    (0..KINDS.len(), bytes(), bytes())
}

fn random_object(kind: &Kind, bytes: &[u8]) -> Value {
    let mut map = random_struct(&kind.structure(), &mut Choices(bytes), 0);
    if !map.get("metadata").is_some_and(Value::is_object) {
        map.remove("metadata");
    }
    Value::Object(map)
}

proptest! {
    #[test]
    fn sets_obey_their_laws((at, one, two) in choices()) {
        let story = Story::of(&KINDS[at].kind);
        let set = |bytes: &[u8]| fields_of(&story.kind.structure(), &story.config(random_object(&story.kind, bytes)));
        let (a, b) = (set(&one), set(&two));
        prop_assert_eq!(a.union(&b), b.union(&a));
        prop_assert_eq!(a.intersection(&b), b.intersection(&a));
        prop_assert_eq!(a.difference(&b).union(&a.intersection(&b)), a.clone());
        prop_assert!(a.difference(&b).intersection(&b).is_empty());
        prop_assert!(a.difference(&a).is_empty() && a.without(&a).is_empty());
        prop_assert_eq!(a.union(&a), a.clone());
        prop_assert_eq!(a.union(&b).difference(&b), a.difference(&b));
        prop_assert_eq!(Set::read(&a.written()).unwrap(), a.clone());
        prop_assert!(a.paths().iter().all(|path| a.has(path)));
    }

    #[test]
    fn what_is_merged_is_there((at, one, two) in choices()) {
        let story = Story::of(&KINDS[at].kind);
        let structure = story.kind.structure();
        let (live, config) =
            (story.config(random_object(&story.kind, &one)), story.config(random_object(&story.kind, &two)));
        let merged = merge(&structure, &live, &config);
        prop_assert!(compare(&structure, &merged, &merge(&structure, &merged, &config)).is_same());
        // An empty struct or map is named by itself; merged into a live one it is there by what is below it.
        let there = fields_of(&structure, &merged);
        let below = |path: &[Element]| there.paths().iter().any(|other| other.starts_with(path));
        let missing = fields_of(&structure, &config).difference(&there).paths();
        prop_assert!(missing.iter().all(|path| below(path)), "{missing:?}");
        prop_assert!(compare(&structure, &live, &live).is_same());
    }

    #[test]
    fn applying_twice_changes_nothing((at, one, two) in choices()) {
        let mut story = Story::of(&KINDS[at].kind);
        let fields = (random_object(&story.kind, &one), random_object(&story.kind, &two));
        story.apply_with("one", fields.0, true).unwrap();
        story.apply_with("two", fields.1.clone(), true).unwrap();
        let (object, managed) = (story.object.clone(), story.managed.clone());
        story.apply_with("two", fields.1, false).unwrap();
        prop_assert_eq!(&story.object, &object);
        prop_assert_eq!(story.managed.clone().written(), managed.written());
        // Whoever applies nothing at all owns nothing, and leaves nothing of its own.
        story.apply_with("two", json!({}), false).unwrap();
        story.apply_with("one", json!({}), false).unwrap();
        prop_assert!(story.managed.0.is_empty());
        let owned = |operation| story.managed.0.iter().any(|entry| entry.operation == operation);
        prop_assert!(!owned(Operation::Apply));
    }

    #[test]
    fn an_update_that_changes_nothing_owns_nothing((at, one, _two) in choices()) {
        let story = Story::of(&KINDS[at].kind);
        let fields = random_object(&story.kind, &one);
        let story = story.update("one", Write::Main, fields.clone());
        let before = story.managed.clone().written();
        let story = story.update("two", Write::Main, fields);
        prop_assert!(same_but_times(before.as_ref(), story.managed.clone().written().as_ref()));
        prop_assert_eq!(before, story.managed.written());
    }
}
