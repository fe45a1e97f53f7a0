//! The address families of a service: which it has, which it may have.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use serde_json::{Value, json};

use super::is_headless;
use crate::kind::Typed;
use crate::meta::all_invalid;
use crate::names;
use crate::object::Object;
use crate::rules::fields::{list, listed, text};
use crate::status::FieldError;

const FAMILIES: &str = "spec.ipFamilies";
const POLICY: &str = "spec.ipFamilyPolicy";
const ADDRESSES: &str = "spec.clusterIPs";
const SINGLE: &str = "SingleStack";
const DUAL: &str = "RequireDualStack";

/// Fills in families with their policy, before addresses are allocated: `configured` are the cluster's families,
/// the first of them the one that is used where a service does not say.
///
/// The list tells why no address can be given. `Err` means that an object does not decode.
pub fn assign_families(
    object: &mut Object,
    old: Option<&Object>,
    configured: &[&str],
) -> Result<Vec<FieldError>, String> {
    let old = old.map(Service::from_object).transpose()?;
    let mut service = Service::from_object(object)?;
    let spec = service.spec.get_or_insert_default();
    let errors = assign(spec, old.as_ref().and_then(|old| old.spec.as_ref()), configured);
    if errors.is_empty() {
        put(object, "ipFamilies", spec.ip_families.as_ref().map(|all| json!(all)));
        put(object, "ipFamilyPolicy", spec.ip_family_policy.as_ref().map(|one| json!(one)));
        put(object, "clusterIPs", spec.cluster_ips.as_ref().map(|all| json!(all)));
    }
    Ok(errors)
}

fn put(object: &mut Object, field: &str, value: Option<Value>) {
    if let Some(value) = value {
        object.set(&["spec", field], value);
    }
}

fn assign(spec: &mut ServiceSpec, old: Option<&ServiceSpec>, configured: &[&str]) -> Vec<FieldError> {
    if text(&spec.type_) == "ExternalName" || keeps_preference(spec, old) {
        return Vec::new();
    }
    let selectorless = spec.selector.as_ref().is_none_or(std::collections::BTreeMap::is_empty);
    let open = text(&spec.cluster_ip) == "None" && selectorless;
    if spec.ip_family_policy.is_none() {
        let had = old.and_then(|old| old.ip_family_policy.clone());
        spec.ip_family_policy = Some(had.unwrap_or_else(|| if open { DUAL } else { SINGLE }.to_owned()));
    }
    let errors = related(spec, old);
    if !errors.is_empty() {
        return errors;
    }
    let mut errors = old.map(|old| released(spec, old)).unwrap_or_default();
    errors.extend(fits_policy(spec));
    errors.extend(infer(spec, configured));
    if !errors.is_empty() {
        return errors;
    }
    let default = configured.first().copied().unwrap_or("IPv4");
    if open {
        let families = spec.ip_families.get_or_insert_default();
        if families.is_empty() {
            families.push(default.to_owned());
        }
        if families.len() < 2 && text(&spec.ip_family_policy) != SINGLE {
            families.push(other(&families[0]).to_owned());
        }
        return Vec::new();
    }
    let errors = available(spec, configured);
    if errors.is_empty() {
        let families = spec.ip_families.get_or_insert_default();
        if families.is_empty() {
            families.push(default.to_owned());
        }
        if families.len() == 1 && configured.len() == 2 && text(&spec.ip_family_policy) != SINGLE {
            families.push(other(&families[0]).to_owned());
        }
    }
    errors
}

/// A service that prefers two families is neither up- nor downgraded unless asked.
fn keeps_preference(spec: &ServiceSpec, old: Option<&ServiceSpec>) -> bool {
    const PREFER: &str = "PreferDualStack";
    old.is_some_and(|old| {
        text(&old.type_) == text(&spec.type_)
            && text(&old.ip_family_policy) == PREFER
            && text(&spec.ip_family_policy) == PREFER
            && list(&old.cluster_ips) == list(&spec.cluster_ips)
            && list(&old.ip_families) == list(&spec.ip_families)
    })
}

fn other(family: &str) -> &'static str {
    if family == "IPv4" { "IPv6" } else { "IPv4" }
}

fn family(address: &str) -> &'static str {
    if matches!(names::parse_ip(address), Some(IpAddr::V6(_))) { "IPv6" } else { "IPv4" }
}

fn policy_error(spec: &ServiceSpec, why: &str) -> FieldError {
    FieldError::invalid(POLICY, &json!(spec.ip_family_policy), why)
}

