//! Endpoints of services, the older form of their slices.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use kprov_schema::{Key, Object, Resource};
use serde_json::{Map, Value, json};

use super::endpointslice::{
    HEADLESS, TRIGGER, address_of, first_trigger, hostname_of, is_headless, selected, services_of_pod, target_port,
    target_ref,
};
use super::machinery::action::{Action, Outcome};
use super::machinery::snapshot::{Seen, Snapshot};
use super::machinery::{Config, Controller, Watch, status};
use crate::informer::Unreadable;

/// Addresses that fit one object; what is beyond is left out, and an annotation says so.
const CAPACITY: usize = 1000;
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
pub(super) const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";

/// Keeps Endpoints of services with a selector.
pub struct EndpointsOfServices;

impl Controller for EndpointsOfServices {
    const NAME: &'static str = "endpoint-controller";

    fn new(_: &Config, _: Timestamp) -> Self {
        Self
    }

    fn watches() -> Vec<Watch> {
        vec![Watch::own::<Service>(), Watch::new::<Pod>(services_of_pod), Watch::own::<Endpoints>()]
    }

    fn reconcile(&self, key: &Key, world: &Snapshot, _: Timestamp) -> Result<Outcome, Unreadable> {
        let current = world.get::<Endpoints>(key)?;
        let Some(service) = world.get::<Service>(key)? else {
            let ours = current.filter(|current| current.raw.label(MANAGED_BY) == Some(MANAGER));
            let delete = ours.map(|ours| Action::delete(Resource::of::<Endpoints>(), key.clone(), &ours.raw.uid()));
            return Ok(delete.into_iter().collect::<Vec<_>>().into());
        };
        let Some(pods) = selected(&service, world)?.filter(|_| !service.raw.is_deleting()) else {
            return Ok(Outcome::nothing());
        };
        Ok(write(&service, &pods, current.as_ref()).into_iter().collect::<Vec<_>>().into())
    }
}

/// An address with whether it is ready and the ports it serves.
struct Address {
    value: Value,
    ready: bool,
    ports: Vec<Value>,
}

fn address(service: &Seen<Service>, pod: &Seen<Pod>) -> Option<Address> {
    let spec = service.spec.as_ref()?;
    let publish = spec.publish_not_ready_addresses.unwrap_or(false);
    if status::is_finished(pod) || status::is_deleting(pod) && !publish {
        return None;
    }
    let family = spec.ip_families.as_ref().and_then(|all| all.first()).map_or("IPv4", String::as_str);
    let mut value = json!({"ip": address_of(pod, family)?, "targetRef": target_ref(&pod.raw)});
    if let Some(node) = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()) {
        value["nodeName"] = json!(node);
    }
    if let Some(hostname) = hostname_of(pod, &service.raw) {
        value["hostname"] = json!(hostname);
    }
    let ports: Vec<Value> = spec
        .ports
        .iter()
        .flatten()
        .filter_map(|port| {
            let mut value =
                json!({"port": target_port(pod, port)?, "protocol": port.protocol.as_deref().unwrap_or("TCP")});
            if let Some(name) = port.name.as_ref().filter(|name| !name.is_empty()) {
                value["name"] = json!(name);
            }
            if let Some(protocol) = &port.app_protocol {
                value["appProtocol"] = json!(protocol);
            }
            Some(value)
        })
        .collect();
    let without_ports = spec.ports.as_ref().is_none_or(Vec::is_empty) && is_headless(service);
    (!ports.is_empty() || without_ports).then(|| Address { value, ready: publish || status::is_ready(pod), ports })
}

/// Ready addresses, others, and the ports that they share.
type Subset = (Vec<Value>, Vec<Value>, Vec<Value>);

/// Addresses with equal ports together, ready ones apart from others.
fn subsets(mut addresses: Vec<Address>) -> (Vec<Value>, bool) {
    let over = addresses.len() > CAPACITY;
    addresses.sort_by_key(|address| !address.ready);
    addresses.truncate(CAPACITY);
    let mut groups: BTreeMap<String, Subset> = BTreeMap::new();
    for address in addresses {
        let group = groups.entry(Value::Array(address.ports.clone()).to_string()).or_default();
        if address.ready {
            group.0.push(address.value)
        } else {
            group.1.push(address.value)
        }
        group.2 = address.ports;
    }
    let subset = |(mut ready, mut unready, ports): (Vec<Value>, Vec<Value>, Vec<Value>)| {
        let mut subset = Map::new();
        for (field, list) in [("addresses", &mut ready), ("notReadyAddresses", &mut unready)] {
            list.sort_by_key(|one| one["ip"].as_str().map(str::to_owned));
            if !list.is_empty() {
                subset.insert(field.to_owned(), Value::Array(std::mem::take(list)));
            }
        }
        if !ports.is_empty() {
            subset.insert("ports".to_owned(), Value::Array(ports));
        }
        Value::Object(subset)
    };
    (groups.into_values().map(subset).collect(), over)
}

