//! Fields that the structure does not know and values of the wrong sort, with what was probably meant.

use base64::Engine as _;
use kprov_schema::decode::Target;
use kprov_schema::structure::{Node, Ref, Shape, Struct};
use kprov_schema::{Kind, quantity};
use serde_json::Value;

use super::server::Refusal;
use super::{Item, places};
use crate::problem::{Problem, Severity};
use crate::similar;

/// Something that does not fit the structure.
pub(super) struct Finding {
    /// Path of the field.
    path: String,
    /// What is wrong.
    message: String,
    /// What to do.
    hints: Vec<String>,
    /// The server stops at it, and tells nothing else.
    pub(super) is_mismatch: bool,
    /// The path that was probably meant: what is said of it would only follow from this.
    pub(super) meant: Option<String>,
}

/// Everything in an object that does not fit its kind's structure, in the server's order.
pub(super) fn check(kind: &Kind, item: Item<'_>) -> Vec<Finding> {
    of_structure(&Target::of(kind).structure, item)
}

/// The same for a structure without a row in the table.
pub(super) fn of_structure(root: &Ref, item: Item<'_>) -> Vec<Finding> {
    let mut search = Search { root, found: Vec::new() };
    let mut node = Node::of(Shape::Struct(root.clone()));
    node.nullable = true;
    search.value(&node, &Value::Object(item.object.map().clone()), "");
    search.found
}

/// The findings as problems; what the server says and no finding explains is told in its words.
pub(super) fn told(item: Item<'_>, findings: &[Finding], refusal: &Refusal) -> Vec<Problem> {
    let message = &refusal.status.message;
    let words = message.split_once(" cannot be handled as a ").and_then(|(_, rest)| rest.split_once(": "));
    let words = words.map_or(message.as_str(), |(_, words)| words);
    if findings.is_empty() {
        return vec![item.problem(Severity::Error, "", words)];
    }
    let first_mismatch = findings.iter().position(|finding| finding.is_mismatch);
    let problem = |(index, finding): (usize, &Finding)| {
        // The server stops at the first value of the wrong sort: that one is told in its words.
        let said = if Some(index) == first_mismatch && !words.starts_with("strict decoding error") {
            let problem = item.problem(Severity::Error, &finding.path, words);
            problem.hint(&finding.message)
        } else {
            item.problem(Severity::Error, &finding.path, &finding.message)
        };
        finding.hints.iter().fold(said, |problem, hint| problem.hint(hint))
    };
    findings.iter().enumerate().map(problem).collect()
}

/// The findings as problems in our own words.
pub(super) fn plainly(item: Item<'_>, findings: &[Finding]) -> Vec<Problem> {
    let problem = |finding: &Finding| {
        let problem = item.problem(Severity::Error, &finding.path, &finding.message);
        finding.hints.iter().fold(problem, |problem, hint| problem.hint(hint))
    };
    findings.iter().map(problem).collect()
}

struct Search<'a> {
    root: &'a Ref,
    found: Vec<Finding>,
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

impl Search<'_> {
    fn value(&mut self, node: &Node, value: &Value, path: &str) {
        match (&node.shape, value) {
            (_, Value::Null) | (Shape::Any | Shape::SchemaOr(..), _) => {}
            (Shape::Struct(inner), Value::Object(map)) => {
                for (key, value) in map {
                    match inner.field(key) {
                        Some(field) => self.value(&field.node, value, &join(path, key)),
                        None if inner.open => {}
                        None => self.unknown(inner, key, value, path),
                    }
                }
            }
            (Shape::Map(item), Value::Object(map)) => {
                map.iter().for_each(|(key, value)| self.value(item, value, &join(path, key)));
            }
            (Shape::List(item), Value::Array(items)) => {
                let all = items.iter().enumerate();
                all.for_each(|(index, value)| self.value(item, value, &format!("{path}[{index}]")));
            }
            (Shape::Wrapped, Value::Array(items)) => {
                let text = Node::of(Shape::Text);
                let all = items.iter().enumerate();
                all.for_each(|(index, value)| self.value(&text, value, &format!("{path}[{index}]")));
            }
            (shape, value) if fits(shape, value) => {}
            (shape, value) => self.mismatch(shape, value, path),
        }
    }

    fn mismatch(&mut self, shape: &Shape, value: &Value, path: &str) {
        let (want, found) = (expected(shape), shown(value));
        let mut finding = Finding {
            path: path.to_owned(),
            message: format!("expected {want} at {path}, found {found}"),
            hints: Vec::new(),
            is_mismatch: true,
            meant: Some(path.to_owned()),
        };
        match (shape, value) {
            (Shape::Text, Value::Number(_) | Value::Bool(_)) => {
                finding.hints.push("put it in quotes: YAML takes it for something else than a text".to_owned());
            }
            (Shape::Int32 | Shape::Int64, Value::String(text)) if text.parse::<i64>().is_ok() => {
                finding.hints.push("leave the quotes out".to_owned());
            }
            (Shape::List(_), Value::Object(_)) => {
                finding.hints.push("begin each item with `- `".to_owned());
            }
            (Shape::Bytes, Value::String(_)) => {
                finding.message = format!("{path} is not base64");
                finding.hints.push("use stringData for plain text: the server encodes it".to_owned());
            }
            _ => {}
        }
        self.found.push(finding);
    }

    fn unknown(&mut self, inner: &Struct, key: &str, value: &Value, parent: &str) {
        let path = join(parent, key);
        let mut finding = Finding {
            message: format!("unknown field {path:?}"),
            path,
            hints: Vec::new(),
            is_mismatch: false,
            meant: None,
        };
        let fields = inner.fields.iter().map(|field| field.name.as_ref());
        if let Some((_, _, hint)) = SLIPS.iter().find(|(owner, name, _)| *owner == inner.short_name() && *name == key) {
            finding.hints.push(format!("did you mean {hint}?"));
        } else if let Some(near) = similar::nearest(key, fields.clone()) {
            finding.hints.push(format!("did you mean `{near}`?"));
            finding.meant = Some(join(parent, near));
        } else if let Some(place) = places::nearest(self.root, parent, key) {
            finding.hints.push(format!("its place is `{place}`: {}", direction(parent, &place)));
            finding.meant = Some(place);
        } else if let Some((near, place)) = self.similar_elsewhere(inner, key, value, parent) {
            finding.hints.push(format!("did you mean `{near}`? Its place is `{place}`"));
        } else if inner.fields.len() <= 12 {
            finding.hints.push(format!("fields here are: {}", fields.collect::<Vec<_>>().join(", ")));
        }
        self.found.push(finding);
    }

    /// A field of a struct one step further in, whose name is similar.
    fn similar_elsewhere(&self, inner: &Struct, key: &str, _: &Value, parent: &str) -> Option<(String, String)> {
        let deeper = inner.fields.iter().filter_map(|field| match &field.node.shape {
            Shape::Struct(deeper) => Some(deeper),
            Shape::List(item) => match &item.shape {
                Shape::Struct(deeper) => Some(deeper),
                _ => None,
            },
            _ => None,
        });
        let names: Vec<&str> =
            deeper.flat_map(|deeper| deeper.fields.iter().map(|field| field.name.as_ref())).collect();
        let near = similar::nearest(key, names.iter().copied())?;
        Some((near.to_owned(), places::nearest(self.root, parent, near)?))
    }
}

