//! The paths of a document: one a collection, an object and a subresource, with the verbs that discovery names.

use serde_json::{Map, Value, json};

use super::schemas::{self, Root};
use crate::discovery::{Entry, Part};
use crate::structure::schema;

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
const MEDIA: [&str; 3] = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];

type Paths = (Map<String, Value>, Vec<Root>);

/// A document about one discovery path, which answers with a kind of the meta group.
pub(super) fn plain(path: &str, kind: &str) -> Paths {
    let name = format!("{META}.{kind}");
    let operation = json!({"responses": answers(&schemas::reference(&name), &MEDIA)});
    (single(path, operation), schema().definition(&name).map(Root::Definition).into_iter().collect())
}

/// A document about one path that answers with JSON of no kind.
pub(super) fn text(path: &str) -> Paths {
    let operation = json!({"responses": answers(&json!({"type": "object"}), &MEDIA[..1])});
    (single(path, operation), Vec::new())
}

fn single(path: &str, operation: Value) -> Map<String, Value> {
    let mut paths = Map::new();
    paths.insert(path.to_owned(), json!({"get": operation}));
    paths
}

/// The paths of a group and version below `base`, such as `/apis/apps/v1`.
pub(super) fn of_version(entries: &[&Entry], base: &str) -> Paths {
    let mut paths = Map::new();
    let mut roots: Vec<Root> = ["APIResourceList", "DeleteOptions", "Status", "WatchEvent"]
        .iter()
        .filter_map(|kind| schema().definition(&format!("{META}.{kind}")).map(Root::Definition))
        .collect();
    let list = schemas::reference(&format!("{META}.APIResourceList"));
    paths.insert(format!("{base}/"), json!({"get": {"responses": answers(&list, &MEDIA)}}));
    for entry in entries {
        of_entry(entry, base, &mut paths);
        roots.push(Root::Kind(Box::new((*entry).clone())));
        roots.extend(entry.subresources.iter().filter_map(spoken).map(Root::Definition));
    }
    (paths, roots)
}

fn spoken(part: &Part) -> Option<crate::structure::Ref> {
    let (group, version, kind) = &part.speaks;
    schema().structure(group, version, kind)
}

fn of_entry(entry: &Entry, base: &str, paths: &mut Map<String, Value>) {
    let within = if entry.namespaced { format!("{base}/namespaces/{{namespace}}") } else { base.to_owned() };
    let collection = format!("{within}/{}", entry.plural);
    let own =
        Spoken { group: &entry.group, version: &entry.version, kind: &entry.kind, schema: schemas::kind_name(entry) };
    let verbs = |wanted: &[&str]| -> Vec<String> {
        entry.verbs.iter().filter(|verb| wanted.contains(&verb.as_ref())).map(ToString::to_string).collect()
    };
    put(paths, &collection, entry, &own, &verbs(&["list", "create", "deletecollection"]));
    if entry.namespaced {
        put(paths, &format!("{base}/{}", entry.plural), entry, &own, &verbs(&["list"]));
    }
    put(paths, &format!("{collection}/{{name}}"), entry, &own, &verbs(&["get", "update", "patch", "delete"]));
    for part in &entry.subresources {
        let (group, version, kind) = &part.speaks;
        let schema = spoken(part).map_or_else(|| schemas::kind_name(entry), |found| found.name.to_string());
        let speaks = Spoken { group, version, kind, schema };
        let verbs: Vec<String> = part.verbs.iter().map(ToString::to_string).collect();
        put(paths, &format!("{collection}/{{name}}/{}", part.name), entry, &speaks, &verbs);
    }
}

/// What a path speaks.
struct Spoken<'a> {
    group: &'a str,
    version: &'a str,
    kind: &'a str,
    schema: String,
}

