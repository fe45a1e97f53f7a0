//! Conditions of the common form, as statuses of several kinds list them.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::check::{Errors, Path};
use crate::names;

const REASON_MAX: usize = 1024;
const MESSAGE_MAX: usize = 32 * 1024;
const STATUSES: &[&str] = &["False", "True", "Unknown"];

/// Checks all conditions of a status.
///
/// Source: apimachinery `ValidateConditions`.
pub(crate) fn all(errors: &mut Errors, at: &Path<'_>, conditions: &[Condition]) {
    let mut seen = BTreeSet::new();
    for (index, condition) in conditions.iter().enumerate() {
        let at = at.index(index);
        if !seen.insert(&condition.type_) {
            errors.duplicate(&at, &condition.type_);
        }
        one(errors, &at, condition);
    }
}

fn one(errors: &mut Errors, at: &Path<'_>, condition: &Condition) {
    let type_at = at.child("type");
    if condition.type_.is_empty() {
        errors.required(&type_at, "is required");
    } else {
        errors.all(&type_at, &condition.type_, names::qualified(&condition.type_));
    }
    errors.filled_one_of(&at.child("status"), &condition.status, STATUSES);
    if let Some(generation) = condition.observed_generation.filter(|generation| *generation < 0) {
        errors.invalid(&at.child("observedGeneration"), generation, "must be greater than or equal to zero");
    }
    // What is absent reads as the beginning of time.
    if condition.last_transition_time.0 == Timestamp::UNIX_EPOCH {
        errors.required(&at.child("lastTransitionTime"), "");
    }
    let reason_at = at.child("reason");
    errors.filled_all(&reason_at, &condition.reason, reason);
    if condition.reason.len() > REASON_MAX {
        errors.too_long(&reason_at, REASON_MAX);
    }
    if condition.message.len() > MESSAGE_MAX {
        errors.too_long(&at.child("message"), MESSAGE_MAX);
    }
}

fn reason(reason: &str) -> Vec<String> {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"_,:".contains(&byte);
    let last = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let fine = match reason.as_bytes() {
        [] => false,
        [only] => only.is_ascii_alphabetic(),
        all @ [first, .., end] => first.is_ascii_alphabetic() && last(*end) && all.iter().all(|byte| inner(*byte)),
    };
    if fine {
        return Vec::new();
    }
    vec![names::mismatch(
        "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric \
         characters or '_,:', and must end with an alphanumeric character or '_'",
        "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?",
        &["my_name", "MY_NAME", "MyName", "ReasonA,ReasonB", "ReasonA:ReasonB"],
    )]
}
