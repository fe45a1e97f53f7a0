//! Network policies: which traffic reaches pods and leaves them.

use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::json;

use super::check::{Errors, Path};
use super::fields::list;
use super::parts;
use crate::kind::{Column, Rules, Write};
use crate::names;
use crate::selector;
use crate::status::FieldError;
use crate::table;

const POD_SELECTOR: &str = "podSelector selects the pods to which this NetworkPolicy object applies. The array of rules is applied to any pods \
    selected by this field. An empty selector matches all pods in the policy's namespace. Multiple network policies \
    can select the same set of pods. In this case, the ingress rules for each are combined additively. This field is \
    optional. If it is not specified, it defaults to an empty selector.";
const TYPES: &[&str] = &["Ingress", "Egress"];

impl Rules for NetworkPolicy {
    const COLUMNS: &'static [Column<Self>] = &[
        table::name(),
        table::text("Pod-Selector", POD_SELECTOR, |it, _| {
            table::selector_cell(it.spec.as_ref().and_then(|spec| spec.pod_selector.as_ref()))
        }),
        table::age(),
    ];

    fn fill_defaults(&mut self) {
        let spec = self.spec.get_or_insert_default();
        if list(&spec.policy_types).is_empty() {
            let count = if list(&spec.egress).is_empty() { 1 } else { 2 };
            spec.policy_types = Some(TYPES[..count].iter().map(|one| (*one).to_owned()).collect());
        }
        let incoming = spec.ingress.iter_mut().flatten().flat_map(|rule| rule.ports.iter_mut().flatten());
        let outgoing = spec.egress.iter_mut().flatten().flat_map(|rule| rule.ports.iter_mut().flatten());
        for port in incoming.chain(outgoing) {
            port.protocol.get_or_insert_with(|| "TCP".to_owned());
        }
    }

    fn prepare(&mut self, old: Option<&Self>, write: Write) {
        let old = old.map(|old| (&old.metadata, &old.spec));
        parts::prepare_spec((&mut self.metadata, &mut self.spec), old, write);
    }

    fn validate(&self, old: Option<&Self>, _: Write) -> Vec<FieldError> {
        let mut errors = Errors::default();
        let none = NetworkPolicySpec::default();
        spec(&mut errors, self.spec.as_ref().unwrap_or(&none), &Known::of(old.and_then(|old| old.spec.as_ref())));
        errors.into_vec()
    }

    fn warnings(&self, _: Option<&Self>) -> Vec<String> {
        let mut found = Vec::new();
        for (at, block) in self.spec.iter().flat_map(blocks) {
            found.extend(names::cidr_warnings(&format!("{at}.cidr"), &block.cidr));
            for (index, except) in list(&block.except).iter().enumerate() {
                found.extend(names::cidr_warnings(&format!("{at}.except[{index}]"), except));
            }
        }
        found
    }
}

/// The address ranges of a policy, each with its path.
fn blocks(spec: &NetworkPolicySpec) -> impl Iterator<Item = (String, &IPBlock)> {
    let incoming = list(&spec.ingress).iter().enumerate().flat_map(|(rule, one)| {
        let peers = list(&one.from).iter().enumerate();
        peers.map(move |(peer, one)| (format!("spec.ingress[{rule}].from[{peer}].ipBlock"), one))
    });
    let outgoing = list(&spec.egress).iter().enumerate().flat_map(|(rule, one)| {
        let peers = list(&one.to).iter().enumerate();
        peers.map(move |(peer, one)| (format!("spec.egress[{rule}].to[{peer}].ipBlock"), one))
    });
    incoming.chain(outgoing).filter_map(|(at, peer)| Some((at, peer.ip_block.as_ref()?)))
}

/// What the old object has, and the new one may therefore keep though it is wrong.
struct Known<'a> {
    ranges: Vec<&'a str>,
    lenient_selectors: bool,
}

impl<'a> Known<'a> {
    fn of(old: Option<&'a NetworkPolicySpec>) -> Self {
        let range = |(_, block): (String, &'a IPBlock)| {
            std::iter::once(block.cidr.as_str()).chain(list(&block.except).iter().map(String::as_str))
        };
        let selector = old.and_then(|old| old.pod_selector.as_ref());
        Self {
            ranges: old.into_iter().flat_map(blocks).flat_map(range).collect(),
            lenient_selectors: selector.is_some_and(|selector| !selector::validate(selector, "").is_empty()),
        }
    }
}

