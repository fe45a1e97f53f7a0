//! Flow schemas: which requests are of which priority.

use k8s_openapi::api::flowcontrol::v1::{
    FlowSchema, FlowSchemaSpec, FlowSchemaStatus, NonResourcePolicyRule, PolicyRulesWithSubjects, ResourcePolicyRule,
    Subject,
};
use serde_json::json;

use super::check::{Errors, Path};
use super::fields::{list, text};
use super::flow_defaults::FLOWS;
use super::parts;
use crate::internal::shown;
use crate::kind::{Column, Reset, Rules, STATUS_ALONE, Subresource, Write};
use crate::meta::{MetaRules, Repeats};
use crate::names;
use crate::status::FieldError;
use crate::table;

const LEVEL: &str = "`name` is the name of the priority level configuration being referenced Required.";
const PRECEDENCE: &str = "`matchingPrecedence` is used to choose among the FlowSchemas that match a given request. The \
    chosen FlowSchema is among those with the numerically lowest (which we take to be logically highest) \
    MatchingPrecedence.  Each MatchingPrecedence value must be ranged in [1,10000]. Note that if the precedence is not \
    specified, it will be set to 1000 as default.";
const METHOD: &str = "`distinguisherMethod` defines how to compute the flow distinguisher for requests that match this \
    schema. `nil` specifies that the distinguisher is disabled and thus will always be the empty string.";
const MISSING: &str = "references a broken or non-existent PriorityLevelConfiguration";

const VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];
const PRECEDENCE_MAX: i32 = 10_000;

impl Rules for FlowSchema {
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::Status];
    const META: MetaRules = MetaRules::COMMON.repeating(Repeats::Create);
    const RESETS: &'static [(Write, Reset)] = STATUS_ALONE;
    const COLUMNS: &'static [Column<Self>] = &[
        table::name(),
        table::text("PriorityLevel", LEVEL, |it, _| it.spec.priority_level_configuration.name.as_str().into()),
        table::text("MatchingPrecedence", PRECEDENCE, |it, _| it.spec.matching_precedence.unwrap_or_default().into()),
        table::text("DistinguisherMethod", METHOD, |it, _| {
            it.spec.distinguisher_method.as_ref().map_or(table::NONE, |method| &method.type_).into()
        }),
        table::age(),
        table::text("MissingPL", MISSING, |it, _| {
            let conditions = it.status.iter().flat_map(|status| list(&status.conditions));
            let dangling = conditions.into_iter().find(|one| one.type_ == "Dangling");
            dangling.map_or("?", |one| text(&one.status)).into()
        }),
    ];

    fn fill_defaults(&mut self) {
        if self.spec.matching_precedence.unwrap_or_default() == 0 {
            self.spec.matching_precedence = Some(1000);
        }
        self.status.get_or_insert_default();
    }

    fn prepare(&mut self, old: Option<&Self>, write: Write) {
        let before = old.map(|old| (&old.metadata, &old.spec, &old.status));
        parts::prepare_counted_alone((&mut self.metadata, &mut self.spec, &mut self.status), before, write);
    }

    fn validate(&self, _: Option<&Self>, write: Write) -> Vec<FieldError> {
        let mut errors = Errors::default();
        if write != Write::Status {
            let (at, name) = (Path::root("spec"), text(&self.metadata.name));
            spec(&mut errors, &at, &self.spec, name);
            let fixed = FLOWS.iter().find(|flow| flow.mandatory && flow.name == name);
            if fixed.is_some_and(|flow| flow.spec() != self.spec) {
                let whole = shown("api.flowcontrol.v1.FlowSchemaSpec", &self.spec);
                errors.invalid_written(&at, &whole, &format!("spec of '{name}' must equal the fixed value"));
            }
        }
        let none = FlowSchemaStatus::default();
        let conditions = list(&self.status.as_ref().unwrap_or(&none).conditions);
        condition_types(&mut errors, conditions.iter().map(|one| one.type_.as_str()));
        errors.into_vec()
    }
}

