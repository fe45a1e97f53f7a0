//! Deployments: a rollout from older ReplicaSets to the one of the present template.

use std::cmp::Reverse;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, ReplicaSet};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use kprov_schema::{Key, Object, Resource};
use serde_json::{Value, json};

use super::machinery::action::{Action, Note, Outcome};
use super::machinery::claim::{claim, claimants};
use super::machinery::meta::{controlled_by, controller_key, reference};
use super::machinery::rollout::{Limits, Share, proportional};
use super::machinery::snapshot::{Failure, Seen, Snapshot};
use super::machinery::{Config, Controller, Watch, status};
use crate::informer::{Change, Unreadable};

mod conditions;
mod revision;

use conditions::{Progress, Report};

const HASH: &str = "pod-template-hash";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MOST: &str = "deployment.kubernetes.io/max-replicas";

/// Rolls Deployments out.
pub struct Deployments;

impl Controller for Deployments {
    const NAME: &'static str = "deployment-controller";

    fn new(_: &Config, _: Timestamp) -> Self {
        Self
    }

    fn watches() -> Vec<Watch> {
        vec![
            Watch::own::<Deployment>(),
            Watch::new::<ReplicaSet>(claimants::<Deployment>),
            Watch::new::<Pod>(of_gone_pod),
        ]
    }

    fn reconcile(&self, key: &Key, world: &Snapshot, now: Timestamp) -> Result<Outcome, Unreadable> {
        let Some(deployment) = world.get::<Deployment>(key)? else { return Ok(Outcome::nothing()) };
        let spec = deployment.spec.clone();
        let claims = claim::<ReplicaSet, _>(&deployment, world)?;
        if !claims.actions.is_empty() {
            return Ok(claims.actions.into());
        }
        let mut rollout = Rollout::new(&deployment, spec, claims.owned);
        if let Some(failure) = world.failure() {
            return Ok(rollout.failed(failure, world, now)?.into());
        }
        rollout.advance(world)?;
        Ok(rollout.outcome(now))
    }
}

/// A recreation goes on when the last old pod is gone or finished.
fn of_gone_pod(change: &Change, world: &Snapshot) -> Vec<Key> {
    let ended = change
        .new
        .as_ref()
        .is_none_or(|pod| matches!(pod.raw.text(&["status", "phase"]), Some("Succeeded" | "Failed")));
    let Some(pod) = change.latest().filter(|_| ended) else { return Vec::new() };
    let Some(set) = controller_key::<ReplicaSet>(&pod.raw) else { return Vec::new() };
    let set = world.cache(&Resource::of::<ReplicaSet>()).get(&set);
    set.and_then(|set| controller_key::<Deployment>(&set.raw)).into_iter().collect()
}

/// A ReplicaSet as it is to become.
struct Set {
    object: Object,
    // None: it is to be created.
    seen: Option<Seen<ReplicaSet>>,
    replicas: i32,
    changed: bool,
}

impl Set {
    fn of(seen: Seen<ReplicaSet>) -> Self {
        let replicas = seen.spec.replicas.unwrap_or(1);
        Self { object: Object::clone(&seen.raw), seen: Some(seen), replicas, changed: false }
    }

    fn count(&self, field: &str) -> i32 {
        let number = self.seen.as_ref().and_then(|_| self.object.at(&["status", field])).and_then(Value::as_i64);
        number.and_then(|number| i32::try_from(number).ok()).unwrap_or(0)
    }

    fn available(&self) -> i32 {
        self.count("availableReplicas")
    }

    fn created(&self) -> (Option<Timestamp>, String) {
        let at = self.seen.as_ref().and_then(|seen| seen.metadata.creation_timestamp.as_ref()).map(|time| time.0);
        (at, self.object.name().to_owned())
    }

    fn number(&self, annotation: &str) -> Option<i32> {
        self.object.annotation(annotation)?.parse().ok()
    }

    fn annotate(&mut self, annotation: &str, value: String) {
        if self.object.annotation(annotation) != Some(&value) {
            self.object.set(&["metadata", "annotations", annotation], Value::String(value));
            self.changed = true;
        }
    }
}

/// One round of a Deployment.
struct Rollout<'a> {
    deployment: &'a Seen<Deployment>,
    spec: DeploymentSpec,
    limits: Limits,
    // Oldest first.
    old: Vec<Set>,
    new: Option<Set>,
    notes: Vec<Note>,
    deletions: Vec<Action>,
    revision: Option<String>,
    progress: Progress,
}

