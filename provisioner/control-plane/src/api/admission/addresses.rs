//! Addresses and node ports of services: who has which, with new ones drawn at random.
//!
//! What is taken is derived from the stored services when the server starts, so nothing can get lost.
//! Source: `pkg/registry/core/service/storage/alloc.go`.

use std::collections::{BTreeSet, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::Ipv4Net;
use kprov_schema::rules::service;
use kprov_schema::{FieldError, Object, Status};
use serde_json::{Value, json};

use super::Intent;
use crate::api::errors;
use crate::world::World;

/// Addresses at the beginning of the range that are only given to who names them.
const STATIC_BAND: u32 = 256;
/// Random draws before the range is searched from its beginning.
const DRAWS: u32 = 32;

/// From where services get addresses and node ports.
#[derive(Clone, Debug)]
pub(crate) struct Ranges {
    /// Service addresses.
    pub(crate) services: Ipv4Net,
    /// Node ports.
    pub(crate) node_ports: RangeInclusive<u16>,
}

/// What services have taken.
pub(crate) struct Addresses {
    ranges: Ranges,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    addresses: HashSet<Ipv4Addr>,
    ports: HashSet<u16>,
}

/// What a service has of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Share {
    address: Option<Ipv4Addr>,
    ports: BTreeSet<u16>,
}

/// Something set aside for a write: given back unless the write is stored.
pub(crate) struct Held {
    addresses: Arc<Addresses>,
    /// What the service has now and had not before.
    gained: Share,
    /// What it had and has no more.
    lost: Share,
    kept: bool,
}

impl Held {
    /// The write is stored.
    pub(super) fn keep(mut self) {
        self.kept = true;
        self.addresses.give_back(&self.lost);
    }

    /// It is unknown whether the write is stored: what it gains and what it loses stay taken until the next start.
    pub(super) fn leave(mut self) {
        self.kept = true;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.kept {
            self.addresses.give_back(&self.gained);
        }
    }
}

impl Addresses {
    /// The state that stored services make.
    pub(crate) fn new<'a>(ranges: Ranges, services: impl Iterator<Item = &'a Object>) -> Self {
        let mut taken = Taken::default();
        for share in services.map(share) {
            taken.addresses.extend(share.address);
            taken.ports.extend(share.ports);
        }
        Self { ranges, taken: Mutex::new(taken) }
    }

    /// What a service has, to be given back when it is gone.
    pub(super) fn leaving(self: &Arc<Self>, service: &Object) -> Held {
        Held { addresses: self.clone(), gained: Share::default(), lost: share(service), kept: false }
    }

    fn give_back(&self, share: &Share) {
        let mut taken = self.taken();
        if let Some(address) = share.address {
            taken.addresses.remove(&address);
        }
        for port in &share.ports {
            taken.ports.remove(port);
        }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draw_address(&self, taken: &Taken, world: &World) -> Option<Ipv4Addr> {
        let first = u32::from(self.ranges.services.network());
        let last = u32::from(self.ranges.services.broadcast());
        let band = if last - first > 2 * STATIC_BAND { first + STATIC_BAND } else { first + 1 };
        let free = |address: &u32| !taken.addresses.contains(&Ipv4Addr::from(*address));
        let span = u64::from(last - band);
        let drawn = |_| u32::try_from(world.rng.next_u64() % span).map(|offset| band + offset).ok();
        let found = (0..DRAWS).filter_map(drawn).find(free);
        found.or_else(|| (band..last).chain(first + 1..band).find(free)).map(Ipv4Addr::from)
    }

    fn draw_port(&self, taken: &Taken, world: &World) -> Option<u16> {
        let (first, last) = (*self.ranges.node_ports.start(), *self.ranges.node_ports.end());
        let free = |port: &u16| !taken.ports.contains(port);
        let span = u64::from(last - first) + 1;
        let drawn = |_| u16::try_from(world.rng.next_u64() % span).map(|offset| first + offset).ok();
        let found = (0..DRAWS).filter_map(drawn).find(free);
        found.or_else(|| self.ranges.node_ports.clone().find(free))
    }
}

