//! The recorded exchanges with a real API server, a scenario a line.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use kprov_schema::key::Resource;
use kprov_schema::structure::{Served, schema};
use serde_json::Value;

/// A recorded request with its answer.
pub(crate) struct Step {
    pub(crate) scenario: String,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) media: String,
    pub(crate) body: Value,
    pub(crate) code: u64,
    pub(crate) answer: Value,
}

fn lines(path: &Path) -> impl Iterator<Item = Value> {
    let reader = BufReader::new(GzDecoder::new(File::open(path).unwrap()));
    reader.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap())
}

fn step(id: &str, step: &Value) -> Step {
    Step {
        scenario: id.to_owned(),
        method: step["do"][0].as_str().unwrap().to_owned(),
        path: step["do"][1].as_str().unwrap().to_owned(),
        media: step["do"][2].as_str().unwrap_or_default().to_owned(),
        body: step["do"][4].clone(),
        code: step["want"]["code"].as_u64().unwrap_or_default(),
        answer: step["want"]["body"].clone(),
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/api")
}

/// The scenarios of a family; a step without an answer has code 0.
pub(crate) fn scenarios(family: &str) -> Vec<Vec<Step>> {
    lines(&folder().join(format!("{family}.jsonl.gz")))
        .map(|scenario| {
            let id = scenario["id"].as_str().unwrap();
            scenario["steps"].as_array().unwrap().iter().map(|one| step(id, one)).collect()
        })
        .collect()
}

/// The steps with an answer of every family, or of one.
pub(crate) fn steps(family: Option<&str>) -> Vec<Step> {
    let families = folder().read_dir().unwrap().map(|entry| entry.unwrap().path());
    families
        .filter(|path| family.is_none_or(|family| path.ends_with(format!("{family}.jsonl.gz"))))
        .filter_map(|path| Some(path.file_name()?.to_str()?.split('.').next()?.to_owned()))
        .flat_map(|family| scenarios(&family))
        .flatten()
        .filter(|step| step.code > 0)
        .collect()
}

/// The kind that a path without a subresource leads to.
pub(crate) fn served(path: &str) -> Option<&'static Served> {
    let parts: Vec<&str> = path.split('?').next()?.trim_start_matches('/').split('/').collect();
    let (group, version, rest) = match parts[..] {
        ["api", version, ref rest @ ..] => ("", version, rest),
        ["apis", group, version, ref rest @ ..] => (group, version, rest),
        _ => return None,
    };
    let plural = match *rest {
        ["namespaces", _, plural] | ["namespaces", _, plural, _] if !["status", "finalize"].contains(&plural) => plural,
        [plural] | [plural, _] => plural,
        _ => return None,
    };
    let resource = Resource {
        group: group.to_owned().into(),
        version: version.to_owned().into(),
        plural: plural.to_owned().into(),
    };
    schema().resource(&resource)
}

/// The first place where two values differ, with what stands there.
pub(crate) fn difference(a: &Value, b: &Value, at: &str) -> String {
    match (a, b) {
        (Value::Object(x), Value::Object(y)) => {
            let key = x.keys().chain(y.keys()).find(|key| x.get(*key) != y.get(*key));
            let key = key.expect("maps that differ differ in a field");
            difference(x.get(key).unwrap_or(&Value::Null), y.get(key).unwrap_or(&Value::Null), &format!("{at}.{key}"))
        }
        (Value::Array(x), Value::Array(y)) if x.len() == y.len() => {
            let index = x.iter().zip(y).position(|(a, b)| a != b).expect("lists that differ differ in an item");
            difference(&x[index], &y[index], &format!("{at}[{index}]"))
        }
        _ => format!("{at} is {:.200}, want {:.200}", a.to_string(), b.to_string()),
    }
}
