//! Which requests a policy or a binding is about.
//!
//! Source: apiserver `admission/plugin/policy/matching`, `admission/plugin/webhook/predicates`.

use std::sync::Arc;

use k8s_openapi::api::admissionregistration::v1::{MatchResources, NamedRuleWithOperations};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kprov_schema::selector::Labels;
use kprov_schema::{Kind, Object, Resource};

use super::Request;

/// The kind in whose version a policy asks for the request's object; `None` when the policy is not about it.
pub(super) fn matches(request: &Request<'_>, wanted: Option<&MatchResources>) -> Result<Option<Arc<Kind>>, String> {
    let wanted = wanted.ok_or("policy contained no match constraints, a required field")?;
    let in_namespace = in_namespace(request, wanted.namespace_selector.as_ref());
    if in_namespace == Ok(false) {
        return Ok(None);
    }
    let selected = selected(request, wanted.object_selector.as_ref());
    if selected == Ok(false) {
        return Ok(None);
    }
    let equivalent = wanted.match_policy.as_deref() == Some("Equivalent");
    let rules = |rules: &Option<Vec<NamedRuleWithOperations>>| {
        by_rules(request, rules.as_deref().unwrap_or_default(), equivalent)
    };
    if rules(&wanted.exclude_resource_rules).is_some() {
        return Ok(None);
    }
    let all = wanted.resource_rules.as_ref().is_none_or(Vec::is_empty);
    let Some(kind) = (if all { Some(request.kind.clone()) } else { rules(&wanted.resource_rules) }) else {
        return Ok(None);
    };
    // Selectors that can't be read matter to those alone that are asked for otherwise.
    in_namespace.and(selected).map(|_| Some(kind))
}

/// Whether a binding is about a request.
pub(super) fn matches_binding(request: &Request<'_>, wanted: Option<&MatchResources>) -> Result<bool, String> {
    match wanted {
        None => Ok(true),
        Some(wanted) => matches(request, Some(wanted)).map(|kind| kind.is_some()),
    }
}

fn labels(selector: Option<&LabelSelector>, what: &str) -> Result<Labels, String> {
    let missing = || format!("a nil {what} selector was passed, please ensure selectors are initialized properly");
    Labels::of(selector.ok_or_else(missing)?)
}

/// Whether the namespace of a request is selected; what is in none always is.
fn in_namespace(request: &Request<'_>, selector: Option<&LabelSelector>) -> Result<bool, String> {
    let labels = labels(selector, "namespace")?;
    if request.namespace.is_empty() || labels.is_everything() {
        return Ok(true);
    }
    // A namespace that is made or changes is not stored yet as it will be.
    if let Some(own) = request.object.as_ref().filter(|_| request.is_about_namespaces() && request.part.is_empty()) {
        return Ok(labels.match_object(own));
    }
    let namespace = request.core.get::<Namespace>("", request.namespace);
    let namespace = namespace.ok_or_else(|| format!("namespaces \"{}\" not found", request.namespace))?;
    Ok(labels.match_object(&namespace.object))
}

fn selected(request: &Request<'_>, selector: Option<&LabelSelector>) -> Result<bool, String> {
    let labels = labels(selector, "object")?;
    let fits = |object: &Option<Object>| object.as_ref().is_some_and(|object| labels.match_object(object));
    Ok(labels.is_everything() || fits(&request.object) || fits(&request.old))
}

/// The kind whose resource one of the rules names: the request's own, or an equivalent one.
fn by_rules(request: &Request<'_>, rules: &[NamedRuleWithOperations], equivalent: bool) -> Option<Arc<Kind>> {
    let named = |kind: &Kind| rules.iter().any(|rule| is_named(request, rule, &kind.resource));
    if named(&request.kind) {
        return Some(request.kind.clone());
    }
    let registry = equivalent.then(|| request.core.registry())?;
    registry.equivalents(&request.kind).find(|kind| named(kind)).cloned()
}

fn is_named(request: &Request<'_>, rule: &NamedRuleWithOperations, resource: &Resource) -> bool {
    let has =
        |items: &Option<Vec<String>>, wanted: &str| items.iter().flatten().any(|item| item == "*" || item == wanted);
    let names = rule.resource_names.as_deref().unwrap_or_default();
    in_scope(request, rule.scope.as_deref())
        && has(&rule.operations, request.operation)
        && has(&rule.api_groups, &resource.group)
        && has(&rule.api_versions, &resource.version)
        && rule.resources.iter().flatten().any(|one| is_resource(one, &resource.plural, request.part))
        && (names.is_empty() || names.iter().any(|name| name == request.name))
}

fn in_scope(request: &Request<'_>, scope: Option<&str>) -> bool {
    let in_cluster = request.is_about_namespaces() || request.namespace.is_empty();
    match scope {
        None | Some("*") => true,
        Some("Cluster") => in_cluster,
        Some("Namespaced") => !in_cluster,
        Some(_) => false,
    }
}

/// Whether `pods`, `pods/status`, `*/status` or the like names a resource and its part.
fn is_resource(named: &str, plural: &str, part: &str) -> bool {
    let (name, named_part) = named.split_once('/').unwrap_or((named, ""));
    (name == "*" || name == plural) && (named_part == "*" || named_part == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_named_apart_from_their_objects() {
        for (named, plural, part, want) in [
            ("pods", "pods", "", true),
            ("pods", "pods", "status", false),
            ("pods/status", "pods", "status", true),
            ("pods/*", "pods", "", true),
            ("*/status", "pods", "status", true),
            ("*/status", "pods", "scale", false),
            ("*", "pods", "", true),
            ("*", "pods", "status", false),
            ("*/*", "pods", "status", true),
            ("services", "pods", "", false),
        ] {
            assert_eq!(is_resource(named, plural, part), want, "{named} {plural}/{part}");
        }
    }
}
