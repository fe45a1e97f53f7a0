//! Connections to an API server with the certificate of a kubeconfig's user.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Where an API server is, and as whom it is spoken to.
#[derive(Clone)]
pub struct Access {
    address: SocketAddr,
    tls: TlsConnector,
}

impl Access {
    /// What the first cluster and the first user of a kubeconfig say.
    ///
    /// Errors: a file without a server's IP address, or without certificates in it.
    pub fn from_kubeconfig(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let config: Value = kprov::yaml::from_str(&text)?;
        let (cluster, user) = (&config["clusters"][0]["cluster"], &config["users"][0]["user"]);
        let url = cluster["server"].as_str().context("no server")?;
        let address =
            url.trim_start_matches("https://").trim_end_matches('/').parse().context("the server's address")?;
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&decode(&cluster["certificate-authority-data"])?)? {
            roots.add(certificate)?;
        }
        let chain = certificates(&decode(&user["client-certificate-data"])?)?;
        let key = PrivateKeyDer::from_pem_slice(&decode(&user["client-key-data"])?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let tls = builder.with_root_certificates(roots).with_client_auth_cert(chain, key)?;
        Ok(Self { address, tls: TlsConnector::from(Arc::new(tls)) })
    }

    /// A TLS connection on which nothing has been said.
    pub async fn stream(&self) -> anyhow::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        Ok(self.tls.connect(ServerName::from(self.address.ip()), stream).await?)
    }

    /// Makes a connection that carries one request at a time.
    pub async fn connect(&self) -> anyhow::Result<Connection> {
        let (sender, driver) = http1::handshake(TokioIo::new(self.stream().await?)).await?;
        // What breaks the connection is told to the request that waits on it.
        let driver = tokio::spawn(async move { driver.await.unwrap_or_default() });
        Ok(Connection { sender, driver, host: self.address.to_string() })
    }
}

fn decode(field: &Value) -> anyhow::Result<Vec<u8>> {
    Ok(BASE64_STANDARD.decode(field.as_str().context("the kubeconfig holds no certificates")?)?)
}

fn certificates(pem: &[u8]) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    Ok(CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>()?)
}

/// One connection that is kept.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
    host: String,
}

impl Connection {
    /// Sends a request with a JSON body and reads the whole answer.
    ///
    /// Errors: the connection broke; a status that tells of a failure is an answer.
    pub async fn send(&mut self, method: Method, path: &str, body: impl Into<Bytes>) -> anyhow::Result<Answer> {
        let response = self.request(method, path, body.into()).await?;
        let status = response.status();
        Ok(Answer { status, body: response.into_body().collect().await?.to_bytes() })
    }

    /// The same without a body.
    pub async fn get(&mut self, path: &str) -> anyhow::Result<Answer> {
        self.send(Method::GET, path, Bytes::new()).await
    }

    /// Turns the connection into a watch.
    ///
    /// Errors: the server refuses it.
    pub async fn watch(mut self, path: &str) -> anyhow::Result<Watch> {
        let response = self.request(Method::GET, path, Bytes::new()).await?;
        if response.status() != StatusCode::OK {
            let body = response.into_body().collect().await?.to_bytes();
            anyhow::bail!("GET {path}: {}", String::from_utf8_lossy(&body));
        }
        Ok(Watch { body: response.into_body(), read: BytesMut::new(), _connection: self })
    }

    async fn request(&mut self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Response<Incoming>> {
        let kind = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.host)
            .header(header::CONTENT_TYPE, kind)
            .body(Full::new(body))?;
        self.sender.ready().await?;
        Ok(self.sender.send_request(request).await?)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status line's number.
    pub status: StatusCode,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("{}: {}", self.status, self.text()))
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Events of a watch as they come.
pub struct Watch {
    body: Incoming,
    read: BytesMut,
    _connection: Connection,
}

impl Watch {
    /// The next event's line; `None` when the server has ended the watch.
    ///
    /// Errors: the connection broke.
    pub async fn next(&mut self) -> anyhow::Result<Option<Bytes>> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                return Ok(Some(self.read.split_to(end + 1).freeze()));
            }
            let Some(frame) = self.body.frame().await.transpose()? else { return Ok(None) };
            if let Some(data) = frame.data_ref() {
                self.read.extend_from_slice(data);
            }
        }
    }
}
