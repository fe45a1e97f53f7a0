//! Jobs by a schedule.

use k8s_openapi::api::batch::v1 as batch;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kprov_schema::cron;

use super::{Job, Jobs, parts, parts_mut, spec};
use crate::build::amount::Time;
use crate::build::container::Container;
use crate::build::object::{Object, named};
use crate::build::pod::Template;
use crate::build::pods::{Ends, Pods};
use crate::build::text::{Name, Of, Schedule, text};
use crate::build::workload::name_label;
use crate::build::wraps::{object, part};

text! {
    /// A time zone by its name in the IANA database.
    ///
    /// ```
    /// # use kprov::build::*;
    /// assert!("Europe/Berlin".parse::<TimeZone>().is_ok());
    /// ```
    TimeZone, "time zone", |text| match cron::is_time_zone(text) {
        true => Vec::new(),
        false => vec!["write an area and a place, such as Europe/Berlin, or Etc/UTC".to_owned()],
    }
}

/// What happens when a job is due and the one before still runs.
///
/// ```
/// # use kprov::build::*;
/// let backup = CronJob::new("backup", "@hourly", Container::new("backup", "shop:1"))
///     .concurrency(Concurrency::Forbid);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concurrency {
    /// Both run; what holds without it.
    Allow,
    /// The new one is left out.
    Forbid,
    /// The old one is ended.
    Replace,
}

part! {
    /// What a cron job makes jobs from. A [`Container`], a [`Template`] and a [`Job`] are one already.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let report = Job::new("report", Container::new("report", "shop:1")).retries(1);
    /// let nightly = CronJob::new("nightly", "@daily", report);
    /// ```
    JobTemplate(batch::JobTemplateSpec)
}

impl From<Template> for JobTemplate {
    fn from(template: Template) -> Self {
        Self(batch::JobTemplateSpec { metadata: None, spec: Some(spec(template.into())) })
    }
}

impl From<Container> for JobTemplate {
    fn from(container: Container) -> Self {
        Template::new(container).into()
    }
}

impl From<Job> for JobTemplate {
    fn from(job: Job) -> Self {
        let meta = job.meta();
        let (labels, annotations) = (meta.labels.clone(), meta.annotations.clone());
        let metadata = Some(ObjectMeta { labels, annotations, ..ObjectMeta::default() });
        Self(batch::JobTemplateSpec { metadata, spec: batch::Job::from(job).spec })
    }
}

object! {
    /// Starts a job whenever its schedule says so.
    ///
    /// ```
    /// use kprov::build::*;
    /// let backup = CronJob::new("backup", "30 4 * * *", Container::new("backup", "shop:1").args(["backup"]))
    ///     .time_zone("Europe/Berlin")
    ///     .concurrency(Concurrency::Forbid)
    ///     .history(1, 3);
    /// assert_eq!(backup.build().spec.schedule, "30 4 * * *");
    /// ```
    /// Source: <https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/>
    namespaced CronJob(batch::CronJob)
}

/// When jobs start, and what is kept of them.
///
/// ```
/// # use kprov::build::*;
/// use std::time::Duration;
/// let report = CronJob::new("report", "0 3 * * *", Container::new("report", "shop:1"))
///     .time_zone("Europe/Berlin")
///     .concurrency(Concurrency::Replace)
///     .start_within(Duration::from_secs(300))
///     .history(3, 1);
/// let off = CronJob::new("off", "@daily", Container::new("report", "shop:1")).suspended();
/// ```
impl CronJob {
    /// Starts such a job by a schedule: minute, hour, day, month, weekday.
    ///
    /// Panics when the name is longer than 52 characters: the time of a job is put behind it.
    #[must_use]
    #[track_caller]
    pub fn new(name: impl Of<Name>, schedule: impl Of<Schedule>, job: impl Into<JobTemplate>) -> Self {
        let name = name.checked();
        assert!(name.as_str().len() <= 52, "the name of a cron job has at most 52 characters, and {name} has more");
        let labels = name_label(name.as_str());
        let mut job_template = job.into().0;
        let pod = parts_mut(job_template.spec.get_or_insert_default()).0;
        pod.labels.get_or_insert_default().extend(labels.clone());
        let schedule = schedule.checked().into();
        let metadata = ObjectMeta { labels: Some(labels), ..named(name) };
        let spec = batch::CronJobSpec { schedule, job_template, ..batch::CronJobSpec::default() };
        Self(batch::CronJob { metadata, spec, status: None })
    }

    /// Whose clock the schedule goes by; the server's without it.
    #[must_use]
    #[track_caller]
    pub fn time_zone(mut self, zone: impl Of<TimeZone>) -> Self {
        self.0.spec.time_zone = Some(zone.checked().into());
        self
    }

    /// What happens when a job is due and the one before still runs.
    #[must_use]
    pub fn concurrency(mut self, concurrency: Concurrency) -> Self {
        self.0.spec.concurrency_policy = Some(format!("{concurrency:?}"));
        self
    }

    /// How late a job may start; later it is left out.
    #[must_use]
    #[track_caller]
    pub fn start_within(mut self, time: impl Time) -> Self {
        self.0.spec.starting_deadline_seconds = Some(time.whole_seconds());
        self
    }

    /// How many jobs are kept that have succeeded and that have failed; 3 and 1 without it.
    #[must_use]
    pub fn history(mut self, succeeded: u16, failed: u16) -> Self {
        self.0.spec.successful_jobs_history_limit = Some(i32::from(succeeded));
        self.0.spec.failed_jobs_history_limit = Some(i32::from(failed));
        self
    }

    /// Starts no jobs until somebody takes the mark away.
    #[must_use]
    pub fn suspended(mut self) -> Self {
        self.0.spec.suspend = Some(true);
        self
    }
}

impl Jobs for CronJob {
    fn job_mut(&mut self) -> &mut batch::JobSpec {
        self.0.spec.job_template.spec.get_or_insert_default()
    }
}

#[diagnostic::do_not_recommend]
impl Ends for CronJob {}

impl Pods for CronJob {
    fn pod(&self) -> (Option<&ObjectMeta>, Option<&core::PodSpec>) {
        parts(self.0.spec.job_template.spec.as_ref())
    }

    fn pod_mut(&mut self) -> (&mut ObjectMeta, &mut core::PodSpec) {
        parts_mut(self.job_mut())
    }
}
