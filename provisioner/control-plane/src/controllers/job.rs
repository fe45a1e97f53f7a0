//! Jobs: pods that run until enough of them have succeeded, each counted once.
//!
//! A pod keeps a finalizer until the Job's status says how it ended, so that none is lost between the two.
//! Source: upstream `pkg/controller/job/job_controller.go`.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use kprov_schema::{Key, Object, Resource};
use serde_json::{Value, json};

use super::machinery::action::{Action, Note, Outcome};
use super::machinery::claim::{Selects, claim, claimants};
use super::machinery::meta::{controller_key, reference};
use super::machinery::snapshot::{Seen, Snapshot};
use super::machinery::{Config, Controller, Watch, status, template};
use crate::client::PatchKind;
use crate::informer::Unreadable;

mod backoff;
mod end;
mod indexes;
mod policy;
mod scale;
mod tracking;

use end::End;
use indexes::Indexes;

/// Pods made or deleted in one round, and counted in one status, as upstream's limits.
const BURST: usize = 500;

/// Runs Jobs to their ends.
pub struct Jobs;

impl Controller for Jobs {
    const NAME: &'static str = "job-controller";

    fn new(_: &Config, _: Timestamp) -> Self {
        Self
    }

    fn watches() -> Vec<Watch> {
        vec![Watch::own::<Job>(), Watch::new::<Pod>(claimants::<Job>)]
    }

    fn reconcile(&self, key: &Key, world: &Snapshot, now: Timestamp) -> Result<Outcome, Unreadable> {
        let job = world.get::<Job>(key)?;
        let mut actions = forsaken(key, job.as_ref(), world);
        let Some(job) = job.filter(|job| is_ours(job) && !is_finished(job)) else { return Ok(actions.into()) };
        let claims = claim::<Pod, _>(&job, world)?;
        if !claims.actions.is_empty() {
            actions.extend(claims.actions);
            return Ok(actions.into());
        }
        let mut round = Round::new(&job, &claims.owned, world.failure().is_none(), now);
        round.actions = actions;
        round.sync();
        Ok(round.outcome())
    }
}

/// Whether it is this controller's and not one's that its spec names.
fn is_ours(job: &Job) -> bool {
    let by = job.spec.as_ref().and_then(|spec| spec.managed_by.as_deref());
    by.is_none_or(|by| by == "kubernetes.io/job-controller")
}

/// Whether a condition of a type is true.
pub(super) fn has(job: &Job, kind: &str) -> bool {
    let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|one| one.type_ == kind && one.status == "True")
}

/// Whether it has come to its end, one way or the other.
pub(super) fn is_finished(job: &Job) -> bool {
    has(job, "Complete") || has(job, "Failed")
}

/// Lets pods go that nobody counts any more: those of a Job that is gone, or was replaced by another of its name.
fn forsaken(key: &Key, job: Option<&Seen<Job>>, world: &Snapshot) -> Vec<Action> {
    let uid = job.map(|job| job.raw.uid().0);
    let pods = world.cache(&Resource::of::<Pod>()).in_namespace(&key.namespace);
    let is_of = |pod: &Object| {
        let owners = pod.at(&["metadata", "ownerReferences"]).and_then(Value::as_array);
        let owner = owners.into_iter().flatten().find(|owner| owner["controller"] == true);
        controller_key::<Job>(pod).as_ref() == Some(key)
            && owner.and_then(|owner| owner["uid"].as_str()) != uid.as_deref()
    };
    let forsaken = pods.iter().filter(|pod| is_tracked(&pod.raw) && is_of(&pod.raw));
    forsaken.map(|pod| let_go(&pod.raw)).collect()
}

/// Whether a pod is yet to be counted.
fn is_tracked(pod: &Object) -> bool {
    pod.finalizers().any(|one| Some(one) == Job::FINALIZER)
}

