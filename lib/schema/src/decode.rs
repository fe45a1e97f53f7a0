//! Request bodies as objects: what is unknown is dropped or refused, what has the wrong type is refused.
//!
//! Errors carry upstream's code, reason and meaning; the words of its JSON decoder are followed where they are short.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::depth;
use crate::kind::Kind;
use crate::object::Object;
use crate::protobuf;
use crate::status::Status;
use crate::structure::{Ref, schema};
use crate::yaml::{self, EqualKeys};

mod reader;
mod scalar;
mod syntax;

use reader::{Complaint, Reading};
pub(crate) use scalar::{double, go_duration, is_duration};

/// The form of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// `application/json`.
    Json,
    /// `application/yaml`.
    Yaml,
    /// `application/vnd.kubernetes.protobuf`.
    Protobuf,
}

/// What happens to unknown and repeated fields, as `fieldValidation` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Validation {
    /// They are refused.
    Strict,
    /// They are dropped, each with a warning.
    #[default]
    Warn,
    /// They are dropped.
    Ignore,
}

/// A decoded body.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// The object, with `apiVersion` and `kind`, and without unknown fields and nulls.
    pub object: Object,
    /// Texts of `Warning` headers.
    pub warnings: Vec<String>,
}

/// What a body is expected to be.
#[derive(Clone, Debug)]
pub struct Target {
    /// API group, empty for the core group.
    pub group: Cow<'static, str>,
    /// Version.
    pub version: Cow<'static, str>,
    /// Kind.
    pub kind: Cow<'static, str>,
    /// Its fields.
    pub structure: Ref,
}

impl Target {
    /// A row of the table.
    #[must_use]
    pub fn of(kind: &Kind) -> Self {
        Self {
            group: kind.resource.group.clone(),
            version: kind.resource.version.clone(),
            kind: kind.kind.clone(),
            structure: kind.structure(),
        }
    }

    /// A published kind, whether it is served under a path of its own (`Pod`) or not (`Scale`, `DeleteOptions`).
    #[must_use]
    pub fn published(group: &'static str, version: &'static str, kind: &'static str) -> Option<Self> {
        let structure = schema().structure(group, version, kind)?;
        Some(Self { group: group.into(), version: version.into(), kind: kind.into(), structure })
    }

    fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_string() } else { format!("{}/{}", self.group, self.version) }
    }
}

/// Reads a body as an object of `kind`.
///
/// Errors are 400 BadRequest: not the syntax, another kind, a wrong type or, when strict, an unknown or repeated field.
pub fn decode(kind: &Kind, body: &[u8], media: Media, validation: Validation) -> Result<Decoded, Status> {
    decode_as(&Target::of(kind), body, media, validation)
}

/// The same for any kind, served under a path of its own or not.
pub fn decode_as(target: &Target, body: &[u8], media: Media, validation: Validation) -> Result<Decoded, Status> {
    match media {
        Media::Json => decode_json(target, body, validation),
        Media::Yaml => {
            let value: Value = yaml(body, validation).map_err(|error| unrecognized(target, &error, body))?;
            decode_value(target, value, validation)
        }
        Media::Protobuf => {
            let unknown = protobuf::envelope(body).map_err(|error| unrecognized(target, &error, body))?;
            let (api_version, named) = complete(target, unknown.api_version, unknown.kind);
            check_kind(target, &api_version, &named, &unrecognized_or(target, body))?;
            let map = protobuf::read(&target.structure, unknown.raw)
                .map_err(|error| handled(target, &api_version, &named, &error))?;
            finish(target, map, Vec::new(), validation)
        }
    }
}

/// The same for an object that is JSON already, such as a patched one.
pub fn decode_value(target: &Target, value: Value, validation: Validation) -> Result<Decoded, Status> {
    let text = value.to_string();
    decode_json(target, text.as_bytes(), validation)
}

/// Reads the outcome of a patch. Errors are texts of what is wrong with it.
pub(crate) fn patched(
    target: &Target,
    value: Value,
    earlier: Vec<String>,
    validation: Validation,
) -> Result<Decoded, String> {
    let head = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (api_version, named) = complete(target, head("apiVersion"), head("kind"));
    check_kind(target, &api_version, &named, &unrecognized_or(target, b"")).map_err(|status| status.message)?;
    let reading = Reading::default();
    let map = reading.read(&target.structure, value)?;
    let warnings: Vec<String> =
        earlier.into_iter().chain(reading.into_complaints().iter().map(ToString::to_string)).collect();
    if validation == Validation::Strict && !warnings.is_empty() {
        return Err(format!("strict decoding error: {}", warnings.join(", ")));
    }
    decoded(target, map, if validation == Validation::Warn { warnings } else { Vec::new() })
}

