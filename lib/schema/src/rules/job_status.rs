//! What a controller may say of a job.

use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};
use serde_json::json;

use super::check::{Errors, Path};
use super::fields::{list, text};
use super::job::omitted;

/// Whether a condition of a job is true.
pub(super) fn is_true(status: &JobStatus, type_: &str) -> bool {
    list(&status.conditions).iter().any(|one| one.type_ == type_ && one.status == "True")
}

fn is_false(status: &JobStatus, type_: &str) -> bool {
    list(&status.conditions).iter().any(|one| one.type_ == type_ && one.status == "False")
}

fn is_finished(status: &JobStatus) -> bool {
    is_true(status, "Complete") || is_true(status, "Failed")
}

/// The number of indexes in a list such as `1,3-5`; errors say what is wrong with it.
pub(super) fn indexes(text: &str, completions: i32) -> Result<i32, String> {
    let (mut last, mut total) = (None, 0);
    for (first, end) in intervals(text, completions).into_iter().collect::<Result<Vec<_>, _>>()? {
        if let Some(last) = last.filter(|last| *last >= first) {
            return Err(format!("non-increasing order, previous: {last}, current: {first}"));
        }
        total += end - first + 1;
        last = Some(end);
    }
    Ok(total)
}

fn intervals(text: &str, completions: i32) -> Vec<Result<(i32, i32), String>> {
    text.split(',').filter(|_| !text.is_empty()).map(|part| interval(part, completions)).collect()
}

fn interval(text: &str, completions: i32) -> Result<(i32, i32), String> {
    let limits: Vec<&str> = text.split('-').collect();
    let index = |text: &str| match text.parse::<i32>() {
        Err(_) => Err(format!("cannot convert string to integer for index: {text:?}")),
        Ok(index) if index >= completions => Err(format!("too large index: {text:?}")),
        Ok(index) => Ok(index),
    };
    match limits[..] {
        [one] => index(one).map(|one| (one, one)),
        [first, end] => {
            let (first, end) = (index(first)?, index(end)?);
            if first >= end {
                return Err(format!("non-increasing order, previous: {first}, current: {end}"));
            }
            Ok((first, end))
        }
        _ => Err(format!(
            "the fragment {text:?} violates the requirement that an index interval can have at most two parts \
             separated by '-'"
        )),
    }
}

/// Both statuses and what is judged by them.
struct Change<'a> {
    new: &'a JobStatus,
    old: &'a JobStatus,
    spec: &'a JobSpec,
}

impl Change<'_> {
    fn became(&self, type_: &str) -> bool {
        is_true(self.new, type_) != is_true(self.old, type_)
    }

    fn finished(&self) -> bool {
        is_finished(self.new) != is_finished(self.old)
    }

    fn indexed(&self) -> bool {
        self.spec.completion_mode.as_deref() == Some("Indexed")
    }
}

/// Checks a new status against the old one.
pub(super) fn update(errors: &mut Errors, job: &Job, old: &Job) {
    let (none, no_spec) = (JobStatus::default(), JobSpec::default());
    let change = Change {
        new: job.status.as_ref().unwrap_or(&none),
        old: old.status.as_ref().unwrap_or(&none),
        spec: job.spec.as_ref().unwrap_or(&no_spec),
    };
    let at = Path::root("status");
    counts(errors, &at, change.new);
    conditions(errors, &at, &change);
    finished(errors, &at, &change);
    index_lists(errors, &at, &change);
    let (ready, active) = (change.new.ready, change.new.active.unwrap_or_default());
    let moved = change.new.ready != change.old.ready || change.new.active != change.old.active;
    if let Some(ready) = ready.filter(|ready| moved && *ready > active) {
        errors.invalid(&at.child("ready"), ready, "cannot set more ready pods than active");
    }
    criteria(errors, &at, &change);
    transitions(errors, &at, &change);
}

fn counts(errors: &mut Errors, at: &Path<'_>, status: &JobStatus) {
    let numbers = [
        ("active", status.active),
        ("succeeded", status.succeeded),
        ("failed", status.failed),
        ("ready", status.ready),
        ("terminating", status.terminating),
    ];
    for (field, number) in numbers {
        errors.non_negative(&at.child(field), number.unwrap_or_default().into());
    }
    let Some(uncounted) = &status.uncounted_terminated_pods else { return };
    let at = at.child("uncountedTerminatedPods");
    let mut seen = std::collections::BTreeSet::new();
    for (field, uids) in [("succeeded", &uncounted.succeeded), ("failed", &uncounted.failed)] {
        let at = at.child(field);
        for (index, uid) in list(uids).iter().enumerate() {
            if uid.is_empty() {
                errors.invalid(&at.index(index), "", "must not be empty");
            } else if !seen.insert(uid) {
                errors.duplicate(&at.index(index), uid);
            }
        }
    }
}

