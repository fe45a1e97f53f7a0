//! Commands in containers, and ports of pods on this machine, over WebSockets as kube speaks them.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, AttachParams, AttachedProcess, Portforwarder};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::Client;
use super::error::ClientError;

/// What a command wrote, and how it ended.
///
/// ```
/// use kprov::client::Output;
///
/// fn is_fine(output: &Output) -> bool {
///     output.code == Some(0) && output.stderr.is_empty()
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
    /// Its exit code; `None` when the server did not tell.
    pub code: Option<i32>,
}

impl Client {
    /// Starts a command in a container and returns its ends, with `how` saying which: see [`AttachParams`].
    ///
    /// Errors: [`ClientError::Api`] when there is no such pod, or the server does not offer commands.
    ///
    /// ```
    /// use kprov::client::{Client, ClientError, kube::api::AttachParams};
    ///
    /// async fn shell(cluster: &Client) -> Result<(), ClientError> {
    ///     let mut shell = cluster.exec("web-0", &["sh"], &AttachParams::interactive_tty()).await?;
    ///     let input = shell.stdin();
    ///     Ok(())
    /// }
    /// ```
    pub async fn exec(&self, pod: &str, command: &[&str], how: &AttachParams) -> Result<AttachedProcess, ClientError> {
        let doing = format!("run {:?} in Pod {}/{pod}", command.join(" "), self.default_namespace());
        let started = self.pods().exec(pod, command.iter().copied(), how).await;
        started.map_err(|error| self.not_upgraded(&doing, error))
    }

    /// Runs a command in a container (the first one when none is named) and returns all that it wrote.
    ///
    /// Errors: as [`Client::exec`]. A command that fails is an [`Output`] with its code.
    ///
    /// ```
    /// use kprov::client::{Client, ClientError};
    ///
    /// async fn version(cluster: &Client) -> Result<String, ClientError> {
    ///     let output = cluster.output("db-0", None, &["mysql", "--version"]).await?;
    ///     Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    /// }
    /// ```
    pub async fn output(&self, pod: &str, container: Option<&str>, command: &[&str]) -> Result<Output, ClientError> {
        let mut how = AttachParams::default().stdin(false).stdout(true).stderr(true);
        how.container = container.map(str::to_owned);
        let mut process = self.exec(pod, command, &how).await?;
        let broken = |error| self.failed(&format!("read from Pod {pod}"), kube::Error::ReadEvents(error));
        let (stdout, stderr) = tokio::try_join!(all(process.stdout()), all(process.stderr())).map_err(broken)?;
        let status = match process.take_status() {
            Some(status) => status.await,
            None => None,
        };
        Ok(Output { stdout, stderr, code: status.and_then(|status| code(&status)) })
    }

    /// Forwards ports of a pod: a stream of bytes for each of them.
    ///
    /// Errors: [`ClientError::Api`] when there is no such pod, or the server does not offer it.
    ///
    /// ```
    /// use kprov::client::{Client, ClientError};
    ///
    /// async fn database(cluster: &Client) -> Result<(), ClientError> {
    ///     let mut ports = cluster.port_forward("db-0", &[3306]).await?;
    ///     let stream = ports.take_stream(3306);
    ///     Ok(())
    /// }
    /// ```
    pub async fn port_forward(&self, pod: &str, ports: &[u16]) -> Result<Portforwarder, ClientError> {
        let doing = format!("forward ports of Pod {}/{pod}", self.default_namespace());
        self.pods().portforward(pod, ports).await.map_err(|error| self.not_upgraded(&doing, error))
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.kube().clone(), self.default_namespace())
    }

    /// A server that does not switch to a WebSocket says so in many ways.
    fn not_upgraded(&self, doing: &str, error: kube::Error) -> ClientError {
        match error {
            kube::Error::UpgradeConnection(why) => ClientError::Setup {
                what: doing.to_owned(),
                why: format!("{} does not offer it over a WebSocket ({why})", self.peer().server),
                next: "use a server that does: Kubernetes does since 1.31, and kprov's own".to_owned(),
            },
            error => self.failed(doing, error),
        }
    }
}

async fn all(reader: Option<impl AsyncRead + Unpin>) -> std::io::Result<Vec<u8>> {
    let mut read = Vec::new();
    if let Some(mut reader) = reader {
        reader.read_to_end(&mut read).await?;
    }
    Ok(read)
}

/// The exit code that a status tells.
fn code(status: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Status) -> Option<i32> {
    if status.status.as_deref() == Some("Success") {
        return Some(0);
    }
    let causes = status.details.as_ref()?.causes.as_ref()?;
    causes.iter().find(|cause| cause.reason.as_deref() == Some("ExitCode"))?.message.as_ref()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn exit_codes_are_read_from_the_status() {
        let read = |value| code(&serde_json::from_value(value).unwrap());
        assert_eq!(read(json!({"status": "Success"})), Some(0));
        let causes = json!({"causes": [{"reason": "ExitCode", "message": "3"}]});
        assert_eq!(read(json!({"status": "Failure", "reason": "NonZeroExitCode", "details": causes})), Some(3));
        assert_eq!(read(json!({"status": "Failure", "message": "no such container"})), None);
    }
}
