//! Which requests something is about: rules over resources, selectors, conditions in CEL.
//!
//! Source: `pkg/apis/admissionregistration/validation`.

use std::collections::BTreeSet;

use k8s_openapi::api::admissionregistration::v1::{MatchCondition, MatchResources, NamedRuleWithOperations};

use crate::cel::{self, Names, Returns};
use crate::names;
use crate::rules::check::{Errors, Path};
use crate::rules::fields::{list, listed, text};
use crate::selector;

/// What a request does.
const OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const SCOPES: &[&str] = &["*", "Cluster", "Namespaced"];
const MATCH_POLICIES: &[&str] = &["Equivalent", "Exact"];
pub(super) const FAILURE_POLICIES: &[&str] = &["Fail", "Ignore"];
const MAX_CONDITIONS: usize = 64;

/// Fills in what selects everything.
pub(super) fn fill(resources: &mut MatchResources) {
    resources.match_policy.get_or_insert_with(|| "Equivalent".to_owned());
    resources.namespace_selector.get_or_insert_default();
    resources.object_selector.get_or_insert_default();
    let rules = resources.resource_rules.iter_mut().chain(&mut resources.exclude_resource_rules).flatten();
    for rule in rules {
        rule.scope.get_or_insert_with(|| "*".to_owned());
    }
}

/// Checks what a policy or a binding is about.
pub(super) fn resources(errors: &mut Errors, at: &Path<'_>, resources: &MatchResources) {
    choice(errors, &at.child("matchPolicy"), resources.match_policy.as_deref(), MATCH_POLICIES);
    let selectors =
        [("namespaceSelector", &resources.namespace_selector), ("objectSelector", &resources.object_selector)];
    for (field, selector) in selectors {
        let at = at.child(field);
        match selector {
            Some(selector) => errors.extend(selector::validate(selector, &at.to_string())),
            None => errors.required(&at, ""),
        }
    }
    let rules =
        [("resourceRules", &resources.resource_rules), ("excludeResourceRules", &resources.exclude_resource_rules)];
    for (field, rules) in rules {
        let at = at.child(field);
        for (index, rule) in list(rules).iter().enumerate() {
            named_rule(errors, &at.index(index), rule);
        }
    }
}

/// A choice must be made, if only an empty one that is none of those that there are.
pub(super) fn choice(errors: &mut Errors, at: &Path<'_>, value: Option<&str>, choices: &[&str]) {
    match value {
        Some(value) => errors.one_of(at, value, choices),
        None => errors.required(at, ""),
    }
}

fn named_rule(errors: &mut Errors, at: &Path<'_>, rule: &NamedRuleWithOperations) {
    let names_at = at.child("resourceNames");
    let mut seen = BTreeSet::new();
    for (index, name) in list(&rule.resource_names).iter().enumerate() {
        let at = names_at.index(index);
        errors.all(&at, name, names::path_segment(name, false));
        if !seen.insert(name) {
            errors.duplicate(&at, name);
        }
    }
    operations(errors, &at.child("operations"), list(&rule.operations));
    only_all(errors, &at.child("apiGroups"), list(&rule.api_groups), "API groups");
    let versions_at = at.child("apiVersions");
    let versions = list(&rule.api_versions);
    only_all(errors, &versions_at, versions, "API versions");
    for (index, version) in versions.iter().enumerate() {
        errors.filled(&versions_at.index(index), version);
    }
    rule_resources(errors, &at.child("resources"), list(&rule.resources));
    if let Some(scope) = &rule.scope {
        errors.one_of(&at.child("scope"), scope, SCOPES);
    }
}

fn operations(errors: &mut Errors, at: &Path<'_>, operations: &[String]) {
    only_all(errors, at, operations, "operations");
    for (index, operation) in operations.iter().enumerate() {
        errors.one_of(&at.index(index), operation, OPERATIONS);
    }
}

/// There must be items, and `*` alone if it is there.
fn only_all(errors: &mut Errors, at: &Path<'_>, items: &[String], what: &str) {
    if items.is_empty() {
        errors.required(at, "");
    }
    if items.len() > 1 && items.iter().any(|item| item == "*") {
        errors.invalid(at, listed(items), &format!("if '*' is present, must not specify other {what}"));
    }
}

fn rule_resources(errors: &mut Errors, at: &Path<'_>, resources: &[String]) {
    if resources.is_empty() {
        errors.required(at, "");
    }
    let (mut all_parts, mut all_of_part) = (BTreeSet::new(), BTreeSet::new());
    // As upstream: what counts is the last that names no part.
    let mut whole = false;
    for (index, resource) in resources.iter().enumerate() {
        let at = at.index(index);
        if !errors.filled(&at, resource) {
            continue;
        }
        let Some((name, part)) = resource.split_once('/') else {
            whole = resource != "*";
            continue;
        };
        if all_parts.contains(name) {
            let why = format!("if '{name}/*' is present, must not specify {resource}");
            errors.invalid(&at, resource.as_str(), &why);
        }
        if all_of_part.contains(part) {
            let why = format!("if '*/{part}' is present, must not specify {resource}");
            errors.invalid(&at, resource.as_str(), &why);
        }
        all_parts.extend((part == "*").then_some(name));
        all_of_part.extend((name == "*").then_some(part));
    }
    let has = |wanted: &str| resources.iter().any(|resource| resource == wanted);
    if resources.len() > 1 && has("*/*") {
        errors.invalid(at, listed(resources), "if '*/*' is present, must not specify other resources");
    }
    if has("*") && whole {
        let why = "if '*' is present, must not specify other resources without subresources";
        errors.invalid(at, listed(resources), why);
    }
}

/// Checks conditions that a request must meet.
pub(super) fn conditions(errors: &mut Errors, at: &Path<'_>, conditions: &[MatchCondition], names: &Names<'_>) {
    if conditions.len() > MAX_CONDITIONS {
        errors.too_many(at, conditions.len(), MAX_CONDITIONS);
    }
    let mut seen = BTreeSet::new();
    for (index, condition) in conditions.iter().enumerate() {
        let at = at.index(index);
        let expression = condition.expression.trim();
        let expression_at = at.child("expression");
        if errors.filled(&expression_at, expression) {
            self::expression(errors, &expression_at, expression, names, Returns::Bool);
        }
        let name_at = at.child("name");
        errors.filled_all(&name_at, &condition.name, names::qualified);
        if !condition.name.is_empty() && !seen.insert(&condition.name) {
            errors.duplicate(&name_at, &condition.name);
        }
    }
}

/// An expression must compile.
pub(super) fn expression(errors: &mut Errors, at: &Path<'_>, text: &str, names: &Names<'_>, returns: Returns) {
    if let Some(why) = cel::wrong(text, names, returns) {
        errors.invalid(at, text, &why);
    }
}

/// A text without its blanks, if there is more.
pub(super) fn trimmed(field: &Option<String>) -> Option<&str> {
    Some(text(field).trim()).filter(|text| !text.is_empty())
}
