//! CronJobs: a Job each time that a schedule names.
//!
//! Source: upstream `pkg/controller/cronjob/cronjob_controllerv2.go`.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, CronJobStatus, Job};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kprov_schema::{Key, Object, Resource};
use serde_json::{Value, json};

use super::job::{has, is_finished};
use super::machinery::action::{Action, Note, Outcome, Report};
use super::machinery::meta::{controlled_by, controller_key, controller_of, reference};
use super::machinery::snapshot::{Seen, Snapshot};
use super::machinery::template::reported;
use super::machinery::{Config, Controller, Watch};
use crate::client::Propagation;
use crate::informer::Unreadable;

mod schedule;

use schedule::{Due, Times};

const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";
/// Missed times beyond which a CronJob is warned of them.
const MANY: i64 = 100;

/// Makes Jobs in time.
pub struct CronJobs;

impl Controller for CronJobs {
    const NAME: &'static str = "cronjob-controller";

    fn new(_: &Config, _: Timestamp) -> Self {
        Self
    }

    fn watches() -> Vec<Watch> {
        let owner = Watch::new::<Job>(|change, _| {
            change.sides().filter_map(|entry| controller_key::<CronJob>(&entry.raw)).collect()
        });
        vec![Watch::own::<CronJob>(), owner]
    }

    fn reconcile(&self, key: &Key, world: &Snapshot, now: Timestamp) -> Result<Outcome, Unreadable> {
        let Some(cron) = world.get::<CronJob>(key)? else { return Ok(Outcome::nothing()) };
        let uid = cron.raw.uid().0;
        let mut jobs = world.owned_by::<Job>(&uid)?;
        jobs.retain(|job| controller_of(&job.metadata).is_some_and(|owner| owner.uid == uid));
        let mut round = Round {
            spec: cron.spec.clone(),
            status: cron.status.clone().unwrap_or_default(),
            cron: &cron,
            jobs: &jobs,
            world,
            now,
            outcome: Outcome::nothing(),
            before_status: Vec::new(),
        };
        round.follow();
        if world.failure().is_none() {
            round.clean_up();
            if !cron.raw.is_deleting() {
                round.start();
            }
        }
        Ok(round.outcome())
    }
}

/// One look at a CronJob.
struct Round<'a> {
    cron: &'a Seen<CronJob>,
    spec: CronJobSpec,
    status: CronJobStatus,
    jobs: &'a [Seen<Job>],
    world: &'a Snapshot,
    now: Timestamp,
    outcome: Outcome,
    // Creations and deletions.
    before_status: Vec<Action>,
}

