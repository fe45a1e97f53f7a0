//! What was read, with the place of every value and key.

use std::fmt;

use serde_json::{Map, Number, Value};

/// A place in a text: line and column, both from 1; a column is a character.
///
/// ```
/// use kprov_schema::yaml::Place;
///
/// assert_eq!(Place { line: 2, column: 3 }.to_string(), "line 2, column 3");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// A piece of a text; its end is the place after it.
///
/// ```
/// let node = kprov_schema::yaml::nodes("kind: Pod\n").remove(0)?;
/// let span = node.get("kind").unwrap().span;
/// assert_eq!((span.start.column, span.end.column), (7, 10));
/// # Ok::<(), kprov_schema::yaml::YamlError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// Where it begins.
    pub start: Place,
    /// The place after it.
    pub end: Place,
}

/// A value with its place.
///
/// ```
/// let node = kprov_schema::yaml::nodes("kind: List\nitems: [a, b]\nrest:\n").remove(0)?;
/// assert_eq!(node.get("kind").and_then(|kind| kind.text()), Some("List"));
/// assert_eq!(node.get("items").unwrap().items().len(), 2);
/// assert!(node.entry("rest").unwrap().value.is_null() && node.entries().len() == 3);
/// assert_eq!(node.to_value()["items"][1], "b");
/// # Ok::<(), kprov_schema::yaml::YamlError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where the value stands.
    pub span: Span,
    /// What it is.
    pub content: Content,
}

/// What a value is.
///
/// ```
/// use kprov_schema::yaml::{Content, nodes};
///
/// let node = nodes("[1, 2]\n").remove(0)?;
/// assert!(matches!(&node.content, Content::List(items) if items.len() == 2));
/// # Ok::<(), kprov_schema::yaml::YamlError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A text, number, truth or null.
    Scalar {
        /// As it is written, without quotes.
        text: String,
        /// What it means.
        meaning: Meaning,
    },
    /// A list.
    List(Vec<Node>),
    /// A map, in the order of the text.
    Map(Vec<Entry>),
}

/// What a scalar means.
///
/// ```
/// use kprov_schema::yaml::{Content, Meaning, nodes};
///
/// let node = nodes("yes\n").remove(0)?;
/// assert!(matches!(&node.content, Content::Scalar { text, meaning: Meaning::Bool(true) } if text == "yes"));
/// # Ok::<(), kprov_schema::yaml::YamlError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Meaning {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A number.
    Number(Number),
    /// The text itself.
    Text,
}

/// A key of a map with its value.
///
/// ```
/// let node = kprov_schema::yaml::nodes("a: 1\nb: 2\n").remove(0)?;
/// let entry = &node.entries()[1];
/// assert_eq!((entry.key.as_str(), entry.at.start.line), ("b", 2));
/// # Ok::<(), kprov_schema::yaml::YamlError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key, as JSON would have it.
    pub key: String,
    /// Where the key stands.
    pub at: Span,
    /// Its value.
    pub value: Node,
}

/// How far a path could be followed.
///
/// ```
/// let node = kprov_schema::yaml::nodes("spec: {replicas: 2}\n").remove(0)?;
/// let found = node.find("spec.paused");
/// assert!(!found.whole && found.at.start.line == 1);
/// # Ok::<(), kprov_schema::yaml::YamlError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// The deepest value on the path.
    pub node: &'a Node,
    /// The place of its key, or of itself when it has none.
    pub at: Span,
    /// Whether the path ends there; if not, the rest of it is missing.
    pub whole: bool,
}

impl Node {
    /// The value as JSON.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match &self.content {
            Content::Scalar { meaning: Meaning::Null, .. } => Value::Null,
            Content::Scalar { meaning: Meaning::Bool(truth), .. } => Value::Bool(*truth),
            Content::Scalar { meaning: Meaning::Number(number), .. } => Value::Number(number.clone()),
            Content::Scalar { text, meaning: Meaning::Text } => Value::String(text.clone()),
            Content::List(items) => items.iter().map(Self::to_value).collect(),
            Content::Map(entries) => {
                let pairs = entries.iter().map(|entry| (entry.key.clone(), entry.value.to_value()));
                Value::Object(pairs.collect::<Map<_, _>>())
            }
        }
    }

    /// An entry of a map.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The value of a key of a map.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The entries of a map; none for everything else.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        match &self.content {
            Content::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a list; none for everything else.
    #[must_use]
    pub fn items(&self) -> &[Self] {
        match &self.content {
            Content::List(items) => items,
            _ => &[],
        }
    }

    /// The text of a scalar as it is written, whatever it means.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Whether it is null, or nothing at all.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self.content, Content::Scalar { meaning: Meaning::Null, .. })
    }

    /// Follows a path as error messages write it, such as `spec.containers[0].image` or `data[a.b]`, as far as it leads.
    ///
    /// Keys may hold dots: the longest key that fits is taken.
    ///
    /// ```
    /// let node = kprov_schema::yaml::nodes("spec:\n  containers:\n  - image: a\n").remove(0)?;
    /// assert_eq!(node.find("spec.containers[0].image").at.start.line, 3);
    /// # Ok::<(), kprov_schema::yaml::YamlError>(())
    /// ```
    #[must_use]
    pub fn find(&self, path: &str) -> Found<'_> {
        let (mut node, mut at, mut rest) = (self, self.span, path);
        while !rest.is_empty() {
            let Some((inner, place, left)) = node.step(rest) else { return Found { node, at, whole: false } };
            (node, at, rest) = (inner, place, left);
        }
        Found { node, at, whole: true }
    }

    fn step<'a, 'p>(&'a self, path: &'p str) -> Option<(&'a Self, Span, &'p str)> {
        if let Some(inside) = path.strip_prefix('[') {
            if let Content::List(items) = &self.content {
                let (index, rest) = inside.split_once(']')?;
                let item = items.get(index.parse::<usize>().ok()?)?;
                return Some((item, item.span, rest));
            }
            return self.longest(inside, |rest| rest.strip_prefix(']'));
        }
        let path = path.strip_prefix('.').unwrap_or(path);
        self.longest(path, |rest| (rest.is_empty() || rest.starts_with(['.', '['])).then_some(rest))
    }

    /// The entry with the longest key that `path` begins with and after which the path goes on well.
    fn longest<'a, 'p>(
        &'a self,
        path: &'p str,
        goes_on: impl Fn(&'p str) -> Option<&'p str>,
    ) -> Option<(&'a Self, Span, &'p str)> {
        let fitting = self.entries().iter().filter_map(|entry| {
            let rest = path.strip_prefix(entry.key.as_str()).and_then(&goes_on)?;
            Some((entry, rest))
        });
        let (entry, rest) = fitting.max_by_key(|(entry, _)| entry.key.len())?;
        Some((&entry.value, entry.at, rest))
    }
}
