//! Hosts of rules and certificates, and what stands for one of them.

use std::collections::BTreeMap;

/// A host as an ingress names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// This one, in lower case.
    Named(String),
    /// Every one with just one label before this domain: `*.example.com`.
    Below(String),
    /// Every one.
    Any,
}

impl Host {
    /// The host that a text means; an empty one is every host.
    #[must_use]
    pub fn of(text: &str) -> Self {
        match text.strip_prefix("*.") {
            Some(domain) => Self::Below(domain.to_ascii_lowercase()),
            None if text.is_empty() => Self::Any,
            None => Self::Named(text.to_ascii_lowercase()),
        }
    }

    /// Whether a host is meant.
    #[must_use]
    pub fn covers(&self, host: &str) -> bool {
        candidates(host).contains(self)
    }
}

/// What a host may be named by, the most exact first.
fn candidates(host: &str) -> Vec<Host> {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let below = host.split_once('.').filter(|(label, _)| !label.is_empty());
    let below = below.map(|(_, domain)| Host::Below(domain.to_owned()));
    [Host::Named(host)].into_iter().chain(below).chain([Host::Any]).collect()
}

/// A `Host` header without its port. Addresses of IPv6 keep their brackets.
#[must_use]
pub fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Something for each host.
#[derive(Clone, Debug)]
pub struct ByHost<T>(BTreeMap<Host, T>);

impl<T> Default for ByHost<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> ByHost<T> {
    /// What there is for a host, the most exact first.
    #[must_use]
    pub fn of(&self, host: &str) -> Vec<&T> {
        candidates(host).iter().filter_map(|host| self.0.get(host)).collect()
    }

    /// Everything.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.0.values()
    }

    /// Everything, to be changed.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.values_mut()
    }

    /// Puts something there, unless there is something already.
    pub fn put(&mut self, host: Host, value: T) {
        self.0.entry(host).or_insert(value);
    }
}

impl<T: Default> ByHost<T> {
    /// What there is for just this host, made if need be.
    pub fn entry(&mut self, host: Host) -> &mut T {
        self.0.entry(host).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_one_label() {
        for (host, asked, covers) in [
            ("a.b", "a.b", true),
            ("a.b", "A.B", true),
            ("a.b", "a.b.", true),
            ("a.b", "x.a.b", false),
            ("*.a.b", "x.a.b", true),
            ("*.a.b", "a.b", false),
            ("*.a.b", "y.x.a.b", false),
            ("*.a.b", ".a.b", false),
            ("", "x", true),
        ] {
            assert_eq!(Host::of(host).covers(asked), covers, "{host} {asked}");
        }
        let shown = ["a.b:80", "a.b", "[::1]:80", "[::1]", "1.2.3.4:8080", ""].map(without_port);
        assert_eq!(shown, ["a.b", "a.b", "[::1]", "[::1]", "1.2.3.4", ""]);
    }
}
