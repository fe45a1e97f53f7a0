//! Events, served as `v1` and as `events.k8s.io/v1` over one store.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSeries, EventSource, ObjectReference};
use k8s_openapi::api::events::v1;
use serde_json::{Value, json};

use super::fields::{number, text};
use crate::key::Resource;
use crate::kind::{Column, Rules, Selectable, StoredAs, Write};
use crate::meta::{MetaRules, Repeats, all_invalid};
use crate::names;
use crate::object::Object;
use crate::status::{FieldError, FieldErrorKind};
use crate::table;

const SUBOBJECT: &str = "If referring to a piece of an object instead of an entire object, this string should contain a valid JSON/Go \
    field access statement, such as desiredState.manifest.containers[2]. For example, if the object reference is to \
    a container within a pod, this would take on a value like: \"spec.containers{name}\" (where \"name\" refers to \
    the name of the container that triggered the event) or if no container name is specified \"spec.containers[2]\" \
    (container with index 2 in this pod). This syntax is chosen only to have some well-defined way of referencing a \
    part of an object.";
const LAST_SEEN: &str = "The time at which the most recent occurrence of this event was recorded.";
const TYPE: &str = "Type of this event (Normal, Warning), new types could be added in the future";
const REASON: &str = "This should be a short, machine understandable string that gives the reason for the transition \
    into the object's current status.";
const SOURCE: &str = "The component reporting this event. Should be a short machine understandable string.";
const FIRST_SEEN: &str = "The time at which the event was first recorded. (Time of server receipt is in TypeMeta.)";
/// The longest reporting instance, action and reason.
const SHORT_TEXT: usize = 128;
/// The longest message.
const LONG_TEXT: usize = 1024;

/// The columns of both faces; `$core` turns an object into the form of the store.
macro_rules! columns {
    ($core:expr) => {
        &[
            table::text("Last Seen", LAST_SEEN, |it, now| last_seen(&$core(it), now).into()),
            table::text("Type", TYPE, |it, _| text(&it.type_).into()),
            table::text("Reason", REASON, |it, _| text(&it.reason).into()),
            table::text("Object", "The object that this event is about.", |it, _| {
                target(&$core(it).involved_object).into()
            }),
            table::wide("Subobject", SUBOBJECT, |it, _| text(&$core(it).involved_object.field_path).into()),
            table::wide("Source", SOURCE, |it, _| source(&$core(it)).into()),
            table::text("Message", "A human-readable description of the status of this operation.", |it, _| {
                text(&$core(it).message).trim().into()
            }),
            table::wide("First Seen", FIRST_SEEN, |it, now| first_seen(&$core(it), now).into()),
            table::wide("Count", "The number of times this event has occurred.", |it, _| count(&$core(it)).into()),
            Column { priority: 1, ..table::name() },
        ]
    };
}

impl Rules for Event {
    const SHORT: &'static [&'static str] = &["ev"];
    const META: MetaRules = MetaRules { on_create: false, on_update: Repeats::Nothing, ..MetaRules::COMMON };
    const COLUMNS: &'static [Column<Self>] = columns!(Clone::clone);
    const SELECTABLE: &'static [Selectable] = &[
        Selectable::text("involvedObject.apiVersion"),
        Selectable::text("involvedObject.fieldPath"),
        Selectable::text("involvedObject.kind"),
        Selectable::text("involvedObject.name"),
        Selectable::text("involvedObject.namespace"),
        Selectable::text("involvedObject.resourceVersion"),
        Selectable::text("involvedObject.uid"),
        Selectable::text("reason"),
        Selectable::text("reportingComponent"),
        Selectable { field: "source", value: |object, _| reporter(object) },
        Selectable::text("type"),
    ];

    fn validate(&self, _: Option<&Self>, _: Write) -> Vec<FieldError> {
        common(self, "reportingComponent")
    }
}

