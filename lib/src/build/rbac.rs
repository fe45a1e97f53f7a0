//! Roles, and who has them.

use k8s_openapi::Resource;
use k8s_openapi::api::rbac::v1 as rbac;

use super::account::ServiceAccount;
use super::object::{Object, named};
use super::text::{DnsLabel, Name, Of};
use super::wraps::{object, part};

/// What may be done with objects.
///
/// ```
/// use kprov::build::*;
/// let watch = Rule::on::<Pod>(Verb::READ);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Read one.
    Get,
    /// Read all.
    List,
    /// Hear of changes.
    Watch,
    /// Make one.
    Create,
    /// Replace one.
    Update,
    /// Change parts of one.
    Patch,
    /// Delete one.
    Delete,
    /// Delete all.
    DeleteCollection,
    /// Everything, also what comes later.
    All,
}

impl Verb {
    /// Reading, in every way.
    pub const READ: [Self; 3] = [Self::Get, Self::List, Self::Watch];
    /// Reading and writing, in every way.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let edit = Role::new("edit", Rule::on::<ConfigMap>(Verb::WRITE));
    /// ```
    pub const WRITE: [Self; 8] = [
        Self::Get,
        Self::List,
        Self::Watch,
        Self::Create,
        Self::Update,
        Self::Patch,
        Self::Delete,
        Self::DeleteCollection,
    ];

    fn text(self) -> String {
        match self {
            Self::All => "*".to_owned(),
            verb => format!("{verb:?}").to_lowercase(),
        }
    }
}

part! {
    /// Rights on some sort of objects.
    ///
    /// ```
    /// use k8s_openapi::api::core::v1::Pod;
    /// use kprov::build::*;
    /// let watch = Rule::on::<Pod>(Verb::READ).and::<Service>();
    /// let logs = Rule::on::<Pod>([Verb::Get]).subresource("log");
    /// let one = Rule::on::<ConfigMap>([Verb::Update]).only(["leader"]);
    /// let foreign = Rule::on_resources("example.com", ["widgets"], [Verb::All]);
    /// ```
    Rule(rbac::PolicyRule)
}

fn texts(verbs: impl IntoIterator<Item = Verb>) -> Vec<String> {
    verbs.into_iter().map(Verb::text).collect()
}

impl Rule {
    /// On objects of a kind: a k8s-openapi type or a builder.
    #[must_use]
    pub fn on<K: Resource>(verbs: impl IntoIterator<Item = Verb>) -> Self {
        Self::on_resources(K::GROUP, [K::URL_PATH_SEGMENT], verbs)
    }

    /// On resources by their names in paths, such as `widgets`.
    #[must_use]
    pub fn on_resources(
        group: impl Into<String>,
        resources: impl IntoIterator<Item = impl Into<String>>,
        verbs: impl IntoIterator<Item = Verb>,
    ) -> Self {
        Self(rbac::PolicyRule {
            api_groups: Some(vec![group.into()]),
            resources: Some(resources.into_iter().map(Into::into).collect()),
            verbs: texts(verbs),
            ..rbac::PolicyRule::default()
        })
    }

    /// The same on another kind.
    #[must_use]
    pub fn and<K: Resource>(mut self) -> Self {
        let groups = self.0.api_groups.get_or_insert_default();
        if !groups.iter().any(|group| group == K::GROUP) {
            groups.push(K::GROUP.to_owned());
        }
        self.0.resources.get_or_insert_default().push(K::URL_PATH_SEGMENT.to_owned());
        self
    }

    /// On that part of the objects instead of the objects themselves: `log`, `status`, `scale`.
    #[must_use]
    pub fn subresource(mut self, part: &str) -> Self {
        for resource in self.0.resources.iter_mut().flatten() {
            *resource = format!("{resource}/{part}");
        }
        self
    }

    /// Only on the objects of these names. Making and listing can't be limited so.
    #[must_use]
    pub fn only(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.0.resource_names.get_or_insert_default().extend(names.into_iter().map(Into::into));
        self
    }
}

/// Rights on paths that are no objects, such as `/metrics`: only a [`ClusterRole`] has them.
///
/// ```
/// use kprov::build::*;
/// let metrics = ClusterRole::new("metrics", Urls::new(["/metrics", "/healthz/*"], [Verb::Get]));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Urls(rbac::PolicyRule);

impl Urls {
    /// On these paths; one that ends in `*` stands for all that begin so.
    #[must_use]
    pub fn new(paths: impl IntoIterator<Item = impl Into<String>>, verbs: impl IntoIterator<Item = Verb>) -> Self {
        let paths = paths.into_iter().map(Into::into).collect();
        Self(rbac::PolicyRule { non_resource_urls: Some(paths), verbs: texts(verbs), ..rbac::PolicyRule::default() })
    }
}

object! {
    /// Rights inside one namespace.
    ///
    /// ```
    /// use k8s_openapi::api::core::v1::Pod;
    /// use kprov::build::*;
    /// let reader = Role::new("reader", Rule::on::<Pod>(Verb::READ)).namespace("shop");
    /// let operator = ServiceAccount::new("operator").namespace("shop");
    /// let binding = RoleBinding::new("operator-reads", &reader, &operator);
    /// ```
    /// Source: <https://kubernetes.io/docs/reference/access-authn-authz/rbac/>
    namespaced Role(rbac::Role)
}

