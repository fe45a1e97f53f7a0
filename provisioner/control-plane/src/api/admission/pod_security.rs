//! Pods are held to what the labels of their namespace ask; who would make others is told.
//!
//! Source: `pod-security-admission/admission`.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Namespace, Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kprov_schema::pod_security::{Forbidden, Level, Policy, Standard};
use kprov_schema::{Object, Status, Typed, templates};
use serde_json::Value;

use super::Intent;
use crate::api::{errors, write};

/// How many pods of a namespace are looked at when its level changes.
const MAX_PODS: usize = 3000;

/// The policy of the object's namespace. Labels that are wrong were there before they were looked at.
fn policy(intent: &Intent<'_>) -> Result<Policy, Status> {
    let name = &intent.target.key.namespace;
    let namespace = intent.core.get::<Namespace>("", name);
    let namespace = namespace.ok_or_else(|| errors::internal(format!("failed to lookup namespace \"{name}\"")))?;
    Ok(Policy::of(namespace.object.labels()).0)
}

fn read<T: Typed>(intent: &Intent<'_>, object: &Object) -> Result<T, Status> {
    T::from_object(object).map_err(|why| write::unreadable(&intent.target.kind, &why))
}

fn would_violate(standard: Standard, forbidden: &Forbidden) -> String {
    format!("would violate PodSecurity \"{standard}\": {forbidden}")
}

/// What a level forbids in a pod; of one that is not there, nothing.
fn forbids(
    standard: Standard,
    metadata: Option<&ObjectMeta>,
    spec: Option<&k8s_openapi::api::core::v1::PodSpec>,
) -> Forbidden {
    let annotations = metadata.and_then(|metadata| metadata.annotations.as_ref());
    spec.map(|spec| standard.forbids(annotations, spec)).unwrap_or_default()
}

/// Whether a namespace lets a pod in.
pub(super) fn pod(intent: &Intent<'_>, object: &Object, warnings: &mut Vec<String>) -> Result<(), Status> {
    let policy = policy(intent)?;
    if [policy.enforce, policy.warn].iter().all(|standard| standard.level == Level::Privileged) {
        return Ok(());
    }
    if intent.old.is_some_and(|old| !brings_images(object, old)) {
        return Ok(());
    }
    let pod: Pod = read(intent, object)?;
    let of = |standard| forbids(standard, Some(&pod.metadata), pod.spec.as_ref());
    let forbidden = of(policy.enforce);
    if !forbidden.is_empty() {
        let why = format!("violates PodSecurity \"{}\": {forbidden}", policy.enforce);
        return Err(errors::forbidden(&intent.target.kind.resource, object.name(), &why));
    }
    let advice = of(policy.warn);
    warnings.extend((!advice.is_empty()).then(|| would_violate(policy.warn, &advice)));
    Ok(())
}

/// Whether a change brings a container, or an image, that was not there.
fn brings_images(new: &Object, old: &Object) -> bool {
    let images = |object: &Object, list: &str| -> Vec<(Value, Value)> {
        let all = object.at(&["spec", list]).and_then(Value::as_array).into_iter().flatten();
        all.map(|one| (one["name"].clone(), one["image"].clone())).collect()
    };
    let changed = |list: &str| {
        let (new, old) = (images(new, list), images(old, list));
        new.len() != old.len() || new.iter().zip(&old).any(|((_, new), (_, old))| new != old)
    };
    let added = images(old, "ephemeralContainers");
    changed("containers")
        || changed("initContainers")
        || images(new, "ephemeralContainers").iter().any(|one| !added.contains(one))
}

/// Tells who makes pods that the namespace would tell about.
pub(super) fn template(intent: &Intent<'_>, object: &Object, warnings: &mut Vec<String>) -> Result<(), Status> {
    let path = templates::of(&intent.target.kind.resource).filter(|path| !path.is_empty());
    // A scale changes no template.
    let Some(path) = path.filter(|_| intent.target.part.is_none()) else { return Ok(()) };
    let warn = policy(intent)?.warn;
    let Some(template) = object.at(path).filter(|_| warn.level != Level::Privileged) else { return Ok(()) };
    let template: PodTemplateSpec = serde_json::from_value(template.clone())
        .map_err(|why| write::unreadable(&intent.target.kind, &why.to_string()))?;
    let advice = forbids(warn, template.metadata.as_ref(), template.spec.as_ref());
    warnings.extend((!advice.is_empty()).then(|| would_violate(warn, &advice)));
    Ok(())
}