impl Rules for v1::Event {
    const SHORT: &'static [&'static str] = &["ev"];
    const META: MetaRules = MetaRules { on_create: false, on_update: Repeats::Nothing, ..MetaRules::COMMON };
    const STORED_AS: Option<StoredAs> =
        Some(StoredAs { resource: Resource::of::<Event>(), write: to_stored, read: from_stored });
    const COLUMNS: &'static [Column<Self>] = columns!(core);
    const SELECTABLE: &'static [Selectable] = &[
        Selectable::text("reason"),
        Selectable::text("regarding.apiVersion"),
        Selectable::text("regarding.fieldPath"),
        Selectable::text("regarding.kind"),
        Selectable::text("regarding.name"),
        Selectable::text("regarding.namespace"),
        Selectable::text("regarding.resourceVersion"),
        Selectable::text("regarding.uid"),
        Selectable::text("reportingController"),
        Selectable::text("type"),
    ];

    fn validate(&self, old: Option<&Self>, _: Write) -> Vec<FieldError> {
        let event = core(self);
        let mut errors = common(&event, "reportingController");
        match old {
            None => errors.extend(strict(&event)),
            Some(old) => errors.extend(changed(&event, &core(old))),
        }
        errors
    }
}

/// What each field of an event is called: as served in `events.k8s.io/v1`, as stored.
const RENAMED: &[(&str, &str)] = &[
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
];

fn to_stored(object: &mut Object) {
    for (served, stored) in RENAMED {
        rename(object, served, stored);
    }
    for (field, empty) in [("involvedObject", json!({})), ("source", json!({}))] {
        object.map_mut().entry(field).or_insert(empty);
    }
    for field in ["firstTimestamp", "lastTimestamp", "eventTime"] {
        object.map_mut().entry(field).or_insert(Value::Null);
    }
    for field in ["reportingComponent", "reportingInstance"] {
        object.map_mut().entry(field).or_insert_with(|| json!(""));
    }
    object.map_mut().insert("apiVersion".to_owned(), json!("v1"));
}

fn from_stored(object: &mut Object) {
    for (served, stored) in RENAMED {
        rename(object, stored, served);
    }
    object.map_mut().retain(|field, value| !(field.starts_with("reporting") && value == ""));
    object.map_mut().insert("apiVersion".to_owned(), json!("events.k8s.io/v1"));
}

fn rename(object: &mut Object, from: &str, to: &str) {
    if let Some(value) = object.map_mut().remove(from) {
        object.map_mut().insert(to.to_owned(), value);
    }
}

/// An event of the newer form in the form of the store.
fn core(event: &v1::Event) -> Event {
    Event {
        metadata: event.metadata.clone(),
        involved_object: regarding(event),
        reason: event.reason.clone(),
        message: event.note.clone(),
        source: event.deprecated_source.clone(),
        first_timestamp: event.deprecated_first_timestamp.clone(),
        last_timestamp: event.deprecated_last_timestamp.clone(),
        count: event.deprecated_count,
        type_: event.type_.clone(),
        event_time: event.event_time.clone(),
        series: event.series.as_ref().map(|series| EventSeries {
            count: Some(series.count),
            last_observed_time: Some(series.last_observed_time.clone()),
        }),
        action: event.action.clone(),
        related: event.related.clone(),
        reporting_component: event.reporting_controller.clone(),
        reporting_instance: event.reporting_instance.clone(),
    }
}

fn regarding(event: &v1::Event) -> ObjectReference {
    event.regarding.clone().unwrap_or_default()
}

/// Who reported a stored event.
fn reporter(object: &Object) -> String {
    let source = object.text(&["source", "component"]).filter(|source| !source.is_empty());
    source.or_else(|| object.text(&["reportingComponent"])).unwrap_or_default().to_owned()
}

fn ago(time: Option<Timestamp>, now: Timestamp) -> Option<String> {
    time.map(|time| table::duration(now.as_second() - time.as_second()))
}

fn first_seen(event: &Event, now: Timestamp) -> String {
    let first = event.first_timestamp.as_ref().map(|time| time.0);
    let time = first.or_else(|| event.event_time.as_ref().map(|time| time.0));
    ago(time, now).unwrap_or_else(|| "<unknown>".to_owned())
}

