//! Role-based access: what the roles allow that are bound to a user.
//!
//! The rules of every subject are laid out once and again only when a role or a binding has changed.
//! Source: <https://kubernetes.io/docs/reference/access-authn-authz/rbac/>

pub(crate) mod escalation;
pub(crate) mod policy;
pub(crate) mod rules;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject};
use kprov_schema::{Resource, Revision, Typed};

use super::authorize::Attributes;
use super::user::User;
use crate::store::{Prefix, ReadError, Store};

/// The rules of all subjects, as of the last time that somebody asked.
#[derive(Default)]
pub(crate) struct Roles {
    view: RwLock<Option<Arc<View>>>,
}

impl Roles {
    /// The rules as they are now. An error tells that the store can't be read, and nobody has rights then.
    pub(crate) fn view(&self, store: &Store) -> Result<Arc<View>, ReadError> {
        if let Some(view) = self.view.read().unwrap_or_else(PoisonError::into_inner).as_ref()
            && view.is_current(store)
        {
            return Ok(view.clone());
        }
        let mut slot = self.view.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(view) = slot.as_ref().filter(|view| view.is_current(store)) {
            return Ok(view.clone());
        }
        let view = Arc::new(View::read(store)?);
        *slot = Some(view.clone());
        Ok(view)
    }
}

type Rules = Arc<[PolicyRule]>;

/// Rules that a binding gives to a subject.
struct Grant {
    rules: Rules,
    /// Which binding of which role it is, as answers to reviews say it.
    source: String,
}

/// The grants of one scope, by whom they are for. Service accounts are users of their long names.
#[derive(Default)]
struct Grants {
    users: HashMap<String, Vec<Grant>>,
    groups: HashMap<String, Vec<Grant>>,
}

impl Grants {
    fn of<'a>(&'a self, user: &'a User) -> impl Iterator<Item = &'a Grant> {
        let groups = user.groups.iter().filter_map(|group| self.groups.get(group));
        self.users.get(&user.name).into_iter().chain(groups).flatten()
    }
}

/// Roles and bindings, laid out by subject.
pub(crate) struct View {
    at: Revision,
    cluster_roles: HashMap<String, Rules>,
    roles: HashMap<(String, String), Rules>,
    cluster: Grants,
    namespaces: HashMap<String, Grants>,
}

fn resources() -> [Resource; 4] {
    [
        Resource::of::<ClusterRole>(),
        Resource::of::<Role>(),
        Resource::of::<ClusterRoleBinding>(),
        Resource::of::<RoleBinding>(),
    ]
}

impl View {
    fn is_current(&self, store: &Store) -> bool {
        let same = |resource: &Resource| {
            store.since(self.at, &Prefix::resource(resource), 1).is_ok_and(|changes| changes.events.is_empty())
        };
        self.at == store.head() || resources().iter().all(same)
    }

    fn read(store: &Store) -> Result<Self, ReadError> {
        let mut view = Self {
            at: store.head(),
            cluster_roles: HashMap::new(),
            roles: HashMap::new(),
            cluster: Grants::default(),
            namespaces: HashMap::new(),
        };
        for role in all::<ClusterRole>(store)? {
            view.cluster_roles.insert(role.metadata.name.unwrap_or_default(), role.rules.unwrap_or_default().into());
        }
        for role in all::<Role>(store)? {
            let key = (role.metadata.namespace.unwrap_or_default(), role.metadata.name.unwrap_or_default());
            view.roles.insert(key, role.rules.unwrap_or_default().into());
        }
        for binding in all::<ClusterRoleBinding>(store)? {
            let name = binding.metadata.name.unwrap_or_default();
            let Some(rules) = view.bound(&binding.role_ref, "") else { continue };
            let title = format!("ClusterRoleBinding {name:?} of {}", of(&binding.role_ref));
            grant(&mut view.cluster, &rules, &title, "", binding.subjects);
        }
        for binding in all::<RoleBinding>(store)? {
            let (name, namespace) =
                (binding.metadata.name.unwrap_or_default(), binding.metadata.namespace.unwrap_or_default());
            let Some(rules) = view.bound(&binding.role_ref, &namespace) else { continue };
            let title = format!("RoleBinding \"{name}/{namespace}\" of {}", of(&binding.role_ref));
            let grants = view.namespaces.entry(namespace.clone()).or_default();
            grant(grants, &rules, &title, &namespace, binding.subjects);
        }
        Ok(view)
    }

    /// The rules of a role that a binding in a namespace names; `None` when it is not there.
    pub(crate) fn bound(&self, role: &RoleRef, namespace: &str) -> Option<Rules> {
        match role.kind.as_str() {
            "ClusterRole" => self.cluster_roles.get(&role.name).cloned(),
            "Role" => self.roles.get(&(namespace.to_owned(), role.name.clone())).cloned(),
            _ => None,
        }
    }

    fn grants<'a>(&'a self, user: &'a User, namespace: &str) -> impl Iterator<Item = &'a Grant> {
        let local = self.namespaces.get(namespace).filter(|_| !namespace.is_empty());
        self.cluster.of(user).chain(local.into_iter().flat_map(move |grants| grants.of(user)))
    }

    /// Every rule that a user has in a namespace, those for the whole cluster first.
    pub(crate) fn rules<'a>(&'a self, user: &'a User, namespace: &str) -> impl Iterator<Item = &'a PolicyRule> {
        self.grants(user, namespace).flat_map(|grant| grant.rules.iter())
    }

    /// What lets a user do something; `None` when nothing does.
    pub(crate) fn source<'a>(&'a self, user: &'a User, wanted: &Attributes) -> Option<&'a str> {
        let allows = |grant: &&Grant| grant.rules.iter().any(|rule| rules::allows(rule, wanted));
        self.grants(user, wanted.namespace()).find(allows).map(|grant| grant.source.as_str())
    }
}

fn of(role: &RoleRef) -> String {
    format!("{} {:?}", role.kind, role.name)
}

/// Everything of a kind that parses: what does not gives nobody a right.
fn all<T: Typed>(store: &Store) -> Result<Vec<T>, ReadError> {
    let page = store.list(&Prefix::resource(&Resource::of::<T>()), None, None, None)?;
    let parse = |object: &kprov_schema::Object| match T::from_object(object) {
        Ok(typed) => Some(typed),
        Err(why) => {
            tracing::warn!(object = %object.key(), why, "left out of the rules: unreadable");
            None
        }
    };
    Ok(page.items.iter().filter_map(|stored| parse(&stored.object)).collect())
}

fn grant(grants: &mut Grants, rules: &Rules, title: &str, namespace: &str, subjects: Option<Vec<Subject>>) {
    for subject in subjects.into_iter().flatten() {
        let (who, shown) = match subject.kind.as_str() {
            "ServiceAccount" => {
                let home = subject.namespace.filter(|own| !own.is_empty()).unwrap_or_else(|| namespace.to_owned());
                let shown = format!("ServiceAccount \"{}/{home}\"", subject.name);
                (grants.users.entry(format!("system:serviceaccount:{home}:{}", subject.name)), shown)
            }
            "User" => {
                let shown = format!("User {:?}", subject.name);
                (grants.users.entry(subject.name), shown)
            }
            "Group" => {
                let shown = format!("Group {:?}", subject.name);
                (grants.groups.entry(subject.name), shown)
            }
            _ => continue,
        };
        let source = format!("{title} to {shown}");
        who.or_default().push(Grant { rules: rules.clone(), source });
    }
}
