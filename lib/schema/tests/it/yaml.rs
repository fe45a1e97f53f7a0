//! What kubectl 1.32 read out of some two hundred tricky texts, and what it refused.

use kprov_schema::yaml;
use serde_json::Value;

/// Texts that are read otherwise on purpose, with the reason.
const APART: &[(&str, &str)] = &[
    ("\"\\/\"", "an escape of YAML 1.2, and of JSON"),
    ("\\ud83d\\ude00\"\n", "JSON's way to write what lies beyond 16 bits"),
    ("\n...\nb: 2", "kubectl passes over what stands behind the end of a document"),
    ("a: |\n  \tx\n", "a tab behind the indentation is content"),
    ("\"v\":012}", "read as a flow map of YAML when it is no JSON"),
    ("{apiVersion: v1,", "read as a flow map of YAML when it is no JSON"),
    ("%YAML 1.1", "a directive belongs to the document behind it"),
];

#[test]
fn reads_what_kubectl_reads() {
    let mut apart = Vec::new();
    let lines = include_str!("yaml_kubectl.jsonl").lines();
    for line in lines {
        let case: Value = serde_json::from_str(line).unwrap();
        let text = case["yaml"].as_str().unwrap();
        if APART.iter().any(|(part, _)| text.contains(part)) {
            continue;
        }
        let got = yaml::documents(text);
        match (case.get("json"), got) {
            (Some(want), Ok(got)) if same(want, &Value::Array(got.clone())) => {}
            (None, Err(_)) => {}
            (want, got) => {
                let got = got.map_or_else(|error| error.to_string(), |got| Value::Array(got).to_string());
                apart.push(format!("{text:?}\n  got  {got}\n  want {}", want.unwrap_or(&case["error"])));
            }
        }
    }
    assert!(apart.is_empty(), "{} differ:\n{}", apart.len(), apart.join("\n"));
}

/// Equal as JSON is: 8 and 8.0 are one number.
fn same(want: &Value, got: &Value) -> bool {
    match (want, got) {
        (Value::Number(want), Value::Number(got)) => want == got || want.as_f64() == got.as_f64(),
        (Value::Array(want), Value::Array(got)) => {
            want.len() == got.len() && want.iter().zip(got).all(|(want, got)| same(want, got))
        }
        (Value::Object(want), Value::Object(got)) => {
            want.len() == got.len() && want.iter().all(|(key, want)| got.get(key).is_some_and(|got| same(want, got)))
        }
        _ => want == got,
    }
}
