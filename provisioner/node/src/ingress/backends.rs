//! Connections to backends, kept while they are of use.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use kprov_control_plane::world::Rng;
use tokio::time::timeout;

use crate::net::PodNetwork;

/// Connections to one endpoint that are kept when nobody uses them.
const KEPT: usize = 32;
/// Endpoints that are tried before a request is given up.
const TRIES: usize = 3;
const CONNECT: Duration = Duration::from_secs(5);
/// How long a backend may take until its answer begins, after the last of the request that it took.
const ANSWER: Duration = Duration::from_secs(60);

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nobody took the connection, or it broke.
    Broken,
    /// Nothing came in time.
    Late,
}

/// Everybody that requests of one node are handed to.
pub(super) struct Backends {
    network: Arc<dyn PodNetwork>,
    rng: Arc<dyn Rng>,
    kept: Mutex<HashMap<SocketAddr, Vec<SendRequest<Upload>>>>,
}

impl Backends {
    pub(super) fn new(network: Arc<dyn PodNetwork>, rng: Arc<dyn Rng>) -> Self {
        Self { network, rng, kept: Mutex::default() }
    }

    /// Hands a request to one of the endpoints, each as likely as the others.
    ///
    /// Another is tried only as long as nothing of the request was sent: it may not be done twice.
    pub(super) async fn send(
        &self,
        endpoints: &[SocketAddr],
        request: Request<Incoming>,
    ) -> Result<Response<Incoming>, Failure> {
        let mut request = request.map(Upload::new);
        let first = self.rng.next_u64() % endpoints.len().max(1) as u64;
        let first = usize::try_from(first).expect("smaller than a length");
        let mut failure = Failure::Broken;
        for &endpoint in endpoints.iter().cycle().skip(first).take(endpoints.len().min(TRIES)) {
            while let Some(kept) = self.take(endpoint) {
                match self.over(endpoint, kept, request).await {
                    Err(Unsent::Whole(whole)) => request = *whole,
                    Err(Unsent::No(failure)) => return Err(failure),
                    Ok(response) => return Ok(response),
                }
            }
            match timeout(CONNECT, self.connect(endpoint)).await {
                Ok(Ok(new)) => match self.over(endpoint, new, request).await {
                    Err(Unsent::Whole(whole)) => request = *whole,
                    Err(Unsent::No(failure)) => return Err(failure),
                    Ok(response) => return Ok(response),
                },
                Ok(Err(error)) => {
                    tracing::debug!(%endpoint, %error, "a backend can't be reached");
                    failure = Failure::Broken;
                }
                Err(_) => failure = Failure::Late,
            }
        }
        Err(failure)
    }

    /// Lets go of connections to whom no request may go any more.
    pub(super) fn retain(&self, endpoints: &BTreeSet<SocketAddr>) {
        self.kept().retain(|endpoint, _| endpoints.contains(endpoint));
    }

    async fn over(
        &self,
        endpoint: SocketAddr,
        mut sender: SendRequest<Upload>,
        request: Request<Upload>,
    ) -> Result<Response<Incoming>, Unsent> {
        let taken = Arc::clone(&request.body().taken);
        let mut answering = std::pin::pin!(sender.try_send_request(request));
        let answer = loop {
            let before = taken.load(Ordering::Relaxed);
            match timeout(ANSWER, answering.as_mut()).await {
                Ok(answer) => break answer,
                Err(_) if taken.load(Ordering::Relaxed) != before => {}
                Err(_) => return Err(Unsent::No(Failure::Late)),
            }
        };
        let response = answer.map_err(|mut error| match error.take_message() {
            Some(request) => Unsent::Whole(Box::new(request)),
            None => {
                tracing::debug!(%endpoint, error = %error.error(), "a backend broke off");
                Unsent::No(Failure::Broken)
            }
        })?;
        self.keep(endpoint, sender);
        Ok(response)
    }

    /// A kept connection that is free. Those whose answer is still on its way stay.
    fn take(&self, endpoint: SocketAddr) -> Option<SendRequest<Upload>> {
        let mut all = self.kept();
        let kept = all.get_mut(&endpoint)?;
        kept.retain(|sender| !sender.is_closed());
        let free = kept.iter().position(SendRequest::is_ready)?;
        Some(kept.swap_remove(free))
    }

    fn keep(&self, endpoint: SocketAddr, sender: SendRequest<Upload>) {
        let mut all = self.kept();
        let kept = all.entry(endpoint).or_default();
        kept.retain(|sender| !sender.is_closed());
        if kept.len() < KEPT {
            kept.push(sender);
        }
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<SocketAddr, Vec<SendRequest<Upload>>>> {
        self.kept.lock().expect("no code panics while it holds the lock")
    }

    async fn connect(
        &self,
        endpoint: SocketAddr,
    ) -> Result<SendRequest<Upload>, Box<dyn std::error::Error + Send + Sync>> {
        let stream = self.network.connect(endpoint).await?.ok_or("there is no network")?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // It ends with its sender, or when the backend ends it.
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%endpoint, %error, "a connection to a backend ended");
            }
        });
        Ok(sender)
    }
}

/// What became of a request that was not answered.
enum Unsent {
    /// Nothing of it was sent.
    Whole(Box<Request<Upload>>),
    /// It may have been sent.
    No(Failure),
}

/// The body of a request, which counts what is taken of it.
struct Upload {
    body: Incoming,
    taken: Arc<AtomicU64>,
}

impl Upload {
    fn new(body: Incoming) -> Self {
        Self { body, taken: Arc::default() }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if polled.is_ready() {
            self.taken.fetch_add(1, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
