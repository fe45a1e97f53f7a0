//! Cells and columns that the tables of several kinds share.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::Metadata;
use k8s_openapi::api::core::v1::Container;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, Time};
use serde_json::Value;

use crate::kind::Column;
use crate::selector;

/// What stands in a cell without a value.
pub const NONE: &str = "<none>";

pub(crate) const NAME: &str = "Name must be unique within a namespace. Is required when creating resources, although some \
    resources may allow a client to request the generation of an appropriate name automatically. Name is primarily \
    intended for creation idempotence and configuration definition. Cannot be updated. More info: \
    https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names";

/// The description of a creation timestamp.
pub const CREATED: &str = "CreationTimestamp is a timestamp representing the server time when this object was created. \
    It is not guaranteed to be set in happens-before order across separate operations. Clients may not set this value. \
    It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: \
    https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

/// The column `Name`, the first of nearly every table.
#[must_use]
pub const fn name<T: Metadata<Ty = ObjectMeta>>() -> Column<T> {
    Column { name: "Name", kind: "string", format: "name", priority: 0, description: NAME, cell: name_cell::<T> }
}

/// The column `Age`.
#[must_use]
pub const fn age<T: Metadata<Ty = ObjectMeta>>() -> Column<T> {
    Column { name: "Age", kind: "string", format: "", priority: 0, description: CREATED, cell: age_cell::<T> }
}

/// The column `Created At`, a moment instead of an age.
#[must_use]
pub const fn created<T: Metadata<Ty = ObjectMeta>>() -> Column<T> {
    let cell = created_cell::<T>;
    Column { name: "Created At", kind: "date", format: "", priority: 0, description: CREATED, cell }
}

/// A column of text that is always shown.
#[must_use]
pub const fn text<T>(name: &'static str, description: &'static str, cell: fn(&T, Timestamp) -> Value) -> Column<T> {
    Column { name, kind: "string", format: "", priority: 0, description, cell }
}

/// A column of text that only a wide table shows.
#[must_use]
pub const fn wide<T>(name: &'static str, description: &'static str, cell: fn(&T, Timestamp) -> Value) -> Column<T> {
    Column { name, kind: "string", format: "", priority: 1, description, cell }
}

/// A column of whole numbers that is always shown.
#[must_use]
pub const fn integer<T>(name: &'static str, description: &'static str, cell: fn(&T, Timestamp) -> Value) -> Column<T> {
    Column { name, kind: "integer", format: "", priority: 0, description, cell }
}

/// A column of truths that is always shown.
#[must_use]
pub const fn truth<T>(name: &'static str, description: &'static str, cell: fn(&T, Timestamp) -> Value) -> Column<T> {
    Column { name, kind: "boolean", format: "", priority: 0, description, cell }
}

fn name_cell<T: Metadata<Ty = ObjectMeta>>(object: &T, _: Timestamp) -> Value {
    object.metadata().name.clone().unwrap_or_default().into()
}

fn age_cell<T: Metadata<Ty = ObjectMeta>>(object: &T, now: Timestamp) -> Value {
    since(object.metadata().creation_timestamp.as_ref(), now).into()
}

fn created_cell<T: Metadata<Ty = ObjectMeta>>(object: &T, _: Timestamp) -> Value {
    serde_json::json!(object.metadata().creation_timestamp)
}

/// How long ago a time was, as tables print it: `<unknown>` when there is none.
#[must_use]
pub fn since(time: Option<&Time>, now: Timestamp) -> String {
    time.map_or_else(|| "<unknown>".to_owned(), |time| duration(now.as_second() - time.0.as_second()))
}

/// A duration in seconds, in at most two units: `90s`, `5m10s`, `3h`, `7d2h`, `2y3d`.
///
/// Source: apimachinery `duration.HumanDuration`.
#[must_use]
pub fn duration(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        _ if seconds < 2 * MINUTE => format!("{seconds}s"),
        _ if seconds < 10 * MINUTE => two_units(seconds, (MINUTE, "m"), (1, "s")),
        _ if seconds < 3 * HOUR => format!("{}m", seconds / MINUTE),
        _ if seconds < 8 * HOUR => two_units(seconds, (HOUR, "h"), (MINUTE, "m")),
        _ if seconds < 2 * DAY => format!("{}h", seconds / HOUR),
        _ if seconds < 8 * DAY => two_units(seconds, (DAY, "d"), (HOUR, "h")),
        _ if seconds < 2 * YEAR => format!("{}d", seconds / DAY),
        _ if seconds < 8 * YEAR => two_units(seconds, (YEAR, "y"), (DAY, "d")),
        _ => format!("{}y", seconds / YEAR),
    }
}

fn two_units(seconds: i64, (large, large_name): (i64, &str), (small, small_name): (i64, &str)) -> String {
    match (seconds / large, seconds % large / small) {
        (whole, 0) => format!("{whole}{large_name}"),
        (whole, rest) => format!("{whole}{large_name}{rest}{small_name}"),
    }
}

/// A text, or `<none>` when it is missing or empty.
#[must_use]
pub fn or_none(text: Option<&str>) -> Value {
    text.filter(|text| !text.is_empty()).unwrap_or(NONE).into()
}

/// The names of containers, joined by commas.
#[must_use]
pub fn containers(containers: &[Container]) -> Value {
    joined(containers.iter().map(|one| one.name.as_str()))
}

/// The images of containers, joined by commas.
#[must_use]
pub fn images(containers: &[Container]) -> Value {
    joined(containers.iter().map(|one| one.image.as_deref().unwrap_or_default()))
}

fn joined<'a>(texts: impl Iterator<Item = &'a str>) -> Value {
    texts.collect::<Vec<_>>().join(",").into()
}

/// Labels as text, such as `a=b,c=d`; `<none>` when there are none.
#[must_use]
pub fn labels(labels: Option<&BTreeMap<String, String>>) -> Value {
    let pairs: Vec<String> = labels.into_iter().flatten().map(|(key, value)| format!("{key}={value}")).collect();
    or_none(Some(&pairs.join(",")))
}

/// A label selector's cell: `<none>` when there is none or it selects everything, `<error>` when it is wrong.
#[must_use]
pub fn selector_cell(selector: Option<&LabelSelector>) -> Value {
    match selector.map(selector::text) {
        None => NONE.into(),
        Some(None) => "<error>".into(),
        Some(Some(text)) => or_none(Some(&text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_durations_in_at_most_two_units() {
        let cases = [
            (-5, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (310, "5m10s"),
            (3600, "60m"),
            (3 * 3600, "3h"),
            (3 * 3600 + 61, "3h1m"),
            (47 * 3600, "47h"),
            (49 * 3600, "2d1h"),
            (30 * 86400, "30d"),
            (323 * 86400, "323d"),
            (2 * 365 * 86400 + 86400, "2y1d"),
            (9 * 365 * 86400, "9y"),
        ];
        for (seconds, want) in cases {
            assert_eq!(duration(seconds), want);
        }
    }
}
