//! How far two answers agree.

use kprov_tests::difference::first;
use serde_json::Value;

/// How far an answer agrees with the recorded one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Nothing,
    Code,
    Meaning,
    Exact,
}

/// An answer in its parts, normalised.
pub(crate) struct Answer {
    pub(crate) code: u64,
    pub(crate) body: Value,
    pub(crate) warnings: Value,
}

/// How far `got` agrees with `want`, with where they part.
pub(crate) fn agreement(want: &Answer, got: &Answer) -> (Level, String) {
    if want.code != got.code {
        let message = got.body["message"].as_str().unwrap_or_default();
        return (Level::Nothing, format!("code {}, want {} ({message})", got.code, want.code));
    }
    let (w, g) = (ordered(&want.body), ordered(&got.body));
    let warned = || {
        if want.warnings == got.warnings {
            (Level::Exact, String::new())
        } else {
            (Level::Meaning, format!("warnings {}, want {}", got.warnings, want.warnings))
        }
    };
    if want.code >= 400 && w["kind"] == "Status" {
        return refusal(&w, &g).unwrap_or_else(warned);
    }
    let (a, b) = (without(&w, "managedFields"), without(&g, "managedFields"));
    if a != b {
        return (Level::Code, first(&a, &b, ""));
    }
    if w != g { (Level::Meaning, first(&w, &g, "")) } else { warned() }
}

/// Where two errors part; `None` when they don't.
fn refusal(want: &Value, got: &Value) -> Option<(Level, String)> {
    if got["kind"] != "Status" {
        return Some((Level::Code, "no Status object".to_owned()));
    }
    if want["reason"] != got["reason"] {
        return Some((Level::Code, format!("reason {}, want {}", got["reason"], want["reason"])));
    }
    let (a, b) = (causes(want), causes(got));
    if a != b {
        return Some((Level::Code, format!("causes {b:?}, want {a:?}")));
    }
    (want != got).then(|| (Level::Meaning, format!("message {}, want {}", got["message"], want["message"])))
}

fn causes(status: &Value) -> Vec<(String, String)> {
    let text = |cause: &Value, field: &str| cause[field].as_str().unwrap_or_default().to_owned();
    let list = status["details"]["causes"].as_array().cloned().unwrap_or_default();
    let mut causes: Vec<_> = list.iter().map(|cause| (text(cause, "field"), text(cause, "reason"))).collect();
    causes.sort();
    causes
}

fn without(value: &Value, dropped: &str) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().filter(|(key, _)| *key != dropped);
            kept.map(|(key, value)| (key.clone(), without(value, dropped))).collect()
        }
        Value::Array(list) => list.iter().map(|one| without(one, dropped)).collect(),
        other => other.clone(),
    }
}

/// `managedFields` in one order: upstream's depends on the clock.
fn ordered(value: &Value) -> Value {
    let rank =
        |entry: &Value| ["manager", "operation", "subresource", "apiVersion"].map(|field| entry[field].to_string());
    match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| match value {
                Value::Array(list) if key == "managedFields" => {
                    let mut list = list.clone();
                    list.sort_by_key(rank);
                    (key.clone(), Value::Array(list))
                }
                other => (key.clone(), ordered(other)),
            })
            .collect(),
        Value::Array(list) => list.iter().map(ordered).collect(),
        other => other.clone(),
    }
}