object! {
    /// Rights in the whole cluster, or in each namespace where a [`RoleBinding`] gives them.
    ///
    /// ```
    /// use kprov::build::*;
    /// let metrics = ClusterRole::new("metrics", Urls::new(["/metrics"], [Verb::Get])).rule(Rule::on::<Pod>(Verb::READ));
    /// ```
    cluster ClusterRole(rbac::ClusterRole)
}

/// What a cluster role consists of: a [`Rule`] or [`Urls`].
///
/// ```
/// use kprov::build::*;
/// let role = ClusterRole::new("reader", Rule::on::<Pod>(Verb::READ)).rule(Urls::new(["/metrics"], [Verb::Get]));
/// ```
pub trait Right {
    /// The rule.
    ///
    /// ```
    /// # use kprov::build::*;
    /// assert_eq!(Urls::new(["/metrics"], [Verb::Get]).right().verbs, ["get"]);
    /// ```
    fn right(self) -> rbac::PolicyRule;
}

impl Right for Rule {
    fn right(self) -> rbac::PolicyRule {
        self.0
    }
}

impl Right for Urls {
    fn right(self) -> rbac::PolicyRule {
        self.0
    }
}

/// What it allows.
///
/// ```
/// # use kprov::build::*;
/// let operator = Role::new("operator", Rule::on::<Pod>(Verb::READ))
///     .rule(Rule::on::<ConfigMap>([Verb::Update]).only(["leader"]));
/// ```
impl Role {
    /// A role with one rule.
    #[must_use]
    #[track_caller]
    pub fn new(name: impl Of<Name>, rule: Rule) -> Self {
        Self(rbac::Role { metadata: named(name.checked()), rules: Some(vec![rule.0]) })
    }

    /// Adds a rule.
    #[must_use]
    pub fn rule(mut self, rule: Rule) -> Self {
        self.0.rules.get_or_insert_default().push(rule.0);
        self
    }
}

impl ClusterRole {
    /// A role with one rule.
    #[must_use]
    #[track_caller]
    pub fn new(name: impl Of<Name>, right: impl Right) -> Self {
        let rules = Some(vec![right.right()]);
        Self(rbac::ClusterRole { metadata: named(name.checked()), rules, aggregation_rule: None })
    }

    /// Adds a rule.
    #[must_use]
    pub fn rule(mut self, right: impl Right) -> Self {
        self.0.rules.get_or_insert_default().push(right.right());
        self
    }
}

/// Whose rights a [`RoleBinding`] gives: a [`Role`] of its namespace, or a [`ClusterRole`].
///
/// ```
/// use kprov::build::*;
/// let role = ClusterRole::new("reader", Rule::on::<Pod>(Verb::READ));
/// let here = RoleBinding::new("ada-reads", &role, Subject::user("ada")).namespace("shop");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no role that can be bound here",
    note = "a `RoleBinding` takes a reference to a `Role` or a `ClusterRole`, a `ClusterRoleBinding` only to a `ClusterRole`"
)]
pub trait Bindable: Resource + Object {}

impl Bindable for Role {}
impl Bindable for ClusterRole {}

fn role_ref(role: &impl Bindable) -> rbac::RoleRef {
    fn of<R: Bindable>(role: &R) -> rbac::RoleRef {
        rbac::RoleRef { api_group: Some(R::GROUP.to_owned()), kind: R::KIND.to_owned(), name: role.name().to_owned() }
    }
    of(role)
}

part! {
    /// Who has a role. A reference to a [`ServiceAccount`] with a namespace stands for it.
    ///
    /// ```
    /// use kprov::build::*;
    /// let ops = Subject::group("ops");
    /// let operator = Subject::service_account("shop", "operator");
    /// ```
    Subject(rbac::Subject)
}

/// People are known by name alone; programs by the service account of a namespace.
///
/// ```
/// # use kprov::build::*;
/// let all = [Subject::user("ada"), Subject::group("ops"), Subject::service_account("shop", "operator")];
/// assert_eq!(all.map(|one| one.build().kind), ["User", "Group", "ServiceAccount"]);
/// ```
impl Subject {
    fn person(kind: &str, name: String) -> Self {
        let api_group = Some("rbac.authorization.k8s.io".to_owned());
        Self(rbac::Subject { api_group, kind: kind.to_owned(), name, namespace: None })
    }

    /// A user by the name that authentication finds out.
    #[must_use]
    pub fn user(name: impl Into<String>) -> Self {
        Self::person("User", name.into())
    }

    /// All users of a group.
    #[must_use]
    pub fn group(name: impl Into<String>) -> Self {
        Self::person("Group", name.into())
    }

    /// The programs of a service account.
    #[must_use]
    #[track_caller]
    pub fn service_account(namespace: impl Of<DnsLabel>, name: impl Of<Name>) -> Self {
        let namespace = Some(namespace.checked().into());
        Self(rbac::Subject {
            kind: "ServiceAccount".to_owned(),
            name: name.checked().into(),
            namespace,
            api_group: None,
        })
    }
}