fn conditions(errors: &mut Errors, at: &Path<'_>, change: &Change<'_>) {
    let new = change.new;
    let complete = is_true(new, "Complete");
    let at_conditions = at.child("conditions");
    if (change.became("Complete") || change.became("Failed")) && complete && is_true(new, "Failed") {
        omitted(errors, &at_conditions, "cannot set Complete=True and Failed=true conditions");
    }
    if (change.became("Complete") || change.became("FailureTarget")) && complete && is_true(new, "FailureTarget") {
        omitted(errors, &at_conditions, "cannot set Complete=True and FailureTarget=true conditions");
    }
    let time_changed = new.completion_time != change.old.completion_time;
    let time_at = at.child("completionTime");
    if change.became("Complete") || time_changed {
        match &new.completion_time {
            Some(time) if !complete => {
                let why = "cannot set completionTime when there is no Complete=True condition";
                errors.invalid(&time_at, json!(time), why);
            }
            None if complete => errors.required(&time_at, "completionTime is required for Complete jobs"),
            _ => {}
        }
    }
    if (time_changed || new.start_time != change.old.start_time)
        && let (Some(start), Some(end)) = (&new.start_time, &new.completion_time)
        && end.0 < start.0
    {
        errors.invalid(&time_at, json!(end), "must be equal to or after `startTime`");
    }
    let failed_indexes = new.failed_indexes != change.old.failed_indexes;
    if (change.became("Failed") || failed_indexes) && is_true(new, "Failed") && !is_true(new, "FailureTarget") {
        let why = "cannot set Failed=True condition without the FailureTarget=true condition";
        omitted(errors, &at_conditions, why);
    }
    let judged = change.became("Complete") || change.became("SuccessCriteriaMet");
    if judged && complete && !is_true(new, "SuccessCriteriaMet") {
        let why = "cannot set Complete=True condition without the SuccessCriteriaMet=true condition";
        omitted(errors, &at_conditions, why);
    }
}

fn finished(errors: &mut Errors, at: &Path<'_>, change: &Change<'_>) {
    let (new, old) = (change.new, change.old);
    if !is_finished(new) {
        return;
    }
    let active = new.active.unwrap_or_default();
    if (change.finished() || new.active != old.active) && active > 0 {
        errors.invalid(&at.child("active"), active, "active>0 is invalid for finished job");
    }
    let nothing_to_do = change.spec.suspend == Some(true) && change.spec.completions == Some(0);
    let judged = (change.finished() || new.start_time != old.start_time) && !nothing_to_do;
    if judged && new.start_time.is_none() {
        errors.required(&at.child("startTime"), "startTime is required for finished job");
    }
    let uncounted = new.uncounted_terminated_pods.clone().unwrap_or_default();
    let some = !list(&uncounted.failed).is_empty() || !list(&uncounted.succeeded).is_empty();
    if (change.finished() || new.uncounted_terminated_pods != old.uncounted_terminated_pods) && some {
        let shown = format!("{{\"Succeeded\":{},\"Failed\":{}}}", json!(uncounted.succeeded), json!(uncounted.failed));
        errors.invalid_written(&at.child("uncountedTerminatedPods"), &shown, "must be empty for finished job");
    }
    if let Some(terminating) = new.terminating.filter(|count| *count > 0)
        && (change.finished() || new.terminating != old.terminating)
    {
        errors.invalid(&at.child("terminating"), terminating, "terminating>0 is invalid for finished job");
    }
}

