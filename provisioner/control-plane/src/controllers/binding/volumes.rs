//! What phase a volume is in, and what becomes of it when its claim is gone.
//!
//! Source: `pkg/controller/volume/persistentvolume`, `syncVolume` and `reclaimVolume`

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ObjectReference, PersistentVolume, PersistentVolumeClaim, PersistentVolumeSpec};
use kprov_schema::{Key, Resource, Subresource};
use serde_json::json;

use super::matching::{BOUND_BY_CONTROLLER, PROVISIONED_BY, has, same_mode, volume_name};
use super::{Claim, Volume, patch_object};
use crate::client::PatchKind;
use crate::controllers::machinery::action::{Action, Check, Note, Outcome};
use crate::controllers::machinery::meta::reference;
use crate::controllers::machinery::snapshot::Snapshot;
use crate::controllers::machinery::{Config, Controller, Watch};
use crate::informer::Unreadable;

/// Keeps the phases of volumes.
pub struct VolumePhases;

impl Controller for VolumePhases {
    const NAME: &'static str = "persistentvolume-controller";

    fn new(_: &Config, _: Timestamp) -> Self {
        Self
    }

    fn watches() -> Vec<Watch> {
        vec![
            Watch::own::<PersistentVolume>(),
            Watch::new::<PersistentVolumeClaim>(|change, world| {
                let Some(claim) = change.latest() else { return Vec::new() };
                let volumes = world.cache(&Resource::of::<PersistentVolume>()).all();
                let named = |volume: &kprov_schema::Object| {
                    let field = |field| volume.text(&["spec", "claimRef", field]);
                    field("name") == Some(claim.key.name.as_str())
                        && field("namespace") == Some(claim.key.namespace.as_str())
                };
                volumes.iter().filter(|entry| named(&entry.raw)).map(|entry| entry.key.clone()).collect()
            }),
        ]
    }

    fn reconcile(&self, key: &Key, world: &Snapshot, _: Timestamp) -> Result<Outcome, Unreadable> {
        let Some(volume) = world.get::<PersistentVolume>(key)? else { return Ok(Outcome::nothing()) };
        let spec = volume.spec.clone().unwrap_or_default();
        let named = spec.claim_ref.as_ref().filter(|one| one.uid.as_ref().is_some_and(|uid| !uid.is_empty()));
        let Some(named) = named else { return Ok(Vec::from_iter(phase(&volume, "Available", "")).into()) };
        let place = Key::new(named.namespace.clone().unwrap_or_default(), named.name.clone().unwrap_or_default());
        let claim = world.get::<PersistentVolumeClaim>(&place)?;
        let claim = claim.filter(|claim| Some(&claim.raw.uid().0) == named.uid.as_ref());
        Ok(match claim {
            None => released(&volume, &spec, named, &place),
            Some(claim) => of_claim(&volume, &spec, &claim),
        }
        .into())
    }
}

/// The phase of a volume, if it is in another one.
pub(super) fn phase(volume: &Volume, phase: &str, message: &str) -> Option<Action> {
    let is = volume.raw.text(&["status", "phase"]) == Some(phase);
    let message = Some(message).filter(|text| !text.is_empty());
    (!is).then(|| Action::Patch {
        resource: Resource::of::<PersistentVolume>(),
        key: volume.raw.key(),
        subresource: Some(Subresource::Status),
        kind: PatchKind::Merge,
        patch: json!({"metadata": {"uid": volume.raw.uid().0}, "status": {"phase": phase, "message": message}}),
    })
}

fn of_claim(volume: &Volume, spec: &PersistentVolumeSpec, claim: &Claim) -> Vec<Action> {
    match volume_name(claim) {
        Some(name) if name == volume.raw.name() => phase(volume, "Bound", "").into_iter().collect(),
        None if !same_mode(claim, spec) => mismatch(volume, claim),
        // The claim's own reconciliation goes on from here.
        None => Vec::new(),
        Some(_) if has(&volume.metadata, PROVISIONED_BY) && policy(spec) == "Delete" => reclaim(volume, spec),
        Some(_) => set_free(volume),
    }
}

fn mismatch(volume: &Volume, claim: &Claim) -> Vec<Action> {
    let of_volume = format!(
        "Cannot bind PersistentVolume to requested PersistentVolumeClaim {:?} due to incompatible volumeMode.",
        claim.raw.name()
    );
    let of_claim = format!(
        "Cannot bind PersistentVolume {:?} to requested PersistentVolumeClaim due to incompatible volumeMode.",
        volume.raw.name()
    );
    [(reference(&volume.raw), of_volume), (reference(&claim.raw), of_claim)]
        .map(|(about, message)| Action::Record(Note::warning(about, "VolumeMismatch", message)))
        .into()
}

/// A volume whose claim got another one.
fn set_free(volume: &Volume) -> Vec<Action> {
    let patch = if has(&volume.metadata, BOUND_BY_CONTROLLER) {
        json!({"metadata": {"annotations": {BOUND_BY_CONTROLLER: null}}, "spec": {"claimRef": null}})
    } else {
        json!({"spec": {"claimRef": {"uid": null}}})
    };
    let free = patch_object::<PersistentVolume>(&volume.raw, patch);
    [free].into_iter().chain(phase(volume, "Available", "")).collect()
}

/// A volume whose claim is gone, which the API server must say as well: a cache may only not have seen it yet.
fn released(volume: &Volume, spec: &PersistentVolumeSpec, named: &ObjectReference, place: &Key) -> Vec<Action> {
    let ended = matches!(volume.raw.text(&["status", "phase"]), Some("Released" | "Failed"));
    let mut actions = Vec::new();
    if !ended {
        actions.push(Action::Check(Check::Absent {
            resource: Resource::of::<PersistentVolumeClaim>(),
            key: place.clone(),
            uid: named.uid.clone().map(kprov_schema::Uid),
        }));
        actions.extend(phase(volume, "Released", ""));
    }
    actions.extend(reclaim(volume, spec));
    actions
}

fn policy(spec: &PersistentVolumeSpec) -> &str {
    spec.persistent_volume_reclaim_policy.as_deref().unwrap_or("Retain")
}

/// What becomes of the data. Who made the volume takes it away; nobody else here can.
fn reclaim(volume: &Volume, spec: &PersistentVolumeSpec) -> Vec<Action> {
    let failed = |reason, why: String| {
        let Some(status) = phase(volume, "Failed", &why) else { return Vec::new() };
        vec![status, Action::Record(Note::warning(reference(&volume.raw), reason, why))]
    };
    let name = volume.raw.name();
    match policy(spec) {
        "Delete" if has(&volume.metadata, PROVISIONED_BY) => Vec::new(),
        "Delete" => match &spec.host_path {
            Some(host) if !host.path.starts_with("/tmp/") => {
                let why = format!("host_path deleter only supports /tmp/.+ but received provided {}", host.path);
                failed("VolumeFailedDelete", why)
            }
            _ => failed(
                "VolumeFailedDelete",
                format!("error getting deleter volume plugin for volume {name:?}: no deletable volume plugin matched"),
            ),
        },
        "Recycle" => failed("VolumeFailedRecycle", "No recycler plugin found for the volume!".to_owned()),
        _ => Vec::new(),
    }
}
