//! What objects of a bundle mean for each other: names that lead nowhere, selectors that match nothing.
//!
//! None of it is the server's matter: what is not here may be in the cluster. So these are warnings where a name in the
//! bundle is similar, and notes where there is none.

use std::collections::BTreeMap;

use k8s_openapi::Resource;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kprov_schema::reference::{self, Named, names};
use kprov_schema::templates;
use serde_json::{Map, Value};

use super::{Item, Kinds, pod_security};
use crate::problem::{Problem, Severity};
use crate::similar;

/// The same object twice.
pub(super) fn equal_names(items: &[Item<'_>]) -> Vec<Problem> {
    let mut seen: BTreeMap<(&str, &str, &str, &str), Item<'_>> = BTreeMap::new();
    let mut problems = Vec::new();
    for item in items.iter().filter(|item| !item.object.name().is_empty()) {
        let object = item.object;
        let key = (group(object.api_version()), object.kind(), object.namespace(), object.name());
        let Some(first) = seen.get(&key) else {
            seen.insert(key, *item);
            continue;
        };
        let place = match first.origin {
            Some(origin) => format!(" at {}:{}", origin.source.name, origin.node.span.start.line),
            None => " earlier in the bundle".to_owned(),
        };
        let problem =
            item.problem(Severity::Error, "metadata.name", format!("{} is there twice, first{place}", item.title()));
        problems.push(problem.hint("give one of them another name, or take it out"));
    }
    problems
}

fn group(api_version: &str) -> &str {
    api_version.rsplit_once('/').map_or("", |(group, _)| group)
}

/// Everything that leads nowhere within the bundle.
pub(super) fn check(kinds: &Kinds, items: &[Item<'_>]) -> Vec<Problem> {
    let wholes: Vec<Value> = items.iter().map(|item| Value::from(item.object.clone())).collect();
    let pods = items.iter().zip(&wholes).filter_map(|(item, whole)| Pods::of(*item, whole)).collect();
    let all = All { items, pods };
    let mut problems = Vec::new();
    for (item, whole) in items.iter().zip(&wholes) {
        problems.extend(all.selector(*item));
        problems.extend(all.named_references(*item, whole));
        match item.object.kind() {
            "Service" => problems.extend(all.target_ports(*item)),
            "Ingress" => problems.extend(all.backends(*item, whole)),
            _ => {}
        }
    }
    problems.extend(all.pods.iter().flat_map(host_paths));
    problems.extend(pod_security::check(kinds, items, &all.pods));
    problems
}

/// The pods that an object is or makes.
pub(super) struct Pods<'a> {
    pub(super) item: Item<'a>,
    /// Path of the pod's specification.
    pub(super) path: String,
    pub(super) template: &'a Value,
}

impl<'a> Pods<'a> {
    pub(super) fn of(item: Item<'a>, whole: &'a Value) -> Option<Self> {
        let path = templates::of_kind(item.object.api_version(), item.object.kind())?;
        let spec = path.iter().chain(&["spec"]).copied().collect::<Vec<_>>().join(".");
        let template = path.iter().fold(whole, |value, step| &value[step]);
        Some(Self { item, path: spec, template })
    }

    fn labels(&self) -> Option<&'a Map<String, Value>> {
        self.template["metadata"]["labels"].as_object()
    }

    fn containers(&self) -> impl Iterator<Item = &'a Value> {
        ["containers", "initContainers"]
            .into_iter()
            .flat_map(|field| self.template["spec"][field].as_array().into_iter().flatten())
    }
}

fn matches(wanted: &Map<String, Value>, labels: Option<&Map<String, Value>>) -> bool {
    labels.is_some_and(|labels| wanted.iter().all(|(key, value)| labels.get(key) == Some(value)))
}

/// Where kinds keep selectors of pods, and whether `matchLabels` is inside.
const SELECTORS: &[(&str, &str)] = &[
    (Service::KIND, "spec.selector"),
    (PodDisruptionBudget::KIND, "spec.selector.matchLabels"),
    (NetworkPolicy::KIND, "spec.podSelector.matchLabels"),
];

/// Names of other objects, by the kind that names them: path of the name, kind that is named.
const NAMED: &[(&str, &str, &str)] = &[
    (StatefulSet::KIND, "spec.serviceName", Service::KIND),
    (HorizontalPodAutoscaler::KIND, "spec.scaleTargetRef.name", ""),
    (RoleBinding::KIND, "roleRef.name", ""),
    (Ingress::KIND, "spec.ingressClassName", IngressClass::KIND),
];

