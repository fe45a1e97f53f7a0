//! What is different between objects, told by field.
//!
//! Items of lists are told apart by the fields that Kubernetes tells them apart by: a new container is one line, not a
//! list that changed. Values of secrets are never shown.
//!
//! ```
//! use kprov::Bundle;
//!
//! let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {level: info}\n";
//! let old = Bundle::from_yaml("b", text).unwrap();
//! let new = Bundle::from_yaml("b", &text.replace("info", "debug")).unwrap();
//! assert_eq!(new.diff(&old).to_string(), "~ ConfigMap/a\n~   data.level: info -> debug\n");
//! ```

use std::collections::BTreeSet;
use std::fmt;

use kprov_schema::Object;
use kprov_schema::structure::{Node, Ownership, Shape, schema};
use kprov_schema::yaml;
use serde_json::Value;

/// What stands for the value of a secret.
const HIDDEN: &str = "(hidden)";

/// One field that is different.
///
/// ```
/// use kprov::diff::{Change, Diff, Difference};
///
/// fn images(diff: &Diff) -> Vec<&Change> {
///     let changes = diff.objects.iter().filter_map(|(_, difference)| match difference {
///         Difference::Changed(changes) => Some(changes),
///         _ => None,
///     });
///     changes.flatten().filter(|change| change.path.ends_with(".image")).collect()
/// }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Path of the field, such as `spec.template.spec.containers[name=web].image`.
    pub path: String,
    /// The value before; `None` when it was not there.
    pub old: Option<Value>,
    /// The value after; `None` when it is gone.
    pub new: Option<Value>,
}

/// What happened to an object.
///
/// ```
/// use kprov::diff::{Diff, Difference};
///
/// fn is_new(diff: &Diff, title: &str) -> bool {
///     diff.objects.iter().any(|(one, difference)| one == title && matches!(difference, Difference::Added(_)))
/// }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Difference {
    /// It is new.
    Added(Object),
    /// It is gone.
    Removed(Object),
    /// Some of its fields are different.
    Changed(Vec<Change>),
}

/// What is different between two sets of objects.
///
/// ```
/// use kprov::Bundle;
/// use kprov::diff::Diff;
///
/// let old = Bundle::from_yaml("shop", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n").unwrap();
/// let diff = Diff::between(old.objects(), &[]);
/// assert!(!diff.is_empty() && diff.objects[0].0 == "Pod/a");
/// assert!(diff.render(false).starts_with("- Pod/a\n"));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Diff {
    /// Objects that are different, with their titles such as `Deployment/web`.
    pub objects: Vec<(String, Difference)>,
}

impl Diff {
    /// What leads from some objects to others; they are told apart by group, kind, namespace and name.
    #[must_use]
    pub fn between(old: &[Object], new: &[Object]) -> Self {
        let mut objects = Vec::new();
        for after in new {
            match old.iter().find(|before| identity(before) == identity(after)) {
                None => objects.push((title(after), Difference::Added(after.clone()))),
                Some(before) => {
                    let changes = changes(before, after);
                    if !changes.is_empty() {
                        objects.push((title(after), Difference::Changed(changes)));
                    }
                }
            }
        }
        let gone = old.iter().filter(|before| !new.iter().any(|after| identity(before) == identity(after)));
        objects.extend(gone.map(|before| (title(before), Difference::Removed(before.clone()))));
        Self { objects }
    }

    /// Whether nothing is different.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// A line a field, with colours on request; ends with a line break unless it is empty.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let mut out = Lines { text: String::new(), colour };
        for (title, difference) in &self.objects {
            match difference {
                Difference::Added(object) => {
                    out.line('+', title);
                    out.block('+', &hidden(object));
                }
                Difference::Removed(object) => {
                    out.line('-', title);
                    out.block('-', &hidden(object));
                }
                Difference::Changed(changes) => {
                    out.line('~', title);
                    changes.iter().for_each(|change| out.change(change));
                }
            }
        }
        out.text
    }
}

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

fn identity(object: &Object) -> (&str, &str, &str, &str) {
    let group = object.api_version().rsplit_once('/').map_or("", |(group, _)| group);
    (group, object.kind(), object.namespace(), object.name())
}

fn title(object: &Object) -> String {
    match object.namespace() {
        "" => format!("{}/{}", object.kind(), object.name()),
        namespace => format!("{}/{} in {namespace}", object.kind(), object.name()),
    }
}

