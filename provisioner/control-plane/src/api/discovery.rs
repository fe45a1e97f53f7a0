//! Discovery and OpenAPI documents over HTTP: forms, hashes, what a client has already.

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, ETAG, EXPIRES, HeaderValue, IF_NONE_MATCH, LOCATION, VARY};
use http::{HeaderMap, Method, Response, StatusCode};
use jiff::{Timestamp, ToSpan, tz::TimeZone};
use kprov_schema::openapi::v2::Form;
use kprov_schema::{Status, discovery, openapi};
use serde_json::Value;

use super::body::Body;
use super::core::Core;
use super::encode;
use super::errors;
use super::handle::Asked;
use super::media::Wanted;
use super::path::Path;

/// The type of the aggregated form.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Answers a request for a discovery document.
pub(crate) fn answer(core: &Core, asked: &Asked<'_>, path: &Path) -> Result<Response<Body>, Status> {
    if *asked.method != Method::GET {
        return Err(errors::method_not_allowed());
    }
    let registry = core.registry();
    let entries = registry.entries();
    let document = match path {
        Path::Roots { groups } if wants_aggregated(asked.headers) => {
            return Ok(aggregated(registry.aggregated(!groups), asked.headers));
        }
        Path::Roots { groups: false } => discovery::api_versions(&core.address()),
        Path::Roots { groups: true } => discovery::group_list(entries),
        Path::Group(name) => discovery::group(entries, name).ok_or_else(errors::no_such_path)?,
        Path::GroupVersion(group, version) => {
            discovery::resource_list(entries, group, version).ok_or_else(errors::no_such_path)?
        }
        Path::Resource(_) | Path::Other(_) => return Err(errors::no_such_path()),
    };
    let wanted = Wanted::read(asked.headers, &asked.query, false)?;
    Ok(encode::value(200, &document, wanted))
}

/// Whether the newest aggregated form is the first thing accepted that is served.
fn wants_aggregated(headers: &HeaderMap) -> bool {
    let accepted = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let fits = |clause: &str| {
        let parts: Vec<&str> = clause.split(';').map(str::trim).collect();
        ["application/json", "g=apidiscovery.k8s.io", "v=v2", "as=APIGroupDiscoveryList"]
            .iter()
            .all(|part| parts.contains(part))
    };
    accepted.split(',').any(fits)
}

fn aggregated((document, hash): &(Bytes, String), headers: &HeaderMap) -> Response<Body> {
    let mut response = tagged(|| document.clone(), hash, headers);
    let kind = HeaderValue::from_static(AGGREGATED);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public"));
    response
}

/// A document with its hash as tag, or only that the client has it already: then it is not made.
fn tagged(document: impl FnOnce() -> Bytes, hash: &str, headers: &HeaderMap) -> Response<Body> {
    let tag = format!("\"{hash}\"");
    let known = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut response = if known.split(',').any(|one| one.trim() == tag) {
        let mut response = Response::new(Body::whole(Bytes::new()));
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        encode::bytes(200, document(), Wanted::plain(headers, &super::query::Query::default()))
    };
    if let Ok(tag) = HeaderValue::try_from(tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// Answers a request below `/openapi/v3`; `name` is the document, empty for the index.
pub(crate) fn schema(core: &Core, asked: &Asked<'_>, name: &str) -> Response<Body> {
    let registry = core.registry();
    let hashes = registry.schema_hashes();
    if name.is_empty() {
        let index = openapi::index(hashes);
        let mut response = encode::value(200, &index, Wanted::plain(asked.headers, &asked.query));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        return response;
    }
    let (Some(hash), Some(document)) = (hashes.get(name), openapi::document(registry.entries(), name)) else {
        return encode::text(404, "");
    };
    match asked.query.get("hash") {
        Some(given) if given != hash => moved(name, hash),
        given => {
            let mut response = tagged(|| text(&document), hash, asked.headers);
            if given.is_some() {
                let headers = response.headers_mut();
                headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
                headers.extend(in_a_year(core.world.clock.now()).map(|date| (EXPIRES, date)));
            }
            response
        }
    }
}

/// Answers a request for `/openapi/v2`: JSON, or protobuf for who asks for it.
///
/// The document is large and asked for seldom, so it is made for each answer and not kept.
pub(crate) fn schema_2(core: &Core, asked: &Asked<'_>) -> Response<Body> {
    const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
    let accepted = asked.headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let takes = |kind: &str| accepted.contains(kind);
    let (form, kind) = if takes("proto-openapi.spec.v2") {
        (Form::Protobuf, PROTOBUF)
    } else if accepted.is_empty() || ["application/json", "application/*", "*/*"].into_iter().any(takes) {
        (Form::Json, "application/json")
    } else {
        return encode::text(406, "");
    };
    let registry = core.registry();
    let of_all: Vec<&str> = registry.schema_hashes().values().map(String::as_str).collect();
    let hash = discovery::hash(format!("{form:?} {}", of_all.concat()).as_bytes());
    let document = || openapi::v2::document(registry.entries(), form).into();
    let mut response = tagged(document, &hash, asked.headers);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    response
}

fn moved(name: &str, hash: &str) -> Response<Body> {
    let mut response = encode::text(301, "");
    if let Ok(place) = HeaderValue::try_from(format!("/openapi/v3/{name}?hash={hash}")) {
        response.headers_mut().insert(LOCATION, place);
    }
    response
}

fn in_a_year(now: Timestamp) -> Option<HeaderValue> {
    let then = now.to_zoned(TimeZone::UTC).checked_add(1.year()).ok()?;
    HeaderValue::try_from(then.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()).ok()
}

/// A document as the bytes that are hashed.
pub(crate) fn text(document: &Value) -> Bytes {
    serde_json::to_vec(document).expect("a JSON value serializes").into()
}
