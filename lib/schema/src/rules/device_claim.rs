//! What claims ask of devices: requests, constraints and configuration, and what classes say of the same.
//!
//! Source: `pkg/apis/resource/validation`.

use std::collections::BTreeMap;

use k8s_openapi::api::resource::v1::{
    DeviceClaim, DeviceConstraint, DeviceRequest, DeviceSelector, DeviceSubRequest, DeviceToleration,
    ExactDeviceRequest, OpaqueDeviceConfiguration, ResourceClaimSpec,
};
use serde_json::Value;

use super::check::{Errors, Path};
use super::fields::{list, text};
use super::pod::volumes::csi_driver;
use crate::custom;
use crate::names;

/// How many requests a claim may have, and as many results its allocation.
pub(super) const REQUESTS_MAX: usize = 32;
const CONSTRAINTS_MAX: usize = 32;
/// How many configurations a claim or class may have.
pub(super) const CONFIG_MAX: usize = 32;
const SELECTORS_MAX: usize = 32;
const ALTERNATIVES_MAX: usize = 8;
const EXPRESSION_MAX: usize = 10 * 1024;
const PARAMETERS_MAX: usize = 10 * 1024;
const ID_MAX: usize = 32;
const OF_CLAIM: &str =
    "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";

/// The names of a claim's requests, with those of their alternatives.
pub(super) type Names<'a> = BTreeMap<&'a str, Vec<&'a str>>;

/// Fills in what requests leave out.
pub(super) fn fill_defaults(spec: &mut ResourceClaimSpec) {
    let requests = spec.devices.as_mut().and_then(|devices| devices.requests.as_mut());
    for request in requests.into_iter().flatten() {
        if let Some(exactly) = &mut request.exactly {
            allocation(&mut exactly.allocation_mode, &mut exactly.count);
        }
        for one in request.first_available.iter_mut().flatten() {
            allocation(&mut one.allocation_mode, &mut one.count);
        }
    }
}

fn allocation(mode: &mut Option<String>, count: &mut Option<i64>) {
    if text(mode).is_empty() {
        *mode = Some("ExactCount".to_owned());
    }
    if text(mode) == "ExactCount" && count.unwrap_or_default() == 0 {
        *count = Some(1);
    }
}

/// The names of what a claim requests.
pub(super) fn request_names(spec: Option<&ResourceClaimSpec>) -> Names<'_> {
    let devices = spec.and_then(|spec| spec.devices.as_ref());
    let requests = devices.map(|devices| list(&devices.requests)).unwrap_or_default();
    requests.iter().map(|request| (request.name.as_str(), alternatives(request))).collect()
}

fn alternatives(request: &DeviceRequest) -> Vec<&str> {
    list(&request.first_available).iter().map(|one| one.name.as_str()).collect()
}

/// Checks what a claim asks for.
pub(super) fn claim(errors: &mut Errors, at: &Path<'_>, spec: Option<&ResourceClaimSpec>) {
    let none = DeviceClaim::default();
    let devices = spec.and_then(|spec| spec.devices.as_ref()).unwrap_or(&none);
    let (at, names) = (at.child("devices"), request_names(spec));
    let requests_at = at.child("requests");
    set(errors, &requests_at, list(&devices.requests), REQUESTS_MAX, |one| &one.name, request);
    let constraints_at = at.child("constraints");
    several(errors, &constraints_at, list(&devices.constraints), CONSTRAINTS_MAX, |errors, at, one| {
        constraint(errors, at, one, &names);
    });
    let config_at = at.child("config");
    several(errors, &config_at, list(&devices.config), CONFIG_MAX, |errors, at, one| {
        references(errors, &at.child("requests"), list(&one.requests), &names);
        opaque(errors, &at.child("opaque"), one.opaque.as_ref());
    });
}

