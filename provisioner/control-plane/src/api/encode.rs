//! Answers as bytes: objects, lists, tables, partial objects, in JSON or YAML.

use std::io::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, VARY};
use http::{Response, StatusCode};
use jiff::Timestamp;
use kprov_schema::kind::ColumnHead;
use kprov_schema::{Kind, Object, Revision, Status};
use serde_json::{Map, Value, json};

use super::body::Body;
use super::errors;
use super::media::{Format, Shape, Wanted};
use super::verbs::Outcome;
use super::verbs::list::Listing;
use crate::store::Stored;

/// Bodies larger than this are compressed for who accepts it.
const GZIP_ABOVE: usize = 128 << 10;

/// What of an object stands in a table's row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Include {
    /// Nothing.
    None,
    /// Its metadata.
    #[default]
    Metadata,
    /// All of it.
    Object,
}

impl Include {
    /// Reads the parameter `includeObject`.
    pub(crate) fn read(text: Option<&str>) -> Result<Self, Status> {
        match text.unwrap_or_default() {
            "" | "Metadata" => Ok(Self::Metadata),
            "None" => Ok(Self::None),
            "Object" => Ok(Self::Object),
            other => {
                let supported = &["Metadata", "None", "Object"];
                let error = kprov_schema::FieldError::not_supported("includeObject", &json!(other), supported);
                Err(errors::invalid_as("meta.k8s.io", "TableOptions", "", &[error]))
            }
        }
    }
}

/// How objects of a kind are shown to one client.
pub(crate) struct View<'a> {
    pub(crate) kind: &'a Kind,
    pub(crate) wanted: Wanted,
    pub(crate) include: Include,
    pub(crate) now: Timestamp,
}

/// A value as the body of an answer.
pub(crate) fn value(code: u16, value: &Value, wanted: Wanted) -> Response<Body> {
    bytes(code, write(value, wanted), wanted)
}

/// A `Status` as an answer.
pub(crate) fn status(status: &Status, wanted: Wanted) -> Response<Body> {
    value(status.code, &errors::to_value(status), wanted)
}

/// A text as an answer.
pub(crate) fn text(code: u16, text: impl Into<Bytes>) -> Response<Body> {
    respond(code, "text/plain; charset=utf-8", text.into())
}

fn respond(code: u16, kind: &'static str, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::whole(body));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// Bytes that are written as wanted already.
pub(crate) fn bytes(code: u16, body: Bytes, wanted: Wanted) -> Response<Body> {
    let kind = match wanted.format {
        Format::Json => "application/json",
        Format::Yaml => "application/yaml",
    };
    if !wanted.gzip || body.len() <= GZIP_ABOVE {
        return respond(code, kind, body);
    }
    match gzip(&body) {
        Ok(packed) => {
            let mut response = respond(code, kind, packed);
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            response.headers_mut().insert(VARY, HeaderValue::from_static("Accept-Encoding"));
            response
        }
        Err(error) => status(&errors::internal(error), Wanted { gzip: false, ..wanted }),
    }
}

fn gzip(body: &[u8]) -> std::io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    encoder.write_all(body)?;
    Ok(encoder.finish()?.into())
}

/// A value in the format wanted.
pub(crate) fn write(value: &Value, wanted: Wanted) -> Bytes {
    const SERIALIZES: &str = "a JSON value serializes";
    match wanted.format {
        Format::Json if wanted.pretty => serde_json::to_vec_pretty(value).expect(SERIALIZES).into(),
        Format::Json => serde_json::to_vec(value).expect(SERIALIZES).into(),
        Format::Yaml => kprov_schema::yaml::to_string(value).expect(SERIALIZES).into(),
    }
}