/// What a service has.
fn share(service: &Object) -> Share {
    if service_type(service) == "ExternalName" {
        return Share::default();
    }
    let address = service.text(&["spec", "clusterIP"]).and_then(|text| text.parse().ok());
    let ports = service.at(&["spec", "ports"]).and_then(Value::as_array).into_iter().flatten();
    let mut ports: BTreeSet<u16> = ports.filter_map(|port| number(&port["nodePort"])).collect();
    ports.extend(service.at(&["spec", "healthCheckNodePort"]).and_then(number));
    Share { address, ports }
}

fn number(value: &Value) -> Option<u16> {
    value.as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0)
}

fn service_type(service: &Object) -> &str {
    service.text(&["spec", "type"]).unwrap_or("ClusterIP")
}

fn invalid(intent: &Intent<'_>, service: &Object, error: FieldError) -> Status {
    errors::invalid(&intent.target.kind, service.name(), &[error])
}

/// Gives a service what it needs and has not; `None` when nothing is set aside.
pub(super) fn allocate(intent: &Intent<'_>, service: &mut Object) -> Result<Option<Held>, Status> {
    families(intent, service)?;
    let addresses = &intent.core.addresses;
    let had = intent.old.map(|old| share(old)).unwrap_or_default();
    let mut taken = addresses.taken();
    // Of what the service had, it may keep or name anything.
    let own = Taken { addresses: had.address.into_iter().collect(), ports: had.ports.iter().copied().collect() };
    address(intent, service, &taken, &own)?;
    ports(intent, service, &taken, &own)?;
    if intent.dry_run {
        return Ok(None);
    }
    let has = share(service);
    let gained = Share {
        address: has.address.filter(|address| had.address != Some(*address)),
        ports: has.ports.difference(&had.ports).copied().collect(),
    };
    let lost = Share {
        address: had.address.filter(|address| has.address != Some(*address)),
        ports: had.ports.difference(&has.ports).copied().collect(),
    };
    taken.addresses.extend(gained.address);
    taken.ports.extend(&gained.ports);
    drop(taken);
    Ok(Some(Held { addresses: addresses.clone(), gained, lost, kept: false }))
}

/// Families with their policy, in a cluster that has IPv4 alone.
fn families(intent: &Intent<'_>, service: &mut Object) -> Result<(), Status> {
    let old = intent.old.map(AsRef::as_ref);
    let errors = service::assign_families(service, old, &["IPv4"]).map_err(errors::bad_request)?;
    if errors.is_empty() { Ok(()) } else { Err(errors::invalid(&intent.target.kind, service.name(), &errors)) }
}

fn texts(service: &Object, field: &str) -> Vec<String> {
    let list = service.at(&["spec", field]).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn address(intent: &Intent<'_>, service: &mut Object, taken: &Taken, own: &Taken) -> Result<(), Status> {
    if service_type(service) == "ExternalName" {
        return Ok(());
    }
    let addresses = &intent.core.addresses;
    let given = service.text(&["spec", "clusterIP"]).unwrap_or_default().to_owned();
    let given =
        if given.is_empty() { texts(service, "clusterIPs").into_iter().next().unwrap_or_default() } else { given };
    match given.as_str() {
        "None" => {}
        "" => {
            let drawn = addresses.draw_address(taken, &intent.core.world);
            let drawn = drawn.ok_or_else(|| errors::internal("failed to allocate a serviceIP: range is full"))?;
            service.set(&["spec", "clusterIP"], drawn.to_string().into());
            service.set(&["spec", "clusterIPs"], json!([drawn.to_string()]));
        }
        given if !intent.dry_run => {
            if let Some(why) = unavailable(addresses, taken, own, given) {
                let detail = format!("failed to allocate IP {given}: {why}");
                let error = FieldError::invalid("spec.clusterIPs", &json!([given]), &detail);
                return Err(invalid(intent, service, error));
            }
        }
        _ => {}
    }
    Ok(())
}

/// Why an address can't be had.
fn unavailable(addresses: &Addresses, taken: &Taken, own: &Taken, given: &str) -> Option<&'static str> {
    let range = addresses.ranges.services;
    match given.parse() {
        Ok(IpAddr::V4(address)) if own.addresses.contains(&address) => None,
        Ok(IpAddr::V4(address))
            if !range.contains(&address) || address == range.network() || address == range.broadcast() =>
        {
            Some("the provided network does not match the current range")
        }
        Ok(IpAddr::V4(address)) if taken.addresses.contains(&address) => Some("provided IP is already allocated"),
        Ok(IpAddr::V4(_)) => None,
        _ => Some("the provided network does not match the current range"),
    }
}

