//! Role bindings, in a namespace or in the whole cluster: who may do what a role says.

use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding, RoleRef, Subject};
use serde_json::{Value, json};

use super::check::{Errors, Path};
use super::fields::{list, text};
use super::role::META;
use crate::kind::{Column, Rules, Write};
use crate::meta::MetaRules;
use crate::names::{self, NameRule};
use crate::status::FieldError;
use crate::table;

/// The group of roles, of their bindings and of the users and groups that these name.
const GROUP: &str = "rbac.authorization.k8s.io";
const ROLE: &str = "RoleRef can reference a Role in the current namespace or a ClusterRole in the global namespace. If \
    the RoleRef cannot be resolved, the Authorizer must return an error.";
const CLUSTER_ROLE: &str = "RoleRef can only reference a ClusterRole in the global namespace. If the RoleRef cannot be \
    resolved, the Authorizer must return an error.";

impl Rules for RoleBinding {
    const META: MetaRules = META;
    const COLUMNS: &'static [Column<Self>] = &[
        table::name(),
        table::text("Role", ROLE, |it, _| shown(&it.role_ref)),
        table::age(),
        table::wide("Users", "Users in the roleBinding", |it, _| subjects(&it.subjects, "User")),
        table::wide("Groups", "Groups in the roleBinding", |it, _| subjects(&it.subjects, "Group")),
        table::wide("ServiceAccounts", "ServiceAccounts in the roleBinding", |it, _| {
            subjects(&it.subjects, "ServiceAccount")
        }),
    ];

    fn fill_defaults(&mut self) {
        fill(&mut self.role_ref, &mut self.subjects);
    }

    fn validate(&self, old: Option<&Self>, _: Write) -> Vec<FieldError> {
        binding(&self.role_ref, &self.subjects, old.map(|old| &old.role_ref), &["Role", "ClusterRole"])
    }
}

impl Rules for ClusterRoleBinding {
    const META: MetaRules = META;
    const COLUMNS: &'static [Column<Self>] = &[
        table::name(),
        table::text("Role", CLUSTER_ROLE, |it, _| shown(&it.role_ref)),
        table::age(),
        table::wide("Users", "Users in the clusterRoleBinding", |it, _| subjects(&it.subjects, "User")),
        table::wide("Groups", "Groups in the clusterRoleBinding", |it, _| subjects(&it.subjects, "Group")),
        table::wide("ServiceAccounts", "ServiceAccounts in the clusterRoleBinding", |it, _| {
            subjects(&it.subjects, "ServiceAccount")
        }),
    ];

    fn fill_defaults(&mut self) {
        fill(&mut self.role_ref, &mut self.subjects);
    }

    fn validate(&self, old: Option<&Self>, _: Write) -> Vec<FieldError> {
        binding(&self.role_ref, &self.subjects, old.map(|old| &old.role_ref), &["ClusterRole"])
    }
}

fn shown(role: &RoleRef) -> Value {
    format!("{}/{}", role.kind, role.name).into()
}

fn subjects(all: &Option<Vec<Subject>>, kind: &str) -> Value {
    let written = |one: &Subject| match kind {
        "ServiceAccount" => format!("{}/{}", text(&one.namespace), one.name),
        _ => one.name.clone(),
    };
    let of_kind = list(all).iter().filter(|one| one.kind == kind);
    of_kind.map(written).collect::<Vec<_>>().join(", ").into()
}

fn fill(role: &mut RoleRef, subjects: &mut Option<Vec<Subject>>) {
    super::fields::fill(&mut role.api_group, GROUP);
    for subject in subjects.iter_mut().flatten().filter(|one| ["User", "Group"].contains(&one.kind.as_str())) {
        super::fields::fill(&mut subject.api_group, GROUP);
    }
}

/// Checks a binding to a role of one of `kinds`; `old` is the role that it bound before.
fn binding(role: &RoleRef, subjects: &Option<Vec<Subject>>, old: Option<&RoleRef>, kinds: &[&str]) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let at = Path::root("roleRef");
    errors.one_of(&at.child("apiGroup"), text(&role.api_group), &[GROUP]);
    errors.one_of(&at.child("kind"), &role.kind, kinds);
    if errors.filled(&at.child("name"), &role.name) {
        errors.all(&at.child("name"), &role.name, NameRule::Path.check(&role.name, false));
    }
    let namespaced = kinds.contains(&"Role");
    let subjects_at = Path::root("subjects");
    for (index, one) in list(subjects).iter().enumerate() {
        subject(&mut errors, &subjects_at.index(index), one, namespaced);
    }
    if old.is_some_and(|old| old != role) {
        let shown = json!({"APIGroup": text(&role.api_group), "Kind": role.kind, "Name": role.name});
        errors.invalid(&at, shown, "cannot change roleRef");
    }
    errors.into_vec()
}

fn subject(errors: &mut Errors, at: &Path<'_>, subject: &Subject, namespaced: bool) {
    let named = errors.filled(&at.child("name"), &subject.name);
    let group = text(&subject.api_group);
    match subject.kind.as_str() {
        "ServiceAccount" => {
            if named {
                errors.all(&at.child("name"), &subject.name, names::dns1123_subdomain(&subject.name));
            }
            errors.one_of(&at.child("apiGroup"), group, &[""]);
            if !namespaced {
                errors.filled(&at.child("namespace"), text(&subject.namespace));
            }
        }
        "User" | "Group" => errors.one_of(&at.child("apiGroup"), group, &[GROUP]),
        other => errors.not_supported(&at.child("kind"), other, &["ServiceAccount", "User", "Group"]),
    }
}
