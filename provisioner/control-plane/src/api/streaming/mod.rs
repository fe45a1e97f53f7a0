//! Streams between a client and a pod, on a connection that was upgraded: exec, attach, ports.
//!
//! A connection carries several streams at once, by channels of a WebSocket or by SPDY. What goes through them is the same
//! either way.

mod channels;
mod forward;
mod session;
mod spdy;
mod tunnel;
mod upgrade;

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use hyper::upgrade::Upgraded;
use kprov_schema::{Object, Status, Subresource};
use serde_json::Value;
use tokio::sync::mpsc;

use super::authorize::{Attributes, authorize};
use super::body::Body;
use super::core::Core;
use super::errors;
use super::handle::Asked;
use super::path::Place;
use super::query::Query;
use super::target::Target;
use super::user::User;
use crate::client::node::{NodeApi, Task, Wanted};
use forward::Forward;
use session::{Kind, Session};
use upgrade::Offer;

/// Pieces that may wait in a stream, of whatever size they came; whoever sends more waits.
const AHEAD: usize = 16;

/// What comes from the client by one stream; it ends when the client ends it, or is gone.
type Incoming = mpsc::Receiver<Bytes>;

/// Something for the client.
enum Out {
    /// A piece of a stream.
    Data(u32, Bytes),
    /// The end of a stream.
    End(u32),
    /// The end of a stream, and of what the client says by it.
    Reset(u32),
    /// A stream that the client has opened is open.
    Accept(u32),
    /// The answer to a ping.
    Pong(u32),
}

/// The way to the client by one stream.
#[derive(Clone)]
struct Outgoing {
    number: u32,
    to: mpsc::Sender<Out>,
}

impl Outgoing {
    /// Waits while the client is behind. Errors: it is gone.
    async fn send(&self, piece: impl Into<Bytes>) -> io::Result<()> {
        self.put(Out::Data(self.number, piece.into())).await
    }

    /// Nothing more comes by this stream.
    async fn end(&self) -> io::Result<()> {
        self.put(Out::End(self.number)).await
    }

    /// Nothing more comes by this stream, and nothing more is taken.
    async fn reset(&self) -> io::Result<()> {
        self.put(Out::Reset(self.number)).await
    }

    async fn put(&self, out: Out) -> io::Result<()> {
        self.to.send(out).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// A request for streams, as far as it is the same for all.
pub(crate) struct Request<'a> {
    pub(crate) core: &'a Arc<Core>,
    pub(crate) asked: &'a Asked<'a>,
    pub(crate) user: &'a User,
    pub(crate) place: &'a Place,
    pub(crate) target: &'a Target,
}

/// A part that is streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Session(Kind),
    Ports,
}

/// Which streams a part is; `None` for one that is no streams.
pub(crate) fn find(part: Subresource) -> Option<Part> {
    match part {
        Subresource::Exec => Some(Part::Session(Kind::Exec)),
        Subresource::Attach => Some(Part::Session(Kind::Attach)),
        Subresource::PortForward => Some(Part::Ports),
        _ => None,
    }
}

/// Answers a request for streams: upgrades the connection, or says why not.
///
/// Source: `pkg/registry/core/pod/rest`, and of the kubelet `pkg/kubelet/server`, whose refusals are plain texts.
pub(crate) async fn connect(request: Request<'_>, part: Part) -> Result<Response<Body>, Status> {
    let Request { core, user, place, target, .. } = request;
    // Who opens a WebSocket asks by GET for what others ask for by POST.
    authorize(core, user, &Attributes { verb: "create".into(), place: place.clone(), ..Attributes::default() })?;
    let stored = core.store.get(&target.place()).ok_or_else(|| target.not_found())?;
    let pod = stored.object.clone();
    match part {
        Part::Session(kind) => session(&request, pod, kind).await,
        Part::Ports => ports(&request, pod).await,
    }
}

async fn session(request: &Request<'_>, pod: Arc<Object>, kind: Kind) -> Result<Response<Body>, Status> {
    let Request { core, asked, .. } = *request;
    let container = container(asked.query.get("container").unwrap_or_default(), &pod)?;
    let node = node(core, &pod)?;
    let offer = Offer::read(asked)?;
    let (accepted, protocol) = match offer.accept(&session::PROTOCOLS) {
        Ok(accepted) => accepted,
        Err(refusal) => return Ok(*refusal),
    };
    let wanted = wanted(&asked.query);
    let task = match kind {
        Kind::Exec => Task::Exec(asked.query.all("command").map(str::to_owned).collect()),
        Kind::Attach => Task::Attach,
    };
    let found = match wanted {
        Wanted { stdin: false, stdout: false, stderr: false, .. } => {
            Err(errors::bad_request("you must specify at least 1 of stdin, stdout, stderr"))
        }
        _ => node.session(pod, container, task, wanted).await,
    };
    let start = match found {
        Ok(start) => start,
        Err(status) if !protocol.tells_refusals() => return Ok(text(&status)),
        Err(status) => session::refused(&status.message),
    };
    let (session, clock) = (Session { kind, protocol, wanted, start }, core.world.clock.clone());
    upgrade(core, asked, move |connection| async move { session.serve(connection, offer.transport, &clock).await });
    Ok(accepted)
}

