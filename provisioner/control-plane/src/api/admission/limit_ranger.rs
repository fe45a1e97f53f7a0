//! The limit ranges of a namespace: what containers get that they do not ask for, and what is too little or too much.
//!
//! Source: `plugin/pkg/admission/limitranger`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, LimitRange, LimitRangeItem, PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use kprov_schema::quantity::Quantity;
use kprov_schema::rules::pod::totals;
use kprov_schema::{Object, Status, Typed};
use serde_json::{Value, json};

use super::Intent;
use crate::api::errors;
use crate::api::write;

const ANNOTATION: &str = "kubernetes.io/limit-ranger";

type Amounts = BTreeMap<String, Quantity>;

fn forbidden(intent: &Intent<'_>, object: &Object, why: &str) -> Status {
    errors::forbidden(&intent.target.kind.resource, object.name(), why)
}

/// The items of all limit ranges of the object's namespace, those of each together.
fn ranges(intent: &Intent<'_>) -> Result<Vec<Vec<LimitRangeItem>>, Status> {
    let all = intent.core.list::<LimitRange>(&intent.target.key.namespace)?;
    let read = |object: &Object| LimitRange::from_object(object).map_err(errors::internal);
    let items = |range: LimitRange| range.spec.map(|spec| spec.limits).unwrap_or_default();
    all.iter().map(|stored| read(&stored.object).map(items)).collect()
}

fn amounts(field: Option<&BTreeMap<String, Text>>) -> Amounts {
    field.into_iter().flatten().map(|(name, amount)| (name.clone(), Quantity::from(amount))).collect()
}

/// Gives containers of a new pod the defaults of its namespace.
pub(super) fn fill(intent: &Intent<'_>, pod: &mut Object) -> Result<(), Status> {
    if intent.old.is_some() {
        return Ok(());
    }
    for items in ranges(intent)? {
        let (mut limits, mut requests) = (BTreeMap::new(), BTreeMap::new());
        for item in items.into_iter().filter(|item| item.type_ == "Container") {
            limits.extend(item.default.unwrap_or_default());
            requests.extend(item.default_request.unwrap_or_default());
        }
        let mut told = Vec::new();
        for (list, what) in [("containers", "container"), ("initContainers", "init container")] {
            let Some(Value::Object(spec)) = pod.map_mut().get_mut("spec") else { continue };
            let Some(Value::Array(containers)) = spec.get_mut(list) else { continue };
            for container in containers {
                let name = container["name"].as_str().unwrap_or_default().to_owned();
                for (field, one, defaults) in [("requests", "request", &requests), ("limits", "limit", &limits)] {
                    let set = complete(&mut container["resources"], field, defaults);
                    if !set.is_empty() {
                        told.push(format!("{} {one} for {what} {name}", set.join(", ")));
                    }
                }
            }
        }
        if !told.is_empty() {
            let text = format!("LimitRanger plugin set: {}", told.join("; "));
            pod.set(&["metadata", "annotations", ANNOTATION], text.into());
        }
    }
    Ok(())
}

/// The names of the resources that were missing and are set now.
fn complete(resources: &mut Value, field: &str, defaults: &BTreeMap<String, Text>) -> Vec<String> {
    let missing = |name: &&String| resources[field].get(name.as_str()).is_none();
    let missing: Vec<String> = defaults.keys().filter(missing).cloned().collect();
    for name in &missing {
        if resources.is_null() {
            *resources = json!({});
        }
        if resources[field].is_null() {
            resources[field] = json!({});
        }
        resources[field][name] = defaults[name].0.as_str().into();
    }
    missing
}

/// Whether a new pod asks for enough and not for too much.
pub(super) fn pod(intent: &Intent<'_>, object: &Object, _: &mut Vec<String>) -> Result<(), Status> {
    if intent.old.is_some() {
        return Ok(());
    }
    let ranges = ranges(intent)?;
    if ranges.is_empty() {
        return Ok(());
    }
    let pod = Pod::from_object(object).map_err(|why| write::unreadable(&intent.target.kind, &why))?;
    for items in ranges {
        refuse(intent, object, items.iter().flat_map(|item| of_pod(item, &pod)).collect())?;
    }
    Ok(())
}

/// Whether a claim asks for enough and not for too much.
pub(super) fn claim(intent: &Intent<'_>, object: &Object, _: &mut Vec<String>) -> Result<(), Status> {
    if intent.old.is_some_and(|old| old.is_deleting()) {
        return Ok(());
    }
    let ranges = ranges(intent)?;
    if ranges.is_empty() {
        return Ok(());
    }
    let claim =
        PersistentVolumeClaim::from_object(object).map_err(|why| write::unreadable(&intent.target.kind, &why))?;
    let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    let asked = Asked { requests: amounts(resources.and_then(|all| all.requests.as_ref())), limits: None };
    for items in ranges {
        let of_claims = items.iter().filter(|item| item.type_ == "PersistentVolumeClaim");
        refuse(intent, object, of_claims.flat_map(|item| asked.wrong(item)).collect())?;
    }
    Ok(())
}

fn refuse(intent: &Intent<'_>, object: &Object, wrong: Vec<String>) -> Result<(), Status> {
    match wrong.as_slice() {
        [] => Ok(()),
        [one] => Err(forbidden(intent, object, one)),
        all => Err(forbidden(intent, object, &format!("[{}]", all.join(", ")))),
    }
}

