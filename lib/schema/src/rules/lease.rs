//! Leases: who holds a role until when.

use k8s_openapi::api::coordination::v1::Lease;
use serde_json::json;

use super::fields::text;
use crate::kind::{Column, Rules, Write};
use crate::meta::MetaRules;
use crate::status::FieldError;
use crate::table;

const HOLDER: &str = "holderIdentity contains the identity of the holder of a current lease. If Coordinated Leader \
    Election is used, the holder identity must be equal to the elected LeaseCandidate.metadata.name field.";

impl Rules for Lease {
    const META: MetaRules = MetaRules { finalizers: false, unconditional: false, ..MetaRules::COMMON };
    const COLUMNS: &'static [Column<Self>] = &[
        table::name(),
        table::text("Holder", HOLDER, |it, _| {
            it.spec.as_ref().map(|spec| text(&spec.holder_identity)).unwrap_or_default().into()
        }),
        table::age(),
    ];

    // Coordinated leader election is off, and with it the fields that it added.
    fn prepare(&mut self, old: Option<&Self>, _: Write) {
        let used = old.and_then(|old| old.spec.as_ref());
        if let Some(spec) = &mut self.spec {
            if used.is_none_or(|old| old.strategy.is_none()) {
                spec.strategy = None;
            }
            if used.is_none_or(|old| old.preferred_holder.is_none()) {
                spec.preferred_holder = None;
            }
        }
    }

    fn validate(&self, _: Option<&Self>, _: Write) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let Some(spec) = &self.spec else { return errors };
        if let Some(seconds) = spec.lease_duration_seconds.filter(|seconds| *seconds <= 0) {
            errors.push(FieldError::invalid("spec.leaseDurationSeconds", &json!(seconds), "must be greater than 0"));
        }
        if let Some(count) = spec.lease_transitions.filter(|count| *count < 0) {
            let why = "must be greater than or equal to 0";
            errors.push(FieldError::invalid("spec.leaseTransitions", &json!(count), why));
        }
        errors
    }
}
