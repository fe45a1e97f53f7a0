//! The texts of violations: who does what, with names in order.

use std::collections::BTreeSet;

/// `"a", "b"`.
pub(super) fn quoted<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("\"{}\"", name.as_ref())).collect();
    names.join(", ")
}

/// One word for one, another for more.
pub(super) fn plural<'a>(one: &'a str, more: &'a str, count: usize) -> &'a str {
    if count == 1 { one } else { more }
}

/// `container "a"`, `containers "a", "b"`.
pub(super) fn containers(names: &[&str]) -> String {
    format!("{} {}", plural("container", "containers", names.len()), quoted(names))
}

/// Who sets something bad: the pod itself, containers, or both.
#[derive(Default)]
pub(super) struct Setters<'a> {
    pub(super) pod: bool,
    pub(super) containers: Vec<&'a str>,
    /// The bad values.
    pub(super) values: BTreeSet<String>,
}

impl<'a> Setters<'a> {
    /// Looks at a value of the pod, which counts when `bad` makes something of it, and at those of containers.
    pub(super) fn of(pod: Option<String>, containers: impl Iterator<Item = (&'a str, Option<String>)>) -> Self {
        let mut all = Self { pod: pod.is_some(), values: pod.into_iter().collect(), ..Self::default() };
        for (name, bad) in containers {
            if let Some(bad) = bad {
                all.containers.push(name);
                all.values.insert(bad);
            }
        }
        all
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.pod && self.containers.is_empty()
    }

    /// `pod`, `container "a"`.
    pub(super) fn names(&self) -> Vec<String> {
        let pod = self.pod.then(|| "pod".to_owned());
        pod.into_iter().chain((!self.containers.is_empty()).then(|| containers(&self.containers))).collect()
    }

    /// `pod and container "a"`.
    pub(super) fn all(&self) -> String {
        self.names().join(" and ")
    }
}
