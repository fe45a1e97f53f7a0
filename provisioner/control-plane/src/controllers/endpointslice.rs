//! EndpointSlices of services: which pods serve them, in slices of at most a hundred.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod, Service, ServicePort};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kprov_schema::selector::Labels;
use kprov_schema::{Key, Object, Resource};
use serde_json::{Map, Value, json};

use super::machinery::action::{Action, Outcome};
use super::machinery::meta::{controlled_by, time};
use super::machinery::snapshot::{Seen, Snapshot};
use super::machinery::{Config, Controller, Watch, status};
use crate::informer::{Change, Unreadable};

/// Endpoints that fit a slice.
const SLICE: usize = 100;
pub(super) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
pub(super) const SERVICE_NAME: &str = "kubernetes.io/service-name";
pub(super) const HEADLESS: &str = "service.kubernetes.io/headless";
pub(super) const TRIGGER: &str = "endpoints.kubernetes.io/last-change-trigger-time";
const MANAGER: &str = "endpointslice-controller.k8s.io";

/// Keeps the slices of services with a selector.
pub struct SlicesOfServices;

impl Controller for SlicesOfServices {
    const NAME: &'static str = "endpointslice-controller";

    fn new(_: &Config, _: Timestamp) -> Self {
        Self
    }

    fn watches() -> Vec<Watch> {
        vec![
            Watch::own::<Service>(),
            Watch::new::<Pod>(services_of_pod),
            Watch::new::<EndpointSlice>(|change, _| {
                let managed = change.latest().filter(|slice| slice.raw.label(MANAGED_BY) == Some(MANAGER));
                let service =
                    managed.and_then(|slice| Some(Key::new(&slice.key.namespace, slice.raw.label(SERVICE_NAME)?)));
                service.into_iter().collect()
            }),
            Watch::reading::<Node>(),
        ]
    }

    fn reconcile(&self, key: &Key, world: &Snapshot, _: Timestamp) -> Result<Outcome, Unreadable> {
        // Slices of a service that is gone are garbage.
        let Some(service) = world.get::<Service>(key)?.filter(|one| !one.raw.is_deleting()) else {
            return Ok(Outcome::nothing());
        };
        let Some(pods) = selected(&service, world)? else { return Ok(Outcome::nothing()) };
        let existing: Vec<Seen<EndpointSlice>> = world
            .owned_by::<EndpointSlice>(&service.raw.uid().0)?
            .into_iter()
            .filter(|slice| slice.raw.label(MANAGED_BY) == Some(MANAGER) && !slice.raw.is_deleting())
            .collect();
        let mut actions = Vec::new();
        for family in families(&service) {
            let mine: Vec<&Seen<EndpointSlice>> =
                existing.iter().filter(|slice| slice.address_type == family).collect();
            actions.extend(reconcile_family(&service, &family, &pods, &mine, world)?);
        }
        Ok(actions.into())
    }
}

/// The services whose endpoints a change to a pod may change.
pub(super) fn services_of_pod(change: &Change, world: &Snapshot) -> Vec<Key> {
    let Some(pod) = change.latest() else { return Vec::new() };
    let services = world.cache(&Resource::of::<Service>()).in_namespace(&pod.key.namespace);
    let selects = |service: &Object| {
        let pairs = service.at(&["spec", "selector"]).and_then(Value::as_object).filter(|pairs| !pairs.is_empty());
        pairs.is_some_and(|pairs| {
            change.sides().any(|side| pairs.iter().all(|(key, value)| side.raw.label(key) == value.as_str()))
        })
    };
    services.iter().filter(|service| selects(&service.raw)).map(|service| service.key.clone()).collect()
}

/// The pods a service selects; `None` when its endpoints are not made from pods.
pub(super) fn selected(service: &Seen<Service>, world: &Snapshot) -> Result<Option<Vec<Seen<Pod>>>, Unreadable> {
    let Some(spec) = &service.spec else { return Ok(None) };
    let Some(selector) = spec.selector.as_ref().filter(|_| spec.type_.as_deref() != Some("ExternalName")) else {
        return Ok(None);
    };
    let labels = Labels::equal(selector);
    let mut pods = world.in_namespace::<Pod>(service.raw.namespace())?;
    pods.retain(|pod| labels.match_object(&pod.raw));
    Ok(Some(pods))
}

fn families(service: &Service) -> Vec<String> {
    let families = service.spec.as_ref().and_then(|spec| spec.ip_families.clone()).filter(|all| !all.is_empty());
    families.unwrap_or_else(|| vec!["IPv4".to_owned()])
}

