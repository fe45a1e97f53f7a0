//! Persistent volumes: storage of the cluster that claims are bound to.

mod source;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{NodeSelectorTerm, PersistentVolume, PersistentVolumeSpec, VolumeNodeAffinity};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::check::{Errors, Path};
use super::claim;
use super::fields::{list, text};
use super::pod::affinity::node_selector;
use super::pod::defaults::{default_text, round_up};
use super::pod::update::difference;
use super::pod::{same, warnings};
use crate::internal::shown;
use crate::kind::{Column, Rules, Subresource, Write};
use crate::meta::{MetaRules, Repeats};
use crate::names;
use crate::quantity::Quantity;
use crate::status::FieldError;
use crate::table;

const CAPACITY: &str = "capacity is the description of the persistent volume's resources and capacity. More info: \
    https://kubernetes.io/docs/concepts/storage/persistent-volumes#capacity";
const MODES: &str = "accessModes contains all ways the volume can be mounted. More info: \
    https://kubernetes.io/docs/concepts/storage/persistent-volumes#access-modes";
const RECLAIM: &str = "persistentVolumeReclaimPolicy defines what happens to a persistent volume when released from \
    its claim. Valid options are Retain (default for manually created PersistentVolumes), Delete (default for \
    dynamically provisioned PersistentVolumes), and Recycle (deprecated). Recycle must be supported by the volume \
    plugin underlying this PersistentVolume. More info: \
    https://kubernetes.io/docs/concepts/storage/persistent-volumes#reclaiming";
const PHASE: &str = "phase indicates if a volume is available, bound to a claim, or released by a claim. More info: \
    https://kubernetes.io/docs/concepts/storage/persistent-volumes#phase";
const CLAIM: &str = "claimRef is part of a bi-directional binding between PersistentVolume and PersistentVolumeClaim. \
    Expected to be non-nil when bound. claim.VolumeName is the authoritative bind between PV and PVC. More info: \
    https://kubernetes.io/docs/concepts/storage/persistent-volumes#binding";
const REASON: &str = "reason is a brief CamelCase string that describes any failure and is meant for machine parsing \
    and tidy display in the CLI.";
const MODE: &str = "volumeMode defines if a volume is intended to be used with a formatted filesystem or to remain in \
    raw block state. Value of Filesystem is implied when not included in spec.";

/// Labels of nodes that an affinity may exchange for their newer names.
const RENAMED: &[(&str, &str)] = &[
    ("beta.kubernetes.io/arch", "kubernetes.io/arch"),
    ("beta.kubernetes.io/os", "kubernetes.io/os"),
    ("beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type"),
    ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
    ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
];

const OLD_ANNOTATIONS: &[(&str, &str)] = &[
    (claim::OLD_CLASS, claim::OLD_CLASS_ADVICE),
    ("volume.beta.kubernetes.io/mount-options", "deprecated since v1.31; use \"mountOptions\" attribute instead"),
];

