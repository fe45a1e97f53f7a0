//! The demo: an application of two pods behind a service, made with the library's own builders.

use std::time::Duration;

use anyhow::{Context, bail};
use kprov::Bundle;
use kprov::build::{Container, Deployment, Field, Workload};
use kprov::client::{Apply, Client, Progress};
use kprov::cluster::{LocalCluster, Provider, Report, Runtime};
use kprov::k8s_openapi::api::core::v1::{Node, Service};

use crate::local::Local;

const NAME: &str = "demo";
const PATIENCE: Duration = Duration::from_secs(120);

/// Two pods of the built-in image, and a service that answers on every node.
fn bundle() -> Bundle {
    let container = Container::new("echo", kprov_node::runtime::BUILTIN)
        .port("http", 8080)
        .env("POD_NAME", Field::PodName)
        .requests("10m", "8Mi")
        .limits("500m", "64Mi");
    let echo = Deployment::new(NAME, container).replicas(2);
    let mut bundle = Bundle::new(NAME);
    bundle.add(echo.expose("http").node_port()).add(echo);
    bundle
}

/// Applies the demo, waits until it answers and returns what to tell the user.
pub(crate) async fn deploy(local: &Local, cluster: &LocalCluster, report: &dyn Report) -> anyhow::Result<Vec<String>> {
    if cluster.nodes == 0 {
        bail!("the demo needs a node: `kprov up --name {} --nodes 1 --demo`", cluster.name);
    }
    report.says("apply the demo");
    let client = local.access(&cluster.name).await?;
    let (bundle, mut tell) = (bundle(), |progress: Progress<'_>| {
        if let Progress::Waiting { object, reason } = progress {
            report.says(&format!("wait for {object}: {reason}"));
        }
    });
    client.apply_with(&bundle, &Apply::new(), &mut tell).await?;
    client.ready_with(&bundle, PATIENCE, &mut tell).await?;
    if cluster.runtime == Runtime::Simulated {
        return Ok(vec!["The demo runs: kubectl get pods. Simulated pods don't answer.".to_owned()]);
    }
    Ok(vec![format!("The demo answers at {}", url(&client).await?)])
}

async fn url(client: &Client) -> anyhow::Result<String> {
    let service: Service = client.get(NAME).await?;
    let spec = service.spec.context("the service has no specification")?;
    let port = spec.ports.iter().flatten().find_map(|port| port.node_port).context("the service has no node port")?;
    let nodes: Vec<Node> = client.list().await?;
    let addresses = nodes.into_iter().filter_map(|node| node.status).flat_map(|status| status.addresses).flatten();
    let address = addresses.filter(|address| address.type_ == "InternalIP").map(|address| address.address).next();
    Ok(format!(
        "http://{}:{port}/",
        address.context("no node has an address: `kubectl get nodes -o wide` shows what they say")?
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_is_what_the_server_takes() {
        bundle().validate().unwrap();
    }
}
