//! The library's client and `kprov apply` against the bundled API server, over TLS as users have it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod apply;
mod command;
mod killed;
mod prune;
mod ready;

use std::path::{Path, PathBuf};

use kprov::Bundle;
use kprov::client::{Client, ClientError, Did, Outcome, Progress, Report};
use kprov_tests::server::ApiServer;

const KPROV: &str = env!("CARGO_BIN_EXE_kprov-under-test");

/// An API server alone: nobody but the test writes.
struct Server {
    server: ApiServer,
    folder: tempfile::TempDir,
    client: Client,
}

impl Server {
    async fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("kp").tempdir().unwrap();
        let mut server = ApiServer::start(Path::new(KPROV), folder.path()).unwrap();
        server.ready().await.unwrap();
        let client = Client::from_kubeconfig(&folder.path().join("kubeconfig")).await.unwrap();
        Self { server, folder, client }
    }

    fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// Ends the server; its folder goes, too.
    async fn end(self) {
        self.server.end().await.unwrap();
    }

    /// The revision of the store: every write raises it.
    async fn revision(&self) -> String {
        let request = http::Request::get("/api/v1/namespaces?limit=1").body(Vec::new()).unwrap();
        let list: serde_json::Value = self.client.kube().request(request).await.unwrap();
        list["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
    }
}

fn bundle(text: &str) -> Bundle {
    Bundle::from_yaml("shop", text).unwrap()
}

/// `ConfigMap default/a created`, ...
fn words(report: &Report) -> Vec<String> {
    report.objects.iter().map(|did| format!("{} {}", did.object, did.outcome)).collect()
}

/// How many objects of a report came out in one way.
fn count(report: &Report, fits: impl Fn(&Outcome) -> bool) -> usize {
    report.objects.iter().filter(|did: &&Did| fits(&did.outcome)).count()
}

/// Hears a call's progress, and lets another call run to its end in the middle: when it first hears `when`.
fn during<'a>(
    when: impl Fn(&Progress<'_>) -> bool + Send + 'a,
    meanwhile: impl Future<Output = Result<Report, ClientError>> + Send + 'a,
) -> impl FnMut(Progress<'_>) + Send + 'a {
    let mut meanwhile = Some(Box::pin(meanwhile));
    move |progress| {
        if let Some(call) = meanwhile.take_if(|_| when(&progress)) {
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(call)).unwrap();
        }
    }
}