/// Every field that is different between two objects of one kind. Values of secrets are hidden.
///
/// ```
/// use kprov::Bundle;
/// use kprov::diff::changes;
///
/// let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - {name: b, image: c}\n";
/// let old = Bundle::from_yaml("b", text).unwrap();
/// let new = Bundle::from_yaml("b", &text.replace("image: c", "image: d")).unwrap();
/// assert_eq!(changes(&old.objects()[0], &new.objects()[0])[0].path, "spec.containers[name=b].image");
/// ```
#[must_use]
pub fn changes(old: &Object, new: &Object) -> Vec<Change> {
    let (group, version) = new.api_version().rsplit_once('/').unwrap_or(("", new.api_version()));
    let root = match schema().structure(group, version, new.kind()) {
        Some(structure) => Node { ownership: Ownership::Granular, ..Node::of(Shape::Struct(structure)) },
        None => Node::of(Shape::Any),
    };
    let mut found = Vec::new();
    let whole = |object: &Object| Value::from(object.clone());
    compare(&root, Some(&whole(old)), Some(&whole(new)), "", &mut found);
    if is_secret(new) {
        found.iter_mut().for_each(hide);
    }
    found
}

fn is_secret(object: &Object) -> bool {
    object.kind() == "Secret" && object.api_version() == "v1"
}

fn hide(change: &mut Change) {
    if ["data", "stringData"].iter().any(|field| change.path == *field || change.path.starts_with(&format!("{field}.")))
    {
        for value in [&mut change.old, &mut change.new].into_iter().flatten() {
            hide_values(value);
        }
    }
}

fn hide_values(value: &mut Value) {
    match value {
        Value::Object(map) => map.values_mut().for_each(hide_values),
        other => *other = Value::from(HIDDEN),
    }
}

/// An object with the values of a secret hidden.
fn hidden(object: &Object) -> Value {
    let mut value = Value::from(object.clone());
    if is_secret(object) {
        for field in ["data", "stringData"] {
            if let Some(inside) = value.get_mut(field) {
                hide_values(inside);
            }
        }
    }
    value
}