impl Round<'_> {
    fn note(&mut self, warning: bool, reason: &'static str, message: impl Into<String>) {
        let note = Note::normal(reference(&self.cron.raw), reason, message);
        self.outcome.actions.push(Action::Record(Note { warning, ..note }));
    }

    fn is_active(&self, uid: &str) -> bool {
        self.status.active.iter().flatten().any(|one| one.uid.as_deref() == Some(uid))
    }

    fn forget(&mut self, uid: &str) {
        if let Some(active) = &mut self.status.active {
            active.retain(|one| one.uid.as_deref() != Some(uid));
        }
        self.status.active.take_if(|active| active.is_empty());
    }

    /// Takes in how its Jobs go.
    fn follow(&mut self) {
        for job in self.jobs {
            self.take_in(job);
            let uid = job.raw.uid().0;
            if !is_finished(job) {
                if !self.is_active(&uid) {
                    let message = format!("Saw a job that the controller did not create or forgot: {}", job.raw.name());
                    self.note(true, "UnexpectedJob", message);
                }
                continue;
            }
            if self.is_active(&uid) {
                self.forget(&uid);
                let end = if has(job, "Complete") { "Complete" } else { "Failed" };
                let message = format!("Saw completed job: {}, condition: {end}", job.raw.name());
                self.note(false, "SawCompletedJob", message);
            }
            let completed = job.status.as_ref().and_then(|status| status.completion_time.clone());
            if has(job, "Complete") && completed > self.status.last_successful_time {
                self.status.last_successful_time = completed;
            }
        }
        let there: Vec<String> = self.jobs.iter().map(|job| job.raw.uid().0).collect();
        for gone in self.status.active.clone().into_iter().flatten() {
            let uid = gone.uid.clone().unwrap_or_default();
            if !there.contains(&uid) {
                self.forget(&uid);
                self.note(false, "MissingJob", format!("Active job went missing: {}", gone.name.unwrap_or_default()));
            }
        }
    }

    /// A Job that was made for a time which the status does not tell of yet.
    fn take_in(&mut self, job: &Seen<Job>) {
        let Some(at) = job.raw.annotation(SCHEDULED).and_then(|text| text.parse::<Timestamp>().ok()) else { return };
        let last = self.status.last_schedule_time.as_ref().map(|time| time.0);
        if job.raw.name() == self.job_name(at) && last.is_none_or(|last| last < at) {
            self.status.active.get_or_insert_default().push(reference(&job.raw));
            self.status.last_schedule_time = Some(Time(at));
        }
    }

    /// Deletes the oldest finished Jobs beyond the limits.
    fn clean_up(&mut self) {
        let limits =
            [("Complete", self.spec.successful_jobs_history_limit), ("Failed", self.spec.failed_jobs_history_limit)];
        for (end, limit) in limits {
            let Some(limit) = limit.and_then(|limit| usize::try_from(limit).ok()) else { continue };
            let mut ended: Vec<&Seen<Job>> =
                self.jobs.iter().filter(|job| has(job, end) && !job.raw.is_deleting()).collect();
            let started = |job: &Job| job.status.as_ref().and_then(|status| status.start_time.as_ref()).map(|at| at.0);
            ended.sort_by_key(|job| (started(job).is_none(), started(job), job.raw.name().to_owned()));
            let surplus = ended.len().saturating_sub(limit);
            ended.truncate(surplus);
            for job in ended {
                self.delete(job);
            }
        }
    }

    fn delete(&mut self, job: &Seen<Job>) {
        let mut action = Action::delete(Resource::of::<Job>(), job.raw.key(), &job.raw.uid());
        if let Action::Delete { options, .. } = &mut action {
            options.propagation = Some(Propagation::Background);
        }
        let about = reference(&self.cron.raw);
        let report = Report {
            success: Note::normal(about.clone(), "SuccessfulDelete", "Deleted job {}"),
            failure: Note::warning(about, "FailedDelete", "Deleted job: {}"),
        };
        self.before_status.push(reported(action, report));
        self.forget(&job.raw.uid().0);
    }

    /// Makes the Job whose time has come, if it may.
    fn start(&mut self) {
        let Some(times) = self.times() else { return };
        let last = self.status.last_schedule_time.as_ref().map(|time| time.0);
        let made = self.cron.metadata.creation_timestamp.as_ref().map(|time| time.0);
        let since = last.or(made).unwrap_or(self.now);
        let deadline = self.spec.starting_deadline_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let from = deadline.map_or(since, |seconds| since.max(self.now - Duration::from_secs(seconds)));
        let due = match times.due(from, self.now) {
            Ok(due) => due,
            Err(why) => {
                let message = format!("invalid schedule: {} : {why}", self.spec.schedule);
                return self.note(true, "InvalidSchedule", message);
            }
        };
        if let Some(at) = due.last {
            self.start_for(at, &due, &times);
        }
        let next = times.after(due.last.unwrap_or(self.now).max(self.now));
        next.into_iter().for_each(|at| self.outcome.recheck(at));
    }

    /// The schedule, unless there is nothing to be made by it.
    fn times(&mut self) -> Option<Times> {
        let zone = match self.spec.time_zone.clone() {
            None => None,
            Some(name) => match schedule::zone(&name) {
                Some(zone) => Some(zone),
                None => {
                    let message = format!("invalid timeZone: {name:?}: unknown time zone {name}");
                    self.note(true, "UnknownTimeZone", message);
                    return None;
                }
            },
        };
        if self.spec.suspend == Some(true) {
            return None;
        }
        let schedule = self.spec.schedule.clone();
        if schedule.contains("TZ") {
            let message = format!(
                "CRON_TZ or TZ used in schedule {schedule:?} is not officially supported, see \
                 https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
            );
            self.note(true, "UnsupportedSchedule", message);
        }
        match Times::of(&schedule, zone) {
            Ok(times) => Some(times),
            Err(why) => {
                self.note(true, "UnparseableSchedule", format!("unparseable schedule: {schedule:?} : {why}"));
                None
            }
        }
    }

    fn start_for(&mut self, at: Timestamp, due: &Due, times: &Times) {
        if due.missed > MANY {
            let message =
                "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
            self.note(true, "TooManyMissedTimes", message);
        }
        let deadline = self.spec.starting_deadline_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        if deadline.is_some_and(|seconds| at + Duration::from_secs(seconds) < self.now) {
            let missed = at.strftime("%a, %d %b %Y %H:%M:%S +0000");
            return self.note(true, "MissSchedule", format!("Missed scheduled time to start a job: {missed}"));
        }
        let name = self.job_name(at);
        let known = self.status.active.iter().flatten().any(|one| one.name.as_ref() == Some(&name));
        // A Job of the name that is somebody else's stands for this one.
        let taken = self.world.cache(&Resource::of::<Job>()).get(&Key::new(self.cron.raw.namespace(), name)).is_some();
        if known || taken || self.status.last_schedule_time.as_ref().is_some_and(|last| last.0 == at) {
            return;
        }
        let active = self.status.active.clone().unwrap_or_default();
        match self.spec.concurrency_policy.as_deref() {
            Some("Forbid") if !active.is_empty() => {
                let message = "Not starting job because prior execution is running and concurrency policy is Forbid";
                return self.note(false, "JobAlreadyActive", message);
            }
            Some("Replace") => {
                let jobs = self.jobs;
                let running = |job: &&Seen<Job>| active.iter().any(|one| one.uid.as_ref() == Some(&job.raw.uid().0));
                jobs.iter().filter(running).for_each(|job| self.delete(job));
            }
            _ => {}
        }
        let about = reference(&self.cron.raw);
        let report = Report {
            success: Note::normal(about.clone(), "SuccessfulCreate", "Created job {}"),
            failure: Note::warning(about, "FailedCreate", "Error creating job: {}"),
        };
        self.before_status.push(reported(Action::create(Resource::of::<Job>(), self.job(at, times)), report));
    }

    /// The name of the Job of a time: the same whenever it is tried.
    fn job_name(&self, at: Timestamp) -> String {
        format!("{}-{}", self.cron.raw.name(), at.as_second() / 60)
    }

    fn job(&self, at: Timestamp, times: &Times) -> Object {
        let cron = &self.cron.raw;
        let template = cron.at(&["spec", "jobTemplate"]);
        let part = |path: &str| template.and_then(|template| template.pointer(path)).cloned();
        let zoned = at.to_zoned(times.zone.clone());
        let form = if zoned.offset().is_zero() { "%Y-%m-%dT%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%S%:z" };
        let scheduled = zoned.strftime(form).to_string();
        let mut annotations = part("/metadata/annotations").unwrap_or_else(|| json!({}));
        annotations[SCHEDULED] = json!(scheduled);
        let mut job = json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {
                "name": self.job_name(at),
                "namespace": cron.namespace(),
                "annotations": annotations,
                "ownerReferences": [controlled_by(cron)],
            },
            "spec": part("/spec").unwrap_or_else(|| json!({})),
        });
        if let Some(labels) = part("/metadata/labels") {
            job["metadata"]["labels"] = labels;
        }
        Object::try_from(job).expect("written as a map")
    }

    fn outcome(mut self) -> Outcome {
        let mut actions = self.before_status;
        if self.cron.status.clone().unwrap_or_default() != self.status {
            let mut object = Object::clone(&self.cron.raw);
            object.set(&["status"], serde_json::to_value(&self.status).unwrap_or(Value::Null));
            actions.push(Action::update_status(Resource::of::<CronJob>(), object));
        }
        actions.append(&mut self.outcome.actions);
        Outcome { actions, recheck_at: self.outcome.recheck_at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cron(spec: Value, status: Value) -> Value {
        let mut cron = json!({"apiVersion": "batch/v1", "kind": "CronJob",
            "metadata": {"name": "c", "namespace": "n", "uid": "c", "creationTimestamp": "2026-01-01T00:00:10Z"},
            "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": {}}}}, "status": status});
        cron["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        cron
    }

    /// A Job of the minute, with its end if it has one.
    fn job(minute: u32, end: Option<&str>) -> Value {
        let at = format!("2026-01-01T00:{minute:02}:00Z");
        let name = format!("c-{}", at.parse::<Timestamp>().unwrap().as_second() / 60);
        let end = end.map(|kind| json!({"type": kind, "status": "True", "lastTransitionTime": at}));
        json!({"apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": name, "namespace": "n", "uid": format!("j{minute}"), "annotations": {SCHEDULED: at},
                "ownerReferences": [{"apiVersion": "batch/v1", "kind": "CronJob", "name": "c", "uid": "c", "controller": true}]},
            "spec": {"template": {}},
            "status": {"startTime": at, "completionTime": at, "conditions": end.into_iter().collect::<Vec<_>>()}})
    }

    /// What is done at a moment, in short, and when it is looked at again.
    fn decide(now: &str, objects: &[Value]) -> (Vec<String>, Option<String>) {
        let world = Snapshot::given(&CronJobs::watches(), objects);
        let outcome = CronJobs.reconcile(&Key::new("n", "c"), &world, now.parse().unwrap()).unwrap();
        let short = |action: &Action| match action {
            Action::Create { object, .. } => {
                format!("create {} for {}", object.name(), object.annotation(SCHEDULED).unwrap())
            }
            Action::Delete { key, .. } => format!("delete {}", key.name),
            Action::Update { object, .. } => {
                let active = object.at(&["status", "active"]).and_then(Value::as_array).map_or(0, Vec::len);
                format!("{active} active, last {}", object.text(&["status", "lastScheduleTime"]).unwrap_or("never"))
            }
            Action::Record(note) => note.reason.to_owned(),
            other => format!("{other:?}"),
        };
        (outcome.actions.iter().map(short).collect(), outcome.recheck_at.map(|at| at.to_string()))
    }

    const NAME: &str = "c-29453761";

    #[test]
    fn a_job_is_made_when_its_time_has_come_and_then_counts_as_active() {
        let bare = || cron(json!({}), json!({}));
        let next = |minute| Some(format!("2026-01-01T00:0{minute}:00Z"));
        assert_eq!(decide("2026-01-01T00:00:59Z", &[bare()]), (vec![], next(1)));
        let made = format!("create {NAME} for 2026-01-01T00:01:00Z");
        assert_eq!(decide("2026-01-01T00:01:00Z", &[bare()]), (vec![made], next(2)));
        let seen = decide("2026-01-01T00:01:01Z", &[bare(), job(1, None)]);
        assert_eq!(seen, (vec!["1 active, last 2026-01-01T00:01:00Z".into()], next(2)));
        let zoned = cron(json!({"schedule": "1 9 * * *", "timeZone": "Asia/Tokyo"}), json!({}));
        let made = format!("create {NAME} for 2026-01-01T09:01:00+09:00");
        assert_eq!(decide("2026-01-01T00:01:00Z", &[zoned]).0, [made]);
    }

    #[test]
    fn what_runs_may_keep_the_next_one_back_or_give_way_to_it() {
        let status = json!({"active": [{"name": NAME, "uid": "j1"}], "lastScheduleTime": "2026-01-01T00:01:00Z"});
        let create = "create c-29453762 for 2026-01-01T00:02:00Z".to_owned();
        let replaced = vec![format!("delete {NAME}"), create.clone(), "0 active, last 2026-01-01T00:01:00Z".into()];
        for (policy, wanted) in
            [("Allow", vec![create]), ("Forbid", vec!["JobAlreadyActive".to_owned()]), ("Replace", replaced)]
        {
            let cron = cron(json!({"concurrencyPolicy": policy}), status.clone());
            assert_eq!(decide("2026-01-01T00:02:00Z", &[cron, job(1, None)]).0, wanted, "{policy}");
        }
    }

    #[test]
    fn what_is_too_late_suspended_or_impossible_is_not_made() {
        for (spec, wanted) in [
            (json!({"schedule": "0 * * * *", "startingDeadlineSeconds": 10}), vec![]),
            (json!({"suspend": true}), vec![]),
            (json!({"timeZone": "Nowhere"}), vec!["UnknownTimeZone"]),
            (json!({"schedule": "0 0 31 2 *"}), vec!["InvalidSchedule"]),
            (json!({"schedule": "x"}), vec!["UnparseableSchedule"]),
        ] {
            assert_eq!(decide("2026-01-01T01:00:30Z", &[cron(spec.clone(), json!({}))]).0, wanted, "{spec}");
        }
        let many = decide("2026-01-01T03:00:00Z", &[cron(json!({}), json!({}))]).0;
        assert_eq!(many[1], "TooManyMissedTimes");
    }

    #[test]
    fn finished_jobs_are_told_of_and_the_oldest_go() {
        let active: Vec<Value> = (1..4).map(|at| json!({"name": format!("j{at}"), "uid": format!("j{at}")})).collect();
        let status = json!({"active": active, "lastScheduleTime": "2026-01-01T00:04:00Z"});
        let spec = json!({"suspend": true, "successfulJobsHistoryLimit": 1, "failedJobsHistoryLimit": 0});
        let jobs = [job(1, Some("Complete")), job(2, Some("Complete")), job(4, Some("Failed"))];
        let objects = [&[cron(spec, status)], &jobs[..]].concat();
        let wanted = [
            "delete c-29453761",
            "delete c-29453764",
            "0 active, last 2026-01-01T00:04:00Z",
            "SawCompletedJob",
            "SawCompletedJob",
            "MissingJob",
        ];
        assert_eq!(decide("2026-01-01T00:04:30Z", &objects).0, wanted);
    }
}
