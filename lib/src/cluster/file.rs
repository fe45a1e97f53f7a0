//! The cluster file: read with its mistakes named, filled with its defaults, written with all of it in sight.

use std::sync::Arc;

use kprov_schema::yaml::{self, Content, Entry, Meaning, Node, Span};
use serde_json::{Map, Value};

use super::fields::{FILE, Field, Need, Of, Sort, default};
use super::types::{Cluster, File};
use crate::problem::{Problem, Source};
use crate::similar;

impl Cluster {
    /// Reads a cluster file. `name` is what problems call it.
    ///
    /// What is left out is filled with its default; [`Cluster::to_yaml`] shows all of it.
    ///
    /// Errors: all mistakes, each with file, line, path and what was probably meant.
    ///
    /// ```
    /// use kprov::cluster::Cluster;
    ///
    /// let text = "apiVersion: kprov.dev/v1\nkind: Cluster\nname: dev\nnodez: 2\n";
    /// let problems = Cluster::from_yaml("dev.yaml", text).unwrap_err();
    /// assert_eq!(problems[0].to_string(), "dev.yaml:4:1: unknown field \"nodez\"; did you mean `nodes`?");
    /// ```
    pub fn from_yaml(name: impl Into<String>, text: &str) -> Result<Self, Vec<Problem>> {
        let source = Arc::new(Source { name: name.into(), text: text.to_owned() });
        let node = only_document(&source)?;
        let mut reader = Reader { source: &source, problems: Vec::new() };
        let filled = reader.map(FILE, &node, "", wanted_provider(&node));
        if !reader.problems.is_empty() {
            return Err(reader.problems);
        }
        let file: File = serde_json::from_value(filled)
            .map_err(|error| vec![Problem::error(error.to_string()).at(&source, node.span)])?;
        let mistakes = file.mistakes();
        if !mistakes.is_empty() {
            let told = mistakes.into_iter().map(|(path, message)| at_path(&source, &node, &path, message));
            return Err(told.collect());
        }
        file.into_cluster().map_err(|error| vec![Problem::error(error.to_string()).at(&source, node.span)])
    }

    /// The cluster as a file with every field that its provider uses, defaults included.
    ///
    /// ```
    /// let dev = kprov::cluster::Cluster::Local(kprov::cluster::Cluster::local("dev").nodes(2));
    /// assert!(dev.to_yaml().contains("nodes: 2\n"));
    /// ```
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let value = serde_json::to_value(File::from(self.clone())).expect("a cluster serializes");
        let Value::Object(map) = value else { return String::new() };
        let used = |name: &String| {
            FILE.iter().any(|field| field.name == name && (field.of == Of::All || field.of == self.of()))
        };
        let shown: Map<String, Value> =
            map.into_iter().filter(|(name, value)| used(name) && !value.is_null()).collect();
        yaml::to_string(&shown).expect("JSON is written as YAML")
    }
}

fn at_path(source: &Arc<Source>, node: &Node, path: &str, message: String) -> Problem {
    let mut problem = Problem::error(message).at(source, node.find(path).at);
    path.clone_into(&mut problem.path);
    problem
}

fn only_document(source: &Arc<Source>) -> Result<Node, Vec<Problem>> {
    let mut found = Vec::new();
    for read in yaml::nodes(&source.text) {
        match read {
            Ok(node) => found.push(node),
            Err(error) => {
                let problem = Problem::error(format!("not YAML: {}", error.message));
                return Err(vec![match error.span {
                    Some(span) => problem.at(source, span),
                    None => problem,
                }]);
            }
        }
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(vec![
            Problem::error(format!("{} is empty", source.name))
                .hint("`kprov schema --example local` prints a file to begin with"),
        ]),
        _ => Err(vec![Problem::error("a cluster file describes one cluster").at(source, found[1].span)]),
    }
}

/// The provider that the file names, as far as it can be told before the file is checked.
fn wanted_provider(node: &Node) -> Of {
    if node.get("provider").and_then(Node::text) == Some("eks") { Of::Eks } else { Of::Local }
}

struct Reader<'a> {
    source: &'a Arc<Source>,
    problems: Vec<Problem>,
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

