//! Bodies of requests: read up to a limit, decoded by their type.

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_TYPE, EXPECT};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use jiff::ToSpan;
use kprov_schema::decode::{Decoded, Media, Target as Decoding, Validation, decode_as};
use kprov_schema::{Status, protobuf};
use serde_json::Value;

use super::core::Core;
use super::errors;
use super::query::FieldValidation;

/// The largest body that is read.
pub(crate) const LIMIT: usize = 3 << 20;
/// The most that is read of a body that is not wanted.
const DISCARDED: usize = 64 << 20;
/// The code of a request whose body was late.
const LATE: u16 = 408;
/// Seconds that a client may take to send a body.
const SECONDS: i64 = 60;

/// Types of bodies that hold an object.
const TYPES: &[(&str, Media)] = &[
    ("application/json", Media::Json),
    ("application/yaml", Media::Yaml),
    ("application/vnd.kubernetes.protobuf", Media::Protobuf),
];

/// A request's body as it comes in.
pub trait Incoming: hyper::body::Body<Data = Bytes, Error: Into<Cause>> {}

impl<B: hyper::body::Body<Data = Bytes, Error: Into<Cause>>> Incoming for B {}

/// Why a body broke off.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Reads a body whole.
pub(crate) async fn read(core: &Core, body: impl Incoming) -> Result<Bytes, Status> {
    // Who waits to be asked for its body is not asked.
    if body.size_hint().lower() > LIMIT as u64 {
        return Err(errors::too_large(LIMIT));
    }
    let end = core.world.clock.now() + SECONDS.seconds();
    let body = std::pin::pin!(Limited::new(body, LIMIT).collect());
    tokio::select! {
        read = body => match read {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(errors::too_large(LIMIT)),
            Err(error) => Err(errors::bad_request(format!("the body can't be read: {error}"))),
        },
        () = core.world.clock.sleep_until(end) => {
            Err(Status::failure(LATE, "Timeout", "the body did not come in time"))
        }
    }
}

/// Reads what is left of a refused request's body and throws it away: most clients read no answer while they write, and a
/// connection that is closed under them loses it.
///
/// A client that waits to be asked for its body, or was late with it, and a body beyond all bounds, are left alone.
pub(crate) async fn discard(core: &Core, headers: &HeaderMap, body: impl Incoming, refusal: &Status) {
    let far_too_large = body.size_hint().lower() > DISCARDED as u64;
    if body.is_end_stream() || headers.contains_key(EXPECT) || refusal.code == LATE || far_too_large {
        return;
    }
    let end = core.world.clock.now() + SECONDS.seconds();
    let mut left = std::pin::pin!(Limited::new(body, DISCARDED));
    let all = async { while let Some(Ok(_)) = left.frame().await {} };
    tokio::select! {
        () = all => {}
        () = core.world.clock.sleep_until(end) => {}
    }
}

/// The media type of a request's body, without parameters; empty when none is named.
pub(crate) fn media_type(headers: &HeaderMap) -> &str {
    let named = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    named.split(';').next().unwrap_or_default().trim()
}

/// The form of a body that holds an object.
pub(crate) fn media(headers: &HeaderMap) -> Result<Media, Status> {
    match media_type(headers) {
        "" => Ok(Media::Json),
        named => TYPES
            .iter()
            .find(|(one, _)| *one == named)
            .map(|(_, media)| *media)
            .ok_or_else(|| errors::unknown_format(&TYPES.iter().map(|(name, _)| *name).collect::<Vec<_>>())),
    }
}

/// How the decoder takes unknown fields.
pub(crate) fn validation(validation: FieldValidation) -> Validation {
    match validation {
        FieldValidation::Ignore => Validation::Ignore,
        FieldValidation::Warn => Validation::Warn,
        FieldValidation::Strict => Validation::Strict,
    }
}

/// Decodes a body.
pub(crate) fn decode(decoding: &Decoding, body: &[u8], media: Media, how: FieldValidation) -> Result<Decoded, Status> {
    decode_as(decoding, body, media, validation(how))
}

/// The body of a deletion: `DeleteOptions` of any API version, or nothing.
pub(crate) fn delete_options(body: &Bytes, headers: &HeaderMap) -> Result<Option<Value>, Status> {
    if body.is_empty() {
        return Ok(None);
    }
    let unreadable = |why: String| errors::bad_request(format!("the DeleteOptions can't be read: {why}"));
    let Some(mut decoding) = Decoding::published("", "v1", "DeleteOptions") else {
        return Err(errors::internal("DeleteOptions is not published"));
    };
    let media = media(headers)?;
    let api_version = match media {
        Media::Protobuf => protobuf::envelope(body).map_err(unreadable)?.api_version,
        Media::Json => {
            let value: Value = serde_json::from_slice(body).map_err(|error| unreadable(error.to_string()))?;
            value["apiVersion"].as_str().unwrap_or_default().to_owned()
        }
        Media::Yaml => String::new(),
    };
    // Typed clients name the group and version of the object that they delete.
    if let Some((group, version)) = api_version.rsplit_once('/') {
        decoding.group = group.to_owned().into();
        decoding.version = version.to_owned().into();
    }
    let decoded = decode_as(&decoding, body, media, Validation::Ignore)?;
    Ok(Some(decoded.object.into()))
}
