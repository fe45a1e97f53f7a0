//! The name that was probably meant.

/// The candidate nearest to a word, if one is near enough to be a slip of the hand.
///
/// Equal but for case, blanks and `-`/`_` is always near. Of equally near ones the first counts.
///
/// ```
/// assert_eq!(kprov::nearest("deploymant", ["service", "deployment"]), Some("deployment"));
/// assert_eq!(kprov::nearest("cron", ["service", "deployment"]), None);
/// ```
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = fold(word);
    let within = (word.chars().count() / 3).clamp(1, 4);
    let scored = candidates.into_iter().filter(|candidate| *candidate != word).filter_map(|candidate| {
        let distance = if fold(candidate) == folded { 0 } else { distance(word, candidate) };
        (distance <= within).then_some((distance, candidate))
    });
    scored.min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}

fn fold(word: &str) -> String {
    word.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Letters to put in, take out, change or swap with their neighbour.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=other.len()).collect()];
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let changed = rows[i][j] + usize::from(a != b);
            let mut best = changed.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == other[j - 1] && one[i - 1] == *b {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[one.len()][other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_slips_and_nothing_else() {
        let fields = ["replicas", "selector", "template", "protocol", "nodePort", "persistentVolumeClaim", "host"];
        for (word, want) in [
            ("replicase", Some("replicas")),
            ("portocol", Some("protocol")),
            ("nodeProt", Some("nodePort")),
            ("node-port", Some("nodePort")),
            ("Selector", Some("selector")),
            ("persistentVoumeClaim", Some("persistentVolumeClaim")),
            ("volumes", None),
            ("spec", None),
            ("replicas", None),
        ] {
            assert_eq!(nearest(word, fields), want, "{word}");
        }
    }
}
