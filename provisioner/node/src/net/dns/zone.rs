//! What is known by which name.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::sync::Arc;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME, PTR, SOA, SRV};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::TTL_SECONDS;

/// A port that a name answers on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Port {
    name: String,
    protocol: String,
    number: u16,
    target: String,
}

/// What stands behind one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Entry {
    addresses: BTreeSet<Ipv4Addr>,
    ports: BTreeSet<Port>,
    alias: Option<String>,
}

/// Every name of the cluster, at one moment.
///
/// Source: <https://github.com/kubernetes/dns/blob/master/docs/specification.md>
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Zone {
    domain: String,
    names: BTreeMap<String, Entry>,
    pointers: BTreeMap<Ipv4Addr, BTreeSet<String>>,
}

impl Zone {
    /// The names that these services and slices have below `domain`, such as `cluster.local`.
    #[must_use]
    pub fn new(domain: &str, services: &[Arc<Service>], slices: &[Arc<EndpointSlice>]) -> Self {
        let mut zone = Self { domain: domain.to_owned(), ..Self::default() };
        for service in services {
            let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
            let name = service.metadata.name.as_deref().unwrap_or_default();
            let of_service = |slice: &&Arc<EndpointSlice>| {
                slice.metadata.namespace.as_deref() == Some(namespace) && service_of(slice) == Some(name)
            };
            let base = format!("{name}.{namespace}.svc.{domain}");
            zone.names.entry(format!("{namespace}.svc.{domain}")).or_default();
            zone.add_service(&base, service, &slices.iter().filter(of_service).collect::<Vec<_>>());
        }
        zone.names.entry(format!("svc.{domain}")).or_default();
        zone.names.entry(domain.to_owned()).or_default();
        zone
    }

    fn add_service(&mut self, base: &str, service: &Service, slices: &[&Arc<EndpointSlice>]) {
        let Some(spec) = service.spec.as_ref() else { return };
        if spec.type_.as_deref() == Some("ExternalName") {
            self.names.entry(base.to_owned()).or_default().alias.clone_from(&spec.external_name);
            return;
        }
        let cluster: Vec<Ipv4Addr> = spec.cluster_ips.iter().flatten().filter_map(|ip| ip.parse().ok()).collect();
        if cluster.is_empty() {
            slices.iter().for_each(|slice| self.add_slice(base, slice));
            return;
        }
        for address in cluster {
            self.names.entry(base.to_owned()).or_default().addresses.insert(address);
            self.pointers.entry(address).or_default().insert(base.to_owned());
        }
        for port in spec.ports.iter().flatten() {
            let Ok(number) = u16::try_from(port.port) else { continue };
            self.add_port(
                base,
                Port {
                    name: port.name.clone().unwrap_or_default(),
                    protocol: port.protocol.as_deref().unwrap_or("TCP").to_ascii_lowercase(),
                    number,
                    target: base.to_owned(),
                },
            );
        }
    }

    /// The endpoints of a headless service: each has a name of its own, and all share the service's.
    fn add_slice(&mut self, base: &str, slice: &EndpointSlice) {
        let ready = |endpoint: &&k8s_openapi::api::discovery::v1::Endpoint| {
            endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
        };
        for endpoint in slice.endpoints.iter().flatten().filter(ready) {
            for address in endpoint.addresses.iter().filter_map(|text| text.parse::<Ipv4Addr>().ok()) {
                let host = endpoint.hostname.clone().unwrap_or_else(|| address.to_string().replace('.', "-"));
                let own = format!("{host}.{base}");
                self.names.entry(base.to_owned()).or_default().addresses.insert(address);
                self.names.entry(own.clone()).or_default().addresses.insert(address);
                self.pointers.entry(address).or_default().insert(own.clone());
                for port in slice.ports.iter().flatten() {
                    let Some(number) = port.port.and_then(|port| u16::try_from(port).ok()) else { continue };
                    self.add_port(
                        base,
                        Port {
                            name: port.name.clone().unwrap_or_default(),
                            protocol: port.protocol.as_deref().unwrap_or("TCP").to_ascii_lowercase(),
                            number,
                            target: own.clone(),
                        },
                    );
                }
            }
        }
    }

    fn add_port(&mut self, base: &str, port: Port) {
        if !port.name.is_empty() {
            let protocol = format!("_{}.{base}", port.protocol);
            let named = format!("_{}.{protocol}", port.name);
            self.names.entry(protocol).or_default();
            self.names.entry(named).or_default().ports.insert(port.clone());
        }
        self.names.entry(base.to_owned()).or_default().ports.insert(port);
    }

