//! Applies bundles to a cluster, waits until they are ready, and reads and writes single objects.
//!
//! ```no_run
//! use std::time::Duration;
//! use kprov::{Bundle, client::{Client, ClientError}};
//!
//! # async fn doc(app: Bundle) -> Result<(), ClientError> {
//! let cluster = Client::from_default().await?;
//! cluster.apply(&app).await?;
//! cluster.ready(&app, Duration::from_secs(60)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What an apply does
//!
//! Objects are sent by server-side apply under the field manager `kprov`, stage by stage in the order in which they
//! need each other. What is there already and is the same is not written. A field that another manager owns is a
//! conflict, shown as field and manager; [`Apply::force`] takes it over.
//!
//! # What a bundle remembers
//!
//! With [`Apply::track`] or [`Apply::prune`] the cluster remembers what a bundle made, as kubectl's ApplySets do: every
//! object that the apply creates carries the label `applyset.kubernetes.io/part-of`, and a ConfigMap
//! `kprov-<name of the bundle>` in the client's namespace says which kinds and namespaces to look into. The label is
//! written in the same request that creates the object, and the ConfigMap before the first object: so whenever an apply
//! is killed, the next one finds everything that was made, and finishes. A list of names would have to be written
//! before or after the objects, and would lie in between.
//!
//! Two applies of a bundle at the same moment may each prune what the other made, and forget nothing: an inventory is
//! written only as it was read, loses only what was searched, and is looked at again after both.
//!
//! Prune deletes what carries the label, was applied by `kprov`, has no controller as its owner and is not in the bundle
//! any more. An object that was there before is configured but never gets the label: it stays when it leaves the bundle.
//! A namespace stays, too, while an object of the bundle or its ConfigMap is in it.

mod apply;
mod conflict;
mod connect;
mod delete;
mod diff;
mod error;
mod exec;
mod inventory;
mod logs;
mod objects;
mod place;
mod prune;
mod readiness;
mod report;
mod request;
mod wait;

use std::path::Path;

pub use apply::Apply;
pub use conflict::Conflict;
pub use connect::{Access, InCluster, Kubeconfig, Server};
pub use delete::Delete;
pub use diff::LiveChange;
pub use error::{ApiError, ClientError, Peer};
pub use exec::Output;
pub use kube;
pub use logs::{Line, Logs};
pub use objects::Objects;
pub use place::Id;
pub use readiness::{Readiness, pod_trouble, readiness};
pub use report::{Did, Outcome, Progress, Report};
pub use wait::{NotReady, Unready};

/// The field manager under which kprov applies.
///
/// ```
/// assert_eq!(kprov::client::MANAGER, "kprov");
/// ```
pub const MANAGER: &str = "kprov";

/// A connection to one cluster, with the namespace of objects that name none. Cheap to clone.
///
/// ```no_run
/// use kprov::client::{Client, ClientError};
///
/// async fn names() -> Result<(), ClientError> {
///     let cluster = Client::from_default().await?.in_namespace("shop");
///     println!("{} in {}", cluster.peer(), cluster.default_namespace());
///     let version = cluster.kube().apiserver_version().await;
///     let other = Client::from_kubeconfig("/etc/kprov/admin.conf".as_ref()).await?;
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct Client {
    kube: kube::Client,
    namespace: String,
    peer: std::sync::Arc<Peer>,
    places: place::Places,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({}, namespace {})", self.peer, self.namespace)
    }
}

impl Client {
    /// Connects as kubectl would: `$KUBECONFIG`, `~/.kube/config`, else as the pod that it runs in.
    ///
    /// Errors: [`ClientError::Setup`], with the file, the context and what to do.
    pub async fn from_default() -> Result<Self, ClientError> {
        Self::connect(Access::default_chain()).await
    }

    /// Connects with a kubeconfig file and its current context.
    ///
    /// Errors: [`ClientError::Setup`].
    pub async fn from_kubeconfig(path: &Path) -> Result<Self, ClientError> {
        Self::connect(path).await
    }

    /// Connects by a kubeconfig, in the cluster, or with what is given by hand. The server is not asked yet.
    ///
    /// Errors: [`ClientError::Setup`].
    ///
    /// ```no_run
    /// # async fn doc() -> Result<(), kprov::client::ClientError> {
    /// use kprov::client::{Client, InCluster, Kubeconfig, Server};
    ///
    /// let mine = Client::connect(Kubeconfig::new().context("kprov-dev")).await?;
    /// let pods = Client::connect(InCluster).await?;
    /// let other = Client::connect(Server::at("https://10.0.0.1:6443").token("s3cret")).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect(access: impl Into<Access>) -> Result<Self, ClientError> {
        let (config, peer) = access.into().config().await?;
        let namespace = config.default_namespace.clone();
        let kube = kube::Client::try_from(config).map_err(|error| ClientError::Setup {
            what: format!("access to {peer}"),
            why: error::trouble(&error).0,
            next: "check certificate, key and authority".to_owned(),
        })?;
        Ok(Self { kube, namespace, peer: std::sync::Arc::new(peer), places: place::Places::default() })
    }

    /// A connection that was made with kube. `user` is named in errors.
    ///
    /// ```
    /// use kprov::client::{Client, kube};
    ///
    /// fn ours(kube: kube::Client) -> Client {
    ///     Client::from_kube(kube, "https://10.0.0.1:6443", "ada")
    /// }
    /// ```
    #[must_use]
    pub fn from_kube(kube: kube::Client, server: impl Into<String>, user: impl Into<String>) -> Self {
        let namespace = kube.default_namespace().to_owned();
        let peer = Peer { server: server.into(), user: user.into() };
        Self { kube, namespace, peer: std::sync::Arc::new(peer), places: place::Places::default() }
    }

    /// The same connection with another namespace for objects that name none.
    #[must_use]
    pub fn in_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// The namespace of objects that name none: the context's, or `default`.
    #[must_use]
    pub fn default_namespace(&self) -> &str {
        &self.namespace
    }

    /// Who is asked, and as whom.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The connection, for everything that is not here.
    #[must_use]
    pub fn kube(&self) -> &kube::Client {
        &self.kube
    }
}

#[cfg(test)]
mod tests;
