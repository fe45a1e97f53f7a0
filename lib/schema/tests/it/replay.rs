//! Plays the recorded exchanges against the table of kinds, and holds the agreement where it was.
//!
//! `REPLAY_SHOW=20` prints the first differences of each family and kind, `REPLAY_ONLY=service|table` plays only the
//! scenarios whose name holds one of the texts, `REPLAY_BLESS=1` raises the figures of `floors.json`.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use jiff::Timestamp;
use kprov_schema::decode::{Decoded, Media, Target, Validation, decode};
use kprov_schema::kind::Write;
use kprov_schema::patch::{self, Format};
use kprov_schema::selector::{Fields, Labels};
use kprov_schema::{KINDS, Kind, Object, Status, canonical, meta};
use serde_json::{Value, json};

use crate::admission::admit;
use crate::compare::{Answer, Level, agreement};
use crate::pod_admission;

const NAMESPACE: &str = "ref-ns";
const TIME: &str = "2026-01-01T00:00:00Z";
const FAMILIES: [&str; 8] = ["create", "validation", "update", "patch", "table", "select", "subresource", "error"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/api")
}

fn scenarios(family: &str) -> Vec<Value> {
    let path = folder().join(format!("{family}.jsonl.gz"));
    let packed = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut text = String::new();
    GzDecoder::new(&packed[..]).read_to_string(&mut text).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A request that the table can answer.
struct Request<'a> {
    kind: &'static Kind,
    method: &'a str,
    namespace: String,
    name: String,
    subresource: String,
    query: BTreeMap<String, String>,
    content: String,
    accept: String,
    body: Value,
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let hex = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16)).unwrap_or_default();
        bytes.push(match byte {
            b'%' => u8::try_from(hex(rest.next()) * 16 + hex(rest.next())).unwrap(),
            b'+' => b' ',
            other => other,
        });
    }
    String::from_utf8(bytes).unwrap()
}

fn find(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    KINDS
        .iter()
        .find(|kind| kind.resource.group == group && kind.resource.version == version && kind.resource.plural == plural)
}

impl<'a> Request<'a> {
    /// The request of a step; `None` when its kind is not in the table.
    fn of(step: &'a Value) -> Option<Self> {
        let url = filled(&step["do"][1]).as_str()?.to_owned();
        let (path, query) = url.split_once('?').unwrap_or((&url, ""));
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let (group, version, rest) = match parts[..] {
            ["api", version, ref rest @ ..] => ("", version, rest),
            ["apis", group, version, ref rest @ ..] => (group, version, rest),
            _ => return None,
        };
        let (namespace, plural, rest) = match rest {
            ["namespaces", namespace, plural, rest @ ..] if find(group, version, plural).is_some() => {
                (*namespace, *plural, rest)
            }
            [plural, rest @ ..] => ("", *plural, rest),
            [] => return None,
        };
        let query = query.split('&').filter_map(|pair| pair.split_once('='));
        Some(Self {
            kind: find(group, version, plural)?,
            method: step["do"][0].as_str()?,
            namespace: namespace.to_owned(),
            name: rest.first().map(|name| decoded(name)).unwrap_or_default(),
            subresource: rest.get(1).copied().unwrap_or_default().to_owned(),
            query: query.map(|(key, value)| (key.to_owned(), decoded(value))).collect(),
            content: step["do"][2].as_str().unwrap_or_default().to_owned(),
            accept: step["do"][3].as_str().unwrap_or_default().to_owned(),
            body: filled(&step["do"][4]),
        })
    }

    fn place(&self, name: &str) -> Place {
        (self.kind.stored_resource().to_string(), self.namespace.clone(), name.to_owned())
    }

    fn dry(&self) -> bool {
        self.query.contains_key("dryRun")
    }

    fn table(&self) -> bool {
        self.accept.contains("as=Table")
    }

    fn bytes(&self) -> Vec<u8> {
        match &self.body {
            Value::String(text) => text.clone().into_bytes(),
            other => other.to_string().into_bytes(),
        }
    }

    fn validation(&self) -> Validation {
        match self.query.get("fieldValidation").map(String::as_str) {
            Some("Strict") => Validation::Strict,
            Some("Ignore") => Validation::Ignore,
            _ => Validation::Warn,
        }
    }

