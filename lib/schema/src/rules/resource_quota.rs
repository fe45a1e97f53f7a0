//! Resource quotas: how much all things in a namespace may take together.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ResourceQuota, ResourceQuotaSpec, ResourceQuotaStatus, ScopeSelector, ScopedResourceSelectorRequirement,
};
use serde_json::{Value, json};

use super::check::{Errors, Path};
use super::fields::list;
use super::pod::container_resources::{is_counted_huge_page, quantity, standard_name};
use super::pod::defaults::{Amounts, round_up};
use crate::internal::shown;
use crate::kind::{Column, Rules, Subresource, Write};
use crate::quantity::Quantity;
use crate::status::FieldError;
use crate::table;

/// What is counted beside huge pages and what has a domain.
const COUNTED: &[&str] = &[
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "persistentvolumeclaims",
    "configmaps",
    "services.nodeports",
    "services.loadbalancers",
];

const OF_PODS: &[&str] = &["pods", "cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"];

/// A part of a namespace's objects that a quota may be for.
struct Scope {
    name: &'static str,
    /// What can be counted of it.
    counts: &'static [&'static str],
    /// Whether it has no values, so that a selector can only ask whether an object is in it.
    plain: bool,
}

const SCOPES: &[Scope] = &[
    Scope { name: "Terminating", counts: OF_PODS, plain: true },
    Scope { name: "NotTerminating", counts: OF_PODS, plain: true },
    Scope { name: "BestEffort", counts: &["pods"], plain: true },
    Scope { name: "NotBestEffort", counts: OF_PODS, plain: true },
    Scope { name: "PriorityClass", counts: OF_PODS, plain: false },
    Scope { name: "CrossNamespacePodAffinity", counts: OF_PODS, plain: true },
    Scope { name: "VolumeAttributesClass", counts: &["persistentvolumeclaims", "requests.storage"], plain: false },
];

/// Scopes that have nothing in common.
const OPPOSITES: &[(&str, &str)] = &[("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")];

impl Rules for ResourceQuota {
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::Status];
    const COLUMNS: &'static [Column<Self>] = &[
        table::name(),
        table::text(
            "Request",
            "Request represents a minimum amount of cpu/memory that a container may consume.",
            |it, _: Timestamp| used(it, false),
        ),
        table::text(
            "Limit",
            "Limits control the maximum amount of cpu/memory that a container may use independent of contention on the node.",
            |it, _: Timestamp| used(it, true),
        ),
        table::age(),
    ];

    fn fill_defaults(&mut self) {
        let spec = self.spec.get_or_insert_default();
        let status = self.status.get_or_insert_default();
        [&mut spec.hard, &mut status.hard, &mut status.used].into_iter().flatten().for_each(round_up);
    }

    fn prepare(&mut self, old: Option<&Self>, write: Write) {
        match (old, write) {
            (None, _) => self.status = Some(ResourceQuotaStatus::default()),
            (Some(old), Write::Status) => self.spec.clone_from(&old.spec),
            (Some(old), _) => self.status.clone_from(&old.status),
        }
    }

    fn validate(&self, old: Option<&Self>, write: Write) -> Vec<FieldError> {
        let mut errors = Errors::default();
        match (old, write) {
            (Some(_), Write::Status) => {
                let at = Path::root("status");
                let status = self.status.clone().unwrap_or_default();
                amounts(&mut errors, &at.child("hard"), status.hard.as_ref());
                amounts(&mut errors, &at.child("used"), status.used.as_ref());
            }
            _ => {
                let none = ResourceQuotaSpec::default();
                let before = old.map(|old| old.spec.as_ref().unwrap_or(&none));
                spec(&mut errors, self.spec.as_ref().unwrap_or(&none), before);
            }
        }
        errors.into_vec()
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let hard = self.spec.as_ref().and_then(|spec| spec.hard.as_ref());
        hard.filter(|_| old.is_none()).map(upside_down).unwrap_or_default()
    }
}

/// What is used of what there may be, either of the limits or of all else.
fn used(quota: &ResourceQuota, of_limits: bool) -> Value {
    let Some(status) = &quota.status else { return "".into() };
    let shown = status.hard.iter().flatten().filter(|(name, _)| name.starts_with("limits.") == of_limits);
    let cells: Vec<String> = shown
        .map(|(name, hard)| {
            let used = status.used.as_ref().and_then(|used| used.get(name));
            let used = used.map_or_else(|| Quantity::whole(0), Quantity::from);
            format!("{name}: {used}/{}", Quantity::from(hard))
        })
        .collect();
    cells.join(", ").into()
}

