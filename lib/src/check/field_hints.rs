//! What to do about a field that the server would refuse.

use kprov_schema::FieldError;
use kprov_schema::status::FieldErrorKind;
use serde_json::Value;

use super::Item;
use crate::problem::{Problem, Severity};
use crate::similar;

/// The server's error as a problem, with what was probably meant.
pub(super) fn problem(item: Item<'_>, error: &FieldError) -> Problem {
    let problem = item.problem(Severity::Error, &error.field, error.to_string());
    match hint(item, error) {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}

fn hint(item: Item<'_>, error: &FieldError) -> Option<String> {
    RULES.iter().find_map(|rule| rule(item, error))
}

/// Rules in this order; the first that knows something speaks.
const RULES: &[fn(Item<'_>, &FieldError) -> Option<String>] =
    &[missing_volume, unsupported, badly_named, missing_selector, unequal_selector, unnamed_port, over_range];

/// `spec.containers[0].volumeMounts[0].name: Not found: "mypod"`
fn missing_volume(item: Item<'_>, error: &FieldError) -> Option<String> {
    if error.kind != FieldErrorKind::NotFound || !error.field.contains("volumeMounts[") {
        return None;
    }
    let name = error.detail.trim_matches('"');
    let spec = pod_spec(item)?;
    let volumes = spec["volumes"].as_array().cloned().unwrap_or_default();
    let claims =
        item.object.at(&["spec", "volumeClaimTemplates"]).and_then(Value::as_array).cloned().unwrap_or_default();
    let names: Vec<&str> = volumes
        .iter()
        .filter_map(|volume| volume["name"].as_str())
        .chain(claims.iter().filter_map(|claim| claim["metadata"]["name"].as_str()))
        .collect();
    let listed =
        if names.is_empty() { "there are none".to_owned() } else { format!("volumes are: {}", names.join(", ")) };
    let near = similar::nearest(name, names.iter().copied()).map(|near| format!("; did you mean `{near}`?"));
    Some(format!("the mount refers to volume {name:?}, {listed}{}", near.unwrap_or_default()))
}

fn pod_spec(item: Item<'_>) -> Option<&Value> {
    let paths: [&[&str]; 3] =
        [&["spec", "template", "spec"], &["spec", "jobTemplate", "spec", "template", "spec"], &["spec"]];
    paths.into_iter().filter_map(|path| item.object.at(path)).find(|spec| spec["containers"].is_array())
}

/// `Unsupported value: "Alway": supported values: "Always", "Never"`
fn unsupported(_: Item<'_>, error: &FieldError) -> Option<String> {
    if error.kind != FieldErrorKind::NotSupported {
        return None;
    }
    let mut quoted = error.detail.split('"').skip(1).step_by(2);
    let given = quoted.next()?;
    let near = similar::nearest(given, quoted)?;
    Some(format!("did you mean {near}?"))
}

/// Names with letters that no name has.
fn badly_named(item: Item<'_>, error: &FieldError) -> Option<String> {
    if error.kind != FieldErrorKind::Invalid || !error.field.ends_with("name") {
        return None;
    }
    let given = error.detail.strip_prefix('"')?.split('"').next()?;
    let mended: String = given
        .to_lowercase()
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' || (c == '.' && error.field == "metadata.name") { c } else { '-' }
        })
        .collect();
    let mended = mended.trim_matches(['-', '.']);
    let _ = item;
    (!mended.is_empty() && mended != given)
        .then(|| format!("names are lower-case letters, digits and '-': `{mended}` would do"))
}

/// A workload without a selector.
fn missing_selector(item: Item<'_>, error: &FieldError) -> Option<String> {
    if error.field != "spec.selector" || error.kind != FieldErrorKind::Required {
        return None;
    }
    let labels = item.object.at(&["spec", "template", "metadata", "labels"]).and_then(Value::as_object);
    let pairs: Vec<String> = labels
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}: {}", value.as_str().unwrap_or_default()))
        .collect();
    Some(if pairs.is_empty() {
        "add spec.selector.matchLabels, with labels that spec.template.metadata.labels has too".to_owned()
    } else {
        format!("add spec.selector.matchLabels with labels of the pods: {{{}}}", pairs.join(", "))
    })
}

/// A selector that the pods' labels do not match.
fn unequal_selector(item: Item<'_>, error: &FieldError) -> Option<String> {
    if !error.detail.contains("`selector` does not match template `labels`") {
        return None;
    }
    let wanted = item.object.at(&["spec", "selector", "matchLabels"])?;
    Some(format!("spec.template.metadata.labels must hold {wanted}"))
}

/// Several ports, of which one has no name.
fn unnamed_port(item: Item<'_>, error: &FieldError) -> Option<String> {
    let is_port = error.field.starts_with("spec.ports[") && error.field.ends_with("].name");
    (is_port && error.kind == FieldErrorKind::Required && item.object.kind() == "Service")
        .then(|| "a service with several ports needs a name for each".to_owned())
}

fn over_range(_: Item<'_>, error: &FieldError) -> Option<String> {
    (error.field.ends_with("nodePort") && error.detail.contains("valid range"))
        .then(|| "leave nodePort out to get a free one".to_owned())
}
