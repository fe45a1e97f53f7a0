//! The status of a Deployment: counts, and conditions that tell how its rollout goes.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kprov_schema::{Object, Resource};
use serde_json::Value;

use super::revision::REVISION;
use super::{Rollout, Set};
use crate::controllers::machinery::action::Action;
use crate::controllers::replication::FAILURE;

/// What a round says about the rollout's progress.
pub(super) enum Progress {
    /// Nothing new: it is paused, resized or being deleted.
    Kept,
    /// To be read off the counts.
    Estimated,
    /// A new set of this name was made.
    Created(String),
    /// The new set can't be made.
    Failed(String),
}

/// The status to write, if it differs, and when the deadline for progress passes.
pub(super) struct Report {
    pub(super) write: Option<Action>,
    pub(super) recheck_at: Option<Timestamp>,
}

/// Whether all pods are of the newest template and available.
pub(super) fn is_complete(status: &DeploymentStatus, desired: i32, generation: i64) -> bool {
    let count = |field: Option<i32>| field.unwrap_or(0);
    count(status.updated_replicas) == desired
        && count(status.replicas) == desired
        && count(status.available_replicas) == desired
        && status.observed_generation.unwrap_or(0) >= generation
}

impl Report {
    pub(super) fn of(rollout: &Rollout<'_>, now: Timestamp) -> Self {
        let old = without_zeros(rollout.deployment.status.clone().unwrap_or_default());
        let mut conditions = Conditions { list: old.conditions.clone().unwrap_or_default(), now };
        let mut new = counts(rollout, &old);
        conditions.availability(&new, rollout);
        conditions.pause(rollout);
        conditions.progress(rollout, &old, &new);
        conditions.failure(rollout);
        let recheck_at = conditions.deadline(rollout, &new);
        new.conditions = Some(conditions.list);
        Self { write: write(rollout, &old, &new), recheck_at }
    }
}

fn counts(rollout: &Rollout<'_>, old: &DeploymentStatus) -> DeploymentStatus {
    let sum = |field: &str| rollout.sets().map(|set| set.count(field)).sum::<i32>();
    let asked: i32 = rollout.sets().map(|set| set.replicas).sum();
    let available = sum("availableReplicas");
    without_zeros(DeploymentStatus {
        observed_generation: Some(rollout.deployment.raw.generation()),
        replicas: Some(sum("replicas")),
        updated_replicas: rollout.new.as_ref().map(|set| set.count("replicas")),
        ready_replicas: Some(sum("readyReplicas")),
        available_replicas: Some(available),
        unavailable_replicas: Some(asked - available),
        terminating_replicas: Some(sum("terminatingReplicas")),
        collision_count: old.collision_count,
        conditions: None,
    })
}

fn without_zeros(mut status: DeploymentStatus) -> DeploymentStatus {
    for field in [
        &mut status.replicas,
        &mut status.updated_replicas,
        &mut status.ready_replicas,
        &mut status.available_replicas,
        &mut status.unavailable_replicas,
    ] {
        *field = field.filter(|number| *number > 0);
    }
    status
}

fn write(rollout: &Rollout<'_>, old: &DeploymentStatus, new: &DeploymentStatus) -> Option<Action> {
    let revision = rollout.revision.as_deref();
    let same_revision = revision.is_none() || rollout.deployment.raw.annotation(REVISION) == revision;
    if old == new && same_revision {
        return None;
    }
    let mut object = Object::clone(&rollout.deployment.raw);
    object.set(&["status"], serde_json::to_value(new).unwrap_or(Value::Null));
    if let Some(revision) = revision {
        object.set(&["metadata", "annotations", REVISION], Value::String(revision.to_owned()));
    }
    Some(Action::update_status(Resource::of::<Deployment>(), object))
}

struct Conditions {
    list: Vec<DeploymentCondition>,
    now: Timestamp,
}

impl Conditions {
    fn get(&self, kind: &str) -> Option<&DeploymentCondition> {
        self.list.iter().find(|condition| condition.type_.as_deref() == Some(kind))
    }

    fn remove(&mut self, kind: &str) {
        self.list.retain(|condition| condition.type_.as_deref() != Some(kind));
    }

    fn make(&self, kind: &str, status: &str, reason: &str, message: String) -> DeploymentCondition {
        DeploymentCondition {
            type_: Some(kind.to_owned()),
            status: Some(status.to_owned()),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_update_time: Some(Time(self.now)),
            last_transition_time: Some(Time(self.now)),
        }
    }

    /// Puts a condition in unless its status and reason stand already.
    fn set(&mut self, mut condition: DeploymentCondition) {
        let kind = condition.type_.clone().unwrap_or_default();
        if let Some(current) = self.get(&kind) {
            if current.status == condition.status && current.reason == condition.reason {
                return;
            }
            if current.status == condition.status {
                condition.last_transition_time.clone_from(&current.last_transition_time);
            }
        }
        self.remove(&kind);
        self.list.push(condition);
    }

    fn availability(&mut self, new: &DeploymentStatus, rollout: &Rollout<'_>) {
        let enough = new.available_replicas.unwrap_or(0) >= rollout.limits.least();
        let (status, reason, message) = if enough {
            ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        } else {
            ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
        };
        self.set(self.make("Available", status, reason, message.to_owned()));
    }

