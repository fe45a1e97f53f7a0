//! Takes the steps of a local plan.

use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context, bail};
use futures::TryStreamExt;
use kprov::client::Client;
use kprov::client::kube::runtime::wait::await_condition;
use kprov::client::kube::runtime::{WatchStreamExt, watcher};
use kprov::client::kube::{Api, ResourceExt};
use kprov::cluster::{LocalCluster, Name, Report};
use kprov::k8s_openapi::api::core::v1::{Node, ServiceAccount};
use tokio::time::timeout;

use super::control::{Ask, Power};
use super::observe::{node_is_ready, nodes};
use super::{Config, Step, Wishes, control, process};
use crate::home::Folder;
use crate::kubeconfig;

/// Time that a server and its nodes get to become ready.
const PATIENCE: Duration = Duration::from_secs(120);
/// Time that an ending server gets to write why.
const LAST_WORDS: Duration = Duration::from_secs(5);

pub(super) async fn perform(step: &Step, report: &dyn Report) -> anyhow::Result<()> {
    report.says(&step.to_string());
    match step {
        Step::Configure { cluster, wishes } => configure(cluster, *wishes),
        Step::Start(name) => start(name).await,
        Step::AwaitServer(name) => await_server(name).await,
        Step::AddContext(name) => add_context(name),
        Step::StartNode(name, node) => start_node(name, node).await,
        Step::AwaitNodes(name, wanted) => await_nodes(name, *wanted as usize, report).await,
        Step::Stop(name) => process::stop(&Folder::of(name)?).await,
        Step::RemoveContainers(name) => crate::machine::remove_containers(name, &Folder::of(name)?).await,
        Step::RemoveNetwork(name) => crate::machine::remove_network(name, &Folder::of(name)?),
        Step::RemoveContext(name) => kubeconfig::remove(&kubeconfig::path()?, &kubeconfig::context_of(name.as_str())),
        Step::RemoveFolder(name) => remove_folder(&Folder::of(name)?),
    }
}

fn configure(cluster: &LocalCluster, wishes: Wishes) -> anyhow::Result<()> {
    let mut config = Config::of(cluster, wishes);
    if wishes.port.is_none() {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        config.port = free.context("finding a free port")?.port();
    }
    config.save(&cluster.name)
}

async fn start_node(name: &Name, node: &str) -> anyhow::Result<()> {
    let ask = Ask::Node(Power::On, node.to_owned());
    match control::ask(&Folder::of(name)?.socket(), &ask).await? {
        Ok(()) => Ok(()),
        Err(words) => bail!(words),
    }
}

async fn start(name: &Name) -> anyhow::Result<()> {
    let config = Config::load(&Folder::of(name)?)?.with_context(|| {
        format!("cluster {name} has no configuration: `kprov down --name {name}`, then `kprov up --name {name}`")
    })?;
    process::start(name, &config).await
}

async fn await_server(name: &Name) -> anyhow::Result<()> {
    let folder = Folder::of(name)?;
    let ready = timeout(PATIENCE, control::ask(&folder.socket(), &Ask::Ready)).await;
    let state = match ready {
        Ok(Ok(Ok(()))) => return await_account(&folder).await,
        Ok(Ok(Err(words))) => bail!(words),
        Ok(Err(_)) => {
            // Its last words are the reason.
            match timeout(LAST_WORDS, process::ended(&folder)).await {
                Ok(ended) => ended.map(|()| "ended before it was ready".to_owned())?,
                Err(_) => "is being started by another command: try again".to_owned(),
            }
        }
        Err(_) => format!("is not ready after {} seconds", PATIENCE.as_secs()),
    };
    let (log, last) = (folder.log(), process::last_lines(&folder));
    bail!("the server {state}. The end of its log, {}:\n{last}", log.display())
}

/// Waits for the account that pods of the namespace `default` run as: before it is there, they are refused.
async fn await_account(folder: &Folder) -> anyhow::Result<()> {
    let client = Client::from_kubeconfig(&folder.kubeconfig()).await?;
    let accounts = Api::<ServiceAccount>::namespaced(client.kube().clone(), "default");
    let there = await_condition(accounts, "default", |account: Option<&ServiceAccount>| account.is_some());
    match timeout(PATIENCE, there).await {
        Ok(end) => end.map(|_| ()).context("waiting for the service account default"),
        Err(_) => bail!(
            "after {} seconds there is no service account default; see {}",
            PATIENCE.as_secs(),
            folder.log().display()
        ),
    }
}

fn add_context(name: &Name) -> anyhow::Result<()> {
    let admin = fs::read_to_string(Folder::of(name)?.kubeconfig()).context("reading the cluster's kubeconfig")?;
    kubeconfig::add(&kubeconfig::path()?, &kubeconfig::context_of(name.as_str()), &admin)
}

async fn await_nodes(name: &Name, wanted: usize, report: &dyn Report) -> anyhow::Result<()> {
    if wanted == 0 {
        return Ok(());
    }
    let folder = Folder::of(name)?;
    let client = Client::from_kubeconfig(&folder.kubeconfig()).await?;
    let api = Api::<Node>::all(client.kube().clone());
    let mut changes = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff().touched_objects());
    let all = async {
        let mut ready = std::collections::BTreeSet::new();
        while ready.len() < wanted {
            let node = changes.try_next().await?.context("the watch of the nodes ended")?;
            if node_is_ready(&node) {
                ready.insert(node.name_any())
            } else {
                ready.remove(&node.name_any())
            };
            report.says(&format!("wait for nodes: {} of {wanted} are ready", ready.len()));
        }
        anyhow::Ok(())
    };
    match timeout(PATIENCE, all).await {
        Ok(end) => end,
        Err(_) => bail!("after {} seconds: {}", PATIENCE.as_secs(), unready(&client).await?),
    }
}

/// Why nodes are not ready, in their own words.
async fn unready(client: &Client) -> anyhow::Result<String> {
    let nodes = nodes(client).await?;
    let waiting: Vec<String> = nodes
        .iter()
        .filter(|node| !node_is_ready(node))
        .map(|node| {
            let conditions = node.status.iter().flat_map(|status| &status.conditions).flatten();
            let ready =
                conditions.filter(|condition| condition.type_ == "Ready").find_map(|found| found.message.as_deref());
            format!("node {} is not ready: {}", node.name_any(), ready.unwrap_or("it has not reported yet"))
        })
        .collect();
    if waiting.is_empty() { Ok("not every node has registered".to_owned()) } else { Ok(waiting.join("; ")) }
}

fn remove_folder(folder: &Folder) -> anyhow::Result<()> {
    match fs::remove_dir_all(folder.path()) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", folder.path().display()))
        }
        _ => Ok(()),
    }
}