/// Reads a configuration that is to be applied: YAML, or JSON, of no known structure, with nulls kept.
///
/// With it comes what a strict reading says of repeated fields. Errors are 400 BadRequest.
pub fn configuration(body: &[u8]) -> Result<(Object, Vec<String>), Status> {
    let refused = |error: String| Status::bad_request(format!("error decoding YAML: {error}"));
    let (value, complaints) = match untyped(body) {
        Ok((value, complaints)) => {
            let text = |one: String| format!("error converting YAML to JSON: {one}");
            (value, complaints.into_iter().map(text).collect())
        }
        Err(_) => {
            let value: Value = yaml(body, Validation::Warn).map_err(refused)?;
            let strict: Result<Value, String> = yaml(body, Validation::Strict);
            (value, strict.err().map(|error| format!("error converting YAML to JSON: {error}")).into_iter().collect())
        }
    };
    let object = match value {
        Value::Null => Object::from(Map::new()),
        other => Object::try_from(other).map_err(refused)?,
    };
    Ok((object, complaints))
}

/// Reads what an apply of a configuration made of an object.
///
/// Errors are 500, upstream's answer to values that no field can hold; they name the configuration.
pub fn applied(target: &Target, object: Object, config: &Object) -> Result<Object, Status> {
    let (namespace, name) = (config.namespace(), config.name());
    let reading = Reading::default();
    let unread = |error: String| {
        let shown = format!("{}/{}, Kind={}", target.group, target.version, target.kind);
        let text = format!(
            "failed to convert new object ({namespace}/{name}; {shown}) to proper version: unable to convert \
             unstructured object to {shown}: error decoding from json: {error}"
        );
        Status::failure(500, "", text)
    };
    let map = reading.read(&target.structure, Value::from(object)).map_err(unread)?;
    Ok(decoded(target, map, Vec::new()).map_err(unread)?.object)
}

/// Reads JSON of no known structure, with what a strict reading says of repeated fields.
pub(crate) fn untyped(body: &[u8]) -> Result<(Value, Vec<String>), String> {
    let reading = Reading::default();
    let value = reading
        .anything(&mut serde_json::Deserializer::from_slice(body))
        .map_err(|error| syntax::text(&error, body))?;
    Ok((value, reading.into_complaints().iter().map(ToString::to_string).collect()))
}

/// What every object goes through, however it was sent. Errors: it nests deeper than can be kept.
fn decoded(target: &Target, map: Map<String, Value>, warnings: Vec<String>) -> Result<Decoded, String> {
    let mut object = Object::from(map);
    object.set(&["apiVersion"], Value::from(target.api_version()));
    object.set(&["kind"], Value::from(target.kind.as_ref()));
    depth::check(&object)?;
    Ok(Decoded { object, warnings })
}

fn yaml(body: &[u8], validation: Validation) -> Result<Value, String> {
    let repeated = match validation {
        Validation::Strict => EqualKeys::Refuse,
        Validation::Warn | Validation::Ignore => EqualKeys::LastCounts,
    };
    let text = std::str::from_utf8(body).map_err(|error| format!("yaml: {error}"))?;
    yaml::value(text, repeated).map_err(|error| format!("yaml: {}", error.in_one_line()))
}

fn decode_json(target: &Target, body: &[u8], validation: Validation) -> Result<Decoded, Status> {
    let head: Head = serde_json::from_slice(body).map_err(|error| {
        let error = syntax::text(&error, body);
        unrecognized(target, &format!("couldn't get version/kind; json parse error: {error}"), body)
    })?;
    let (api_version, named) = complete(target, head.api_version, head.kind);
    check_kind(target, &api_version, &named, &unrecognized_or(target, body))?;
    let reading = Reading::default();
    let map = reading
        .read(&target.structure, &mut serde_json::Deserializer::from_slice(body))
        .map_err(|error| handled(target, &api_version, &named, &error))?;
    let mut complaints = reading.into_complaints();
    if let Ref::Made(_) = target.structure {
        // Unknown fields of a custom resource are looked for after all is read: metadata first, then by name.
        complaints.sort_by_key(Complaint::custom_order);
    }
    finish(target, map, complaints, validation)
}

fn finish(
    target: &Target,
    map: Map<String, Value>,
    complaints: Vec<Complaint>,
    validation: Validation,
) -> Result<Decoded, Status> {
    let warnings: Vec<String> = complaints.into_iter().map(|one| one.to_string()).collect();
    if validation == Validation::Strict && !warnings.is_empty() {
        let text = format!("strict decoding error: {}", warnings.join(", "));
        return Err(handled(target, &target.version, &target.kind, &text));
    }
    decoded(target, map, if validation == Validation::Warn { warnings } else { Vec::new() })
        .map_err(|error| handled(target, &target.version, &target.kind, &error))
}