/// Checks the types of a status' conditions.
pub(super) fn condition_types<'a>(errors: &mut Errors, types: impl Iterator<Item = &'a str>) {
    let at = Path::root("status");
    let at = at.child("conditions");
    let mut seen = Vec::new();
    for (index, one) in types.enumerate() {
        let at = at.index(index);
        let type_at = at.child("type");
        if seen.contains(&one) {
            errors.duplicate(&type_at, one);
        }
        seen.push(one);
        errors.filled(&type_at, one);
    }
}

fn spec(errors: &mut Errors, at: &Path<'_>, spec: &FlowSchemaSpec, name: &str) {
    let (precedence_at, precedence) = (at.child("matchingPrecedence"), spec.matching_precedence.unwrap_or_default());
    if precedence <= 0 {
        errors.invalid(&precedence_at, precedence, "must be a positive value");
    }
    if precedence > PRECEDENCE_MAX {
        errors.invalid(&precedence_at, precedence, &format!("must not be greater than {PRECEDENCE_MAX}"));
    }
    if precedence == 1 && name != "exempt" {
        errors.invalid(&precedence_at, precedence, "only the schema named 'exempt' may have matchingPrecedence 1");
    }
    let methods = &["ByNamespace", "ByUser"];
    if let Some(method) = spec.distinguisher_method.as_ref().filter(|one| !methods.contains(&one.type_.as_str())) {
        let shown = json!({"Type": method.type_});
        errors.not_supported(&at.child("distinguisherMethod").child("type"), shown, methods);
    }
    let (level_at, level) = (at.child("priorityLevelConfiguration"), &spec.priority_level_configuration.name);
    if level.is_empty() {
        errors.required(&level_at.child("name"), "must reference a priority level");
    } else {
        errors.all(&level_at.child("name"), level, names::dns1123_subdomain(level));
    }
    let rules_at = at.child("rules");
    for (index, rule) in list(&spec.rules).iter().enumerate() {
        self::rule(errors, &rules_at.index(index), rule);
    }
}

fn rule(errors: &mut Errors, at: &Path<'_>, rule: &PolicyRulesWithSubjects) {
    let subjects_at = at.child("subjects");
    for (index, subject) in rule.subjects.iter().enumerate() {
        self::subject(errors, &subjects_at.index(index), subject);
    }
    if rule.subjects.is_empty() {
        errors.required(&subjects_at, "subjects must contain at least one value");
    }
    let (resources, paths) = (list(&rule.resource_rules), list(&rule.non_resource_rules));
    if resources.is_empty() && paths.is_empty() {
        errors.required(at, "at least one of resourceRules and nonResourceRules has to be non-empty");
    }
    let (resources_at, paths_at) = (at.child("resourceRules"), at.child("nonResourceRules"));
    for (index, rule) in resources.iter().enumerate() {
        resource_rule(errors, &resources_at.index(index), rule);
    }
    for (index, rule) in paths.iter().enumerate() {
        path_rule(errors, &paths_at.index(index), rule);
    }
}

fn subject(errors: &mut Errors, at: &Path<'_>, subject: &Subject) {
    let given = [
        ("ServiceAccount", "serviceAccount", subject.service_account.is_some()),
        ("User", "user", subject.user.is_some()),
        ("Group", "group", subject.group.is_some()),
    ];
    let Some((kind, field, is_given)) = given.into_iter().find(|(kind, ..)| *kind == subject.kind) else {
        return errors.not_supported(&at.child("kind"), subject.kind.as_str(), &["Group", "ServiceAccount", "User"]);
    };
    let own_at = at.child(field);
    if !is_given {
        errors.required(&own_at, &format!("{field} is required when subject kind is '{kind}'"));
    } else if let Some(account) = &subject.service_account.as_ref().filter(|_| kind == "ServiceAccount") {
        let name_at = own_at.child("name");
        if errors.filled(&name_at, &account.name) && account.name != "*" {
            errors.all(&name_at, &account.name, names::dns1123_subdomain(&account.name));
        }
        if account.namespace.is_empty() {
            errors.required(&own_at.child("namespace"), "must specify namespace for service account");
        } else {
            errors.all(&own_at.child("namespace"), &account.namespace, names::dns1123_label(&account.namespace));
        }
    } else {
        let user = subject.user.as_ref().filter(|_| kind == "User").map(|user| user.name.as_str());
        let group = || subject.group.as_ref().map(|group| group.name.as_str());
        errors.filled(&own_at.child("name"), user.or_else(group).unwrap_or_default());
    }
    for (other, field, _) in given.into_iter().filter(|(other, _, given)| *given && *other != kind) {
        errors.forbidden(&at.child(field), &format!("{field} is forbidden when subject kind is not '{other}'"));
    }
}