/// The pod's address of a family.
pub(super) fn address_of(pod: &Pod, family: &str) -> Option<String> {
    let all = pod.status.as_ref()?.pod_ips.iter().flatten().map(|one| one.ip.as_str());
    let parsed = all.chain(status::address(pod)).filter_map(|text| text.parse::<IpAddr>().ok());
    parsed.into_iter().find(|address| address.is_ipv6() == (family == "IPv6")).map(|address| address.to_string())
}

/// The number of a service's port on a pod; a name is looked up among its containers' ports.
pub(super) fn target_port(pod: &Pod, port: &ServicePort) -> Option<i32> {
    match port.target_port.as_ref() {
        None => Some(port.port),
        Some(IntOrString::Int(number)) => Some(if *number == 0 { port.port } else { *number }),
        Some(IntOrString::String(name)) => {
            let spec = pod.spec.as_ref()?;
            let sidecars =
                spec.init_containers.iter().flatten().filter(|one| one.restart_policy.as_deref() == Some("Always"));
            let ports = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            let named = |one: &&k8s_openapi::api::core::v1::ContainerPort| {
                one.name.as_deref() == Some(name) && one.protocol.as_deref().unwrap_or("TCP") == protocol
            };
            ports.into_iter().find(named).map(|one| one.container_port)
        }
    }
}

/// The pod's host name, where the service gives it one.
pub(super) fn hostname_of(pod: &Pod, service: &Object) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let hostname = spec.hostname.clone().filter(|name| !name.is_empty())?;
    (spec.subdomain.as_deref() == Some(service.name())).then_some(hostname)
}

pub(super) fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None")
}

pub(super) fn target_ref(pod: &Object) -> Value {
    json!({"kind": "Pod", "namespace": pod.namespace(), "name": pod.name(), "uid": pod.uid().0})
}

fn ports_of(service: &Service, pod: &Pod) -> Vec<Value> {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    ports
        .filter_map(|port| {
            let mut value = json!({
                "name": port.name.clone().unwrap_or_default(),
                "protocol": port.protocol.clone().unwrap_or_else(|| "TCP".into()),
                "port": target_port(pod, port)?,
            });
            if let Some(protocol) = &port.app_protocol {
                value["appProtocol"] = json!(protocol);
            }
            Some(value)
        })
        .collect()
}

fn endpoint(service: &Seen<Service>, pod: &Seen<Pod>, address: &str, world: &Snapshot) -> Result<Value, Unreadable> {
    let publish = service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses).unwrap_or(false);
    let (serving, terminating) = (status::is_ready(pod), status::is_deleting(pod));
    let mut endpoint = json!({
        "addresses": [address],
        "conditions": {"ready": publish || serving && !terminating, "serving": serving, "terminating": terminating},
        "targetRef": target_ref(&pod.raw),
    });
    if let Some(hostname) = hostname_of(pod, &service.raw) {
        endpoint["hostname"] = json!(hostname);
    }
    if let Some(node) = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()) {
        let at = world.cache(&Resource::of::<Node>()).get(&Key::new("", &node));
        if let Some(zone) = at.as_ref().and_then(|at| at.raw.label("topology.kubernetes.io/zone")) {
            endpoint["zone"] = json!(zone);
        }
        endpoint["nodeName"] = json!(node);
    }
    Ok(endpoint)
}

/// Content of a slice.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Content {
    pub(super) endpoints: Vec<Value>,
    pub(super) ports: Vec<Value>,
}

impl Content {
    fn of(slice: &Object) -> Self {
        let list = |field: &str| slice.at(&[field]).and_then(Value::as_array).cloned().unwrap_or_default();
        Self { endpoints: list("endpoints"), ports: list("ports") }
    }
}

fn uid_of(endpoint: &Value) -> &str {
    endpoint.pointer("/targetRef/uid").and_then(Value::as_str).unwrap_or_default()
}

