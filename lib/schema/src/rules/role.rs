//! Roles, in a namespace or in the whole cluster: what may be done.

use k8s_openapi::api::rbac::v1::{AggregationRule, ClusterRole, PolicyRule, Role};
use serde_json::{Value, json};

use super::check::{Errors, Path};
use super::fields::list;
use crate::kind::{Column, Rules, Write};
use crate::meta::{MetaRules, Repeats};
use crate::names::NameRule;
use crate::selector;
use crate::status::FieldError;
use crate::table;

/// Names of roles and bindings hold colons.
pub(super) const META: MetaRules = MetaRules::COMMON.named(NameRule::Path).repeating(Repeats::Both);

impl Rules for Role {
    const META: MetaRules = META;
    const COLUMNS: &'static [Column<Self>] = &[table::name(), table::created()];

    fn validate(&self, _: Option<&Self>, _: Write) -> Vec<FieldError> {
        let mut errors = Errors::default();
        rules(&mut errors, list(&self.rules), true);
        errors.into_vec()
    }
}

impl Rules for ClusterRole {
    const META: MetaRules = META;
    const COLUMNS: &'static [Column<Self>] = &[table::name(), table::created()];

    fn validate(&self, _: Option<&Self>, _: Write) -> Vec<FieldError> {
        let mut errors = Errors::default();
        rules(&mut errors, list(&self.rules), false);
        if let Some(aggregation) = &self.aggregation_rule {
            aggregates(&mut errors, aggregation);
        }
        errors.into_vec()
    }
}

fn rules(errors: &mut Errors, rules: &[PolicyRule], namespaced: bool) {
    let at = Path::root("rules");
    for (index, one) in rules.iter().enumerate() {
        rule(errors, &at.index(index), one, namespaced);
    }
}

fn rule(errors: &mut Errors, at: &Path<'_>, rule: &PolicyRule, namespaced: bool) {
    if rule.verbs.is_empty() {
        errors.required(&at.child("verbs"), "verbs must contain at least one value");
    }
    let paths = list(&rule.non_resource_urls);
    let (groups, resources, names) = (list(&rule.api_groups), list(&rule.resources), list(&rule.resource_names));
    if !paths.is_empty() {
        let at = at.child("nonResourceURLs");
        if namespaced {
            errors.invalid(&at, json!(paths), "namespaced rules cannot apply to non-resource URLs");
        }
        if !(groups.is_empty() && resources.is_empty() && names.is_empty()) {
            errors.invalid(&at, json!(paths), "rules cannot apply to both regular resources and non-resource URLs");
        }
        return;
    }
    if groups.is_empty() {
        errors.required(&at.child("apiGroups"), "resource rules must supply at least one api group");
    }
    if resources.is_empty() {
        errors.required(&at.child("resources"), "resource rules must supply at least one resource");
    }
}

fn aggregates(errors: &mut Errors, rule: &AggregationRule) {
    let at = Path::root("aggregationRule");
    let at = at.child("clusterRoleSelectors");
    let selectors = list(&rule.cluster_role_selectors);
    if selectors.is_empty() {
        errors.required(&at, "at least one clusterRoleSelector required if aggregationRule is non-nil");
    }
    for (index, one) in selectors.iter().enumerate() {
        let at = at.index(index);
        let wrong = selector::validate(one, &at.to_string());
        let unusable = !wrong.is_empty();
        errors.extend(wrong);
        if unusable {
            errors.invalid(&at, Value::Null, "invalid label selector.");
        }
    }
}
