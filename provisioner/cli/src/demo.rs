//! The demo: an application of two pods behind a service, made with the library's own builders.

use std::time::Duration;

use anyhow::{Context, bail};
use kprov::Bundle;
use kprov::build::{Container, Deployment, Field, Workload};
use kprov::client::Client;
use kprov::client::kube::Api;
use kprov::cluster::{LocalCluster, Provider, Report, Runtime};
use kprov::k8s_openapi::api::core::v1::{Node, Pod, Service};
use tokio::time::timeout;

use crate::local::Local;

const NAME: &str = "demo";
const PATIENCE: Duration = Duration::from_secs(120);

/// Two pods of the built-in image, and a service that answers on every node.
fn bundle() -> Bundle {
    let container = Container::new("echo", kprov_node::images::BUILTIN)
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
    client.apply(&bundle()).await?;
    report.says("wait for the demo's pods");
    match timeout(PATIENCE, client.deployment_ready(NAME)).await {
        Ok(ready) => ready?,
        Err(_) => bail!("the demo is not ready after {} seconds: {}", PATIENCE.as_secs(), why_not(&client).await?),
    }
    if cluster.runtime == Runtime::Simulated {
        return Ok(vec!["The demo runs: kubectl get pods. Simulated pods don't answer.".to_owned()]);
    }
    Ok(vec![format!("The demo answers at {}", url(&client).await?)])
}

async fn url(client: &Client) -> anyhow::Result<String> {
    let service = Api::<Service>::default_namespaced(client.kube().clone()).get(NAME).await?;
    let spec = service.spec.context("the service has no specification")?;
    let port = spec.ports.iter().flatten().find_map(|port| port.node_port).context("the service has no node port")?;
    let nodes = Api::<Node>::all(client.kube().clone()).list(&Default::default()).await?;
    let addresses =
        nodes.items.into_iter().filter_map(|node| node.status).flat_map(|status| status.addresses).flatten();
    let address = addresses.filter(|address| address.type_ == "InternalIP").map(|address| address.address).next();
    Ok(format!("http://{}:{port}/", address.context("no node has an address")?))
}

/// What the pods are waiting for, in their own words.
async fn why_not(client: &Client) -> anyhow::Result<String> {
    let pods = Api::<Pod>::default_namespaced(client.kube().clone()).list(&Default::default()).await?;
    let states = pods.items.iter().filter_map(|pod| {
        let status = pod.status.as_ref()?;
        let waiting = status.container_statuses.iter().flatten().filter_map(|one| one.state.as_ref()?.waiting.as_ref());
        let said = waiting.filter_map(|waiting| waiting.message.clone().or(waiting.reason.clone())).next();
        let unscheduled = status.conditions.iter().flatten().filter(|one| one.status == "False");
        let said = said.or(unscheduled.filter_map(|one| one.message.clone()).next())?;
        Some(format!("pod {}: {said}", pod.metadata.name.as_deref().unwrap_or_default()))
    });
    let states: Vec<String> = states.collect();
    if states.is_empty() {
        Ok("`kubectl describe deployment demo` says more".to_owned())
    } else {
        Ok(states.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_is_what_the_server_takes() {
        bundle().validate().unwrap();
    }
}