fn reconcile_family(
    service: &Seen<Service>,
    family: &str,
    pods: &[Seen<Pod>],
    existing: &[&Seen<EndpointSlice>],
    world: &Snapshot,
) -> Result<Vec<Action>, Unreadable> {
    let mut groups: BTreeMap<String, Content> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| !status::is_finished(pod)) {
        let Some(address) = address_of(pod, family) else { continue };
        let ports = ports_of(service, pod);
        let group = groups.entry(Value::Array(ports.clone()).to_string());
        let content = group.or_insert_with(|| Content { endpoints: Vec::new(), ports });
        content.endpoints.push(endpoint(service, pod, &address, world)?);
    }
    let wanted: Vec<Content> = groups.into_values().collect();
    let old: Vec<Content> = existing.iter().map(|slice| Content::of(&slice.raw)).collect();
    let trigger = trigger(service, pods, &old, &wanted);
    let plan = arrange(&old, wanted);
    let head = Head {
        owner: &service.raw,
        manager: MANAGER,
        labels: labels(service),
        annotations: trigger.map(|at| (TRIGGER.to_owned(), at)).into_iter().collect(),
        family,
    };
    let slices: Vec<&Object> = existing.iter().map(|slice| &*slice.raw).collect();
    Ok(head.write(&slices, plan))
}

/// Labels of the service itself, and whether it is headless.
fn labels(service: &Seen<Service>) -> Map<String, Value> {
    let own = [MANAGED_BY, SERVICE_NAME, HEADLESS];
    let copied = service.raw.labels().filter(|(key, _)| !own.contains(key));
    let mut labels: Map<String, Value> = copied.map(|(key, value)| (key.to_owned(), json!(value))).collect();
    if is_headless(service) {
        labels.insert(HEADLESS.to_owned(), json!(""));
    }
    labels
}

/// When what caused a change happened: a pod's readiness turned, or the service came.
fn trigger(service: &Seen<Service>, pods: &[Seen<Pod>], old: &[Content], new: &[Content]) -> Option<Value> {
    let by_uid = |contents: &[Content]| -> BTreeMap<String, String> {
        let all = contents.iter().flat_map(|one| &one.endpoints);
        all.map(|endpoint| (uid_of(endpoint).to_owned(), endpoint.to_string())).collect()
    };
    let (old_endpoints, new_endpoints) = (by_uid(old), by_uid(new));
    let changed = pods.iter().filter(|pod| {
        let uid = pod.raw.uid().0;
        old_endpoints.get(&uid) != new_endpoints.get(&uid)
    });
    first_trigger(service, changed, old.is_empty())
}

/// The earliest moment among the readiness of pods that changed and, for a new service, its creation.
pub(super) fn first_trigger<'a>(
    service: &Seen<Service>,
    changed: impl Iterator<Item = &'a Seen<Pod>>,
    is_new: bool,
) -> Option<Value> {
    let turned = changed.filter_map(|pod| Some(status::condition(pod, "Ready")?.last_transition_time.as_ref()?.0));
    let created = service.metadata.creation_timestamp.as_ref().map(|time| time.0).filter(|_| is_new);
    turned.chain(created).min().map(time)
}

/// New contents for the existing slices (`None`: not needed any more), then contents of further slices.
///
/// Endpoints stay in their slices, so that a change touches as few slices as possible. There is always one slice.
pub(super) fn arrange(old: &[Content], wanted: Vec<Content>) -> Vec<Option<Content>> {
    let mut plan: Vec<Option<Content>> = vec![None; old.len()];
    let mut further = Vec::new();
    for group in wanted {
        let mut left = group.endpoints;
        let mut mine: Vec<usize> = (0..old.len()).filter(|at| old[*at].ports == group.ports).collect();
        for at in &mine {
            plan[*at] = Some(keep(&old[*at], &mut left));
        }
        mine.sort_by_key(|at| std::cmp::Reverse(plan[*at].as_ref().map_or(0, |content| content.endpoints.len())));
        for at in mine {
            let Some(content) = plan[at].as_mut() else { continue };
            let room = SLICE.saturating_sub(content.endpoints.len()).min(left.len());
            content.endpoints.extend(left.drain(..room));
            if content.endpoints.is_empty() {
                plan[at] = None;
            }
        }
        further.extend(left.chunks(SLICE).map(|part| Content { endpoints: part.to_vec(), ports: group.ports.clone() }));
    }
    if plan.iter().all(Option::is_none) && further.is_empty() {
        further.push(Content { endpoints: Vec::new(), ports: Vec::new() });
    }
    // What is not needed any more takes in what is new.
    let mut further = further.into_iter();
    for content in plan.iter_mut().filter(|content| content.is_none()) {
        *content = further.next();
    }
    plan.extend(further.map(Some));
    plan
}