/// Takes a pod's finalizer away.
fn let_go(pod: &Object) -> Action {
    Action::Patch {
        resource: Resource::of::<Pod>(),
        key: pod.key(),
        subresource: None,
        kind: PatchKind::Strategic,
        patch: json!({"metadata": {"uid": pod.uid().0, "$deleteFromPrimitiveList/finalizers": [Job::FINALIZER]}}),
    }
}

/// One look at a Job.
struct Round<'a> {
    job: &'a Seen<Job>,
    spec: JobSpec,
    pods: Vec<&'a Seen<Pod>>,
    /// The status as it is to become.
    status: JobStatus,
    succeeded_indexes: Indexes,
    failed_indexes: Indexes,
    /// Whether things are done; else only the status is told.
    acts: bool,
    now: Timestamp,
    actions: Vec<Action>,
    // Told when the status stands.
    notes: Vec<Note>,
    // Pods that the status tells of let go.
    releases: Vec<Action>,
    recheck_at: Option<Timestamp>,
}

impl<'a> Round<'a> {
    fn new(job: &'a Seen<Job>, owned: &'a [Seen<Pod>], acts: bool, now: Timestamp) -> Self {
        let spec = job.spec.clone().unwrap_or_default();
        let status = job.status.clone().unwrap_or_default();
        let most = spec.completions.unwrap_or(i32::MAX);
        let mut pods: Vec<&Seen<Pod>> = owned.iter().collect();
        pods.sort_by_key(|pod| (indexes::of(&pod.raw), pod.raw.name().to_owned()));
        Self {
            succeeded_indexes: Indexes::parse(status.completed_indexes.as_deref().unwrap_or_default(), most),
            failed_indexes: Indexes::parse(status.failed_indexes.as_deref().unwrap_or_default(), most),
            job,
            spec,
            pods,
            status,
            acts,
            now,
            actions: Vec::new(),
            notes: Vec::new(),
            releases: Vec::new(),
            recheck_at: None,
        }
    }

    fn is_indexed(&self) -> bool {
        self.spec.completion_mode.as_deref() == Some("Indexed")
    }

    fn is_suspended(&self) -> bool {
        self.spec.suspend == Some(true)
    }

    /// Whether a pod is replaced only when it has ended, not already when it is on its way out.
    fn replaces_failed_only(&self) -> bool {
        self.spec.pod_replacement_policy.as_deref() == Some("Failed") || self.spec.pod_failure_policy.is_some()
    }