fn last_seen(event: &Event, now: Timestamp) -> String {
    if let Some(series) = &event.series {
        let time = series.last_observed_time.as_ref().map(|time| time.0);
        return ago(time, now).unwrap_or_else(|| "<unknown>".to_owned());
    }
    ago(event.last_timestamp.as_ref().map(|time| time.0), now).unwrap_or_else(|| first_seen(event, now))
}

fn count(event: &Event) -> i64 {
    let count = event.series.as_ref().map_or(event.count, |series| series.count);
    match number(count) {
        0 if event.series.is_none() => 1,
        count => i64::from(count),
    }
}

fn target(object: &ObjectReference) -> String {
    let kind = text(&object.kind).to_lowercase();
    match text(&object.name) {
        "" => kind,
        name => format!("{kind}/{name}"),
    }
}

fn component(event: &Event) -> &str {
    let from = event.source.as_ref().map(|source| text(&source.component)).unwrap_or_default();
    if from.is_empty() { text(&event.reporting_component) } else { from }
}

fn source(event: &Event) -> String {
    let host = event.source.as_ref().map(|source| text(&source.host)).unwrap_or_default();
    let instance = if host.is_empty() { text(&event.reporting_instance) } else { host };
    if instance.is_empty() { component(event).to_owned() } else { format!("{}, {instance}", component(event)) }
}

/// What both forms ask of an event; `controller` is what they call the one who reports.
fn common(event: &Event, controller: &str) -> Vec<FieldError> {
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
fn strict(event: &Event) -> Vec<FieldError> {
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
fn changed(event: &Event, old: &Event) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if event.series != old.series {
        errors.extend(series(event));
    }
    let plain = |text: &Option<String>| json!(text.as_deref().unwrap_or_default());
    let time = |time: &Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>| json!(time);
    let parts = |event: &Event| {
        [
            ("involvedObject", reference(Some(&event.involved_object))),
            ("reason", plain(&event.reason).to_string()),
            ("message", plain(&event.message).to_string()),
            ("source", origin(event.source.as_ref())),
            ("firstTimestamp", time(&event.first_timestamp).to_string()),
            ("lastTimestamp", time(&event.last_timestamp).to_string()),
            ("count", number(event.count).to_string()),
            ("reason", plain(&event.reason).to_string()),
            ("type", plain(&event.type_).to_string()),
            ("eventTime", json!(event.event_time).to_string()),
            ("action", plain(&event.action).to_string()),
            ("related", reference(event.related.as_ref())),
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

/// A reference in the form in which upstream shows it: its own names, nothing left out.
fn reference(object: Option<&ObjectReference>) -> String {
    let Some(object) = object else { return "null".to_owned() };
    let parts = [
        ("Kind", &object.kind),
        ("Namespace", &object.namespace),
        ("Name", &object.name),
        ("UID", &object.uid),
        ("APIVersion", &object.api_version),
        ("ResourceVersion", &object.resource_version),
        ("FieldPath", &object.field_path),
    ];
    internal(&parts)
}

fn origin(source: Option<&EventSource>) -> String {
    let source = source.cloned().unwrap_or_default();
    internal(&[("Component", &source.component), ("Host", &source.host)])
}

fn internal(parts: &[(&str, &Option<String>)]) -> String {
    let shown: Vec<String> = parts.iter().map(|(name, value)| format!("\"{name}\":{}", json!(text(value)))).collect();
    format!("{{{}}}", shown.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_faces_are_the_same_object() {
        let served = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "a"},
            "regarding": {"kind": "Pod"}, "note": "n", "reportingController": "c", "reportingInstance": "i",
            "deprecatedSource": {}, "deprecatedFirstTimestamp": null, "deprecatedLastTimestamp": null,
            "eventTime": "2026-01-01T00:00:00.000000Z", "extra": 1});
        let mut object = Object::try_from(served.clone()).unwrap();
        to_stored(&mut object);
        assert_eq!(object.api_version(), "v1");
        assert_eq!(object.text(&["message"]), Some("n"));
        assert_eq!(object.text(&["involvedObject", "kind"]), Some("Pod"));
        from_stored(&mut object);
        assert_eq!(Value::from(object), served);
    }
}
