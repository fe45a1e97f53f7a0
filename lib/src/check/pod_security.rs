//! Pods of a bundle whose namespace, in the same bundle, does not let them in, or would tell about them.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use kprov_schema::pod_security::{Forbidden, Level, Policy, Standard};
use serde_json::Value;

use super::references::Pods;
use super::{Item, Kinds};
use crate::problem::{Problem, Severity};

pub(super) fn check(kinds: &Kinds, items: &[Item<'_>], pods: &[Pods<'_>]) -> Vec<Problem> {
    let namespaces: Vec<Item<'_>> = items.iter().filter(|item| is_namespace(item)).copied().collect();
    let mut problems: Vec<Problem> = namespaces.iter().flat_map(|item| wrong_labels(*item)).collect();
    for pods in pods.iter().filter(|pods| kinds.of(pods.item.object).is_some()) {
        let namespace = namespaces.iter().find(|item| item.object.name() == pods.item.object.namespace());
        problems.extend(namespace.and_then(|namespace| of_pods(pods, Policy::of(namespace.object.labels()).0)));
    }
    problems
}

fn is_namespace(item: &Item<'_>) -> bool {
    item.object.kind() == "Namespace" && item.object.api_version() == "v1"
}

/// Labels that can't be read.
fn wrong_labels(item: Item<'_>) -> Vec<Problem> {
    let (_, wrong) = Policy::of(item.object.labels());
    wrong.iter().map(|error| item.problem(Severity::Error, &error.field, error.to_string())).collect()
}

fn of_pods(pods: &Pods<'_>, policy: Policy) -> Option<Problem> {
    // What can't be read was told where the object was checked itself.
    let template = PodTemplateSpec {
        metadata: serde_json::from_value(pods.template["metadata"].clone()).ok(),
        spec: serde_json::from_value(Value::clone(&pods.template["spec"])).ok(),
    };
    let forbidden = |standard: Standard| -> Forbidden {
        let annotations = template.metadata.as_ref().and_then(|metadata| metadata.annotations.as_ref());
        template.spec.as_ref().map(|spec| standard.forbids(annotations, spec)).unwrap_or_default()
    };
    let told = |severity, standard: Standard, verb: &str| {
        let forbidden = forbidden(standard);
        let message = format!("{verb} PodSecurity \"{standard}\": {forbidden}");
        (!forbidden.is_empty()).then(|| pods.item.problem(severity, &pods.path, message))
    };
    let enforced = if pods.item.object.kind() == "Pod" {
        told(Severity::Error, policy.enforce, "violates")
    } else {
        let hint = "its namespace would not let such pods in";
        told(Severity::Warning, policy.enforce, "would violate").map(|problem| problem.hint(hint))
    };
    let mend = |problem: Problem, level: Level| match level {
        Level::Restricted => problem.hint("`restricted()` of a builder asks for what this level demands"),
        Level::Privileged | Level::Baseline => problem,
    };
    enforced.map(|problem| mend(problem, policy.enforce.level)).or_else(|| {
        told(Severity::Warning, policy.warn, "would violate").map(|problem| mend(problem, policy.warn.level))
    })
}