impl View<'_> {
    fn is_plain(&self) -> bool {
        self.wanted.shape == Shape::Whole && self.wanted.format == Format::Json && !self.wanted.pretty
    }

    /// A stored object as an answer; plain JSON is shared with all other readers.
    pub(crate) fn stored(&self, code: u16, stored: &Stored) -> Response<Body> {
        if self.is_plain() { bytes(code, stored.json(), self.wanted) } else { self.object(code, &stored.object) }
    }

    /// An object as an answer.
    pub(crate) fn object(&self, code: u16, object: &Object) -> Response<Body> {
        match self.shape(object) {
            Ok(shaped) => value(code, &shaped, self.wanted),
            Err(error) => status(&error, self.wanted),
        }
    }

    /// What a write left behind as an answer.
    pub(crate) fn outcome(&self, code: u16, outcome: &Outcome) -> Response<Body> {
        match outcome {
            Outcome::Stored(stored) => self.stored(code, stored),
            Outcome::Shown(object) => self.object(code, object),
        }
    }

    /// A list as an answer.
    pub(crate) fn list(&self, listing: &Listing) -> Response<Body> {
        if self.is_plain() {
            return bytes(200, plain_list(self.kind, listing), self.wanted);
        }
        let mut meta = list_meta(self.kind, listing.revision, listing.next.as_deref(), listing.remaining);
        if self.wanted.shape != Shape::Whole && listing.next.is_none() {
            meta.as_object_mut().map(|meta| meta.remove("continue"));
        }
        self.objects(listing.items.iter().map(|stored| &stored.object), meta)
    }

    /// Objects as a list in an answer.
    pub(crate) fn objects<'a>(&self, items: impl Iterator<Item = &'a Arc<Object>>, meta: Value) -> Response<Body> {
        let shown = match self.wanted.shape {
            Shape::Whole => Ok(json!({
                "kind": self.kind.list_kind, "apiVersion": self.kind.resource.api_version(), "metadata": meta,
                "items": items.map(|object| self.item(object)).collect::<Vec<_>>(),
            })),
            Shape::Partial => {
                let items: Vec<Value> = items.map(|object| partial(object)).collect();
                let items = if items.is_empty() { Value::Null } else { items.into() };
                Ok(json!({
                    "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": meta,
                    "items": items,
                }))
            }
            Shape::Table => {
                let rows: Result<Vec<Value>, Status> = items.map(|object| self.row(object)).collect();
                rows.map(|rows| table(Some(self.kind.columns()), meta, rows))
            }
        };
        match shown {
            Ok(shown) => value(200, &shown, self.wanted),
            Err(error) => status(&error, self.wanted),
        }
    }

    /// An item of a list: the list says what it is, but for custom resources.
    fn item(&self, object: &Object) -> Value {
        let typed = self.kind.is_custom();
        let fields = object.map().iter().filter(|(key, _)| typed || !["kind", "apiVersion"].contains(&key.as_str()));
        Value::Object(fields.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    /// An object in the shape wanted.
    pub(crate) fn shape(&self, object: &Object) -> Result<Value, Status> {
        match self.wanted.shape {
            Shape::Whole => Ok(Value::Object(object.map().clone())),
            Shape::Partial => Ok(partial(object)),
            Shape::Table => self.one_row_table(object, true),
        }
    }

    /// A table of one object; in a watch only the first has heads.
    pub(crate) fn one_row_table(&self, object: &Object, heads: bool) -> Result<Value, Status> {
        let version = object.at(&["metadata", "resourceVersion"]).cloned();
        let meta = version.map_or_else(|| json!({}), |version| json!({"resourceVersion": version}));
        Ok(table(heads.then(|| self.kind.columns()), meta, vec![self.row(object)?]))
    }

    fn row(&self, object: &Object) -> Result<Value, Status> {
        let row = self.kind.row(object, self.now).map_err(errors::internal)?;
        let object = match self.include {
            Include::None => Value::Null,
            Include::Metadata => partial(object),
            Include::Object => Value::Object(object.map().clone()),
        };
        let mut shown = json!({"cells": row.cells, "object": object});
        if !row.conditions.is_empty() {
            shown["conditions"] = row.conditions.into();
        }
        Ok(shown)
    }
}

fn table(heads: Option<Vec<ColumnHead>>, meta: Value, rows: Vec<Value>) -> Value {
    let head = |head: ColumnHead| {
        json!({
            "name": head.name, "type": head.kind, "format": head.format,
            "description": head.description, "priority": head.priority,
        })
    };
    let heads = heads.map(|heads| heads.into_iter().map(head).collect::<Vec<_>>());
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": meta, "columnDefinitions": heads, "rows": rows,
    })
}

/// The object's metadata alone.
pub(crate) fn partial(object: &Object) -> Value {
    json!({
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
        "metadata": object.at(&["metadata"]).cloned().unwrap_or_else(|| json!({})),
    })
}

