//! Daemon sets: a pod on every node.

use k8s_openapi::api::apps::v1::{
    DaemonSet, DaemonSetSpec, DaemonSetStatus, DaemonSetUpdateStrategy, RollingUpdateDaemonSet,
};
use k8s_openapi::api::core::v1::Container;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::json;

use super::check::{Errors, Path};
use super::pod::defaults::default_text;
use super::pod::{defaults, same, validate, warnings};
use super::{parts, scale};
use crate::internal::shown;
use crate::kind::{Column, Rules, Subresource, Write};
use crate::object::Object;
use crate::selector::{self, Labels};
use crate::status::{FieldError, FieldErrorKind};
use crate::table;

/// Counts the changes of a template; once a field, it lives on as an annotation.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

impl Rules for DaemonSet {
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::Status];
    const COLUMNS: &'static [Column<Self>] = &[
        table::name(),
        table::integer(
            "Desired",
            "The total number of nodes that should be running the daemon pod (including nodes correctly running the \
             daemon pod). More info: https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/",
            |it, _| it.status.as_ref().map_or(0, |status| status.desired_number_scheduled).into(),
        ),
        table::integer(
            "Current",
            "The number of nodes that are running at least 1 daemon pod and are supposed to run the daemon pod. More \
             info: https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/",
            |it, _| it.status.as_ref().map_or(0, |status| status.current_number_scheduled).into(),
        ),
        table::integer(
            "Ready",
            "numberReady is the number of nodes that should be running the daemon pod and have one or more of the \
             daemon pod running with a Ready Condition.",
            |it, _| it.status.as_ref().map_or(0, |status| status.number_ready).into(),
        ),
        table::integer("Up-to-date", "The total number of nodes that are running updated daemon pod", |it, _| {
            it.status.as_ref().and_then(|status| status.updated_number_scheduled).unwrap_or_default().into()
        }),
        table::integer(
            "Available",
            "The number of nodes that should be running the daemon pod and have one or more of the daemon pod running \
             and available (ready for at least spec.minReadySeconds)",
            |it, _| it.status.as_ref().and_then(|status| status.number_available).unwrap_or_default().into(),
        ),
        table::text(
            "Node Selector",
            "NodeSelector is a selector which must be true for the pod to fit on a node. Selector which must match a \
             node's labels for the pod to be scheduled on that node. More info: \
             https://kubernetes.io/docs/concepts/configuration/assign-pod-node/",
            |it, _| {
                let spec = it.spec.template.spec.as_ref();
                table::labels(spec.and_then(|spec| spec.node_selector.as_ref()))
            },
        ),
        table::age(),
        table::wide("Containers", scale::CONTAINERS, |it, _| table::containers(containers(it))),
        table::wide("Images", scale::IMAGES, |it, _| table::images(containers(it))),
        table::wide(
            "Selector",
            "A label query over pods that are managed by the daemon set. Must match in order to be controlled. It must \
             match the pod template's labels. More info: \
             https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors",
            |it, _| table::selector_cell(Some(&it.spec.selector)),
        ),
    ];

    fn note_empty(&mut self, object: &Object) {
        scale::note_empty_selector(&mut self.spec.selector, object);
    }

    fn fill_defaults(&mut self) {
        let spec = &mut self.spec;
        let strategy = spec.update_strategy.get_or_insert_default();
        default_text(&mut strategy.type_, "RollingUpdate");
        if strategy.type_.as_deref() == Some("RollingUpdate") {
            let rolling = strategy.rolling_update.get_or_insert_default();
            rolling.max_unavailable.get_or_insert(IntOrString::Int(1));
            rolling.max_surge.get_or_insert(IntOrString::Int(0));
        }
        spec.revision_history_limit.get_or_insert(10);
        defaults::template(&mut spec.template);
    }

    fn fill_untyped(object: &mut Object) {
        // Whoever leaves the count out writes a 0, which the server then replaces.
        if object.annotation(TEMPLATE_GENERATION).is_none_or(|text| text.parse::<i64>().is_err()) {
            object.set(&["metadata", "annotations", TEMPLATE_GENERATION], "0".into());
        }
    }

    fn prepare(&mut self, old: Option<&Self>, write: Write) {
        let templates = match (old, write) {
            (None, _) => template_generation(self).max(1),
            (Some(old), Write::Status) => template_generation(old),
            (Some(old), _) => template_generation(old) + i64::from(!same(&self.spec.template, &old.spec.template)),
        };
        set_template_generation(self, templates);
        let old = old.map(|old| (&old.metadata, &old.spec, &old.status));
        parts::prepare_counted((&mut self.metadata, &mut self.spec, &mut self.status), old, write);
    }

    fn validate(&self, old: Option<&Self>, write: Write) -> Vec<FieldError> {
        let mut errors = Errors::default();
        match (old, write) {
            (Some(old), Write::Status) => status(&mut errors, self, old),
            (old, _) => spec(&mut errors, &self.spec, old.map(|old| &old.spec)),
        }
        errors.into_vec()
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        if old.is_some_and(|old| template_generation(old) == template_generation(self)) {
            return Vec::new();
        }
        warnings::template(&Path::root("spec").child("template"), &self.spec.template)
    }
}

fn containers(it: &DaemonSet) -> &[Container] {
    scale::containers(Some(&it.spec.template))
}