    /// Says that the Deployment was paused or resumed, so that the deadline starts anew.
    fn pause(&mut self, rollout: &Rollout<'_>) {
        let reason = self.get("Progressing").and_then(|condition| condition.reason.as_deref()).unwrap_or_default();
        if !has_deadline(rollout) || rollout.deployment.raw.is_deleting() || reason == "ProgressDeadlineExceeded" {
            return;
        }
        let (was, is) = (reason == "DeploymentPaused", rollout.is_paused());
        if is && !was {
            self.set(self.make("Progressing", "Unknown", "DeploymentPaused", "Deployment is paused".to_owned()));
        } else if was && !is {
            self.set(self.make("Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed".to_owned()));
        }
    }

    fn progress(&mut self, rollout: &Rollout<'_>, old: &DeploymentStatus, new: &DeploymentStatus) {
        if matches!(rollout.progress, Progress::Kept) {
            return;
        }
        if !has_deadline(rollout) {
            self.remove("Progressing");
            return;
        }
        match &rollout.progress {
            Progress::Created(name) => {
                let message = format!("Created new replica set {name:?}");
                self.set(self.make("Progressing", "True", "NewReplicaSetCreated", message));
            }
            Progress::Failed(message) => {
                self.set(self.make("Progressing", "False", "ReplicaSetCreateError", message.clone()));
            }
            _ => self.estimate(rollout, old, new),
        }
    }

    fn estimate(&mut self, rollout: &Rollout<'_>, old: &DeploymentStatus, new: &DeploymentStatus) {
        let subject = rollout.new.as_ref().map_or_else(
            || format!("Deployment {:?}", rollout.deployment.raw.name()),
            |set| format!("ReplicaSet {:?}", set.object.name()),
        );
        if self.get("Progressing").is_none() && rollout.new.is_some() {
            let message =
                format!("Found new replica set {:?}", rollout.new.as_ref().map_or("", |set| set.object.name()));
            self.set(self.make("Progressing", "True", "FoundNewReplicaSet", message));
        }
        let current = self.get("Progressing").cloned();
        let reason = current.as_ref().and_then(|condition| condition.reason.as_deref()).unwrap_or_default();
        if new.replicas == new.updated_replicas && reason == "NewReplicaSetAvailable" {
            return;
        }
        if is_complete(new, rollout.limits.desired, rollout.deployment.raw.generation()) {
            let message = format!("{subject} has successfully progressed.");
            self.set(self.make("Progressing", "True", "NewReplicaSetAvailable", message));
        } else if has_progressed(old, new) {
            let mut condition =
                self.make("Progressing", "True", "ReplicaSetUpdated", format!("{subject} is progressing."));
            if let Some(current) = current.filter(|current| current.status.as_deref() == Some("True")) {
                condition.last_transition_time = current.last_transition_time;
            }
            self.remove("Progressing");
            self.list.push(condition);
        } else if self.deadline_of(rollout).is_some_and(|at| at < self.now) {
            let message = format!("{subject} has timed out progressing.");
            self.set(self.make("Progressing", "False", "ProgressDeadlineExceeded", message));
        }
    }

    /// Passes on why a set can't make pods, the newest set first.
    fn failure(&mut self, rollout: &Rollout<'_>) {
        if matches!(rollout.progress, Progress::Kept) {
            return;
        }
        let sets = rollout.new.iter().chain(&rollout.old);
        let failed = sets.filter_map(Set::failure).next();
        match failed {
            Some(condition) => self.set(condition),
            None => self.remove(FAILURE),
        }
    }

    fn deadline_of(&self, rollout: &Rollout<'_>) -> Option<Timestamp> {
        let condition = self.get("Progressing")?;
        if matches!(condition.reason.as_deref(), Some("NewReplicaSetAvailable" | "ProgressDeadlineExceeded")) {
            return None;
        }
        let seconds = rollout.spec.progress_deadline_seconds.and_then(|seconds| u64::try_from(seconds).ok())?;
        Some(condition.last_update_time.as_ref()?.0 + Duration::from_secs(seconds))
    }

    /// When to look whether the rollout got stuck. A second later than the deadline: times are kept in whole seconds.
    fn deadline(&self, rollout: &Rollout<'_>, new: &DeploymentStatus) -> Option<Timestamp> {
        let complete = is_complete(new, rollout.limits.desired, rollout.deployment.raw.generation());
        if !has_deadline(rollout) || rollout.is_paused() || complete {
            return None;
        }
        self.deadline_of(rollout).map(|at| at + Duration::from_secs(1)).filter(|at| *at > self.now)
    }
}

fn has_deadline(rollout: &Rollout<'_>) -> bool {
    rollout.spec.progress_deadline_seconds.is_some_and(|seconds| seconds != i32::MAX)
}

fn has_progressed(old: &DeploymentStatus, new: &DeploymentStatus) -> bool {
    let count = |field: Option<i32>| field.unwrap_or(0);
    let outdated = |status: &DeploymentStatus| count(status.replicas) - count(status.updated_replicas);
    count(new.updated_replicas) > count(old.updated_replicas)
        || outdated(new) < outdated(old)
        || count(new.ready_replicas) > count(old.ready_replicas)
        || count(new.available_replicas) > count(old.available_replicas)
}

impl Set {
    fn failure(&self) -> Option<DeploymentCondition> {
        let conditions = self.seen.as_ref()?.status.as_ref()?.conditions.as_ref()?;
        let failed = conditions.iter().find(|condition| condition.type_.as_deref() == Some(FAILURE))?;
        Some(DeploymentCondition {
            type_: failed.type_.clone(),
            status: failed.status.clone(),
            reason: failed.reason.clone(),
            message: failed.message.clone(),
            last_transition_time: failed.last_transition_time.clone(),
            last_update_time: failed.last_transition_time.clone(),
        })
    }
}
