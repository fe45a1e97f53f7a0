//! The health protocol of gRPC.
//!
//! Source: `grpc.health.v1.Health/Check`: a message with the name of a service, answered by one with a number.

use std::net::SocketAddr;

use bytes::{BufMut, Bytes, BytesMut};
use http::{Request, header};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::JoinSet;

use super::super::{Context, chain};
use super::{Outcome, dial};

/// Names of the answers by their numbers.
const STATES: [&str; 4] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];
const SERVING: u64 = 1;

/// Asks whether a service serves.
pub(super) async fn check(context: &Context, address: SocketAddr, service: &str) -> Outcome {
    let stream = match context.network.connect(address).await {
        Ok(Some(stream)) => stream,
        // There is no network.
        Ok(None) => return Outcome::Success,
        Err(error) => return Outcome::Failure(format!("error: health rpc probe failed: {}", dial(address, &error))),
    };
    let asked = ask(stream, address, service).await;
    match asked {
        Ok(SERVING) => Outcome::Success,
        Ok(other) => {
            let name = usize::try_from(other).ok().and_then(|index| STATES.get(index)).unwrap_or(&"UNKNOWN");
            Outcome::Failure(format!("service unhealthy (responded with {name:?})"))
        }
        Err(why) => Outcome::Failure(format!("error: health rpc probe failed: {why}")),
    }
}

async fn ask(stream: tokio::net::TcpStream, address: SocketAddr, service: &str) -> Result<u64, String> {
    let failed = |error: &dyn std::error::Error| chain(error);
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| failed(&error))?;
    let request = Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header(header::USER_AGENT, super::prober())
        .body(Full::new(question(service)))
        .map_err(|error| failed(&error))?;
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let answer = sender.send_request(request).await.map_err(|error| failed(&error))?;
    let early = answer.headers().clone();
    let body = answer.into_body().collect().await.map_err(|error| failed(&error))?;
    let late = body.trailers().cloned().unwrap_or_default();
    let said = |name: &str| late.get(name).or(early.get(name)).and_then(|value| value.to_str().ok());
    match said("grpc-status") {
        Some("0") => state(&body.to_bytes()).ok_or_else(|| "the answer is no health".to_owned()),
        Some("12") => Err("this server does not implement the grpc health protocol (grpc.health.v1.Health)".to_owned()),
        Some(code) => Err(format!("rpc error: code = {code} desc = {}", said("grpc-message").unwrap_or_default())),
        None => Err("the answer has no grpc-status".to_owned()),
    }
}

/// A message in its frame: not compressed, its length, and in field 1 the name.
fn question(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(0x0a);
        varint(&mut message, service.len() as u64);
        message.put_slice(service.as_bytes());
    }
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put(message);
    frame.freeze()
}

fn varint(to: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        to.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    to.put_u8(value as u8);
}

/// Field 1 of the answer; 0 where it is left out. `None` for what is no answer.
fn state(frame: &[u8]) -> Option<u64> {
    let (head, message) = frame.split_at_checked(5)?;
    let length = u32::from_be_bytes(head[1..].try_into().ok()?) as usize;
    match (head[0], message.get(..length)?) {
        (0, []) => Some(0),
        (0, [0x08, state, ..]) => Some(u64::from(*state)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::stream;
    use http::{HeaderMap, HeaderValue, Response};
    use http_body_util::StreamBody;
    use hyper::body::{Frame, Incoming};
    use hyper::service::service_fn;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// A server that answers a call with these bytes and this code.
    async fn server(message: &'static [u8], code: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it has one");
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("somebody asks");
            let answer = service_fn(move |request: Request<Incoming>| async move {
                assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
                let asked = request.into_body().collect().await.expect("a question").to_bytes();
                assert_eq!(asked, question("web"));
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", HeaderValue::from_static(code));
                let frames = [Frame::data(Bytes::from_static(message)), Frame::trailers(trailers)];
                let body = StreamBody::new(stream::iter(frames.map(Ok::<_, Infallible>)));
                Ok::<_, Infallible>(Response::new(body))
            });
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            server.serve_connection(TokioIo::new(stream), answer).await.ok();
        });
        address
    }

    #[tokio::test]
    async fn a_server_is_asked_for_a_service() {
        let unimplemented =
            "this server does not implement the grpc health protocol (grpc.health.v1.Health)".to_owned();
        let cases: [(&[u8], &str, Result<u64, String>); 4] = [
            (&[0, 0, 0, 0, 2, 8, 1], "0", Ok(SERVING)),
            (&[0, 0, 0, 0, 2, 8, 2], "0", Ok(2)),
            (&[], "12", Err(unimplemented)),
            (&[], "5", Err("rpc error: code = 5 desc = ".to_owned())),
        ];
        for (message, code, wanted) in cases {
            let address = server(message, code).await;
            let stream = TcpStream::connect(address).await.expect("it listens");
            assert_eq!(ask(stream, address, "web").await, wanted, "{code}");
        }
    }

    #[test]
    fn messages_are_what_the_protocol_says() {
        assert_eq!(&*question(""), [0, 0, 0, 0, 0]);
        assert_eq!(&*question("a"), [0, 0, 0, 0, 3, 0x0a, 1, b'a']);
        assert_eq!(question(&"x".repeat(300)).len(), 5 + 3 + 300);
        assert_eq!(state(&[0, 0, 0, 0, 2, 8, 1]), Some(SERVING));
        assert_eq!(state(&[0, 0, 0, 0, 0]), Some(0));
        assert_eq!(state(&[0, 0, 0, 0, 2, 8]), None);
        assert_eq!(state(&[1, 0, 0, 0, 0]), None);
    }
}