/// `apiVersion` and `kind` of a body, before anything else is looked at; reading it checks the whole syntax.
#[derive(Default)]
struct Head {
    api_version: String,
    kind: String,
}

impl<'de> serde::Deserialize<'de> for Head {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> serde::de::Visitor<'de> for Visit {
            type Value = Head;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_unit<E>(self) -> Result<Head, E> {
                Ok(Head::default())
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Head, A::Error> {
                let mut head = Head::default();
                while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                    match key.as_ref() {
                        "apiVersion" => head.api_version = map.next_value::<Option<String>>()?.unwrap_or_default(),
                        "kind" => head.kind = map.next_value::<Option<String>>()?.unwrap_or_default(),
                        _ => {
                            map.next_value::<serde::de::IgnoredAny>()?;
                        }
                    }
                }
                Ok(head)
            }
        }
        deserializer.deserialize_any(Visit)
    }
}

/// Fills in from the target what a body left out.
fn complete(target: &Target, api_version: String, kind: String) -> (String, String) {
    let api_version = if api_version.is_empty() || api_version == "/" { target.api_version() } else { api_version };
    let kind = if kind.is_empty() { target.kind.to_string() } else { kind };
    (api_version, kind)
}

fn unrecognized_or<'a>(target: &'a Target, body: &'a [u8]) -> impl Fn(&str) -> Status + 'a {
    move |error| unrecognized(target, error, body)
}

fn check_kind(
    target: &Target,
    api_version: &str,
    kind: &str,
    unrecognized: &dyn Fn(&str) -> Status,
) -> Result<(), Status> {
    if api_version.matches('/').count() > 1 {
        return Err(unrecognized(&format!("unexpected GroupVersion string: {api_version}")));
    }
    if api_version == target.api_version() && kind == target.kind {
        return Ok(());
    }
    if let Ref::Made(_) = target.structure {
        return Err(other_custom(target, api_version, kind));
    }
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    if schema().structure(group, version, kind).is_none() {
        let scheme = scheme(&target.group);
        let error = format!("no kind {kind:?} is registered for version {api_version:?} in scheme {scheme:?}");
        return Err(handled(target, api_version, kind, &error));
    }
    if kind == target.kind {
        let want = target.api_version();
        let error =
            format!("the API version in the data ({api_version}) does not match the expected API version ({want})");
        return Err(Status::failure(400, "BadRequest", error));
    }
    let package = match target.group.split('.').next().unwrap_or_default() {
        "" => "core",
        other => other,
    };
    let error = format!("converting ({version}.{kind}) to ({package}.{}): unknown conversion", target.kind);
    Err(handled(target, api_version, kind, &error))
}

fn other_custom(target: &Target, api_version: &str, kind: &str) -> Status {
    let want = target.api_version();
    let text = if api_version == want {
        format!("the kind in the data ({kind}) does not match the expected kind ({})", target.kind)
    } else {
        format!("the API version in the data ({api_version}) does not match the expected API version ({want})")
    };
    Status::failure(400, "BadRequest", text)
}

/// Where upstream registers the kinds of a group; it stands in one of its messages.
fn scheme(group: &str) -> &'static str {
    match group {
        "apiregistration.k8s.io" => "k8s.io/kube-aggregator/pkg/apiserver/scheme/scheme.go:28",
        "apiextensions.k8s.io" => "k8s.io/apiextensions-apiserver/pkg/apiserver/apiserver.go:52",
        _ => "pkg/api/legacyscheme/scheme.go:30",
    }
}

/// An error of a body whose kind is known.
fn handled(target: &Target, api_version: &str, kind: &str, error: &str) -> Status {
    let version = api_version.rsplit('/').next().unwrap_or(api_version);
    let text = format!("{kind} in version {version:?} cannot be handled as a {}: {error}", target.kind);
    Status::failure(400, "BadRequest", text)
}

/// An error of a body that does not tell its kind.
fn unrecognized(target: &Target, error: &str, body: &[u8]) -> Status {
    let shown = summary(body);
    let text = format!("the object provided is unrecognized (must be of type {}): {error} ({shown})", target.kind);
    Status::failure(400, "BadRequest", text)
}

fn summary(body: &[u8]) -> String {
    const SHOWN: usize = 30;
    let head = &body[..body.len().min(SHOWN)];
    let more = if body.len() > SHOWN { " ..." } else { "" };
    match body.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => format!("{}{more}", String::from_utf8_lossy(head)),
        Some(_) => head.iter().map(|byte| format!("{byte:02x}")).chain([more.to_owned()]).collect(),
    }
}