impl<'a> Rollout<'a> {
    fn new(deployment: &'a Seen<Deployment>, spec: DeploymentSpec, owned: Vec<Seen<ReplicaSet>>) -> Self {
        let mut old: Vec<Set> = owned.into_iter().map(Set::of).collect();
        old.sort_by_key(Set::created);
        let newest =
            old.iter().position(|set| set.seen.as_ref().is_some_and(|seen| has_template(seen, &spec.template)));
        let new = newest.map(|at| old.remove(at));
        Self {
            limits: Limits::of(deployment),
            deployment,
            spec,
            old,
            new,
            notes: Vec::new(),
            deletions: Vec::new(),
            revision: None,
            progress: Progress::Kept,
        }
    }

    fn sets(&self) -> impl Iterator<Item = &Set> {
        self.old.iter().chain(self.new.iter())
    }

    fn is_paused(&self) -> bool {
        self.spec.paused == Some(true)
    }

    /// Decides the next step of the rollout.
    fn advance(&mut self, world: &Snapshot) -> Result<(), Unreadable> {
        self.sync_revision();
        if self.deployment.raw.is_deleting() {
            return Ok(());
        }
        if self.is_paused() || self.was_resized() {
            self.resize();
            if self.is_paused() {
                self.clean_up();
            }
            return Ok(());
        }
        self.progress = Progress::Estimated;
        if self.limits.rolling {
            self.roll();
            Ok(())
        } else {
            self.recreate(world)
        }
    }

    /// Whether an active set was sized for another number of pods.
    fn was_resized(&self) -> bool {
        self.sets().any(|set| set.replicas > 0 && set.number(DESIRED).is_some_and(|sized| sized != self.limits.desired))
    }

    /// Follows a change of the number of pods outside of a rollout, or in proportion within one.
    fn resize(&mut self) {
        let active = self.sets().filter(|set| set.replicas > 0).count();
        if active <= 1 {
            let at = self.active_or_newest();
            if let Some(at) = at {
                self.scale(at, self.limits.desired);
            }
        } else if self.is_saturated() {
            (0..self.old.len()).for_each(|at| self.scale(Which::Old(at), 0));
        } else if self.limits.rolling {
            self.resize_in_proportion();
        }
    }

    fn active_or_newest(&self) -> Option<Which> {
        if let Some(at) = self.old.iter().position(|set| set.replicas > 0) {
            return Some(Which::Old(at));
        }
        if self.new.is_some() { Some(Which::New) } else { self.old.len().checked_sub(1).map(Which::Old) }
    }

    fn is_saturated(&self) -> bool {
        self.new.as_ref().is_some_and(|new| {
            let desired = self.limits.desired;
            new.replicas == desired && new.number(DESIRED) == Some(desired) && new.available() == desired
        })
    }

    fn resize_in_proportion(&mut self) {
        let mut which: Vec<Which> =
            (0..self.old.len()).map(Which::Old).chain(self.new.iter().map(|_| Which::New)).collect();
        which.retain(|at| self.at(*at).replicas > 0);
        let total: i32 = which.iter().map(|at| self.at(*at).replicas).sum();
        // Of equal sets the newer grows first and the older shrinks first.
        let growing = self.limits.most() > total;
        which.sort_by_key(|at| self.at(*at).created());
        if growing {
            which.reverse();
        }
        which.sort_by_key(|at| Reverse(self.at(*at).replicas));
        let shares: Vec<Share> = which
            .iter()
            .map(|at| Share { replicas: self.at(*at).replicas, most_before: self.at(*at).number(MOST) })
            .collect();
        let pods = self.deployment.status.as_ref().and_then(|status| status.replicas).unwrap_or(0);
        for (at, size) in which.iter().zip(proportional(self.limits, &shares, pods)) {
            self.resize_set(*at, size);
        }
    }

    fn at(&self, which: Which) -> &Set {
        match which {
            Which::Old(at) => &self.old[at],
            Which::New => self.new.as_ref().expect("named only when there is one"),
        }
    }

    /// Resizes a set if its size differs.
    fn scale(&mut self, which: Which, to: i32) {
        if self.at(which).replicas != to {
            self.resize_set(which, to);
        }
    }

    fn resize_set(&mut self, which: Which, to: i32) {
        let (desired, most) = (self.limits.desired, self.limits.most());
        let set = match which {
            Which::Old(at) => &mut self.old[at],
            Which::New => self.new.as_mut().expect("named only when there is one"),
        };
        set.annotate(DESIRED, desired.to_string());
        set.annotate(MOST, most.to_string());
        let from = std::mem::replace(&mut set.replicas, to);
        if from != to {
            set.changed = true;
            set.object.set(&["spec", "replicas"], json!(to));
            let way = if from < to { "up" } else { "down" };
            let message = format!("Scaled {way} replica set {} from {from} to {to}", set.object.name());
            self.notes.push(Note::normal(reference(&self.deployment.raw), "ScalingReplicaSet", message));
        }
    }

