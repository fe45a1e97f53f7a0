//! Field selectors: their text form, what they match.

use crate::kind::Kind;
use crate::object::Object;
use crate::status::Status;

/// A field selector: every term must hold. The empty one matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    terms: Vec<Term>,
}

/// One condition on a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// Path of the field, such as `spec.nodeName`.
    pub field: String,
    /// The value that it must have, or must not have.
    pub value: String,
    /// Whether the value must be there.
    pub equal: bool,
}

impl Fields {
    /// Reads the text form, such as `status.phase!=Running,spec.nodeName=n`. Errors are upstream's texts.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = split(text);
        parts.sort_unstable();
        let mut terms = Vec::new();
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            let Some(at) = part.find('=') else {
                return Err(format!("invalid selector: '{text}'; can't understand '{part}'"));
            };
            let (field, equal) = match part[..at].strip_suffix('!') {
                Some(field) => (field, false),
                None => (&part[..at], true),
            };
            let value = &part[at + 1..];
            let value = if equal { value.strip_prefix('=').unwrap_or(value) } else { value };
            terms.push(Term { field: field.to_owned(), value: unescape(value)?, equal });
        }
        Ok(Self { terms })
    }

    /// Reads the text form and asks the kind whether it knows the fields.
    pub fn parse_for(kind: &Kind, text: &str) -> Result<Self, Status> {
        let bad = |why: String| Status::bad_request(why);
        let fields = Self::parse(text).map_err(bad)?;
        for term in &fields.terms {
            kind.knows_field(&term.field).map_err(bad)?;
        }
        Ok(fields)
    }

    /// Whether it matches everything.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }

    /// Its conditions.
    #[must_use]
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// The one value that a field must have, if the selector says so: a list can then look in one place only.
    #[must_use]
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.terms.iter().find(|term| term.equal && term.field == field).map(|term| term.value.as_str())
    }

    /// Whether an object of `kind` satisfies it.
    #[must_use]
    pub fn match_object(&self, kind: &Kind, object: &Object) -> bool {
        self.terms.iter().all(|term| (kind.field_value(object, &term.field) == term.value) == term.equal)
    }
}

fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, one) in text.char_indices() {
        match one {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn unescape(text: &str) -> Result<String, String> {
    let mut value = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(one) = rest.next() {
        match one {
            '\\' => match rest.next() {
                Some(next @ ('\\' | ',' | '=')) => value.push(next),
                Some(next) => return Err(format!("invalid field selector: invalid escape sequence: \\{next}")),
                None => return Err("invalid field selector: invalid escape sequence: \\".to_owned()),
            },
            ',' | '=' => {
                return Err(format!("invalid field selector: unescaped character in value: {}", u32::from(one)));
            }
            _ => value.push(one),
        }
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_selectors_parse() {
        let terms = |text: &str| Fields::parse(text).map(|fields| fields.terms);
        let term = |field: &str, value: &str, equal| Term { field: field.into(), value: value.into(), equal };
        assert_eq!(terms("b!=c,a==x"), Ok(vec![term("a", "x", true), term("b", "c", false)]));
        assert_eq!(terms(r"a=x\,y\=z"), Ok(vec![term("a", "x,y=z", true)]));
        assert_eq!(terms("a"), Err("invalid selector: 'a'; can't understand 'a'".to_owned()));
        assert!(terms(r"a=\x").is_err());
    }
}