/// `metadata` of a list.
pub(crate) fn list_meta(kind: &Kind, revision: Revision, next: Option<&str>, remaining: Option<usize>) -> Value {
    let mut meta = Map::new();
    meta.insert("resourceVersion".to_owned(), revision.to_string().into());
    // Lists of custom resources say that nothing follows, others say nothing.
    if let Some(next) = next.or(kind.is_custom().then_some("")) {
        meta.insert("continue".to_owned(), next.into());
    }
    if let Some(remaining) = remaining {
        meta.insert("remainingItemCount".to_owned(), remaining.into());
    }
    Value::Object(meta)
}

/// A list made of the bytes that its items are kept as.
fn plain_list(kind: &Kind, listing: &Listing) -> Bytes {
    let version = kind.resource.api_version();
    let meta = list_meta(kind, listing.revision, listing.next.as_deref(), listing.remaining);
    let head =
        format!("{{\"kind\":\"{}\",\"apiVersion\":\"{version}\",\"metadata\":{meta},\"items\":[", kind.list_kind);
    let marks = (format!("\"apiVersion\":\"{version}\""), format!("\"kind\":\"{}\"", kind.kind));
    let items: Vec<Bytes> = listing.items.iter().map(|stored| stored.json()).collect();
    let size = items.iter().map(|item| item.len() + 1).sum::<usize>();
    let mut body = Vec::with_capacity(head.len() + size + 2);
    body.extend_from_slice(head.as_bytes());
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        if kind.is_custom() {
            body.extend_from_slice(item);
        } else {
            push_untyped(&mut body, item, &marks.0, &marks.1);
        }
    }
    body.extend_from_slice(b"]}");
    body.into()
}

/// Appends an object without its `apiVersion` and its `kind`.
fn push_untyped(body: &mut Vec<u8>, item: &[u8], version: &str, kind: &str) {
    let rest = item.get(1..).unwrap_or_default();
    let found = |mark: &str| Some((top_level(rest, mark.as_bytes())?, mark.len()));
    let (Some(version), Some(kind)) = (found(version), found(kind)) else {
        body.extend_from_slice(item);
        return;
    };
    body.push(b'{');
    let mut done = 0;
    for (at, length) in [version.min(kind), version.max(kind)] {
        // A comma goes with each: the one behind it or, for the last field, the one before it.
        let (start, end) = if rest.get(at + length) == Some(&b',') {
            (at, at + length + 1)
        } else {
            (at.saturating_sub(1), at + length)
        };
        body.extend_from_slice(&rest[done..start.max(done)]);
        done = end;
    }
    if rest.get(done) == Some(&b'}') && body.last() == Some(&b',') {
        body.pop();
    }
    body.extend_from_slice(&rest[done..]);
}

/// Where a field stands among those of the object itself; `json` begins with a field of it.
fn top_level(json: &[u8], field: &[u8]) -> Option<usize> {
    let (mut depth, mut at, mut key) = (0_usize, 0, true);
    while at < json.len() {
        match json[at] {
            b'"' if depth == 0 && key && json[at..].starts_with(field) => return Some(at),
            b'"' => {
                at += 1;
                while at < json.len() && json[at] != b'"' {
                    at += if json[at] == b'\\' { 2 } else { 1 };
                }
                key = false;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.checked_sub(1)?,
            b',' if depth == 0 => key = true,
            _ => {}
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_the_type_of_an_item() {
        for (item, want) in [
            (r#"{"apiVersion":"v1","kind":"A","metadata":{"name":"x"}}"#, r#"{"metadata":{"name":"x"}}"#),
            (
                r#"{"apiVersion":"v1","data":{"kind":"A","q":"\",\"kind\":\"A\""},"kind":"A","metadata":{}}"#,
                r#"{"data":{"kind":"A","q":"\",\"kind\":\"A\""},"metadata":{}}"#,
            ),
            (r#"{"apiVersion":"v1","data":{},"kind":"A"}"#, r#"{"data":{}}"#),
            (r#"{"apiVersion":"v1","kind":"A"}"#, "{}"),
            (r#"{"a":1,"apiVersion":"v1","kind":"A"}"#, r#"{"a":1}"#),
            (r#"{"a":1,"apiVersion":"v1","b":2,"kind":"A","z":3}"#, r#"{"a":1,"b":2,"z":3}"#),
        ] {
            let mut body = Vec::new();
            push_untyped(&mut body, item.as_bytes(), r#""apiVersion":"v1""#, r#""kind":"A""#);
            assert_eq!(String::from_utf8(body).unwrap(), want);
        }
    }
}
