//! Where kinds keep the template that they make pods from.

use crate::key::Resource;

/// Group, kind and plural of what makes pods, and the path of the template. A pod is its own.
const TEMPLATES: &[(&str, &str, &str, &[&str])] = &[
    ("", "Pod", "pods", &[]),
    ("", "PodTemplate", "podtemplates", &["template"]),
    ("", "ReplicationController", "replicationcontrollers", &["spec", "template"]),
    ("apps", "DaemonSet", "daemonsets", &["spec", "template"]),
    ("apps", "Deployment", "deployments", &["spec", "template"]),
    ("apps", "ReplicaSet", "replicasets", &["spec", "template"]),
    ("apps", "StatefulSet", "statefulsets", &["spec", "template"]),
    ("batch", "CronJob", "cronjobs", &["spec", "jobTemplate", "spec", "template"]),
    ("batch", "Job", "jobs", &["spec", "template"]),
];

/// The path of the template in objects of a resource; `None` when it makes no pods.
///
/// ```
/// use kprov_schema::{Resource, templates};
///
/// let jobs = Resource { group: "batch".into(), version: "v1".into(), plural: "jobs".into() };
/// assert_eq!(templates::of(&jobs), Some(["spec", "template"].as_slice()));
/// ```
#[must_use]
pub fn of(resource: &Resource) -> Option<&'static [&'static str]> {
    let is = |(group, _, plural, _): &&(&str, &str, &str, _)| *group == resource.group && *plural == resource.plural;
    TEMPLATES.iter().find(is).map(|(.., path)| *path)
}

/// The same by the `apiVersion` and `kind` of an object.
#[must_use]
pub fn of_kind(api_version: &str, kind: &str) -> Option<&'static [&'static str]> {
    let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
    TEMPLATES.iter().find(|(known, name, ..)| *known == group && *name == kind).map(|(.., path)| *path)
}
