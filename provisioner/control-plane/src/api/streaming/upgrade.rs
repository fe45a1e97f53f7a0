//! How a client asks for its connection to be upgraded, and what it is answered.

use http::header::{CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY};
use http::header::{SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderMap, Response, StatusCode};
use kprov_schema::Status;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::text;
use crate::api::body::Body;
use crate::api::errors;
use crate::api::handle::Asked;

/// Sub-protocols of SPDY: those of the client, and the one that is chosen.
const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
/// The ones to choose of.
const ACCEPTED_PROTOCOLS: HeaderName = HeaderName::from_static("x-accepted-stream-protocol-versions");

/// What a client asks its connection to become.
#[derive(Clone, Debug)]
pub(super) enum Transport {
    /// A WebSocket, with the client's key.
    WebSocket(HeaderValue),
    /// SPDY/3.1.
    Spdy,
}

/// A transport, and the sub-protocols that the client speaks, in its order.
pub(super) struct Offer {
    pub(super) transport: Transport,
    protocols: Vec<String>,
}

/// A sub-protocol by name; the empty one is for who names none.
pub(super) type Named<T> = (&'static str, T);

/// The sub-protocols that the server speaks.
pub(super) struct Known<T: 'static> {
    pub(super) websocket: &'static [Named<T>],
    pub(super) spdy: &'static [Named<T>],
}

impl Offer {
    /// Reads the offer. Errors: the request asks for no upgrade, or for one that can't be.
    pub(super) fn read(asked: &Asked<'_>) -> Result<Self, Status> {
        let headers = asked.headers;
        let names = |name, wanted| words(headers, &name).any(|word| word.eq_ignore_ascii_case(wanted));
        let listed = |name| words(headers, &name).map(str::to_owned).collect();
        if !names(CONNECTION, "upgrade") || asked.upgrade.is_none() {
            return Err(errors::bad_request("Upgrade request required"));
        }
        if names(UPGRADE, "SPDY/3.1") {
            return Ok(Self { transport: Transport::Spdy, protocols: listed(STREAM_PROTOCOL) });
        }
        let version = headers.get(SEC_WEBSOCKET_VERSION).and_then(|value| value.to_str().ok());
        match (names(UPGRADE, "websocket"), version, headers.get(SEC_WEBSOCKET_KEY)) {
            (true, Some("13"), Some(key)) => {
                Ok(Self { transport: Transport::WebSocket(key.clone()), protocols: listed(SEC_WEBSOCKET_PROTOCOL) })
            }
            (true, ..) => Err(errors::bad_request("a WebSocket has version 13 and a key")),
            _ => Err(errors::bad_request("Upgrade request required")),
        }
    }

    /// The answer that upgrades, with the first sub-protocol of the client that is one of `known`; else the one that
    /// refuses.
    ///
    /// Source: `httpstream.Handshake`, and `handshake` of `wsstream`.
    pub(super) fn accept<T: Copy>(&self, known: &Known<T>) -> Result<(Response<Body>, T), Box<Response<Body>>> {
        let known = match self.transport {
            Transport::WebSocket(_) => known.websocket,
            Transport::Spdy => known.spdy,
        };
        if matches!(self.transport, Transport::Spdy) && self.protocols.is_empty() {
            let message = "unable to upgrade: header X-Stream-Protocol-Version does not exist in request";
            return Err(Box::new(text(&errors::plain(400, message))));
        }
        let none = [String::new()];
        let offered = if self.protocols.is_empty() { &none[..] } else { &self.protocols };
        let chosen = offered.iter().find_map(|offered| known.iter().find(|(name, _)| name == offered));
        let Some((name, chosen)) = chosen else { return Err(Box::new(self.refusal(known))) };
        let mut response = Response::new(Body::whole(bytes::Bytes::new()));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        let protocol = match &self.transport {
            Transport::WebSocket(key) => {
                let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes())).expect("base64 fits a header");
                headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
                SEC_WEBSOCKET_PROTOCOL
            }
            Transport::Spdy => {
                headers.insert(UPGRADE, HeaderValue::from_static("SPDY/3.1"));
                STREAM_PROTOCOL
            }
        };
        if !name.is_empty() {
            headers.insert(protocol, HeaderValue::from_static(name));
        }
        Ok((response, *chosen))
    }

    fn refusal<T>(&self, known: &[Named<T>]) -> Response<Body> {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).filter(|name| !name.is_empty()).collect();
        let message = format!(
            "unable to upgrade: unable to negotiate protocol: client supports [{}], server accepts [{}]",
            self.protocols.join(" "),
            names.join(" ")
        );
        let mut response = text(&errors::plain(403, message));
        if matches!(self.transport, Transport::Spdy) {
            for (name, _) in known {
                response.headers_mut().append(ACCEPTED_PROTOCOLS, HeaderValue::from_static(name));
            }
        }
        response
    }
}

/// The words of a header that is a list, in however many lines it came.
fn words<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> + use<'a> {
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|word| !word.is_empty())
}
