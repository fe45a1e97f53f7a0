//! YAML as kubectl reads it, with the place of everything that was read.
//!
//! Plain scalars mean what YAML 1.1 says and kubectl takes them for: `0644` is octal, `yes` is true, `08` is 8. Equal keys
//! are errors. What is written is read back as the same values, by readers of YAML 1.1 and of 1.2.
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct YamlError {
    /// What is wrong, in one line.
    pub message: String,
    /// Where; `None` when it is about no place of the text.
    pub span: Option<Span>,
    /// The lines around, as [`excerpt`] draws them; empty without a place.
    pub excerpt: String,
}

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
#[must_use]
pub fn nodes(text: &str) -> Vec<Result<Node, YamlError>> {
    load::all(text, EqualKeys::Refuse)
}

/// Reads every document of a text; empty ones are left out.
///
/// Errors: the first mistake, with line and column.
pub fn documents(text: &str) -> Result<Vec<Value>, YamlError> {
    nodes(text).into_iter().map(|node| node.map(|node| node.to_value())).collect()
}

/// Reads the only document of a text as JSON; a text without any is null.
///
/// Errors: what is wrong, with line and column; more than one document.
pub fn value(text: &str, equal_keys: EqualKeys) -> Result<Value, YamlError> {
    Ok(load::one(text, equal_keys)?.map_or(Value::Null, |node| node.to_value()))
}

/// Reads the only document of a text.
///
/// A field that wants a text takes a plain scalar as it is written: `account: 012345678901` keeps its digits.
///
/// Errors: what is wrong, with line and column. Example: `kprov_schema::yaml::from_str::<i32>("0644")` is 420.
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, YamlError> {
    de::read(load::one(text, EqualKeys::Refuse)?.as_ref(), text)
}

/// Writes one document, without a leading `---`.
///
/// Long texts are never folded; texts that a reader might take for something else are quoted.
///
/// Errors: what does not serialize as JSON.
pub fn to_string<T: Serialize>(value: &T) -> Result<String, YamlError> {
    let value = serde_json::to_value(value).map_err(|error| YamlError::new(error.to_string()))?;
    Ok(write::document(&value))
}

#[cfg(test)]
mod tests;
