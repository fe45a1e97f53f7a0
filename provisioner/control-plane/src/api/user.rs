//! Who is asking.

/// A user as authentication found it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// Name, such as `kubernetes-admin` or `system:serviceaccount:default:default`.
    pub name: String,
    /// Identity of one life of the user; empty unless it is a service account.
    pub uid: String,
    /// Groups.
    pub groups: Vec<String>,
    /// More about how it was recognized.
    pub extra: Vec<(String, String)>,
}

/// Group of everyone who was recognized.
pub(crate) const AUTHENTICATED: &str = "system:authenticated";

impl User {
    /// A user of the groups given, and of `system:authenticated`.
    #[must_use]
    pub fn new(name: &str, groups: &[&str]) -> Self {
        let groups = groups.iter().copied().chain([AUTHENTICATED]).map(str::to_owned).collect();
        Self { name: name.to_owned(), groups, ..Self::default() }
    }

    /// The administrator of the cluster: `kubernetes-admin` of `system:masters`.
    #[must_use]
    pub fn admin() -> Self {
        Self::new("kubernetes-admin", &["system:masters"])
    }

    /// A component of the control plane, such as `system:kube-scheduler`.
    #[must_use]
    pub fn component(name: &str) -> Self {
        Self::new(name, &[])
    }

    /// The agent of a node.
    #[must_use]
    pub fn node(name: &str) -> Self {
        Self::new(&format!("system:node:{name}"), &["system:nodes"])
    }

    /// A service account, of which nothing more is known than its name.
    #[must_use]
    pub fn service_account(namespace: &str, name: &str) -> Self {
        let own = format!("system:serviceaccounts:{namespace}");
        Self::new(&format!("system:serviceaccount:{namespace}:{name}"), &["system:serviceaccounts", &own])
    }

    /// Somebody who said nothing about who they are.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            name: "system:anonymous".to_owned(),
            groups: vec!["system:unauthenticated".to_owned()],
            ..Self::default()
        }
    }

    /// The name that it owns fields by when it writes in process: that of upstream's program of the same task.
    #[must_use]
    pub fn manager(&self) -> &str {
        match self.name.strip_prefix("system:") {
            Some("apiserver") => "kube-apiserver",
            _ if self.node_name().is_some() => "kubelet",
            Some(component) if component.starts_with("kube-") => component,
            _ => "kprov",
        }
    }

    /// Whether the user is of a group.
    #[must_use]
    pub fn is_of(&self, group: &str) -> bool {
        self.groups.iter().any(|one| one == group)
    }

    /// The node whose agent this is.
    #[must_use]
    pub fn node_name(&self) -> Option<&str> {
        self.is_of("system:nodes").then(|| self.name.strip_prefix("system:node:")).flatten()
    }
}
