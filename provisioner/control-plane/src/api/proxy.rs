//! Requests that go on to a pod, or to a pod of a service, from the pod's node.
//!
//! Source: `pkg/registry/core/pod/strategy.go` and `pkg/registry/core/service/storage` (`ResourceLocation`),
//! `apimachinery/pkg/util/proxy`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use http::header::{CONTENT_LENGTH, HOST, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use kprov_schema::{Object, Status};
use serde_json::Value;
use tokio::net::TcpStream;

use super::body::Body;
use super::body_in::{self, Incoming};
use super::core::Core;
use super::errors;
use super::handle::Asked;
use super::target::Target;

/// Headers that are between two neighbours, and those that are for the API server alone.
const KEPT_BACK: &[&str] =
    &["authorization", "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"];

/// Whom a request is for: `[scheme:]name[:port]`.
#[derive(Debug, PartialEq, Eq)]
struct Named<'a> {
    name: &'a str,
    port: &'a str,
}

/// A port of a pod.
struct Place {
    pod: Arc<Object>,
    address: SocketAddr,
}

/// Passes a request on and its answer back.
pub(crate) async fn proxied(
    core: &Arc<Core>,
    asked: &Asked<'_>,
    body: impl Incoming,
    target: &Target,
) -> Result<Response<Body>, Status> {
    let (before, inside) = split(asked.path);
    let place = match &*target.kind.resource.plural {
        "services" => of_service(core, target)?,
        _ => of_pod(core, target)?,
    };
    if inside.is_empty() && matches!(asked.method.as_str(), "GET" | "HEAD") {
        return Ok(moved(asked));
    }
    let node = core.agent(place.pod.text(&["spec", "nodeName"]).unwrap_or_default())?;
    let body = body_in::read(core, body).await?;
    let request = request(asked, inside, place.address, body)?;
    let unreached = |why: String| errors::unavailable(format!("error trying to reach service: {why}"));
    let stream = node.connect(place.address).await.map_err(unreached)?;
    let answer = exchange(stream, request).await.map_err(|error| unreached(error.to_string()))?;
    Ok(passed_back(answer, before, place.address))
}

/// The path up to the part `proxy`, and what is behind it.
fn split(path: &str) -> (&str, &str) {
    let mut segments = path.match_indices('/').map(|(at, _)| at);
    // /api/v1/namespaces/NAMESPACE/KIND/NAME/proxy
    let end = segments.nth(7).unwrap_or(path.len());
    path.split_at(end)
}

fn named<'a>(target: &'a Target, what: &str) -> Result<Named<'a>, Status> {
    let id = target.key.name.as_str();
    let parts: Vec<&str> = id.split(':').collect();
    let (scheme, name, port) = match parts.as_slice() {
        [name] => ("", *name, ""),
        [name, port] => ("", *name, *port),
        [scheme, name, port] => (*scheme, *name, *port),
        _ => ("", "", ""),
    };
    match scheme {
        "" | "http" if !name.is_empty() => Ok(Named { name, port }),
        "https" if !name.is_empty() => Err(errors::bad_request("this server passes nothing on by https")),
        _ => Err(errors::bad_request(format!("invalid {what} request {id:?}"))),
    }
}

fn of_pod(core: &Core, target: &Target) -> Result<Place, Status> {
    let Named { name, port } = named(target, "pod")?;
    let pod =
        core.get::<Pod>(&target.key.namespace, name).ok_or_else(|| target.named(name).not_found())?.object.clone();
    let containers = pod.at(&["spec", "containers"]).and_then(Value::as_array);
    let first = containers.into_iter().flatten().find_map(|one| one["ports"][0]["containerPort"].as_u64());
    let port = match port {
        "" => first.and_then(|port| u16::try_from(port).ok()).unwrap_or(80),
        text => text.parse().map_err(|_| errors::bad_request(format!("invalid port {text:?}")))?,
    };
    let address = pod.text(&["status", "podIP"]).and_then(|text| text.parse::<IpAddr>().ok());
    let address = address.ok_or_else(|| errors::bad_request("address not allowed"))?;
    Ok(Place { pod, address: SocketAddr::new(address, port) })
}

fn of_service(core: &Core, target: &Target) -> Result<Place, Status> {
    let Named { name, port } = named(target, "service")?;
    let namespace = target.key.namespace.as_str();
    let service = core.get::<Service>(namespace, name).ok_or_else(|| target.named(name).not_found())?;
    let none = |of: &str| errors::unavailable(format!("no endpoints available for service {of:?}"));
    let port = match port.parse::<u64>() {
        Ok(number) => {
            let ports = service.object.at(&["spec", "ports"]).and_then(Value::as_array);
            let found = ports.into_iter().flatten().find(|one| one["port"].as_u64() == Some(number));
            let missing = || errors::unavailable(format!("no service port {number} found for service {name:?}"));
            found.ok_or_else(missing)?["name"].as_str().unwrap_or_default().to_owned()
        }
        Err(_) => port.to_owned(),
    };
    let endpoints = core.get::<Endpoints>(namespace, name).ok_or_else(|| none(name))?;
    let subsets = endpoints.object.at(&["subsets"]).and_then(Value::as_array);
    let mut places = vec![];
    for subset in subsets.into_iter().flatten() {
        let list = |field: &str| subset[field].as_array().into_iter().flatten();
        let of_port = list("ports").find(|one| one["name"].as_str().unwrap_or_default() == port);
        let number = of_port.and_then(|one| u16::try_from(one["port"].as_u64()?).ok());
        for address in list("addresses") {
            places.extend(number.and_then(|number| place(core, namespace, address, number)));
        }
    }
    if places.is_empty() {
        return Err(none(&target.key.name));
    }
    let chosen = core.world.rng.next_u64() % places.len() as u64;
    Ok(places.swap_remove(usize::try_from(chosen).expect("it is below a length")))
}