    fn active(&self) -> Vec<&'a Seen<Pod>> {
        self.pods.iter().copied().filter(|pod| status::is_active(pod)).collect()
    }

    fn terminating(&self) -> usize {
        self.pods.iter().filter(|pod| status::is_deleting(pod) && !status::is_finished(pod)).count()
    }

    fn has_failed(&self, pod: &Pod) -> bool {
        match status::phase(pod) {
            "Failed" => true,
            "Succeeded" => false,
            _ => status::is_deleting(pod) && !self.replaces_failed_only(),
        }
    }

    /// The index of a pod, if it is one of the Job's.
    fn index(&self, pod: &Object) -> Option<i32> {
        indexes::of(pod).filter(|index| self.spec.completions.is_none_or(|most| *index < most))
    }

    /// Whether a pod counts and is not in the status yet.
    fn is_new(&self, pod: &Seen<Pod>, counted: Option<&Vec<String>>) -> bool {
        is_tracked(&pod.raw)
            && !counted.is_some_and(|uids| uids.contains(&pod.raw.uid().0))
            && (!self.is_indexed() || self.index(&pod.raw).is_some())
    }

    /// Looks where the Job stands, then makes or deletes pods, then says so.
    fn sync(&mut self) {
        if self.status.start_time.is_none() && !self.is_suspended() {
            self.status.start_time = Some(self.moment());
        }
        let succeeded = self.count_succeeded();
        let end = self.end();
        let (mut active, mut ready, mut terminating) = self.present();
        let end = if let Some(end) = end {
            let pods = if self.acts { self.active() } else { Vec::new() };
            self.actions.extend(pods.iter().map(|pod| template::delete(&self.job.raw, pod)));
            (active, ready, terminating) = (active - pods.len(), 0, terminating + pods.len());
            Some(end)
        } else {
            let change = self.manage(succeeded);
            active = change.active;
            ready -= change.removed_ready;
            terminating += change.removed;
            self.completed(succeeded, active).or_else(|| {
                self.tell_suspension();
                None
            })
        };
        let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
        self.status.active = Some(count(active)).filter(|number| *number > 0);
        self.status.ready = Some(count(ready));
        self.status.terminating = Some(count(terminating));
        self.track(end);
    }

    /// Pods that are active, that of these are ready, and that are on their way out.
    fn present(&self) -> (usize, usize, usize) {
        let active = self.active();
        let ready = active.iter().filter(|pod| status::is_ready(pod)).count();
        (active.len(), ready, self.terminating())
    }

    /// Pods or indexes that have succeeded; failed indexes are taken note of on the way.
    fn count_succeeded(&mut self) -> usize {
        let counted = self.status.uncounted_terminated_pods.clone().unwrap_or_default().succeeded;
        let new = |pod: &&&Seen<Pod>| status::phase(pod) == "Succeeded" && self.is_new(pod, counted.as_ref());
        let pods: Vec<&Seen<Pod>> = self.pods.iter().filter(new).copied().collect();
        if !self.is_indexed() {
            let before = usize::try_from(self.status.succeeded.unwrap_or(0)).unwrap_or(0);
            return before + pods.len() + counted.map_or(0, |uids| uids.len());
        }
        let done: Vec<i32> = pods.iter().filter_map(|pod| self.index(&pod.raw)).collect();
        done.into_iter().for_each(|index| self.succeeded_indexes.insert(index));
        if self.spec.backoff_limit_per_index.is_some() {
            let failed: Vec<i32> = self.pods.iter().filter_map(|pod| self.failed_index(pod)).collect();
            failed.into_iter().for_each(|index| self.failed_indexes.insert(index));
        }
        self.succeeded_indexes.len()
    }

    fn completed(&self, succeeded: usize, active: usize) -> Option<End> {
        let enough = match self.spec.completions {
            None => succeeded > 0,
            Some(wanted) => succeeded >= usize::try_from(wanted).unwrap_or(0),
        };
        (enough && active == 0).then(End::completions)
    }

    fn outcome(mut self) -> Outcome {
        if self.job.status.as_ref() != Some(&self.status) {
            let mut object = Object::clone(&self.job.raw);
            object.set(&["status"], serde_json::to_value(&self.status).unwrap_or(Value::Null));
            self.actions.push(Action::update_status(Resource::of::<Job>(), object));
        }
        self.actions.extend(self.notes.into_iter().map(Action::Record));
        self.actions.extend(self.releases);
        Outcome { actions: self.actions, recheck_at: self.recheck_at }
    }

    fn note(&mut self, warning: bool, reason: &'static str, message: &str) {
        let note = Note::normal(reference(&self.job.raw), reason, message);
        self.notes.push(Note { warning, ..note });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = indexes::INDEX;

    fn job(spec: Value, status: Value) -> Value {
        let mut job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "namespace": "n", "uid": "j"},
            "spec": {"selector": {"matchLabels": {"app": "j"}}, "completions": 2, "parallelism": 2, "backoffLimit": 6,
                "template": {"metadata": {"labels": {"app": "j"}}, "spec": {"containers": [{"name": "c"}]}}},
            "status": status});
        job["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        job
    }

    /// A pod that ended, if it did, at second 100; counted when it has no finalizer any more.
    fn pod(name: &str, phase: &str, counted: bool, index: Option<i32>) -> Value {
        let finalizers = if counted { json!([]) } else { json!([Job::FINALIZER]) };
        let annotations = index.map_or(json!({}), |index| json!({INDEX: index.to_string()}));
        let state = json!({"terminated": {"exitCode": 1, "finishedAt": "1970-01-01T00:01:40Z"}});
        json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "n", "uid": name, "labels": {"app": "j"}, "annotations": annotations,
                "finalizers": finalizers, "ownerReferences":
                    [{"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "j", "controller": true}]},
            "spec": {"containers": []},
            "status": {"phase": phase, "containerStatuses": if phase == "Running" { json!([]) } else { json!([
                {"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state}]) }}})
    }

    /// What is done at second 105, in short.
    fn decide(job: Value, pods: &[Value]) -> Vec<String> {
        let world = Snapshot::given(&Jobs::watches(), &[&[job], pods].concat());
        let now = Timestamp::from_second(105).unwrap();
        let outcome = Jobs.reconcile(&Key::new("n", "j"), &world, now).unwrap();
        let short = |action: &Action| match action {
            Action::Create { object, .. } => format!("create {}", object.text(&["metadata", "generateName"]).unwrap()),
            Action::Delete { key, .. } => format!("delete {}", key.name),
            Action::Patch { key, .. } => format!("let {} go", key.name),
            Action::Record(note) => note.reason.to_owned(),
            Action::Update { object, .. } => {
                let status: JobStatus = serde_json::from_value(object.at(&["status"]).unwrap().clone()).unwrap();
                let uids = status.uncounted_terminated_pods.unwrap_or_default();
                let count = |uids: Option<Vec<String>>| uids.map_or(0, |uids| uids.len());
                let conditions: Vec<String> = status.conditions.into_iter().flatten().map(|one| one.type_).collect();
                let numbers = [status.active, status.succeeded, status.failed].map(|number| number.unwrap_or(0));
                format!("{numbers:?} +{}s +{}f {}", count(uids.succeeded), count(uids.failed), conditions.join(","))
            }
            other => format!("{other:?}"),
        };
        outcome.actions.iter().map(short).collect()
    }

    #[test]
    fn ended_pods_are_counted_in_three_steps() {
        let bare = || job(json!({}), json!({}));
        assert_eq!(decide(bare(), &[]), ["create j-", "create j-", "[2, 0, 0] +0s +0f "]);
        let pods = [pod("a", "Succeeded", false, None), pod("b", "Running", false, None)];
        assert_eq!(decide(bare(), &pods), ["[1, 0, 0] +1s +0f ", "let a go"]);
        let uncounted = json!({"uncountedTerminatedPods": {"succeeded": ["a"]}, "active": 1});
        let pods = [pod("a", "Succeeded", true, None), pod("b", "Running", false, None)];
        assert_eq!(decide(job(json!({}), uncounted), &pods), ["[1, 1, 0] +0s +0f "]);
        let last = json!({"uncountedTerminatedPods": {"succeeded": ["b"]}, "succeeded": 1, "active": 1});
        let pods = [pod("a", "Succeeded", true, None), pod("b", "Succeeded", true, None)];
        assert_eq!(decide(job(json!({}), last), &pods), ["[0, 2, 0] +0s +0f SuccessCriteriaMet,Complete", "Completed"]);
    }

    #[test]
    fn failures_are_waited_for_and_limited() {
        let failed = |counted| pod("a", "Failed", counted, None);
        let waiting = decide(job(json!({}), json!({"failed": 1, "active": 1})), &[failed(true)]);
        assert_eq!(waiting, ["[0, 0, 1] +0s +0f "], "ten seconds have not passed");
        let limit = json!({"backoffLimit": 0});
        let pods = [failed(false), pod("b", "Running", false, None)];
        let wanted = ["delete b", "[0, 0, 0] +0s +2f FailureTarget", "let a go", "let b go"];
        assert_eq!(decide(job(limit.clone(), json!({})), &pods), wanted);
        let aimed = json!({"failed": 1, "startTime": "1970-01-01T00:00:00Z", "uncountedTerminatedPods": {"failed": ["b"]},
            "conditions": [{"type": "FailureTarget", "status": "True", "reason": "BackoffLimitExceeded", "message": "x"}]});
        let wanted = ["[0, 0, 2] +0s +0f FailureTarget,Failed", "BackoffLimitExceeded"];
        assert_eq!(decide(job(limit, aimed), &[failed(true)]), wanted);
        let late = job(json!({"activeDeadlineSeconds": 100}), json!({"startTime": "1970-01-01T00:00:05Z"}));
        assert_eq!(decide(late, &[])[0], "[0, 0, 0] +0s +0f FailureTarget,Failed");
    }

    #[test]
    fn a_suspended_job_has_no_pods_and_none_of_them_fails() {
        let pods = [pod("a", "Running", false, None)];
        let wanted = ["let a go", "delete a", "[0, 0, 0] +0s +0f Suspended", "Suspended"];
        assert_eq!(decide(job(json!({"suspend": true}), json!({"active": 1})), &pods), wanted);
        let suspended = json!({"conditions": [{"type": "Suspended", "status": "True", "reason": "JobSuspended"}]});
        let wanted = ["create j-", "create j-", "[2, 0, 0] +0s +0f Suspended", "Resumed"];
        assert_eq!(decide(job(json!({}), suspended), &[]), wanted);
    }

    #[test]
    fn each_index_succeeds_once_and_fails_alone() {
        let indexed = |more: Value| {
            let mut spec = json!({"completionMode": "Indexed"});
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            spec
        };
        let of = |name: &str, phase: &str, index| pod(name, phase, false, Some(index));
        let pods = [of("a", "Succeeded", 0), of("b", "Running", 1), of("twin", "Running", 1)];
        let twins = decide(job(indexed(json!({})), json!({})), &pods);
        assert_eq!(twins[..2], ["let b go", "delete b"]);
        let one = decide(job(indexed(json!({})), json!({})), &[of("a", "Succeeded", 0)]);
        assert_eq!(one, ["create j-1-", "[1, 1, 0] +0s +0f ", "let a go"]);
        let per_index = indexed(json!({"backoffLimitPerIndex": 0}));
        let pods = [of("a", "Failed", 0), of("b", "Running", 1)];
        assert_eq!(decide(job(per_index.clone(), json!({})), &pods), ["[1, 0, 0] +0s +1f ", "let a go"]);
        let status = json!({"failedIndexes": "0", "completedIndexes": "1", "failed": 1, "succeeded": 1,
            "startTime": "1970-01-01T00:00:00Z"});
        assert_eq!(decide(job(per_index, status), &[]), ["[0, 1, 1] +0s +0f FailureTarget,Failed", "FailedIndexes"]);
        let policy = indexed(json!({"successPolicy": {"rules": [{"succeededCount": 1}]}}));
        let pods = [of("a", "Succeeded", 0), of("b", "Running", 1)];
        let wanted = ["delete b", "[0, 1, 0] +0s +0f SuccessCriteriaMet", "let a go", "let b go"];
        assert_eq!(decide(job(policy, json!({})), &pods), wanted);
    }

    #[test]
    fn pods_of_a_job_that_is_gone_or_somebody_elses_are_let_go_or_left() {
        let mut orphan = pod("a", "Running", false, None);
        orphan["metadata"]["ownerReferences"][0]["uid"] = json!("before");
        assert_eq!(decide(job(json!({"managedBy": "x/y"}), json!({})), &[orphan]), ["let a go"]);
        let pods = [pod("a", "Running", false, None)];
        assert_eq!(decide(job(json!({"managedBy": "x/y"}), json!({})), &pods), Vec::<String>::new());
    }
}
