//! The ways to a cluster: a kubeconfig, the pod that the program runs in, or what is given by hand.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig as File};
use serde_json::{Map, Value, json};

use super::error::{ClientError, Peer};

/// Where a cluster is and who asks it: a [`Kubeconfig`], [`InCluster`] or a [`Server`].
///
/// ```
/// use kprov::client::{Access, InCluster, Kubeconfig, Server};
///
/// let mine: Access = Kubeconfig::new().into();
/// let pods: Access = InCluster.into();
/// let other: Access = Server::at("https://10.0.0.1:6443").into();
/// ```
#[derive(Clone, Debug)]
pub enum Access {
    /// See [`Kubeconfig`].
    Kubeconfig(Kubeconfig),
    /// See [`InCluster`].
    InCluster(InCluster),
    /// See [`Server`].
    Server(Server),
}

/// Access by a kubeconfig, as kubectl has it.
///
/// Left as it is: `$KUBECONFIG` (several files are merged), else `~/.kube/config`, and the current context.
///
/// ```
/// let staging = kprov::client::Kubeconfig::new().path("/etc/kprov/admin.conf").context("staging");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Kubeconfig {
    path: Option<PathBuf>,
    context: Option<String>,
}

/// Access by the service account of the pod that the program runs in.
///
/// ```
/// let pods: kprov::client::Access = kprov::client::InCluster.into();
/// ```
#[derive(Clone, Copy, Debug)]
pub struct InCluster;

/// Access by what is given by hand.
///
/// ```
/// let server = kprov::client::Server::at("https://10.0.0.1:6443").authority("-----BEGIN ...").token("s3cret");
/// ```
#[derive(Clone)]
pub struct Server {
    address: String,
    authority: Option<String>,
    user: Map<String, Value>,
    who: &'static str,
}

// Without what is secret in it.
impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("address", &self.address).field("who", &self.who).finish_non_exhaustive()
    }
}

impl Kubeconfig {
    /// The default files and their current context.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One file instead of the default ones.
    #[must_use]
    pub fn path(mut self, path: impl Into<PathBuf>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// A context instead of the current one.
    #[must_use]
    pub fn context(mut self, name: impl Into<String>) -> Self {
        self.context = Some(name.into());
        self
    }

    /// Whether there is a file to read, or one was named.
    fn is_there(&self) -> bool {
        self.path.is_some()
            || std::env::var_os("KUBECONFIG").is_some_and(|files| !files.is_empty())
            || std::env::home_dir().is_some_and(|home| home.join(".kube/config").exists())
    }

    async fn config(self) -> Result<(Config, Peer), ClientError> {
        let file = match &self.path {
            Some(path) => File::read_from(path),
            None => File::read(),
        };
        let file = file.map_err(|error| self.unusable(&error.to_string(), READ))?;
        let name = self.chosen(&file)?;
        let user = user_of(&file, &name);
        let options = KubeConfigOptions { context: Some(name), ..Default::default() };
        let config = Config::from_custom_kubeconfig(file, &options).await;
        let config = config.map_err(|error| self.unusable(&error.to_string(), READ))?;
        let peer = Peer { server: address(&config), user };
        Ok((config, peer))
    }

    /// The context that is meant.
    fn chosen(&self, file: &File) -> Result<String, ClientError> {
        let names: Vec<&str> = file.contexts.iter().map(|context| context.name.as_str()).collect();
        let all = if names.is_empty() { "it has none".to_owned() } else { format!("it has {}", names.join(", ")) };
        let wanted = self.context.as_deref().or(file.current_context.as_deref()).filter(|name| !name.is_empty());
        match wanted {
            Some(name) if names.contains(&name) => Ok(name.to_owned()),
            Some(name) => Err(self.unusable(&format!("there is no context {name:?}: {all}"), CHOOSE)),
            None => Err(self.unusable(&format!("no context is the current one: {all}"), CHOOSE)),
        }
    }

    fn unusable(&self, why: &str, next: &str) -> ClientError {
        let what = match &self.path {
            Some(path) => format!("kubeconfig {}", path.display()),
            None => match std::env::var("KUBECONFIG") {
                Ok(files) if !files.is_empty() => format!("kubeconfig {files} (from $KUBECONFIG)"),
                _ => "kubeconfig ~/.kube/config".to_owned(),
            },
        };
        ClientError::Setup { what, why: why.to_owned(), next: next.to_owned() }
    }
}

const READ: &str = "name a kubeconfig that is there, or `kprov up` makes a cluster and enters it";
const CHOOSE: &str = "choose one of its contexts, or `kubectl config use-context` makes one the current";

fn user_of(file: &File, context: &str) -> String {
    let entry = file.contexts.iter().find(|one| one.name == context).and_then(|one| one.context.as_ref());
    let user = entry.and_then(|entry| entry.user.clone()).filter(|user| !user.is_empty());
    user.unwrap_or_else(|| "nobody".to_owned())
}

fn address(config: &Config) -> String {
    config.cluster_url.to_string().trim_end_matches('/').to_owned()
}

impl InCluster {
    fn config(self) -> Result<(Config, Peer), ClientError> {
        let config = Config::incluster().map_err(|error| ClientError::Setup {
            what: "the service account of this pod".to_owned(),
            why: error.to_string(),
            next: "outside of a pod use a kubeconfig; in a pod let it mount its service account's token".to_owned(),
        })?;
        let peer = Peer { server: address(&config), user: "the pod's service account".to_owned() };
        Ok((config, peer))
    }
}

impl Server {
    /// A server by its address, such as `https://10.0.0.1:6443`.
    #[must_use]
    pub fn at(address: impl Into<String>) -> Self {
        Self { address: address.into(), authority: None, user: Map::new(), who: "nobody" }
    }

