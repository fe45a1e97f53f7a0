//! What claims and volumes get from the cluster: a class, and protection from going while they are used.

use std::cmp::Reverse;

use k8s_openapi::api::storage::v1::StorageClass;
use kprov_schema::rules::storage_class::DEFAULT;
use kprov_schema::{Object, Status};
use serde_json::{Value, json};

use super::Intent;
use crate::api::errors;

/// Keeps a volume while it is bound; a controller takes it away.
pub(crate) const VOLUME_FINALIZER: &str = "kubernetes.io/pv-protection";
/// Keeps a claim while a pod uses it; a controller takes it away.
pub(crate) const CLAIM_FINALIZER: &str = "kubernetes.io/pvc-protection";
/// Keeps a class of volume attributes while a volume or claim names it; a controller takes it away.
pub(crate) const ATTRIBUTES_CLASS_FINALIZER: &str = "kubernetes.io/vac-protection";
const OLD_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

pub(super) fn protect_volume(intent: &Intent<'_>, volume: &mut Object) -> Result<(), Status> {
    protect(intent, volume, VOLUME_FINALIZER);
    Ok(())
}

pub(super) fn protect_claim(intent: &Intent<'_>, claim: &mut Object) -> Result<(), Status> {
    protect(intent, claim, CLAIM_FINALIZER);
    Ok(())
}

pub(super) fn protect_attributes_class(intent: &Intent<'_>, class: &mut Object) -> Result<(), Status> {
    protect(intent, class, ATTRIBUTES_CLASS_FINALIZER);
    Ok(())
}

fn protect(intent: &Intent<'_>, object: &mut Object, finalizer: &str) {
    if intent.old.is_none() && !object.finalizers().any(|one| one == finalizer) {
        let finalizers: Vec<&str> = object.finalizers().chain([finalizer]).collect();
        let finalizers = json!(finalizers);
        object.set(&["metadata", "finalizers"], finalizers);
    }
}

/// A new claim that names no class, not even the empty one, is of the newest default class.
pub(super) fn default_class(intent: &Intent<'_>, claim: &mut Object) -> Result<(), Status> {
    let named = claim.at(&["spec", "storageClassName"]).is_some_and(|name| !name.is_null());
    if intent.old.is_some() || named || claim.annotation(OLD_CLASS).is_some() {
        return Ok(());
    }
    let all = intent.core.all::<StorageClass>()?;
    let is_default = |class: &Object| DEFAULT.iter().any(|key| class.annotation(key) == Some("true"));
    let age = |class: &Object| {
        let made = class.text(&["metadata", "creationTimestamp"]).unwrap_or_default().to_owned();
        (Reverse(made), class.name().to_owned())
    };
    let defaults = all.iter().map(|stored| &stored.object).filter(|class| is_default(class));
    if let Some(class) = defaults.min_by_key(|class| age(class)) {
        claim.set(&["spec", "storageClassName"], class.name().into());
    }
    Ok(())
}

/// A claim grows only when it is bound and its class lets it.
pub(super) fn may_grow(intent: &Intent<'_>, claim: &Object, _: &mut Vec<String>) -> Result<(), Status> {
    let Some(old) = intent.old else { return Ok(()) };
    let size = |claim: &Object| -> kprov_schema::quantity::Quantity {
        let text = claim.text(&["spec", "resources", "requests", "storage"]).unwrap_or_default();
        text.parse().unwrap_or_default()
    };
    if size(claim) <= size(old) {
        return Ok(());
    }
    let refuse = |why: &str| Err(errors::forbidden(&intent.target.kind.resource, claim.name(), why));
    if old.text(&["status", "phase"]) != Some("Bound") {
        return refuse("Only bound persistent volume claims can be expanded");
    }
    if class_grows(intent, claim, old) {
        return Ok(());
    }
    refuse(
        "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support \
         resize",
    )
}

fn class_grows(intent: &Intent<'_>, claim: &Object, old: &Object) -> bool {
    fn class(claim: &Object) -> &str {
        let field = || claim.text(&["spec", "storageClassName"]);
        claim.annotation(OLD_CLASS).or_else(field).unwrap_or_default()
    }
    let name = class(claim);
    if name.is_empty() || name != class(old) {
        return false;
    }
    let found = intent.core.get::<StorageClass>("", name);
    found.is_some_and(|found| found.object.at(&["allowVolumeExpansion"]) == Some(&Value::Bool(true)))
}

/// A volume whose phase changes gets the time of that, unless the client says one.
pub(super) fn phase_time(intent: &Intent<'_>, volume: &mut Object) -> Result<(), Status> {
    const TIME: &[&str] = &["status", "lastPhaseTransitionTime"];
    let Some(old) = intent.old else { return Ok(()) };
    let changed = volume.text(&["status", "phase"]) != old.text(&["status", "phase"]);
    if changed && (volume.at(TIME).is_none() || volume.at(TIME) == old.at(TIME)) {
        volume.set(TIME, errors::seconds(intent.core.world.clock.now()));
    }
    Ok(())
}
