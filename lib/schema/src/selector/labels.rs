//! Label selectors: their text form, their form in an object's spec, what they match.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::names;
use crate::object::Object;
use crate::status::{FieldError, aggregate, quoted};

/// How a label's value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// The value is one of those given.
    In,
    /// The label is absent, or its value none of those given.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is absent.
    DoesNotExist,
    /// The value is a number greater than the one given.
    GreaterThan,
    /// The value is a number less than the one given.
    LessThan,
}

/// One condition on a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// How its value is compared.
    pub operator: Operator,
    /// What it is compared with.
    pub values: BTreeSet<String>,
}

impl Requirement {
    /// Whether a value, or its absence, satisfies it.
    #[must_use]
    pub fn matches(&self, value: Option<&str>) -> bool {
        let number = |text: &str| text.parse::<i64>().ok();
        let bound = || self.values.first().and_then(|text| number(text));
        match self.operator {
            Operator::In => value.is_some_and(|value| self.values.contains(value)),
            Operator::NotIn => value.is_none_or(|value| !self.values.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan => value.and_then(number).zip(bound()).is_some_and(|(value, bound)| value > bound),
            Operator::LessThan => value.and_then(number).zip(bound()).is_some_and(|(value, bound)| value < bound),
        }
    }
}

/// A label selector: every requirement must hold. The empty one matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    requirements: Vec<Requirement>,
    nothing: bool,
}

impl Labels {
    /// Reads the text form, such as `app=web,tier in (a,b),!old`. Errors are upstream's texts.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser { tokens: scan(text), position: 0 };
        let mut requirements = parser.requirements()?;
        requirements.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(Self { requirements, nothing: false })
    }

    /// The selector that matches nothing, as an absent [`LabelSelector`] does.
    #[must_use]
    pub fn nothing() -> Self {
        Self { requirements: Vec::new(), nothing: true }
    }

    /// Labels that must have exactly these values, as a Service's selector asks.
    pub fn equal<'a>(pairs: impl IntoIterator<Item = (&'a String, &'a String)>) -> Self {
        let requirements = pairs
            .into_iter()
            .map(|(key, value)| Requirement {
                key: key.clone(),
                operator: Operator::In,
                values: BTreeSet::from([value.clone()]),
            })
            .collect();
        Self { requirements, nothing: false }
    }

    /// The selector of an object's spec. Errors name an operator that does not exist.
    pub fn of(selector: &LabelSelector) -> Result<Self, String> {
        let mut all = Self::equal(selector.match_labels.iter().flatten());
        for one in selector.match_expressions.iter().flatten() {
            let operator = match one.operator.as_str() {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => return Err(format!("{} is not a valid label selector operator", quoted(other))),
            };
            let values = one.values.iter().flatten().cloned().collect();
            all.requirements.push(Requirement { key: one.key.clone(), operator, values });
        }
        Ok(all)
    }

    /// Whether it matches everything.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty() && !self.nothing
    }

    /// Its conditions.
    #[must_use]
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Whether labels, looked up by key, satisfy it.
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        !self.nothing && self.requirements.iter().all(|one| one.matches(label(&one.key)))
    }

    /// Whether an object's labels satisfy it.
    #[must_use]
    pub fn match_object(&self, object: &Object) -> bool {
        self.matches(|key| object.label(key))
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Symbol(&'static str),
    Bad(String),
    End,
}

impl Token {
    fn text(&self) -> &str {
        match self {
            Self::Word(text) | Self::Bad(text) => text,
            Self::Symbol(text) => text,
            Self::End => "",
        }
    }

    fn word(&self) -> Option<&str> {
        if let Self::Word(text) = self { Some(text) } else { None }
    }
}

const SYMBOLS: [&str; 9] = [")", ",", "!", "==", "=", ">", "<", "!=", "("];

fn is_symbol(one: char) -> bool {
    "=!(),><".contains(one)
}

fn scan(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let Some(first) = rest.chars().next() else {
            tokens.push(Token::End);
            return tokens;
        };
        let length = if is_symbol(first) {
            tokens.push(symbol(rest));
            tokens.last().map_or(1, |token| token.text().len().min(rest.len())).max(1)
        } else {
            let end = rest.find(|one: char| is_symbol(one) || " \t\r\n".contains(one)).unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..end].to_owned()));
            end
        };
        rest = &rest[length..];
    }
}

fn symbol(rest: &str) -> Token {
    let longest = SYMBOLS.iter().filter(|one| rest.starts_with(**one)).max_by_key(|one| one.len());
    longest.map_or_else(|| Token::Bad(rest.chars().take(1).collect()), |one| Token::Symbol(one))
}