    /// The authority that signs the server's certificate, in PEM; the system's own when left out.
    #[must_use]
    pub fn authority(mut self, pem: impl AsRef<[u8]>) -> Self {
        self.authority = Some(STANDARD.encode(pem));
        self
    }

    /// Asks with a bearer token.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.user.insert("token".to_owned(), Value::String(token.into()));
        self.who = "the holder of a token";
        self
    }

    /// Asks with a client certificate and its key, both in PEM.
    ///
    /// ```
    /// let server = kprov::client::Server::at("https://10.0.0.1:6443").certificate("-----BEGIN CERTIFICATE…", "-----BEGIN PRIVATE KEY…");
    /// ```
    #[must_use]
    pub fn certificate(mut self, certificate: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Self {
        self.user.insert("client-certificate-data".to_owned(), STANDARD.encode(certificate).into());
        self.user.insert("client-key-data".to_owned(), STANDARD.encode(key).into());
        self.who = "the holder of a certificate";
        self
    }

    async fn config(self) -> Result<(Config, Peer), ClientError> {
        let unusable = |why: String| ClientError::Setup {
            what: format!("access to {}", self.address),
            why,
            next: "give an address such as https://10.0.0.1:6443, and certificates and keys in PEM".to_owned(),
        };
        let mut cluster = json!({"server": self.address});
        if let Some(authority) = &self.authority {
            cluster["certificate-authority-data"] = Value::from(authority.as_str());
        }
        let file = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "it",
            "clusters": [{"name": "it", "cluster": cluster}],
            "users": [{"name": "it", "user": self.user}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        });
        let file: File = serde_json::from_value(file).map_err(|error| unusable(error.to_string()))?;
        let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
        let config = config.map_err(|error| unusable(error.to_string()))?;
        let peer = Peer { server: address(&config), user: self.who.to_owned() };
        Ok((config, peer))
    }
}

impl Access {
    /// The default chain: a kubeconfig when there is one, else the pod's service account.
    ///
    /// ```
    /// let mine = kprov::client::Access::default_chain();
    /// ```
    #[must_use]
    pub fn default_chain() -> Self {
        let file = Kubeconfig::new();
        let in_pod = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
        if !file.is_there() && in_pod { Self::InCluster(InCluster) } else { Self::Kubeconfig(file) }
    }

    pub(super) async fn config(self) -> Result<(Config, Peer), ClientError> {
        match self {
            Self::Kubeconfig(file) => file.config().await,
            Self::InCluster(pod) => pod.config(),
            Self::Server(server) => server.config().await,
        }
    }
}

impl From<Kubeconfig> for Access {
    fn from(file: Kubeconfig) -> Self {
        Self::Kubeconfig(file)
    }
}

impl From<InCluster> for Access {
    fn from(pod: InCluster) -> Self {
        Self::InCluster(pod)
    }
}

impl From<Server> for Access {
    fn from(server: Server) -> Self {
        Self::Server(server)
    }
}

impl From<&Path> for Access {
    fn from(path: &Path) -> Self {
        Self::Kubeconfig(Kubeconfig::new().path(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "apiVersion: v1\nkind: Config\ncurrent-context: one\n\
        clusters:\n- {name: c, cluster: {server: 'https://10.0.0.1:6443'}}\n\
        users:\n- {name: u, user: {token: t}}\n\
        contexts:\n- {name: one, context: {cluster: c, user: u, namespace: shop}}\n- {name: two, context: {cluster: gone, user: u}}\n";

    async fn connect(text: &str, context: Option<&str>) -> Result<(Config, Peer), String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        std::fs::write(&path, text).unwrap();
        let mut file = Kubeconfig::new().path(&path);
        file.context = context.map(str::to_owned);
        let shown = path.display().to_string();
        file.config().await.map_err(|error| error.to_string().replace(&shown, "FILE"))
    }

    #[tokio::test]
    async fn a_context_says_server_user_and_namespace() {
        let (config, peer) = connect(TWO, None).await.unwrap();
        assert_eq!(peer.to_string(), "https://10.0.0.1:6443 as u");
        assert_eq!(config.default_namespace, "shop");
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_kubeconfig_is_named() {
        let cases = [
            (TWO, Some("tow"), "kubeconfig FILE: there is no context \"tow\": it has one, two; choose one"),
            (TWO, Some("two"), "the cluster of context"),
            ("apiVersion: v1\nkind: Config\n", None, "no context is the current one: it has none"),
            ("a: [", None, "kubeconfig FILE: failed to parse"),
        ];
        for (text, context, said) in cases {
            let error = connect(text, context).await.unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        let error = Kubeconfig::new().path("/nowhere/config").config().await.unwrap_err().to_string();
        assert!(error.contains("/nowhere/config") && error.contains("kprov up"), "{error}");
    }

    #[tokio::test]
    async fn a_server_by_hand_hides_its_secrets() {
        let server = Server::at("https://10.0.0.1:6443").token("s3cret");
        assert!(!format!("{server:?}").contains("s3cret"));
        let (config, peer) = server.config().await.unwrap();
        assert_eq!(peer.to_string(), "https://10.0.0.1:6443 as the holder of a token");
        assert_eq!(config.cluster_url.to_string(), "https://10.0.0.1:6443/");
        let error = Server::at("https://").config().await.unwrap_err().to_string();
        assert!(error.contains("give an address such as"), "{error}");
    }
}