fn template_generation(set: &DaemonSet) -> i64 {
    let annotation = set.metadata.annotations.as_ref().and_then(|all| all.get(TEMPLATE_GENERATION));
    annotation.and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn set_template_generation(set: &mut DaemonSet, generation: i64) {
    let annotations = set.metadata.annotations.get_or_insert_default();
    annotations.insert(TEMPLATE_GENERATION.to_owned(), generation.to_string());
}

fn spec(errors: &mut Errors, spec: &DaemonSetSpec, old: Option<&DaemonSetSpec>) {
    let at = Path::root("spec");
    if let Some(old) = old {
        scale::same_selector(errors, &at.child("selector"), &spec.selector, &old.selector);
    }
    let template_at = at.child("template");
    selector(errors, &at.child("selector"), &template_at, spec);
    validate::template(errors, &template_at, &spec.template, old.map(|old| &old.template));
    scale::runs_for_ever(errors, &template_at, &spec.template, "DaemonSet");
    errors.non_negative(&at.child("minReadySeconds"), spec.min_ready_seconds.unwrap_or_default().into());
    strategy(errors, &at.child("updateStrategy"), spec.update_strategy.as_ref());
    errors.non_negative(&at.child("revisionHistoryLimit"), spec.revision_history_limit.unwrap_or_default().into());
}

fn selector(errors: &mut Errors, at: &Path<'_>, template_at: &Path<'_>, spec: &DaemonSetSpec) {
    let wanted = &spec.selector;
    if scale::is_absent(wanted) {
        scale::unmatched(errors, template_at, &spec.template);
        return;
    }
    let found = errors.count();
    errors.extend(selector::validate(wanted, &at.to_string()));
    if errors.count() == found
        && let Ok(labels) = Labels::of(wanted)
    {
        scale::selected_template(errors, template_at, &spec.template, &labels);
    }
    if *wanted == (LabelSelector { match_labels: Some(Default::default()), match_expressions: None }) {
        errors.invalid_written(at, "{}", "empty selector is invalid for daemonset");
    }
}

fn strategy(errors: &mut Errors, at: &Path<'_>, strategy: Option<&DaemonSetUpdateStrategy>) {
    let none = DaemonSetUpdateStrategy::default();
    let strategy = strategy.unwrap_or(&none);
    let rolling = strategy.rolling_update.as_ref();
    match (strategy.type_.as_deref().unwrap_or_default(), rolling) {
        ("OnDelete", _) => {}
        ("RollingUpdate", None) => errors.required(&at.child("rollingUpdate"), ""),
        ("RollingUpdate", Some(rolling)) => rolling_update(errors, &at.child("rollingUpdate"), rolling),
        _ => {
            let shown = shown("api.apps.v1.DaemonSetUpdateStrategy", strategy);
            let detail = format!("{shown}: supported values: \"RollingUpdate\", \"OnDelete\"");
            errors.extend([FieldError::new(FieldErrorKind::NotSupported, at, detail)]);
        }
    }
}

fn zero_or(value: Option<&IntOrString>) -> IntOrString {
    value.cloned().unwrap_or(IntOrString::Int(0))
}

fn rolling_update(errors: &mut Errors, at: &Path<'_>, rolling: &RollingUpdateDaemonSet) {
    let (unavailable, surge) = (zero_or(rolling.max_unavailable.as_ref()), zero_or(rolling.max_surge.as_ref()));
    let (unavailable_at, surge_at) = (at.child("maxUnavailable"), at.child("maxSurge"));
    scale::count_or_percent(errors, &unavailable_at, &unavailable);
    scale::count_or_percent(errors, &surge_at, &surge);
    scale::at_most_all(errors, &unavailable_at, &unavailable);
    scale::at_most_all(errors, &surge_at, &surge);
    match (scale::number(&unavailable) != 0, scale::number(&surge) != 0) {
        (true, true) => errors.invalid(&surge_at, json!(surge), "may not be set when maxUnavailable is non-zero"),
        (false, false) => errors.required(&unavailable_at, "cannot be 0 when maxSurge is 0"),
        _ => {}
    }
}

fn status(errors: &mut Errors, new: &DaemonSet, old: &DaemonSet) {
    let at = Path::root("status");
    let none = DaemonSetStatus::default();
    let (status, before) = (new.status.as_ref().unwrap_or(&none), old.status.as_ref().unwrap_or(&none));
    let number = |count: Option<i32>| i64::from(count.unwrap_or_default());
    let numbers = [
        ("currentNumberScheduled", status.current_number_scheduled.into()),
        ("numberMisscheduled", status.number_misscheduled.into()),
        ("desiredNumberScheduled", status.desired_number_scheduled.into()),
        ("numberReady", status.number_ready.into()),
        ("observedGeneration", status.observed_generation.unwrap_or_default()),
        ("updatedNumberScheduled", number(status.updated_number_scheduled)),
        ("numberAvailable", number(status.number_available)),
        ("numberUnavailable", number(status.number_unavailable)),
        ("collisionCount", number(status.collision_count)),
    ];
    scale::non_negatives(errors, &at, &numbers);
    if number(status.collision_count) < number(before.collision_count) {
        errors.invalid(&at.child("collisionCount"), number(status.collision_count), "cannot be decremented");
    }
}
