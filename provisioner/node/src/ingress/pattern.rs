//! Paths of rules: which requests they match, and which of two goes first.

use std::cmp::Reverse;

use regex::{Captures, Regex, RegexBuilder};

/// Bytes that a compiled regular expression may take: whoever may write an ingress writes it.
const REGEX_BYTES: usize = 256 << 10;

/// A rule's path.
///
/// Source: <https://kubernetes.io/docs/concepts/services-networking/ingress/#path-types>
#[derive(Clone, Debug)]
pub enum Pattern {
    /// This path alone.
    Exact(String),
    /// This path and what is below it, element by element; without a slash at its end.
    Prefix(String),
    /// What begins as the expression says, whatever the case, as ingress-nginx reads it.
    Regex {
        /// The path of the rule.
        text: String,
        /// Anchored at the beginning.
        compiled: Regex,
    },
}

impl Pattern {
    /// The pattern of a path and its type. `ImplementationSpecific` is read as `Prefix`, an empty path is the root.
    ///
    /// Errors: what is wrong with a regular expression.
    pub fn new(path: &str, path_type: &str, regex: bool) -> Result<Self, regex::Error> {
        if path_type == "Exact" {
            return Ok(Self::Exact(path.to_owned()));
        }
        if !regex {
            return Ok(Self::Prefix(path.trim_end_matches('/').to_owned()));
        }
        let mut builder = RegexBuilder::new(&format!("^(?:{path})"));
        let compiled = builder.case_insensitive(true).size_limit(REGEX_BYTES).build()?;
        Ok(Self::Regex { text: path.to_owned(), compiled })
    }

    /// Whether a request for the path is meant.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => path == exact,
            Self::Prefix(prefix) => {
                path.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            Self::Regex { compiled, .. } => compiled.is_match(path),
        }
    }

    /// Of two that match, the one with the lower rank counts: the longer path, and of equally long ones the exact one.
    #[must_use]
    pub fn rank(&self) -> (Reverse<usize>, u8) {
        match self {
            Self::Exact(path) => (Reverse(path.len()), 0),
            Self::Prefix(path) => (Reverse(path.len()), 1),
            Self::Regex { text, .. } => (Reverse(text.len()), 2),
        }
    }

    /// The path that the backend is asked for instead: `target`, with `$1` and the like from what the expression found.
    #[must_use]
    pub fn rewrite(&self, path: &str, target: &str) -> String {
        let Self::Regex { compiled, .. } = self else { return target.to_owned() };
        compiled.captures(path).map_or_else(|| target.to_owned(), |found| fill(target, &found))
    }
}

/// Groups have one digit, as in nginx: `$10` is the first group and a zero.
fn fill(target: &str, found: &Captures<'_>) -> String {
    let mut filled = String::new();
    let mut rest = target;
    while let Some((before, after)) = rest.split_once('$') {
        filled.push_str(before);
        let digit = after.chars().next().and_then(|c| c.to_digit(10));
        match digit {
            Some(group) => filled.push_str(found.get(group as usize).map_or("", |group| group.as_str())),
            None => filled.push('$'),
        }
        rest = if digit.is_some() { &after[1..] } else { after };
    }
    filled + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_match_by_their_type() {
        // The table of the documentation, and what is not in it.
        for (path_type, path, request, matches) in [
            ("Prefix", "/", "/any/path", true),
            ("Exact", "/foo", "/foo", true),
            ("Exact", "/foo", "/bar", false),
            ("Exact", "/foo", "/foo/", false),
            ("Exact", "/foo/", "/foo", false),
            ("Prefix", "/foo", "/foo", true),
            ("Prefix", "/foo", "/foo/", true),
            ("Prefix", "/foo/", "/foo", true),
            ("Prefix", "/foo/", "/foo/", true),
            ("Prefix", "/aaa/bb", "/aaa/bbb", false),
            ("Prefix", "/aaa/bbb", "/aaa/bbb", true),
            ("Prefix", "/aaa/bbb/", "/aaa/bbb", true),
            ("Prefix", "/aaa/bbb", "/aaa/bbb/ccc", true),
            ("Prefix", "/aaa/bbb", "/aaa/bbbxyz", false),
            ("Prefix", "/foo", "/Foo", false),
            ("ImplementationSpecific", "", "/", true),
            ("ImplementationSpecific", "/foo", "/foo/x", true),
        ] {
            let pattern = Pattern::new(path, path_type, false).unwrap();
            assert_eq!(pattern.matches(request), matches, "{path_type} {path} {request}");
        }
    }

    #[test]
    fn expressions_take_groups_into_what_they_rewrite_to() {
        for (path, target, request, expected) in [
            ("/something(/|$)(.*)", "/$2", "/something", Some("/")),
            ("/something(/|$)(.*)", "/$2", "/something/", Some("/")),
            ("/something(/|$)(.*)", "/$2", "/something/new", Some("/new")),
            ("/something(/|$)(.*)", "/$2", "/Something/new", Some("/new")),
            ("/something(/|$)(.*)", "/$2", "/somethingelse", None),
            ("/something(/|$)(.*)", "/$2", "/x/something/new", None),
            ("/", "/$1", "/any", Some("/")),
            ("/(v1|v2)", "/$10/$", "/v2", Some("/v20/$")),
        ] {
            let pattern = Pattern::new(path, "ImplementationSpecific", true).unwrap();
            let got = pattern.matches(request).then(|| pattern.rewrite(request, target));
            assert_eq!(got.as_deref(), expected, "{path} {request}");
        }
        assert!(Pattern::new("/(", "Prefix", true).is_err());
        assert!(Pattern::new("/(a{1000}){1000}", "Prefix", true).is_err());
    }
}
