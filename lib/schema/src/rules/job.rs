//! Jobs: pods that come to an end.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{
    Job, JobSpec, PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyOnPodConditionsPattern,
    PodFailurePolicyRule, SuccessPolicy, SuccessPolicyRule,
};
use k8s_openapi::api::core::v1::{Affinity, Container, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::{Value, json};

use super::check::{Errors, Path};
use super::fields::{list, text};
use super::pod::defaults::default_text;
use super::pod::{defaults, same, validate, warnings};
use super::{job_status, parts, scale};
use crate::internal::shown;
use crate::kind::{Column, Rules, Selectable, Subresource, Write};
use crate::meta::{MetaRules, Repeats};
use crate::names;
use crate::selector::{self, Labels};
use crate::status::{FieldError, FieldErrorKind};
use crate::table;

const UID_LABELS: [&str; 2] = ["controller-uid", "batch.kubernetes.io/controller-uid"];
const NAME_LABELS: [&str; 2] = ["job-name", "batch.kubernetes.io/job-name"];
const INDEXED: &str = "Indexed";

/// The description of a column with the selector of a job.
pub(super) const SELECTOR: &str = "A label query over pods that should match the pod count. Normally, the system sets \
    this field for you. More info: \
    https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors";

impl Rules for Job {
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::Status];
    const META: MetaRules = MetaRules::COMMON.repeating(Repeats::Both);
    const COLUMNS: &'static [Column<Self>] = &[
        table::name(),
        table::text("Status", "Status of the job.", |job, _| state(job).into()),
        table::text(
            "Completions",
            "The number of pods which reached phase Succeeded. The value increases monotonically for a given spec. \
             However, it may decrease in reaction to scale down of elastic indexed jobs.",
            |job, _| completions(job).into(),
        ),
        table::text("Duration", "Time required to complete the job.", |job, now| took(job, now).into()),
        table::age(),
        table::wide("Containers", scale::CONTAINERS, |job, _| table::containers(containers(job))),
        table::wide("Images", scale::IMAGES, |job, _| table::images(containers(job))),
        table::wide("Selector", SELECTOR, |job, _| {
            table::selector_cell(job.spec.as_ref().and_then(|spec| spec.selector.as_ref()))
        }),
    ];
    const SELECTABLE: &'static [Selectable] = &[Selectable {
        field: "status.successful",
        value: |object, _| {
            let succeeded = object.at(&["status", "succeeded"]).and_then(Value::as_i64);
            succeeded.unwrap_or_default().to_string()
        },
    }];

    const UNKNOWN_FIELD: Option<fn(&str) -> String> =
        Some(|field| format!("field label \"{field}\" not supported for Job"));

    fn fill_defaults(&mut self) {
        let spec = self.spec.get_or_insert_default();
        if spec.completions.is_none() && spec.parallelism.is_none() {
            spec.completions = Some(1);
        }
        spec.parallelism.get_or_insert(1);
        spec.backoff_limit.get_or_insert(if spec.backoff_limit_per_index.is_some() { i32::MAX } else { 6 });
        spec.completion_mode.get_or_insert_with(|| "NonIndexed".to_owned());
        spec.suspend.get_or_insert(false);
        let replaced = if spec.pod_failure_policy.is_some() { "Failed" } else { "TerminatingOrFailed" };
        spec.pod_replacement_policy.get_or_insert_with(|| replaced.to_owned());
        spec.manual_selector.get_or_insert(false);
        template_defaults(spec);
        // Labels that are still to be made count too; preparing makes them.
        let made = spec.manual_selector == Some(true) || labels(&spec.template).contains_key(UID_LABELS[1]);
        if made {
            take_labels(self);
        }
    }

    fn prepare(&mut self, old: Option<&Self>, write: Write) {
        if old.is_none() {
            make_selector(self);
        }
        let old = old.map(|old| (&old.metadata, &old.spec, &old.status));
        parts::prepare_counted((&mut self.metadata, &mut self.spec, &mut self.status), old, write);
        // Upstream takes them when it reads the stored object, so a bad one is not complained of twice.
        if names::label_value(text(&self.metadata.name)).is_empty() {
            take_labels(self);
        }
    }

    fn validate(&self, old: Option<&Self>, write: Write) -> Vec<FieldError> {
        let mut errors = Errors::default();
        match (old, write) {
            (Some(old), Write::Status) => job_status::update(&mut errors, self, old),
            (None, _) => whole(&mut errors, self, None),
            (Some(old), _) => {
                whole(&mut errors, self, Some(old));
                update(&mut errors, self, old);
            }
        }
        errors.into_vec()
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let mut found = Vec::new();
        if old.is_none() {
            found.extend(warnings::workload_name(text(&self.metadata.name)));
        }
        let changed = old.is_none_or(|old| old.metadata.generation != self.metadata.generation);
        if let Some(spec) = self.spec.as_ref().filter(|_| changed) {
            found.extend(spec_warnings(&Path::root("spec"), spec));
        }
        found
    }
}

