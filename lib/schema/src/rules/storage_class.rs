//! Storage classes: the sorts of storage that claims may ask for.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::TopologySelectorTerm;
use k8s_openapi::api::storage::v1::StorageClass;
use serde_json::json;

use super::check::{Errors, Path};
use super::fields::{list, text};
use super::pod::warnings::deprecated_label;
use crate::kind::{Column, Rules, Write};
use crate::meta::{MetaRules, Repeats};
use crate::names;
use crate::status::FieldError;
use crate::table;

const PROVISIONER: &str = "provisioner indicates the type of the provisioner.";
const RECLAIM: &str = "reclaimPolicy controls the reclaimPolicy for dynamically provisioned PersistentVolumes of this \
    storage class. Defaults to Delete.";
const BINDING: &str = "volumeBindingMode indicates how PersistentVolumeClaims should be provisioned and bound.  When \
    unset, VolumeBindingImmediate is used. This field is only honored by servers that enable the VolumeScheduling \
    feature.";
const EXPANSION: &str = "allowVolumeExpansion shows whether the storage class allow volume expand.";

/// The annotations that make a class the one of claims that name none.
pub const DEFAULT: &[&str] =
    &["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];

/// How many parameters a class may have, and how many bytes they may hold together.
const PARAMETERS: (usize, usize) = (512, 256 * 1024);

impl Rules for StorageClass {
    const META: MetaRules = MetaRules::COMMON.repeating(Repeats::Both);
    const COLUMNS: &'static [Column<Self>] = &[
        Column { cell: |it, _| named(it).into(), ..table::name() },
        table::text("Provisioner", PROVISIONER, |it, _| it.provisioner.as_str().into()),
        table::text("ReclaimPolicy", RECLAIM, |it, _| it.reclaim_policy.as_deref().unwrap_or("Delete").into()),
        table::text("VolumeBindingMode", BINDING, |it, _| {
            it.volume_binding_mode.as_deref().unwrap_or("Immediate").into()
        }),
        table::text("AllowVolumeExpansion", EXPANSION, |it, _| (it.allow_volume_expansion == Some(true)).into()),
        table::age(),
    ];

    fn fill_defaults(&mut self) {
        self.reclaim_policy.get_or_insert_with(|| "Delete".to_owned());
        self.volume_binding_mode.get_or_insert_with(|| "Immediate".to_owned());
    }

    fn validate(&self, old: Option<&Self>, _: Write) -> Vec<FieldError> {
        let mut errors = Errors::default();
        provisioner(&mut errors, &Path::root("provisioner"), &self.provisioner);
        parameters(&mut errors, &Path::root("parameters"), self.parameters.as_ref());
        let policy = text(&self.reclaim_policy);
        if !policy.is_empty() {
            errors.one_of(&Path::root("reclaimPolicy"), policy, &["Delete", "Retain"]);
        }
        let modes = &["Immediate", "WaitForFirstConsumer"];
        errors.one_of(&Path::root("volumeBindingMode"), text(&self.volume_binding_mode), modes);
        topologies(&mut errors, &Path::root("allowedTopologies"), list(&self.allowed_topologies));
        if let Some(old) = old {
            frozen(&mut errors, self, old);
        }
        errors.into_vec()
    }

    fn warnings(&self, _: Option<&Self>) -> Vec<String> {
        let mut found = Vec::new();
        for (at, topology) in list(&self.allowed_topologies).iter().enumerate() {
            for (index, one) in list(&topology.match_label_expressions).iter().enumerate() {
                if let Some(why) = deprecated_label(&one.key) {
                    found.push(format!("allowedTopologies[{at}].matchLabelExpressions[{index}].key: {why}"));
                }
            }
        }
        found
    }
}

fn named(class: &StorageClass) -> String {
    let name = class.metadata.name.clone().unwrap_or_default();
    let says =
        |key: &&str| class.metadata.annotations.as_ref().and_then(|all| all.get(*key)).is_some_and(|it| it == "true");
    if DEFAULT.iter().any(says) { format!("{name} (default)") } else { name }
}

/// Checks the name of what makes the storage of a class.
pub(crate) fn provisioner(errors: &mut Errors, at: &Path<'_>, name: &str) {
    if errors.filled(at, name) {
        let lower = name.to_lowercase();
        errors.all(at, &lower, names::qualified(&lower));
    }
}

/// Checks what a class tells who makes its storage.
pub(crate) fn parameters(errors: &mut Errors, at: &Path<'_>, parameters: Option<&BTreeMap<String, String>>) {
    let (max, bytes) = PARAMETERS;
    let Some(parameters) = parameters else { return };
    if parameters.len() > max {
        errors.too_long(at, max);
        return;
    }
    if parameters.contains_key("") {
        errors.invalid(at, "", "field can not be empty.");
    }
    if parameters.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() > bytes {
        errors.too_long(at, bytes);
    }
}

type Raw<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

fn topologies(errors: &mut Errors, at: &Path<'_>, terms: &[TopologySelectorTerm]) {
    let mut seen: Vec<Raw<'_>> = Vec::new();
    for (index, term) in terms.iter().enumerate() {
        let at = at.index(index);
        let expressions = at.child("matchLabelExpressions");
        let raw = topology(errors, &expressions, term);
        // Upstream compares with a placeholder for every term too, and those equal a term that says nothing.
        let placeholders = if raw.is_empty() { terms.len() } else { 0 };
        let repeats = seen.iter().filter(|one| **one == raw).count();
        (0..placeholders + repeats).for_each(|_| errors.duplicate(&expressions, ""));
        seen.push(raw);
    }
}

fn topology<'a>(errors: &mut Errors, at: &Path<'_>, term: &'a TopologySelectorTerm) -> Raw<'a> {
    let mut raw = Raw::new();
    for (index, one) in list(&term.match_label_expressions).iter().enumerate() {
        let at = at.index(index);
        let values_at = at.child("values");
        if one.values.is_empty() {
            errors.required(&values_at, "");
        }
        let mut values = BTreeSet::new();
        for (index, value) in one.values.iter().enumerate() {
            if !values.insert(value.as_str()) {
                errors.duplicate(&values_at.index(index), value);
            }
        }
        errors.all(&at.child("key"), &one.key, names::qualified(&one.key));
        if raw.insert(one.key.as_str(), values).is_some() {
            errors.duplicate(&at.child("key"), &one.key);
        }
    }
    raw
}

fn frozen(errors: &mut Errors, new: &StorageClass, old: &StorageClass) {
    let filled = |class: &StorageClass| class.parameters.clone().unwrap_or_default();
    if filled(new) != filled(old) {
        errors.invalid(&Path::root("parameters"), json!(new.parameters), "field is immutable");
    }
    errors.immutable(&Path::root("provisioner"), &new.provisioner, &old.provisioner);
    errors.immutable(&Path::root("reclaimPolicy"), &new.reclaim_policy, &old.reclaim_policy);
    errors.immutable(&Path::root("volumeBindingMode"), &new.volume_binding_mode, &old.volume_binding_mode);
}