fn spec(errors: &mut Errors, spec: &NetworkPolicySpec, known: &Known<'_>) {
    let at = Path::root("spec");
    if let Some(wanted) = &spec.pod_selector {
        let at = at.child("podSelector").to_string();
        errors.extend(selector::validate_unless(wanted, &at, known.lenient_selectors));
    }
    let rules_at = at.child("ingress");
    for (index, rule) in list(&spec.ingress).iter().enumerate() {
        let at = rules_at.index(index);
        traffic(errors, (&at.child("ports"), list(&rule.ports)), (&at.child("from"), list(&rule.from)), known);
    }
    let rules_at = at.child("egress");
    for (index, rule) in list(&spec.egress).iter().enumerate() {
        let at = rules_at.index(index);
        traffic(errors, (&at.child("ports"), list(&rule.ports)), (&at.child("to"), list(&rule.to)), known);
    }
    let types = list(&spec.policy_types);
    let types_at = at.child("policyTypes");
    if types.len() > TYPES.len() {
        return errors.invalid(&types_at, json!(types), "may not specify more than two policyTypes");
    }
    for (index, one) in types.iter().enumerate() {
        errors.one_of(&types_at.index(index), one, TYPES);
    }
}

fn traffic(
    errors: &mut Errors,
    (ports_at, ports): (&Path<'_>, &[NetworkPolicyPort]),
    (peers_at, peers): (&Path<'_>, &[NetworkPolicyPeer]),
    known: &Known<'_>,
) {
    for (index, one) in ports.iter().enumerate() {
        port(errors, &ports_at.index(index), one);
    }
    for (index, one) in peers.iter().enumerate() {
        peer(errors, &peers_at.index(index), one, known);
    }
}

fn port(errors: &mut Errors, at: &Path<'_>, port: &NetworkPolicyPort) {
    if let Some(protocol) = &port.protocol {
        errors.one_of(&at.child("protocol"), protocol, &["TCP", "UDP", "SCTP"]);
    }
    let (port_at, end_at) = (at.child("port"), at.child("endPort"));
    match (&port.port, port.end_port) {
        (None, Some(end)) => errors.invalid(&end_at, end, "may not be specified when `port` is not specified"),
        (None, None) => {}
        (Some(IntOrString::Int(first)), end) => {
            errors.port(&port_at, *first);
            if let Some(end) = end {
                if end < *first {
                    // Upstream shows the first port here, though it is the last one that is wrong.
                    errors.invalid(&end_at, *first, "must be greater than or equal to `port`");
                }
                errors.port(&end_at, end);
            }
        }
        (Some(IntOrString::String(name)), end) => {
            if let Some(end) = end {
                errors.invalid(&end_at, end, "may not be specified when `port` is non-numeric");
            }
            errors.all(&port_at, name, names::port_name(name));
        }
    }
}

fn peer(errors: &mut Errors, at: &Path<'_>, peer: &NetworkPolicyPeer, known: &Known<'_>) {
    let selectors = [("podSelector", &peer.pod_selector), ("namespaceSelector", &peer.namespace_selector)];
    let mut selects = false;
    for (field, wanted) in selectors.iter().filter_map(|(field, wanted)| Some((field, wanted.as_ref()?))) {
        selects = true;
        errors.extend(selector::validate_unless(wanted, &at.child(field).to_string(), known.lenient_selectors));
    }
    if let Some(range) = &peer.ip_block {
        block(errors, &at.child("ipBlock"), range, &known.ranges);
        if selects {
            errors.forbidden(at, "may not specify both ipBlock and another peer");
        }
    } else if !selects {
        errors.required(at, "must specify a peer");
    }
}

fn block(errors: &mut Errors, at: &Path<'_>, block: &IPBlock, known: &[&str]) {
    let range = |errors: &mut Errors, at: &Path<'_>, range: &str| {
        if !known.contains(&range) {
            errors.all(at, range, names::cidr(range));
        }
        names::parse_cidr(range)
    };
    let cidr_at = at.child("cidr");
    if !errors.filled(&cidr_at, &block.cidr) {
        return;
    }
    let Some(whole) = range(errors, &cidr_at, &block.cidr) else { return };
    let except_at = at.child("except");
    for (index, except) in list(&block.except).iter().enumerate() {
        let at = except_at.index(index);
        let part = range(errors, &at, except);
        if part.is_some_and(|part| !names::is_strict_part(part, whole)) {
            errors.invalid(&at, except.as_str(), "must be a strict subset of `cidr`");
        }
    }
}