fn containers(job: &Job) -> &[Container] {
    scale::containers(job.spec.as_ref().map(|spec| &spec.template))
}

fn state(job: &Job) -> &'static str {
    let status = job.status.clone().unwrap_or_default();
    let is = |type_: &str| job_status::is_true(&status, type_);
    match () {
        () if is("Complete") => "Complete",
        () if is("Failed") => "Failed",
        () if job.metadata.deletion_timestamp.is_some() => "Terminating",
        () if is("Suspended") => "Suspended",
        () if is("FailureTarget") => "FailureTarget",
        () if is("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}

fn completions(job: &Job) -> String {
    let succeeded = job.status.as_ref().and_then(|status| status.succeeded).unwrap_or_default();
    let spec = job.spec.clone().unwrap_or_default();
    match (spec.completions, spec.parallelism.unwrap_or_default()) {
        (Some(completions), _) => format!("{succeeded}/{completions}"),
        (None, parallelism) if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        (None, _) => format!("{succeeded}/1"),
    }
}

fn took(job: &Job, now: Timestamp) -> String {
    let status = job.status.as_ref();
    let Some(start) = status.and_then(|status| status.start_time.as_ref()) else { return String::new() };
    let end = status.and_then(|status| status.completion_time.as_ref()).map_or(now, |end| end.0);
    table::duration(end.as_second() - start.0.as_second())
}

/// Fills in the pod template of a job, and how its failures are judged.
pub(super) fn template_defaults(spec: &mut JobSpec) {
    defaults::template(&mut spec.template);
    let rules = spec.pod_failure_policy.iter_mut().flat_map(|policy| &mut policy.rules);
    for pattern in rules.flat_map(|rule| rule.on_pod_conditions.iter_mut().flatten()) {
        default_text(&mut pattern.status, "True");
    }
}

fn labels(template: &PodTemplateSpec) -> BTreeMap<String, String> {
    template.metadata.as_ref().and_then(|metadata| metadata.labels.clone()).unwrap_or_default()
}

fn take_labels(job: &mut Job) {
    let Some(own) = job.spec.as_ref().map(|spec| labels(&spec.template)).filter(|own| !own.is_empty()) else { return };
    if job.metadata.labels.as_ref().is_none_or(BTreeMap::is_empty) {
        job.metadata.labels = Some(own);
    }
}

/// Gives a job's pods labels of their own, and the job a selector for them.
fn make_selector(job: &mut Job) {
    let (name, uid) = (text(&job.metadata.name).to_owned(), text(&job.metadata.uid).to_owned());
    let spec = job.spec.get_or_insert_default();
    if spec.manual_selector == Some(true) {
        return;
    }
    let own = spec.template.metadata.get_or_insert_default().labels.get_or_insert_default();
    for label in NAME_LABELS {
        own.entry(label.to_owned()).or_insert_with(|| name.clone());
    }
    for label in UID_LABELS {
        own.entry(label.to_owned()).or_insert_with(|| uid.clone());
    }
    let selector = spec.selector.get_or_insert_default().match_labels.get_or_insert_default();
    selector.entry(UID_LABELS[1].to_owned()).or_insert(uid);
}

/// Advice about the `spec` of a job at `at`.
pub(super) fn spec_warnings(at: &Path<'_>, spec: &JobSpec) -> Vec<String> {
    let mut found = Vec::new();
    let many = spec.completions.unwrap_or_default() > 100_000 && spec.parallelism.unwrap_or_default() > 10_000;
    if spec.completion_mode.as_deref() == Some(INDEXED) && many {
        found.push(format!(
            "{at}: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, \
             Kubernetes might not be able to track completedIndexes when a big number of indexes fail"
        ));
    }
    found.extend(warnings::template(&at.child("template"), &spec.template));
    found
}

fn whole(errors: &mut Errors, job: &Job, old: Option<&Job>) {
    let none = JobSpec::default();
    let spec = job.spec.as_ref().unwrap_or(&none);
    let old_template = old.and_then(|old| old.spec.as_ref()).map(|spec| &spec.template);
    made_selector(errors, job, spec, old_template);
    selected(errors, spec, old_template);
    if let Some(last) = spec.completions.filter(|count| *count > 0).map(|count| count - 1)
        && spec.completion_mode.as_deref() == Some(INDEXED)
    {
        let name = text(&job.metadata.name);
        let host = format!("{name}-{last}");
        if !names::dns1123_label(&host).is_empty() {
            let at = Path::root("metadata");
            let why = format!("will not able to create pod with invalid DNS label: {host}");
            errors.invalid(&at.child("name"), name, &why);
        }
    }
}

fn made_selector(errors: &mut Errors, job: &Job, spec: &JobSpec, old: Option<&PodTemplateSpec>) {
    let Some(selector) = spec.selector.as_ref().filter(|_| spec.manual_selector != Some(true)) else { return };
    let (name, uid) = (text(&job.metadata.name), text(&job.metadata.uid));
    if uid.is_empty() {
        errors.required(&Path::root("metadata").child("uid"), "");
    }
    let prefixed = old.is_none_or(|old| {
        let labels = labels(old);
        labels.contains_key(NAME_LABELS[1]) && labels.contains_key(UID_LABELS[1])
    });
    let mut expected = vec![(UID_LABELS[0], uid), (NAME_LABELS[0], name)];
    if prefixed {
        expected.extend([(UID_LABELS[1], uid), (NAME_LABELS[1], name)]);
    }
    let own = labels(&spec.template);
    let at = Path::root("spec");
    let at = at.child("template");
    let at = at.child("metadata");
    let at = at.child("labels");
    for (label, value) in &expected {
        let why = format!("must be '{value}'");
        match own.get(*label) {
            None => errors.required(&at.key(label), &why),
            Some(other) if other != value => errors.invalid(&at.key(label), json!(own), &why),
            Some(_) => {}
        }
    }
    let matches = Labels::of(selector).ok().is_none_or(|wanted| {
        wanted.matches(|key| expected.iter().find(|(label, _)| *label == key).map(|(_, value)| *value))
    });
    if !matches {
        let at = Path::root("spec");
        let written = scale::written_selector(selector);
        errors.invalid_written(&at.child("selector"), &written, "`selector` not auto-generated");
    }
}

/// Checks a `spec` with its selector.
fn selected(errors: &mut Errors, spec: &JobSpec, old: Option<&PodTemplateSpec>) {
    let at = Path::root("spec");
    self::spec(errors, &at, spec, old);
    let template_at = at.child("template");
    let Some(wanted) = &spec.selector else {
        errors.required(&at.child("selector"), "");
        scale::unmatched(errors, &template_at, &spec.template);
        return;
    };
    let found = errors.count();
    errors.extend(selector::validate(wanted, &at.child("selector").to_string()));
    if errors.count() == found
        && let Ok(labels) = Labels::of(wanted)
    {
        scale::selected_template(errors, &template_at, &spec.template, &labels);
    }
}

/// Checks the `spec` of a job or of what makes jobs.
pub(super) fn spec(errors: &mut Errors, at: &Path<'_>, spec: &JobSpec, old: Option<&PodTemplateSpec>) {
    let numbers = [
        ("parallelism", spec.parallelism.map(i64::from)),
        ("completions", spec.completions.map(i64::from)),
        ("activeDeadlineSeconds", spec.active_deadline_seconds),
        ("backoffLimit", spec.backoff_limit.map(i64::from)),
        ("ttlSecondsAfterFinished", spec.ttl_seconds_after_finished.map(i64::from)),
        ("backoffLimitPerIndex", spec.backoff_limit_per_index.map(i64::from)),
        ("maxFailedIndexes", spec.max_failed_indexes.map(i64::from)),
    ];
    for (field, number) in numbers {
        errors.non_negative(&at.child(field), number.unwrap_or_default());
    }
    if spec.max_failed_indexes.is_some() && spec.backoff_limit_per_index.is_none() {
        errors.required(&at.child("backoffLimitPerIndex"), "when maxFailedIndexes is specified");
    }
    if let Some(manager) = &spec.managed_by {
        managed_by(errors, &at.child("managedBy"), manager);
    }
    if let Some(mode) = &spec.completion_mode {
        errors.one_of(&at.child("completionMode"), mode, &["NonIndexed", INDEXED]);
    }
    match spec.completion_mode.as_deref() {
        Some(INDEXED) => indexed(errors, at, spec),
        None | Some("NonIndexed") => {
            let only =
                [("backoffLimitPerIndex", spec.backoff_limit_per_index), ("maxFailedIndexes", spec.max_failed_indexes)];
            for (field, number) in only.iter().filter_map(|(field, number)| Some((field, (*number)?))) {
                errors.invalid(&at.child(field), number, "requires indexed completion mode");
            }
        }
        Some(_) => {}
    }
    policies(errors, at, spec);
    validate::template(errors, &at.child("template"), &spec.template, old);
    restart(errors, at, spec);
}

fn managed_by(errors: &mut Errors, at: &Path<'_>, manager: &str) {
    errors.domain_prefixed_path(at, manager);
    if manager.len() > 63 {
        errors.too_long(at, 63);
    }
}

fn indexed(errors: &mut Errors, at: &Path<'_>, spec: &JobSpec) {
    let (parallelism_at, failed_at) = (at.child("parallelism"), at.child("maxFailedIndexes"));
    if spec.completions.is_none() {
        errors.required(&at.child("completions"), "when completion mode is Indexed");
    }
    if let Some(parallelism) = spec.parallelism.filter(|count| *count > 100_000) {
        let why = "must be less than or equal to 100000 when completion mode is Indexed";
        errors.invalid(&parallelism_at, parallelism, why);
    }
    let (completions, failed) = (spec.completions, spec.max_failed_indexes);
    if let (Some(completions), Some(failed)) = (completions, failed)
        && failed > completions
    {
        errors.invalid(&failed_at, failed, "must be less than or equal to completions");
    }
    if let Some(failed) = failed.filter(|failed| *failed > 100_000) {
        errors.invalid(&failed_at, failed, "must be less than or equal to 100000");
    }
    if completions.is_none_or(|completions| completions <= 100_000) || spec.backoff_limit_per_index.is_none() {
        return;
    }
    const WHY: &str = "must be less than or equal to 10000 when completions are above 100000 and used with backoff \
                       limit per index";
    if failed.is_none() {
        errors.required(&failed_at, "must be specified when completions is above 100000");
    }
    if let Some(parallelism) = spec.parallelism.filter(|count| *count > 10_000) {
        errors.invalid(&parallelism_at, parallelism, WHY);
    }
    if let Some(failed) = failed.filter(|failed| *failed > 10_000) {
        errors.invalid(&failed_at, failed, WHY);
    }
}

fn policies(errors: &mut Errors, at: &Path<'_>, spec: &JobSpec) {
    if let Some(policy) = &spec.pod_failure_policy {
        failure_policy(errors, &at.child("podFailurePolicy"), policy, spec);
    }
    if let Some(policy) = &spec.success_policy {
        let at = at.child("successPolicy");
        if spec.completion_mode.as_deref() == Some(INDEXED) {
            success_policy(errors, &at, policy, spec.completions.unwrap_or_default());
        } else {
            errors.invalid_written(
                &at,
                &shown("api.batch.v1.SuccessPolicy", policy),
                "requires indexed completion mode",
            );
        }
    }
    if let Some(policy) = &spec.pod_replacement_policy {
        let at = at.child("podReplacementPolicy");
        let supported: &[&str] =
            if spec.pod_failure_policy.is_some() { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
        errors.one_of(&at, policy, supported);
    }
}

fn restart(errors: &mut Errors, at: &Path<'_>, spec: &JobSpec) {
    let at = at.child("template");
    let at = at.child("spec");
    let at = at.child("restartPolicy");
    let policy = spec.template.spec.as_ref().map_or("", |spec| text(&spec.restart_policy));
    match policy {
        "" | "Always" => errors.required(&at, "valid values: \"OnFailure\", \"Never\""),
        "Never" => {}
        "OnFailure" if spec.pod_failure_policy.is_some() => {
            errors.invalid(&at, policy, "only \"Never\" is supported when podFailurePolicy is specified");
        }
        "OnFailure" => {}
        other => errors.not_supported(&at, other, &["OnFailure", "Never"]),
    }
}

fn failure_policy(errors: &mut Errors, at: &Path<'_>, policy: &PodFailurePolicy, spec: &JobSpec) {
    let at = at.child("rules");
    if policy.rules.len() > 20 {
        errors.too_many(&at, policy.rules.len(), 20);
    }
    for (index, rule) in policy.rules.iter().enumerate() {
        failure_rule(errors, &at.index(index), rule, spec);
    }
}

/// One of a closed set, whose values are listed when there is none.
fn chosen(errors: &mut Errors, at: &Path<'_>, value: &str, supported: &[&str]) {
    if value.is_empty() {
        let listed: Vec<String> = supported.iter().map(|one| format!("{one:?}")).collect();
        errors.required(at, &format!("valid values: [{}]", listed.join(" ")));
    } else {
        errors.one_of(at, value, supported);
    }
}

/// A mistake whose value is not shown.
pub(super) fn omitted(errors: &mut Errors, at: &Path<'_>, why: &str) {
    errors.extend([FieldError::new(FieldErrorKind::Invalid, at, why)]);
}

fn failure_rule(errors: &mut Errors, at: &Path<'_>, rule: &PodFailurePolicyRule, spec: &JobSpec) {
    let action_at = at.child("action");
    if rule.action == "FailIndex" {
        if spec.backoff_limit_per_index.is_none() {
            errors.invalid(&action_at, "FailIndex", "requires the backoffLimitPerIndex to be set");
        }
    } else {
        chosen(errors, &action_at, &rule.action, &["Count", "FailIndex", "FailJob", "Ignore"]);
    }
    if let Some(codes) = &rule.on_exit_codes {
        exit_codes(errors, &at.child("onExitCodes"), codes, spec);
    }
    let conditions = list(&rule.on_pod_conditions);
    conditions_met(errors, &at.child("onPodConditions"), conditions);
    match (&rule.on_exit_codes, conditions.is_empty()) {
        (Some(_), false) => omitted(errors, at, "specifying both OnExitCodes and OnPodConditions is not supported"),
        (None, true) => omitted(errors, at, "specifying one of OnExitCodes and OnPodConditions is required"),
        _ => {}
    }
}

fn conditions_met(errors: &mut Errors, at: &Path<'_>, patterns: &[PodFailurePolicyOnPodConditionsPattern]) {
    if patterns.len() > 20 {
        errors.too_many(at, patterns.len(), 20);
    }
    for (index, pattern) in patterns.iter().enumerate() {
        let at = at.index(index);
        errors.all(&at.child("type"), &pattern.type_, names::qualified(&pattern.type_));
        chosen(errors, &at.child("status"), text(&pattern.status), &["False", "True", "Unknown"]);
    }
}

fn exit_codes(errors: &mut Errors, at: &Path<'_>, codes: &PodFailurePolicyOnExitCodesRequirement, spec: &JobSpec) {
    chosen(errors, &at.child("operator"), &codes.operator, &["In", "NotIn"]);
    let pod = spec.template.spec.clone().unwrap_or_default();
    let init = pod.init_containers.unwrap_or_default();
    if let Some(name) = &codes.container_name
        && !pod.containers.iter().chain(&init).any(|one| one.name == *name)
    {
        let why = "must be one of the container or initContainer names in the pod template";
        errors.invalid(&at.child("containerName"), name.as_str(), why);
    }
    let at = at.child("values");
    if codes.values.is_empty() {
        errors.invalid(&at, Value::Null, "at least one value is required");
    } else if codes.values.len() > 255 {
        errors.too_many(&at, codes.values.len(), 255);
    }
    let mut seen = BTreeSet::new();
    for (index, code) in codes.values.iter().enumerate() {
        let at = at.index(index);
        if codes.operator == "In" && *code == 0 {
            errors.invalid(&at, 0, "must not be 0 for the In operator");
        }
        if !seen.insert(code) {
            errors.extend([FieldError::duplicate(&at, &json!(code))]);
        }
    }
    if !codes.values.is_sorted() {
        errors.invalid(&at, json!(codes.values), "must be ordered");
    }
}

fn success_policy(errors: &mut Errors, at: &Path<'_>, policy: &SuccessPolicy, completions: i32) {
    let at = at.child("rules");
    if policy.rules.is_empty() {
        errors.required(&at, "at least one rules must be specified when the successPolicy is specified");
    }
    if policy.rules.len() > 20 {
        errors.too_many(&at, policy.rules.len(), 20);
    }
    for (index, rule) in policy.rules.iter().enumerate() {
        success_rule(errors, &at.index(index), rule, completions);
    }
}

fn success_rule(errors: &mut Errors, at: &Path<'_>, rule: &SuccessPolicyRule, completions: i32) {
    if rule.succeeded_count.is_none() && rule.succeeded_indexes.is_none() {
        errors.required(at, "at least one of succeededCount or succeededIndexes must be specified");
    }
    let mut total = 0;
    if let Some(indexes) = &rule.succeeded_indexes {
        let at = at.child("succeededIndexes");
        if indexes.len() > 64 * 1024 {
            errors.too_long(&at, 64 * 1024);
        }
        match job_status::indexes(indexes, completions) {
            Ok(count) => total = count,
            Err(why) => errors.invalid(&at, indexes.as_str(), &format!("error parsing succeededIndexes: {why}")),
        }
    }
    if let Some(count) = rule.succeeded_count {
        let at = at.child("succeededCount");
        errors.non_negative(&at, count.into());
        if count > completions {
            let why = format!("must be less than or equal to {completions} (the number of specified completions)");
            errors.invalid(&at, count, &why);
        }
        if rule.succeeded_indexes.is_some() && count > total {
            let why = format!(
                "must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
            );
            errors.invalid(&at, count, &why);
        }
    }
}

fn update(errors: &mut Errors, job: &Job, old: &Job) {
    let none = JobSpec::default();
    let (new, old_spec) = (job.spec.as_ref().unwrap_or(&none), old.spec.as_ref().unwrap_or(&none));
    let at = Path::root("spec");
    selected(errors, new, Some(&old_spec.template));
    completions_change(errors, &at.child("completions"), new, old_spec);
    let selector = |spec: &JobSpec| spec.selector.clone();
    if !same(&selector(new), &selector(old_spec)) {
        let written = selector(new).as_ref().map_or_else(|| "null".to_owned(), scale::written_selector);
        errors.invalid_written(&at.child("selector"), &written, "field is immutable");
    }
    template_change(errors, &at, new, old);
    let fixed = |errors: &mut Errors, field: &str, changed: bool, written: String| {
        if changed {
            errors.invalid_written(&at.child(field), &written, "field is immutable");
        }
    };
    let mode = json!(new.completion_mode).to_string();
    fixed(errors, "completionMode", new.completion_mode != old_spec.completion_mode, mode);
    let policy = shown("api.batch.v1.PodFailurePolicy", &new.pod_failure_policy);
    fixed(errors, "podFailurePolicy", new.pod_failure_policy != old_spec.pod_failure_policy, policy);
    let limit = json!(new.backoff_limit_per_index).to_string();
    fixed(errors, "backoffLimitPerIndex", new.backoff_limit_per_index != old_spec.backoff_limit_per_index, limit);
    fixed(errors, "managedBy", new.managed_by != old_spec.managed_by, json!(new.managed_by).to_string());
    let policy = shown("api.batch.v1.SuccessPolicy", &new.success_policy);
    fixed(errors, "successPolicy", new.success_policy != old_spec.success_policy, policy);
}

fn completions_change(errors: &mut Errors, at: &Path<'_>, new: &JobSpec, old: &JobSpec) {
    if new.completions == old.completions {
        return;
    }
    if new.completion_mode.as_deref() != Some(INDEXED) {
        errors.invalid(at, json!(new.completions), "field is immutable");
    } else if new.completions.is_some() && new.completions != new.parallelism {
        let why = "can only be modified in tandem with spec.parallelism";
        errors.invalid(at, json!(new.completions), why);
    }
}

/// While a job is suspended and none of its pods run, where and how large they will be may still change.
fn template_change(errors: &mut Errors, at: &Path<'_>, new: &JobSpec, old: &Job) {
    let status = old.status.clone().unwrap_or_default();
    let before = old.spec.clone().unwrap_or_default();
    let suspended = before.suspend == Some(true);
    let idle = status.start_time.is_none() || job_status::is_true(&status, "Suspended");
    let open = suspended && idle && status.active.unwrap_or_default() == 0;
    let mut allowed = before.template;
    if open {
        take_placement(&mut allowed, &new.template);
        take_resources(&mut allowed, &new.template);
    }
    if !same(&new.template, &allowed) {
        let (field, written) = if open {
            ("template.spec", shown("api.core.v1.PodSpec", &new.template.spec))
        } else {
            ("template", shown("api.core.v1.PodTemplateSpec", &new.template))
        };
        errors.invalid_written(&at.child(field), &written, "field is immutable");
    }
}

fn take_placement(allowed: &mut PodTemplateSpec, new: &PodTemplateSpec) {
    let metadata = new.metadata.clone().unwrap_or_default();
    let own = allowed.metadata.get_or_insert_default();
    own.annotations = metadata.annotations;
    own.labels = metadata.labels;
    let (Some(own), Some(spec)) = (&mut allowed.spec, &new.spec) else { return };
    let node = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.clone());
    let mut affinity = own.affinity.take().unwrap_or_default();
    affinity.node_affinity = node;
    own.affinity = (affinity != Affinity::default() || spec.affinity.is_some()).then_some(affinity);
    own.node_selector.clone_from(&spec.node_selector);
    own.tolerations.clone_from(&spec.tolerations);
    own.scheduling_gates.clone_from(&spec.scheduling_gates);
}

fn take_resources(allowed: &mut PodTemplateSpec, new: &PodTemplateSpec) {
    let (Some(own), Some(spec)) = (&mut allowed.spec, &new.spec) else { return };
    let pairs = own.containers.iter_mut().zip(&spec.containers);
    let init = own.init_containers.iter_mut().flatten().zip(list(&spec.init_containers));
    for (own, new) in pairs.chain(init).filter(|(own, new)| own.name == new.name) {
        own.resources.clone_from(&new.resources);
    }
}

/// A selector that a job made from a template may not have.
pub(super) fn no_selector(errors: &mut Errors, at: &Path<'_>, spec: &JobSpec) {
    if let Some(selector) = &spec.selector {
        let written = scale::written_selector(selector as &LabelSelector);
        errors.invalid_written(&at.child("selector"), &written, "`selector` will be auto-generated");
    }
    if spec.manual_selector == Some(true) {
        let detail = "true: supported values: \"nil\", \"false\"";
        errors.extend([FieldError::new(FieldErrorKind::NotSupported, &at.child("manualSelector"), detail)]);
    }
}
