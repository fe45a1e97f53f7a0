//! How many pods of a Job run at once, and which are made or deleted for it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kprov_schema::Object;
use serde_json::{Value, json};

use super::indexes::{self, INDEX, Indexes};
use super::policy::{Verdict, verdict};
use super::{BURST, Round, backoff, let_go, status, template};
use crate::controllers::machinery::claim::Selects;
use crate::controllers::machinery::snapshot::Seen;
use crate::controllers::replication::victims;

const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
const IGNORED_FAILURES: &str = "batch.kubernetes.io/job-index-ignored-failure-count";

/// What a round did to the number of pods.
pub(super) struct Change {
    pub(super) active: usize,
    pub(super) removed: usize,
    pub(super) removed_ready: usize,
}

impl<'a> Round<'a> {
    /// Deletes what is too much, else makes what is missing.
    pub(super) fn manage(&mut self, succeeded: usize) -> Change {
        let active = self.active();
        let unchanged = Change { active: active.len(), removed: 0, removed_ready: 0 };
        if !self.acts || self.job.raw.is_deleting() {
            return unchanged;
        }
        if self.is_suspended() {
            return self.remove(&active, active.clone());
        }
        let wanted = self.wanted(succeeded, active.len());
        let surplus = self.surplus(&active, active.len().saturating_sub(wanted));
        if !surplus.is_empty() {
            return self.remove(&active, surplus);
        }
        let leaving = if self.replaces_failed_only() { self.terminating() } else { 0 };
        let missing = wanted.saturating_sub(leaving + active.len()).min(BURST);
        if missing == 0 {
            return unchanged;
        }
        Change { active: self.add(&active, missing), ..unchanged }
    }

    fn wanted(&self, succeeded: usize, active: usize) -> usize {
        let count = |number: i32| usize::try_from(number).unwrap_or(0);
        let parallelism = count(self.spec.parallelism.unwrap_or(1));
        match self.spec.completions {
            None if succeeded > 0 => active,
            None => parallelism,
            Some(completions) => count(completions).saturating_sub(succeeded).min(parallelism),
        }
    }

