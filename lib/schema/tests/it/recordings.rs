//! The recorded exchanges with a real API server, a scenario a line.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

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

/// The steps with an answer of every family, or of one.
pub(crate) fn steps(family: Option<&str>) -> Vec<Step> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/api");
    let mut steps = Vec::new();
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if family.is_some_and(|family| !path.ends_with(format!("{family}.jsonl.gz"))) {
            continue;
        }
        for line in BufReader::new(GzDecoder::new(File::open(path).unwrap())).lines() {
            let scenario: Value = serde_json::from_str(&line.unwrap()).unwrap();
            let id = scenario["id"].as_str().unwrap();
            steps.extend(scenario["steps"].as_array().unwrap().iter().filter(|step| step.get("want").is_some()).map(
                |step| Step {
                    scenario: id.to_owned(),
                    method: step["do"][0].as_str().unwrap().to_owned(),
                    path: step["do"][1].as_str().unwrap().to_owned(),
                    media: step["do"][2].as_str().unwrap_or_default().to_owned(),
                    body: step["do"][4].clone(),
                    code: step["want"]["code"].as_u64().unwrap(),
                    answer: step["want"]["body"].clone(),
                },
            ));
        }
    }
    steps
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
