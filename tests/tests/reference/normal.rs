//! Answers without what differs from run to run.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde_json::Value;

macro_rules! pattern {
    ($name:ident, $text:expr) => {
        static $name: LazyLock<Regex> = LazyLock::new(|| Regex::new($text).unwrap());
    };
}

pattern!(UUID, r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b");
pattern!(TIME, r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z");
pattern!(SERVICE, r"\b10\.96\.\d+\.\d+\b");
pattern!(ACCESS, r"kube-api-access-[a-z0-9]{5}");
pattern!(JWT, r"\beyJ[\w-]+\.[\w-]+\.[\w-]+");
pattern!(GENERATED, r"([Gg]en[-_])[a-z0-9]{5}\b");
pattern!(VERSION, r"(in record \()\d+(\))|(, current: )\d+");
pattern!(HASH, r"\?hash=[0-9A-F]+");
pattern!(PORT, r"(:)(3[0-2]\d{3})(/)");
pattern!(DIFF, r"\n[\s\x{a0}]*(@@ |[a-z0-9]+\.\w+\{|\()[\s\S]*");
pattern!(AGE, r"^((\d+[dhms])+|<invalid>)$");
// The age of a restart, which grows with the calendar.
pattern!(AGO, r"\((\d+[dhms])+ ago\)");

/// Names of a scenario with what they stand for in this run.
pub(crate) type Names = BTreeMap<String, String>;

/// Fields that say something about the build that answered.
const BUILD: &[&str] =
    &["serverAddress", "gitCommit", "buildDate", "goVersion", "gitTreeState", "compiler", "platform"];

/// A value without what differs from run to run; `sent` is what the client said itself.
pub(crate) fn normal(value: &Value, sent: &str, names: &Names, key: &str) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().filter(|(key, _)| !key.starts_with("apis/ref.example.com"));
            kept.map(|(key, value)| (key.clone(), normal(value, sent, names, key))).collect()
        }
        Value::Array(list) => {
            let kept = list.iter().filter(|one| !is_defined_group(one, key));
            kept.map(|one| normal(one, sent, names, key)).collect()
        }
        Value::Number(number) if ["nodePort", "healthCheckNodePort"].contains(&key) => {
            if sent.contains(&number.to_string()) { value.clone() } else { "<port>".into() }
        }
        Value::String(text) => Value::String(text_of(text, sent, names, key)),
        other => other.clone(),
    }
}

const AGED: &str = "(<age> ago)";

/// A recorded answer without the age of restarts, which the recording left in.
pub(crate) fn aged(value: &Value) -> Value {
    match value {
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), aged(value))).collect(),
        Value::Array(list) => list.iter().map(aged).collect(),
        Value::String(text) if text.ends_with("ago)") => AGO.replace_all(text, AGED).into_owned().into(),
        other => other.clone(),
    }
}

fn is_defined_group(value: &Value, key: &str) -> bool {
    let named = value["name"] == "ref.example.com" || value["metadata"]["name"] == "ref.example.com";
    named && ["groups", "items"].contains(&key)
}

fn text_of(text: &str, sent: &str, names: &Names, key: &str) -> String {
    match key {
        "resourceVersion" => return if text.is_empty() { String::new() } else { "<rv>".to_owned() },
        "continue" if !text.is_empty() => return "<continue>".to_owned(),
        "cells" if AGE.is_match(text) => return "<age>".to_owned(),
        _ if BUILD.contains(&key) => return format!("<{key}>"),
        _ => {}
    }
    let mut text = text.to_owned();
    // An object that was refused has the empty uid, which the recording marks between all characters, too.
    for (name, value) in names.iter().filter(|(name, value)| !value.is_empty() || *name == "uid") {
        if name == "ns" {
            text = text.replace(value, "{ns}");
        } else if name == "uid" || value.len() > 6 {
            text = text.replace(value, &format!("<{name}>"));
        }
    }
    let unless_sent = |pattern: &Regex, text: &str, mark: &str| {
        let mark = |found: &Captures<'_>| if sent.contains(&found[0]) { found[0].to_owned() } else { mark.to_owned() };
        pattern.replace_all(text, mark).into_owned()
    };
    text = unless_sent(&UUID, &text, "<uid>");
    text = unless_sent(&TIME, &text, "<time>");
    text = unless_sent(&SERVICE, &text, "<ip>");
    text = ACCESS.replace_all(&text, "kube-api-access-<r>").into_owned();
    text = JWT.replace_all(&text, "<jwt>").into_owned();
    text = GENERATED.replace_all(&text, "$1<r>").into_owned();
    text = VERSION.replace_all(&text, "$1$3<rv>$2").into_owned();
    text = HASH.replace_all(&text, "?hash=<hash>").into_owned();
    let port =
        |found: &Captures<'_>| if sent.contains(&found[2]) { found[0].to_owned() } else { ":<port>/".to_owned() };
    text = PORT.replace_all(&text, port).into_owned();
    if key == "cells" {
        text = AGO.replace_all(&text, AGED).into_owned();
    }
    DIFF.replace(&text, "\n<diff>").into_owned()
}
