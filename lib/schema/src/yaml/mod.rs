//! YAML as kubectl reads it, with the place of everything that was read.
//!
//! Plain scalars mean what YAML 1.1 says and kubectl takes them for: `0644` is octal, `yes` is true, `08` is 8. Equal keys
//! are errors. What is written is read back as the same values, by readers of YAML 1.1 and of 1.2.
//!
//! ```
//! let read = kprov_schema::yaml::documents("mode: 0644\non: yes\n")?;
//! assert_eq!(read[0], serde_json::json!({"mode": 420, "true": true}));
//! # Ok::<(), kprov_schema::yaml::YamlError>(())
//! ```
//!
//! Source: the behaviour of kubectl 1.32, compared value by value; `scalar` says what plain scalars mean.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

mod de;
mod excerpt;
mod json;
mod load;
mod node;
mod scalar;
mod write;

pub use excerpt::excerpt;
pub use node::{Content, Entry, Found, Meaning, Node, Place, Span};

/// What is wrong with a text, and where.
///
/// ```
/// let error = kprov_schema::yaml::documents("a: 1\na: 2\n").unwrap_err();
/// assert_eq!(error.span.unwrap().start.line, 2);
/// assert!(error.in_one_line().starts_with("line 2, column 1: "));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct YamlError {
    /// What is wrong, in one line.
    pub message: String,
    /// Where; `None` when it is about no place of the text.
    pub span: Option<Span>,
    /// The lines around, as [`excerpt`] draws them; empty without a place.
    pub excerpt: String,
}

/// By hand, for mistakes that are found after the reading.
///
/// ```
/// use kprov_schema::yaml::{YamlError, nodes};
///
/// let text = "size: big\n";
/// let span = nodes(text)[0].as_ref().unwrap().find("size").at;
/// assert_eq!(YamlError::at(text, span, "no number").in_one_line(), "line 1, column 1: no number");
/// assert_eq!(YamlError::new("no documents").to_string(), "no documents");
/// ```
impl YamlError {
    /// An error about no place.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), span: None, excerpt: String::new() }
    }

    /// An error about a place of `text`.
    pub fn at(text: &str, span: Span, message: impl Into<String>) -> Self {
        Self { message: message.into(), span: Some(span), excerpt: excerpt(text, span) }
    }

    /// The message with its line and column, without the lines around.
    #[must_use]
    pub fn in_one_line(&self) -> String {
        match self.span {
            Some(span) => format!("{}: {}", span.start, self.message),
            None => self.message.clone(),
        }
    }
}

impl fmt::Display for YamlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.in_one_line())?;
        if self.excerpt.is_empty() { Ok(()) } else { write!(f, "\n{}", self.excerpt) }
    }
}

impl std::error::Error for YamlError {}

/// What is done about a key that stands twice in a map.
///
/// ```
/// use kprov_schema::yaml::{EqualKeys, value};
///
/// assert!(value("a: 1\na: 2\n", EqualKeys::Refuse).is_err());
/// assert_eq!(value("a: 1\na: 2\n", EqualKeys::LastCounts).unwrap()["a"], 2);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EqualKeys {
    /// It is an error.
    #[default]
    Refuse,
    /// The last one counts.
    LastCounts,
}

/// Reads every document of a text of YAML or JSON; empty documents are left out.
///
/// Documents are split where kubectl splits them, so that a mistake in one does not hide those after it: each is a result.
///
/// Example: `kprov_schema::yaml::nodes("a: 1\n---\nb: 2\n").len()` is 2.
///
/// ```
/// let read = kprov_schema::yaml::nodes("a: 1\n---\nb: [\n---\nc: 2\n");
/// assert!(read.len() == 3 && read[1].is_err() && read[2].is_ok());
/// ```
#[must_use]
pub fn nodes(text: &str) -> Vec<Result<Node, YamlError>> {
    load::all(text, EqualKeys::Refuse)
}

/// Reads every document of a text; empty ones are left out.
///
/// Errors: the first mistake, with line and column.
///
/// ```
/// let read = kprov_schema::yaml::documents("mode: 0644\n---\non: yes\n")?;
/// assert_eq!(read[0]["mode"], 420);
/// # Ok::<(), kprov_schema::yaml::YamlError>(())
/// ```
pub fn documents(text: &str) -> Result<Vec<Value>, YamlError> {
    nodes(text).into_iter().map(|node| node.map(|node| node.to_value())).collect()
}

/// Reads the only document of a text as JSON; a text without any is null.
///
/// Errors: what is wrong, with line and column; more than one document.
///
/// ```
/// use kprov_schema::yaml::{EqualKeys, value};
///
/// assert_eq!(value("port: 8080\n", EqualKeys::Refuse)?["port"], 8080);
/// # Ok::<(), kprov_schema::yaml::YamlError>(())
/// ```
pub fn value(text: &str, equal_keys: EqualKeys) -> Result<Value, YamlError> {
    Ok(load::one(text, equal_keys)?.map_or(Value::Null, |node| node.to_value()))
}

/// Reads the only document of a text.
///
/// A field that wants a text takes a plain scalar as it is written: `account: 012345678901` keeps its digits.
///
/// Errors: what is wrong, with line and column. Example: `kprov_schema::yaml::from_str::<i32>("0644")` is 420.
///
/// ```
/// use std::collections::BTreeMap;
///
/// let read: BTreeMap<String, String> = kprov_schema::yaml::from_str("account: 012345678901\n")?;
/// assert_eq!(read["account"], "012345678901");
/// # Ok::<(), kprov_schema::yaml::YamlError>(())
/// ```
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, YamlError> {
    de::read(load::one(text, EqualKeys::Refuse)?.as_ref(), text)
}

/// Writes one document, without a leading `---`.
///
/// Long texts are never folded; texts that a reader might take for something else are quoted.
///
/// Errors: what does not serialize as JSON.
///
/// ```
/// let text = kprov_schema::yaml::to_string(&[("answer", "yes")])?;
/// assert!(text.contains("\"yes\"") || text.contains("'yes'"), "kubectl would read yes as true: {text}");
/// # Ok::<(), kprov_schema::yaml::YamlError>(())
/// ```
pub fn to_string<T: Serialize>(value: &T) -> Result<String, YamlError> {
    let value = serde_json::to_value(value).map_err(|error| YamlError::new(error.to_string()))?;
    Ok(write::document(&value))
}

#[cfg(test)]
mod tests;
