//! A set of fields with its algebra, and its form on the wire.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::element::Element;

/// A set of fields of an object: who is a member says nothing about what stands above or below it.
///
/// Source: `fieldpath.Set` of structured-merge-diff.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set(Vec<Branch>);

/// A step with what is a member there. Sorted by step, and never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Branch {
    at: Element,
    member: bool,
    below: Set,
}

impl Branch {
    fn kept(at: &Element, member: bool, below: Set) -> Option<Self> {
        (member || !below.is_empty()).then(|| Self { at: at.clone(), member, below })
    }
}

impl Set {
    /// The set of these paths of field names, each with nothing below it.
    #[must_use]
    pub fn of_fields(paths: &[&[&str]]) -> Self {
        let mut set = Self::default();
        for path in paths {
            set.insert(&path.iter().map(|name| Element::field(name)).collect::<Vec<_>>());
        }
        set
    }

    /// Whether it has no members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn find(&self, at: &Element) -> Result<usize, usize> {
        // What is made from sorted maps comes in order.
        match self.0.last().map(|last| last.at.cmp(at)) {
            None | Some(Ordering::Less) => Err(self.0.len()),
            Some(Ordering::Equal) => Ok(self.0.len() - 1),
            Some(Ordering::Greater) => self.0.binary_search_by(|branch| branch.at.cmp(at)),
        }
    }

    /// Adds a path. The empty path, the whole object, is nobody's.
    pub fn insert(&mut self, path: &[Element]) {
        if let Some((first, rest)) = path.split_first() {
            let mut below = Self::default();
            below.insert(rest);
            self.put(first.clone(), rest.is_empty(), below);
        }
    }

    /// Adds a step, as a member or not, with what is below it.
    pub(super) fn put(&mut self, at: Element, member: bool, below: Self) {
        if !member && below.is_empty() {
            return;
        }
        match self.find(&at) {
            Ok(index) => {
                let branch = &mut self.0[index];
                branch.member |= member;
                branch.below = std::mem::take(&mut branch.below).union(&below);
            }
            Err(index) => self.0.insert(index, Branch { at, member, below }),
        }
    }

    /// Whether a path is a member.
    #[must_use]
    pub fn has(&self, path: &[Element]) -> bool {
        match path {
            [] => false,
            [last] => self.holds(last),
            [first, rest @ ..] => self.below(first).is_some_and(|below| below.has(rest)),
        }
    }

    /// Whether a single step is a member.
    pub(super) fn holds(&self, at: &Element) -> bool {
        self.find(at).is_ok_and(|index| self.0[index].member)
    }

    /// What is below a step, when something is.
    pub(super) fn below(&self, at: &Element) -> Option<&Self> {
        self.find(at).ok().map(|index| &self.0[index].below).filter(|below| !below.is_empty())
    }

    /// Its steps: each with whether it is a member, and what is below.
    pub(super) fn steps(&self) -> impl Iterator<Item = (&Element, bool, &Self)> {
        self.0.iter().map(|branch| (&branch.at, branch.member, &branch.below))
    }

    /// Every member, what is above before what is below it; of equal depth those of one parent together.
    #[must_use]
    pub fn paths(&self) -> Vec<Vec<Element>> {
        let mut paths = Vec::new();
        self.collect(&mut Vec::new(), &mut paths);
        paths
    }

    fn collect(&self, above: &mut Vec<Element>, paths: &mut Vec<Vec<Element>>) {
        let members = self.0.iter().filter(|branch| branch.member);
        paths.extend(members.map(|branch| above.iter().chain([&branch.at]).cloned().collect::<Vec<_>>()));
        for branch in &self.0 {
            above.push(branch.at.clone());
            branch.below.collect(above, paths);
            above.pop();
        }
    }

    /// Walks two sets side by side.
    fn join(&self, other: &Self, pick: impl Fn(Option<&Branch>, Option<&Branch>) -> Option<Branch>) -> Self {
        let (mut a, mut b) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut joined = Vec::with_capacity(self.0.len());
        loop {
            let (left, right) = match (a.peek(), b.peek()) {
                (None, None) => return Self(joined),
                (Some(_), None) => (a.next(), None),
                (None, Some(_)) => (None, b.next()),
                (Some(x), Some(y)) => match x.at.cmp(&y.at) {
                    Ordering::Less => (a.next(), None),
                    Ordering::Greater => (None, b.next()),
                    Ordering::Equal => (a.next(), b.next()),
                },
            };
            joined.extend(pick(left, right));
        }
    }

    /// Members of either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.join(other, |a, b| match (a, b) {
            (Some(a), Some(b)) => Branch::kept(&a.at, a.member || b.member, a.below.union(&b.below)),
            (one, other) => one.or(other).cloned(),
        })
    }

    /// Members of both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.join(other, |a, b| {
            let (a, b) = (a?, b?);
            Branch::kept(&a.at, a.member && b.member, a.below.intersection(&b.below))
        })
    }

    /// Members of this one that are not members of the other.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.join(other, |a, b| {
            let a = a?;
            match b {
                None => Some(a.clone()),
                Some(b) => Branch::kept(&a.at, a.member && !b.member, a.below.difference(&b.below)),
            }
        })
    }

    /// The same, where a member of the other takes what is below it, too.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        self.join(other, |a, b| {
            let a = a?;
            match b {
                None => Some(a.clone()),
                Some(b) if b.member => None,
                Some(b) => Branch::kept(&a.at, a.member, a.below.without(&b.below)),
            }
        })
    }

    /// Members on the way along one of these patterns, and below its end. `*` stands for any step.
    #[must_use]
    pub fn along(&self, patterns: &[&[&str]]) -> Self {
        let is = |at: &Element, step: &str| step == "*" || matches!(at, Element::Field(name) if name == step);
        let mut kept = Self::default();
        for (at, member, below) in self.steps() {
            let rests: Vec<&[&str]> = patterns
                .iter()
                .filter_map(|pattern| pattern.split_first())
                .filter(|(step, _)| is(at, step))
                .map(|(_, rest)| rest)
                .collect();
            if rests.is_empty() {
                continue;
            }
            let below = if rests.iter().any(|rest| rest.is_empty()) { below.clone() } else { below.along(&rests) };
            kept.put(at.clone(), member, below);
        }
        kept
    }

    /// Reads `fieldsV1`.
    ///
    /// Errors say what is malformed. Example: `{"f:data": {".": {}, "f:a": {}}}` has the members `data` and `data.a`.
    pub fn read(fields: &Value) -> Result<Self, String> {
        Self::read_below(fields).map(|(set, _)| set)
    }

    /// The members below, and whether the step itself is a member.
    fn read_below(fields: &Value) -> Result<(Self, bool), String> {
        let Value::Object(map) = fields else { return Ok((Self::default(), true)) };
        let mut set = Self::default();
        let mut member = false;
        for (key, inner) in map {
            if key == "." {
                member = true;
            } else if let Some(at) = Element::read(key)? {
                let (below, is_member) = Self::read_below(inner)?;
                set.put(at, is_member, below);
            }
        }
        let member = member || set.is_empty();
        Ok((set, member))
    }

    /// Writes `fieldsV1`.
    #[must_use]
    pub fn written(&self) -> Value {
        Value::Object(self.map(false))
    }

    fn map(&self, member: bool) -> Map<String, Value> {
        let empty = || Value::Object(Map::new());
        let own = (member && !self.is_empty()).then(|| (".".to_owned(), empty()));
        own.into_iter()
            .chain(self.steps().map(|(at, member, below)| (at.written(), Value::Object(below.map(member)))))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(fields: Value) -> Set {
        Set::read(&fields).unwrap()
    }

    #[test]
    fn reads_what_it_writes() {
        for fields in [
            json!({}),
            json!({"f:data": {".": {}, "f:a": {}}}),
            json!({"f:spec": {"f:ports": {"k:{\"port\":80}": {".": {}, "f:port": {}}}}}),
            json!({"f:metadata": {"f:finalizers": {"v:\"a/b\"": {}}}}),
        ] {
            assert_eq!(set(fields.clone()).written(), fields);
        }
        assert!(Set::read(&json!({"data": {}})).is_err());
    }

    #[test]
    fn a_member_says_nothing_about_what_is_below_it() {
        let parent = set(json!({"f:a": {}}));
        let child = set(json!({"f:a": {"f:b": {}}}));
        assert_eq!(child.difference(&parent), child);
        assert_eq!(parent.difference(&child), parent);
        assert_eq!(child.without(&parent), Set::default());
        assert_eq!(parent.union(&child).written(), json!({"f:a": {".": {}, "f:b": {}}}));
        assert!(parent.intersection(&child).is_empty());
    }

    #[test]
    fn keeps_what_patterns_lead_to() {
        let all = set(
            json!({"f:spec": {"f:c": {"k:{\"name\":\"a\"}": {".": {}, "f:image": {}, "f:resources": {"f:limits": {}}}}, "f:x": {}}}),
        );
        let kept = json!({"f:spec": {"f:c": {"k:{\"name\":\"a\"}": {".": {}, "f:resources": {"f:limits": {}}}}}});
        assert_eq!(all.along(&[&["spec", "c", "*", "resources"]]).written(), kept);
    }
}
