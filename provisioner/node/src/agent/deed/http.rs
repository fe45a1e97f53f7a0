//! Requests of probes and hooks.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::HTTPGetAction;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;

use super::super::Context;
use super::{Outcome, Target, address, dial, tls, within};

/// Redirects that are followed within one host.
const REDIRECTS: usize = 10;

/// Gets a path. Where it leads to on the same host is followed; elsewhere is somebody else's health.
pub(super) async fn get(context: &Context, target: &Target, get: &HTTPGetAction, timeout: Duration) -> Outcome {
    let address = match address(target, get.host.as_deref(), &get.port) {
        Ok(address) => address,
        Err(words) => return Outcome::Error(words),
    };
    let secure = get.scheme.as_deref() == Some("HTTPS");
    let path = get.path.clone().unwrap_or_default();
    let path = if path.starts_with('/') { path } else { format!("/{path}") };
    let url = format!("{}://{address}{path}", if secure { "https" } else { "http" });
    let headers = match headers(get) {
        Ok(headers) => headers,
        Err(words) => return Outcome::Error(words),
    };
    let late = format!("Get {url:?}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)");
    let work = async {
        match follow(context, address, secure, path, headers).await {
            Ok(code) if (200..400).contains(&code.as_u16()) => Outcome::Success,
            Ok(code) => Outcome::Failure(format!("HTTP probe failed with statuscode: {}", code.as_u16())),
            Err(Answer::Simulated) => Outcome::Success,
            Err(Answer::None(why)) => Outcome::Failure(format!("Get {url:?}: {why}")),
        }
    };
    within(context, timeout, work, late).await
}

/// Why there is no code.
enum Answer {
    /// There is no network.
    Simulated,
    None(String),
}

fn headers(get: &HTTPGetAction) -> Result<HeaderMap, String> {
    let prober = HeaderValue::try_from(super::prober()).map_err(|error| error.to_string())?;
    let mut headers = HeaderMap::new();
    for one in get.http_headers.iter().flatten() {
        let name = HeaderName::try_from(&one.name).map_err(|_| format!("{:?} is no header", one.name))?;
        let value = HeaderValue::try_from(&one.value).map_err(|_| format!("{:?} is no header's value", one.value))?;
        headers.append(name, value);
    }
    for (name, value) in [(header::USER_AGENT, prober), (header::ACCEPT, HeaderValue::from_static("*/*"))] {
        // An empty one takes it away.
        match headers.get(&name).map(HeaderValue::is_empty) {
            None => drop(headers.insert(name, value)),
            Some(true) => drop(headers.remove(name)),
            Some(false) => {}
        }
    }
    Ok(headers)
}

async fn follow(
    context: &Context,
    address: SocketAddr,
    secure: bool,
    mut path: String,
    headers: HeaderMap,
) -> Result<StatusCode, Answer> {
    for _ in 0..=REDIRECTS {
        let answer = ask(context, address, secure, &path, &headers).await?;
        let next = answer.headers().get(header::LOCATION).and_then(|next| next.to_str().ok()?.parse::<Uri>().ok());
        match next.filter(|_| answer.status().is_redirection()) {
            Some(next) if next.authority().is_none_or(|host| host.as_str() == address.to_string()) => {
                path = next.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
            }
            _ => return Ok(answer.status()),
        }
    }
    Err(Answer::None("stopped after 10 redirects".to_owned()))
}

async fn ask(
    context: &Context,
    address: SocketAddr,
    secure: bool,
    path: &str,
    headers: &HeaderMap,
) -> Result<Response<Incoming>, Answer> {
    let stream = context.network.connect(address).await.map_err(|error| Answer::None(dial(address, &error)))?;
    let stream = stream.ok_or(Answer::Simulated)?;
    let failed = |error: &dyn std::error::Error| Answer::None(super::chain(error));
    let mut request = Request::get(path).body(Empty::<Bytes>::new()).map_err(|error| failed(&error))?;
    *request.headers_mut() = headers.clone();
    if !request.headers().contains_key(header::HOST) {
        let host = HeaderValue::try_from(address.to_string()).map_err(|error| failed(&error))?;
        request.headers_mut().insert(header::HOST, host);
    }
    if secure {
        let stream = tls::connect(stream, address.ip()).await.map_err(|error| failed(&error))?;
        send(stream, request).await.map_err(|error| failed(&error))
    } else {
        send(stream, request).await.map_err(|error| failed(&error))
    }
}

async fn send(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Empty<Bytes>>,
) -> hyper::Result<Response<Incoming>> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // It ends with this request.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    sender.send_request(request).await
}