/// Checks the items of a list that may have so many.
pub(super) fn several<T>(
    errors: &mut Errors,
    at: &Path<'_>,
    items: &[T],
    max: usize,
    check: impl Fn(&mut Errors, &Path<'_>, &T),
) {
    if items.len() > max {
        return errors.too_many(at, items.len(), max);
    }
    for (index, item) in items.iter().enumerate() {
        check(errors, &at.index(index), item);
    }
}

/// The same for items that a key tells apart.
pub(super) fn set<T>(
    errors: &mut Errors,
    at: &Path<'_>,
    items: &[T],
    max: usize,
    key: impl Fn(&T) -> &str,
    check: impl Fn(&mut Errors, &Path<'_>, &T),
) {
    if items.len() > max {
        return errors.too_many(at, items.len(), max);
    }
    several(errors, at, items, max, check);
    for (index, item) in items.iter().enumerate() {
        if items[..index].iter().any(|before| key(before) == key(item)) {
            errors.duplicate(&at.index(index), key(item));
        }
    }
}

fn request(errors: &mut Errors, at: &Path<'_>, request: &DeviceRequest) {
    const ONE: &str = "exactly one of `exactly` or `firstAvailable` is required";
    label(errors, &at.child("name"), &request.name);
    let first = list(&request.first_available);
    match (&request.exactly, first) {
        (None, []) => errors.required(at, ONE),
        (Some(_), [_, ..]) => errors.invalid(at, Value::Null, &format!("{ONE}, but multiple fields are set")),
        (None, alternatives) => {
            let first_at = at.child("firstAvailable");
            set(errors, &first_at, alternatives, ALTERNATIVES_MAX, |one| &one.name, alternative);
        }
        (Some(one), []) => exactly(errors, &at.child("exactly"), one),
    }
}

fn alternative(errors: &mut Errors, at: &Path<'_>, one: &DeviceSubRequest) {
    label(errors, &at.child("name"), &one.name);
    errors.filled_all(&at.child("deviceClassName"), &one.device_class_name, names::dns1123_subdomain);
    selectors(errors, &at.child("selectors"), list(&one.selectors));
    count(errors, at, text(&one.allocation_mode), one.count.unwrap_or_default());
    tolerations(errors, &at.child("tolerations"), list(&one.tolerations));
}

fn exactly(errors: &mut Errors, at: &Path<'_>, one: &ExactDeviceRequest) {
    errors.filled_all(&at.child("deviceClassName"), &one.device_class_name, names::dns1123_subdomain);
    selectors(errors, &at.child("selectors"), list(&one.selectors));
    count(errors, at, text(&one.allocation_mode), one.count.unwrap_or_default());
    tolerations(errors, &at.child("tolerations"), list(&one.tolerations));
}

fn label(errors: &mut Errors, at: &Path<'_>, name: &str) {
    errors.all(at, name, names::dns1123_label(name));
}

fn count(errors: &mut Errors, at: &Path<'_>, mode: &str, count: i64) {
    let count_at = at.child("count");
    match mode {
        "All" if count != 0 => {
            errors.invalid(&count_at, count, "must not be specified when allocationMode is 'All'");
        }
        "All" => {}
        "ExactCount" if count <= 0 => errors.invalid(&count_at, count, "must be greater than zero"),
        "ExactCount" => {}
        other => errors.not_supported(&at.child("allocationMode"), other, &["All", "ExactCount"]),
    }
}

/// Checks by what devices are chosen.
pub(super) fn selectors(errors: &mut Errors, at: &Path<'_>, selectors: &[DeviceSelector]) {
    several(errors, at, selectors, SELECTORS_MAX, |errors, at, selector| {
        let cel_at = at.child("cel");
        match &selector.cel {
            None => errors.required(&cel_at, ""),
            Some(cel) => expression(errors, &cel_at.child("expression"), &cel.expression),
        }
    });
}

fn expression(errors: &mut Errors, at: &Path<'_>, expression: &str) {
    if expression.len() > EXPRESSION_MAX {
        errors.too_long(at, EXPRESSION_MAX);
    } else if let Some(why) = custom::expression_error(expression, &["device"]) {
        errors.invalid(at, expression, &format!("compilation failed: {why}"));
    }
}

fn tolerations(errors: &mut Errors, at: &Path<'_>, tolerations: &[DeviceToleration]) {
    for (index, one) in tolerations.iter().enumerate() {
        let at = at.index(index);
        let (key, value, effect) = (text(&one.key), text(&one.value), text(&one.effect));
        if !key.is_empty() {
            errors.all(&at.child("key"), key, names::qualified(key));
        }
        match text(&one.operator) {
            "Exists" if !value.is_empty() => {
                errors.invalid(&at.child("value"), value, "must be empty for operator `Exists`");
            }
            "Exists" => {}
            "Equal" => errors.all(&at.child("value"), value, names::label_value(value)),
            other => errors.filled_one_of(&at.child("operator"), other, &["Equal", "Exists"]),
        }
        if !effect.is_empty() {
            errors.one_of(&at.child("effect"), effect, &["NoExecute", "NoSchedule", "None"]);
        }
    }
}

fn constraint(errors: &mut Errors, at: &Path<'_>, constraint: &DeviceConstraint, names: &Names<'_>) {
    references(errors, &at.child("requests"), list(&constraint.requests), names);
    match (&constraint.match_attribute, &constraint.distinct_attribute) {
        (Some(name), _) => fully_qualified(errors, &at.child("matchAttribute"), name),
        (None, Some(name)) => fully_qualified(errors, &at.child("distinctAttribute"), name),
        (None, None) => errors.required(
            at,
            "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields are set",
        ),
    }
}

/// Checks names of requests where something else refers to them.
pub(super) fn references(errors: &mut Errors, at: &Path<'_>, requests: &[String], names: &Names<'_>) {
    set(errors, at, requests, REQUESTS_MAX, String::as_str, |errors, at, name| reference(errors, at, name, names));
}

/// Checks the name of a request, or of one of its alternatives behind a `/`.
pub(super) fn reference(errors: &mut Errors, at: &Path<'_>, name: &str, names: &Names<'_>) {
    let parts: Vec<&str> = name.split('/').collect();
    let known = match parts[..] {
        [request] => names.contains_key(request),
        [request, alternative] => names.get(request).is_some_and(|all| all.contains(&alternative)),
        _ => return errors.invalid(at, name, OF_CLAIM),
    };
    parts.iter().for_each(|part| label(errors, at, part));
    if !known {
        errors.invalid(at, name, OF_CLAIM);
    }
}

fn fully_qualified(errors: &mut Errors, at: &Path<'_>, name: &str) {
    qualified(errors, at, name);
    if !name.contains('/') {
        errors.invalid(at, name, "a fully qualified name must be a domain and a name separated by a slash");
    }
}

/// Checks the name of an attribute, with or without a domain.
pub(super) fn qualified(errors: &mut Errors, at: &Path<'_>, name: &str) {
    match name.split('/').collect::<Vec<_>>()[..] {
        [name] => identifier(errors, at, name),
        [domain, name] => {
            match domain {
                "" => errors.invalid(at, "", "the domain must not be empty"),
                _ => csi_driver(errors, at, domain),
            }
            match name {
                "" => errors.invalid(at, "", "the name must not be empty"),
                _ => identifier(errors, at, name),
            }
        }
        _ => {}
    }
}

fn identifier(errors: &mut Errors, at: &Path<'_>, name: &str) {
    if name.len() > ID_MAX {
        errors.too_long(at, ID_MAX);
    }
    errors.all(at, name, names::c_identifier(name));
}

/// Checks configuration that only a driver understands.
pub(super) fn opaque(errors: &mut Errors, at: &Path<'_>, opaque: Option<&OpaqueDeviceConfiguration>) {
    let Some(opaque) = opaque else { return errors.required(at, "") };
    csi_driver(errors, &at.child("driver"), &opaque.driver);
    let parameters_at = at.child("parameters");
    match &opaque.parameters.0 {
        Value::Null => errors.required(&parameters_at, ""),
        value if value.to_string().len() > PARAMETERS_MAX => errors.too_long(&parameters_at, PARAMETERS_MAX),
        Value::Object(_) => {}
        _ => errors.invalid(&parameters_at, "<value omitted>", "must be a valid JSON object"),
    }
}

/// Checks the name of a pool of devices: DNS subdomains with slashes between them.
pub(super) fn pool(errors: &mut Errors, at: &Path<'_>, name: &str) {
    const MAX: usize = 253;
    if errors.filled(at, name) {
        if name.len() > MAX {
            errors.too_long(at, MAX);
        }
        name.split('/').for_each(|part| errors.all(at, part, names::dns1123_subdomain(part)));
    }
}

/// Checks which device of which driver and pool something is about.
pub(super) fn device(errors: &mut Errors, at: &Path<'_>, driver: &str, pool: &str, name: &str) {
    csi_driver(errors, &at.child("driver"), driver);
    self::pool(errors, &at.child("pool"), pool);
    label(errors, &at.child("device"), name);
}