impl Rules for PersistentVolume {
    const META: MetaRules = MetaRules::COMMON.repeating(Repeats::Create);
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::Status];
    const COLUMNS: &'static [Column<Self>] = &[
        table::name(),
        table::text("Capacity", CAPACITY, |it, _| {
            claim::amount(spec(it).and_then(|spec| spec.capacity.as_ref())).to_string().into()
        }),
        table::text("Access Modes", MODES, |it, _| {
            claim::short_modes(spec(it).map(|spec| list(&spec.access_modes)).unwrap_or_default()).into()
        }),
        table::text("Reclaim Policy", RECLAIM, |it, _| {
            spec(it).map(|spec| text(&spec.persistent_volume_reclaim_policy)).unwrap_or_default().into()
        }),
        table::text("Status", PHASE, phase),
        table::text("Claim", CLAIM, |it, _| bound_to(it).into()),
        table::text("StorageClass", "StorageClass of the pv", |it, _| class(it).into()),
        table::text("VolumeAttributesClass", "VolumeAttributesClass of the pv", |it, _| {
            claim::or_unset(spec(it).and_then(|spec| spec.volume_attributes_class_name.as_deref()))
        }),
        table::text("Reason", REASON, |it, _| {
            it.status.as_ref().map(|status| text(&status.reason)).unwrap_or_default().into()
        }),
        table::age(),
        table::wide("VolumeMode", MODE, |it, _| claim::or_unset(spec(it).and_then(|spec| spec.volume_mode.as_deref()))),
    ];

    fn fill_defaults(&mut self) {
        default_text(&mut self.status.get_or_insert_default().phase, "Pending");
        let spec = self.spec.get_or_insert_default();
        default_text(&mut spec.persistent_volume_reclaim_policy, "Retain");
        spec.volume_mode.get_or_insert_with(|| "Filesystem".to_owned());
        fill_inline(spec);
    }

    fn prepare(&mut self, old: Option<&Self>, write: Write) {
        match (old, write) {
            (None, _) => {
                let status = self.status.insert(Default::default());
                status.phase = Some("Pending".to_owned());
                status.last_phase_transition_time = self.metadata.creation_timestamp.clone();
            }
            (Some(old), Write::Status) => {
                self.spec.clone_from(&old.spec);
                keep_transition(self, old);
            }
            (Some(old), _) => self.status.clone_from(&old.status),
        }
    }

    fn validate(&self, old: Option<&Self>, write: Write) -> Vec<FieldError> {
        let mut errors = Errors::default();
        if old.is_some() && write == Write::Status {
            return errors.into_vec();
        }
        whole(&mut errors, self, old);
        mount_options(&mut errors, self);
        if let Some(old) = old {
            whole(&mut errors, self, Some(old));
            update(&mut errors, self, old);
        }
        errors.into_vec()
    }

    fn warnings(&self, _: Option<&Self>) -> Vec<String> {
        let annotation = |key: &str| self.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(key));
        let old = OLD_ANNOTATIONS.iter().filter(|(key, _)| annotation(key));
        let mut found: Vec<String> = old.map(|(key, why)| format!("metadata.annotations[{key}]: {why}")).collect();
        if let Some(spec) = spec(self) {
            outdated(&mut found, spec);
        }
        found
    }
}

fn spec(volume: &PersistentVolume) -> Option<&PersistentVolumeSpec> {
    volume.spec.as_ref()
}

fn phase(volume: &PersistentVolume, _: Timestamp) -> Value {
    if volume.metadata.deletion_timestamp.is_some() {
        return "Terminating".into();
    }
    volume.status.as_ref().map(|status| text(&status.phase)).unwrap_or_default().into()
}

fn bound_to(volume: &PersistentVolume) -> String {
    let claim = spec(volume).and_then(|spec| spec.claim_ref.as_ref());
    claim.map(|claim| format!("{}/{}", text(&claim.namespace), text(&claim.name))).unwrap_or_default()
}

/// The storage class that a volume is of; empty for none.
#[must_use]
pub fn class(volume: &PersistentVolume) -> &str {
    claim::named_class(&volume.metadata, spec(volume).and_then(|spec| spec.storage_class_name.as_deref()))
}

/// A phase that stays keeps its time; one that changes gets a new one from the server.
fn keep_transition(volume: &mut PersistentVolume, old: &PersistentVolume) {
    let time = |volume: &PersistentVolume| -> Option<Time> {
        volume.status.as_ref().and_then(|status| status.last_phase_transition_time.clone())
    };
    let phase = |volume: &PersistentVolume| volume.status.as_ref().and_then(|status| status.phase.clone());
    if phase(volume) == phase(old) && time(volume).is_none() {
        volume.status.get_or_insert_default().last_phase_transition_time = time(old);
    }
}

fn whole(errors: &mut Errors, volume: &PersistentVolume, old: Option<&PersistentVolume>) {
    let empty = PersistentVolumeSpec::default();
    let spec = spec(volume).unwrap_or(&empty);
    let at = Path::root("spec");
    if list(&spec.access_modes).is_empty() {
        errors.required(&at.child("accessModes"), "");
    }
    claim::access_modes(errors, &at.child("accessModes"), list(&spec.access_modes));
    capacity(errors, &at.child("capacity"), spec);
    let policy = text(&spec.persistent_volume_reclaim_policy);
    if !policy.is_empty() {
        let policies = &["Delete", "Recycle", "Retain"];
        errors.one_of(&at.child("persistentVolumeReclaimPolicy"), policy, policies);
    }
    if let Some(affinity) = &spec.node_affinity {
        let at = at.child("nodeAffinity");
        match &affinity.required {
            Some(required) => node_selector(errors, &at.child("required"), required, had_bad_labels(old)),
            None => errors.required(&at.child("required"), "must specify required node constraints"),
        }
    }
    source::check(errors, &at, text(&volume.metadata.name), spec);
    recycled_root(errors, &at, spec);
    claim::class(errors, &at.child("storageClassName"), text(&spec.storage_class_name));
    if let Some(mode) = &spec.volume_mode {
        errors.one_of(&at.child("volumeMode"), mode, claim::VOLUME_MODES);
    }
    attributes_class(errors, &at, spec);
}