/// An update to one family drops the second of what did not change; an update to more may not lose any.
fn released(spec: &mut ServiceSpec, old: &ServiceSpec) -> Vec<FieldError> {
    let same_addresses = list(&spec.cluster_ips) == list(&old.cluster_ips);
    let same_families = list(&spec.ip_families) == list(&old.ip_families);
    if text(&spec.ip_family_policy) == SINGLE {
        if let Some(addresses) = spec.cluster_ips.as_mut().filter(|_| same_addresses) {
            addresses.truncate(1);
        }
        if let Some(families) = spec.ip_families.as_mut().filter(|_| same_families) {
            families.truncate(1);
        }
        return Vec::new();
    }
    let mut errors = Vec::new();
    let reduced =
        |new: &[String], old: &[String]| !new.is_empty() && new.len() == 1 && old.len() == 2 && new[0] == old[0];
    if reduced(list(&spec.cluster_ips), list(&old.cluster_ips)) {
        errors.push(policy_error(spec, "must be 'SingleStack' to release the secondary cluster IP"));
    }
    if reduced(list(&spec.ip_families), list(&old.ip_families)) {
        errors.push(policy_error(spec, "must be 'SingleStack' to release the secondary IP family"));
    }
    errors
}

fn fits_policy(spec: &ServiceSpec) -> Vec<FieldError> {
    let rules = [(list(&spec.cluster_ips).len(), "cluster IPs"), (list(&spec.ip_families).len(), "IP families")];
    let single = text(&spec.ip_family_policy) == SINGLE;
    let broken = rules.iter().filter(|(count, _)| single && *count == 2);
    broken
        .map(|(_, what)| {
            let why = format!("must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified");
            policy_error(spec, &why)
        })
        .collect()
}

/// Addresses that were asked for say which families are wanted.
fn infer(spec: &mut ServiceSpec, configured: &[&str]) -> Vec<FieldError> {
    let addresses = list(&spec.cluster_ips).to_vec();
    let families = spec.ip_families.get_or_insert_default();
    let mut errors = Vec::new();
    for (index, address) in addresses.iter().enumerate().take_while(|(_, address)| *address != "None") {
        if index < families.len() {
            continue;
        }
        let family = family(address);
        if configured.contains(&family) {
            families.push(family.to_owned());
        } else {
            let why = format!("{family} is not configured on this cluster");
            errors.push(FieldError::invalid(format!("{ADDRESSES}[{index}]"), &json!(addresses), &why));
        }
    }
    errors
}

fn available(spec: &ServiceSpec, configured: &[&str]) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if text(&spec.ip_family_policy) == DUAL && configured.len() < 2 {
        errors.push(policy_error(spec, "this cluster is not configured for dual-stack services"));
    }
    for (index, family) in list(&spec.ip_families).iter().enumerate() {
        if !configured.contains(&family.as_str()) {
            let field = format!("{FAMILIES}[{index}]");
            errors.push(FieldError::invalid_text(field, family, "not configured on this cluster"));
        }
    }
    errors
}

/// What is wrong with addresses and families taken together.
pub(super) fn related(spec: &ServiceSpec, old: Option<&ServiceSpec>) -> Vec<FieldError> {
    if text(&spec.type_) == "ExternalName" {
        return Vec::new();
    }
    let addresses = list(&spec.cluster_ips);
    let mut errors: Vec<FieldError> = synchronous(spec).into_iter().collect();
    errors.extend(stand_alone(spec));
    let existing = old.map(|old| list(&old.cluster_ips)).unwrap_or_default();
    let mut broken = false;
    for (index, address) in addresses.iter().enumerate() {
        if index == 0 && address == "None" {
            if addresses.len() > 1 {
                broken = true;
                errors.push(FieldError::invalid(
                    ADDRESSES,
                    &json!(addresses),
                    "'None' must be the first and only value",
                ));
            }
            continue;
        }
        if !existing.contains(address) {
            let wrong = names::ip(address);
            broken |= !wrong.is_empty();
            errors.extend(all_invalid(&format!("{ADDRESSES}[{index}]"), address, wrong));
        }
    }
    if addresses.len() > 2 {
        errors.push(FieldError::invalid(ADDRESSES, &json!(addresses), "may only hold up to 2 values"));
    }
    if !broken {
        errors.extend(mixed(spec));
    }
    errors
}

fn synchronous(spec: &ServiceSpec) -> Option<FieldError> {
    let addresses = list(&spec.cluster_ips);
    match (text(&spec.cluster_ip), addresses.first()) {
        ("", None) => None,
        ("", Some(_)) => {
            Some(FieldError::invalid(ADDRESSES, &json!(addresses), "must be empty when `clusterIP` is not specified"))
        }
        (_, None) => Some(FieldError::required(ADDRESSES, "")),
        (one, Some(first)) => (one != first)
            .then(|| FieldError::invalid(ADDRESSES, &json!(addresses), "first value must match `clusterIP`")),
    }
}

