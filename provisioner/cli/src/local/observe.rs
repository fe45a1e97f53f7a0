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
    let ready_nodes = match &client {
        Some(client) => ready_nodes(client).await?,
        None => None,
    };
    Ok(Observed {
        name: name.clone(),
        folder: folder.path().exists(),
        config: Config::load(&folder).map_err(|error| format!("{error:#}")),
        running,
        ready: ready_nodes.is_some(),
        ready_nodes: ready_nodes.unwrap_or(0),
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

/// How many nodes are ready, or `None` where the API server is not.
async fn ready_nodes(client: &Client) -> anyhow::Result<Option<usize>> {
    if !is_ready(client).await {
        return Ok(None);
    }
    match nodes(client).await {
        Ok(nodes) => Ok(Some(nodes.iter().filter(|node| node_is_ready(node)).count())),
        // Another command may have stopped the server between the two questions.
        Err(_) if !is_ready(client).await => Ok(None),
        Err(error) => Err(error),
    }
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

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use kprov::client::kube;

    use super::*;

    type Answer = Result<&'static str, ()>;

    /// A client whose questions are answered in order; `Err` is a server that is gone.
    fn answered(answers: &'static [(&str, Answer)]) -> Client {
        let asked = AtomicUsize::new(0);
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let (path, answer) = answers[asked.fetch_add(1, Ordering::Relaxed)];
            assert_eq!(request.uri().path(), path);
            let gone = || io::Error::from(io::ErrorKind::ConnectionRefused);
            std::future::ready(
                answer
                    .map(|text| http::Response::new(kube::client::Body::from(text.as_bytes().to_vec())))
                    .map_err(|()| gone()),
            )
        });
        Client::from_kube(kube::Client::new(service, "default"), "https://127.0.0.1", "admin")
    }

    #[tokio::test]
    async fn a_server_that_ends_while_it_is_asked_is_not_ready() {
        const NODES: &str = "/api/v1/nodes";
        const LIST: &str = r#"{"kind":"NodeList","apiVersion":"v1","metadata":{},"items":[
            {"metadata":{"name":"a"},"status":{"conditions":[{"type":"Ready","status":"True"}]}},
            {"metadata":{"name":"b"}}]}"#;
        let ready = async |answers| ready_nodes(&answered(answers)).await.map_err(drop);
        assert_eq!(ready(&[("/readyz", Ok("ok")), (NODES, Ok(LIST))]).await, Ok(Some(1)));
        assert_eq!(ready(&[("/readyz", Err(()))]).await, Ok(None));
        assert_eq!(ready(&[("/readyz", Ok("ok")), (NODES, Err(())), ("/readyz", Err(()))]).await, Ok(None));
        assert_eq!(ready(&[("/readyz", Ok("ok")), (NODES, Ok("garbage")), ("/readyz", Ok("ok"))]).await, Err(()));
    }
}