/// Checks a volume that stands in what attaches it instead of having an object of its own.
pub(crate) fn inline(errors: &mut Errors, at: &Path<'_>, spec: &PersistentVolumeSpec) {
    const CONTEXT: &str = "in the context of inline volumes";
    let not = |errors: &mut Errors, field: &str, given: bool, what: &str| {
        if given {
            errors.forbidden(&at.child(field), &format!("may {what} {CONTEXT}"));
        }
    };
    not(errors, "claimRef", spec.claim_ref.is_some(), "not be specified");
    not(errors, "capacity", spec.capacity.as_ref().is_some_and(|all| !all.is_empty()), "not be specified");
    if spec.csi.is_none() {
        errors.required(&at.child("csi"), &format!("has to be specified {CONTEXT}"));
    }
    let modes_at = at.child("accessModes");
    if list(&spec.access_modes).is_empty() {
        errors.required(&modes_at, "");
    }
    claim::access_modes(errors, &modes_at, list(&spec.access_modes));
    let policy = text(&spec.persistent_volume_reclaim_policy);
    not(errors, "persistentVolumeReclaimPolicy", !["", "Retain"].contains(&policy), "only be Retain");
    not(errors, "nodeAffinity", spec.node_affinity.is_some(), "not be specified");
    source::check(errors, at, "", spec);
    not(errors, "storageClassName", !text(&spec.storage_class_name).is_empty(), "not be specified");
    let mode = spec.volume_mode.as_deref().unwrap_or("Filesystem");
    not(errors, "volumeMode", mode != "Filesystem", "not specify volumeMode other than Filesystem");
    attributes_class(errors, at, spec);
}

/// Fills in what an inline volume leaves out.
pub(crate) fn fill_inline(spec: &mut PersistentVolumeSpec) {
    spec.capacity.iter_mut().for_each(round_up);
    source::fill_defaults(spec);
}

fn capacity(errors: &mut Errors, at: &Path<'_>, spec: &PersistentVolumeSpec) {
    let amounts = spec.capacity.as_ref();
    if amounts.is_none_or(|amounts| amounts.is_empty()) {
        errors.required(at, "");
    }
    if amounts.is_none_or(|amounts| amounts.len() != 1 || !amounts.contains_key("storage")) {
        errors.extend([FieldError::not_supported(at, &json!(amounts), &["storage"])]);
    }
    for (name, amount) in amounts.into_iter().flatten() {
        let (at, amount) = (at.key(name), Quantity::from(amount));
        claim::basic(errors, &at, &amount);
        claim::positive(errors, &at, &amount);
    }
}

/// What was selected by a label value that can't be one stays so.
fn had_bad_labels(old: Option<&PersistentVolume>) -> bool {
    let affinity = old.and_then(spec).and_then(|spec| spec.node_affinity.as_ref());
    let terms = affinity.and_then(|affinity| affinity.required.as_ref()).map(|required| &required.node_selector_terms);
    let values = |term: &NodeSelectorTerm| -> Vec<String> {
        list(&term.match_expressions).iter().flat_map(|one| list(&one.values).to_vec()).collect()
    };
    terms.into_iter().flatten().flat_map(values).any(|value| !names::label_value(&value).is_empty())
}

fn recycled_root(errors: &mut Errors, at: &Path<'_>, spec: &PersistentVolumeSpec) {
    let root = |path: &str| {
        let parts = path.split('/').filter(|part| !part.is_empty() && *part != ".");
        path.starts_with('/')
            && parts.fold(0_usize, |depth, part| if part == ".." { depth.saturating_sub(1) } else { depth + 1 }) == 0
    };
    let host = spec.host_path.as_ref().is_some_and(|host| root(&host.path));
    if host && text(&spec.persistent_volume_reclaim_policy) == "Recycle" {
        let at = at.child("persistentVolumeReclaimPolicy");
        errors.forbidden(&at, "may not be 'recycle' for a hostPath mount of '/'");
    }
}