    fn format(&self) -> Option<Format> {
        match self.content.as_str() {
            "application/json-patch+json" => Some(Format::Json),
            "application/merge-patch+json" => Some(Format::Merge),
            "application/strategic-merge-patch+json" => Some(Format::Strategic),
            _ => None,
        }
    }
}

/// A value with the scenario's namespace put in.
fn filled(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::from(text.replace("{ns}", NAMESPACE)),
        Value::Array(items) => items.iter().map(filled).collect(),
        Value::Object(map) => {
            Value::Object(map.iter().map(|(key, value)| (key.replace("{ns}", NAMESPACE), filled(value))).collect())
        }
        other => other.clone(),
    }
}

type Place = (String, String, String);

/// The objects of one scenario; `None` stands for one whose state is not known any more.
#[derive(Default)]
struct Server {
    objects: BTreeMap<Place, Option<Object>>,
}

type Outcome = Result<Option<(u64, Value)>, Status>;

impl Server {
    /// A server with what every namespace has.
    fn new() -> Self {
        let mut server = Self::default();
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
                             "metadata": {"name": "default", "namespace": NAMESPACE, "creationTimestamp": TIME}});
        let place = ("serviceaccounts".to_owned(), NAMESPACE.to_owned(), "default".to_owned());
        server.objects.insert(place, Some(Object::try_from(account).unwrap()));
        server
    }

    /// The answer to a request; `None` when the table alone can't answer it.
    fn answer(&mut self, request: &Request) -> Option<Answer> {
        let mut warnings: Vec<String> = request.kind.deprecated.as_deref().map(str::to_owned).into_iter().collect();
        let outcome = match (request.method, request.subresource.as_str()) {
            ("POST", "") if request.name.is_empty() => self.create(request, &mut warnings),
            ("POST", "") => Err(Status::method_not_allowed()),
            ("PUT" | "PATCH", "") if request.name.is_empty() => Err(Status::method_not_allowed()),
            ("PUT" | "PATCH", "") => self.update(request, Write::Main, &mut warnings),
            ("PUT" | "PATCH", "status") => self.update(request, Write::Status, &mut warnings),
            ("GET", "") if request.accept.contains("as=Partial") => Ok(None),
            ("GET", "") if request.name.is_empty() => self.list(request),
            ("GET", "") => self.get(request),
            ("DELETE", "") if !request.name.is_empty() => self.delete(request),
            _ => {
                self.forget(request);
                Ok(None)
            }
        };
        let (code, body) = match outcome {
            Ok(None) => return None,
            Ok(Some(answer)) => answer,
            Err(status) => (u64::from(status.code), status.to_json()),
        };
        let warnings = warnings.iter().map(|text| format!("{text:?}")).collect();
        Some(Answer { code, body, warnings })
    }

    fn forget(&mut self, request: &Request) {
        if request.method != "GET" && !request.dry() {
            self.objects.insert(request.place(&request.name), None);
        }
    }

    fn create(&mut self, request: &Request, warnings: &mut Vec<String>) -> Outcome {
        let kind = request.kind;
        let Some(decoded) = read(request)? else { return Ok(None) };
        warnings.extend(decoded.warnings);
        let mut object = decoded.object;
        located(&mut object, request)?;
        meta::clear_for_create(&mut object);
        meta::generate_name(&mut object, "abcde");
        let place = request.place(object.name());
        object.set(&["metadata", "uid"], json!("uid-1"));
        object.set(&["metadata", "creationTimestamp"], json!(TIME));
        judged(kind, &mut object, None, Write::Main)?;
        warnings.extend(kind.warnings(&object, None).unwrap());
        canonical::canonicalise(kind, &mut object);
        match self.objects.get(&place) {
            Some(None) => return Ok(None),
            Some(Some(_)) => return Err(Status::exists(&kind.resource, object.name())),
            None => {}
        }
        if !request.dry() {
            object.set(&["metadata", "resourceVersion"], json!("1"));
            self.objects.insert(place, Some(stored(kind, &object)));
        }
        Ok(Some((201, object.into())))
    }

    fn update(&mut self, request: &Request, write: Write, warnings: &mut Vec<String>) -> Outcome {
        let kind = request.kind;
        let place = request.place(&request.name);
        let old = match self.objects.get(&place) {
            None => None,
            Some(None) => return Ok(None),
            Some(Some(old)) => Some(served(kind, old)),
        };
        let decoded = if request.method == "PATCH" {
            let Some(format) = request.format() else {
                self.forget(request);
                return Ok(None);
            };
            let Some(old) = &old else { return Err(Status::not_found(&kind.resource, &request.name)) };
            Some(patch::apply(&Target::of(kind), old, format, &request.bytes(), request.validation())?)
        } else {
            read(request)?
        };
        let Some(decoded) = decoded else { return Ok(None) };
        warnings.extend(decoded.warnings);
        let mut object = decoded.object;
        kind.fill_defaults(&mut object).map_err(Status::bad_request)?;
        named(&object, request)?;
        located(&mut object, request)?;
        let Some(old) = old else { return Err(Status::not_found(&kind.resource, &request.name)) };
        let uid = object.uid().0;
        if uid.starts_with('{') {
            object.remove(&["metadata", "uid"]);
        } else if !uid.is_empty() && uid != old.uid().0 {
            return Ok(None);
        }
        let revision = object.text(&["metadata", "resourceVersion"]).unwrap_or_default();
        if !["", "{rv}", "1"].contains(&revision) || (revision == "1" && request.method == "PUT") {
            return Err(Status::modified(&kind.resource, &request.name));
        }
        if request.method == "PUT" {
            kind.may_replace(&object)?;
        }
        object.set(&["metadata", "resourceVersion"], json!("1"));
        meta::keep_on_update(&mut object, &old);
        judged(kind, &mut object, Some(&old), write)?;
        if write == Write::Main {
            warnings.extend(kind.warnings(&object, Some(&old)).unwrap());
        }
        canonical::canonicalise(kind, &mut object);
        if !request.dry() {
            self.objects.insert(place, Some(stored(kind, &object)));
        }
        Ok(Some((200, object.into())))
    }

    fn get(&self, request: &Request) -> Outcome {
        match self.objects.get(&request.place(&request.name)) {
            None => Err(Status::not_found(&request.kind.resource, &request.name)),
            Some(None) => Ok(None),
            Some(Some(object)) => {
                let object = served(request.kind, object);
                let body = if request.table() { table(request.kind, &[object]) } else { object.into() };
                Ok(Some((200, body)))
            }
        }
    }

    fn list(&self, request: &Request) -> Outcome {
        let kind = request.kind;
        let text = |name: &str| request.query.get(name).map(String::as_str).unwrap_or_default();
        if ["watch", "limit", "continue", "resourceVersion"].iter().any(|name| request.query.contains_key(*name)) {
            return Ok(None);
        }
        let labels = Labels::parse(text("labelSelector")).map_err(Status::bad_request)?;
        let fields = Fields::parse_for(kind, text("fieldSelector"))?;
        let group = kind.stored_resource().to_string();
        let mut found = Vec::new();
        for ((resource, namespace, _), object) in &self.objects {
            if *resource != group || (!request.namespace.is_empty() && *namespace != request.namespace) {
                continue;
            }
            let Some(object) = object else { return Ok(None) };
            let object = served(kind, object);
            if labels.match_object(&object) && fields.match_object(kind, &object) {
                found.push(object);
            }
        }
        if request.table() {
            return Ok(Some((200, table(kind, &found))));
        }
        for object in &mut found {
            object.remove(&["kind"]);
            object.remove(&["apiVersion"]);
        }
        let body = json!({
            "kind": kind.list_kind, "apiVersion": kind.resource.api_version(), "metadata": {},
            "items": found,
        });
        Ok(Some((200, body)))
    }

    fn delete(&mut self, request: &Request) -> Outcome {
        let place = request.place(&request.name);
        if request.dry() || !request.body.is_null() {
            return Ok(None);
        }
        match self.objects.get(&place) {
            Some(Some(object)) if object.finalizers().next().is_none() && request.kind.kind != "Namespace" => {
                self.objects.remove(&place);
            }
            Some(_) => {
                self.objects.insert(place, None);
            }
            None => return Err(Status::not_found(&request.kind.resource, &request.name)),
        }
        Ok(None)
    }
}

