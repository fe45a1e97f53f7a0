//! What a probe or a hook does: a command in the container, a request to it, or nothing for a while.

mod grpc;
mod http;
mod tls;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, HTTPGetAction, LifecycleHandler, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::memory::later;
use super::{Context, chain};
use crate::runtime::RuntimeError;

/// What a prober calls itself.
fn prober() -> String {
    format!("kube-probe/{}", kprov_schema::version::MINOR)
}

/// Something to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Deed {
    /// A command in the container succeeds with code 0.
    Exec(Vec<String>),
    /// A request succeeds with a code from 200 to 399.
    Http(HTTPGetAction),
    /// A connection succeeds when it is made. Host and port.
    Tcp(Option<String>, IntOrString),
    /// A health service of this name, on a port, says that it serves.
    Grpc(u16, String),
    /// Time passes.
    Sleep(Duration),
}

/// What it is done to.
#[derive(Clone, Debug)]
pub struct Target {
    /// Id of the container.
    pub id: String,
    /// Its specification: ports have names.
    pub container: Container,
    /// Address of its pod.
    pub address: IpAddr,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It went well.
    Success,
    /// It did not, in words for people.
    Failure(String),
    /// It could not even be tried.
    Error(String),
}

impl Deed {
    /// What a probe does; `None` for one that says nothing.
    #[must_use]
    pub fn of_probe(probe: &Probe) -> Option<Self> {
        if let Some(exec) = &probe.exec {
            return Some(Self::Exec(exec.command.clone().unwrap_or_default()));
        }
        if let Some(get) = &probe.http_get {
            return Some(Self::Http(get.clone()));
        }
        if let Some(socket) = &probe.tcp_socket {
            return Some(Self::Tcp(socket.host.clone(), socket.port.clone()));
        }
        let grpc = probe.grpc.as_ref()?;
        Some(Self::Grpc(u16::try_from(grpc.port).unwrap_or(0), grpc.service.clone().unwrap_or_default()))
    }

    /// What a hook does; `None` for one that says nothing. Sockets are checked by probes alone.
    #[must_use]
    pub fn of_hook(hook: &LifecycleHandler) -> Option<Self> {
        if let Some(exec) = &hook.exec {
            return Some(Self::Exec(exec.command.clone().unwrap_or_default()));
        }
        if let Some(get) = &hook.http_get {
            return Some(Self::Http(get.clone()));
        }
        let sleep = hook.sleep.as_ref()?;
        Some(Self::Sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0))))
    }

    /// Does it, within `timeout`.
    pub async fn perform(&self, context: &Context, target: &Target, timeout: Duration) -> Outcome {
        match self {
            Self::Exec(args) => exec(context, target, args, timeout).await,
            Self::Http(get) => http::get(context, target, get, timeout).await,
            Self::Tcp(host, port) => tcp(context, target, host.as_deref(), port, timeout).await,
            Self::Grpc(port, service) => {
                let address = SocketAddr::new(target.address, *port);
                let late = format!(
                    "timeout: failed to connect service {:?} within {timeout:?}: context deadline exceeded",
                    address.to_string()
                );
                within(context, timeout, grpc::check(context, address, service), late).await
            }
            Self::Sleep(time) => {
                let clock = &context.world.clock;
                clock.sleep_until(later(clock.now(), (*time).min(timeout))).await;
                Outcome::Success
            }
        }
    }
}

/// What came of it in time, else a failure in the words of `late`.
async fn within(
    context: &Context,
    timeout: Duration,
    work: impl Future<Output = Outcome> + Send,
    late: String,
) -> Outcome {
    let clock = &context.world.clock;
    tokio::select! {
        outcome = work => outcome,
        () = clock.sleep_until(later(clock.now(), timeout)) => Outcome::Failure(late),
    }
}

async fn exec(context: &Context, target: &Target, args: &[String], timeout: Duration) -> Outcome {
    match context.runtime.exec(&target.id, args.to_vec(), timeout).await {
        Ok(ended) if ended.code == Some(0) => Outcome::Success,
        Ok(ended) if ended.code.is_none() => {
            Outcome::Failure(format!("command timed out: {:?} timed out after {timeout:?}", args.join(" ")))
        }
        Ok(ended) => Outcome::Failure(ended.output),
        // A command that is not there is a command that fails.
        Err(RuntimeError::Start(words)) => Outcome::Failure(words),
        Err(error) => Outcome::Error(chain(&error)),
    }
}

async fn tcp(context: &Context, target: &Target, host: Option<&str>, port: &IntOrString, timeout: Duration) -> Outcome {
    let address = match address(target, host, port) {
        Ok(address) => address,
        Err(words) => return Outcome::Error(words),
    };
    let work = async {
        match context.network.connect(address).await {
            Ok(_) => Outcome::Success,
            Err(error) => Outcome::Failure(dial(address, &error)),
        }
    };
    within(context, timeout, work, format!("dial tcp {address}: i/o timeout")).await
}

/// How upstream tells of a connection that could not be made.
fn dial(address: SocketAddr, error: &std::io::Error) -> String {
    let why = match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        std::io::ErrorKind::HostUnreachable => "no route to host".to_owned(),
        std::io::ErrorKind::NetworkUnreachable => "network is unreachable".to_owned(),
        std::io::ErrorKind::TimedOut => "connection timed out".to_owned(),
        _ => error.to_string(),
    };
    format!("dial tcp {address}: connect: {why}")
}

/// Where a probe goes: to the pod, unless it names an address.
fn address(target: &Target, host: Option<&str>, port: &IntOrString) -> Result<SocketAddr, String> {
    let address = match host.filter(|host| !host.is_empty()) {
        Some(host) => {
            host.parse().map_err(|_| format!("host {host:?} is not an address: probes don't ask for names"))?
        }
        None => target.address,
    };
    Ok(SocketAddr::new(address, number(&target.container, port)?))
}

fn number(container: &Container, port: &IntOrString) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|one| one.name.as_deref() == Some(name));
            match named {
                Some(port) => port.container_port,
                None => name.parse().map_err(|_| format!("couldn't find port: {name}"))?,
            }
        }
    };
    u16::try_from(number).ok().filter(|number| *number > 0).ok_or_else(|| format!("invalid port number: {number}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ports_have_names_and_hosts_are_addresses() {
        let container = serde_json::from_value(json!({"name": "c", "ports": [{"name": "web", "containerPort": 80}]}));
        let target =
            Target { id: String::new(), container: container.expect("a container"), address: [10, 0, 0, 1].into() };
        let of = |host: Option<&str>, port: serde_json::Value| {
            let port = serde_json::from_value(port).expect("a port");
            address(&target, host, &port).map(|address| address.to_string())
        };
        assert_eq!(of(None, json!("web")), Ok("10.0.0.1:80".into()));
        assert_eq!(of(Some(""), json!(8080)), Ok("10.0.0.1:8080".into()));
        assert_eq!(of(Some("127.0.0.1"), json!("81")), Ok("127.0.0.1:81".into()));
        assert_eq!(of(None, json!("nope")), Err("couldn't find port: nope".into()));
        assert_eq!(of(None, json!(70_000)), Err("invalid port number: 70000".into()));
        assert!(of(Some("example.com"), json!(80)).is_err());
    }
}
