//! Service ranges: from where services get their addresses.

use std::net::IpAddr;

use k8s_openapi::api::networking::v1::{ServiceCIDR, ServiceCIDRStatus};
use serde_json::json;

use super::check::{Errors, Path};
use super::fields::list;
use super::parts;
use crate::kind::{Column, Reset, Rules, STATUS_ALONE, Subresource, Write};
use crate::meta::MetaRules;
use crate::names;
use crate::status::FieldError;
use crate::table;

const RANGES: &str = "CIDRs defines the IP blocks in CIDR notation (e.g. \"192.168.0.0/24\" or \"2001:db8::/64\") from \
    which to assign service cluster IPs. Max of two CIDRs is allowed, one of each IP family. This field is immutable.";

impl Rules for ServiceCIDR {
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::Status];
    const META: MetaRules = MetaRules::COMMON;
    const RESETS: &'static [(Write, Reset)] = STATUS_ALONE;
    const COLUMNS: &'static [Column<Self>] =
        &[table::name(), table::text("CIDRs", RANGES, |it, _| ranges(it).join(",").into()), table::age()];

    fn fill_defaults(&mut self) {
        self.status.get_or_insert_default();
    }

    fn prepare(&mut self, old: Option<&Self>, write: Write) {
        let before = old.map(|old| (&old.metadata, &old.spec, &old.status));
        let first = ServiceCIDRStatus::default();
        parts::prepare_uncounted_alone((&mut self.metadata, &mut self.spec, &mut self.status), before, write, first);
    }

    fn validate(&self, old: Option<&Self>, write: Write) -> Vec<FieldError> {
        let mut errors = Errors::default();
        let at = Path::root("spec");
        let (at, new) = (at.child("cidrs"), ranges(self));
        match old.map(ranges) {
            None => check(&mut errors, &at, new),
            Some(_) if write == Write::Status => {}
            Some(old) if old.len() == new.len() => frozen(&mut errors, &at, new, old),
            // A range of the other family may join.
            Some(old) if (old.len(), new.len()) == (1, 2) => {
                frozen(&mut errors, &at, new, old);
                check(&mut errors, &at, new);
            }
            Some(_) => {
                let given = self.spec.as_ref().and_then(|spec| spec.cidrs.as_ref());
                errors.invalid(&at, json!(given), "field is immutable");
            }
        }
        errors.into_vec()
    }
}

fn ranges(cidr: &ServiceCIDR) -> &[String] {
    cidr.spec.as_ref().map(|spec| list(&spec.cidrs)).unwrap_or_default()
}

fn check(errors: &mut Errors, at: &Path<'_>, ranges: &[String]) {
    match ranges {
        [] => return errors.required(at, "at least one CIDR required"),
        [_] | [_, _] => {}
        more => return errors.invalid(at, json!({"CIDRs": more}), "may only hold up to 2 values"),
    }
    for (index, range) in ranges.iter().enumerate() {
        errors.all(&at.index(index), range, names::canonical_cidr(range));
    }
    let family = |range: &String| names::parse_cidr(range).map(|(address, _)| matches!(address, IpAddr::V4(_)));
    if let [first, second] = ranges
        && family(first).is_some()
        && family(first) == family(second)
    {
        let why = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
        errors.invalid(at, json!(ranges), why);
    }
}

fn frozen(errors: &mut Errors, at: &Path<'_>, new: &[String], old: &[String]) {
    for (index, (new, old)) in new.iter().zip(old).enumerate() {
        errors.immutable(&at.index(index), new, old);
    }
}