    /// Fills in the answer to a question, or why there is none.
    pub(super) fn resolve(&self, question: &Query, response: &mut Message) {
        let name = question.name().to_ascii().trim_end_matches('.').to_ascii_lowercase();
        response.metadata.authoritative = true;
        let found = if let Some(address) = reversed(&name) {
            self.reverse(address, question)
        } else if name == self.domain || name.ends_with(&format!(".{}", self.domain)) {
            self.forward(&name, question)
        } else {
            None
        };
        match found {
            Some(Ok(records)) if records.is_empty() => drop(response.add_authority(self.authority())),
            Some(Ok(records)) => drop(response.add_answers(records)),
            Some(Err(code)) => {
                response.metadata.response_code = code;
                response.add_authority(self.authority());
            }
            None => {
                response.metadata.authoritative = false;
                response.metadata.response_code = ResponseCode::Refused;
            }
        }
    }

    fn forward(&self, name: &str, question: &Query) -> Option<Result<Vec<Record>, ResponseCode>> {
        let owner = question.name();
        if let Some(address) = self.pod_address(name) {
            let wants = question.query_type() == RecordType::A;
            return Some(Ok(wants.then(|| record(owner, RData::A(A(address)))).into_iter().collect()));
        }
        let Some(entry) = self.names.get(name) else { return Some(Err(ResponseCode::NXDomain)) };
        let alias = entry.alias.as_deref().and_then(absolute);
        let records = match (alias, question.query_type()) {
            (Some(alias), _) => self.follow(owner, &alias, question.query_type()),
            (None, RecordType::A) => entry.addresses.iter().map(|ip| record(owner, RData::A(A(*ip)))).collect(),
            (None, RecordType::SRV) => self.services(owner, entry),
            (None, RecordType::SOA) if name == self.domain => vec![self.authority()],
            _ => Vec::new(),
        };
        Some(Ok(records))
    }

    /// An alias, and what it leads to when that is a name of ours.
    fn follow(&self, owner: &Name, alias: &Name, wanted: RecordType) -> Vec<Record> {
        let mut records = vec![record(owner, RData::CNAME(CNAME(alias.clone())))];
        let target = alias.to_ascii().trim_end_matches('.').to_ascii_lowercase();
        if let (RecordType::A, Some(entry)) = (wanted, self.names.get(&target)) {
            records.extend(entry.addresses.iter().map(|ip| record(alias, RData::A(A(*ip)))));
        }
        records
    }

    fn services(&self, owner: &Name, entry: &Entry) -> Vec<Record> {
        let weight = 100 / u16::try_from(entry.ports.len().clamp(1, 100)).expect("at most 100");
        let of_port = |port: &Port| {
            let target = absolute(&port.target)?;
            Some(record(owner, RData::SRV(SRV::new(0, weight, port.number, target))))
        };
        entry.ports.iter().filter_map(of_port).collect()
    }

    fn reverse(&self, address: Ipv4Addr, question: &Query) -> Option<Result<Vec<Record>, ResponseCode>> {
        let names = self.pointers.get(&address)?;
        let wants = question.query_type() == RecordType::PTR;
        let of_name = |name: &String| Some(record(question.name(), RData::PTR(PTR(absolute(name)?))));
        Some(Ok(names.iter().filter(|_| wants).filter_map(of_name).collect()))
    }

    /// `10-244-0-2.<namespace>.pod.<domain>` says its address itself.
    fn pod_address(&self, name: &str) -> Option<Ipv4Addr> {
        let labels = name.strip_suffix(&format!(".pod.{}", self.domain))?;
        let (address, namespace) = labels.split_once('.')?;
        (!namespace.contains('.')).then(|| address.replace('-', ".").parse().ok())?
    }

    fn authority(&self) -> Record {
        let domain = absolute(&self.domain).unwrap_or_default();
        let server = absolute(&format!("ns.dns.{}", self.domain)).unwrap_or_default();
        let mail = absolute(&format!("hostmaster.{}", self.domain)).unwrap_or_default();
        record(&domain, RData::SOA(SOA::new(server, mail, 1, 7200, 1800, 86_400, TTL_SECONDS)))
    }
}

fn service_of(slice: &EndpointSlice) -> Option<&str> {
    slice.metadata.labels.as_ref()?.get("kubernetes.io/service-name").map(String::as_str)
}

fn absolute(name: &str) -> Option<Name> {
    Name::from_str(&format!("{}.", name.trim_end_matches('.'))).ok()
}

fn record(owner: &Name, data: RData) -> Record {
    Record::from_rdata(owner.clone(), TTL_SECONDS, data)
}

