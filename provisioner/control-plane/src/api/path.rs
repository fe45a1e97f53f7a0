//! The grammar of request paths: which resource, object or document a path names.

use std::borrow::Cow;

use kprov_schema::Subresource;

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    /// A resource, one of its objects, or a part of one.
    Resource(Place),
    /// `/api`, or `/apis` when `groups`.
    Roots {
        /// Whether it is `/apis`.
        groups: bool,
    },
    /// `/apis/<group>`.
    Group(String),
    /// `/api/<version>` or `/apis/<group>/<version>`.
    GroupVersion(String, String),
    /// Everything else; the text is the path.
    Other(String),
}

/// A resource path in its parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// API group, empty for the core group.
    pub(crate) group: String,
    /// Version.
    pub(crate) version: String,
    /// Namespace, empty when none is named.
    pub(crate) namespace: String,
    /// Plural name.
    pub(crate) plural: String,
    /// Object's name, empty for the whole collection.
    pub(crate) name: String,
    /// Subresource, empty for the object itself.
    pub(crate) subresource: String,
    /// What stands behind the subresource.
    pub(crate) rest: String,
    /// Whether it is of the old `/watch/` form.
    pub(crate) watch: bool,
}

/// Parts of a namespace object; any other segment in their place is a resource within the namespace.
const NAMESPACE_PARTS: &[&str] = &[Subresource::Status.name(), Subresource::Finalize.name()];

/// Reads a path.
pub(crate) fn parse(path: &str) -> Path {
    let segments: Vec<Cow<'_, str>> = path.split('/').filter(|segment| !segment.is_empty()).map(decode).collect();
    let texts: Vec<&str> = segments.iter().map(|segment| &**segment).collect();
    let owned = |text: &str| text.to_owned();
    match texts.as_slice() {
        ["api"] => Path::Roots { groups: false },
        ["apis"] => Path::Roots { groups: true },
        ["api", version] => Path::GroupVersion(String::new(), owned(version)),
        ["apis", group] => Path::Group(owned(group)),
        ["apis", group, version] => Path::GroupVersion(owned(group), owned(version)),
        ["api", version, rest @ ..] => Path::Resource(place("", version, rest)),
        ["apis", group, version, rest @ ..] => Path::Resource(place(group, version, rest)),
        _ => Path::Other(path.to_owned()),
    }
}

fn place(group: &str, version: &str, rest: &[&str]) -> Place {
    let (watch, rest) = match rest {
        ["watch", rest @ ..] if !rest.is_empty() => (true, rest),
        rest => (false, rest),
    };
    let (namespace, rest) = match rest {
        ["namespaces", namespace, rest @ ..] if rest.first().is_some_and(|next| !NAMESPACE_PARTS.contains(next)) => {
            (*namespace, rest)
        }
        rest => ("", rest),
    };
    let part = |index: usize| rest.get(index).copied().unwrap_or_default().to_owned();
    Place {
        group: group.to_owned(),
        version: version.to_owned(),
        namespace: namespace.to_owned(),
        plural: part(0),
        name: part(1),
        subresource: part(2),
        rest: rest.get(3..).unwrap_or_default().join("/"),
        watch,
    }
}

/// Undoes percent encoding; what is no code stays as it is.
pub(crate) fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let coded =
            (bytes[at] == b'%').then(|| Some((digit(*bytes.get(at + 1)?)?, digit(*bytes.get(at + 2)?)?))).flatten();
        match coded {
            Some((high, low)) => {
                out.push(high * 16 + low);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, parts: [&str; 7]) {
        let Path::Resource(place) = parse(path) else { panic!("{path} is a resource") };
        let got = [
            &place.group,
            &place.version,
            &place.namespace,
            &place.plural,
            &place.name,
            &place.subresource,
            &place.rest,
        ]
        .map(String::as_str);
        assert_eq!(got, parts, "{path}");
    }

    #[test]
    fn reads_resources() {
        check("/api/v1/pods", ["", "v1", "", "pods", "", "", ""]);
        check("/api/v1/namespaces", ["", "v1", "", "namespaces", "", "", ""]);
        check("/api/v1/namespaces/a", ["", "v1", "", "namespaces", "a", "", ""]);
        check("/api/v1/namespaces/a/finalize", ["", "v1", "", "namespaces", "a", "finalize", ""]);
        check("/api/v1/namespaces/a/pods/b/log", ["", "v1", "a", "pods", "b", "log", ""]);
        check("/apis/apps/v1/namespaces/a/deployments/b", ["apps", "v1", "a", "deployments", "b", "", ""]);
        check("/api/v1/nodes/n/proxy/healthz/x", ["", "v1", "", "nodes", "n", "proxy", "healthz/x"]);
        check("/api/v1/namespaces/a/services/b%3Ac", ["", "v1", "a", "services", "b:c", "", ""]);
        assert!(matches!(parse("/api/v1/watch/namespaces/a/pods"), Path::Resource(Place { watch: true, .. })));
        assert!(matches!(parse("/api/v1/watch/pods/x"), Path::Resource(Place { watch: true, .. })));
    }

    #[test]
    fn reads_documents() {
        assert_eq!(parse("/api"), Path::Roots { groups: false });
        assert_eq!(parse("/apis/"), Path::Roots { groups: true });
        assert_eq!(parse("/apis/apps"), Path::Group("apps".into()));
        assert_eq!(parse("/apis/apps/v1"), Path::GroupVersion("apps".into(), "v1".into()));
        assert_eq!(parse("/api/v1/"), Path::GroupVersion(String::new(), "v1".into()));
        assert_eq!(parse("/version"), Path::Other("/version".into()));
    }
}
