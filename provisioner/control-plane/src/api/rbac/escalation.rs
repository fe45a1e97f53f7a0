//! Nobody gives others a right that they do not have themselves.
//!
//! Source: `pkg/registry/rbac`, its `policybased` storages.

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef};
use kprov_schema::{Object, Resource, Status, Typed};

use super::rules;
use crate::api::admission::Intent;
use crate::api::authorize::{self, Attributes};
use crate::api::errors;
use crate::api::path::Place;
use crate::api::write;

pub(crate) fn role(intent: &Intent<'_>, object: &mut Object) -> Result<(), Status> {
    let role: Role = typed(intent, object)?;
    may_give(intent, object, &Resource::of::<Role>(), &role.rules.unwrap_or_default())
}

pub(crate) fn cluster_role(intent: &Intent<'_>, object: &mut Object) -> Result<(), Status> {
    if is_free(intent, object) || may(intent, "escalate", &Resource::of::<ClusterRole>(), object.name()) {
        return Ok(());
    }
    let role: ClusterRole = typed(intent, object)?;
    give(intent, object, &role.rules.unwrap_or_default())?;
    let gathers = |object: &Object| object.at(&["aggregationRule", "clusterRoleSelectors"]).is_some();
    if gathers(object) || intent.old.is_some_and(|old| gathers(old)) {
        let why = "must have cluster-admin privileges to use the aggregationRule";
        give(intent, object, &everything()).map_err(|_| forbidden(intent, object, why))?;
    }
    Ok(())
}

pub(crate) fn role_binding(intent: &Intent<'_>, object: &mut Object) -> Result<(), Status> {
    let binding: RoleBinding = typed(intent, object)?;
    may_bind(intent, object, &binding.role_ref)
}

pub(crate) fn cluster_role_binding(intent: &Intent<'_>, object: &mut Object) -> Result<(), Status> {
    let binding: ClusterRoleBinding = typed(intent, object)?;
    may_bind(intent, object, &binding.role_ref)
}

fn typed<T: Typed>(intent: &Intent<'_>, object: &Object) -> Result<T, Status> {
    T::from_object(object).map_err(|why| write::unreadable(&intent.target.kind, &why))
}

fn forbidden(intent: &Intent<'_>, object: &Object, why: &str) -> Status {
    errors::forbidden(&intent.target.kind.resource, object.name(), why)
}

/// Whether nothing is asked: of those who may do anything, and of changes that only let the object go.
fn is_free(intent: &Intent<'_>, object: &Object) -> bool {
    let rest = |object: &Object| {
        let mut object = object.clone();
        for field in ["finalizers", "ownerReferences", "managedFields", "resourceVersion", "uid", "creationTimestamp"] {
            object.remove(&["metadata", field]);
        }
        object
    };
    authorize::is_trusted(intent.user) || intent.old.is_some_and(|old| rest(old) == rest(object))
}

/// Whether the user has a right on a role in the namespace of the object that is written.
fn may(intent: &Intent<'_>, verb: &'static str, resource: &Resource, name: &str) -> bool {
    let place = Place {
        group: resource.group.to_string(),
        version: resource.version.to_string(),
        namespace: intent.target.key.namespace.clone(),
        plural: resource.plural.to_string(),
        name: name.to_owned(),
        ..Place::default()
    };
    let wanted = Attributes { verb: verb.into(), place, ..Attributes::default() };
    authorize::decide(intent.core, intent.user, &wanted).is_some()
}

fn may_give(intent: &Intent<'_>, object: &Object, resource: &Resource, rules: &[PolicyRule]) -> Result<(), Status> {
    if is_free(intent, object) || may(intent, "escalate", resource, object.name()) {
        return Ok(());
    }
    give(intent, object, rules)
}

fn may_bind(intent: &Intent<'_>, object: &Object, role: &RoleRef) -> Result<(), Status> {
    let resource = if role.kind == "ClusterRole" { Resource::of::<ClusterRole>() } else { Resource::of::<Role>() };
    if is_free(intent, object) || may(intent, "bind", &resource, &role.name) {
        return Ok(());
    }
    let view = intent.core.roles.view(&intent.core.store).map_err(errors::unreadable)?;
    let missing = || errors::not_found(&resource, &role.name);
    let rules = view.bound(role, &intent.target.key.namespace).ok_or_else(missing)?;
    give(intent, object, &rules)
}

/// Whether the user has all of these rights.
fn give(intent: &Intent<'_>, object: &Object, wanted: &[PolicyRule]) -> Result<(), Status> {
    let view = intent.core.roles.view(&intent.core.store).map_err(errors::unreadable)?;
    let held: Vec<&PolicyRule> = view.rules(intent.user, &intent.target.key.namespace).collect();
    let missing = rules::missing(held.iter().copied(), wanted);
    if missing.is_empty() {
        return Ok(());
    }
    let why = format!(
        "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        intent.user.name,
        rules::quoted(&intent.user.groups),
        rules::described(&missing)
    );
    Err(forbidden(intent, object, &why))
}

fn everything() -> [PolicyRule; 2] {
    let all = || vec!["*".to_owned()];
    [
        PolicyRule { verbs: all(), api_groups: Some(all()), resources: Some(all()), ..PolicyRule::default() },
        PolicyRule { verbs: all(), non_resource_urls: Some(all()), ..PolicyRule::default() },
    ]
}
