//! Figures of repeated runs.

use std::fmt;

/// The head of the table.
pub(super) const HEADING: &str =
    "what                                                          median        min..max  unit";

/// One row: what was measured, how often, with which results.
#[derive(Clone, Debug)]
pub(super) struct Line {
    name: String,
    samples: Vec<f64>,
    unit: &'static str,
    /// Why there are no samples.
    skipped: Option<String>,
}

impl Line {
    pub(super) fn new(name: impl Into<String>, unit: &'static str, samples: impl IntoIterator<Item = f64>) -> Self {
        let mut samples: Vec<f64> = samples.into_iter().collect();
        samples.sort_by(f64::total_cmp);
        Self { name: name.into(), samples, unit, skipped: None }
    }

    pub(super) fn skipped(name: impl Into<String>, why: impl Into<String>) -> Self {
        Self { name: name.into(), samples: Vec::new(), unit: "", skipped: Some(why.into()) }
    }

    fn median(&self) -> f64 {
        let middle = self.samples.len() / 2;
        match self.samples.len() {
            0 => f64::NAN,
            even if even % 2 == 0 => f64::midpoint(self.samples[middle - 1], self.samples[middle]),
            _ => self.samples[middle],
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(why) = &self.skipped {
            return write!(f, "{:<58} skipped: {why}", self.name);
        }
        let (Some(least), Some(most)) = (self.samples.first(), self.samples.last()) else {
            return write!(f, "{:<58} no samples", self.name);
        };
        let range = format!("{}..{}", short(*least), short(*most));
        write!(f, "{:<58} {:>9} {range:>17}  {}", self.name, short(self.median()), self.unit)
    }
}

/// Three digits say what such a run can tell.
fn short(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        for (samples, median) in [(vec![3.0], 3.0), (vec![2.0, 1.0], 1.5), (vec![9.0, 1.0, 2.0], 2.0)] {
            assert_eq!(Line::new("a", "ms", samples).median(), median);
        }
    }

    #[test]
    fn rows() {
        let row = Line::new("pod", "ms", [12.34, 1200.0, 0.5]).to_string();
        assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["pod", "12.3", "0.50..1200", "ms"]);
        assert!(Line::skipped("crun", "it is not installed").to_string().ends_with("skipped: it is not installed"));
    }
}