async fn ports(request: &Request<'_>, pod: Arc<Object>) -> Result<Response<Body>, Status> {
    let Request { core, asked, .. } = *request;
    let node = node(core, &pod)?;
    let offer = Offer::read(asked)?;
    let (accepted, protocol) = match offer.accept(&forward::PROTOCOLS) {
        Ok(accepted) => accepted,
        Err(refusal) => return Ok(*refusal),
    };
    let named = match forward::ports(&asked.query, protocol) {
        Ok(ports) => ports,
        Err(status) => return Ok(text(&status)),
    };
    let dial = match node.ports(pod.clone()).await {
        Ok(dial) => dial,
        Err(status) => return Ok(text(&status)),
    };
    let name = format!("{}, uid {}", pod.name(), pod.uid());
    let (forward, clock) = (Forward { protocol, dial, ports: named, pod: name }, core.world.clock.clone());
    upgrade(core, asked, move |connection| async move { forward.serve(connection, &clock).await });
    Ok(accepted)
}

/// Serves a connection once it is ours, until it ends or the server does.
fn upgrade<F: Future<Output = ()> + Send>(
    core: &Arc<Core>,
    asked: &Asked<'_>,
    serve: impl FnOnce(Upgraded) -> F + Send + 'static,
) {
    let Some(upgrade) = asked.upgrade.clone() else { return };
    let core = core.clone();
    tokio::spawn(async move {
        let connection = match upgrade.await {
            Ok(connection) => connection,
            Err(error) => return tracing::debug!(%error, "a connection is gone before it was upgraded"),
        };
        tokio::select! {
            () = serve(connection) => {}
            () = core.stopping() => {}
        }
    });
}

/// Source: the kubelet's `NewOptions`.
fn wanted(query: &Query) -> Wanted {
    let tty = query.flag("tty");
    Wanted { stdin: query.flag("stdin"), stdout: query.flag("stdout"), stderr: query.flag("stderr") && !tty, tty }
}

/// The agent of the node that a pod is on.
fn node(core: &Core, pod: &Object) -> Result<Arc<dyn NodeApi>, Status> {
    let name = pod.text(&["spec", "nodeName"]).unwrap_or_default();
    if name.is_empty() {
        return Err(errors::bad_request(format!("pod {} does not have a host assigned", pod.name())));
    }
    core.agent(name)
}

/// A refusal in plain text, as nodes give them.
fn text(status: &Status) -> Response<Body> {
    let mut response = Response::new(Body::whole(status.message.clone()));
    *response.status_mut() = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// The container that is meant: the one named, or the pod's only one.
///
/// Source: `validateContainer` of `pkg/registry/core/pod/strategy.go`.
pub(crate) fn container(named: &str, pod: &Object) -> Result<String, Status> {
    let names = |list: &str| -> Vec<String> {
        let containers = pod.at(&["spec", list]).and_then(Value::as_array);
        let names = containers.into_iter().flatten().filter_map(|one| one["name"].as_str());
        names.map(str::to_owned).collect()
    };
    let main = names("containers");
    let all = [names("initContainers"), main.clone(), names("ephemeralContainers")].concat();
    if !named.is_empty() {
        let refusal = || errors::bad_request(format!("container {named} is not valid for pod {}", pod.name()));
        return all.iter().any(|one| one == named).then(|| named.to_owned()).ok_or_else(refusal);
    }
    match main.as_slice() {
        [only] => Ok(only.clone()),
        _ => Err(errors::bad_request(format!(
            "a container name must be specified for pod {}, choose one of: [{}]",
            pod.name(),
            all.join(" ")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_container_is_named_where_there_are_several() {
        let of = |named: &str, spec: Value| {
            let pod = Object::try_from(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap();
            container(named, &pod).map_err(|status| status.message)
        };
        let one = json!({"containers": [{"name": "a"}], "initContainers": [{"name": "i"}]});
        let two = json!({"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}],
                         "ephemeralContainers": [{"name": "e"}]});
        assert_eq!(of("", one.clone()), Ok("a".into()));
        assert_eq!(of("i", one.clone()), Ok("i".into()));
        assert_eq!(of("e", two.clone()), Ok("e".into()));
        assert_eq!(of("x", one), Err("container x is not valid for pod p".into()));
        let message = "a container name must be specified for pod p, choose one of: [i a b e]";
        assert_eq!(of("", two), Err(message.into()));
    }
}
