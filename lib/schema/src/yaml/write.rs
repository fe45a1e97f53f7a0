//! From JSON to YAML that every reader takes for the same.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::scalar;
use crate::decode::double;

/// What stands first in an object, for people; the rest follows by name.
const HEAD: [&str; 3] = ["apiVersion", "kind", "metadata"];
/// Longer keys need another notation; readers look so far ahead for the colon.
const LONGEST_KEY: usize = 120;

/// A whole document, ended by a line break.
pub(super) fn document(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => entries(&mut out, map, 0, true),
        Value::Array(items) if !items.is_empty() => list(&mut out, items, 0),
        other => {
            scalar_or_empty(&mut out, other, None);
            out.push('\n');
        }
    }
    out
}

fn entries(out: &mut String, map: &Map<String, Value>, indent: usize, root: bool) {
    let is_head = |key: &str| root && map.contains_key("kind") && HEAD.contains(&key);
    let head = HEAD.into_iter().filter(|key| is_head(key)).filter_map(|key| map.get_key_value(key));
    let rest = map.iter().filter(|(key, _)| !is_head(key));
    for (index, (key, value)) in head.chain(rest).enumerate() {
        // The first entry of an item stands on the line of its dash.
        if index > 0 || root {
            pad(out, indent);
        }
        self::key(out, key, indent);
        inside(out, value, indent);
    }
}

fn key(out: &mut String, key: &str, indent: usize) {
    let written = if is_plain(key) { key.to_owned() } else { quoted(key) };
    if written.len() > LONGEST_KEY {
        let _ = writeln!(out, "? {written}");
        pad(out, indent);
    } else {
        out.push_str(&written);
    }
    out.push(':');
}

/// What stands behind a colon.
fn inside(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            pad(out, indent + 2);
            entries(out, map, indent + 2, false);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            list(out, items, indent);
        }
        other => {
            out.push(' ');
            scalar_or_empty(out, other, Some(indent + 2));
            out.push('\n');
        }
    }
}

fn list(out: &mut String, items: &[Value], indent: usize) {
    for item in items {
        pad(out, indent);
        out.push_str("- ");
        match item {
            Value::Object(map) if !map.is_empty() => entries(out, map, indent + 2, false),
            Value::Array(inner) if !inner.is_empty() => {
                // A list in a list: its first item on the same line.
                let mut nested = String::new();
                list(&mut nested, inner, indent + 2);
                out.push_str(nested.trim_start_matches(' '));
            }
            other => {
                scalar_or_empty(out, other, Some(indent + 2));
                out.push('\n');
            }
        }
    }
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

/// A scalar, `[]` or `{}`; `block` is the indentation of text in lines, where that is possible.
fn scalar_or_empty(out: &mut String, value: &Value, block: Option<usize>) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Value::Number(number) => {
            let whole = number.as_f64().filter(|_| number.is_f64()).and_then(double);
            out.push_str(&whole.as_ref().unwrap_or(number).to_string());
        }
        Value::Array(_) => out.push_str("[]"),
        Value::Object(_) => out.push_str("{}"),
        Value::String(text) => match block {
            Some(indent) if goes_in_lines(text) => lines(out, text, indent),
            _ if is_plain(text) => out.push_str(text),
            _ => out.push_str(&quoted(text)),
        },
    }
}

/// A literal block: every line as it is.
fn lines(out: &mut String, text: &str, indent: usize) {
    let kept = text.trim_end_matches('\n');
    out.push_str(match text.len() - kept.len() {
        0 => "|-",
        1 => "|",
        _ => "|+",
    });
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        out.push('\n');
        if !line.is_empty() {
            pad(out, indent);
            out.push_str(line);
        }
    }
}

/// Whether a text of several lines can stand as it is, and no reader can mistake its indentation.
fn goes_in_lines(text: &str) -> bool {
    let begins_well = text.starts_with(|c: char| !c.is_whitespace());
    let blank = |line: &str| !line.is_empty() && line.trim().is_empty();
    text.contains('\n')
        && begins_well
        && !text.trim_end_matches('\n').is_empty()
        && text.chars().all(|c| c == '\n' || c == '\t' || is_printable(c))
        && !text.split('\n').any(blank)
}

/// Whether a text can stand without quotes.
fn is_plain(text: &str) -> bool {
    let Some(first) = text.chars().next() else { return false };
    let second = text[first.len_utf8()..].chars().next();
    let begins_well = match first {
        '-' => second.is_some_and(|c| !c.is_whitespace()) && !text.starts_with("---"),
        '?' | ':' | ',' | '[' | ']' | '{' | '}' | '#' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' => {
            false
        }
        _ => !text.starts_with("..."),
    };
    begins_well
        && !text.starts_with(char::is_whitespace)
        && !text.ends_with(char::is_whitespace)
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.ends_with(':')
        && text.chars().all(is_printable)
        && !scalar::is_doubtful(text)
}

/// What YAML allows unescaped in one line; the tab is left out, since some readers stumble over it.
fn is_printable(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// In double quotes, with JSON's escapes where those are enough.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if is_printable(c) => out.push(c),
            c => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
        }
    }
    out.push('"');
    out
}