/// The endpoints of a slice that are still wanted, as they are wanted now.
fn keep(old: &Content, left: &mut Vec<Value>) -> Content {
    let uids: BTreeSet<&str> = old.endpoints.iter().map(uid_of).collect();
    let (mut kept, rest): (Vec<Value>, Vec<Value>) =
        std::mem::take(left).into_iter().partition(|one| uids.contains(uid_of(one)));
    *left = rest;
    let position = |one: &Value| old.endpoints.iter().position(|before| uid_of(before) == uid_of(one));
    kept.sort_by_key(position);
    Content { endpoints: kept, ports: old.ports.clone() }
}

/// What all slices of one owner have in common.
pub(super) struct Head<'a> {
    pub(super) owner: &'a Object,
    pub(super) manager: &'static str,
    pub(super) labels: Map<String, Value>,
    pub(super) annotations: Map<String, Value>,
    pub(super) family: &'a str,
}

impl Head<'_> {
    /// Creates, updates and deletes slices so that they are as planned.
    pub(super) fn write(&self, existing: &[&Object], plan: Vec<Option<Content>>) -> Vec<Action> {
        let mut labels = self.labels.clone();
        labels.insert(MANAGED_BY.to_owned(), json!(self.manager));
        labels.insert(SERVICE_NAME.to_owned(), json!(self.owner.name()));
        let labels = Value::Object(labels);
        let resource = Resource::of::<EndpointSlice>;
        let mut actions = Vec::new();
        for (at, content) in plan.into_iter().enumerate() {
            match (existing.get(at), content) {
                (Some(slice), Some(content)) => {
                    if Content::of(slice) != content || slice.at(&["metadata", "labels"]) != Some(&labels) {
                        let mut object = Object::clone(slice);
                        self.fill(&mut object, &labels, content);
                        actions.push(Action::update(resource(), object));
                    }
                }
                (Some(slice), None) => actions.push(Action::delete(resource(), slice.key(), &slice.uid())),
                (None, Some(content)) => actions.push(Action::create(resource(), self.slice(&labels, content))),
                (None, None) => {}
            }
        }
        actions
    }

    fn fill(&self, object: &mut Object, labels: &Value, content: Content) {
        let list = |values: Vec<Value>| if values.is_empty() { Value::Null } else { Value::Array(values) };
        object.set(&["metadata", "labels"], labels.clone());
        if self.annotations.is_empty() {
            object.remove(&["metadata", "annotations"]);
        } else {
            object.set(&["metadata", "annotations"], Value::Object(self.annotations.clone()));
        }
        object.set(&["endpoints"], list(content.endpoints));
        object.set(&["ports"], list(content.ports));
    }

    fn slice(&self, labels: &Value, content: Content) -> Object {
        let body = json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "generateName": format!("{}-", self.owner.name()),
                "namespace": self.owner.namespace(),
                "ownerReferences": [controlled_by(self.owner)],
            },
            "addressType": self.family,
        });
        let mut object = Object::try_from(body).expect("written as a map");
        self.fill(&mut object, labels, content);
        object
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(port: i32, uids: std::ops::Range<i32>) -> Content {
        Content {
            endpoints: uids.map(|uid| json!({"targetRef": {"uid": uid.to_string()}})).collect(),
            ports: vec![json!({"port": port})],
        }
    }

    fn empty() -> Content {
        Content { endpoints: Vec::new(), ports: Vec::new() }
    }

    fn sizes(plan: &[Option<Content>]) -> Vec<Option<usize>> {
        plan.iter().map(|one| one.as_ref().map(|content| content.endpoints.len())).collect()
    }

    #[test]
    fn slices_are_kept_filled_recycled_and_split() {
        assert_eq!(arrange(&[], Vec::new()), [Some(empty())]);
        assert_eq!(arrange(&[empty()], vec![content(80, 0..2)]), [Some(content(80, 0..2))]);
        assert_eq!(arrange(&[content(80, 0..2)], Vec::new()), [Some(empty())]);
        assert_eq!(sizes(&arrange(&[], vec![content(80, 0..250)])), [Some(100), Some(100), Some(50)]);
        let old = [content(80, 0..100), content(80, 100..130)];
        assert_eq!(sizes(&arrange(&old, vec![content(80, 0..140)])), [Some(100), Some(40)]);
        assert_eq!(sizes(&arrange(&old, vec![content(80, 0..100)])), [Some(100), None]);
        assert_eq!(
            sizes(&arrange(&[content(80, 0..1)], vec![content(80, 0..1), content(90, 1..2)])),
            [Some(1), Some(1)]
        );
    }
}
