//! The API server: every request goes path, authenticate, authorize, decode, admit, validate, commit, encode.
//!
//! Verbs are written once for all kinds (`verbs`); what a kind adds is a row of a table.

mod actions;
mod admission;
mod aside;
mod authenticate;
mod authorize;
mod body;
mod body_in;
mod bootstrap;
mod core;
mod definitions;
mod discovery;
mod documents;
mod encode;
mod errors;
mod eviction;
mod handle;
mod impersonate;
mod inprocess;
mod lifecycle;
mod logs;
mod media;
mod owners;
mod path;
mod proxy;
mod query;
mod rbac;
mod ready;
mod registry;
mod review;
mod serve;
mod stream;
mod streaming;
mod subresource;
#[cfg(test)]
mod tables;
mod target;
mod tokens;
mod user;
mod verbs;
mod write;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use http::{Request, Response};
use kprov_schema::Status;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

pub use body::Body;
pub use body_in::Incoming;
pub use core::Config;
pub use user::User;

use crate::client::Client;
use crate::client::node::NodeApi;
use crate::pki::{Pki, PkiError};
use crate::store::Store;
use crate::world::World;
use core::{Core, UNHEARD_PORT};

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address can't be listened on.
    #[error("can't listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Keys or certificates can't be used.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// What every cluster has can't be made.
    #[error("the cluster can't be prepared: {0}")]
    Prepare(#[source] Status),
}

/// Listens on every address.
async fn listen(addresses: &[SocketAddr]) -> Result<Vec<(SocketAddr, TcpListener)>, StartError> {
    let mut listeners: Vec<(SocketAddr, TcpListener)> = Vec::new();
    for wanted in addresses {
        let first = listeners.first().map_or(0, |(address, _)| address.port());
        let port = if wanted.port() == 0 { first } else { wanted.port() };
        let address = SocketAddr::new(wanted.ip(), port);
        let refused = |source| StartError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        listeners.push((listener.local_addr().map_err(refused)?, listener));
    }
    Ok(listeners)
}

/// A running API server. Dropping it stops it; [`Server::shutdown`] waits for the end.
pub struct Server {
    core: Arc<Core>,
    address: Option<SocketAddr>,
    tasks: Vec<JoinHandle<()>>,
}

impl Server {
    /// Starts a server over a store: makes what every cluster has, then answers.
    pub async fn start(config: Config, world: World, store: Store, pki: Arc<Pki>) -> Result<Self, StartError> {
        let listeners = listen(&config.listen).await?;
        let address = listeners.first().map(|(address, _)| *address);
        let tls = TlsAcceptor::from(Arc::new(pki.tls()?));
        let core = Core::new(config, address, world, store, pki).map_err(StartError::Prepare)?;
        let serving = core.clone();
        let each = |(_, listener)| tokio::spawn(serve::serve(serving.clone(), listener, tls.clone()));
        let tasks = listeners.into_iter().map(each).collect();
        let mut server = Self { core, address, tasks };
        let port = address.map_or(UNHEARD_PORT, |address| address.port());
        definitions::load(&server.core).map_err(StartError::Prepare)?;
        bootstrap::bootstrap(&server.core, port).await.map_err(StartError::Prepare)?;
        server.tasks.push(tokio::spawn(definitions::follow(server.core.clone())));
        server.core.set_ready();
        Ok(server)
    }

    /// Where it listens; `None` when in process alone.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The verbs as a user, without a socket.
    #[must_use]
    pub fn client(&self, user: User) -> Client {
        Arc::new(inprocess::InProcess::new(self.core.clone(), user))
    }

    /// Answers one request as if it had come over a connection with `user`'s certificate.
    pub async fn handle(&self, request: Request<impl Incoming>, user: Option<&User>) -> Response<Body> {
        handle::handle(&self.core, request, user).await
    }

    /// Lets clients reach what a node's agent serves, such as logs.
    pub fn attach_node(&self, name: impl Into<String>, node: Arc<dyn NodeApi>) {
        self.core.attach_node(name.into(), node);
    }

    /// The node's agent is gone.
    pub fn detach_node(&self, name: &str) {
        self.core.detach_node(name);
    }

    /// The text of the administrator's kubeconfig; `None` when the server listens nowhere.
    #[must_use]
    pub fn kubeconfig(&self) -> Option<String> {
        let address = self.address?;
        let host = if address.ip().is_unspecified() {
            SocketAddr::new(self.core.config.advertise, address.port())
        } else {
            address
        };
        Some(self.core.pki.kubeconfig(&self.core.config.name, &format!("https://{host}")))
    }

    /// Whether it answers with everything in place.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.core.is_ready()
    }

    /// Stops: watches end, open requests are answered, then connections close.
    pub async fn shutdown(mut self) {
        self.core.stop();
        for task in std::mem::take(&mut self.tasks) {
            if let Err(error) = task.await {
                tracing::error!(%error, "the server's task broke");
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.core.stop();
    }
}
