//! Ingresses: a proxy for HTTP and HTTPS on every node, straight to the endpoints of services.
//!
//! `routes` and `certificates` are what ingresses mean, as values; `follow` keeps them in step with the cluster, once for
//! all nodes; `front` has the doors of one node, `proxy` one request, `backends` the connections to those who answer it.

mod backends;
pub mod certificates;
mod follow;
mod front;
pub mod host;
pub mod pattern;
mod proxy;
pub mod routes;

use std::sync::Arc;

use kprov_control_plane::client::Client;
use kprov_control_plane::informer::Informers;
use kprov_control_plane::world::World;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::agent::references::References;
use crate::net::PodNetwork;
use certificates::{CertificateError, Certificates, nobody};
use follow::Follower;
pub use front::Front;
use routes::Routes;

/// What the ingresses of the cluster come to.
#[derive(Debug, Default)]
struct State {
    /// Whether there is a class that is served.
    open: bool,
    routes: Routes,
    certificates: Certificates,
}

/// The ingresses of a cluster, followed. Nothing is followed any more when this is dropped.
pub struct Ingresses {
    state: watch::Receiver<Arc<State>>,
    tls: Arc<ServerConfig>,
    world: World,
    _informers: Informers,
    _task: JoinSet<()>,
}

impl Ingresses {
    /// Starts to follow the ingresses whose class names a controller that `serves` accepts, and those without a class.
    ///
    /// `client` must be allowed to list and watch ingresses, their classes, services, endpoint slices and secrets.
    /// Errors: no certificate can be made for names that have none.
    pub fn start(client: &Client, world: &World, serves: fn(&str) -> bool) -> Result<Self, CertificateError> {
        let informers = Informers::start(client, world, follow::resources());
        let (sender, state) = watch::channel(Arc::default());
        let follower = Follower {
            caches: informers.caches(),
            references: References::new(Arc::clone(client), Arc::clone(&world.clock)),
            serves,
            state: sender,
            clock: Arc::clone(&world.clock),
        };
        let tls = Arc::new(tls(state.clone())?);
        let mut task = JoinSet::new();
        task.spawn(follower.run());
        Ok(Self { state, tls, world: world.clone(), _informers: informers, _task: task })
    }

    /// Serves them on ports 80 and 443 of a node's address, as long as what is returned lives.
    #[must_use]
    pub fn front(&self, network: Arc<dyn PodNetwork>) -> Front {
        Front::open(network, &self.state, &self.tls, &self.world)
    }
}

fn tls(state: watch::Receiver<Arc<State>>) -> Result<ServerConfig, CertificateError> {
    let resolver = Resolver { state, nobody: Arc::new(nobody()?) };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Shows the certificate of the name that is asked for.
#[derive(Debug)]
struct Resolver {
    state: watch::Receiver<Arc<State>>,
    nobody: Arc<CertifiedKey>,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let state = self.state.borrow();
        Some(Arc::clone(state.certificates.find(hello.server_name()).unwrap_or(&self.nobody)))
    }
}
