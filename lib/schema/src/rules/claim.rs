//! What claims for storage, their templates and the volumes that they ask for have in common.

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, TypedObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use super::check::{Errors, Path};
use super::fields::{list, text};
use super::pod::defaults::{Amounts, default_text, round_up};
use super::pod::warnings::fractions;
use crate::meta;
use crate::names;
use crate::quantity::Quantity;
use crate::selector;

const MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
/// The forms in which a volume can be given to a pod.
pub(crate) const VOLUME_MODES: &[&str] = &["Block", "Filesystem"];
/// The annotation that named the storage class before there was a field for it.
pub(crate) const OLD_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
/// What is said of that annotation.
pub(crate) const OLD_CLASS_ADVICE: &str = "deprecated since v1.8; use \"storageClassName\" attribute instead";

/// Fills in a claim, or the template of one.
pub(crate) fn fill_defaults(claim: &mut PersistentVolumeClaim) {
    default_text(&mut claim.status.get_or_insert_default().phase, "Pending");
    let spec = claim.spec.get_or_insert_default();
    default_text(&mut spec.volume_mode, "Filesystem");
    if let Some(resources) = &mut spec.resources {
        resources.limits.iter_mut().chain(&mut resources.requests).for_each(round_up);
    }
}

/// Advice about a claim's `spec` at `at`.
pub(crate) fn warnings(at: &Path<'_>, spec: Option<&PersistentVolumeClaimSpec>) -> Vec<String> {
    let mut found = Vec::new();
    let at = at.child("resources");
    if let Some(resources) = spec.and_then(|spec| spec.resources.as_ref()) {
        fractions(&mut found, &at.child("requests"), resources.requests.as_ref(), &["storage"]);
        fractions(&mut found, &at.child("limits"), resources.limits.as_ref(), &["storage"]);
    }
    found
}

/// Checks the metadata of a claim's template: labels and annotations, nothing else.
pub(crate) fn template_metadata(errors: &mut Errors, at: &Path<'_>, metadata: Option<&ObjectMeta>) {
    let Some(metadata) = metadata else { return };
    let pairs = |map: &Option<std::collections::BTreeMap<String, String>>| {
        map.iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect::<Vec<_>>()
    };
    let annotations = pairs(&metadata.annotations);
    let annotations = annotations.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    errors.extend(meta::annotation_pairs(annotations, &at.child("annotations").to_string()));
    let labels = pairs(&metadata.labels);
    let labels = labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    errors.extend(meta::label_pairs(labels, &at.child("labels").to_string()));
    let filled = |field: &Option<String>| !text(field).is_empty();
    let set = [
        ("name", filled(&metadata.name)),
        ("generateName", filled(&metadata.generate_name)),
        ("namespace", filled(&metadata.namespace)),
        ("selfLink", filled(&metadata.self_link)),
        ("uID", filled(&metadata.uid)),
        ("resourceVersion", filled(&metadata.resource_version)),
        ("generation", metadata.generation.unwrap_or_default() != 0),
        ("creationTimestamp", metadata.creation_timestamp.is_some()),
        ("deletionTimestamp", metadata.deletion_timestamp.is_some()),
        ("deletionGracePeriodSeconds", metadata.deletion_grace_period_seconds.is_some()),
        ("ownerReferences", metadata.owner_references.is_some()),
        ("finalizers", metadata.finalizers.is_some()),
        ("managedFields", metadata.managed_fields.is_some()),
    ];
    set.iter().filter(|(_, set)| *set).for_each(|(field, _)| errors.forbidden(&at.child(field), "cannot be set"));
}

/// Checks a claim's `spec`.
pub(crate) fn spec(errors: &mut Errors, at: &Path<'_>, spec: &PersistentVolumeClaimSpec) {
    let modes = list(&spec.access_modes);
    let modes_at = at.child("accessModes");
    if modes.is_empty() {
        errors.required(&modes_at, "at least 1 access mode is required");
    }
    if let Some(wanted) = &spec.selector {
        errors.extend(selector::validate(wanted, &at.child("selector").to_string()));
    }
    access_modes(errors, &modes_at, modes);
    storage(errors, at, spec);
    class(errors, &at.child("storageClassName"), text(&spec.storage_class_name));
    if let Some(mode) = &spec.volume_mode {
        errors.one_of(&at.child("volumeMode"), mode, VOLUME_MODES);
    }
    sources(errors, at, spec);
    class(errors, &at.child("volumeAttributesClassName"), text(&spec.volume_attributes_class_name));
}

