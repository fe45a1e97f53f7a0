//! EndpointSlices that mirror Endpoints which somebody else keeps for a service without a selector.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Endpoints, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kprov_schema::{Key, Object};
use serde_json::{Map, Value, json};

use super::endpoints::MANAGED_BY as ENDPOINTS_MANAGED_BY;
use super::endpointslice::{Content, HEADLESS, Head, MANAGED_BY, SERVICE_NAME, TRIGGER};
use super::machinery::action::{Action, Outcome};
use super::machinery::snapshot::{Seen, Snapshot};
use super::machinery::{Config, Controller, Watch};
use crate::informer::Unreadable;

const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Addresses of a subset that are mirrored.
const MOST: usize = 1000;

/// Mirrors Endpoints.
pub struct SlicesOfEndpoints;

impl Controller for SlicesOfEndpoints {
    const NAME: &'static str = "endpointslicemirroring-controller";

    fn new(_: &Config, _: Timestamp) -> Self {
        Self
    }

    fn watches() -> Vec<Watch> {
        vec![
            Watch::own::<Endpoints>(),
            Watch::own::<Service>(),
            Watch::new::<EndpointSlice>(|change, _| {
                let managed = change.latest().filter(|slice| slice.raw.label(MANAGED_BY) == Some(MANAGER));
                let owner =
                    managed.and_then(|slice| Some(Key::new(&slice.key.namespace, slice.raw.label(SERVICE_NAME)?)));
                owner.into_iter().collect()
            }),
        ]
    }

    fn reconcile(&self, key: &Key, world: &Snapshot, _: Timestamp) -> Result<Outcome, Unreadable> {
        let Some(endpoints) = world.get::<Endpoints>(key)?.filter(|one| !one.raw.is_deleting()) else {
            return Ok(Outcome::nothing());
        };
        let existing: Vec<Seen<EndpointSlice>> = world
            .owned_by::<EndpointSlice>(&endpoints.raw.uid().0)?
            .into_iter()
            .filter(|slice| slice.raw.label(MANAGED_BY) == Some(MANAGER) && !slice.raw.is_deleting())
            .collect();
        let service = world.get::<Service>(key)?;
        let mirrored = is_mirrored(&endpoints.raw)
            && service.is_some_and(|service| service.spec.as_ref().is_none_or(|spec| spec.selector.is_none()));
        let mut wanted = if mirrored { contents(&endpoints.raw) } else { BTreeMap::new() };
        let mut actions = Vec::new();
        for family in ["IPv4", "IPv6"] {
            let mine: Vec<&Object> =
                existing.iter().filter(|slice| slice.address_type == family).map(|slice| &*slice.raw).collect();
            let contents = wanted.remove(family).unwrap_or_default();
            actions.extend(write(&endpoints.raw, family, &mine, contents));
        }
        Ok(actions.into())
    }
}

fn is_mirrored(endpoints: &Object) -> bool {
    endpoints.label(ENDPOINTS_MANAGED_BY).is_none()
        && endpoints.label(SKIP) != Some("true")
        && endpoints.annotation(LEADER).is_none()
}

/// One content a subset and address family.
fn contents(endpoints: &Object) -> BTreeMap<&'static str, Vec<Content>> {
    let mut contents: BTreeMap<&'static str, Vec<Content>> = BTreeMap::new();
    for subset in endpoints.at(&["subsets"]).and_then(Value::as_array).into_iter().flatten() {
        for family in ["IPv4", "IPv6"] {
            let addresses = addresses(subset, "addresses", true).chain(addresses(subset, "notReadyAddresses", false));
            let endpoints: Vec<Value> =
                addresses.filter(|(one, _)| *one == family).map(|(_, value)| value).take(MOST).collect();
            if !endpoints.is_empty() {
                contents.entry(family).or_default().push(Content { endpoints, ports: ports(subset) });
            }
        }
    }
    contents
}

fn addresses<'a>(subset: &'a Value, field: &str, ready: bool) -> impl Iterator<Item = (&'static str, Value)> + 'a {
    let list = subset.get(field).and_then(Value::as_array).into_iter().flatten();
    list.filter_map(move |address| {
        let ip: IpAddr = address.get("ip")?.as_str()?.parse().ok()?;
        let mut endpoint = json!({"addresses": [ip.to_string()], "conditions": {"ready": ready}});
        for field in ["hostname", "nodeName", "targetRef"] {
            if let Some(value) = address.get(field) {
                endpoint[field] = value.clone();
            }
        }
        Some((if ip.is_ipv6() { "IPv6" } else { "IPv4" }, endpoint))
    })
}

fn ports(subset: &Value) -> Vec<Value> {
    let list = subset.get("ports").and_then(Value::as_array).into_iter().flatten();
    list.map(|port| {
        let mut port = port.clone();
        if port.get("name").is_none() {
            port["name"] = json!("");
        }
        port
    })
    .collect()
}

fn write(endpoints: &Object, family: &str, existing: &[&Object], contents: Vec<Content>) -> Vec<Action> {
    let skipped = [LAST_APPLIED, TRIGGER];
    let copied = |pairs: &mut dyn Iterator<Item = (&str, &str)>, without: &[&str]| -> Map<String, Value> {
        pairs.filter(|(key, _)| !without.contains(key)).map(|(key, value)| (key.to_owned(), json!(value))).collect()
    };
    let head = Head {
        owner: endpoints,
        manager: MANAGER,
        labels: copied(&mut endpoints.labels(), &[HEADLESS, MANAGED_BY]),
        annotations: copied(&mut endpoints.annotations(), &skipped),
        family,
    };
    let mut plan: Vec<Option<Content>> = contents.into_iter().map(Some).collect();
    plan.resize(plan.len().max(existing.len()), None);
    head.write(existing, plan)
}
