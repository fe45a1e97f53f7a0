//! Numbers of pods of an indexed Job: `0,2-5`.

use std::collections::BTreeSet;
use std::fmt;

use kprov_schema::Object;

/// The annotation and label that carry a pod's index.
pub(super) const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// The index of a pod.
pub(super) fn of(pod: &Object) -> Option<i32> {
    pod.annotation(INDEX)?.parse().ok().filter(|index| *index >= 0)
}

/// A set of indexes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Indexes(Vec<(i32, i32)>);

impl Indexes {
    /// Reads a list; what is not below `completions` or malformed is left out.
    pub(super) fn parse(text: &str, completions: i32) -> Self {
        let mut indexes = Self::default();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            if let (Ok(first), Ok(last)) = (first.parse(), last.parse::<i32>())
                && first < completions
            {
                indexes.add(first, last.min(completions - 1));
            }
        }
        indexes
    }

    pub(super) fn insert(&mut self, index: i32) {
        self.add(index, index);
    }

    fn add(&mut self, first: i32, last: i32) {
        // Those that it touches become one with it.
        let from = self.0.partition_point(|(_, end)| end.saturating_add(1) < first);
        let to = self.0.partition_point(|(start, _)| *start <= last.saturating_add(1));
        let touched = self.0[from..to].iter();
        let merged = touched.fold((first, last), |(first, last), (start, end)| (first.min(*start), last.max(*end)));
        self.0.splice(from..to, [merged]);
    }

    pub(super) fn contains(&self, index: i32) -> bool {
        let at = self.0.partition_point(|(_, end)| *end < index);
        self.0.get(at).is_some_and(|(start, _)| *start <= index)
    }

    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|(start, end)| usize::try_from(end - start + 1).unwrap_or(0)).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many are in both.
    pub(super) fn in_common(&self, other: &Self) -> usize {
        let both = |(start, end): &(i32, i32)| {
            let overlap =
                |(first, last): &(i32, i32)| usize::try_from(last.min(end) - first.max(start) + 1).unwrap_or(0);
            other.0.iter().map(overlap).sum::<usize>()
        };
        self.0.iter().map(both).sum()
    }

    /// The first `count` below `completions` that are in none of some sets.
    pub(super) fn first_outside(sets: &[&Self], taken: &BTreeSet<i32>, count: usize, completions: i32) -> Vec<i32> {
        let free = |index: &i32| !taken.contains(index) && !sets.iter().any(|set| set.contains(*index));
        (0..completions).filter(free).take(count).collect()
    }
}

impl fmt::Display for Indexes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (start, end)) in self.0.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            match end - start {
                0 => write!(out, "{comma}{start}")?,
                1 => write!(out, "{comma}{start},{end}")?,
                _ => write!(out, "{comma}{start}-{end}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_become_one() {
        for (text, add, wanted) in [
            ("", 3, "3"),
            ("0,2", 1, "0-2"),
            ("0-2,5", 4, "0-2,4,5"),
            ("1-3", 2, "1-3"),
            ("5", 1, "1,5"),
            ("0,1,8-20", 3, "0,1,3,8,9"),
        ] {
            let mut indexes = Indexes::parse(text, 10);
            indexes.insert(add);
            assert_eq!(indexes.to_string(), wanted, "{text}");
            assert!(indexes.contains(add) && !indexes.contains(7));
        }
        let indexes = Indexes::parse("0-3,8", 10);
        assert_eq!((indexes.len(), indexes.in_common(&Indexes::parse("2-9", 10))), (5, 3));
        assert_eq!(Indexes::first_outside(&[&indexes], &BTreeSet::from([5]), 3, 10), [4, 6, 7]);
    }
}