fn index_lists(errors: &mut Errors, at: &Path<'_>, change: &Change<'_>) {
    let (new, old) = (change.new, change.old);
    let (completed, failed) = (text(&new.completed_indexes), new.failed_indexes.as_deref());
    let (completed_at, failed_at) = (at.child("completedIndexes"), at.child("failedIndexes"));
    let completed_changed = completed != text(&old.completed_indexes);
    let failed_changed = new.failed_indexes != old.failed_indexes;
    if let Some(completions) = change.spec.completions {
        if completed_changed && let Err(why) = indexes(completed, completions) {
            errors.invalid(&completed_at, completed, &format!("error parsing completedIndexes: {why}"));
        }
        if let Some(failed) = failed.filter(|_| failed_changed && change.spec.backoff_limit_per_index.is_some())
            && let Err(why) = indexes(failed, completions)
        {
            errors.invalid(&failed_at, failed, &format!("error parsing failedIndexes: {why}"));
        }
    }
    if completed_changed && !completed.is_empty() && !change.indexed() {
        let why = "cannot set non-empty completedIndexes when non-indexed completion mode";
        errors.invalid(&completed_at, completed, why);
    }
    if let Some(failed) = failed.filter(|_| failed_changed && change.spec.backoff_limit_per_index.is_none()) {
        let why = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
        errors.invalid(&failed_at, failed, why);
    }
    if (failed_changed || completed_changed)
        && let (Some(completions), Some(failed)) = (change.spec.completions, failed)
        && let Some(index) = overlap(completed, failed, completions)
    {
        let why = format!("failedIndexes and completedIndexes overlap at index: {index}");
        errors.invalid(&failed_at, failed, &why);
    }
}

fn overlap(completed: &str, failed: &str, completions: i32) -> Option<i32> {
    let good = |text: &str| intervals(text, completions).into_iter().filter_map(Result::ok).collect::<Vec<_>>();
    let (completed, failed) = (good(completed), good(failed));
    let pairs = completed.iter().flat_map(|one| failed.iter().map(move |other| (one, other)));
    pairs.filter(|(one, other)| one.0 <= other.1 && other.0 <= one.1).map(|(one, other)| one.0.max(other.0)).min()
}

fn criteria(errors: &mut Errors, at: &Path<'_>, change: &Change<'_>) {
    let new = change.new;
    let met = is_true(new, "SuccessCriteriaMet");
    let at = at.child("conditions");
    if met && is_true(new, "Failed") {
        omitted(errors, &at, "cannot set SuccessCriteriaMet=True and Failed=true conditions");
    }
    if met && is_true(new, "FailureTarget") {
        omitted(errors, &at, "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions");
    }
    if change.spec.success_policy.is_some() && !met && is_true(new, "Complete") {
        let why = "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True";
        omitted(errors, &at, why);
    }
}

fn transitions(errors: &mut Errors, at: &Path<'_>, change: &Change<'_>) {
    let (new, old) = (change.new, change.old);
    let conditions_at = at.child("conditions");
    for type_ in ["Failed", "Complete", "FailureTarget"] {
        if is_true(old, type_) && !is_true(new, type_) {
            omitted(errors, &conditions_at, &format!("cannot disable the terminal {type_}=True condition"));
        }
    }
    let count = |count: Option<i32>| count.unwrap_or_default();
    if count(new.failed) < count(old.failed) {
        errors.invalid(&at.child("failed"), count(new.failed), "cannot decrease the failed counter");
    }
    let elastic = change.indexed() && change.spec.completions == change.spec.parallelism;
    if !elastic && count(new.succeeded) < count(old.succeeded) {
        errors.invalid(&at.child("succeeded"), count(new.succeeded), "cannot decrease the succeeded counter");
    }
    if let (Some(after), Some(before)) = (&new.completion_time, &old.completion_time)
        && after != before
    {
        errors.invalid(&at.child("completionTime"), json!(after), "field is immutable");
    }
    let resuming = is_true(old, "Suspended") && is_false(new, "Suspended");
    let running = change.spec.suspend != Some(true);
    if old.start_time.is_some() && new.start_time != old.start_time && running && !resuming {
        let why = "field is immutable for unsuspended job once set";
        errors.invalid(&at.child("startTime"), json!(new.start_time), why);
    }
    let (met, was_met) = (is_true(new, "SuccessCriteriaMet"), is_true(old, "SuccessCriteriaMet"));
    if was_met && !met {
        omitted(errors, &conditions_at, "cannot disable the SuccessCriteriaMet=True condition");
    }
    if is_true(old, "Complete") && !was_met && met {
        let why = "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions";
        omitted(errors, &conditions_at, why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_indexes() {
        assert_eq!(indexes("1,3-5", 10), Ok(4));
        assert_eq!(indexes("", 10), Ok(0));
        assert_eq!(indexes("5-3", 10), Err("non-increasing order, previous: 5, current: 3".to_owned()));
        assert_eq!(indexes("10", 10), Err("too large index: \"10\"".to_owned()));
        assert_eq!(overlap("0-2,5", "3-6", 10), Some(5));
    }
}