    fn roll(&mut self) {
        self.ensure_new();
        let total = self.sets().map(|set| set.replicas).sum();
        let current = self.at(Which::New).replicas;
        let next = if current > self.limits.desired { self.limits.desired } else { self.limits.newest(current, total) };
        // A set that is created this round already has its size.
        if self.at(Which::New).seen.is_none() {
            return;
        }
        if current != self.limits.desired && next != current {
            self.scale(Which::New, next);
            return;
        }
        if !self.shrink_old(total) && self.is_complete() {
            self.clean_up();
        }
    }

    /// Takes pods from old sets, those that do not serve first. Whether any were.
    fn shrink_old(&mut self, total: i32) -> bool {
        let (least, new) = (self.limits.least(), self.at(Which::New));
        let spare = total - least - (new.replicas - new.available());
        if spare <= 0 || self.old.iter().all(|set| set.replicas == 0) {
            return false;
        }
        let mut taken = 0;
        for at in 0..self.old.len() {
            let set = &self.old[at];
            let broken = (set.replicas - set.available()).clamp(0, (spare - taken).max(0));
            self.scale(Which::Old(at), set.replicas - broken);
            taken += broken;
        }
        let available: i32 = self.sets().map(Set::available).sum();
        let mut left = available - least;
        for at in 0..self.old.len() {
            let down = self.old[at].replicas.min(left.max(0));
            self.scale(Which::Old(at), self.old[at].replicas - down);
            left -= down;
            taken += down;
        }
        taken > 0
    }

    fn recreate(&mut self, world: &Snapshot) -> Result<(), Unreadable> {
        let old_active = self.old.iter().any(|set| set.replicas > 0);
        if old_active {
            (0..self.old.len()).for_each(|at| self.scale(Which::Old(at), 0));
            return Ok(());
        }
        if self.old_pods_run(world)? {
            return Ok(());
        }
        self.ensure_new();
        if self.at(Which::New).seen.is_some() {
            self.scale(Which::New, self.limits.desired);
        }
        if self.is_complete() {
            self.clean_up();
        }
        Ok(())
    }