/// Says where more may be requested than the limits allow.
fn upside_down(hard: &Amounts) -> Vec<String> {
    let amount = |name: &str| hard.get(name).map(Quantity::from);
    let pair = |(name, bare): &(&str, bool)| {
        let full = format!("requests.{name}");
        let request_name = if *bare && !hard.contains_key(&full) { (*name).to_owned() } else { full };
        let limit_name = format!("limits.{name}");
        let (request, limit) = (amount(&request_name)?, amount(&limit_name)?);
        (request > limit)
            .then(|| format!("ResourceQuota {request_name} ({request}) should be less than {limit_name} ({limit})"))
    };
    [("cpu", true), ("memory", true), ("storage", false), ("ephemeral-storage", false)]
        .iter()
        .filter_map(pair)
        .collect()
}

fn spec(errors: &mut Errors, spec: &ResourceQuotaSpec, old: Option<&ResourceQuotaSpec>) {
    let at = Path::root("spec");
    amounts(errors, &at.child("hard"), spec.hard.as_ref());
    scopes(errors, &at.child("scopes"), spec);
    if let Some(selector) = &spec.scope_selector {
        let at = at.child("scopeSelector");
        requirements(errors, &at.child("matchExpressions"), spec, selector);
    }
    let set = |spec: &ResourceQuotaSpec| list(&spec.scopes).iter().cloned().collect::<BTreeSet<_>>();
    if old.is_some_and(|old| set(old) != set(spec)) {
        errors.invalid(&at.child("scopes"), json!(spec.scopes), "field is immutable");
    }
}

fn amounts(errors: &mut Errors, at: &Path<'_>, amounts: Option<&Amounts>) {
    for (name, amount) in amounts.into_iter().flatten() {
        let at = at.key(name);
        standard_name(errors, &at, name);
        if !name.contains('/') && !is_counted(name) {
            errors.invalid(&at, name.as_str(), "must be a standard resource for quota");
        }
        quantity(errors, &at, name, &Quantity::from(amount));
    }
}

fn is_counted(name: &str) -> bool {
    COUNTED.contains(&name) || is_counted_huge_page(name)
}

fn scopes(errors: &mut Errors, at: &Path<'_>, spec: &ResourceQuotaSpec) {
    let scopes = list(&spec.scopes);
    for name in scopes {
        let scope = SCOPES.iter().find(|scope| scope.name == name);
        if scope.is_none() {
            errors.invalid(at, json!(scopes), "unsupported scope");
        }
        for _ in uncountable(scope, spec) {
            errors.invalid(at, json!(scopes), "unsupported scope applied to resource");
        }
    }
    conflicts(errors, at, scopes.iter().map(String::as_str).collect(), spec);
}

/// The names of a quota that are nothing of which a scope knows. What is no scope knows everything.
fn uncountable<'a>(scope: Option<&Scope>, spec: &'a ResourceQuotaSpec) -> impl Iterator<Item = &'a String> {
    let counts = scope.map(|scope| scope.counts);
    let names = spec.hard.iter().flatten().map(|(name, _)| name).filter(|name| is_counted(name));
    names.filter(move |name| counts.is_some_and(|counts| !counts.contains(&name.as_str())))
}

/// Refuses scopes of which no object is in both; the list of scopes is shown wherever they were found.
fn conflicts(errors: &mut Errors, at: &Path<'_>, names: BTreeSet<&str>, spec: &ResourceQuotaSpec) {
    for (one, other) in OPPOSITES {
        if names.contains(one) && names.contains(other) {
            errors.invalid(at, json!(spec.scopes), "conflicting scopes");
        }
    }
}

fn requirements(errors: &mut Errors, at: &Path<'_>, spec: &ResourceQuotaSpec, selector: &ScopeSelector) {
    let all = list(&selector.match_expressions);
    for one in all {
        let scope = SCOPES.iter().find(|scope| scope.name == one.scope_name);
        if scope.is_none() {
            errors.invalid(&at.child("scopeName"), one.scope_name.as_str(), "unsupported scope");
        }
        for _ in uncountable(scope, spec) {
            errors.invalid_written(
                at,
                &shown("api.core.v1.ScopeSelector", selector),
                "unsupported scope applied to resource",
            );
        }
        requirement(errors, at, one, scope.is_some_and(|scope| scope.plain));
    }
    conflicts(errors, at, all.iter().map(|one| one.scope_name.as_str()).collect(), spec);
}