    /// Pods to delete: those of an index that another has too, then the ones that are missed least.
    fn surplus(&self, active: &[&'a Seen<Pod>], at_least: usize) -> Vec<&'a Seen<Pod>> {
        let (mut surplus, mut left) = (Vec::new(), active.to_vec());
        if self.is_indexed() {
            let mut by_index: BTreeMap<i32, Vec<&Seen<Pod>>> = BTreeMap::new();
            for pod in left.drain(..) {
                match self.index(&pod.raw) {
                    Some(index) => by_index.entry(index).or_default().push(pod),
                    None => surplus.push(pod),
                }
            }
            for pods in by_index.into_values() {
                let twice = least_missed(&pods, pods.len() - 1);
                left.extend(pods.iter().filter(|pod| !twice.iter().any(|one| one.raw.uid() == pod.raw.uid())));
                surplus.extend(twice);
            }
        }
        let more = at_least.saturating_sub(surplus.len());
        surplus.extend(least_missed(&left, more));
        surplus.truncate(BURST);
        surplus
    }

    /// Deletes pods that are not to be counted.
    fn remove(&mut self, active: &[&Seen<Pod>], pods: Vec<&Seen<Pod>>) -> Change {
        let owner = &self.job.raw;
        self.actions.extend(pods.iter().filter(|pod| super::is_tracked(&pod.raw)).map(|pod| let_go(&pod.raw)));
        self.actions.extend(pods.iter().map(|pod| template::delete(owner, pod)));
        let removed_ready = pods.iter().filter(|pod| status::is_ready(pod)).count();
        Change { active: active.len() - pods.len(), removed: pods.len(), removed_ready }
    }

    /// Makes pods unless failures ask for patience; how many are active then.
    fn add(&mut self, active: &[&'a Seen<Pod>], missing: usize) -> usize {
        if self.spec.backoff_limit_per_index.is_none()
            && let Some(due) = self.next_pod().filter(|due| *due > self.now)
        {
            self.recheck(due);
            // While a replacement waits, upstream counts none as active.
            return 0;
        }
        if !self.is_indexed() {
            let pods = (0..missing).map(|_| template::create(&self.job.raw, self.pod())).collect::<Vec<_>>();
            self.actions.extend(pods);
            return active.len() + missing;
        }
        self.add_indexes(active, missing)
    }

    fn add_indexes(&mut self, active: &[&'a Seen<Pod>], missing: usize) -> usize {
        let mut taken: BTreeSet<i32> = active.iter().filter_map(|pod| indexes::of(&pod.raw)).collect();
        if self.replaces_failed_only() {
            let leaving = self.pods.iter().filter(|pod| status::is_deleting(pod) && !status::is_finished(pod));
            taken.extend(leaving.filter_map(|pod| indexes::of(&pod.raw)));
        }
        let settled = [&self.succeeded_indexes, &self.failed_indexes];
        let all = self.spec.completions.unwrap_or(0);
        let pending = Indexes::first_outside(&settled, &taken, missing, all);
        let before = if self.spec.backoff_limit_per_index.is_some() { self.replaced() } else { HashMap::new() };
        let due = |index: &i32| before.get(index).and_then(|pod| due_after(pod)).filter(|due| *due > self.now);
        let (now, later): (Vec<i32>, Vec<i32>) = pending.into_iter().partition(|index| due(index).is_none());
        let next = later.iter().filter_map(due).min();
        let pods: Vec<_> = now.iter().map(|index| self.indexed_pod(*index, before.get(index).copied())).collect();
        self.actions.extend(pods.into_iter().map(|pod| template::create(&self.job.raw, pod)));
        if let Some(next) = next {
            self.recheck(next);
            if now.is_empty() {
                return 0;
            }
        }
        active.len() + now.len()
    }

    fn next_pod(&self) -> Option<Timestamp> {
        let ended = |holds: &dyn Fn(&Pod) -> bool| -> Vec<&Pod> {
            self.pods.iter().map(|pod| &***pod).filter(|pod| holds(pod)).collect()
        };
        let succeeded = ended(&|pod| status::phase(pod) == "Succeeded");
        let failed = ended(&|pod| self.has_failed(pod));
        backoff::after(succeeded.into_iter(), failed.into_iter())
    }

    /// The failed pods that are yet to be replaced, by index: the last of each.
    pub(super) fn replaced(&self) -> HashMap<i32, &'a Seen<Pod>> {
        let active: BTreeSet<i32> = self.active().iter().filter_map(|pod| indexes::of(&pod.raw)).collect();
        let mut last: HashMap<i32, &Seen<Pod>> = HashMap::new();
        for pod in self.pods.iter().copied().filter(|pod| self.has_failed(pod) && self.is_new(pod, None)) {
            let Some(index) = self.index(&pod.raw) else { continue };
            let settled = self.succeeded_indexes.contains(index) || self.failed_indexes.contains(index);
            let age = |pod: &Seen<Pod>| (failures(&pod.raw), backoff::ended_at(pod));
            if !settled && !active.contains(&index) && last.get(&index).is_none_or(|one| age(one) <= age(pod)) {
                last.insert(index, pod);
            }
        }
        last
    }

    /// The index that a failed pod ends.
    pub(super) fn failed_index(&self, pod: &Seen<Pod>) -> Option<i32> {
        let limit = self.spec.backoff_limit_per_index?;
        let index = self.index(&pod.raw).filter(|_| super::is_tracked(&pod.raw) && self.has_failed(pod))?;
        let ends = match verdict(self.spec.pod_failure_policy.as_ref(), pod) {
            Verdict::FailsIndex => true,
            Verdict::Ignored => false,
            Verdict::Counts | Verdict::FailsJob(_) => number(&pod.raw, FAILURES) >= limit,
        };
        ends.then_some(index)
    }

    fn pod(&self) -> Object {
        let mut pod = template::pod_of(&self.job.raw);
        let mut finalizers = pod.at(&["metadata", "finalizers"]).and_then(Value::as_array).cloned().unwrap_or_default();
        let ours = json!(Job::FINALIZER);
        if !finalizers.contains(&ours) {
            finalizers.push(ours);
        }
        pod.set(&["metadata", "finalizers"], json!(finalizers));
        pod
    }

    fn indexed_pod(&self, index: i32, before: Option<&Seen<Pod>>) -> Object {
        let mut pod = self.pod();
        let name = self.job.raw.name();
        let suffix = format!("-{index}-");
        let room = 58_usize.saturating_sub(suffix.len());
        pod.set(&["metadata", "generateName"], json!(format!("{}{suffix}", name.get(..room).unwrap_or(name))));
        pod.set(&["metadata", "annotations", INDEX], json!(index.to_string()));
        pod.set(&["metadata", "labels", INDEX], json!(index.to_string()));
        pod.set(&["spec", "hostname"], json!(format!("{name}-{index}")));
        for field in ["initContainers", "containers"] {
            let mut containers = pod.at(&["spec", field]).and_then(Value::as_array).cloned().unwrap_or_default();
            containers.iter_mut().for_each(tell_index);
            if !containers.is_empty() {
                pod.set(&["spec", field], json!(containers));
            }
        }
        if self.spec.backoff_limit_per_index.is_some() {
            self.tell_failures(&mut pod, before);
        }
        pod
    }

    /// Notes on a pod how often its index has failed before.
    fn tell_failures(&self, pod: &mut Object, before: Option<&Seen<Pod>>) {
        let (mut failed, mut ignored) = (0, 0);
        if let Some(before) = before {
            (failed, ignored) = (number(&before.raw, FAILURES), number(&before.raw, IGNORED_FAILURES));
            match verdict(self.spec.pod_failure_policy.as_ref(), before) {
                Verdict::Ignored => ignored += 1,
                _ => failed += 1,
            }
        }
        pod.set(&["metadata", "annotations", FAILURES], json!(failed.to_string()));
        if ignored > 0 {
            pod.set(&["metadata", "annotations", IGNORED_FAILURES], json!(ignored.to_string()));
        }
    }
}

fn least_missed<'a>(pods: &[&'a Seen<Pod>], count: usize) -> Vec<&'a Seen<Pod>> {
    victims(pods, &HashMap::new(), count)
}

fn number(pod: &Object, annotation: &str) -> i32 {
    pod.annotation(annotation).and_then(|text| text.parse().ok()).filter(|number| *number >= 0).unwrap_or(0)
}

fn failures(pod: &Object) -> i32 {
    number(pod, FAILURES).saturating_add(number(pod, IGNORED_FAILURES))
}

/// When the pod behind a failed one of its index may be made.
fn due_after(pod: &Seen<Pod>) -> Option<Timestamp> {
    let failures = u32::try_from(failures(&pod.raw)).unwrap_or(0).saturating_add(1);
    Some(backoff::due(failures, backoff::ended_at(pod)?))
}

fn tell_index(container: &mut Value) {
    let mut env = container["env"].as_array().cloned().unwrap_or_default();
    if env.iter().any(|one| one["name"] == "JOB_COMPLETION_INDEX") {
        return;
    }
    let path = format!("metadata.labels['{INDEX}']");
    env.push(json!({"name": "JOB_COMPLETION_INDEX", "valueFrom": {"fieldRef": {"fieldPath": path}}}));
    container["env"] = json!(env);
}