struct All<'a> {
    items: &'a [Item<'a>],
    pods: Vec<Pods<'a>>,
}

impl<'a> All<'a> {
    /// The objects of a kind that are in the namespace of another one.
    fn beside(&self, kind: &'a str, item: Item<'a>) -> impl Iterator<Item = &'a super::Object> {
        let namespace = item.object.namespace();
        let all = self.items.iter().map(|one| one.object);
        all.filter(move |one| one.kind() == kind && one.namespace() == namespace)
    }

    /// A selector that no pod of the bundle matches.
    fn selector(&self, item: Item<'a>) -> Option<Problem> {
        let (_, path) = SELECTORS.iter().find(|(kind, _)| *kind == item.object.kind())?;
        let wanted = item.object.at(&path.split('.').collect::<Vec<_>>())?.as_object().filter(|map| !map.is_empty())?;
        let pods = || self.pods.iter().filter(|pods| pods.item.object.namespace() == item.object.namespace());
        if pods().next().is_none() || pods().any(|pods| matches(wanted, pods.labels())) {
            return None;
        }
        let nearest = pods()
            .filter_map(|pods| Some((pods, pods.labels()?)))
            .max_by_key(|(_, labels)| wanted.iter().filter(|(key, value)| labels.get(*key) == Some(value)).count());
        let wanted = Value::Object(wanted.clone());
        let problem = item.problem(Severity::Warning, path, format!("{path} {wanted} matches no pod of the bundle"));
        Some(match nearest {
            Some((pods, labels)) => {
                problem.hint(format!("pods of {} have the labels {}", pods.item.title(), Value::Object(labels.clone())))
            }
            None => problem,
        })
    }

    /// Ports that a service names and no container of its pods has.
    fn target_ports(&self, item: Item<'a>) -> Vec<Problem> {
        let Some(wanted) = item.object.at(&["spec", "selector"]).and_then(Value::as_object) else { return Vec::new() };
        let pods = || self.pods.iter().filter(|pods| matches(wanted, pods.labels()));
        if wanted.is_empty() || pods().next().is_none() {
            return Vec::new();
        }
        let known: Vec<&str> = pods()
            .flat_map(Pods::containers)
            .flat_map(|container| container["ports"].as_array().into_iter().flatten())
            .filter_map(|port| port["name"].as_str())
            .collect();
        let ports = item.object.at(&["spec", "ports"]).and_then(Value::as_array).into_iter().flatten().enumerate();
        let named = ports.filter_map(|(index, port)| Some((index, port["targetPort"].as_str()?)));
        named
            .filter(|(_, name)| !known.contains(name))
            .map(|(index, name)| {
                let path = format!("spec.ports[{index}].targetPort");
                let message = format!("no container of the pods has a port named {name:?}");
                listing(item.problem(Severity::Warning, &path, message), "ports are", name, &known)
            })
            .collect()
    }

    /// Services behind an ingress that are not there, or have no such port.
    fn backends(&self, item: Item<'a>, whole: &'a Value) -> Vec<Problem> {
        let spec = &whole["spec"];
        let default = names(spec, "defaultBackend.service.name", "");
        let paths = names(spec, "rules[].http.paths[].backend.service.name", "");
        default.iter().chain(&paths).filter_map(|one| self.backend(item, one)).collect()
    }

    fn backend(&self, item: Item<'a>, named: &Named<'a>) -> Option<Problem> {
        let path = format!("spec.{}", named.path);
        let Some(service) = self.beside("Service", item).find(|service| service.name() == named.name) else {
            let message = format!("backend service {:?} is not in the bundle: requests would get 503", named.name);
            let known: Vec<&str> = self.beside("Service", item).map(super::Object::name).collect();
            let severity = if known.is_empty() { Severity::Note } else { Severity::Warning };
            return Some(listing(item.problem(severity, &path, message), "services are", named.name, &known));
        };
        let port = &named.beside["port"];
        let ports = service.at(&["spec", "ports"]).and_then(Value::as_array)?;
        let (field, wanted, theirs) = if port["number"].is_null() {
            ("name", &port["name"], "name")
        } else {
            ("number", &port["number"], "port")
        };
        if wanted.is_null() || ports.iter().any(|port| port[theirs] == *wanted) {
            return None;
        }
        let known: Vec<String> = ports.iter().map(|port| port[theirs].to_string()).collect();
        let path = format!("{}.port.{field}", path.trim_end_matches(".name"));
        let message = format!("service {:?} has no port {wanted}", named.name);
        Some(item.problem(Severity::Warning, &path, message).hint(format!("its ports are: {}", known.join(", "))))
    }

    /// Names of objects that are not there.
    fn named_references(&self, item: Item<'a>, whole: &'a Value) -> Vec<Problem> {
        let own = NAMED.iter().filter(|(owner, ..)| *owner == item.object.kind());
        let own = own.flat_map(|(_, path, kind)| names(whole, path, "").into_iter().map(move |named| (named, *kind)));
        let pods = Pods::of(item, whole).into_iter();
        let inner = pods.flat_map(|pods| reference::of_pod(&pods.template["spec"], &pods.path));
        own.chain(inner.map(|(row, named)| (named, row.kind)))
            .filter_map(|(named, kind)| self.reference(item, &named, kind))
            .collect()
    }

    fn reference(&self, item: Item<'a>, named: &Named<'a>, kind: &'a str) -> Option<Problem> {
        let kind = if kind.is_empty() { named.beside["kind"].as_str()? } else { kind };
        let optional = named.beside["optional"] == Value::Bool(true);
        if optional || named.name.is_empty() || (kind == "ServiceAccount" && named.name == "default") {
            return None;
        }
        let same_kind = || self.items.iter().map(|one| one.object).filter(|one| one.kind() == kind);
        if let Some(target) = same_kind().find(|one| one.name() == named.name) {
            return self.key(item, named, target);
        }
        let known: Vec<&str> = same_kind().map(super::Object::name).collect();
        let message = format!("{kind} {:?} is not in the bundle", named.name);
        match similar::nearest(named.name, known.iter().copied()) {
            Some(near) => {
                Some(item.problem(Severity::Warning, &named.path, message).hint(format!("did you mean `{near}`?")))
            }
            None => {
                let note = item.problem(Severity::Note, &named.path, message);
                Some(note.hint("it must be in the cluster already, or pods wait for it"))
            }
        }
    }

    /// A key that a config map or a secret of the bundle does not have.
    fn key(&self, item: Item<'a>, named: &Named<'a>, target: &super::Object) -> Option<Problem> {
        if !["ConfigMap", "Secret"].contains(&target.kind()) {
            return None;
        }
        let keys: Vec<&str> = ["data", "stringData", "binaryData"]
            .into_iter()
            .filter_map(|field| target.map().get(field)?.as_object())
            .flat_map(|map| map.keys().map(String::as_str))
            .collect();
        let items = named.beside["items"].as_array().into_iter().flatten();
        let mut wanted = named.beside["key"].as_str().into_iter().chain(items.filter_map(|item| item["key"].as_str()));
        let missing = wanted.find(|key| !keys.contains(key))?;
        let message = format!("{} {:?} has no key {missing:?}", target.kind(), named.name);
        Some(listing(item.problem(Severity::Warning, &named.path, message), "its keys are", missing, &keys))
    }
}

/// A problem with the name that was probably meant, or with all that there are.
fn listing(problem: Problem, words: &str, given: &str, known: &[&str]) -> Problem {
    match similar::nearest(given, known.iter().copied()) {
        Some(near) => problem.hint(format!("did you mean `{near}`?")),
        None if known.is_empty() => problem,
        None => problem.hint(format!("{words}: {}", known.join(", "))),
    }
}

/// Volumes that are folders of the node.
fn host_paths(pods: &Pods<'_>) -> Vec<Problem> {
    let volumes = pods.template["spec"]["volumes"].as_array().into_iter().flatten().enumerate();
    let host = volumes.filter(|(_, volume)| volume["hostPath"].is_object());
    host.map(|(index, _)| {
        let path = format!("{}.volumes[{index}].hostPath", pods.path);
        let message = "a hostPath volume is a folder of whatever node the pod is on";
        pods.item
            .problem(Severity::Note, &path, message)
            .hint("data that shall stay belongs in a PersistentVolumeClaim")
    })
    .collect()
}