impl Reader<'_> {
    fn tell(&mut self, path: &str, span: Span, message: String, hint: Option<String>) {
        let mut problem = Problem::error(message).at(self.source, span);
        path.clone_into(&mut problem.path);
        self.problems.push(match hint {
            Some(hint) => problem.hint(hint),
            None => problem,
        });
    }

    /// A map with its defaults filled in.
    fn map(&mut self, fields: &'static [Field], node: &Node, path: &str, provider: Of) -> Value {
        let Content::Map(entries) = &node.content else {
            if !node.is_null() {
                self.misfit(path, node, "a map");
                return Value::Null;
            }
            return self.absent(fields, &[], path, node.span, provider);
        };
        entries.iter().filter(|entry| !fields.iter().any(|field| field.name == entry.key)).for_each(|entry| {
            self.unknown(fields, entry, path);
        });
        self.absent(fields, entries, path, node.span, provider)
    }

    /// The fields of a map: those that are there, read, and defaults for those that are not.
    fn absent(&mut self, fields: &'static [Field], entries: &[Entry], path: &str, at: Span, provider: Of) -> Value {
        let mut filled = Map::new();
        for field in fields {
            let path = join(path, field.name);
            let given = entries.iter().find(|entry| entry.key == field.name && !entry.value.is_null());
            let value = match (given, &field.need) {
                (Some(entry), _) => Some(self.value(&field.sort, &entry.value, &path, provider)),
                (None, Need::Required) if field.of == Of::All || field.of == provider => {
                    self.tell(&path, at, format!("{path} is missing"), Some(field.doc.to_owned()));
                    None
                }
                (None, _) => default(field),
            };
            filled.extend(value.map(|value| (field.name.to_owned(), value)));
        }
        Value::Object(filled)
    }

    fn value(&mut self, sort: &'static Sort, node: &Node, path: &str, provider: Of) -> Value {
        match (sort, &node.content) {
            (Sort::Map(fields), _) => self.map(fields, node, path, provider),
            (Sort::List(item), Content::List(items)) => {
                let all = items.iter().enumerate();
                all.map(|(index, one)| self.value(item, one, &format!("{path}[{index}]"), provider)).collect()
            }
            (Sort::Texts, Content::Map(entries)) => {
                let pairs = entries
                    .iter()
                    .map(|entry| (entry.key.clone(), Value::from(entry.value.text().unwrap_or_default())));
                Value::Object(pairs.collect())
            }
            // A plain scalar keeps its digits: 012345678901 is an account, and 1.30 a version.
            (Sort::Text(form), Content::Scalar { text, .. }) => {
                if !regex::Regex::new(form.pattern).is_ok_and(|pattern| pattern.is_match(text)) {
                    self.tell(path, node.span, format!("{path} is {text:?}: it must be {}", form.words), None);
                }
                Value::from(text.as_str())
            }
            (Sort::OneOf(words), Content::Scalar { text, .. }) => {
                if !words.contains(&text.as_str()) {
                    let near = similar::nearest(text, words.iter().copied());
                    let hint = near.map(|near| format!("did you mean `{near}`?"));
                    self.tell(path, node.span, format!("{path} is {text:?}: it must be {}", words.join(" or ")), hint);
                }
                Value::from(text.as_str())
            }
            (Sort::Number(low, high), Content::Scalar { meaning: Meaning::Number(number), text }) => {
                let fits = number.as_u64().is_some_and(|number| (u64::from(*low)..=u64::from(*high)).contains(&number));
                if !fits {
                    self.tell(path, node.span, format!("{path} is {text}: it must be from {low} to {high}"), None);
                }
                Value::Number(number.clone())
            }
            (Sort::Truth, Content::Scalar { meaning: Meaning::Bool(truth), .. }) => Value::Bool(*truth),
            (sort, _) => {
                self.misfit(path, node, expected(sort));
                Value::Null
            }
        }
    }

    fn misfit(&mut self, path: &str, node: &Node, want: &str) {
        let found = match &node.content {
            Content::Scalar { text, .. } => format!("{text:?}"),
            Content::List(_) => "a list".to_owned(),
            Content::Map(_) => "a map".to_owned(),
        };
        let path_shown = if path.is_empty() { "the file" } else { path };
        self.tell(path, node.span, format!("{path_shown} must be {want}, found {found}"), None);
    }

    fn unknown(&mut self, fields: &'static [Field], entry: &Entry, path: &str) {
        let whole = join(path, &entry.key);
        let near = similar::nearest(&entry.key, fields.iter().map(|field| field.name));
        let hint = match (near, place(FILE, &entry.key, "")) {
            (Some(near), _) => format!("did you mean `{near}`?"),
            (None, Some(place)) => format!("its place is `{place}`"),
            (None, None) => {
                let names: Vec<&str> = fields.iter().map(|field| field.name).collect();
                format!("fields here are: {}", names.join(", "))
            }
        };
        self.tell(&whole, entry.at, format!("unknown field {whole:?}"), Some(hint));
    }
}

