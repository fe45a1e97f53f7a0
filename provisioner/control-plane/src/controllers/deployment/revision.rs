//! Revisions of a Deployment, kept in annotations of its ReplicaSets.

use kprov_schema::Object;
use serde_json::json;

use super::{Rollout, Set};

/// Which revision a set or a Deployment is at.
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
const HISTORY_LENGTH: usize = 2000;

/// Annotations of a Deployment that are its own and not its sets'.
const OWN: &[&str] = &[
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    super::DESIRED,
    super::MOST,
    "deprecated.deployment.rollback.to",
];

/// An object's revision; 0 when it has none.
pub(super) fn of(object: &Object) -> i64 {
    object.annotation(REVISION).and_then(|text| text.parse().ok()).unwrap_or(0)
}

impl Rollout<'_> {
    /// Brings annotations and readiness of the newest set up to date, and learns the Deployment's revision from it.
    pub(super) fn sync_revision(&mut self) {
        let Some(mut set) = self.new.take() else { return };
        self.annotate_new(&mut set);
        let seconds = self.spec.min_ready_seconds.unwrap_or(0);
        let set_seconds = set.object.at(&["spec", "minReadySeconds"]).and_then(serde_json::Value::as_i64).unwrap_or(0);
        if i64::from(seconds) != set_seconds {
            set.object.set(&["spec", "minReadySeconds"], json!(seconds));
            set.changed = true;
        }
        self.revision = set.object.annotation(REVISION).map(str::to_owned);
        self.new = Some(set);
    }

    /// Copies the Deployment's annotations, and gives the set the highest revision, keeping those it had before.
    pub(super) fn annotate_new(&self, set: &mut Set) {
        for (key, value) in self.deployment.raw.annotations().filter(|(key, _)| !OWN.contains(key)) {
            set.annotate(key, value.to_owned());
        }
        let highest = self.old.iter().map(|set| of(&set.object)).max().unwrap_or(0) + 1;
        let before = of(&set.object);
        if before >= highest {
            return;
        }
        if let Some(before) = set.object.annotation(REVISION).map(str::to_owned) {
            let history = extended(set.object.annotation(HISTORY).unwrap_or_default(), &before);
            set.annotate(HISTORY, history);
        }
        set.annotate(REVISION, highest.to_string());
    }
}

/// A history with one more revision; the oldest are dropped when it grows too long.
fn extended(history: &str, revision: &str) -> String {
    let mut revisions: Vec<&str> = history.split(',').filter(|one| !one.is_empty()).chain([revision]).collect();
    while revisions.len() > 1 && revisions.iter().map(|one| one.len() + 1).sum::<usize>() > HISTORY_LENGTH {
        revisions.remove(0);
    }
    revisions.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_grows_at_its_end_and_is_cut_at_its_start() {
        assert_eq!(extended("", "1"), "1");
        assert_eq!(extended("1,3", "5"), "1,3,5");
        let long = (1..=500).map(|one| one.to_string()).collect::<Vec<_>>().join(",");
        let cut = extended(&long, "501");
        assert!(cut.len() < HISTORY_LENGTH && cut.ends_with(",500,501"));
    }
}