/// Whether the labels of a namespace can be read; tells what runs there that a new level would not let in.
pub(super) fn namespace(intent: &Intent<'_>, object: &Object, warnings: &mut Vec<String>) -> Result<(), Status> {
    let (policy, wrong) = Policy::of(object.labels());
    let had = intent.old.map(|old| Policy::of(old.labels()));
    if !wrong.is_empty() && had.as_ref().is_none_or(|(_, had)| *had != wrong) {
        return Err(errors::invalid(&intent.target.kind, object.name(), &wrong));
    }
    let Some((had, _)) = had else { return Ok(()) };
    let (new, old) = (policy.enforce, had.enforce);
    let relaxed = new.version == old.version && new.level <= old.level;
    if new.level == Level::Privileged || relaxed {
        return Ok(());
    }
    warnings.extend(violators(intent, object.name(), new)?);
    Ok(())
}

/// What is told of the pods in a namespace that a level does not let in.
fn violators(intent: &Intent<'_>, namespace: &str, enforce: Standard) -> Result<Vec<String>, Status> {
    let stored = intent.core.list::<Pod>(namespace)?;
    let total = stored.len();
    let mut pods = Vec::with_capacity(total.min(MAX_PODS));
    for one in one_of_each(stored.iter().map(|stored| &*stored.object)).into_iter().take(MAX_PODS) {
        pods.push(Pod::from_object(one).map_err(errors::internal)?);
    }
    let mut told: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for pod in &pods {
        let forbidden = forbids(enforce, Some(&pod.metadata), pod.spec.as_ref());
        if !forbidden.is_empty() {
            told.entry(forbidden.reasons()).or_default().extend(pod.metadata.name.as_deref());
        }
    }
    let mut warnings = Vec::new();
    if pods.len() < total {
        let looked_at = pods.len();
        warnings.push(format!(
            "new PodSecurity enforce level only checked against the first {looked_at} of {total} existing pods"
        ));
    }
    if !told.is_empty() {
        warnings.push(format!(
            "existing pods in namespace \"{namespace}\" violate the new PodSecurity enforce level \"{enforce}\""
        ));
    }
    let mut lines: Vec<String> = told.iter().map(|(reasons, names)| line(reasons, names)).collect();
    lines.sort();
    warnings.extend(lines);
    Ok(warnings)
}

/// `a (and 2 other pods): privileged`.
fn line(reasons: &str, names: &BTreeSet<&str>) -> String {
    let first = names.first().copied().unwrap_or_default();
    match names.len() {
        1 => format!("{first}: {reasons}"),
        2 => format!("{first} (and 1 other pod): {reasons}"),
        many => format!("{first} (and {} other pods): {reasons}", many - 1),
    }
}

/// Pods in the order in which they are looked at: of those that one controller made, all but one come last.
fn one_of_each<'a>(pods: impl Iterator<Item = &'a Object>) -> Vec<&'a Object> {
    let mut seen = BTreeSet::new();
    let (mut first, others): (Vec<_>, Vec<_>) = pods.partition(|pod| {
        let owners = pod.at(&["metadata", "ownerReferences"]).and_then(Value::as_array);
        let controller = owners.into_iter().flatten().find(|owner| owner["controller"] == Value::Bool(true));
        controller.and_then(|owner| owner["uid"].as_str()).is_none_or(|uid| seen.insert(uid))
    });
    first.extend(others);
    first
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(spec: &Value) -> Object {
        Object::try_from(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
    }

    #[test]
    fn what_brings_an_image_is_looked_at() {
        let old =
            json!({"containers": [{"name": "a", "image": "i"}], "ephemeralContainers": [{"name": "e", "image": "i"}]});
        for (change, want) in [
            (json!({}), false),
            (json!({"tolerations": []}), false),
            (json!({"containers": [{"name": "a", "image": "j"}]}), true),
            (json!({"containers": [{"name": "a", "image": "i", "tty": true}]}), false),
            (json!({"initContainers": [{"name": "b", "image": "i"}]}), true),
            (json!({"ephemeralContainers": [{"name": "e", "image": "i"}, {"name": "f", "image": "i"}]}), true),
        ] {
            let mut new = old.clone();
            new.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            assert_eq!(brings_images(&pod(&new), &pod(&old)), want, "{change}");
        }
    }

    #[test]
    fn of_pods_of_one_controller_one_is_looked_at_first() {
        let pod = |name: &str, owner: Option<&str>| {
            let owners = owner.map(|uid| json!([{"uid": uid, "controller": true}]));
            Object::try_from(json!({"metadata": {"name": name, "ownerReferences": owners}})).unwrap()
        };
        let pods = [pod("a", Some("1")), pod("b", Some("1")), pod("c", None), pod("d", Some("2"))];
        let names: Vec<&str> = one_of_each(pods.iter()).into_iter().map(Object::name).collect();
        assert_eq!(names, ["a", "c", "d", "b"]);
    }

    #[test]
    fn others_are_counted() {
        for (names, want) in [("a", "a: x"), ("b a", "a (and 1 other pod): x"), ("c b a", "a (and 2 other pods): x")] {
            assert_eq!(line("x", &names.split(' ').collect()), want);
        }
    }
}
