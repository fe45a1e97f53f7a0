//! Logs of a pod's container, asked of the agent of its node.

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use kprov_schema::{FieldError, Status};

use super::body::Body;
use super::core::Core;
use super::errors;
use super::query::Query;
use super::streaming::container;
use super::target::Target;
use crate::client::node::LogOptions;

/// Streams the log of a container of the pod.
pub(crate) async fn logs(core: &Core, target: &Target, query: &Query) -> Result<Response<Body>, Status> {
    let mut options = options(query, &target.key.name, core.world.clock.now())?;
    let stored = core.store.get(&target.place()).ok_or_else(|| target.not_found())?;
    let pod = stored.object.clone();
    options.container = container(query.get("container").unwrap_or_default(), &pod)?;
    let name = pod.text(&["spec", "nodeName"]).unwrap_or_default();
    if name.is_empty() {
        // Nothing runs yet, so nothing has been written.
        let mut answer = text(Body::whole(bytes::Bytes::new()));
        *answer.status_mut() = StatusCode::NO_CONTENT;
        return Ok(answer);
    }
    let node = core.agent(name)?;
    Ok(text(Body::stream(node.logs(pod.clone(), options).await?)))
}

fn text(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

/// What is asked for, without the container.
///
/// Source: `ValidatePodLogOptions` with the feature gate `PodLogsQuerySplitStreams` as it is by default: off.
fn options(query: &Query, pod: &str, now: Timestamp) -> Result<LogOptions, Status> {
    let mut wrong = Vec::new();
    let tail = query.number("tailLines")?;
    let limit = query.number("limitBytes")?;
    let since = query.number("sinceSeconds")?;
    let text = |name: &str| query.get(name).filter(|text| !text.is_empty());
    let time = text("sinceTime");
    let mut at_least = |field: &str, value: Option<i64>, least: i64, detail: &str| {
        if let Some(value) = value.filter(|value| *value < least) {
            wrong.push(FieldError::invalid(field, &value.into(), detail));
        }
    };
    at_least("tailLines", tail, 0, "must be greater than or equal to 0");
    at_least("limitBytes", limit, 1, "must be greater than 0");
    at_least("sinceSeconds", since.filter(|_| time.is_none()), 1, "must be greater than 0");
    if time.is_some() && since.is_some() {
        wrong.push(FieldError::forbidden("", "at most one of `sinceTime` or `sinceSeconds` may be specified"));
    }
    if text("stream").is_some() {
        wrong.push(FieldError::forbidden("stream", "may not be specified"));
    }
    if !wrong.is_empty() {
        return Err(errors::invalid_as("", "PodLogOptions", pod, &wrong));
    }
    let since = match (time, since) {
        (Some(text), _) => Some(text.parse().map_err(|error| errors::bad_request(format!("sinceTime: {error}")))?),
        (None, Some(seconds)) => now.checked_sub(SignedDuration::from_secs(seconds)).ok(),
        (None, None) => None,
    };
    let count = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
    Ok(LogOptions {
        container: String::new(),
        follow: query.flag("follow"),
        previous: query.flag("previous"),
        timestamps: query.flag("timestamps"),
        since,
        tail_lines: count(tail),
        limit_bytes: count(limit),
    })
}