fn resource_rule(errors: &mut Errors, at: &Path<'_>, rule: &ResourcePolicyRule) {
    verbs(errors, at, &rule.verbs);
    let groups = "resource rules must supply at least one api group";
    alone(errors, &at.child("apiGroups"), &rule.api_groups, groups, "api groups");
    let resources = "resource rules must supply at least one resource";
    alone(errors, &at.child("resources"), &rule.resources, resources, "resources");
    let (namespaces_at, namespaces) = (at.child("namespaces"), list(&rule.namespaces));
    if namespaces.is_empty() && rule.cluster_scope != Some(true) {
        let why = "resource rules that are not cluster scoped must supply at least one namespace";
        errors.required(&namespaces_at, why);
    } else if has_wildcard(namespaces) {
        alone(errors, &namespaces_at, namespaces, "", "namespaces");
    } else {
        for (index, namespace) in namespaces.iter().enumerate() {
            for why in names::dns1123_label(namespace) {
                let why = format!("each member of this list must be '*' or a DNS-1123 label; {why}");
                errors.invalid(&namespaces_at.index(index), namespace.as_str(), &why);
            }
        }
    }
}

fn path_rule(errors: &mut Errors, at: &Path<'_>, rule: &NonResourcePolicyRule) {
    verbs(errors, at, &rule.verbs);
    let (paths_at, paths) = (at.child("nonResourceURLs"), &rule.non_resource_urls);
    if paths.is_empty() || has_wildcard(paths) {
        let none = "nonResourceURLs must contain at least one value";
        return alone(errors, &paths_at, paths, none, "non-resource URLs");
    }
    for (index, path) in paths.iter().enumerate() {
        if let Some(why) = bad_path(path) {
            errors.invalid(&paths_at.index(index), path.as_str(), why);
        }
    }
}

fn verbs(errors: &mut Errors, at: &Path<'_>, verbs: &[String]) {
    let at = at.child("verbs");
    if verbs.is_empty() || has_wildcard(verbs) {
        alone(errors, &at, verbs, "verbs must contain at least one value", "verbs");
    } else if !verbs.iter().all(|verb| VERBS.contains(&verb.as_str())) {
        errors.not_supported(&at, json!(verbs), VERBS);
    }
}

/// A list may not be empty, and in it `*` stands alone.
fn alone(errors: &mut Errors, at: &Path<'_>, texts: &[String], none: &str, what: &str) {
    if texts.is_empty() {
        errors.required(at, none);
    } else if texts.len() > 1 && has_wildcard(texts) {
        errors.invalid(at, json!(texts), &format!("if '*' is present, must not specify other {what}"));
    }
}

fn has_wildcard(texts: &[String]) -> bool {
    texts.iter().any(|text| text == "*")
}

fn bad_path(path: &str) -> Option<&'static str> {
    let wildcards = path.matches('*').count();
    match path {
        "" => Some("must not be empty"),
        "/" => None,
        _ if !path.starts_with('/') => Some("must start with slash"),
        _ if path.contains(' ') => Some("must not contain white-space"),
        _ if path.contains("//") => Some("must not contain double slash"),
        _ if wildcards > 1 || (wildcards == 1 && !path.ends_with("/*")) => Some("wildcard can only do suffix matching"),
        _ => None,
    }
}
