//! Resource claims: devices that are asked for, and those that were given.

use k8s_openapi::api::resource::v1::{
    AllocatedDeviceStatus, AllocationResult, DeviceAllocationResult, ResourceClaim, ResourceClaimConsumerReference,
    ResourceClaimStatus,
};

use super::check::{Errors, Path};
use super::device_claim::{self, CONFIG_MAX, Names, REQUESTS_MAX, several};
use super::fields::list;
use super::pod::affinity::node_selector;
use super::{conditions, parts};
use crate::internal::shown;
use crate::kind::{Column, Reset, Rules, STATUS_ALONE, Subresource, Write};
use crate::meta::{MetaRules, Repeats};
use crate::status::FieldError;
use crate::table;

const STATE: &str = "A summary of the current state (allocated, pending, reserved, etc.).";
const USERS_MAX: usize = 256;
const CONDITIONS_MAX: usize = 8;

impl Rules for ResourceClaim {
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::Status];
    const META: MetaRules = MetaRules::COMMON.repeating(Repeats::Both);
    const RESETS: &'static [(Write, Reset)] = STATUS_ALONE;
    const COLUMNS: &'static [Column<Self>] =
        &[table::name(), table::text("State", STATE, |it, _| state(it).into()), table::age()];

    fn fill_defaults(&mut self) {
        self.spec.iter_mut().for_each(device_claim::fill_defaults);
        self.status.get_or_insert_default();
    }

    fn prepare(&mut self, old: Option<&Self>, write: Write) {
        let before = old.map(|old| (&old.metadata, &old.spec, &old.status));
        let first = ResourceClaimStatus::default();
        parts::prepare_uncounted_alone((&mut self.metadata, &mut self.spec, &mut self.status), before, write, first);
    }

    fn validate(&self, old: Option<&Self>, write: Write) -> Vec<FieldError> {
        let mut errors = Errors::default();
        let at = Path::root("spec");
        match old {
            None => device_claim::claim(&mut errors, &at, self.spec.as_ref()),
            Some(old) if write == Write::Status => status(&mut errors, &Path::root("status"), self, old),
            Some(old) if old.spec != self.spec => {
                let none = Default::default();
                let whole = shown("api.resource.v1.ResourceClaimSpec", self.spec.as_ref().unwrap_or(&none));
                errors.invalid_written(&at, &whole, "field is immutable");
            }
            Some(_) => {}
        }
        errors.into_vec()
    }
}

fn state(claim: &ResourceClaim) -> String {
    let none = ResourceClaimStatus::default();
    let status = claim.status.as_ref().unwrap_or(&none);
    let mut states = Vec::new();
    if claim.metadata.deletion_timestamp.is_some() {
        states.push("deleted");
    }
    match &status.allocation {
        None if claim.metadata.deletion_timestamp.is_none() => states.push("pending"),
        None => {}
        Some(_) => states.push("allocated"),
    }
    if status.allocation.is_some() && !list(&status.reserved_for).is_empty() {
        states.push("reserved");
    }
    states.join(",")
}

fn status(errors: &mut Errors, at: &Path<'_>, claim: &ResourceClaim, old: &ResourceClaim) {
    let none = ResourceClaimStatus::default();
    let (status, before) = (claim.status.as_ref().unwrap_or(&none), old.status.as_ref().unwrap_or(&none));
    let users_at = at.child("reservedFor");
    let users = list(&status.reserved_for);
    device_claim::set(errors, &users_at, users, USERS_MAX, |one| &one.uid, user);
    let devices_at = at.child("devices");
    let given = status.allocation.as_ref().and_then(|allocation| allocation.devices.as_ref());
    several(errors, &devices_at, list(&status.devices), usize::MAX, |errors, at, one| device(errors, at, one, given));
    let added = users.iter().any(|user| !list(&before.reserved_for).contains(user));
    if !users.is_empty() && status.allocation.is_none() {
        errors.forbidden(&users_at, "may not be specified when `allocated` is not set");
    } else if added && claim.metadata.deletion_timestamp.is_some() {
        let why = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";
        errors.forbidden(&users_at, why);
    }
    let allocation_at = at.child("allocation");
    match (&before.allocation, &status.allocation) {
        (Some(old), Some(new)) => errors.immutable(&allocation_at, new, old),
        (None, Some(new)) => {
            allocation(errors, &allocation_at, new, &device_claim::request_names(claim.spec.as_ref()));
        }
        (_, None) => {}
    }
}

fn user(errors: &mut Errors, at: &Path<'_>, user: &ResourceClaimConsumerReference) {
    for (field, text) in [("resource", &user.resource), ("name", &user.name), ("uid", &user.uid)] {
        errors.filled(&at.child(field), text);
    }
}

fn device(errors: &mut Errors, at: &Path<'_>, device: &AllocatedDeviceStatus, given: Option<&DeviceAllocationResult>) {
    device_claim::device(errors, at, &device.driver, &device.pool, &device.device);
    let results = given.map(|given| list(&given.results)).unwrap_or_default();
    let is_given = results.iter().any(|one| {
        (&one.driver, &one.pool, &one.device, &one.share_id)
            == (&device.driver, &device.pool, &device.device, &device.share_id)
    });
    if !is_given {
        let shown = format!("{}/{}/{}", device.driver, device.pool, device.device);
        errors.invalid(at, shown, "must be an allocated device in the claim");
    }
    let conditions_at = at.child("conditions");
    let conditions = list(&device.conditions);
    if conditions.len() > CONDITIONS_MAX {
        errors.too_many(&conditions_at, conditions.len(), CONDITIONS_MAX);
    }
    conditions::all(errors, &conditions_at, conditions);
    if device.data.as_ref().is_some_and(|data| !data.0.is_object()) {
        errors.invalid(&at.child("data"), "<value omitted>", "must be a valid JSON object");
    }
}

fn allocation(errors: &mut Errors, at: &Path<'_>, allocation: &AllocationResult, names: &Names<'_>) {
    let none = DeviceAllocationResult::default();
    let devices = allocation.devices.as_ref().unwrap_or(&none);
    let devices_at = at.child("devices");
    let results_at = devices_at.child("results");
    several(errors, &results_at, list(&devices.results), REQUESTS_MAX, |errors, at, one| {
        device_claim::reference(errors, &at.child("request"), &one.request, names);
        device_claim::device(errors, at, &one.driver, &one.pool, &one.device);
    });
    let config_at = devices_at.child("config");
    several(errors, &config_at, list(&devices.config), 2 * CONFIG_MAX, |errors, at, one| {
        errors.filled_one_of(&at.child("source"), &one.source, &["FromClaim", "FromClass"]);
        device_claim::references(errors, &at.child("requests"), list(&one.requests), names);
        device_claim::opaque(errors, &at.child("opaque"), one.opaque.as_ref());
    });
    if let Some(selector) = &allocation.node_selector {
        node_selector(errors, &at.child("nodeSelector"), selector, false);
    }
}
