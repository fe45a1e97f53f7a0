//! The pods of a StatefulSet: their names, and what else makes one of them.

use k8s_openapi::api::core::v1::Pod;
use kprov_schema::{Key, Object, Resource};
use serde_json::{Value, json};

use super::{REVISION, claims};
use crate::client::PatchKind;
use crate::controllers::machinery::action::Action;
use crate::controllers::machinery::history::Revision;
use crate::controllers::machinery::snapshot::Seen;
use crate::controllers::machinery::template;

const NAME: &str = "statefulset.kubernetes.io/pod-name";
const INDEX: &str = "apps.kubernetes.io/pod-index";

/// The number in a pod's name; `None` when the name is none of the set's.
pub(super) fn ordinal(set: &Key, pod: &str) -> Option<i32> {
    let digits = pod.strip_prefix(&*set.name)?.strip_prefix('-')?;
    let number: i32 = digits.parse().ok().filter(|number| *number >= 0)?;
    (number.to_string() == digits).then_some(number)
}

pub(super) fn name(set: &Object, ordinal: i32) -> String {
    format!("{}-{ordinal}", set.name())
}

pub(super) fn key(set: &Object, ordinal: i32) -> Key {
    Key::new(set.namespace(), name(set, ordinal))
}

/// The pod of an ordinal, of a revision's template.
pub(super) fn of(set: &Object, ordinal: i32, revision: &Revision) -> Object {
    let name = name(set, ordinal);
    let mut pod = template::pod_from(revision.template(), set);
    pod.set(&["metadata", "name"], json!(name));
    for (label, value) in [(NAME, name.clone()), (INDEX, ordinal.to_string()), (REVISION, revision.name.clone())] {
        pod.set(&["metadata", "labels", label], json!(value));
    }
    pod.set(&["spec", "hostname"], json!(name));
    if let Some(service) = set.text(&["spec", "serviceName"]).filter(|name| !name.is_empty()) {
        pod.set(&["spec", "subdomain"], json!(service));
    }
    mount_claims(set, ordinal, &mut pod);
    pod
}

/// Volumes of the claims stand before the template's own, and in place of those of the same name.
fn mount_claims(set: &Object, ordinal: i32, pod: &mut Object) {
    let templates = claims::templates(set);
    if templates.is_empty() {
        return;
    }
    let names: Vec<&str> = templates.iter().filter_map(|one| one["metadata"]["name"].as_str()).collect();
    let of = |name: &&str| {
        let claim = claims::name(set, name, ordinal);
        json!({"name": name, "persistentVolumeClaim": {"claimName": claim}})
    };
    let mut volumes: Vec<Value> = names.iter().map(of).collect();
    let own = pod.at(&["spec", "volumes"]).and_then(Value::as_array).into_iter().flatten();
    let others = own.filter(|volume| !volume["name"].as_str().is_some_and(|name| names.contains(&name)));
    volumes.extend(others.cloned());
    pod.set(&["spec", "volumes"], json!(volumes));
}

/// Gives a pod the labels back that say who it is.
pub(super) fn identity(set: &Object, ordinal: i32, pod: &Seen<Pod>) -> Option<Action> {
    let name = name(set, ordinal);
    if pod.raw.label(NAME) == Some(&name) {
        return None;
    }
    Some(Action::Patch {
        resource: Resource::of::<Pod>(),
        key: pod.raw.key(),
        subresource: None,
        kind: PatchKind::Merge,
        patch: json!({"metadata": {"uid": pod.raw.uid().0, "labels": {NAME: name, INDEX: ordinal.to_string()}}}),
    })
}