fn requirement(errors: &mut Errors, at: &Path<'_>, one: &ScopedResourceSelectorRequirement, plain: bool) {
    let (operator, operator_at, values_at) = (one.operator.as_str(), at.child("operator"), at.child("values"));
    if plain && operator != "Exists" {
        let why = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, \
                   ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or \
                   ResourceQuotaScopeCrossNamespacePodAffinity";
        errors.invalid(&operator_at, operator, why);
    }
    let valued = !list(&one.values).is_empty();
    match operator {
        "In" | "NotIn" if !valued => {
            let why = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
            errors.required(&values_at, why);
        }
        "Exists" | "DoesNotExist" if valued => {
            let why = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
            errors.invalid(&values_at, json!(one.values), why);
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        _ => errors.invalid(&operator_at, operator, "not a valid selector operator"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(spec: Value) -> ResourceQuota {
        serde_json::from_value(json!({"metadata": {"name": "q"}, "spec": spec})).unwrap()
    }

    fn wrong(spec: Value) -> Vec<String> {
        quota(spec).validate(None, Write::Main).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn scopes_must_fit_what_is_counted_and_each_other() {
        assert!(wrong(json!({"hard": {"pods": "1", "x.io/gpu": "1"}, "scopes": ["BestEffort"]})).is_empty());
        assert_eq!(
            wrong(json!({"hard": {"cpu": "1"}, "scopes": ["BestEffort", "NotBestEffort"]})),
            [
                r#"spec.scopes: Invalid value: ["BestEffort","NotBestEffort"]: unsupported scope applied to resource"#,
                r#"spec.scopes: Invalid value: ["BestEffort","NotBestEffort"]: conflicting scopes"#,
            ]
        );
        let selector = json!({"matchExpressions": [{"scopeName": "PriorityClass", "operator": "Exists"}]});
        assert_eq!(
            wrong(json!({"hard": {"services": "1"}, "scopeSelector": selector})),
            [concat!(
                r#"spec.scopeSelector.matchExpressions: Invalid value: {"MatchExpressions":[{"ScopeName":"PriorityClass","#,
                r#""Operator":"Exists","Values":null}]}: unsupported scope applied to resource"#
            )]
        );
    }

    #[test]
    fn scopes_without_values_can_only_be_asked_for() {
        let selector = |operator: &str, values: Value| {
            wrong(json!({"scopeSelector": {"matchExpressions": [
                {"scopeName": "Terminating", "operator": operator, "values": values}]}}))
        };
        assert!(selector("Exists", json!([])).is_empty());
        assert_eq!(selector("DoesNotExist", json!(["a"])).len(), 2);
        assert_eq!(
            selector("Exists", json!(["a"])),
            [concat!(
                r#"spec.scopeSelector.matchExpressions.values: Invalid value: ["a"]: "#,
                "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
            )]
        );
    }

    #[test]
    fn huge_pages_are_counted_by_size() {
        assert!(wrong(json!({"hard": {"hugepages-2Mi": "4Mi", "requests.hugepages-2Mi": "4Mi"}})).is_empty());
        assert_eq!(wrong(json!({"hard": {"limits.hugepages-2Mi": "4Mi"}})).len(), 2);
    }

    #[test]
    fn warns_of_requests_above_limits() {
        let new = quota(json!({"hard": {"cpu": "2", "limits.cpu": "1", "memory": "1Gi", "limits.memory": "1Gi",
                                        "storage": "2", "limits.storage": "1"}}));
        assert_eq!(new.warnings(None), ["ResourceQuota cpu (2) should be less than limits.cpu (1)"]);
        assert!(new.warnings(Some(&new)).is_empty());
    }

    #[test]
    fn a_status_is_judged_at_its_own_door() {
        let mut new = quota(json!({"hard": {"pods": "1"}}));
        let used = [("pods".to_owned(), k8s_openapi::apimachinery::pkg::api::resource::Quantity("-1".to_owned()))];
        new.status = Some(ResourceQuotaStatus { used: Some(used.into()), ..Default::default() });
        let old = quota(json!({}));
        let wrong = new.validate(Some(&old), Write::Status);
        assert_eq!(
            wrong.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [r#"status.used[pods]: Invalid value: "-1": must be greater than or equal to 0"#]
        );
        new.prepare(Some(&old), Write::Status);
        assert_eq!(new.spec, old.spec);
    }
}