    fn old_pods_run(&self, world: &Snapshot) -> Result<bool, Unreadable> {
        for set in &self.old {
            if set.count("replicas") > 0 {
                return Ok(true);
            }
            let pods = world.owned_by::<Pod>(&set.object.uid().0)?;
            if pods.iter().any(|pod| !status::is_finished(pod)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Makes the set of the present template if there is none.
    fn ensure_new(&mut self) {
        if self.new.is_some() {
            return;
        }
        let total = self.old.iter().map(|set| set.replicas).sum();
        let replicas = self.limits.newest(0, total);
        let mut set = self.new_set(replicas);
        self.annotate_new(&mut set);
        set.annotate(DESIRED, self.limits.desired.to_string());
        set.annotate(MOST, self.limits.most().to_string());
        if replicas > 0 {
            let message = format!("Scaled up replica set {} from 0 to {replicas}", set.object.name());
            self.notes.push(Note::normal(reference(&self.deployment.raw), "ScalingReplicaSet", message));
        }
        self.progress = Progress::Created(set.object.name().to_owned());
        self.revision = set.object.annotation(revision::REVISION).map(str::to_owned);
        self.new = Some(set);
    }

    fn new_set(&self, replicas: i32) -> Set {
        let collisions = self.deployment.status.as_ref().and_then(|status| status.collision_count);
        let hash = template_hash(&self.spec.template, collisions);
        let mut template = self.deployment.raw.at(&["spec", "template"]).cloned().unwrap_or_default();
        let mut labels = template.pointer("/metadata/labels").cloned().unwrap_or_else(|| json!({}));
        labels[HASH] = json!(hash);
        template["metadata"]["labels"] = labels.clone();
        let mut selector = self.deployment.raw.at(&["spec", "selector"]).cloned().unwrap_or_default();
        selector["matchLabels"][HASH] = json!(hash);
        let mut spec = json!({"replicas": replicas, "selector": selector, "template": template});
        if let Some(seconds) = self.spec.min_ready_seconds.filter(|seconds| *seconds > 0) {
            spec["minReadySeconds"] = json!(seconds);
        }
        let object = json!({
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": set_name(self.deployment.raw.name(), &hash),
                "namespace": self.deployment.raw.namespace(),
                "labels": labels,
                "ownerReferences": [controlled_by(&self.deployment.raw)],
            },
            "spec": spec,
        });
        Set { object: Object::try_from(object).expect("written as a map"), seen: None, replicas, changed: true }
    }

    /// Deletes the oldest retired sets beyond the history limit.
    fn clean_up(&mut self) {
        let Some(limit) = self.spec.revision_history_limit.and_then(|limit| usize::try_from(limit).ok()) else {
            return;
        };
        let mut retired: Vec<&Set> = self.old.iter().filter(|set| !set.object.is_deleting()).collect();
        let surplus = retired.len().saturating_sub(limit);
        retired.sort_by_key(|set| revision::of(&set.object));
        let empty = |set: &&&Set| {
            let observed = set.object.at(&["status", "observedGeneration"]).and_then(Value::as_i64).unwrap_or(0);
            set.replicas == 0 && set.count("replicas") == 0 && set.object.generation() <= observed
        };
        let sets = retired.iter().take(surplus).filter(empty);
        self.deletions =
            sets.map(|set| Action::delete(Resource::of::<ReplicaSet>(), set.object.key(), &set.object.uid())).collect();
    }

    fn is_complete(&self) -> bool {
        let status = self.deployment.status.clone().unwrap_or_default();
        conditions::is_complete(&status, self.limits.desired, self.deployment.raw.generation())
    }

    /// Reports that creating the new set failed; a name taken by another template is left for a new one.
    fn failed(mut self, failure: &Failure, world: &Snapshot, now: Timestamp) -> Result<Vec<Action>, Unreadable> {
        if failure.resource != Resource::of::<ReplicaSet>() || self.new.is_some() {
            return Ok(Vec::new());
        }
        if failure.status.already_exists() {
            let taken = world.get::<ReplicaSet>(&failure.key)?;
            let ours = taken.is_some_and(|set| {
                has_template(&set, &self.spec.template)
                    && controller_key::<Deployment>(&set.raw) == Some(self.deployment.raw.key())
            });
            return Ok(if ours { Vec::new() } else { vec![self.count_collision()] });
        }
        let message = format!("Failed to create new replica set {:?}: {}", failure.key.name, failure.status.message);
        self.notes.push(Note::warning(reference(&self.deployment.raw), "ReplicaSetCreateError", message.clone()));
        self.progress = Progress::Failed(message);
        Ok(self.outcome(now).actions)
    }

    fn count_collision(&self) -> Action {
        let before = self.deployment.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0);
        let mut object = Object::clone(&self.deployment.raw);
        object.set(&["status", "collisionCount"], json!(before + 1));
        Action::update_status(Resource::of::<Deployment>(), object)
    }

    /// The decisions as actions: sets first, then the status that tells of them.
    fn outcome(self, now: Timestamp) -> Outcome {
        let report = Report::of(&self, now);
        let mut outcome = Outcome { actions: Vec::new(), recheck_at: report.recheck_at };
        for set in self.old.into_iter().chain(self.new).filter(|set| set.changed) {
            let resource = Resource::of::<ReplicaSet>();
            outcome.actions.push(match set.seen {
                Some(_) => Action::update(resource, set.object),
                None => Action::create(resource, set.object),
            });
        }
        outcome.actions.extend(self.notes.into_iter().map(Action::Record));
        outcome.actions.extend(self.deletions);
        outcome.actions.extend(report.write);
        outcome
    }
}

/// One of the sets of a rollout.
#[derive(Clone, Copy)]
enum Which {
    Old(usize),
    New,
}

/// Whether a set was made of this template; the hash label is no part of it.
fn has_template(set: &ReplicaSet, template: &PodTemplateSpec) -> bool {
    let unlabelled = |template: &PodTemplateSpec| {
        let mut template = template.clone();
        if let Some(labels) = template.metadata.as_mut().and_then(|meta| meta.labels.as_mut()) {
            labels.remove(HASH);
        }
        template
    };
    set.spec.template.as_ref().is_some_and(|theirs| unlabelled(theirs) == unlabelled(template))
}

/// A short text for a template: FNV-1a of its JSON, in characters that make no words.
fn template_hash(template: &PodTemplateSpec, collisions: Option<i32>) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut text = serde_json::to_string(template).expect("a template serializes");
    text.extend(collisions.map(|count| count.to_string()));
    let hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash.to_string().bytes().map(|digit| ALPHABET[usize::from(digit) % ALPHABET.len()] as char).collect()
}

/// The Deployment's name and the hash, cut to what a name may have.
fn set_name(deployment: &str, hash: &str) -> String {
    let room = 253 - 1 - hash.len();
    format!("{}-{hash}", deployment.get(..room).unwrap_or(deployment))
}
