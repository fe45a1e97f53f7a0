//! OpenAPI documents, made from the structure of what is served: those of v3, one a group and version, and the one of v2.
//!
//! kubectl reads patch types, `fieldValidation` and `dryRun` from the paths, merge keys and types from the schemas.
//! Descriptions are not part of the structure, so none are shown.
//! Source: <https://kubernetes.io/docs/concepts/overview/kubernetes-api/#openapi-v3>

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::discovery::{self, Entry};
use crate::structure;
use crate::version::RELEASE;

mod paths;
mod schemas;
pub mod v2;

/// Documents of their own beside those of groups and versions.
const OTHERS: [&str; 5] = [".well-known/openid-configuration", "api", "apis", "openid/v1/jwks", "version"];

/// Names of the documents there are, such as `api/v1` or `apis/apps/v1`, in order.
#[must_use]
pub fn names(entries: &[Entry]) -> Vec<String> {
    let mut names: Vec<String> = OTHERS.iter().map(|name| (*name).to_owned()).collect();
    for entry in entries {
        names.push(base(&entry.group, &entry.version));
        if !entry.group.is_empty() {
            names.push(format!("apis/{}", entry.group));
        }
    }
    names.sort();
    names.dedup();
    names
}

/// The hash of every document, by name: it changes when what the document is made from does.
///
/// Documents are pure functions of the structure, the entries and the program's version, so these are hashed, not the
/// documents: the index is asked for far more often than most of them.
#[must_use]
pub fn hashes(entries: &[Entry]) -> BTreeMap<String, String> {
    let made_from = format!("{} {RELEASE} {entries:?}", env!("CARGO_PKG_VERSION"));
    let base = discovery::hash(format!("{} {made_from}", structure::STRUCTURE).as_bytes());
    names(entries)
        .into_iter()
        .map(|name| {
            let hash = discovery::hash(format!("{base} {name}").as_bytes());
            (name, hash)
        })
        .collect()
}

/// `/openapi/v3`: where each document is, by name, given the hash of each.
#[must_use]
pub fn index(hashes: &BTreeMap<String, String>) -> Value {
    let paths: Map<String, Value> = hashes
        .iter()
        .map(|(name, hash)| (name.clone(), json!({"serverRelativeURL": format!("/openapi/v3/{name}?hash={hash}")})))
        .collect();
    json!({"paths": paths})
}

/// A document by its name; `None` when there is none of that name.
#[must_use]
pub fn document(entries: &[Entry], name: &str) -> Option<Value> {
    let (paths, roots) = match name.split('/').collect::<Vec<_>>()[..] {
        ["api"] => paths::plain("/api/", "APIVersions"),
        ["apis"] => paths::plain("/apis/", "APIGroupList"),
        ["apis", group] if entries.iter().any(|entry| entry.group == group) => {
            paths::plain(&format!("/apis/{group}/"), "APIGroup")
        }
        ["api", version] => versioned(entries, "", version)?,
        ["apis", group, version] => versioned(entries, group, version)?,
        _ if OTHERS.contains(&name) => paths::text(&format!("/{name}/")),
        _ => return None,
    };
    Some(json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": RELEASE},
        "paths": paths,
        "components": {
            "schemas": schemas::reachable(roots, entries),
            "securitySchemes": {"BearerToken": {"type": "apiKey", "name": "authorization", "in": "header"}},
        },
    }))
}

fn versioned(entries: &[Entry], group: &str, version: &str) -> Option<(Map<String, Value>, Vec<schemas::Root>)> {
    let found = discovery::of_version(entries, group, version);
    found.first()?;
    Some(paths::of_version(&found, &format!("/{}", base(group, version))))
}

fn base(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}