fn write(service: &Seen<Service>, pods: &[Seen<Pod>], current: Option<&Seen<Endpoints>>) -> Option<Action> {
    let (subsets, over) = subsets(pods.iter().filter_map(|pod| address(service, pod)).collect());
    let mut labels: Map<String, Value> =
        service.raw.labels().map(|(key, value)| (key.to_owned(), json!(value))).collect();
    labels.remove(HEADLESS);
    if is_headless(service) {
        labels.insert(HEADLESS.to_owned(), json!(""));
    }
    labels.insert(MANAGED_BY.to_owned(), json!(MANAGER));
    let labels = Value::Object(labels);
    let old = current.and_then(|one| one.raw.at(&["subsets"])).and_then(Value::as_array).cloned().unwrap_or_default();
    if let Some(current) = current {
        let capacity = current.raw.annotation(OVER_CAPACITY).is_some() == over;
        if old == subsets && current.raw.at(&["metadata", "labels"]) == Some(&labels) && capacity {
            return None;
        }
    }
    let (before, after) = (uids(&old), uids(&subsets));
    let changed = pods.iter().filter(|pod| {
        let uid = pod.raw.uid().0;
        before.iter().find(|(one, ..)| *one == uid) != after.iter().find(|(one, ..)| *one == uid)
    });
    let trigger = first_trigger(service, changed, current.is_none());
    let mut object = current.map_or_else(|| new(service), |current| Object::clone(&current.raw));
    object.set(&["metadata", "labels"], labels);
    annotate(&mut object, TRIGGER, trigger);
    annotate(&mut object, OVER_CAPACITY, over.then(|| json!("truncated")));
    object.remove(&["subsets"]);
    if !subsets.is_empty() {
        object.set(&["subsets"], Value::Array(subsets));
    }
    let resource = Resource::of::<Endpoints>();
    Some(if current.is_some() { Action::update(resource, object) } else { Action::create(resource, object) })
}

/// Pods of subsets with whether they are ready.
fn uids(subsets: &[Value]) -> BTreeSet<(String, bool)> {
    let of = |field: &'static str, ready: bool| {
        let lists = subsets.iter().filter_map(move |subset| subset.get(field)?.as_array());
        lists.flatten().filter_map(move |one| Some((one.pointer("/targetRef/uid")?.as_str()?.to_owned(), ready)))
    };
    of("addresses", true).chain(of("notReadyAddresses", false)).collect()
}

fn annotate(object: &mut Object, key: &str, value: Option<Value>) {
    match value {
        Some(value) => object.set(&["metadata", "annotations", key], value),
        None => {
            object.remove(&["metadata", "annotations", key]);
            if object.at(&["metadata", "annotations"]).and_then(Value::as_object).is_some_and(Map::is_empty) {
                object.remove(&["metadata", "annotations"]);
            }
        }
    }
}

fn new(service: &Seen<Service>) -> Object {
    let body = json!({
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": service.raw.name(), "namespace": service.raw.namespace()},
    });
    Object::try_from(body).expect("written as a map")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_with_equal_ports_share_a_subset_and_the_rest_is_cut_off() {
        let address = |ip: String, ready, port: i32| Address {
            value: json!({"ip": ip}),
            ready,
            ports: vec![json!({"port": port})],
        };
        let (made, over) = subsets(vec![
            address("b".into(), true, 80),
            address("a".into(), true, 80),
            address("c".into(), false, 80),
            address("d".into(), true, 90),
        ]);
        assert_eq!(
            made,
            [
                json!({"addresses": [{"ip": "a"}, {"ip": "b"}], "notReadyAddresses": [{"ip": "c"}], "ports": [{"port": 80}]}),
                json!({"addresses": [{"ip": "d"}], "ports": [{"port": 90}]}),
            ]
        );
        assert!(!over);
        let (made, over) = subsets((0..1500).map(|at| address(at.to_string(), at >= 600, 80)).collect());
        assert!(over);
        assert_eq!(made[0]["addresses"].as_array().unwrap().len(), 900);
        assert_eq!(made[0]["notReadyAddresses"].as_array().unwrap().len(), 100);
    }
}