fn of_pod(item: &LimitRangeItem, pod: &Pod) -> Vec<String> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    match item.type_.as_str() {
        "Container" => {
            let all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
            all.flat_map(|container| Asked::of(container).wrong(item)).collect()
        }
        "Pod" => Asked { requests: totals(spec, false), limits: Some(totals(spec, true)) }.wrong(item),
        _ => Vec::new(),
    }
}

/// What something asks for. What knows no limits is held to its requests.
struct Asked {
    requests: Amounts,
    limits: Option<Amounts>,
}

impl Asked {
    fn of(container: &Container) -> Self {
        let resources = container.resources.as_ref();
        Self {
            requests: amounts(resources.and_then(|all| all.requests.as_ref())),
            limits: Some(amounts(resources.and_then(|all| all.limits.as_ref()))),
        }
    }

    /// What is wrong with it by one item of a range.
    fn wrong(&self, item: &LimitRangeItem) -> Vec<String> {
        let type_ = item.type_.as_str();
        let mut wrong = Vec::new();
        for (name, least) in amounts(item.min.as_ref()) {
            let limit = self.limits.as_ref().and_then(|limits| limits.get(&name));
            let which = match (self.requests.get(&name), limit) {
                (None, _) => Some(".  No request is specified".to_owned()),
                (Some(request), _) if *request < least => Some(format!(", but request is {request}")),
                (_, Some(limit)) if *limit < least => Some(format!(", but limit is {limit}")),
                _ => None,
            };
            wrong.extend(which.map(|which| format!("minimum {name} usage per {type_} is {least}{which}")));
        }
        for (name, most) in amounts(item.max.as_ref()) {
            let over = |amount: &Quantity, what: &str| (*amount > most).then(|| format!(", but {what} is {amount}"));
            let request = self.requests.get(&name);
            let which = match &self.limits {
                Some(limits) => match limits.get(&name) {
                    None => Some(".  No limit is specified".to_owned()),
                    Some(limit) => over(limit, "limit").or_else(|| over(request?, "request")),
                },
                None => match request {
                    None => Some(".  No request is specified".to_owned()),
                    Some(request) => over(request, "request"),
                },
            };
            wrong.extend(which.map(|which| format!("maximum {name} usage per {type_} is {most}{which}")));
        }
        for (name, most) in amounts(item.max_limit_request_ratio.as_ref()).iter().filter(|_| self.limits.is_some()) {
            let which = self.ratio(name, most);
            wrong.extend(
                which.map(|which| format!("{name} max limit to request ratio per {type_} is {most}, but {which}")),
            );
        }
        wrong
    }

    #[allow(clippy::cast_precision_loss, reason = "upstream compares and prints ratios as floating-point numbers")]
    fn ratio(&self, name: &str, most: &Quantity) -> Option<String> {
        let request = self.requests.get(name).filter(|request| !request.is_zero());
        let limit = self.limits.as_ref().and_then(|limits| limits.get(name)).filter(|limit| !limit.is_zero());
        let Some(request) = request else { return Some("no request is specified or request is 0".to_owned()) };
        let Some(limit) = limit else { return Some("no limit is specified or limit is 0".to_owned()) };
        let ratio = limit.milli_value() as f64 / request.milli_value() as f64;
        (ratio * 1000.0 > most.milli_value() as f64).then(|| format!("provided ratio is {ratio:.6}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(value: Value) -> LimitRangeItem {
        serde_json::from_value(value).unwrap()
    }

    fn container(resources: Value) -> Asked {
        Asked::of(&serde_json::from_value(json!({"name": "c", "resources": resources})).unwrap())
    }

    #[test]
    fn tells_what_is_too_little_and_too_much() {
        let range = item(json!({"type": "Container", "min": {"memory": "64Mi"}, "max": {"cpu": "1"},
                                "maxLimitRequestRatio": {"cpu": "4"}}));
        let fine = container(json!({"requests": {"cpu": "500m", "memory": "64Mi"}, "limits": {"cpu": "1"}}));
        assert!(fine.wrong(&range).is_empty());
        let bad = container(json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "2"}}));
        assert_eq!(
            bad.wrong(&range),
            [
                "minimum memory usage per Container is 64Mi.  No request is specified",
                "maximum cpu usage per Container is 1, but limit is 2",
                "cpu max limit to request ratio per Container is 4, but provided ratio is 20.000000",
            ]
        );
    }

    #[test]
    fn claims_are_held_to_their_requests() {
        let range =
            item(json!({"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "2Gi"}}));
        let asks =
            |amount: &str| Asked { requests: [("storage".to_owned(), amount.parse().unwrap())].into(), limits: None };
        assert!(asks("1Gi").wrong(&range).is_empty());
        assert_eq!(
            asks("500Mi").wrong(&range),
            ["minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 500Mi"]
        );
        assert_eq!(
            asks("3Gi").wrong(&range),
            ["maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi"]
        );
    }

    #[test]
    fn containers_get_what_they_lack() {
        let mut resources = json!({"limits": {"cpu": "1"}});
        let defaults: BTreeMap<String, Text> =
            [("cpu".to_owned(), Text("2".to_owned())), ("memory".to_owned(), Text("1Gi".to_owned()))].into();
        assert_eq!(complete(&mut resources, "limits", &defaults), ["memory"]);
        assert_eq!(complete(&mut resources, "requests", &defaults), ["cpu", "memory"]);
        assert_eq!(resources["limits"], json!({"cpu": "1", "memory": "1Gi"}));
    }
}
