//! Disruption budgets: how many pods of a set may be away at once, by choice.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use super::check::{Errors, Path};
use super::fields::list;
use super::{conditions, parts, scale};
use crate::internal::shown;
use crate::kind::{Column, Rules, Subresource, Write};
use crate::meta::{MetaRules, Repeats};
use crate::selector;
use crate::status::FieldError;
use crate::table;

impl Rules for PodDisruptionBudget {
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::Status];
    const META: MetaRules = MetaRules {
        on_create: false,
        on_update: Repeats::Nothing,
        finalizers: false,
        unconditional: false,
        ..MetaRules::COMMON
    };
    const COLUMNS: &'static [Column<Self>] = &[
        table::name(),
        table::text("Min Available", "The minimum number of pods that must be available.", |it, _| {
            bound(it.spec.as_ref().and_then(|spec| spec.min_available.as_ref()))
        }),
        table::text("Max Unavailable", "The maximum number of pods that may be unavailable.", |it, _| {
            bound(it.spec.as_ref().and_then(|spec| spec.max_unavailable.as_ref()))
        }),
        table::integer(
            "Allowed Disruptions",
            "Calculated number of pods that may be disrupted at this time.",
            |it, _| it.status.as_ref().and_then(|status| status.disruptions_allowed).unwrap_or_default().into(),
        ),
        table::age(),
    ];

    fn prepare(&mut self, old: Option<&Self>, write: Write) {
        let old = old.map(|old| (&old.metadata, &old.spec, &old.status));
        parts::prepare((&mut self.metadata, &mut self.spec, &mut self.status), old, write);
    }

    fn validate(&self, old: Option<&Self>, write: Write) -> Vec<FieldError> {
        let mut errors = Errors::default();
        if old.is_some() && write == Write::Status {
            status(&mut errors, self);
        } else {
            let none = PodDisruptionBudgetSpec::default();
            let before = old.and_then(|old| old.spec.as_ref()).and_then(|spec| spec.selector.as_ref());
            spec(&mut errors, self.spec.as_ref().unwrap_or(&none), before);
        }
        errors.into_vec()
    }
}

fn bound(bound: Option<&IntOrString>) -> Value {
    match bound {
        None => "N/A".into(),
        Some(IntOrString::Int(count)) => count.to_string().into(),
        Some(IntOrString::String(share)) => share.as_str().into(),
    }
}

fn spec(errors: &mut Errors, spec: &PodDisruptionBudgetSpec, old: Option<&LabelSelector>) {
    let at = Path::root("spec");
    if spec.min_available.is_some() && spec.max_unavailable.is_some() {
        errors.invalid_written(
            &at,
            &shown("api.policy.v1.PodDisruptionBudgetSpec", spec),
            "minAvailable and maxUnavailable cannot be both set",
        );
    }
    for (field, bound) in [("minAvailable", &spec.min_available), ("maxUnavailable", &spec.max_unavailable)] {
        if let Some(bound) = bound {
            let at = at.child(field);
            scale::count_or_percent(errors, &at, bound);
            scale::at_most_all(errors, &at, bound);
        }
    }
    if let Some(wanted) = &spec.selector {
        let lenient = old.is_some_and(|old| !selector::validate(old, "").is_empty());
        errors.extend(selector::validate_unless(wanted, &at.child("selector").to_string(), lenient));
    }
    if let Some(policy) = &spec.unhealthy_pod_eviction_policy {
        errors.one_of(&at.child("unhealthyPodEvictionPolicy"), policy, &["AlwaysAllow", "IfHealthyBudget"]);
    }
}

fn status(errors: &mut Errors, budget: &PodDisruptionBudget) {
    let at = Path::root("status");
    let status = budget.status.clone().unwrap_or_default();
    conditions::all(errors, &at.child("conditions"), list(&status.conditions));
    let number = |count: Option<i32>| i64::from(count.unwrap_or_default());
    let numbers = [
        ("disruptionsAllowed", number(status.disruptions_allowed)),
        ("currentHealthy", number(status.current_healthy)),
        ("desiredHealthy", number(status.desired_healthy)),
        ("expectedPods", number(status.expected_pods)),
    ];
    scale::non_negatives(errors, &at, &numbers);
}
