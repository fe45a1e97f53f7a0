//! One request: to whom it goes, with which headers, and what is said when nobody answers.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::header::{
    CONNECTION, EXPECT, FORWARDED, HOST, HeaderName, LOCATION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio::sync::watch;

use super::State;
use super::backends::{Backends, Failure};
use super::routes::Decision;

/// What is sent back: a backend's answer as it comes, or a sentence of our own.
pub(super) type Body = Either<Incoming, Full<Bytes>>;

/// Headers that are between two neighbours, besides those that `Connection` names.
///
/// Source: RFC 9110, 7.6.1.
const HOP: &[HeaderName] =
    &[CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];
const HOP_NAMES: &[&str] = &["keep-alive", "proxy-connection"];

/// Two sides that speak another protocol from now on.
pub(super) struct Tunnel {
    pub(super) client: OnUpgrade,
    pub(super) backend: OnUpgrade,
}

/// One client's connection.
pub(super) struct Caller {
    /// Where it comes from.
    pub(super) address: SocketAddr,
    /// Whether it came by TLS.
    pub(super) secure: bool,
    /// What the connection becomes when it ends.
    pub(super) tunnel: Mutex<Option<Tunnel>>,
}

/// What answers the requests of a node.
pub(super) struct Proxy {
    pub(super) state: watch::Receiver<Arc<State>>,
    pub(super) backends: Backends,
}

impl Proxy {
    pub(super) async fn answer(&self, mut request: Request<Incoming>, caller: &Caller) -> Response<Body> {
        let Some(host) = host(&request) else {
            return say(StatusCode::BAD_REQUEST, "which host is meant is not said\n");
        };
        let (Some(target), false) = (request.uri().path_and_query(), request.method() == Method::CONNECT) else {
            return say(StatusCode::METHOD_NOT_ALLOWED, "this is no proxy to elsewhere\n");
        };
        let state = self.state.borrow().clone();
        let (backend, target) = match state.routes.decide(&host, target.as_str(), caller.secure) {
            Decision::Nowhere => return say(StatusCode::NOT_FOUND, "no ingress has a rule for this host and path\n"),
            Decision::Redirect(to) => return redirect(&to),
            Decision::Forward { backend, target } => (backend, target),
        };
        if backend.endpoints.is_empty() {
            return say(StatusCode::SERVICE_UNAVAILABLE, "the service has nobody who is ready\n");
        }
        let Ok(uri) = Uri::try_from(&target) else {
            return say(StatusCode::BAD_REQUEST, "the path can't be rewritten\n");
        };
        *request.uri_mut() = uri;
        *request.version_mut() = Version::HTTP_11;
        let upgrade = forwarded(request.headers_mut(), &host, caller);
        let client = upgrade.then(|| hyper::upgrade::on(&mut request));
        match self.backends.send(&backend.endpoints, request).await {
            Ok(response) => returned(response, client, caller),
            Err(failure) => {
                tracing::debug!(backend = backend.name, ?failure, "a request failed");
                match failure {
                    Failure::Broken => say(StatusCode::BAD_GATEWAY, "the service does not answer\n"),
                    Failure::Late => say(StatusCode::GATEWAY_TIMEOUT, "the service takes too long\n"),
                }
            }
        }
    }
}

/// Which host is asked: by the request's own URL, else by its header. None is no host, and that is fine before HTTP/1.1.
fn host(request: &Request<Incoming>) -> Option<String> {
    if let Some(authority) = request.uri().authority() {
        return Some(
            authority.host().to_owned() + &authority.port().map(|port| format!(":{port}")).unwrap_or_default(),
        );
    }
    match request.headers().get(HOST) {
        Some(host) => host.to_str().ok().map(str::to_owned),
        None => (request.version() < Version::HTTP_11).then(String::new),
    }
}

/// Makes the headers of a request those that a backend gets; whether it asks for another protocol.
///
/// The proxy is where the cluster begins: what a client says about who it comes from does not count.
fn forwarded(headers: &mut HeaderMap, host: &str, caller: &Caller) -> bool {
    let protocol = strip_hops(headers);
    headers.remove(EXPECT);
    headers.remove(FORWARDED);
    let (scheme, port) = if caller.secure { ("https", "443") } else { ("http", "80") };
    let address = caller.address.ip().to_string();
    let values: [(HeaderName, &str); 6] = [
        (HOST, host),
        (HeaderName::from_static("x-forwarded-for"), &address),
        (HeaderName::from_static("x-real-ip"), &address),
        (HeaderName::from_static("x-forwarded-host"), host),
        (HeaderName::from_static("x-forwarded-proto"), scheme),
        (HeaderName::from_static("x-forwarded-port"), port),
    ];
    for (name, value) in values {
        match HeaderValue::from_str(value) {
            Ok(value) => drop(headers.insert(name, value)),
            Err(_) => drop(headers.remove(name)),
        }
    }
    keep_upgrade(headers, protocol)
}

/// Takes the headers away that are not for who comes next; the protocol that is asked for or agreed to.
fn strip_hops(headers: &mut HeaderMap) -> Option<HeaderValue> {
    let named: Vec<String> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    let upgrades = named.iter().any(|name| name == "upgrade");
    let protocol = headers.get(UPGRADE).filter(|_| upgrades).cloned();
    named.iter().map(String::as_str).chain(HOP_NAMES.iter().copied()).for_each(|name| drop(headers.remove(name)));
    HOP.iter().for_each(|name| drop(headers.remove(name)));
    protocol
}

fn keep_upgrade(headers: &mut HeaderMap, protocol: Option<HeaderValue>) -> bool {
    let Some(protocol) = protocol else { return false };
    headers.insert(UPGRADE, protocol);
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    true
}

fn returned(mut response: Response<Incoming>, client: Option<OnUpgrade>, caller: &Caller) -> Response<Body> {
    let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let protocol = strip_hops(response.headers_mut());
    let Some(client) = client.filter(|_| switches) else {
        // A backend that changes the protocol unasked is not understood.
        return if switches {
            say(StatusCode::BAD_GATEWAY, "the service changes the protocol unasked\n")
        } else {
            response.map(Either::Left)
        };
    };
    let tunnel = Tunnel { client, backend: hyper::upgrade::on(&mut response) };
    *caller.tunnel.lock().expect("no code panics while it holds the lock") = Some(tunnel);
    keep_upgrade(response.headers_mut(), protocol);
    response.map(|_| Either::Right(Full::default()))
}

fn say(status: StatusCode, words: &'static str) -> Response<Body> {
    let mut response = Response::new(Either::Right(Full::from(words)));
    *response.status_mut() = status;
    response
}

/// The method and the body stay the same: 308.
fn redirect(to: &str) -> Response<Body> {
    let Ok(location) = HeaderValue::from_str(to) else { return say(StatusCode::BAD_REQUEST, "not a URL\n") };
    let mut response = say(StatusCode::PERMANENT_REDIRECT, "");
    response.headers_mut().insert(LOCATION, location);
    response
}
