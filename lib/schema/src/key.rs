//! Names of things: which kind of resource, which object of it, which moment of the log.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A served resource: group, version and plural name, such as `apps/v1 deployments`.
///
/// The core group is the empty string. Example:
/// `Resource::of::<k8s_openapi::api::core::v1::Pod>()` is `v1 pods`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource {
    /// API group, empty for the core group.
    pub group: Cow<'static, str>,
    /// Version within the group, such as `v1`.
    pub version: Cow<'static, str>,
    /// Plural, lower-case name as it stands in URLs.
    pub plural: Cow<'static, str>,
}

impl Resource {
    /// The resource that the typed struct `T` is served as.
    #[must_use]
    pub const fn of<T: k8s_openapi::Resource>() -> Self {
        Self {
            group: Cow::Borrowed(T::GROUP),
            version: Cow::Borrowed(T::VERSION),
            plural: Cow::Borrowed(T::URL_PATH_SEGMENT),
        }
    }

    /// Whether both are the same resource, in whatever version.
    #[must_use]
    pub fn is_version_of(&self, other: &Self) -> bool {
        self.group == other.group && self.plural == other.plural
    }

    /// `v1` or `apps/v1`, as in an object's `apiVersion`.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_string() } else { format!("{}/{}", self.group, self.version) }
    }
}

impl fmt::Display for Resource {
    /// `pods` or `deployments.apps`, as upstream's messages name a resource.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() { f.write_str(&self.plural) } else { write!(f, "{}.{}", self.plural, self.group) }
    }
}

/// Namespace and name of an object; the namespace is empty for cluster-scoped ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// Namespace, empty for cluster-scoped objects.
    pub namespace: String,
    /// Name within the namespace and resource.
    pub name: String,
}

impl Key {
    /// A key from its two parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

/// The identity of one life of an object: a new object of the same name has another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Uid(pub String);

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A moment of the cluster's one log: every commit has the next one. Clients see it as `resourceVersion`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
