//! Jobs, which run pods until enough of them have succeeded, once or by a schedule.

mod cron;
mod failure;

use k8s_openapi::api::batch::v1 as batch;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

pub use cron::{Concurrency, CronJob, JobTemplate, TimeZone};
pub use failure::{FailureRule, Then};

use super::amount::Time;
use super::object::named;
use super::pod::Template;
use super::pods::{Ends, Pods};
use super::text::{Name, Of};
use super::workload::name_label;
use super::wraps::object;

object! {
    /// Runs pods until enough of them have succeeded.
    ///
    /// ```
    /// use kprov::build::*;
    /// use std::time::Duration;
    /// let migrate = Job::new("migrate", Container::new("migrate", "shop:1").args(["migrate"]))
    ///     .retries(2)
    ///     .deadline(Duration::from_secs(600))
    ///     .keep_for(Duration::from_secs(3600));
    /// assert_eq!(migrate.build().spec.unwrap().backoff_limit, Some(2));
    /// ```
    /// Source: <https://kubernetes.io/docs/concepts/workloads/controllers/job/>
    namespaced Job(batch::Job)
}

impl Job {
    /// One pod that must succeed. Its containers are not restarted; a failed pod is followed by another one.
    #[must_use]
    #[track_caller]
    pub fn new(name: impl Of<Name>, pod: impl Into<Template>) -> Self {
        let name = name.checked();
        let labels = name_label(name.as_str());
        let mut template: core::PodTemplateSpec = pod.into().into();
        template.metadata.get_or_insert_default().labels.get_or_insert_default().extend(labels.clone());
        let metadata = ObjectMeta { labels: Some(labels), ..named(name) };
        Self(batch::Job { metadata, spec: Some(spec(template)), status: None })
    }

    /// Waits to start until somebody takes the mark away.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let later = Job::new("later", Container::new("report", "shop:1")).suspended();
    /// ```
    #[must_use]
    pub fn suspended(mut self) -> Self {
        self.job_mut().suspend = Some(true);
        self
    }
}

/// A job whose pods end by themselves.
fn spec(mut template: core::PodTemplateSpec) -> batch::JobSpec {
    let pod = template.spec.get_or_insert_default();
    if pod.restart_policy.as_deref().is_none_or(|policy| policy == "Always") {
        pod.restart_policy = Some("Never".to_owned());
    }
    batch::JobSpec { template, ..batch::JobSpec::default() }
}

/// What jobs share, whether they run once or by a schedule.
///
/// ```
/// use kprov::build::*;
/// let shards = Job::new("shards", Container::new("shard", "shop:1")).indexed(8).parallelism(4).retries_per_index(1);
/// let nightly = CronJob::new("nightly", "0 3 * * *", Container::new("report", "shop:1")).retries(1);
/// ```
pub trait Jobs: Pods + Ends {
    /// What the job is to do, to change by hand.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let mut report = Job::new("report", Container::new("report", "shop:1"));
    /// report.job_mut().manual_selector = Some(false);
    /// ```
    fn job_mut(&mut self) -> &mut batch::JobSpec;

    /// How many pods must succeed; 1 without it.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let load = Job::new("load", Container::new("load", "shop:1")).completions(10).parallelism(2);
    /// ```
    #[must_use]
    fn completions(mut self, pods: u16) -> Self {
        self.job_mut().completions = Some(i32::from(pods));
        self
    }

    /// How many pods run at the same time; 1 without it.
    #[must_use]
    fn parallelism(mut self, pods: u16) -> Self {
        self.job_mut().parallelism = Some(i32::from(pods));
        self
    }

    /// Numbers the pods from 0 (`JOB_COMPLETION_INDEX`), and wants one success for every number.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let shards = Job::new("shards", Container::new("shard", "shop:1")).indexed(8).parallelism(4);
    /// ```
    #[must_use]
    fn indexed(mut self, pods: u16) -> Self {
        self.job_mut().completion_mode = Some("Indexed".to_owned());
        self.completions(pods)
    }

    /// How many pods may fail before the job has; 6 without it.
    #[must_use]
    fn retries(mut self, retries: u16) -> Self {
        self.job_mut().backoff_limit = Some(i32::from(retries));
        self
    }

    /// How many pods of one number may fail before that number has: only after [`Jobs::indexed`].
    ///
    /// Panics when the pods have no numbers.
    #[must_use]
    #[track_caller]
    fn retries_per_index(mut self, retries: u16) -> Self {
        let job = self.job_mut();
        let indexed = job.completion_mode.as_deref() == Some("Indexed");
        assert!(indexed, "the job's pods have no numbers: say `indexed(..)` before `retries_per_index(..)`");
        job.backoff_limit_per_index = Some(i32::from(retries));
        self
    }

    /// How long the job may take altogether; then its pods are ended and it has failed.
    ///
    /// ```
    /// # use kprov::build::*;
    /// use std::time::Duration;
    /// let report = Job::new("report", Container::new("report", "shop:1")).deadline(Duration::from_secs(600));
    /// ```
    #[must_use]
    #[track_caller]
    fn deadline(mut self, time: impl Time) -> Self {
        self.job_mut().active_deadline_seconds = Some(time.whole_seconds());
        self
    }

    /// How long a job is kept after its end, with its pods; for ever without it.
    ///
    /// ```
    /// # use kprov::build::*;
    /// use std::time::Duration;
    /// let once = Job::new("once", Container::new("once", "shop:1")).keep_for(Duration::from_secs(3600));
    /// ```
    #[must_use]
    #[track_caller]
    fn keep_for(mut self, time: impl Time) -> Self {
        self.job_mut().ttl_seconds_after_finished = Some(time.whole_seconds());
        self
    }

    /// Decides what the failure of a pod means; the first rule that fits counts.
    ///
    /// Panics when failed containers are started again in their pod: then no pod fails.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let train = Job::new("train", Container::new("train", "shop:1"))
    ///     .on_failure(FailureRule::disruption(Then::Ignore));
    /// ```
    #[must_use]
    #[track_caller]
    fn on_failure(mut self, rule: FailureRule) -> Self {
        let in_place = self.pod().1.is_some_and(|pod| pod.restart_policy.as_deref() == Some("OnFailure"));
        assert!(!in_place, "rules for failed pods need `never_restart()`: with `restart_on_failure()` no pod fails");
        self.job_mut().pod_failure_policy.get_or_insert_default().rules.push(rule.into());
        self
    }
}

impl Jobs for Job {
    fn job_mut(&mut self) -> &mut batch::JobSpec {
        self.0.spec.get_or_insert_default()
    }
}

#[diagnostic::do_not_recommend]
impl Ends for Job {}

impl Pods for Job {
    fn pod(&self) -> (Option<&ObjectMeta>, Option<&core::PodSpec>) {
        parts(self.0.spec.as_ref())
    }

    fn pod_mut(&mut self) -> (&mut ObjectMeta, &mut core::PodSpec) {
        parts_mut(self.job_mut())
    }
}

fn parts(job: Option<&batch::JobSpec>) -> (Option<&ObjectMeta>, Option<&core::PodSpec>) {
    let template = job.map(|job| &job.template);
    (template.and_then(|template| template.metadata.as_ref()), template.and_then(|template| template.spec.as_ref()))
}

fn parts_mut(job: &mut batch::JobSpec) -> (&mut ObjectMeta, &mut core::PodSpec) {
    (job.template.metadata.get_or_insert_default(), job.template.spec.get_or_insert_default())
}
