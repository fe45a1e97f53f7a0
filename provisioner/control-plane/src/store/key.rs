//! Where an object is kept, as one text that sorts by resource, namespace, name.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use kprov_schema::{Key, Resource};

/// The place of an object: `/<group>/<plural>/<namespace>/<name>`.
///
/// The core group is written `core`; cluster-scoped objects have no namespace segment. The version is left out, so
/// that one object served in several versions is stored once. Keys order by their bytes, as pages of a list do.
/// Example: `/core/pods/default/web`, `/core/nodes/one`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoreKey(Arc<str>);

impl StoreKey {
    /// The place of the object `key` of a resource.
    #[must_use]
    pub fn new(resource: &Resource, key: &Key) -> Self {
        let mut text = shelf_text(resource);
        if !key.namespace.is_empty() {
            text.push_str(&key.namespace);
            text.push('/');
        }
        text.push_str(&key.name);
        Self(text.into())
    }

    /// Reads the text form; `None` when it is not of that form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut segments = text.split('/');
        let rooted = segments.next() == Some("");
        let (mut count, mut named) = (0, true);
        for segment in segments {
            count += 1;
            named &= !segment.is_empty();
        }
        (rooted && named && (count == 3 || count == 4)).then(|| Self(text.into()))
    }

    /// The text form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Namespace and name.
    #[must_use]
    pub fn key(&self) -> Key {
        let rest = &self.0[shelf_of(&self.0).len()..];
        match rest.split_once('/') {
            Some((namespace, name)) => Key::new(namespace, name),
            None => Key::new("", rest),
        }
    }

    /// All objects of the same resource.
    #[must_use]
    pub fn resource(&self) -> Prefix {
        Prefix::Resource(shelf_of(&self.0).into())
    }

    pub(super) fn shelf(&self) -> &str {
        shelf_of(&self.0)
    }
}

impl Borrow<str> for StoreKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which keys to read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Prefix {
    /// All of them.
    Everything,
    /// Those of one resource: `/core/pods/`.
    Resource(Arc<str>),
    /// Those of one namespace of a resource: `/core/pods/default/`.
    Namespace(Arc<str>),
    /// One key alone.
    Object(StoreKey),
}

impl Prefix {
    /// All objects of a resource.
    #[must_use]
    pub fn resource(resource: &Resource) -> Self {
        Self::Resource(shelf_text(resource).into())
    }

    /// The objects of a resource in one namespace.
    #[must_use]
    pub fn namespace(resource: &Resource, namespace: &str) -> Self {
        Self::Namespace(format!("{}{namespace}/", shelf_text(resource)).into())
    }

    /// Whether it covers a key.
    #[must_use]
    pub fn covers(&self, key: &StoreKey) -> bool {
        match self {
            Self::Everything => true,
            Self::Resource(text) | Self::Namespace(text) => key.0.starts_with(&**text),
            Self::Object(one) => one == key,
        }
    }

    /// No key that it covers sorts before this.
    pub(super) fn start(&self) -> &str {
        match self {
            Self::Everything => "",
            Self::Resource(text) | Self::Namespace(text) => text,
            Self::Object(key) => &key.0,
        }
    }

    /// The one resource that it is within; `None` when it is not within one.
    pub(super) fn shelf(&self) -> Option<&str> {
        match self {
            Self::Everything => None,
            other => Some(shelf_of(other.start())),
        }
    }
}

fn shelf_text(resource: &Resource) -> String {
    let group = if resource.group.is_empty() { "core" } else { &resource.group };
    format!("/{group}/{}/", resource.plural)
}

/// `/<group>/<plural>/` of a key or a prefix.
fn shelf_of(text: &str) -> &str {
    let end = text.match_indices('/').nth(2).map_or(text.len(), |(at, _)| at + 1);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(group: &'static str, plural: &'static str) -> Resource {
        Resource { group: group.into(), version: "v1".into(), plural: plural.into() }
    }

    #[test]
    fn writes_and_reads_keys() {
        for (resource, key, text) in [
            (resource("", "pods"), Key::new("default", "web"), "/core/pods/default/web"),
            (resource("", "nodes"), Key::new("", "one"), "/core/nodes/one"),
            (resource("apps", "deployments"), Key::new("a", "b"), "/apps/deployments/a/b"),
        ] {
            let made = StoreKey::new(&resource, &key);
            assert_eq!(made.as_str(), text);
            assert_eq!(StoreKey::parse(text), Some(made.clone()));
            assert_eq!(made.key(), key);
            assert_eq!(made.resource(), Prefix::resource(&resource));
        }
        for text in ["", "/", "core/pods/a/b", "/core/pods", "/core/pods/", "/core//a", "/a/b/c/d/e"] {
            assert_eq!(StoreKey::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_prefix_ends_at_a_segment() {
        let pods = resource("", "pods");
        let key = StoreKey::new(&pods, &Key::new("ns-a", "web"));
        for (prefix, covers) in [
            (Prefix::Everything, true),
            (Prefix::resource(&pods), true),
            (Prefix::resource(&resource("", "pod")), false),
            (Prefix::namespace(&pods, "ns-a"), true),
            (Prefix::namespace(&pods, "ns"), false),
            (Prefix::Object(key.clone()), true),
            (Prefix::Object(StoreKey::new(&pods, &Key::new("ns-a", "we"))), false),
        ] {
            assert_eq!(prefix.covers(&key), covers, "{prefix:?}");
        }
    }
}
