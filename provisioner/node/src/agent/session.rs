//! Streams to the containers and ports of the node's pods, for the API server.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kprov_control_plane::client::node::{Dial, Start, Task, Wanted};
use kprov_schema::{Object, Status};
use serde::Deserialize;
use tokio::net::TcpStream;

use super::{Context, chain};
use crate::net::PodNetwork;
use crate::runtime::{ContainerState, Inventory};

/// Finds the running container, and says how to begin.
///
/// Source: the kubelet's `GetExec` and `GetAttach`; the words of failures are containerd's.
pub async fn session(
    context: &Context,
    object: &Object,
    container: String,
    task: Task,
    wanted: Wanted,
) -> Result<Start, Status> {
    let pod = pod(object)?;
    let mut running = inventory(context, object).await?.containers.into_iter().filter(|one| one.name == container);
    let found = running.rfind(|one| matches!(one.state, ContainerState::Running { .. }));
    let Some(found) = found else {
        return Err(failure(match task {
            Task::Exec(_) => format!("container not found ({container:?})"),
            Task::Attach => format!("container {container} not found in pod {}", full_name(object)),
        }));
    };
    let wanted = match task {
        Task::Exec(_) => wanted,
        Task::Attach => as_made(&pod, &container, wanted),
    };
    let prefix = match task {
        Task::Exec(_) => "failed to exec in container: ",
        Task::Attach => "",
    };
    let runtime = context.runtime.clone();
    Ok(Box::pin(async move {
        let told = move |words: String| format!("{prefix}{words}");
        let mut streams = runtime.session(&found.id, task, wanted).await.map_err(|error| told(chain(&error)))?;
        let ended = streams.ended;
        streams.ended = Box::pin(async move { ended.await.map_err(told) });
        Ok(streams)
    }))
}

/// Finds the pod's sandbox, and says how to reach its ports.
///
/// Source: the kubelet's `GetPortForward`; which addresses are tried, containerd's `portForward`.
pub async fn ports(context: &Context, object: &Object) -> Result<Dial, Status> {
    let pod = pod(object)?;
    if inventory(context, object).await?.sandboxes.iter().all(|sandbox| !sandbox.ready) {
        return Err(failure(format!("pod not found ({:?})", full_name(object))));
    }
    let shares = pod.spec.as_ref().is_some_and(|spec| spec.host_network == Some(true));
    let (network, uid): (Arc<dyn PodNetwork>, _) = (context.network.clone(), object.uid());
    Ok(Arc::new(move |port| {
        let (network, uid) = (network.clone(), uid.clone());
        Box::pin(async move {
            let inside = (!shares).then_some(&uid);
            network.dial(inside, port).await.map_err(|error| unreached(port, &error))
        })
    }))
}

/// Connects to an address as the node does.
pub async fn connect(context: &Context, to: SocketAddr) -> Result<TcpStream, String> {
    match context.network.connect(to).await {
        Ok(Some(stream)) => Ok(stream),
        Ok(None) => Err(format!("dial tcp {to}: nothing listens in simulated pods")),
        Err(error) => Err(format!("dial tcp {to}: {error}")),
    }
}

fn unreached(port: u16, error: &io::Error) -> String {
    format!("failed to connect to localhost:{port} inside the pod's network: {error}")
}

/// Whether there is a terminal or an input was decided when the container was made.
fn as_made(pod: &Pod, container: &str, wanted: Wanted) -> Wanted {
    let spec = pod.spec.as_ref();
    let all = spec.into_iter().flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers));
    let made = all.filter(|one| one.name == container).map(|one| (one.tty, one.stdin));
    let debug = spec.into_iter().flat_map(|spec| spec.ephemeral_containers.iter().flatten());
    let debug = debug.filter(|one| one.name == container).map(|one| (one.tty, one.stdin));
    let (tty, stdin) = made.chain(debug).next().unwrap_or_default();
    let tty = tty == Some(true);
    Wanted { stdin: wanted.stdin && stdin == Some(true), stdout: wanted.stdout, stderr: wanted.stderr && !tty, tty }
}

async fn inventory(context: &Context, object: &Object) -> Result<Inventory, Status> {
    context.runtime.inventory_of(&object.uid()).await.map_err(|error| failure(chain(&error)))
}

fn pod(object: &Object) -> Result<Pod, Status> {
    Pod::deserialize(object.map()).map_err(|error| failure(error.to_string()))
}

fn full_name(object: &Object) -> String {
    format!("{}_{}", object.name(), object.key().namespace)
}

fn failure(words: String) -> Status {
    Status::failure(500, "InternalError", words)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_attaches_gets_what_the_container_was_made_with() {
        let pod = json!({"metadata": {}, "spec": {
            "containers": [{"name": "plain"}, {"name": "typed", "stdin": true}, {"name": "shell", "stdin": true, "tty": true}],
            "ephemeralContainers": [{"name": "debug", "tty": true}],
        }});
        let pod: Pod = serde_json::from_value(pod).expect("a pod");
        let all = Wanted { stdin: true, stdout: true, stderr: true, tty: true };
        for (container, stdin, stderr, tty) in [
            ("plain", false, true, false),
            ("typed", true, true, false),
            ("shell", true, false, true),
            ("debug", false, false, true),
        ] {
            assert_eq!(as_made(&pod, container, all), Wanted { stdin, stdout: true, stderr, tty }, "{container}");
        }
    }
}