fn stored(kind: &Kind, object: &Object) -> Object {
    let mut object = object.clone();
    if let Some(stored) = &kind.stored_as {
        (stored.write)(kind, &mut object);
    }
    object
}

fn served(kind: &Kind, object: &Object) -> Object {
    let mut object = object.clone();
    if let Some(stored) = &kind.stored_as {
        (stored.read)(kind, &mut object);
    }
    object
}

/// The body as an object with its defaults; `None` when it is not JSON.
fn read(request: &Request) -> Result<Option<Decoded>, Status> {
    let media = match request.content.as_str() {
        "application/json" => Media::Json,
        "application/yaml" => Media::Yaml,
        _ => return Ok(None),
    };
    let mut decoded = decode(request.kind, &request.bytes(), media, request.validation())?;
    request.kind.fill_defaults(&mut decoded.object).map_err(Status::bad_request)?;
    Ok(Some(decoded))
}

fn named(object: &Object, request: &Request) -> Result<(), Status> {
    let (name, wanted) = (object.name(), &request.name);
    if name == wanted {
        return Ok(());
    }
    Err(Status::bad_request(if name.is_empty() {
        format!("the name of the object ({wanted} based on URL) was undeterminable: name must be provided")
    } else {
        format!("the name of the object ({name}) does not match the name on the URL ({wanted})")
    }))
}

