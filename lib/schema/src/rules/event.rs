//! Events, served as `v1` and as `events.k8s.io/v1` over one store.

mod validate;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSeries, ObjectReference};
use k8s_openapi::api::events::v1;
use serde_json::{Value, json};

use super::fields::{number, text};
use crate::key::Resource;
use crate::kind::{Column, Kind, Rules, Selectable, StoredAs, Write};
use crate::meta::{MetaRules, Repeats};
use crate::object::Object;
use crate::status::FieldError;
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
        validate::common(self, "reportingComponent")
    }
}

impl Rules for v1::Event {
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
        let mut errors = validate::common(&event, "reportingController");
        match old {
            None => errors.extend(validate::strict(&event)),
            Some(old) => errors.extend(validate::changed(&event, &core(old))),
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

fn to_stored(_: &Kind, object: &mut Object) {
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

fn from_stored(_: &Kind, object: &mut Object) {
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
        let kind = crate::KINDS.iter().find(|kind| kind.resource.group == "events.k8s.io").unwrap();
        let face = kind.stored_as.as_ref().unwrap();
        (face.write)(kind, &mut object);
        assert_eq!(object.api_version(), "v1");
        assert_eq!(object.text(&["message"]), Some("n"));
        assert_eq!(object.text(&["involvedObject", "kind"]), Some("Pod"));
        (face.read)(kind, &mut object);
        assert_eq!(Value::from(object), served);
    }
}