fn compare(node: &Node, old: Option<&Value>, new: Option<&Value>, path: &str, found: &mut Vec<Change>) {
    let present = |value: Option<&Value>| value.filter(|value| !value.is_null()).cloned();
    match (old, new) {
        (old, new) if old == new => {}
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            for key in keys {
                let inner = child(node, key);
                compare(&inner, before.get(key), after.get(key), &join(path, key), found);
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) => lists(node, before, after, path, found),
        (old, new) => {
            let (old, new) = (present(old), present(new));
            if old != new {
                found.push(Change { path: path.to_owned(), old, new });
            }
        }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn child(node: &Node, key: &str) -> Node {
    match &node.shape {
        Shape::Struct(inner) => inner.field(key).map_or_else(|| Node::of(Shape::Any), |field| field.node.clone()),
        Shape::Map(item) => (**item).clone(),
        _ => Node::of(Shape::Any),
    }
}

fn lists(node: &Node, before: &[Value], after: &[Value], path: &str, found: &mut Vec<Change>) {
    let item = match &node.shape {
        Shape::List(item) => (**item).clone(),
        _ => Node::of(Shape::Any),
    };
    let keys: Vec<&str> = match node.ownership() {
        Ownership::Keyed(keys) => keys.iter().map(AsRef::as_ref).collect(),
        _ => Vec::new(),
    };
    let name = |value: &Value| -> Option<String> {
        let parts: Vec<String> =
            keys.iter().filter(|key| !value[**key].is_null()).map(|key| pair(key, &value[*key])).collect();
        (!parts.is_empty()).then(|| parts.join(","))
    };
    let names = |items: &[Value]| items.iter().map(name).collect::<Option<Vec<String>>>();
    match (names(before), names(after)) {
        (Some(olds), Some(news)) if !keys.is_empty() && distinct(&olds) && distinct(&news) => {
            for (old, name) in before.iter().zip(&olds) {
                let new = news.iter().position(|other| other == name).map(|at| &after[at]);
                compare(&item, Some(old), new, &format!("{path}[{name}]"), found);
            }
            for (new, name) in after.iter().zip(&news).filter(|(_, name)| !olds.contains(name)) {
                compare(&item, None, Some(new), &format!("{path}[{name}]"), found);
            }
        }
        _ if before.len() == after.len() => {
            for (index, (old, new)) in before.iter().zip(after).enumerate() {
                compare(&item, Some(old), Some(new), &format!("{path}[{index}]"), found);
            }
        }
        _ => found.push(Change {
            path: path.to_owned(),
            old: Some(Value::from(before.to_vec())),
            new: Some(Value::from(after.to_vec())),
        }),
    }
}

fn pair(key: &str, value: &Value) -> String {
    match value {
        Value::String(text) => format!("{key}={text}"),
        other => format!("{key}={other}"),
    }
}

fn distinct(names: &[String]) -> bool {
    names.iter().collect::<BTreeSet<_>>().len() == names.len()
}

struct Lines {
    text: String,
    colour: bool,
}

impl Lines {
    fn line(&mut self, sign: char, words: &str) {
        let (on, off) = match (self.colour, sign) {
            (false, _) => ("", ""),
            (true, '+') => ("\x1b[32m", "\x1b[0m"),
            (true, '-') => ("\x1b[31m", "\x1b[0m"),
            (true, _) => ("\x1b[33m", "\x1b[0m"),
        };
        self.text += &format!("{on}{sign} {words}{off}\n");
    }

    fn block(&mut self, sign: char, value: &Value) {
        let text = yaml::to_string(value).unwrap_or_else(|_| value.to_string());
        text.lines().for_each(|line| self.line(sign, &format!("    {line}")));
    }

    fn change(&mut self, change: &Change) {
        let path = &change.path;
        match (&change.old, &change.new) {
            (Some(old), Some(new)) if is_short(old) && is_short(new) => {
                self.line('~', &format!("  {path}: {} -> {}", short(old), short(new)));
            }
            (old, new) => {
                for (sign, value) in [('-', old), ('+', new)] {
                    match value {
                        Some(value) if is_short(value) => self.line(sign, &format!("  {path}: {}", short(value))),
                        Some(value) => {
                            self.line(sign, &format!("  {path}:"));
                            self.block(sign, value);
                        }
                        None => {}
                    }
                }
            }
        }
    }
}

fn is_short(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.contains('\n') && text.chars().count() <= 120,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => true,
    }
}

fn short(value: &Value) -> String {
    yaml::to_string(value).unwrap_or_else(|_| value.to_string()).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::Bundle;

    fn check(old: &str, new: &str, want: Expect) {
        let read = |text| Bundle::from_yaml("b", text).unwrap().objects().to_vec();
        want.assert_eq(&Diff::between(&read(old), &read(new)).to_string());
    }

    #[test]
    fn fields_and_items_are_told_by_name() {
        let old = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 1\n  template:\n    \
                   spec:\n      containers:\n      - {name: a, image: x, args: [q]}\n      - {name: b, image: w}\n";
        let new = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, labels: {t: u}}\nspec:\n  replicas: 2\n  \
                   template:\n    spec:\n      containers:\n      - {name: c, image: z}\n      - {name: a, image: x2, args: [q, r]}\n";
        check(
            old,
            new,
            expect![[r#"
                ~ Deployment/web
                +   metadata.labels:
                +     t: u
                ~   spec.replicas: 1 -> 2
                -   spec.template.spec.containers[name=a].args:
                -     - q
                +   spec.template.spec.containers[name=a].args:
                +     - q
                +     - r
                ~   spec.template.spec.containers[name=a].image: x -> x2
                -   spec.template.spec.containers[name=b]:
                -     image: w
                -     name: b
                +   spec.template.spec.containers[name=c]:
                +     image: z
                +     name: c
            "#]],
        );
        check(old, old, expect![""]);
    }

    #[test]
    fn values_of_secrets_are_hidden() {
        let secret =
            |value: &str| format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\nstringData: {{p: {value}}}\n");
        check(
            &secret("one"),
            &secret("two"),
            expect![[r#"
                ~ Secret/s
                ~   stringData.p: (hidden) -> (hidden)
            "#]],
        );
        check(
            "",
            &secret("one"),
            expect![[r#"
                + Secret/s
                +     apiVersion: v1
                +     kind: Secret
                +     metadata:
                +       name: s
                +     stringData:
                +       p: (hidden)
            "#]],
        );
    }
}
