//! Persistent volume claims: what a namespace asks for of the cluster's storage.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeClaimStatus, TypedLocalObjectReference,
    TypedObjectReference,
};
use serde_json::{Value, json};

use super::check::{Errors, Path};
use super::claim;
use super::fields::{list, text};
use super::pod::container_resources::quantity;
use super::pod::defaults::round_up;
use super::pod::pod_resources::is_native;
use super::pod::same;
use super::pod::update::difference;
use crate::kind::{Column, Rules, Subresource, Write};
use crate::meta::{MetaRules, Repeats};
use crate::names;
use crate::quantity::Quantity;
use crate::status::FieldError;
use crate::table;

const PHASE: &str = "phase represents the current phase of PersistentVolumeClaim.";
const VOLUME: &str = "volumeName is the binding reference to the PersistentVolume backing this claim.";
const CAPACITY: &str = "capacity represents the actual resources of the underlying volume.";
const MODES: &str = "accessModes contains the actual access modes the volume backing the PVC has. More info: \
    https://kubernetes.io/docs/concepts/storage/persistent-volumes#access-modes-1";
const MODE: &str = "volumeMode defines what type of volume is required by the claim. Value of Filesystem is implied \
    when not included in claim spec.";

/// How far a volume has come on its way to another size.
const RESIZES: &[&str] = &[
    "ControllerResizeInProgress",
    "ControllerResizeInfeasible",
    "NodeResizeInProgress",
    "NodeResizeInfeasible",
    "NodeResizePending",
];

impl Rules for PersistentVolumeClaim {
    const META: MetaRules = MetaRules::COMMON.repeating(Repeats::Both);
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::Status];
    const COLUMNS: &'static [Column<Self>] = &[
        table::name(),
        table::text("Status", PHASE, phase),
        table::text("Volume", VOLUME, |it, _| volume(it).into()),
        table::text("Capacity", CAPACITY, |it, _| match volume(it) {
            "" => "".into(),
            _ => claim::amount(it.status.as_ref().and_then(|status| status.capacity.as_ref())).to_string().into(),
        }),
        table::text("Access Modes", MODES, |it, _| match (volume(it), &it.status) {
            ("", _) | (_, None) => "".into(),
            (_, Some(status)) => claim::short_modes(list(&status.access_modes)).into(),
        }),
        table::text("StorageClass", "StorageClass of the pvc", |it, _| {
            claim::named_class(&it.metadata, spec(it).and_then(|spec| spec.storage_class_name.as_deref())).into()
        }),
        table::text("VolumeAttributesClass", "VolumeAttributesClass of the pvc", |it, _| {
            claim::or_unset(spec(it).and_then(|spec| spec.volume_attributes_class_name.as_deref()))
        }),
        table::age(),
        table::wide("VolumeMode", MODE, |it, _| claim::or_unset(spec(it).and_then(|spec| spec.volume_mode.as_deref()))),
    ];

    fn fill_defaults(&mut self) {
        claim::fill_defaults(self);
        if let Some(status) = &mut self.status {
            status.capacity.iter_mut().chain(&mut status.allocated_resources).for_each(round_up);
        }
    }

    fn prepare(&mut self, old: Option<&Self>, write: Write) {
        if let (Some(old), Write::Status) = (old, write) {
            self.spec.clone_from(&old.spec);
            return;
        }
        self.status = match old {
            Some(old) => old.status.clone(),
            None => Some(PersistentVolumeClaimStatus { phase: Some("Pending".to_owned()), ..Default::default() }),
        };
        if let Some(wanted) = &mut self.spec {
            sources(wanted, old.and_then(spec));
        }
    }

    fn validate(&self, old: Option<&Self>, write: Write) -> Vec<FieldError> {
        let mut errors = Errors::default();
        let empty = PersistentVolumeClaimSpec::default();
        match (old, write) {
            (Some(_), Write::Status) => status(&mut errors, self),
            (old, _) => {
                claim::spec(&mut errors, &Path::root("spec"), spec(self).unwrap_or(&empty));
                if let Some(old) = old {
                    update(&mut errors, self, old);
                }
            }
        }
        errors.into_vec()
    }

    fn warnings(&self, _: Option<&Self>) -> Vec<String> {
        let old = self.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(claim::OLD_CLASS));
        let advice = || format!("metadata.annotations[{}]: {}", claim::OLD_CLASS, claim::OLD_CLASS_ADVICE);
        let mut found: Vec<String> = old.then(advice).into_iter().collect();
        found.extend(claim::warnings(&Path::root("spec"), spec(self)));
        found
    }
}

