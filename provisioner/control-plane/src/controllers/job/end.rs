//! Whether a Job has come to its end, and why.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::JobCondition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::policy::{Verdict, success, verdict};
use super::{Round, status};

/// How a Job ends: first what is aimed at, then, when all pods are counted and gone, what it has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) succeeds: bool,
    pub(super) reason: String,
    pub(super) message: String,
}

impl End {
    fn new(succeeds: bool, reason: &str, message: &str) -> Self {
        Self { succeeds, reason: reason.to_owned(), message: message.to_owned() }
    }

    /// Enough pods have succeeded.
    pub(super) fn completions() -> Self {
        Self::new(true, "CompletionsReached", "Reached expected number of succeeded pods")
    }

    /// The condition that says what the Job goes for.
    pub(super) fn aim(&self) -> &'static str {
        if self.succeeds { "SuccessCriteriaMet" } else { "FailureTarget" }
    }

    /// The condition that says what the Job has come to.
    pub(super) fn result(&self) -> &'static str {
        if self.succeeds { "Complete" } else { "Failed" }
    }
}

impl Round<'_> {
    /// The end that was said before, else one that pods, time or indexes bring.
    pub(super) fn end(&mut self) -> Option<End> {
        self.said()
            .or_else(|| self.failed_by_policy())
            .or_else(|| self.failed_by_limits())
            .or_else(|| self.failed_by_indexes())
            .or_else(|| self.met_by_policy())
    }

    fn said(&self) -> Option<End> {
        let stands = |kind: &str| {
            let conditions = self.status.conditions.as_ref()?;
            conditions.iter().find(|one| one.type_ == kind && one.status == "True")
        };
        let end = |succeeds: bool, one: &JobCondition| {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            End { succeeds, reason: text(&one.reason), message: text(&one.message) }
        };
        stands("SuccessCriteriaMet")
            .map(|one| end(true, one))
            .or_else(|| stands("FailureTarget").map(|one| end(false, one)))
    }

    fn failed_by_policy(&self) -> Option<End> {
        let policy = self.spec.pod_failure_policy.as_ref()?;
        let failed = self.pods.iter().filter(|pod| self.has_failed(pod));
        failed.into_iter().find_map(|pod| match verdict(Some(policy), pod) {
            Verdict::FailsJob(message) => Some(End::new(false, "PodFailurePolicy", &message)),
            _ => None,
        })
    }

    fn failed_by_limits(&mut self) -> Option<End> {
        let limit = self.spec.backoff_limit.unwrap_or(6);
        if self.failures() > i64::from(limit) || self.restarts_exceed(limit) {
            let message = "Job has reached the specified backoff limit";
            return Some(End::new(false, "BackoffLimitExceeded", message));
        }
        let deadline = self.deadline()?;
        if deadline <= self.now {
            return Some(End::new(false, "DeadlineExceeded", "Job was active longer than specified deadline"));
        }
        self.recheck(deadline);
        None
    }

    /// Failed pods that count, in the status or not yet.
    fn failures(&self) -> i64 {
        let counted = self.status.uncounted_terminated_pods.clone().unwrap_or_default().failed;
        let policy = self.spec.pod_failure_policy.as_ref();
        let new = self.pods.iter().filter(|pod| self.has_failed(pod) && self.is_new(pod, counted.as_ref()));
        let new = new.filter(|pod| verdict(policy, pod) != Verdict::Ignored).count();
        let uncounted = counted.map_or(0, |uids| uids.len());
        i64::from(self.status.failed.unwrap_or(0)) + i64::try_from(new + uncounted).unwrap_or(i64::MAX)
    }

    /// Whether containers that are started again and again have been so too often.
    fn restarts_exceed(&self, limit: i32) -> bool {
        let policy = self.spec.template.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref());
        if policy != Some("OnFailure") {
            return false;
        }
        let live = self.pods.iter().filter(|pod| !status::is_finished(pod)).filter_map(|pod| pod.status.as_ref());
        let containers =
            live.flat_map(|one| one.container_statuses.iter().chain(&one.init_container_statuses).flatten());
        let restarts: i32 = containers.map(|container| container.restart_count).sum();
        if limit == 0 { restarts > 0 } else { restarts >= limit }
    }

    fn deadline(&self) -> Option<Timestamp> {
        let seconds = self.spec.active_deadline_seconds.filter(|_| !self.is_suspended())?;
        let start = self.status.start_time.as_ref()?.0;
        Some(start + Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
    }

    fn failed_by_indexes(&self) -> Option<End> {
        let (failed, succeeded) = (self.failed_indexes.len(), self.succeeded_indexes.len());
        let count = |number: Option<i32>| number.and_then(|number| usize::try_from(number).ok());
        self.spec.backoff_limit_per_index.filter(|_| self.is_indexed())?;
        if count(self.spec.max_failed_indexes).is_some_and(|most| failed > most) {
            let message = "Job has exceeded the specified maximal number of failed indexes";
            return Some(End::new(false, "MaxFailedIndexesExceeded", message));
        }
        let all = count(self.spec.completions).is_some_and(|all| failed + succeeded >= all);
        (failed > 0 && all).then(|| End::new(false, "FailedIndexes", "Job has failed indexes"))
    }

    fn met_by_policy(&self) -> Option<End> {
        let completions = self.spec.completions.filter(|_| self.is_indexed())?;
        let message = success(self.spec.success_policy.as_ref(), completions, &self.succeeded_indexes)?;
        Some(End::new(true, "SuccessPolicy", &message))
    }

    pub(super) fn recheck(&mut self, at: Timestamp) {
        self.recheck_at = Some(self.recheck_at.map_or(at, |before| before.min(at)));
    }

    /// This moment, as statuses hold it.
    pub(super) fn moment(&self) -> Time {
        Time(Timestamp::from_second(self.now.as_second()).expect("a moment of the clock"))
    }
}
