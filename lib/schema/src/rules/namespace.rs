//! Namespaces: where names are unique.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Namespace, NamespaceStatus};

use super::fields::{list, text};
use crate::kind::{Column, Reset, Rules, Selectable, Subresource, Write};
use crate::meta::{self, MetaRules, Repeats};
use crate::names::NameRule;
use crate::status::FieldError;
use crate::table;

/// The finalizer that holds a namespace until its content is gone.
const FINALIZER: &str = "kubernetes";
/// The label that holds a namespace's own name, for selectors.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

impl Rules for Namespace {
    const META: MetaRules = MetaRules::COMMON.named(NameRule::Label).repeating(Repeats::Both);
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::Finalize, Subresource::Status];
    const RESETS: &'static [(Write, Reset)] = &[(Write::Other(Subresource::Finalize), Reset::Except(&[&["status"]]))];
    const COLUMNS: &'static [Column<Self>] =
        &[table::name(), table::text("Status", "The status of the namespace", |it, _| phase(it).into()), table::age()];
    const SELECTABLE: &'static [Selectable] = &[Selectable::text("status.phase")];

    fn fill_defaults(&mut self) {
        if let Some(name) = self.metadata.name.clone().filter(|name| !name.is_empty()) {
            self.metadata.labels.get_or_insert_with(BTreeMap::new).insert(NAME_LABEL.to_owned(), name);
        }
        let status = self.status.get_or_insert_default();
        super::fields::fill(&mut status.phase, "Active");
    }

    fn prepare(&mut self, old: Option<&Self>, write: Write) {
        match (old, write) {
            (None, _) => {
                self.status = Some(NamespaceStatus { phase: Some("Active".to_owned()), ..NamespaceStatus::default() });
                let finalizers = self.spec.get_or_insert_default().finalizers.get_or_insert_default();
                if !finalizers.iter().any(|one| one == FINALIZER) {
                    finalizers.push(FINALIZER.to_owned());
                }
            }
            (Some(old), Write::Main) => {
                self.spec.clone_from(&old.spec);
                self.status.clone_from(&old.status);
            }
            (Some(old), Write::Status) => self.spec.clone_from(&old.spec),
            (Some(old), Write::Other(_)) => self.status.clone_from(&old.status),
        }
    }

    fn validate(&self, old: Option<&Self>, write: Write) -> Vec<FieldError> {
        let finalizers = self.spec.as_ref().map(|spec| list(&spec.finalizers)).unwrap_or_default();
        match write {
            Write::Status if old.is_some() => wrong_phase(self).into_iter().collect(),
            Write::Other(_) => {
                let at = |index: usize| format!("spec.finalizers[{index}]");
                finalizers.iter().enumerate().flat_map(|(index, name)| meta::finalizer(name, &at(index))).collect()
            }
            _ => finalizers.iter().flat_map(|name| meta::finalizer(name, "spec.finalizers")).collect(),
        }
    }
}

fn phase(namespace: &Namespace) -> &str {
    namespace.status.as_ref().map(|status| text(&status.phase)).unwrap_or_default()
}

fn wrong_phase(namespace: &Namespace) -> Option<FieldError> {
    let deleting = namespace.metadata.deletion_timestamp.is_some();
    let (wanted, empty) = if deleting { ("Terminating", "not empty") } else { ("Active", "empty") };
    let why = format!("may only be '{wanted}' if `deletionTimestamp` is {empty}");
    (phase(namespace) != wanted).then(|| FieldError::invalid_text("status.Phase", phase(namespace), &why))
}
