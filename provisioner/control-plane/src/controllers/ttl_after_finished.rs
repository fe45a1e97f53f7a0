//! Jobs go away by themselves some time after they have finished, when their spec says so.
//!
//! Source: upstream `pkg/controller/ttlafterfinished`.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use kprov_schema::{Key, Resource};

use super::machinery::action::{Action, Outcome};
use super::machinery::snapshot::Snapshot;
use super::machinery::{Config, Controller, Watch};
use crate::client::Propagation;
use crate::informer::Unreadable;

/// Deletes Jobs whose time after the end is over.
pub struct TtlAfterFinished;

impl Controller for TtlAfterFinished {
    const NAME: &'static str = "ttl-after-finished-controller";

    fn new(_: &Config, _: Timestamp) -> Self {
        Self
    }

    fn watches() -> Vec<Watch> {
        vec![Watch::own::<Job>()]
    }

    fn reconcile(&self, key: &Key, world: &Snapshot, now: Timestamp) -> Result<Outcome, Unreadable> {
        let mut outcome = Outcome::nothing();
        let Some(job) = world.get::<Job>(key)?.filter(|job| !job.raw.is_deleting()) else { return Ok(outcome) };
        match expiry(&job) {
            Some(at) if at <= now => {
                let mut action = Action::delete(Resource::of::<Job>(), job.raw.key(), &job.raw.uid());
                if let Action::Delete { options, .. } = &mut action {
                    options.propagation = Some(Propagation::Foreground);
                }
                outcome.actions.push(action);
            }
            Some(at) => outcome.recheck(at),
            None => {}
        }
        Ok(outcome)
    }
}

/// When a finished Job's time is over.
fn expiry(job: &Job) -> Option<Timestamp> {
    let seconds = job.spec.as_ref()?.ttl_seconds_after_finished?;
    let mut conditions = job.status.as_ref()?.conditions.iter().flatten();
    let end = conditions.find(|one| matches!(&*one.type_, "Complete" | "Failed") && one.status == "True")?;
    let ended_at = end.last_transition_time.as_ref()?.0;
    Some(ended_at + Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_job_goes_when_its_time_after_the_end_is_over() {
        let ended =
            |kind: &str| json!([{"type": kind, "status": "True", "lastTransitionTime": "1970-01-01T00:00:10Z"}]);
        for (ttl, conditions, now, deletes, recheck) in [
            (json!(5), ended("Complete"), 14, false, Some(15)),
            (json!(5), ended("Failed"), 15, true, None),
            (json!(0), ended("Complete"), 10, true, None),
            (json!(5), ended("Suspended"), 100, false, None),
            (Value::Null, ended("Complete"), 100, false, None),
        ] {
            let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "namespace": "n", "uid": "j"},
                "spec": {"ttlSecondsAfterFinished": ttl, "template": {}}, "status": {"conditions": conditions}});
            let world = Snapshot::given(&TtlAfterFinished::watches(), &[job]);
            let now = Timestamp::from_second(now).unwrap();
            let outcome = TtlAfterFinished.reconcile(&Key::new("n", "j"), &world, now).unwrap();
            assert_eq!(outcome.actions.len(), usize::from(deletes), "{ttl} {conditions}");
            assert_eq!(outcome.recheck_at.map(|at| at.as_second()), recheck, "{ttl} {conditions}");
        }
    }
}