/// The address that a name below `in-addr.arpa` asks about.
fn reversed(name: &str) -> Option<Ipv4Addr> {
    let labels: Vec<&str> = name.strip_suffix(".in-addr.arpa")?.split('.').rev().collect();
    match labels.join(".").parse() {
        Ok(IpAddr::V4(address)) => Some(address),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    fn zone() -> Zone {
        let service = |value| Arc::new(serde_json::from_value::<Service>(value).unwrap());
        let slice = |value| Arc::new(serde_json::from_value::<EndpointSlice>(value).unwrap());
        let services = [
            service(json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": {
                "clusterIPs": ["10.96.0.7"], "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}})),
            service(json!({"metadata": {"name": "db", "namespace": "shop"}, "spec": {
                "clusterIPs": ["None"], "ports": [{"name": "sql", "port": 5432, "protocol": "TCP"}]}})),
            service(json!({"metadata": {"name": "out", "namespace": "shop"}, "spec": {
                "type": "ExternalName", "externalName": "example.com"}})),
        ];
        let slices = [slice(json!({
            "addressType": "IPv4",
            "metadata": {"name": "db-x", "namespace": "shop", "labels": {"kubernetes.io/service-name": "db"}},
            "ports": [{"name": "sql", "port": 5432, "protocol": "TCP"}],
            "endpoints": [
                {"addresses": ["10.244.0.2"], "hostname": "db-0", "conditions": {"ready": true}},
                {"addresses": ["10.244.1.3"], "conditions": {"ready": true}},
                {"addresses": ["10.244.1.4"], "conditions": {"ready": false}},
            ],
        }))];
        Zone::new("cluster.local", &services, &slices)
    }

    fn check(name: &str, kind: RecordType, expected: Expect) {
        let mut query = Message::query();
        query.add_query(Query::query(absolute(name).unwrap(), kind));
        let bytes = super::super::respond(&zone(), &query.to_vec().unwrap(), true).unwrap();
        let response = Message::from_vec(&bytes).unwrap();
        let mut lines = vec![response.metadata.response_code.to_string()];
        lines.extend(response.answers.iter().map(|record| record.data.to_string()));
        expected.assert_eq(&lines.join("\n"));
    }

    #[test]
    fn services_answer_with_their_address() {
        check(
            "web.shop.svc.cluster.local",
            RecordType::A,
            expect![[r#"
            No Error
            10.96.0.7"#]],
        );
        check(
            "WEB.shop.svc.Cluster.local",
            RecordType::A,
            expect![[r#"
            No Error
            10.96.0.7"#]],
        );
        check("web.shop.svc.cluster.local", RecordType::AAAA, expect!["No Error"]);
        check("no.shop.svc.cluster.local", RecordType::A, expect!["Non-Existent Domain"]);
        check("shop.svc.cluster.local", RecordType::A, expect!["No Error"]);
    }

    #[test]
    fn headless_services_answer_with_their_ready_pods() {
        check(
            "db.shop.svc.cluster.local",
            RecordType::A,
            expect![[r#"
            No Error
            10.244.0.2
            10.244.1.3"#]],
        );
        check(
            "db-0.db.shop.svc.cluster.local",
            RecordType::A,
            expect![[r#"
            No Error
            10.244.0.2"#]],
        );
        check(
            "_sql._tcp.db.shop.svc.cluster.local",
            RecordType::SRV,
            expect![[r#"
            No Error
            0 50 5432 10-244-1-3.db.shop.svc.cluster.local.
            0 50 5432 db-0.db.shop.svc.cluster.local."#]],
        );
    }

    #[test]
    fn ports_aliases_and_addresses_have_names_too() {
        check(
            "_http._tcp.web.shop.svc.cluster.local",
            RecordType::SRV,
            expect![[r#"
            No Error
            0 100 80 web.shop.svc.cluster.local."#]],
        );
        check(
            "out.shop.svc.cluster.local",
            RecordType::A,
            expect![[r#"
            No Error
            example.com."#]],
        );
        check(
            "7.0.96.10.in-addr.arpa",
            RecordType::PTR,
            expect![[r#"
            No Error
            web.shop.svc.cluster.local."#]],
        );
        check(
            "2.0.244.10.in-addr.arpa",
            RecordType::PTR,
            expect![[r#"
            No Error
            db-0.db.shop.svc.cluster.local."#]],
        );
        check(
            "10-244-0-9.shop.pod.cluster.local",
            RecordType::A,
            expect![[r#"
            No Error
            10.244.0.9"#]],
        );
    }

    #[test]
    fn names_elsewhere_are_refused() {
        check("example.com", RecordType::A, expect!["Query Refused"]);
    }

    #[test]
    fn garbage_gets_no_answer() {
        assert_eq!(super::super::respond(&zone(), b"\x00garbage", true), None);
        assert_eq!(super::super::respond(&zone(), &[], true), None);
    }
}
