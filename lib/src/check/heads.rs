//! Objects whose `apiVersion` and `kind` name no kind of the table.

use std::collections::BTreeSet;

use kprov_schema::structure::schema;
use serde_json::Value;

use super::{Item, Kinds, fields, removed};
use crate::problem::{Problem, Severity};
use crate::similar;

/// What is wrong with the head of an object; for a kind that Kubernetes has and the table does not, what is wrong inside.
pub(super) fn unknown(kinds: &Kinds, item: Item<'_>) -> Vec<Problem> {
    let malformed = malformed(item);
    if !malformed.is_empty() {
        return malformed;
    }
    let (api_version, kind) = (item.object.api_version(), item.object.kind());
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    if let Some(served) = schema().served(group, version, kind) {
        return fields::plainly(item, &fields::of_structure(&served.structure, item));
    }
    vec![no_match(kinds, item, api_version, kind)]
}

/// Heads that are missing, or no texts.
fn malformed(item: Item<'_>) -> Vec<Problem> {
    let example = |field: &str| if field == "kind" { "Deployment" } else { "apps/v1" };
    let check = |field: &'static str| {
        let value = item.object.map().get(field).unwrap_or(&Value::Null);
        match value {
            Value::String(text) if !text.is_empty() => None,
            Value::Null | Value::String(_) => Some(missing(item, field)),
            other => {
                let written = item.origin.and_then(|origin| origin.node.get(field)).and_then(|node| node.text());
                let found = match (written, other) {
                    (Some(written), Value::Number(_)) => format!("number {written}"),
                    _ => fields::shown(other),
                };
                let message = format!("{field} must be a string such as {}, found {found}", example(field));
                let problem = item.problem(Severity::Error, field, message);
                Some(quoting(problem, item, field, written))
            }
        }
    };
    ["apiVersion", "kind"].into_iter().filter_map(check).collect()
}

fn quoting(problem: Problem, item: Item<'_>, field: &str, written: Option<&str>) -> Problem {
    match (field, written) {
        ("kind", Some(written)) => problem.hint(format!("put it in quotes: \"{written}\"")),
        _ => version_hint(problem, item.object.kind()),
    }
}

/// The versions that a kind of that name has.
fn version_hint(problem: Problem, kind: &str) -> Problem {
    match versions(kind).as_slice() {
        [] => problem,
        versions => problem.hint(format!("{kind} is in {}", versions.join(" and "))),
    }
}

fn versions(kind: &str) -> Vec<String> {
    let all = schema().kinds().iter().filter(|one| one.kind == kind);
    all.map(|one| if one.group.is_empty() { one.version.to_owned() } else { format!("{}/{}", one.group, one.version) })
        .collect()
}

fn missing(item: Item<'_>, field: &'static str) -> Problem {
    let near = similar::nearest(field, item.object.map().keys().map(String::as_str));
    let near = near.or_else(|| {
        let slips = [("apiVersion", "appVersion"), ("apiVersion", "version"), ("kind", "type")];
        slips.into_iter().find(|(want, slip)| *want == field && item.object.map().contains_key(*slip)).map(|(_, s)| s)
    });
    match near {
        Some(near) => {
            let message = format!("{field} is missing (found {near})");
            let problem = item.problem(Severity::Error, near, message).hint(format!("did you mean `{field}`?"));
            if field == "apiVersion" { version_hint(problem, item.object.kind()) } else { problem }
        }
        None => {
            let problem = item.problem(Severity::Error, field, format!("{field} is missing"));
            if field == "apiVersion" { version_hint(problem, item.object.kind()) } else { problem }
        }
    }
}

/// A kind that nobody knows in that version.
fn no_match(kinds: &Kinds, item: Item<'_>, api_version: &str, kind: &str) -> Problem {
    let words = format!("no matches for kind {kind:?} in version {api_version:?}");
    let problem = |path: &str, hint: String| item.problem(Severity::Error, path, words.clone()).hint(hint);
    if let Some(row) = removed::find(api_version, kind) {
        let now = if row.now.is_empty() { String::new() } else { format!(": use apiVersion {}", row.now) };
        let gone =
            problem("apiVersion", format!("{kind} of {api_version} was removed in Kubernetes {}{now}", row.release));
        return if row.note.is_empty() { gone } else { gone.hint(row.note) };
    }
    let elsewhere = versions(kind);
    if !elsewhere.is_empty() {
        return problem("apiVersion", format!("{kind} is in {}", elsewhere.join(" and ")));
    }
    let names: BTreeSet<&str> =
        schema().kinds().iter().map(|one| one.kind).chain(kinds.all().map(|kind| kind.kind.as_ref())).collect();
    if let Some(near) = similar::nearest(kind, names) {
        let meant = versions(near);
        let versions = if meant.is_empty() { String::new() } else { format!(" It is in {}.", meant.join(" and ")) };
        return problem("kind", format!("did you mean {near}?{versions}"));
    }
    if is_custom(api_version) {
        let note =
            format!("{kind} of {api_version} is a custom resource whose definition is not here: it is not checked");
        return item.problem(Severity::Note, "kind", note);
    }
    problem("kind", "a custom resource has an apiVersion such as example.com/v1".to_owned())
}

/// Whether a group is one that somebody made, and none of Kubernetes' own.
fn is_custom(api_version: &str) -> bool {
    let Some((group, _)) = api_version.rsplit_once('/') else { return false };
    let own = schema().kinds().iter().any(|one| one.group == group);
    group.contains('.') && !own
}