fn ports(intent: &Intent<'_>, service: &mut Object, taken: &Taken, own: &Taken) -> Result<(), Status> {
    let kind = service_type(service).to_owned();
    let wants = match kind.as_str() {
        "NodePort" => true,
        "LoadBalancer" => service.at(&["spec", "allocateLoadBalancerNodePorts"]) != Some(&Value::Bool(false)),
        _ => false,
    };
    let mut picking = Picking { intent, taken, own, now: HashSet::new() };
    let mut list = service.at(&["spec", "ports"]).and_then(Value::as_array).cloned().unwrap_or_default();
    for (index, port) in list.iter_mut().enumerate() {
        let given = port["nodePort"].as_u64().filter(|given| *given != 0);
        match given {
            Some(given) => picking.claim(service, &format!("spec.ports[{index}].nodePort"), given)?,
            None if wants => port["nodePort"] = picking.draw()?.into(),
            None => {}
        }
    }
    if !list.is_empty() {
        service.set(&["spec", "ports"], list.into());
    }
    let checks = kind == "LoadBalancer" && service.text(&["spec", "externalTrafficPolicy"]) == Some("Local");
    if !checks {
        return Ok(());
    }
    match service.at(&["spec", "healthCheckNodePort"]).and_then(Value::as_u64).filter(|given| *given != 0) {
        Some(given) => picking.claim(service, "spec.healthCheckNodePort", given),
        None => {
            let drawn = picking.draw()?;
            service.set(&["spec", "healthCheckNodePort"], drawn.into());
            Ok(())
        }
    }
}

/// Node ports of one service while they are picked.
struct Picking<'a> {
    intent: &'a Intent<'a>,
    taken: &'a Taken,
    own: &'a Taken,
    now: HashSet<u16>,
}

impl Picking<'_> {
    /// Takes a port that the client names. One service may use a number for several protocols.
    fn claim(&mut self, service: &Object, field: &str, given: u64) -> Result<(), Status> {
        let range = &self.intent.core.addresses.ranges.node_ports;
        let refuse =
            |detail: &str| Err(invalid(self.intent, service, FieldError::invalid(field, &given.into(), detail)));
        if self.intent.dry_run {
            return Ok(());
        }
        let Some(port) = u16::try_from(given).ok().filter(|port| range.contains(port)) else {
            return refuse(&format!(
                "provided port is not in the valid range. The range of valid ports is {}-{}",
                range.start(),
                range.end()
            ));
        };
        if self.taken.ports.contains(&port) && !self.own.ports.contains(&port) {
            return refuse("provided port is already allocated");
        }
        self.now.insert(port);
        Ok(())
    }

    fn draw(&mut self) -> Result<u16, Status> {
        let addresses = &self.intent.core.addresses;
        let world = &self.intent.core.world;
        let mut drawn = addresses.draw_port(self.taken, world);
        while drawn.is_some_and(|port| self.now.contains(&port)) {
            let both = Taken { ports: self.taken.ports.union(&self.now).copied().collect(), ..Taken::default() };
            drawn = addresses.draw_port(&both, world);
        }
        let drawn = drawn.ok_or_else(|| errors::internal("failed to allocate a nodePort: range is full"))?;
        self.now.insert(drawn);
        Ok(drawn)
    }
}
