//! An HTTP server that answers with what it knows of itself and of the request.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// Serves on `addr` until SIGTERM or SIGINT, and then ends when the requests under way are answered.
///
/// Every path answers with host name, client address, request line, headers and environment as plain text, in the words
/// of the echo server that tutorials use; `/healthz` answers `ok`. HTTP/1 and HTTP/2 without TLS.
pub async fn serve(addr: SocketAddr) -> io::Result<()> {
    serve_on(TcpListener::bind(addr).await?).await
}

/// [`serve`] on a socket that listens already.
pub async fn serve_on(listener: TcpListener) -> io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let facts = Arc::new(Facts::gather());
    let (http, graceful) = (auto::Builder::new(TokioExecutor::new()), GracefulShutdown::new());
    loop {
        let (stream, client) = tokio::select! {
            accepted = listener.accept() => accepted?,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        };
        let facts = Arc::clone(&facts);
        let service = service_fn(move |request| {
            let text = facts.answer(&request, client);
            async move { Ok::<_, Infallible>(text) }
        });
        let connection = http.serve_connection(TokioIo::new(stream), service).into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%client, error, "a connection ended early");
            }
        });
    }
    graceful.shutdown().await;
    Ok(())
}

/// What does not change while the server runs.
struct Facts {
    hostname: String,
    environment: Vec<(String, String)>,
}

impl Facts {
    fn gather() -> Self {
        let hostname = nix::unistd::gethostname().unwrap_or_default();
        let mut environment: Vec<(String, String)> = std::env::vars_os()
            .map(|(k, v)| (k.to_string_lossy().into_owned(), v.to_string_lossy().into_owned()))
            .collect();
        environment.sort();
        Self { hostname: hostname.to_string_lossy().into_owned(), environment }
    }

    fn answer(&self, request: &Request<Incoming>, client: SocketAddr) -> Response<Full<Bytes>> {
        let text = if request.uri().path() == "/healthz" { "ok\n".into() } else { self.describe(request, client) };
        let mut response = Response::new(Full::new(Bytes::from(text)));
        response
            .headers_mut()
            .insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("text/plain; charset=utf-8"));
        response
    }

    fn describe<B>(&self, request: &Request<B>, client: SocketAddr) -> String {
        let mut text = format!("\n\nHostname: {}\n\nRequest Information:\n", self.hostname);
        let host = request.headers().get(http::header::HOST).and_then(|h| h.to_str().ok()).unwrap_or_default();
        let mut line =
            |key: &str, value: &dyn std::fmt::Display| writeln!(text, "\t{key}={value}").expect("a string takes all");
        line("client_address", &client.ip());
        line("method", request.method());
        line("real path", request.uri());
        line("query", &request.uri().query().unwrap_or_default());
        line("request_version", &format_args!("{:?}", request.version()));
        line("request_uri", &format_args!("http://{host}{}", request.uri().path()));
        text.push_str("\nRequest Headers:\n");
        for (name, value) in request.headers() {
            writeln!(text, "\t{name}={}", String::from_utf8_lossy(value.as_bytes())).expect("a string takes all");
        }
        text.push_str("\nEnvironment:\n");
        for (name, value) in &self.environment {
            writeln!(text, "\t{name}={value}").expect("a string takes all");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_with_everything_asked_for() {
        let facts = Facts { hostname: "web-1".into(), environment: vec![("COLOR".into(), "red".into())] };
        let request = Request::get("/a/b?c=d").header("host", "web:8080").header("x-test", "1").body(()).unwrap();
        let text = facts.describe(&request, "10.244.0.7:5000".parse().unwrap());
        expect_test::expect![[r"


            Hostname: web-1

            Request Information:
            	client_address=10.244.0.7
            	method=GET
            	real path=/a/b?c=d
            	query=c=d
            	request_version=HTTP/1.1
            	request_uri=http://web:8080/a/b

            Request Headers:
            	host=web:8080
            	x-test=1

            Environment:
            	COLOR=red
        "]]
        .assert_eq(&text);
    }
}
