//! What is wrong with an event: little for the older form, more for the newer one.

use k8s_openapi::api::core::v1::Event;
use serde_json::json;

use crate::internal::shown;
use crate::meta::{MetaRules, all_invalid};
use crate::names;
use crate::object::Object;
use crate::rules::fields::{number, text};
use crate::status::{FieldError, FieldErrorKind};

/// The longest reporting instance, action and reason.
const SHORT_TEXT: usize = 128;
/// The longest message.
const LONG_TEXT: usize = 1024;

/// What both forms ask of an event; `controller` is what they call the one who reports.
pub(super) fn common(event: &Event, controller: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let namespace = text(&event.metadata.namespace);
    let about = text(&event.involved_object.namespace);
    let fits = match (about.is_empty(), event.event_time.is_some()) {
        (true, false) => ["", "default"].contains(&namespace),
        (true, true) => ["default", "kube-system"].contains(&namespace),
        (false, false) => namespace == about,
        (false, true) => true,
    };
    if !fits {
        errors.push(FieldError::invalid_text("involvedObject.namespace", about, "does not match event.namespace"));
    }
    if event.event_time.is_some() {
        errors.extend(timed(event, controller));
    }
    errors.extend(all_invalid("namespace", namespace, names::dns1123_subdomain(namespace)));
    errors
}

/// What is asked of an event with an event time.
fn timed(event: &Event, controller: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let reporter = text(&event.reporting_component);
    if reporter.is_empty() {
        errors.push(FieldError::required(controller, ""));
    }
    errors.extend(all_invalid(controller, reporter, names::qualified(reporter)));
    let texts =
        [("reportingInstance", &event.reporting_instance), ("action", &event.action), ("reason", &event.reason)];
    for (field, value) in texts {
        if text(value).is_empty() {
            errors.push(FieldError::required(field, ""));
        }
        errors.extend(at_most(field, value, SHORT_TEXT));
    }
    errors.extend(at_most("message", &event.message, LONG_TEXT));
    errors
}

fn at_most(field: &str, value: &Option<String>, max: usize) -> Option<FieldError> {
    let why = format!("can have at most {max} characters");
    (text(value).len() > max).then(|| FieldError::invalid_text(field, "", &why))
}

/// What is asked of a new event of the newer form.
pub(super) fn strict(event: &Event) -> Vec<FieldError> {
    let object = Object::from(json!({"metadata": event.metadata}).as_object().cloned().unwrap_or_default());
    let mut errors = crate::meta::validate_create(&object, MetaRules::COMMON, true);
    errors.extend(series(event));
    if event.event_time.is_none() {
        errors.push(FieldError::required("eventTime", ""));
    }
    let kind = text(&event.type_);
    if !["Normal", "Warning"].contains(&kind) {
        errors.push(FieldError::invalid_text("type", "", &format!("has invalid value: {kind}")));
    }
    let from = event.source.clone().unwrap_or_default();
    let unset = [
        ("firstTimestamp", event.first_timestamp.is_some()),
        ("lastTimestamp", event.last_timestamp.is_some()),
        ("count", number(event.count) != 0),
        ("source", !text(&from.component).is_empty() || !text(&from.host).is_empty()),
    ];
    let set = unset.iter().filter(|(_, set)| *set);
    errors.extend(set.map(|(field, _)| FieldError::invalid_text(*field, "", "needs to be unset")));
    errors
}

fn series(event: &Event) -> Vec<FieldError> {
    let Some(series) = &event.series else { return Vec::new() };
    let mut errors = Vec::new();
    if number(series.count) < 2 {
        errors.push(FieldError::invalid_text("series.count", "", "should be at least 2"));
    }
    if series.last_observed_time.is_none() {
        errors.push(FieldError::required("series.lastObservedTime", ""));
    }
    errors
}

/// What may not change in an event of the newer form.
pub(super) fn changed(event: &Event, old: &Event) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if event.series != old.series {
        errors.extend(series(event));
    }
    let plain = |text: &Option<String>| json!(text.as_deref().unwrap_or_default());
    let time = |time: &Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>| json!(time);
    let parts = |event: &Event| {
        [
            ("involvedObject", shown("api.core.v1.ObjectReference", &event.involved_object)),
            ("reason", plain(&event.reason).to_string()),
            ("message", plain(&event.message).to_string()),
            ("source", shown("api.core.v1.EventSource", &event.source.clone().unwrap_or_default())),
            ("firstTimestamp", time(&event.first_timestamp).to_string()),
            ("lastTimestamp", time(&event.last_timestamp).to_string()),
            ("count", number(event.count).to_string()),
            ("reason", plain(&event.reason).to_string()),
            ("type", plain(&event.type_).to_string()),
            ("eventTime", json!(event.event_time).to_string()),
            ("action", plain(&event.action).to_string()),
            ("related", shown("api.core.v1.ObjectReference", &event.related)),
            ("reportingController", plain(&event.reporting_component).to_string()),
            ("reportingInstance", plain(&event.reporting_instance).to_string()),
        ]
    };
    for ((field, new), (_, old)) in parts(event).into_iter().zip(parts(old)) {
        if new != old {
            errors.push(FieldError::new(FieldErrorKind::Invalid, field, format!("{new}: field is immutable")));
        }
    }
    errors
}