fn put(paths: &mut Map<String, Value>, path: &str, entry: &Entry, spoken: &Spoken<'_>, verbs: &[String]) {
    if verbs.is_empty() {
        return;
    }
    let mut item = Map::new();
    for verb in verbs {
        let method = match verb.as_str() {
            "list" | "get" => "get",
            "create" => "post",
            "update" => "put",
            "patch" => "patch",
            _ => "delete",
        };
        item.insert(method.to_owned(), operation(verb, entry, spoken));
    }
    let named: Vec<Value> = ["namespace", "name"]
        .into_iter()
        .filter(|name| path.contains(&format!("{{{name}}}")))
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "uniqueItems": true}}))
        .chain([query("pretty", "string")])
        .collect();
    item.insert("parameters".to_owned(), Value::Array(named));
    paths.insert(path.to_owned(), Value::Object(item));
}

fn query(name: &str, kind: &str) -> Value {
    json!({"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": true}})
}

fn operation(verb: &str, entry: &Entry, spoken: &Spoken<'_>) -> Value {
    let own = schemas::reference(&spoken.schema);
    let (action, parameters): (&str, &[(&str, &str)]) = match verb {
        "create" => ("post", &WRITE),
        "update" => ("put", &WRITE),
        "patch" => ("patch", &PATCH),
        "get" => ("get", &[]),
        "list" => ("list", &LIST),
        "deletecollection" => ("deletecollection", &DELETE_COLLECTION),
        _ => ("delete", &DELETE),
    };
    let answer = match verb {
        "list" => schemas::reference(&schemas::list_name(entry)),
        "delete" | "deletecollection" => schemas::reference(&format!("{META}.Status")),
        _ => own.clone(),
    };
    let mut operation = json!({
        "parameters": parameters.iter().map(|(name, kind)| query(name, kind)).collect::<Vec<_>>(),
        "responses": answers(&answer, &MEDIA),
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": {"group": spoken.group, "version": spoken.version, "kind": spoken.kind},
    });
    if let Some(body) = request_body(verb, entry, &own) {
        operation["requestBody"] = body;
    }
    operation
}

const WRITE: [(&str, &str); 3] = [("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string")];
const PATCH: [(&str, &str); 4] =
    [("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string"), ("force", "boolean")];
const DELETE: [(&str, &str); 4] = [
    ("dryRun", "string"),
    ("gracePeriodSeconds", "integer"),
    ("orphanDependents", "boolean"),
    ("propagationPolicy", "string"),
];
const LIST: [(&str, &str); 10] = [
    ("allowWatchBookmarks", "boolean"),
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("timeoutSeconds", "integer"),
    ("watch", "boolean"),
];
const DELETE_COLLECTION: [(&str, &str); 10] = [
    ("continue", "string"),
    ("dryRun", "string"),
    ("fieldSelector", "string"),
    ("gracePeriodSeconds", "integer"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("orphanDependents", "boolean"),
    ("propagationPolicy", "string"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
];

fn request_body(verb: &str, entry: &Entry, own: &Value) -> Option<Value> {
    let patch = json!({"type": "object"});
    let (schema, media): (Value, Vec<&str>) = match verb {
        "create" | "update" => (own.clone(), vec!["*/*"]),
        "patch" if entry.custom => {
            (patch, vec!["application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"])
        }
        "patch" => (
            patch,
            vec![
                "application/json-patch+json",
                "application/merge-patch+json",
                "application/strategic-merge-patch+json",
                "application/apply-patch+yaml",
            ],
        ),
        "delete" | "deletecollection" => (schemas::reference(&format!("{META}.DeleteOptions")), vec!["*/*"]),
        _ => return None,
    };
    Some(json!({"content": content(&schema, &media)}))
}

fn answers(schema: &Value, media: &[&str]) -> Value {
    json!({"200": {"description": "OK", "content": content(schema, media)}, "401": {"description": "Unauthorized"}})
}

fn content(schema: &Value, media: &[&str]) -> Value {
    Value::Object(media.iter().map(|media| ((*media).to_owned(), json!({"schema": schema}))).collect())
}
