//! What there is of a cluster on this machine.

use std::collections::BTreeSet;

use kprov::client::Client;
use kprov::client::kube::Api;
use kprov::cluster::Name;
use kprov::k8s_openapi::api::core::v1::Node;

use super::{Config, process};
use crate::home::Folder;
use crate::kubeconfig;

/// One reading of a cluster's parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Observed {
    pub(crate) name: Name,
    /// Whether there is a folder, which everything else lives in.
    pub(crate) folder: bool,
    /// What it was told to be, or why that can't be read.
    pub(crate) config: Result<Option<Config>, String>,
    /// Whether a server holds the folder.
    pub(crate) running: bool,
    /// Whether the API server says that it is ready.
    pub(crate) ready: bool,
    /// Nodes that are ready; 0 when the API server can't be asked.
    pub(crate) ready_nodes: usize,
    /// Nodes that are off, by name.
    pub(crate) off: BTreeSet<String>,
    /// Whether the user's kubeconfig leads to it, or why that can't be read.
    pub(crate) context: Result<bool, String>,
}

pub(super) async fn observe(name: &Name) -> anyhow::Result<Observed> {
    let folder = Folder::of(name)?;
    let running = process::running(&folder)?.is_some();
    let client = if running { Client::from_kubeconfig(&folder.kubeconfig()).await.ok() } else { None };
    let ready = match &client {
        Some(client) => is_ready(client).await,
        None => false,
    };
    Ok(Observed {
        name: name.clone(),
        folder: folder.path().exists(),
        config: Config::load(&folder).map_err(|error| format!("{error:#}")),
        running,
        ready,
        ready_nodes: match &client {
            Some(client) if ready => nodes(client).await?.iter().filter(|node| node_is_ready(node)).count(),
            _ => 0,
        },
        off: folder.nodes_off()?,
        context: match std::fs::read_to_string(folder.kubeconfig()) {
            Ok(admin) => {
                let has = kubeconfig::has(&kubeconfig::path()?, &kubeconfig::context_of(name.as_str()), &admin);
                has.map_err(|error| format!("{error:#}"))
            }
            Err(_) => Ok(false),
        },
    })
}

async fn is_ready(client: &Client) -> bool {
    let request = http::Request::get("/readyz").body(Vec::new()).expect("the path is valid");
    client.kube().request_text(request).await.is_ok_and(|text| text == "ok")
}

/// Every node of the cluster.
pub(crate) async fn nodes(client: &Client) -> anyhow::Result<Vec<Node>> {
    Ok(Api::<Node>::all(client.kube().clone()).list(&Default::default()).await?.items)
}

/// Whether a node's condition `Ready` is true.
pub(crate) fn node_is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| &status.conditions).flatten();
    conditions.filter(|condition| condition.type_ == "Ready").any(|condition| condition.status == "True")
}