fn stand_alone(spec: &ServiceSpec) -> Vec<FieldError> {
    let families = list(&spec.ip_families);
    let mut errors = Vec::new();
    for (index, family) in families.iter().enumerate() {
        let field = format!("{FAMILIES}[{index}]");
        if !["IPv4", "IPv6"].contains(&family.as_str()) {
            errors.push(FieldError::not_supported(field.as_str(), &json!(family), &["IPv4", "IPv6"]));
        }
        if families[..index].contains(family) {
            errors.push(FieldError::duplicate(field, &json!(family)));
        }
    }
    let known = ["PreferDualStack", DUAL, SINGLE];
    if let Some(policy) = spec.ip_family_policy.as_ref().filter(|policy| !known.contains(&policy.as_str())) {
        errors.push(FieldError::not_supported(POLICY, &json!(policy), &known));
    }
    errors
}

fn mixed(spec: &ServiceSpec) -> Vec<FieldError> {
    let addresses = list(&spec.cluster_ips);
    let mut errors = Vec::new();
    let families: Vec<&str> = addresses.iter().map(|address| family(address)).collect();
    let dual = families.contains(&"IPv4") && families.contains(&"IPv6") && families.len() == 2;
    if addresses.len() > 1 && !dual {
        let why = "may specify no more than one IP for each IP family";
        errors.push(FieldError::invalid(ADDRESSES, &listed(addresses), why));
    }
    if is_headless(spec) {
        return errors;
    }
    for (index, (address, wanted)) in addresses.iter().zip(list(&spec.ip_families)).enumerate() {
        if ["IPv4", "IPv6"].contains(&wanted.as_str()) && family(address) != wanted {
            let why = format!("expected an {wanted} value as indicated by `ipFamilies[{index}]`");
            errors.push(FieldError::invalid_text(format!("{ADDRESSES}[{index}]"), address, &why));
        }
    }
    errors
}

/// What may not change about addresses and families.
pub(super) fn changes(spec: &ServiceSpec, old: &ServiceSpec) -> Vec<FieldError> {
    if [spec, old].iter().any(|spec| text(&spec.type_) == "ExternalName") {
        return Vec::new();
    }
    let (new_headless, old_headless) = (is_headless(spec), is_headless(old));
    let mut errors = Vec::new();
    if !(new_headless && old_headless) {
        errors.extend(address_changes(spec, old));
    }
    if !new_headless && !old_headless {
        errors.extend(family_changes(spec, old));
    }
    errors
}

fn address_changes(spec: &ServiceSpec, old: &ServiceSpec) -> Vec<FieldError> {
    let (new, had) = (list(&spec.cluster_ips), list(&old.cluster_ips));
    let bad = |index: usize, why: &str| FieldError::invalid(format!("{ADDRESSES}[{index}]"), &listed(new), why);
    if new.len() == had.len() {
        let changed = had.iter().zip(new).enumerate().filter(|(_, (had, new))| had != new);
        return changed.map(|(index, _)| bad(index, "may not change once set")).collect();
    }
    let mut errors = Vec::new();
    if new.is_empty() {
        errors.push(bad(0, "primary clusterIP can not be unset"));
    }
    if let (Some(new), Some(had)) = (new.first(), had.first())
        && new != had
    {
        errors.push(bad(0, "may not change once set"));
    }
    if had.len() > new.len() && new.len() == 1 && text(&spec.ip_family_policy) != SINGLE {
        errors.push(policy_error(spec, "must be set to 'SingleStack' when releasing the secondary clusterIP"));
    }
    errors
}

fn family_changes(spec: &ServiceSpec, old: &ServiceSpec) -> Vec<FieldError> {
    let (new, had) = (list(&spec.ip_families), list(&old.ip_families));
    let field = format!("{FAMILIES}[0]");
    let bad = |value: Value, why: &str| FieldError::invalid(field.as_str(), &value, why);
    if new.len() == had.len() {
        let changed = had.iter().zip(new).filter(|(had, new)| had != new);
        return changed.map(|_| bad(listed(new), "may not change once set")).collect();
    }
    let mut errors = Vec::new();
    if had.len() > new.len() && list(&spec.cluster_ips).is_empty() {
        errors.push(bad(listed(new), "primary ipFamily can not be unset"));
    }
    if let (Some(new), Some(had)) = (new.first(), had.first())
        && new != had
    {
        errors.push(bad(listed(list(&spec.cluster_ips)), "may not change once set"));
    }
    if had.len() > new.len() && new.len() == 1 && text(&spec.ip_family_policy) != SINGLE {
        errors.push(policy_error(spec, "must be set to 'SingleStack' when releasing the secondary ipFamily"));
    }
    errors
}