fn located(object: &mut Object, request: &Request) -> Result<(), Status> {
    if object.namespace().is_empty() && request.kind.is_namespaced() {
        object.set(&["metadata", "namespace"], json!(request.namespace));
    }
    if object.namespace() != request.namespace {
        let why = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Status::bad_request(why));
    }
    Ok(())
}

fn judged(kind: &Kind, object: &mut Object, old: Option<&Object>, write: Write) -> Result<(), Status> {
    if write == Write::Main {
        pod_admission::admit(kind, object, old);
    }
    kind.prepare(object, old, write).map_err(Status::bad_request)?;
    canonical::given(kind, object);
    let errors = admit(kind, object, old);
    if !errors.is_empty() {
        return Err(kind.invalid(object.name(), &errors));
    }
    let errors = kind.validate(object, old, write).map_err(Status::bad_request)?;
    if errors.is_empty() { Ok(()) } else { Err(kind.invalid(object.name(), &errors)) }
}

fn table(kind: &Kind, objects: &[Object]) -> Value {
    // The recorded table tells how long ago a container restarted.
    let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
    let columns: Vec<Value> = kind
        .columns()
        .iter()
        .map(|head| {
            json!({"name": head.name, "type": head.kind, "format": head.format, "description": head.description,
                   "priority": head.priority})
        })
        .collect();
    let rows: Vec<Value> =
        objects.iter().map(|object| json!({"cells": kind.row(object, now).unwrap().cells})).collect();
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "columnDefinitions": columns, "rows": rows})
}

/// What the table alone can't say: the decoder's part, the store's part, the part of admission and authorization.
fn beyond(request: &Request, want: &Value) -> bool {
    let message = want["body"]["message"].as_str().unwrap_or_default();
    let code = want["code"].as_u64().unwrap_or_default();
    let elsewhere = ["failed to allocate", "provided port", "Options"].iter().any(|part| message.contains(part));
    let existed = code == 409 && request.dry() && want["body"]["reason"] == "AlreadyExists";
    [403, 405, 406].contains(&code) || code >= 500 || elsewhere || existed
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    steps: u64,
    code: u64,
    meaning: u64,
    exact: u64,
}

impl Count {
    fn add(&mut self, level: Level) {
        self.steps += 1;
        self.code += u64::from(level >= Level::Code);
        self.meaning += u64::from(level >= Level::Meaning);
        self.exact += u64::from(level >= Level::Exact);
    }

    fn join(&mut self, other: Self) {
        self.steps += other.steps;
        self.code += other.code;
        self.meaning += other.meaning;
        self.exact += other.exact;
    }
}

fn wanted(step: &Value) -> Option<Answer> {
    let want = step.get("want")?;
    let texts = want["warn"].as_array().into_iter().flatten();
    Some(Answer {
        code: want["code"].as_u64()?,
        body: want["body"].clone(),
        warnings: texts.filter_map(Value::as_str).map(str::to_owned).collect(),
    })
}

fn selected(id: &str) -> bool {
    std::env::var("REPLAY_ONLY").map_or(true, |only| only.split('|').any(|part| id.contains(part)))
}