fn spec(claim: &PersistentVolumeClaim) -> Option<&PersistentVolumeClaimSpec> {
    claim.spec.as_ref()
}

fn volume(claim: &PersistentVolumeClaim) -> &str {
    spec(claim).map(|spec| text(&spec.volume_name)).unwrap_or_default()
}

fn status_phase(claim: &PersistentVolumeClaim) -> &str {
    claim.status.as_ref().map(|status| text(&status.phase)).unwrap_or_default()
}

fn phase(claim: &PersistentVolumeClaim, _: Timestamp) -> Value {
    if claim.metadata.deletion_timestamp.is_some() { "Terminating".into() } else { status_phase(claim).into() }
}

/// What the volume is filled from: the older field and the newer one say the same.
///
/// Source: KEP 1495.
fn sources(spec: &mut PersistentVolumeClaimSpec, old: Option<&PersistentVolumeClaimSpec>) {
    let in_use = old.is_some_and(|old| old.data_source.is_some() || old.data_source_ref.is_some());
    // What another namespace has is not taken: that is an alpha feature, off by default.
    let foreign = spec.data_source_ref.as_ref().is_some_and(|source| !text(&source.namespace).is_empty());
    if foreign && old.is_none_or(|old| old.data_source_ref.is_none()) {
        spec.data_source_ref = None;
    }
    if !in_use && spec.data_source_ref.is_none() && !spec.data_source.as_ref().is_some_and(is_known) {
        spec.data_source = None;
    }
    match (&spec.data_source, &spec.data_source_ref) {
        (Some(source), None) => {
            spec.data_source_ref = Some(TypedObjectReference {
                api_group: source.api_group.clone(),
                kind: source.kind.clone(),
                name: source.name.clone(),
                namespace: None,
            });
        }
        (None, Some(source)) if text(&source.namespace).is_empty() => {
            spec.data_source = Some(TypedLocalObjectReference {
                api_group: source.api_group.clone(),
                kind: source.kind.clone(),
                name: source.name.clone(),
            });
        }
        _ => {}
    }
}

/// Whether the older field may name it: other claims, snapshots.
fn is_known(source: &TypedLocalObjectReference) -> bool {
    matches!(
        (text(&source.api_group), source.kind.as_str()),
        ("", "PersistentVolumeClaim") | ("snapshot.storage.k8s.io", "VolumeSnapshot")
    )
}

fn storage(spec: &PersistentVolumeClaimSpec) -> Quantity {
    claim::amount(spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()))
}

fn update(errors: &mut Errors, new: &PersistentVolumeClaim, old: &PersistentVolumeClaim) {
    const IMMUTABLE: &str =
        "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n";
    let empty = PersistentVolumeClaimSpec::default();
    let (new_spec, old_spec) = (spec(new).unwrap_or(&empty), spec(old).unwrap_or(&empty));
    let bound = status_phase(new) == "Bound";
    let (mut now, mut before) = (new_spec.clone(), old_spec.clone());
    if text(&old_spec.volume_name).is_empty() {
        before.volume_name.clone_from(&now.volume_name);
    }
    class(errors, new, old, &mut now);
    if bound {
        let had = old_spec.resources.as_ref().and_then(|all| all.requests.as_ref()).and_then(|all| all.get("storage"));
        let requests = now.resources.as_mut().and_then(|resources| resources.requests.as_mut());
        if let (Some(requests), Some(had)) = (requests, had) {
            requests.insert("storage".to_owned(), had.clone());
        }
        now.volume_attributes_class_name.clone_from(&before.volume_attributes_class_name);
    }
    let at = Path::root("spec");
    if !same(&now, &before) {
        errors.forbidden(&at, &format!("{IMMUTABLE}{}", difference(&now, &before)));
    }
    let size = storage(new_spec);
    let real = claim::amount(old.status.as_ref().and_then(|status| status.capacity.as_ref()));
    if size < storage(old_spec) && size <= real {
        let at = at.child("resources");
        let at = at.child("requests");
        errors.forbidden(&at.child("storage"), "field can not be less than status.capacity");
    }
    if new_spec.volume_mode != old_spec.volume_mode {
        errors.invalid(&Path::root("volumeMode"), json!(new_spec.volume_mode), "field is immutable");
    }
    attributes_class(errors, &at.child("volumeAttributesClassName"), new_spec, old);
}

