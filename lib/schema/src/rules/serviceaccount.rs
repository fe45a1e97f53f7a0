//! Service accounts: who pods are.

use k8s_openapi::api::core::v1::{ObjectReference, ServiceAccount};

use crate::kind::{Column, Rules, Subresource, Write};
use crate::meta::{MetaRules, Repeats};
use crate::table;

const MOUNTABLE: &str = "kubernetes.io/enforce-mountable-secrets";

impl Rules for ServiceAccount {
    const META: MetaRules = MetaRules::COMMON.repeating(Repeats::Both);
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::Token];
    const COLUMNS: &'static [Column<Self>] = &[table::name(), table::age()];

    fn prepare(&mut self, _: Option<&Self>, _: Write) {
        for secret in self.secrets.iter_mut().flatten() {
            *secret = ObjectReference { name: secret.name.take(), ..ObjectReference::default() };
        }
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let enforces = |it: &Self| it.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(MOUNTABLE));
        if !enforces(self) || old.is_some_and(enforces) {
            return Vec::new();
        }
        vec![format!(
            "metadata.annotations[{MOUNTABLE}]: deprecated in v1.32+; prefer separate namespaces to isolate access to \
             mounted secrets"
        )]
    }
}
