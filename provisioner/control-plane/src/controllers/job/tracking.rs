//! Counting ended pods: first their uids stand in the status, then their finalizers go, then the numbers rise.

use std::collections::{BTreeSet, HashMap};

use k8s_openapi::api::batch::v1::{JobCondition, UncountedTerminatedPods};
use k8s_openapi::api::core::v1::Pod;

use super::end::End;
use super::policy::{Verdict, verdict};
use super::{BURST, Round, is_tracked, let_go, status};
use crate::controllers::machinery::snapshot::Seen;

impl<'a> Round<'a> {
    /// Counts what can be counted, and ends the Job when nothing is left to count.
    pub(super) fn track(&mut self, end: Option<End>) {
        let mut uncounted = self.count_up();
        let replaced = if self.spec.backoff_limit_per_index.is_some() { self.replaced() } else { HashMap::new() };
        let mut freed: Vec<&Seen<Pod>> = Vec::new();
        for pod in self.pods.iter().copied().filter(|pod| is_tracked(&pod.raw)) {
            if uncounted.len() >= BURST {
                break;
            }
            let failed = self.has_failed(pod);
            let last = self.index(&pod.raw).and_then(|index| replaced.get(&index));
            // It tells the pod that replaces it how often the index has failed.
            let waits = last.is_some_and(|last| last.raw.uid() == pod.raw.uid());
            let ended = status::phase(pod) == "Succeeded" || failed && !waits;
            if end.is_none() && !self.job.raw.is_deleting() && !ended {
                continue;
            }
            freed.push(pod);
            if status::phase(pod) == "Succeeded" && !uncounted.failed.contains(&pod.raw.uid().0) {
                if !self.is_indexed() {
                    uncounted.succeeded.insert(pod.raw.uid().0);
                }
            } else if (failed || end.as_ref().is_some_and(|end| !end.succeeds)) && self.counts_failed(pod) {
                uncounted.failed.insert(pod.raw.uid().0);
            }
        }
        let none_left = uncounted.len() == 0 && freed.is_empty();
        self.status.uncounted_terminated_pods = Some(uncounted.into());
        self.tell_indexes();
        if let Some(end) = end {
            self.finish(&end, none_left);
        }
        self.releases = freed.iter().map(|pod| let_go(&pod.raw)).collect();
    }

    fn counts_failed(&self, pod: &Seen<Pod>) -> bool {
        (!self.is_indexed() || self.index(&pod.raw).is_some())
            && verdict(self.spec.pod_failure_policy.as_ref(), pod) != Verdict::Ignored
    }

    /// Moves those that have no finalizer any more from the lists to the numbers.
    fn count_up(&mut self) -> Uncounted {
        let tracked: BTreeSet<String> =
            self.pods.iter().filter(|pod| is_tracked(&pod.raw)).map(|pod| pod.raw.uid().0).collect();
        let before = self.status.uncounted_terminated_pods.clone().unwrap_or_default();
        let split = |uids: Option<Vec<String>>, number: &mut Option<i32>| -> BTreeSet<String> {
            let (stay, counted): (Vec<_>, Vec<_>) =
                uids.unwrap_or_default().into_iter().partition(|uid| tracked.contains(uid));
            let counted = i32::try_from(counted.len()).unwrap_or(i32::MAX);
            *number = Some(number.unwrap_or(0).saturating_add(counted)).filter(|number| *number > 0);
            stay.into_iter().collect()
        };
        let succeeded = split(before.succeeded, &mut self.status.succeeded);
        let failed = split(before.failed, &mut self.status.failed);
        Uncounted { succeeded, failed }
    }

    fn tell_indexes(&mut self) {
        if !self.is_indexed() {
            return;
        }
        let succeeded = i32::try_from(self.succeeded_indexes.len()).unwrap_or(i32::MAX);
        self.status.succeeded = Some(succeeded).filter(|number| *number > 0);
        self.status.completed_indexes = Some(self.succeeded_indexes.to_string()).filter(|text| !text.is_empty());
        self.status.failed_indexes = self.spec.backoff_limit_per_index.map(|_| self.failed_indexes.to_string());
    }

    /// Says what the Job goes for, and, when all pods are counted and gone, that it is there.
    fn finish(&mut self, end: &End, none_left: bool) {
        self.set_condition(end.aim(), "True", &end.reason, &end.message);
        if !none_left || self.status.terminating != Some(0) {
            return;
        }
        self.set_condition(end.result(), "True", &end.reason, &end.message);
        if end.succeeds {
            self.status.completion_time = Some(self.moment());
            if self.spec.completions.is_some_and(|wanted| self.status.succeeded > Some(wanted)) {
                let message = "Too many succeeded pods running after completion count reached";
                self.note(true, "TooManySucceededPods", message);
            }
            self.note(false, "Completed", "Job completed");
        } else {
            self.note(true, reason_of(&end.reason), &end.message);
        }
    }

    /// Says when the Job is suspended, and when it goes on.
    pub(super) fn tell_suspension(&mut self) {
        if !self.acts || self.job.raw.is_deleting() {
            return;
        }
        if self.is_suspended() {
            if self.set_condition("Suspended", "True", "JobSuspended", "Job suspended") {
                self.note(false, "Suspended", "Job suspended");
                self.status.start_time = None;
            }
        } else if self.set_condition("Suspended", "False", "JobResumed", "Job resumed") {
            self.note(false, "Resumed", "Job resumed");
            self.status.start_time = Some(self.moment());
        }
    }

    /// Whether a condition had to be changed or added. One that is false is not added.
    fn set_condition(&mut self, kind: &str, status: &str, reason: &str, message: &str) -> bool {
        let new = JobCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_probe_time: Some(self.moment()),
            last_transition_time: Some(self.moment()),
        };
        let conditions = self.status.conditions.get_or_insert_default();
        let told = |one: &JobCondition| (one.status.clone(), one.reason.clone(), one.message.clone());
        let changed = match conditions.iter_mut().find(|one| one.type_ == kind) {
            Some(old) if told(old) == told(&new) => false,
            Some(old) => {
                *old = new;
                true
            }
            None if status == "False" => false,
            None => {
                conditions.push(new);
                true
            }
        };
        if conditions.is_empty() {
            self.status.conditions = None;
        }
        changed
    }
}

/// Uids of ended pods that still have their finalizers.
struct Uncounted {
    succeeded: BTreeSet<String>,
    failed: BTreeSet<String>,
}

impl Uncounted {
    fn len(&self) -> usize {
        self.succeeded.len() + self.failed.len()
    }
}

impl From<Uncounted> for UncountedTerminatedPods {
    fn from(uncounted: Uncounted) -> Self {
        let list = |uids: BTreeSet<String>| Some(uids.into_iter().collect::<Vec<_>>()).filter(|uids| !uids.is_empty());
        Self { succeeded: list(uncounted.succeeded), failed: list(uncounted.failed) }
    }
}

/// The reasons that a Job fails for, as an event has them.
fn reason_of(reason: &str) -> &'static str {
    const REASONS: [&str; 5] =
        ["BackoffLimitExceeded", "DeadlineExceeded", "FailedIndexes", "MaxFailedIndexesExceeded", "PodFailurePolicy"];
    REASONS.into_iter().find(|one| *one == reason).unwrap_or("Failed")
}
