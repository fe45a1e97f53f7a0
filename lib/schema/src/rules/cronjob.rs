//! Cron jobs: jobs that come again and again.

use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec};
use k8s_openapi::api::core::v1::Container;

use super::check::{Errors, Path};
use super::fields::{list, text};
use super::pod::defaults::default_text;
use super::pod::warnings;
use super::{job, parts, scale};
use crate::cron;
use crate::kind::{Column, Rules, Subresource, Write};
use crate::status::FieldError;
use crate::table;

impl Rules for CronJob {
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::Status];
    const COLUMNS: &'static [Column<Self>] = &[
        table::name(),
        table::text("Schedule", "The schedule in Cron format, see https://en.wikipedia.org/wiki/Cron.", |it, _| {
            it.spec.schedule.clone().into()
        }),
        table::text(
            "Timezone",
            "The time zone name for the given schedule, see \
             https://en.wikipedia.org/wiki/List_of_tz_database_time_zones. If not specified, this will default to the \
             time zone of the kube-controller-manager process. The set of valid time zone names and the time zone \
             offset is loaded from the system-wide time zone database by the API server during CronJob validation and \
             the controller manager during execution. If no system-wide time zone database can be found a bundled \
             version of the database is used instead. If the time zone name becomes invalid during the lifetime of a \
             CronJob or due to a change in host configuration, the controller will stop creating new new Jobs and will \
             create a system event with the reason UnknownTimeZone. More information can be found in \
             https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#time-zones",
            |it, _| it.spec.time_zone.as_deref().unwrap_or(table::NONE).into(),
        ),
        Column {
            name: "Suspend",
            kind: "boolean",
            format: "",
            priority: 0,
            description: "This flag tells the controller to suspend subsequent executions, it does not apply to \
                          already started executions.  Defaults to false.",
            cell: |it, _| match it.spec.suspend {
                None => "<unset>".into(),
                Some(true) => "True".into(),
                Some(false) => "False".into(),
            },
        },
        table::integer("Active", "A list of pointers to currently running jobs.", |it, _| {
            it.status.as_ref().map_or(0, |status| list(&status.active).len()).into()
        }),
        table::text(
            "Last Schedule",
            "Information when was the last time the job was successfully scheduled.",
            |it, now| {
                let last = it.status.as_ref().and_then(|status| status.last_schedule_time.as_ref());
                last.map_or_else(|| table::NONE.into(), |last| table::since(Some(last), now).into())
            },
        ),
        table::age(),
        table::wide("Containers", scale::CONTAINERS, |it, _| table::containers(containers(it))),
        table::wide("Images", scale::IMAGES, |it, _| table::images(containers(it))),
        table::wide("Selector", job::SELECTOR, |it, _| {
            let spec = it.spec.job_template.spec.as_ref();
            table::selector_cell(spec.and_then(|spec| spec.selector.as_ref()))
        }),
    ];

    fn fill_defaults(&mut self) {
        let spec = &mut self.spec;
        default_text(&mut spec.concurrency_policy, "Allow");
        spec.suspend.get_or_insert(false);
        spec.successful_jobs_history_limit.get_or_insert(3);
        spec.failed_jobs_history_limit.get_or_insert(1);
        job::template_defaults(spec.job_template.spec.get_or_insert_default());
    }

    fn prepare(&mut self, old: Option<&Self>, write: Write) {
        let old = old.map(|old| (&old.metadata, &old.spec, &old.status));
        parts::prepare_counted((&mut self.metadata, &mut self.spec, &mut self.status), old, write);
    }

    fn validate(&self, old: Option<&Self>, write: Write) -> Vec<FieldError> {
        if old.is_some() && write == Write::Status {
            return Vec::new();
        }
        let mut errors = Errors::default();
        spec(&mut errors, &self.spec, old.map(|old| &old.spec));
        let name = text(&self.metadata.name);
        if old.is_none() && name.len() > 52 {
            let at = Path::root("metadata");
            errors.invalid(&at.child("name"), name, "must be no more than 52 characters");
        }
        errors.into_vec()
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let mut found = Vec::new();
        if old.is_none() {
            found.extend(warnings::workload_name(text(&self.metadata.name)));
        }
        let changed = old.is_none_or(|old| old.metadata.generation != self.metadata.generation);
        if let Some(spec) = self.spec.job_template.spec.as_ref().filter(|_| changed) {
            let at = Path::root("spec");
            let at = at.child("jobTemplate");
            found.extend(job::spec_warnings(&at.child("spec"), spec));
        }
        if old.is_some() && self.spec.schedule.contains("TZ") {
            // Upstream names the field so.
            let advice = "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see \
                          https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details";
            found.push(advice.to_owned());
        }
        found
    }
}

fn containers(it: &CronJob) -> &[Container] {
    scale::containers(it.spec.job_template.spec.as_ref().map(|spec| &spec.template))
}

fn spec(errors: &mut Errors, spec: &CronJobSpec, old: Option<&CronJobSpec>) {
    let at = Path::root("spec");
    if errors.filled(&at.child("schedule"), &spec.schedule) {
        schedule(errors, &at.child("schedule"), spec, old);
    }
    errors.non_negative(&at.child("startingDeadlineSeconds"), spec.starting_deadline_seconds.unwrap_or_default());
    if old.is_none_or(|old| old.time_zone != spec.time_zone)
        && let Some(zone) = &spec.time_zone
    {
        time_zone(errors, &at.child("timeZone"), zone);
    }
    let policy = text(&spec.concurrency_policy);
    errors.filled_one_of(&at.child("concurrencyPolicy"), policy, &["Allow", "Forbid", "Replace"]);
    let template = spec.job_template.spec.clone().unwrap_or_default();
    let before = old.and_then(|old| old.job_template.spec.as_ref()).map(|spec| &spec.template);
    let template_at = at.child("jobTemplate");
    let template_at = template_at.child("spec");
    job::spec(errors, &template_at, &template, before);
    job::no_selector(errors, &template_at, &template);
    let limits = [
        ("successfulJobsHistoryLimit", spec.successful_jobs_history_limit),
        ("failedJobsHistoryLimit", spec.failed_jobs_history_limit),
    ];
    for (field, limit) in limits {
        errors.non_negative(&at.child(field), limit.unwrap_or_default().into());
    }
}

fn schedule(errors: &mut Errors, at: &Path<'_>, spec: &CronJobSpec, old: Option<&CronJobSpec>) {
    let text = spec.schedule.as_str();
    if let Err(why) = cron::parse(text) {
        errors.invalid(at, text, &why);
    }
    if !text.contains("TZ") {
        return;
    }
    let tolerated = old.is_some_and(|old| old.schedule.contains("TZ"));
    if !tolerated {
        errors.invalid(at, text, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
    } else if spec.time_zone.is_some() {
        errors.invalid(at, text, "cannot use both timeZone field and TZ or CRON_TZ in schedule");
    }
}

fn time_zone(errors: &mut Errors, at: &Path<'_>, zone: &str) {
    if zone.is_empty() {
        errors.invalid(at, zone, "timeZone must be nil or non-empty string");
    } else if zone.eq_ignore_ascii_case("local") {
        let why = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
        errors.invalid(at, zone, why);
    } else if !cron::is_time_zone(zone) {
        errors.invalid(at, zone, &format!("unknown time zone {zone}"));
    }
}