struct Parser {
    tokens: Vec<Token>,
    position: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.position).unwrap_or(&Token::End)
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.position += 1;
        token
    }

    fn at(&self, symbols: &[&str]) -> bool {
        matches!(self.peek(), Token::Symbol(one) if symbols.contains(one))
    }

    fn starts_requirement(&self) -> bool {
        self.peek().word().is_some() || self.at(&["!"])
    }

    fn requirements(&mut self) -> Result<Vec<Requirement>, String> {
        let mut all = Vec::new();
        loop {
            if *self.peek() == Token::End {
                return Ok(all);
            }
            if !self.starts_requirement() {
                return Err(format!("found '{}', expected: !, identifier, or 'end of string'", self.peek().text()));
            }
            all.push(self.requirement().map_err(|why| format!("unable to parse requirement: {why}"))?);
            match self.next() {
                Token::End => return Ok(all),
                Token::Symbol(",") if self.starts_requirement() => {}
                Token::Symbol(",") => {
                    return Err(format!("found '{}', expected: identifier after ','", self.peek().text()));
                }
                other => return Err(format!("found '{}', expected: ',' or 'end of string'", other.text())),
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let mut token = self.next();
        let negated = token == Token::Symbol("!");
        if negated {
            token = self.next();
        }
        let Some(key) = token.word().map(str::to_owned) else {
            return Err(format!("found '{}', expected: identifier", token.text()));
        };
        let wrong = names::qualified(&key);
        if !wrong.is_empty() {
            return Err(FieldError::invalid_text("<nil>", &key, &wrong.join("; ")).to_string());
        }
        let bare = *self.peek() == Token::End || self.at(&[","]);
        if negated || bare {
            let operator = if negated { Operator::DoesNotExist } else { Operator::Exists };
            return Ok(Requirement { key, operator, values: BTreeSet::new() });
        }
        let operator = self.operator()?;
        let values = if operator.1 { self.values()? } else { self.exact()? };
        checked(Requirement { key, operator: operator.0, values })
    }

    /// The operator, and whether a list of values follows it.
    fn operator(&mut self) -> Result<(Operator, bool), String> {
        let token = self.next();
        Ok(match (&token, token.text()) {
            (Token::Word(_), "in") => (Operator::In, true),
            (Token::Word(_), "notin") => (Operator::NotIn, true),
            (Token::Symbol(_), "=" | "==") => (Operator::In, false),
            (Token::Symbol(_), "!=") => (Operator::NotIn, false),
            (Token::Symbol(_), ">") => (Operator::GreaterThan, false),
            (Token::Symbol(_), "<") => (Operator::LessThan, false),
            (_, text) => return Err(format!("found '{text}', expected: in, notin, =, ==, !=, gt, lt")),
        })
    }

    fn values(&mut self) -> Result<BTreeSet<String>, String> {
        let open = self.next();
        if open != Token::Symbol("(") {
            return Err(format!("found '{}' expected: '('", open.text()));
        }
        if self.at(&[")"]) {
            self.position += 1;
            return Ok(BTreeSet::from([String::new()]));
        }
        if self.peek().word().is_none() && !self.at(&[","]) {
            return Err(format!("found '{}', expected: ',', ')' or identifier", self.peek().text()));
        }
        let first = self.peek().text().to_owned();
        let values = self.identifiers()?;
        if self.next() != Token::Symbol(")") {
            return Err(format!("found '{first}', expected: ')'"));
        }
        Ok(values)
    }

    fn identifiers(&mut self) -> Result<BTreeSet<String>, String> {
        let mut values = BTreeSet::new();
        loop {
            match self.next() {
                Token::Word(word) => {
                    values.insert(word);
                    if self.at(&[")"]) {
                        return Ok(values);
                    }
                    if !self.at(&[","]) {
                        return Err(format!("found '{}', expected: ',' or ')'", self.peek().text()));
                    }
                }
                Token::Symbol(",") => {
                    if values.is_empty() || self.at(&[")", ","]) {
                        values.insert(String::new());
                    }
                    if self.at(&[")"]) {
                        return Ok(values);
                    }
                }
                other => return Err(format!("found '{}', expected: ',', or identifier", other.text())),
            }
        }
    }

    fn exact(&mut self) -> Result<BTreeSet<String>, String> {
        if *self.peek() == Token::End || self.at(&[","]) {
            return Ok(BTreeSet::from([String::new()]));
        }
        let token = self.next();
        match token.word() {
            Some(word) => Ok(BTreeSet::from([word.to_owned()])),
            None => Err(format!("found '{}', expected: identifier", token.text())),
        }
    }
}

fn checked(requirement: Requirement) -> Result<Requirement, String> {
    let mut wrong = Vec::new();
    if matches!(requirement.operator, Operator::GreaterThan | Operator::LessThan) {
        for (index, value) in requirement.values.iter().enumerate().filter(|(_, value)| value.parse::<i64>().is_err()) {
            let why = "for 'Gt', 'Lt' operators, the value must be an integer";
            wrong.push(FieldError::invalid_text(format!("values[{index}]"), value, why));
        }
    }
    for (index, value) in requirement.values.iter().enumerate() {
        let why = names::label_value(value);
        if !why.is_empty() {
            let field = format!("values[{index}][{}]", requirement.key);
            wrong.push(FieldError::invalid_text(field, value, &why.join("; ")));
        }
    }
    if wrong.is_empty() { Ok(requirement) } else { Err(aggregate(&wrong)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(selector: &str, labels: &[(&str, &'static str)]) -> bool {
        let lookup = |key: &str| labels.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
        Labels::parse(selector).unwrap().matches(lookup)
    }

    #[test]
    fn label_selectors_match() {
        let labels = [("a", "b"), ("n", "5"), ("in", "x")];
        for fine in ["", "a", "a=b", "a==b", "a in (b,c)", "!z", "z!=q", "z notin (q)", "n>4", "n<6", "in=x", "a,n"] {
            assert!(matches(fine, &labels), "{fine}");
        }
        for bad in ["z", "a!=b", "a notin (b)", "!a", "n>5", "a in ()", "a="] {
            assert!(!matches(bad, &labels), "{bad}");
        }
    }

    #[test]
    fn label_selectors_complain() {
        for (text, why) in [
            ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
            ("a in p", "unable to parse requirement: found 'p' expected: '('"),
            ("a=b c", "found 'c', expected: ',' or 'end of string'"),
            ("a=b,,n", "found ',', expected: identifier after ','"),
            ("Bad Key=1", "unable to parse requirement: found 'Key', expected: in, notin, =, ==, !=, gt, lt"),
            ("=b", "found '=', expected: !, identifier, or 'end of string'"),
        ] {
            assert_eq!(Labels::parse(text), Err(why.to_owned()), "{text}");
        }
    }
}