fn storage(errors: &mut Errors, at: &Path<'_>, spec: &PersistentVolumeClaimSpec) {
    let requests = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    let at = at.child("resources");
    let at = at.key("storage");
    match requests.and_then(|requests| requests.get("storage")).map(Quantity::from) {
        None => errors.required(&at, ""),
        Some(amount) => positive(errors, &at, &amount),
    }
}

/// Checks in which ways a volume can, or shall, be used at once.
pub(crate) fn access_modes(errors: &mut Errors, at: &Path<'_>, modes: &[String]) {
    modes.iter().for_each(|mode| errors.one_of(at, mode, MODES));
    let alone = modes.iter().any(|mode| mode == "ReadWriteOncePod");
    if alone && modes.iter().any(|mode| mode != "ReadWriteOncePod" && MODES.contains(&mode.as_str())) {
        errors.forbidden(at, "may not use ReadWriteOncePod with other access modes");
    }
}

/// An amount must be more than nothing.
pub(crate) fn positive(errors: &mut Errors, at: &Path<'_>, amount: &Quantity) {
    if amount.sign() <= 0 {
        errors.invalid(at, amount.to_string(), "must be greater than zero");
    }
}

/// An amount of storage may not be less than nothing.
pub(crate) fn basic(errors: &mut Errors, at: &Path<'_>, amount: &Quantity) {
    if amount.value() < 0 {
        errors.invalid(at, amount.value(), "must be a valid resource quantity");
    }
}

/// The amount of storage in a list of resources, none when absent.
pub(crate) fn amount(amounts: Option<&Amounts>) -> Quantity {
    amounts.and_then(|amounts| amounts.get("storage")).map(Quantity::from).unwrap_or_default()
}

/// Access modes as tables write them, such as `RWO,ROX`.
pub(crate) fn short_modes(modes: &[String]) -> String {
    const SHORT: &[(&str, &str)] =
        &[("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
    let has = |mode: &str| modes.iter().any(|one| one == mode);
    SHORT.iter().filter(|(mode, _)| has(mode)).map(|(_, short)| *short).collect::<Vec<_>>().join(",")
}

/// A cell for what may be unset.
pub(crate) fn or_unset(text: Option<&str>) -> Value {
    text.unwrap_or("<unset>").into()
}

/// The storage class that an object names: the old annotation wins over the field.
#[must_use]
pub fn named_class<'a>(metadata: &'a ObjectMeta, field: Option<&'a str>) -> &'a str {
    let old = metadata.annotations.as_ref().and_then(|all| all.get(OLD_CLASS));
    old.map(String::as_str).or(field).unwrap_or_default()
}

/// Checks the name of a class, if one is named.
pub(crate) fn class(errors: &mut Errors, at: &Path<'_>, name: &str) {
    if !name.is_empty() {
        errors.all(at, name, names::dns1123_subdomain(name));
    }
}

fn sources(errors: &mut Errors, at: &Path<'_>, spec: &PersistentVolumeClaimSpec) {
    let local = spec.data_source.as_ref().map(|source| TypedObjectReference {
        api_group: source.api_group.clone(),
        kind: source.kind.clone(),
        name: source.name.clone(),
        namespace: None,
    });
    if let Some(source) = &local {
        data_source(errors, &at.child("dataSource"), source);
    }
    let Some(reference) = &spec.data_source_ref else { return };
    data_source(errors, &at.child("dataSourceRef"), reference);
    let shown = format!("\"{}\"", at.child("dataSource"));
    if !text(&reference.namespace).is_empty() {
        if local.is_some() {
            errors.invalid_written(at, &shown, "may not be specified when dataSourceRef.namespace is specified");
        }
    } else if let Some(local) = &local {
        let same =
            (&local.api_group, &local.kind, &local.name) == (&reference.api_group, &reference.kind, &reference.name);
        if !same {
            errors.invalid_written(at, &shown, "must match dataSourceRef");
        }
    }
}

fn data_source(errors: &mut Errors, at: &Path<'_>, source: &TypedObjectReference) {
    errors.filled(&at.child("name"), &source.name);
    errors.filled(&at.child("kind"), &source.kind);
    let group = text(&source.api_group);
    if group.is_empty() {
        if source.kind != "PersistentVolumeClaim" {
            let why = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
            errors.invalid(at, source.kind.as_str(), why);
        }
    } else {
        errors.all(&at.child("apiGroup"), group, names::dns1123_subdomain(group));
    }
    let namespace = text(&source.namespace);
    if !namespace.is_empty() {
        errors.all(&at.child("namespace"), namespace, names::dns1123_label(namespace));
    }
}