/// Only addresses of pods are passed on to.
fn place(core: &Core, namespace: &str, address: &Value, port: u16) -> Option<Place> {
    let ip = address["ip"].as_str()?;
    let pod = core.get::<Pod>(namespace, address["targetRef"]["name"].as_str()?)?.object.clone();
    let own = pod.text(&["status", "podIP"]) == Some(ip);
    own.then_some(())?;
    Some(Place { pod, address: SocketAddr::new(ip.parse().ok()?, port) })
}

/// Relative links of a page are right only below its folder.
fn moved(asked: &Asked<'_>) -> Response<Body> {
    let mut response = Response::new(Body::whole(Bytes::new()));
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let to = HeaderValue::try_from(format!("{}/{}", asked.path, query(asked)));
    response.headers_mut().extend(to.ok().map(|to| (LOCATION, to)));
    response
}

fn query(asked: &Asked<'_>) -> String {
    asked.query_text.map(|text| format!("?{text}")).unwrap_or_default()
}

fn request(asked: &Asked<'_>, inside: &str, to: SocketAddr, body: Bytes) -> Result<Request<Full<Bytes>>, Status> {
    let path = if inside.is_empty() { "/" } else { inside };
    let uri = Uri::try_from(format!("{path}{}", query(asked)));
    let uri = uri.map_err(|error| errors::bad_request(error.to_string()))?;
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = asked.method.clone();
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    headers.extend(kept(asked.headers));
    // It is said anew for the body as it goes on.
    headers.remove(CONTENT_LENGTH);
    if !headers.contains_key(HOST) {
        headers.extend(HeaderValue::try_from(to.to_string()).ok().map(|host| (HOST, host)));
    }
    headers.extend(HeaderValue::try_from(asked.path).ok().map(|path| (FORWARDED_URI, path)));
    Ok(request)
}

const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

fn kept(headers: &HeaderMap) -> impl Iterator<Item = (HeaderName, HeaderValue)> + '_ {
    let kept = headers
        .iter()
        .filter(|(name, _)| !KEPT_BACK.contains(&name.as_str()) && !name.as_str().starts_with("impersonate-"));
    kept.map(|(name, value)| (name.clone(), value.clone()))
}

async fn exchange(stream: TcpStream, request: Request<Full<Bytes>>) -> hyper::Result<Response<hyper::body::Incoming>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the answer's body.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to a pod broke");
        }
    });
    sender.send_request(request).await
}

/// The answer, whose redirections lead back through the proxy.
fn passed_back(answer: Response<hyper::body::Incoming>, before: &str, from: SocketAddr) -> Response<Body> {
    let (parts, body) = answer.into_parts();
    let pieces = body.into_data_stream().map_err(std::io::Error::other);
    let mut response = Response::new(Body::stream(Box::pin(pieces)));
    *response.status_mut() = parts.status;
    response.headers_mut().extend(kept(&parts.headers));
    let to = parts.headers.get(LOCATION).and_then(|to| to.to_str().ok());
    let to = to.and_then(|to| HeaderValue::try_from(redirected(to, before, from)).ok());
    if let Some(to) = to {
        response.headers_mut().insert(LOCATION, to);
    }
    response
}

/// Where a redirection of a pod leads to for the client.
fn redirected(to: &str, before: &str, from: SocketAddr) -> String {
    let own = to.strip_prefix("http://").and_then(|rest| rest.strip_prefix(&from.to_string()));
    match own.unwrap_or(to) {
        path if path.starts_with('/') && !path.starts_with("//") && !path.starts_with(before) => {
            format!("{before}{path}")
        }
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_as_they_were_sent() {
        let before = "/api/v1/namespaces/a/pods/b:80/proxy";
        for inside in ["", "/", "/x%2Fy/z/"] {
            assert_eq!(split(&format!("{before}{inside}")), (before, inside));
        }
    }

    #[test]
    fn redirections_lead_back() {
        let from = "10.0.0.1:80".parse().unwrap();
        for (to, wanted) in [
            ("/login", "/p/proxy/login"),
            ("login", "login"),
            ("http://10.0.0.1:80/x?y", "/p/proxy/x?y"),
            ("http://example.com/x", "http://example.com/x"),
            ("//example.com/x", "//example.com/x"),
            ("/p/proxy/x", "/p/proxy/x"),
        ] {
            assert_eq!(redirected(to, "/p/proxy", from), wanted, "{to}");
        }
    }
}