/// What playing scenarios told: how many answers agree by family and kind, where the others part.
#[derive(Default)]
struct Told {
    counts: BTreeMap<String, Count>,
    parted: BTreeMap<String, Vec<String>>,
}

impl Told {
    fn play(&mut self, family: &str, scenario: &Value) {
        let id = scenario["id"].as_str().unwrap();
        let mut server = Server::new();
        for (index, step) in scenario["steps"].as_array().unwrap().iter().enumerate() {
            let Some(request) = Request::of(step) else { continue };
            let Some(got) = server.answer(&request) else { continue };
            let Some(want) = wanted(step) else { continue };
            if beyond(&request, &step["want"]) {
                if want.code >= 400 && got.code == 201 {
                    server.objects.remove(&request.place(got.body["metadata"]["name"].as_str().unwrap()));
                }
                continue;
            }
            let key = format!("{family} {}", request.kind.resource);
            let (level, why) = agreement(&want, &got);
            self.counts.entry(key.clone()).or_default().add(level);
            if level < Level::Exact {
                let line = format!("{id}[{index}] {} {}: {why}", request.method, step["do"][1]);
                self.parted.entry(key).or_default().push(line);
            }
        }
    }

    fn join(&mut self, other: Self) {
        for (key, count) in other.counts {
            self.counts.entry(key).or_default().join(count);
        }
        for (key, lines) in other.parted {
            self.parted.entry(key).or_default().extend(lines);
        }
    }
}

/// Plays all scenarios, those of each family dealt out to as many threads as there are processors.
fn told() -> Told {
    let all: Vec<(&str, Value)> = FAMILIES
        .iter()
        .flat_map(|family| scenarios(family).into_iter().map(|scenario| (*family, scenario)))
        .filter(|(_, scenario)| selected(scenario["id"].as_str().unwrap()))
        .collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let part = &|first: usize| {
        let mut told = Told::default();
        all.iter().skip(first).step_by(threads).for_each(|(family, scenario)| told.play(family, scenario));
        told
    };
    let mut whole = Told::default();
    std::thread::scope(|scope| {
        let parts: Vec<_> = (0..threads).map(|first| scope.spawn(move || part(first))).collect();
        parts.into_iter().for_each(|told| whole.join(told.join().unwrap()));
    });
    whole
}

#[test]
fn agrees_with_the_recording() {
    let show: usize = std::env::var("REPLAY_SHOW").ok().and_then(|text| text.parse().ok()).unwrap_or_default();
    let told = told();
    told.parted.values().flat_map(|lines| lines.iter().take(show)).for_each(|line| println!("{line}"));
    report(&told.counts);
    assert!(!told.counts.is_empty(), "no scenario was played: see REPLAY_ONLY");
    if std::env::var("REPLAY_ONLY").is_err() {
        hold(&told.counts);
    }
}

fn report(counts: &BTreeMap<String, Count>) {
    println!("{:<50}{:>7}{:>7}{:>9}{:>7}", "family and kind", "steps", "code", "meaning", "exact");
    for (key, count) in counts {
        println!("{key:<50}{:>7}{:>7}{:>9}{:>7}", count.steps, count.code, count.meaning, count.exact);
    }
}

/// Fails when fewer answers agree than did before.
fn hold(counts: &BTreeMap<String, Count>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/floors.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|_| "{}".to_owned());
    let mut floors: BTreeMap<String, [u64; 2]> = serde_json::from_str(&text).unwrap();
    if std::env::var("REPLAY_BLESS").is_ok() {
        for (key, count) in counts {
            let floor = floors.entry(key.clone()).or_default();
            *floor = [floor[0].max(count.meaning), floor[1].max(count.exact)];
        }
        let lines: Vec<String> = floors.iter().map(|(key, [one, two])| format!("  {key:?}: [{one}, {two}]")).collect();
        std::fs::write(&path, format!("{{\n{}\n}}\n", lines.join(",\n"))).unwrap();
    }
    for (key, [meaning, exact]) in floors {
        let count = counts.get(&key).copied().unwrap_or_default();
        assert!(count.meaning >= meaning, "{key}: {} answers mean the same, {meaning} did before", count.meaning);
        assert!(count.exact >= exact, "{key}: {} answers are exact, {exact} were before", count.exact);
    }
}
