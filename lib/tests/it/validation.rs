//! Every error of the recorded family `validation` that needs no other object, found without a server, with the same text.

use std::collections::BTreeMap;
use std::io::Read;

use flate2::read::GzDecoder;
use kprov::{Bundle, Severity};
use kprov_schema::KINDS;
use serde_json::Value;

/// Errors that were found with the same text; only ever raised.
const FLOOR: usize = 1452;

/// What only a whole server knows: what else is there, and what the path of the request says.
const BEYOND: &[&str] = &[
    "failed to allocate",
    "provided port is already allocated",
    "the namespace of the provided object does not match",
    "the API version in the data",
    "the kind in the data",
    "is registered for version",
    "unknown conversion",
    "converting (",
    "metadata.name in object",
];

fn scenarios() -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/reference/api/validation.jsonl.gz");
    let mut text = String::new();
    GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text.lines().map(|line| serde_json::from_str(&line.replace("{ns}", "ref-ns")).unwrap()).collect()
}

fn is_in_table(object: &Value) -> bool {
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    KINDS.iter().any(|kind| kind.kind == text("kind") && kind.resource.api_version() == text("apiVersion"))
}

#[derive(Default)]
struct Counts {
    asked: usize,
    same: usize,
}

#[test]
fn every_recorded_error_is_found_with_the_same_text() {
    let mut counts: BTreeMap<String, Counts> = BTreeMap::new();
    let mut apart = Vec::new();
    let (mut taken, mut refused_wrongly) = (0, Vec::new());
    for scenario in scenarios() {
        for step in scenario["steps"].as_array().unwrap() {
            let body = &step["do"][4];
            let (code, message) = (step["want"]["code"].as_u64(), step["want"]["body"]["message"].as_str());
            let message = message.unwrap_or_default();
            if step["do"][0] != "POST" || !is_in_table(body) || BEYOND.iter().any(|part| message.contains(part)) {
                continue;
            }
            let bundle = Bundle::from_yaml("b", &body.to_string()).unwrap();
            let told = bundle.refusals().into_iter().next().map(|(_, status)| status.message);
            match code {
                Some(201) => {
                    taken += 1;
                    refused_wrongly.extend(told.map(|told| format!("{}: {told}", scenario["id"])));
                }
                Some(400 | 422) => {
                    let count = counts.entry(body["kind"].as_str().unwrap().to_owned()).or_default();
                    count.asked += 1;
                    let problems = bundle.validate().err().unwrap_or_default();
                    assert!(problems.iter().all(|problem| problem.severity == Severity::Error));
                    if same(message, told.as_deref().unwrap_or_default()) && !problems.is_empty() {
                        count.same += 1;
                    } else {
                        apart.push(format!("{}\n  want {message}\n  got  {told:?}", scenario["id"]));
                    }
                }
                _ => {}
            }
        }
    }
    let show: usize = std::env::var("REPLAY_SHOW").ok().and_then(|text| text.parse().ok()).unwrap_or_default();
    apart.iter().chain(&refused_wrongly).take(show).for_each(|line| println!("{line}"));
    for (kind, count) in &counts {
        println!("{kind:<30}{:>5} of {:>5}", count.same, count.asked);
    }
    let (same, asked) = counts.values().fold((0, 0), |(same, asked), one| (same + one.same, asked + one.asked));
    println!("{same} of {asked} errors with the same text; {} of {taken} good objects refused", refused_wrongly.len());
    assert!(same >= FLOOR, "{same} errors have the same text, {FLOOR} had before");
    assert!(refused_wrongly.is_empty(), "{}", refused_wrongly.join("\n"));
}

/// Equal texts; those of Go's own JSON decoder are nobody's contract, and what they are about must do.
fn same(want: &str, got: &str) -> bool {
    if want.contains("json: cannot unmarshal") {
        return got.contains("json: cannot unmarshal");
    }
    // Times of the recording stand there as placeholders.
    let parts: Vec<&str> = want.split("<time>").collect();
    got.starts_with(parts[0]) && parts.iter().all(|part| got.contains(part)) && (parts.len() > 1 || want == got)
}