/// Which way to move a field.
fn direction(parent: &str, place: &str) -> &'static str {
    let depth = |path: &str| path.split('.').filter(|step| !step.is_empty()).count();
    if depth(place) > depth(parent) + 1 { "it must be indented further" } else { "it stands too far in" }
}

/// Slips that need more than the name of a field, by struct and field.
const SLIPS: &[(&str, &str, &str)] = &[
    ("Container", "port", "`ports[].containerPort`"),
    ("Container", "containerPort", "`ports[].containerPort`"),
    ("Container", "volumes", "`volumeMounts`? Volumes themselves stand beside `containers`"),
    ("Container", "environment", "`env`"),
    ("Container", "limits", "`resources.limits`"),
    ("Container", "requests", "`resources.requests`"),
    ("Container", "runAsUser", "`securityContext.runAsUser`"),
    ("PodSpec", "restart", "`restartPolicy`"),
    ("IngressBackend", "serviceName", "`service.name`"),
    ("IngressBackend", "servicePort", "`service.port.number` (or `service.port.name`)"),
    ("IngressSpec", "backend", "`defaultBackend`"),
    ("ServicePort", "containerPort", "`targetPort`"),
    ("CronJobSpec", "template", "`jobTemplate.spec.template`"),
    ("PersistentVolumeClaimSpec", "storage", "`resources.requests.storage`"),
    ("PersistentVolumeSpec", "storage", "`capacity.storage`"),
    ("NetworkPolicySpec", "policies", "`policyTypes`"),
];

fn fits(shape: &Shape, value: &Value) -> bool {
    match (shape, value) {
        (Shape::Text | Shape::Time | Shape::MicroTime | Shape::Duration | Shape::IntOrText, Value::String(_))
        | (Shape::Bool, Value::Bool(_))
        | (Shape::Double, Value::Number(_)) => true,
        (Shape::Int32 | Shape::IntOrText, Value::Number(number)) => {
            number.as_i64().is_some_and(|whole| i32::try_from(whole).is_ok())
        }
        (Shape::Int64, Value::Number(number)) => number.is_i64(),
        (Shape::Quantity, Value::String(text)) => quantity::canonical(text.trim()).is_ok(),
        (Shape::Quantity, Value::Number(number)) => quantity::canonical(&number.to_string()).is_ok(),
        (Shape::Bytes, Value::String(text)) => {
            let packed: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
            base64::engine::general_purpose::STANDARD.decode(packed).is_ok()
        }
        _ => false,
    }
}

fn expected(shape: &Shape) -> &'static str {
    match shape {
        Shape::Text => "a text",
        Shape::Time | Shape::MicroTime => "a time such as \"2026-01-31T12:00:00Z\"",
        Shape::Duration => "a span of time such as \"1h30m\"",
        Shape::Bool => "true or false",
        Shape::Int32 | Shape::Int64 => "a whole number",
        Shape::Double => "a number",
        Shape::Bytes => "base64",
        Shape::Quantity => "an amount such as \"500m\" or \"1Gi\"",
        Shape::IntOrText => "a whole number or a text",
        Shape::List(_) | Shape::Wrapped => "a list",
        Shape::Struct(_) | Shape::Map(_) => "a map",
        Shape::Any | Shape::SchemaOr(..) => "anything",
    }
}

/// A value in a few words.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) if text.chars().count() > 40 => "a text".to_owned(),
        Value::String(text) => format!("the text {text:?}"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a map".to_owned(),
    }
}