/// Where a field of that name has its place.
fn place(fields: &'static [Field], name: &str, path: &str) -> Option<String> {
    if let Some(field) = fields.iter().find(|field| field.name == name) {
        return Some(join(path, field.name));
    }
    fields.iter().find_map(|field| match &field.sort {
        Sort::Map(inner) => place(inner, name, &join(path, field.name)),
        Sort::List(Sort::Map(inner)) => place(inner, name, &format!("{}[]", join(path, field.name))),
        _ => None,
    })
}

fn expected(sort: &Sort) -> &'static str {
    match sort {
        Sort::Text(form) => form.words,
        Sort::Number(..) => "a whole number",
        Sort::Truth => "true or false",
        Sort::OneOf(_) => "a word",
        Sort::Map(_) | Sort::Texts => "a map",
        Sort::List(_) => "a list: begin each item with `- `",
    }
}

/// A file to begin with: every field that a provider uses, with what it means and its default.
///
/// Example: `kprov::cluster::example("local")` for this machine, `"eks"` for Amazon EKS; `None` for other names.
///
/// ```
/// use kprov::cluster::{Cluster, example};
///
/// let text = example("local").expect("a provider");
/// assert!(Cluster::from_yaml("kprov.yaml", &text).is_ok());
/// ```
#[must_use]
pub fn example(provider: &str) -> Option<String> {
    let of = match provider {
        "local" => Of::Local,
        "eks" => Of::Eks,
        _ => return None,
    };
    let mut out = String::new();
    lines(FILE, of, provider, "", &mut out);
    Some(out)
}

fn lines(fields: &'static [Field], of: Of, provider: &str, indent: &str, out: &mut String) {
    for field in fields.iter().filter(|field| field.of == Of::All || field.of == of) {
        *out += &format!("{indent}# {}\n", field.doc);
        let name = field.name;
        match (&field.sort, default(field)) {
            (Sort::Map(inner), _) => {
                *out += &format!("{indent}{name}:\n");
                lines(inner, of, provider, &format!("{indent}  "), out);
            }
            (Sort::List(Sort::Map(inner)), default) if default.is_none() => {
                let mut item = String::new();
                lines(inner, of, provider, &format!("{indent}  "), &mut item);
                let (first, rest) = item.split_once(&format!("{indent}  name: ")).unwrap_or((&item, ""));
                let _ = first;
                *out += &format!("{indent}{name}:\n{indent}- name: {rest}");
            }
            (_, Some(_)) if name == "provider" => *out += &format!("{indent}{name}: {provider}\n"),
            (_, Some(default)) => {
                let mut map = Map::new();
                map.insert(name.to_owned(), default);
                let text = yaml::to_string(&map).unwrap_or_default();
                text.lines().for_each(|line| *out += &format!("{indent}{line}\n"));
            }
            (Sort::OneOf(words), None) => *out += &format!("{indent}{name}: {}\n", words[0]),
            (Sort::Text(_), None) if matches!(field.need, Need::Required) => {
                let value = if name == "region" { "eu-central-1" } else { "dev" };
                *out += &format!("{indent}{name}: {value}\n");
            }
            _ => *out += &format!("{indent}# {name}:\n"),
        }
    }
}