impl From<&ServiceAccount> for Subject {
    /// Panics when the account names no namespace: the binding has to.
    #[track_caller]
    fn from(account: &ServiceAccount) -> Self {
        let Some(namespace) = &account.meta().namespace else {
            panic!(
                "service account {0} says no namespace, and a binding must: `ServiceAccount::new({0:?}).namespace(..)`",
                account.name()
            );
        };
        let namespace: DnsLabel = namespace.parse().unwrap_or_else(|error| panic!("{error}"));
        let name: Name = account.name().parse().unwrap_or_else(|error| panic!("{error}"));
        Self::service_account(namespace, name)
    }
}

object! {
    /// Gives a role's rights in one namespace.
    ///
    /// ```
    /// use kprov::build::*;
    /// let reader = Role::new("reader", Rule::on::<Pod>(Verb::READ));
    /// let binding = RoleBinding::new("ada-reads", &reader, Subject::user("ada"));
    /// ```
    namespaced RoleBinding(rbac::RoleBinding)
}

object! {
    /// Gives a cluster role's rights in the whole cluster.
    ///
    /// ```
    /// use kprov::build::*;
    /// let reader = ClusterRole::new("reader", Rule::on::<Pod>(Verb::READ));
    /// let binding = ClusterRoleBinding::new("ops-read", &reader, Subject::group("ops"));
    /// ```
    cluster ClusterRoleBinding(rbac::ClusterRoleBinding)
}

/// Who has it.
///
/// ```
/// # use kprov::build::*;
/// let reader = Role::new("reader", Rule::on::<Pod>(Verb::READ));
/// let binding = RoleBinding::new("readers", &reader, Subject::user("ada")).subject(Subject::group("ops"));
/// ```
impl RoleBinding {
    /// Gives the role to one subject, in the role's namespace when it has one.
    #[must_use]
    #[track_caller]
    pub fn new(name: impl Of<Name>, role: &impl Bindable, subject: impl Into<Subject>) -> Self {
        let mut metadata = named(name.checked());
        metadata.namespace.clone_from(&role.meta().namespace);
        Self(rbac::RoleBinding { metadata, role_ref: role_ref(role), subjects: Some(vec![subject.into().0]) })
    }

    /// Gives it to another one too.
    #[must_use]
    #[track_caller]
    pub fn subject(mut self, subject: impl Into<Subject>) -> Self {
        self.0.subjects.get_or_insert_default().push(subject.into().0);
        self
    }
}

/// Who has it.
///
/// ```
/// # use kprov::build::*;
/// let reader = ClusterRole::new("reader", Rule::on::<Pod>(Verb::READ));
/// let operator = ServiceAccount::new("operator").namespace("shop");
/// let binding = ClusterRoleBinding::new("readers", &reader, Subject::group("ops")).subject(&operator);
/// ```
impl ClusterRoleBinding {
    /// Gives the role to one subject.
    #[must_use]
    #[track_caller]
    pub fn new(name: impl Of<Name>, role: &ClusterRole, subject: impl Into<Subject>) -> Self {
        let subjects = Some(vec![subject.into().0]);
        Self(rbac::ClusterRoleBinding { metadata: named(name.checked()), role_ref: role_ref(role), subjects })
    }

    /// Gives it to another one too.
    #[must_use]
    #[track_caller]
    pub fn subject(mut self, subject: impl Into<Subject>) -> Self {
        self.0.subjects.get_or_insert_default().push(subject.into().0);
        self
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::Deployment;
    use serde_json::json;

    use super::*;
    use crate::build::{ConfigMap, Pod};

    #[test]
    fn rules_take_groups_and_resources_from_types() {
        let rule =
            serde_json::to_value(Rule::on::<Pod>(Verb::READ).and::<Deployment>().subresource("status").0).unwrap();
        assert_eq!(
            rule,
            json!({"apiGroups": ["", "apps"], "resources": ["pods/status", "deployments/status"],
                   "verbs": ["get", "list", "watch"]})
        );
        let one = serde_json::to_value(Rule::on::<ConfigMap>([Verb::All]).only(["leader"]).0).unwrap();
        assert_eq!(one["verbs"], json!(["*"]));
    }

    #[test]
    fn bindings_name_role_and_account() {
        let role = Role::new("reader", Rule::on::<Pod>(Verb::READ)).namespace("shop");
        let account = ServiceAccount::new("op").namespace("shop");
        let binding = serde_json::to_value(RoleBinding::new("b", &role, &account)).unwrap();
        assert_eq!(binding["metadata"], json!({"name": "b", "namespace": "shop"}));
        assert_eq!(
            binding["roleRef"],
            json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"})
        );
        assert_eq!(binding["subjects"], json!([{"kind": "ServiceAccount", "name": "op", "namespace": "shop"}]));
    }

    #[test]
    #[should_panic(expected = "service account op says no namespace")]
    fn a_subject_has_a_namespace() {
        let _ = Subject::from(&ServiceAccount::new("op"));
    }
}
