//! Compares an answer with the recorded one, on the levels of the reference.

use serde_json::{Map, Value};

/// How far two answers agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// The codes differ.
    Nothing,
    /// The same code.
    Code,
    /// The same reason with the same causes, or the same object.
    Meaning,
    /// The same message too.
    Exact,
}

/// An answer, recorded or given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    /// HTTP status code.
    pub(crate) code: u64,
    /// The body.
    pub(crate) body: Value,
    /// Texts of `Warning` headers.
    pub(crate) warnings: Vec<String>,
}

/// What stands in a recording for a text that differs from run to run.
const WILD: [&str; 14] = [
    "<ip>",
    "<port>",
    "<uid>",
    "<time>",
    "<rv>",
    "<age>",
    "<r>",
    "<jwt>",
    "<continue>",
    "<diff>",
    "<hash>",
    "{ns}",
    "<k8s>",
    "<serverAddress>",
];

/// How far `got` agrees with `want`, and where they part.
pub(crate) fn agreement(want: &Answer, got: &Answer) -> (Level, String) {
    if want.code != got.code {
        return (Level::Nothing, format!("code {}, want {}: {}", got.code, want.code, message(&got.body)));
    }
    let (level, why) = if want.body["kind"] == "Status" && want.code >= 400 {
        statuses(&want.body, &got.body)
    } else {
        match different(&bare(&want.body), &bare(&got.body), "") {
            Some(why) => (Level::Code, why),
            None => (Level::Exact, String::new()),
        }
    };
    if level == Level::Exact && !same_texts(&want.warnings, &got.warnings) {
        return (Level::Meaning, format!("warnings {:?}, want {:?}", got.warnings, want.warnings));
    }
    (level, why)
}

fn message(body: &Value) -> &str {
    body["message"].as_str().unwrap_or_default()
}

fn statuses(want: &Value, got: &Value) -> (Level, String) {
    if want["reason"] != got["reason"] {
        return (Level::Code, format!("reason {}, want {}", got["reason"], want["reason"]));
    }
    let (wanted, given) = (causes(want), causes(got));
    if wanted != given {
        return (Level::Code, format!("causes {given:?}, want {wanted:?}"));
    }
    match different(want, got, "") {
        Some(why) => (Level::Meaning, format!("{why}\n      got  {}\n      want {}", message(got), message(want))),
        None => (Level::Exact, String::new()),
    }
}

fn causes(status: &Value) -> Vec<(String, String)> {
    let text = |cause: &Value, name: &str| cause[name].as_str().unwrap_or_default().to_owned();
    let all = status["details"]["causes"].as_array().cloned().unwrap_or_default();
    let mut all: Vec<_> = all.iter().map(|cause| (text(cause, "field"), text(cause, "reason"))).collect();
    all.sort();
    all
}

/// An object, a table or a list without what only the server makes.
fn bare(body: &Value) -> Value {
    const MADE: [&str; 7] = [
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "managedFields",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
    ];
    let mut body = body.clone();
    if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|name, _| !MADE.contains(&name.as_str()));
    }
    if body["kind"] == "Table" {
        for row in body["rows"].as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            row.retain(|name, _| name == "cells");
        }
    } else if let Some(items) = body.get_mut("items").and_then(Value::as_array_mut) {
        for item in items {
            *item = bare(item);
        }
    }
    body
}

/// The first place where two values differ.
fn different(want: &Value, got: &Value, at: &str) -> Option<String> {
    match (want, got) {
        (Value::Object(want), Value::Object(got)) => maps(want, got, at),
        (Value::Array(want), Value::Array(got)) => want
            .iter()
            .zip(got)
            .enumerate()
            .find_map(|(index, (want, got))| different(want, got, &format!("{at}[{index}]")))
            .or_else(|| {
                (want.len() != got.len()).then(|| format!("{at} has {} items, want {}", got.len(), want.len()))
            }),
        (Value::String(want), Value::String(got)) if same_text(want, got) => None,
        (Value::String(want), Value::Number(_)) if want == "<port>" => None,
        _ if want == got => None,
        _ => Some(format!("{at} is {}, want {}", short(got), short(want))),
    }
}

fn maps(want: &Map<String, Value>, got: &Map<String, Value>, at: &str) -> Option<String> {
    for (key, wanted) in want {
        match got.get(key) {
            None => return Some(format!("{at}.{key} missing, want {}", short(wanted))),
            Some(given) => {
                if let Some(why) = different(wanted, given, &format!("{at}.{key}")) {
                    return Some(why);
                }
            }
        }
    }
    let extra = got.iter().find(|(key, _)| !want.contains_key(*key));
    extra.map(|(key, given)| format!("{at}.{key} is {}, want nothing", short(given)))
}

fn short(value: &Value) -> String {
    value.to_string().chars().take(200).collect()
}

fn same_texts(want: &[String], got: &[String]) -> bool {
    want.len() == got.len() && want.iter().zip(got).all(|(want, got)| same_text(want, got))
}

/// Whether two texts agree, where a placeholder of the recording stands for anything.
fn same_text(want: &str, got: &str) -> bool {
    if want == got {
        return true;
    }
    let mut pieces = vec![want];
    for wild in WILD {
        pieces = pieces.into_iter().flat_map(|piece| piece.split(wild)).collect();
    }
    let [first, middle @ .., last] = &pieces[..] else { return false };
    let Some(mut rest) = got.strip_prefix(first) else { return false };
    for piece in middle {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[test]
fn placeholders_stand_for_anything() {
    assert!(same_text("a <ip>:<port>/TCP", "a 10.96.0.1:30001/TCP"));
    assert!(!same_text("a <ip>", "b 10.96.0.1"));
    assert!(!same_text("a", "b"));
}
