//! JSON with places. YAML would read most of it, but not its escapes.

use serde_json::Number;

use super::load::Entries;
use super::{Content, Entry, EqualKeys, Meaning, Node, Place, Span, YamlError};

const DEEPEST: usize = 200;

/// Why a text could not be read.
pub(super) enum Error {
    /// It is no JSON.
    Syntax,
    /// It is, and something is wrong with it.
    Told(YamlError),
}

/// Whether a text begins as JSON objects do.
pub(super) fn begins(text: &str) -> bool {
    text.trim_start().starts_with('{')
}

/// Every value of a text, one after the other.
pub(super) fn all(text: &str, equal_keys: EqualKeys) -> Result<Vec<Node>, Error> {
    let mut reader = Reader { text, at: 0, place: Place { line: 1, column: 1 }, equal_keys };
    let mut found = Vec::new();
    loop {
        reader.blanks();
        if reader.rest().is_empty() {
            return Ok(found);
        }
        found.push(reader.value(0)?);
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    place: Place,
    equal_keys: EqualKeys,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip(&mut self, bytes: usize) -> &'a str {
        let passed = &self.rest()[..bytes];
        for c in passed.chars() {
            if c == '\n' {
                self.place = Place { line: self.place.line + 1, column: 1 };
            } else {
                self.place.column += 1;
            }
        }
        self.at += bytes;
        passed
    }

    fn blanks(&mut self) {
        let rest = self.rest();
        self.skip(rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len());
    }

    fn take(&mut self, c: char) -> bool {
        self.blanks();
        let there = self.rest().starts_with(c);
        if there {
            self.skip(c.len_utf8());
        }
        there
    }

    fn expect(&mut self, c: char) -> Result<(), Error> {
        if self.take(c) { Ok(()) } else { Err(Error::Syntax) }
    }

    fn value(&mut self, depth: usize) -> Result<Node, Error> {
        self.blanks();
        let start = self.place;
        if depth > DEEPEST {
            let message = format!("more than {DEEPEST} maps and lists inside each other");
            return Err(Error::Told(YamlError::at(self.text, Span { start, end: start }, message)));
        }
        let content = match self.rest().bytes().next() {
            Some(b'{') => Content::Map(self.entries(depth)?),
            Some(b'[') => Content::List(self.items(depth)?),
            Some(b'"') => Content::Scalar { text: self.string()?, meaning: Meaning::Text },
            Some(_) => self.word()?,
            None => return Err(Error::Syntax),
        };
        Ok(Node { span: Span { start, end: self.place }, content })
    }

    fn entries(&mut self, depth: usize) -> Result<Vec<Entry>, Error> {
        self.expect('{')?;
        let mut entries = Entries::default();
        if self.take('}') {
            return Ok(entries.all);
        }
        loop {
            self.blanks();
            let start = self.place;
            let key = self.string()?;
            let at = Span { start, end: self.place };
            self.expect(':')?;
            let value = self.value(depth + 1)?;
            let shown = key.clone();
            if let Some(earlier) = entries.put(Entry { key, at, value }, self.equal_keys) {
                let message = format!("duplicate key {shown:?}: it stands on line {} already", earlier.start.line);
                return Err(Error::Told(YamlError::at(self.text, at, message)));
            }
            if self.take('}') {
                return Ok(entries.all);
            }
            self.expect(',')?;
        }
    }

    fn items(&mut self, depth: usize) -> Result<Vec<Node>, Error> {
        self.expect('[')?;
        let mut items = Vec::new();
        if self.take(']') {
            return Ok(items);
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.take(']') {
                return Ok(items);
            }
            self.expect(',')?;
        }
    }

    fn string(&mut self) -> Result<String, Error> {
        let rest = self.rest();
        let mut escaped = false;
        let end = rest.bytes().enumerate().skip(1).find(|(_, c)| {
            let ends = *c == b'"' && !escaped;
            escaped = *c == b'\\' && !escaped;
            ends
        });
        let (end, _) = end.filter(|_| rest.starts_with('"')).ok_or(Error::Syntax)?;
        serde_json::from_str(self.skip(end + 1)).map_err(|_| Error::Syntax)
    }

    /// A number, a truth or null.
    fn word(&mut self) -> Result<Content, Error> {
        let rest = self.rest();
        let length = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c))).unwrap_or(rest.len());
        let text = self.skip(length).to_owned();
        let meaning = match text.as_str() {
            "null" => Meaning::Null,
            "true" => Meaning::Bool(true),
            "false" => Meaning::Bool(false),
            number => Meaning::Number(serde_json::from_str::<Number>(number).map_err(|_| Error::Syntax)?),
        };
        Ok(Content::Scalar { text, meaning })
    }
}