/// A claim's class may move from the old annotation to the field, or be set where it was not: then `now` has the old one.
fn class(
    errors: &mut Errors,
    new: &PersistentVolumeClaim,
    old: &PersistentVolumeClaim,
    now: &mut PersistentVolumeClaimSpec,
) {
    fn annotation(claim: &PersistentVolumeClaim) -> Option<&str> {
        claim.metadata.annotations.as_ref()?.get(claim::OLD_CLASS).map(String::as_str)
    }
    let field = |claim: &PersistentVolumeClaim| spec(claim).and_then(|spec| spec.storage_class_name.clone());
    let (had, has) = (annotation(old), annotation(new));
    let unset = field(old).is_none() && field(new).is_some();
    let named = field(new);
    if unset && had.is_some() && named.as_deref() == had && has.is_none_or(|has| Some(has) == had) {
        now.storage_class_name = None;
        return;
    }
    if had.unwrap_or_default() != has.unwrap_or_default() {
        let at = Path::root("metadata");
        let at = at.child("annotations");
        errors.invalid(&at.child(claim::OLD_CLASS), has.unwrap_or_default(), "field is immutable");
    }
    if unset && had.is_none_or(|had| named.as_deref() == Some(had)) {
        now.storage_class_name = None;
    }
}

fn attributes_class(errors: &mut Errors, at: &Path<'_>, new: &PersistentVolumeClaimSpec, old: &PersistentVolumeClaim) {
    let before = spec(old).and_then(|spec| spec.volume_attributes_class_name.as_ref());
    let applied = old.status.as_ref().is_some_and(|status| status.current_volume_attributes_class_name.is_some());
    if before == new.volume_attributes_class_name.as_ref() || !applied {
        return;
    }
    let to = match new.volume_attributes_class_name.as_deref() {
        None => "nil",
        Some("") => "empty string",
        Some(_) => return,
    };
    let why = format!("update to {to} is forbidden when status.currentVolumeAttributesClassName is not nil");
    errors.forbidden(at, &why);
}

fn status(errors: &mut Errors, claim: &PersistentVolumeClaim) {
    if spec(claim).is_none_or(|spec| list(&spec.access_modes).is_empty()) {
        let at = Path::root("Spec");
        errors.required(&at.child("accessModes"), "");
    }
    let Some(status) = &claim.status else { return };
    let at = Path::root("status");
    let capacity_at = at.child("capacity");
    for (name, amount) in status.capacity.iter().flatten() {
        claim::basic(errors, &capacity_at.key(name), &Quantity::from(amount));
    }
    let states_at = at.child("allocatedResourceStatuses");
    for (name, state) in status.allocated_resource_statuses.iter().flatten() {
        resource_name(errors, &states_at, name);
        if !RESIZES.contains(&state.as_str()) {
            errors.not_supported(&states_at, name.as_str(), RESIZES);
        }
    }
    let allocated_at = at.child("allocatedResources");
    for (name, amount) in status.allocated_resources.iter().flatten() {
        let (here, amount) = (allocated_at.key(name), Quantity::from(amount));
        let before = errors.count();
        resource_name(errors, &allocated_at, name);
        if errors.count() == before {
            claim::basic(errors, &here, &amount);
        }
        if errors.count() == before {
            quantity(errors, &here, "storage", &amount);
        }
    }
}

fn resource_name(errors: &mut Errors, at: &Path<'_>, name: &str) {
    let wrong = names::qualified(name);
    if wrong.is_empty() && is_native(name) && name != "storage" {
        errors.not_supported(at, name, &["storage"]);
    }
    errors.all(at, name, wrong);
}