fn attributes_class(errors: &mut Errors, at: &Path<'_>, spec: &PersistentVolumeSpec) {
    let Some(name) = &spec.volume_attributes_class_name else { return };
    let name_at = at.child("volumeAttributesClassName");
    if name.is_empty() {
        errors.required(&name_at, "an empty string is disallowed");
    }
    claim::class(errors, &name_at, name);
    if spec.csi.is_none() {
        errors.required(&at.child("csi"), "has to be specified when using volumeAttributesClassName");
    }
}

/// Options for mounting come as an annotation only where the storage takes them.
fn mount_options(errors: &mut Errors, volume: &PersistentVolume) {
    const OPTIONS: &str = "volume.beta.kubernetes.io/mount-options";
    let given = volume.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(OPTIONS));
    if given && !spec(volume).is_some_and(source::takes_mount_options) {
        let at = Path::root("metadata");
        let at = at.child("annotations");
        errors.forbidden(&at.child(OPTIONS), "may not specify mount options for this volume type");
    }
}

fn update(errors: &mut Errors, new: &PersistentVolume, old: &PersistentVolume) {
    let empty = PersistentVolumeSpec::default();
    let (new, old) = (spec(new).unwrap_or(&empty), spec(old).unwrap_or(&empty));
    let (sources, old_sources) = (source::alone(new, Some(old)), source::alone(old, None));
    if !same(&sources, &old_sources) {
        let at = Path::root("spec");
        let why = "spec.persistentvolumesource is immutable after creation\n";
        errors.forbidden(&at.child("persistentvolumesource"), &format!("{why}{}", difference(&sources, &old_sources)));
    }
    if new.volume_mode != old.volume_mode {
        errors.invalid(&Path::root("volumeMode"), json!(new.volume_mode), "field is immutable");
    }
    if let Some(had) = &old.node_affinity
        && !same(&new.node_affinity.as_ref(), &Some(&renamed(had, new.node_affinity.as_ref())))
    {
        let why = "field is immutable, except for updating from beta label to GA";
        errors.invalid_written(
            &Path::root("nodeAffinity"),
            &shown("api.core.v1.VolumeNodeAffinity", &new.node_affinity),
            why,
        );
    }
    if old.volume_attributes_class_name.is_some() && new.volume_attributes_class_name.is_none() {
        let at = Path::root("spec");
        errors.forbidden(&at.child("volumeAttributesClassName"), "update from non-nil value to nil is forbidden");
    }
}

/// The old affinity with those of its labels renamed that the new one has renamed.
fn renamed(old: &VolumeNodeAffinity, new: Option<&VolumeNodeAffinity>) -> VolumeNodeAffinity {
    let mut old = old.clone();
    let terms = |affinity: &VolumeNodeAffinity| -> Vec<NodeSelectorTerm> {
        affinity.required.as_ref().map(|required| required.node_selector_terms.clone()).unwrap_or_default()
    };
    let new = new.map(terms).unwrap_or_default();
    for (old, new) in old.required.iter_mut().flat_map(|one| &mut one.node_selector_terms).zip(&new) {
        for (old, new) in old.match_expressions.iter_mut().flatten().zip(list(&new.match_expressions)) {
            let newer = RENAMED.iter().find(|(older, _)| *older == old.key).map_or("", |(_, newer)| newer);
            // Upstream's table of newer names has an empty one for every other label.
            if new.key == newer {
                old.key.clone_from(&new.key);
            }
        }
    }
    old
}

fn outdated(found: &mut Vec<String>, spec: &PersistentVolumeSpec) {
    let at = Path::root("spec");
    if text(&spec.persistent_volume_reclaim_policy) == "Recycle" {
        let at = at.child("persistentVolumeReclaimPolicy");
        found.push(format!(
            "{at}: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic \
             provisioning."
        ));
    }
    if let Some(required) = spec.node_affinity.as_ref().and_then(|affinity| affinity.required.as_ref()) {
        let at = at.child("nodeAffinity");
        let at = at.child("required");
        let at = at.child("nodeSelectorTerms");
        for (index, term) in required.node_selector_terms.iter().enumerate() {
            warnings::node_term(found, &at.index(index), term, false);
        }
    }
    for (field, _, why) in source::outdated(spec).iter().filter(|(_, set, _)| *set) {
        found.push(format!("{}: {why}", at.child(field)));
    }
}
