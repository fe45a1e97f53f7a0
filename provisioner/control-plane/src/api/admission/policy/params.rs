//! The objects that policies are given as parameters.
//!
//! Source: apiserver `admission/plugin/policy/generic` `CollectParams`.

use std::sync::Arc;

use k8s_openapi::api::admissionregistration::v1::ParamRef;
use kprov_schema::selector::Labels;
use kprov_schema::{Key, Kind};
use serde_json::Value;

use super::{NOTHING, Policy, Request};
use crate::api::target::{Target, served};

/// The kind of a policy's parameters, if it has some.
pub(super) fn kind(request: &Request<'_>, policy: &Policy) -> Result<Option<Arc<Kind>>, String> {
    let Some(wanted) = policy.param_kind() else { return Ok(None) };
    let api_version = wanted.api_version.as_deref().unwrap_or_default();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let name = wanted.kind.as_deref().unwrap_or_default();
    let found = request.core.registry().named(group, version, name).cloned();
    let unknown = || format!("failed to find resource referenced by paramKind: '{api_version}, Kind={name}'");
    found.map(Some).ok_or_else(unknown)
}

/// Every object that a binding gives to its policy; one `null` where there are no parameters.
pub(super) fn of(request: &Request<'_>, policy: &Policy, wanted: Option<&ParamRef>) -> Result<Vec<Value>, String> {
    let (Some(kind), Some(wanted)) = (kind(request, policy)?, wanted) else { return Ok(vec![NOTHING]) };
    let namespace = namespace(request, &kind, wanted.namespace.as_deref().unwrap_or_default())?;
    let name = wanted.name.as_deref().unwrap_or_default();
    let target = Target { kind: kind.clone(), key: Key::new(namespace, name), part: None };
    let found: Vec<Value> = if !name.is_empty() {
        target
            .find(&request.core.store)
            .into_iter()
            .map(|stored| Value::from(stored.object.without_managers()))
            .collect()
    } else if let Some(selector) = &wanted.selector {
        let labels = Labels::of(selector)?;
        let all = request.core.store.list(&target.places(None), None, None, None);
        let all = all.map_err(|error| error.to_string())?.items;
        let selected = all.into_iter().filter(|stored| labels.match_object(&stored.object));
        selected.map(|stored| Value::from(served(&kind, stored).object.without_managers())).collect()
    } else {
        return Err("one of name or selector must be provided".to_owned());
    };
    if found.is_empty() && wanted.parameter_not_found_action.as_deref() == Some("Deny") {
        return Err("no params found for policy binding with `Deny` parameterNotFoundAction".to_owned());
    }
    Ok(found)
}

/// The namespace in which parameters are looked for: the one that is named, or the request's.
fn namespace(request: &Request<'_>, kind: &Kind, named: &str) -> Result<String, String> {
    if !kind.is_namespaced() {
        let why = "paramRef.namespace must not be provided for a cluster-scoped `paramKind`";
        return if named.is_empty() { Ok(String::new()) } else { Err(why.to_owned()) };
    }
    let namespace = if named.is_empty() { request.namespace } else { named };
    let why = "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources";
    if namespace.is_empty() { Err(why.to_owned()) } else { Ok(namespace.to_owned()) }
}
