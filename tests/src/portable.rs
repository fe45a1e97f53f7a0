//! The command without containers, as every system but Linux has it: what it refuses, and what works.

use anyhow::{Context, bail, ensure};

use crate::cluster::TestCluster;

const DEPLOYMENT: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: nginx}]
";

/// Goes through a cluster's life with `kprov`, which was built without the feature `containers`.
///
/// Errors: what it did other than it should.
pub fn check(kprov: &str) -> anyhow::Result<()> {
    let cluster = TestCluster::prepare(kprov, "portable")?;
    refuses(&cluster, "up", &[], &["real containers need", "`kprov up --simulated`", "`--nodes 0`"])?;
    ensure!(!cluster.folder().exists(), "what is refused leaves nothing behind");

    cluster.kprov("up", &["--simulated", "--nodes", "2"])?;
    let manifest = cluster.home().join("web.yaml");
    std::fs::write(&manifest, DEPLOYMENT)?;
    let manifest = manifest.to_str().context("a path that is text")?;
    let context = format!("kprov-{}", cluster.name());
    cluster.kprov("apply", &["-f", manifest, "--wait", "--context", &context])?;
    refuses(&cluster, "image list", &[], &["images are for real containers", "Simulated pods"])?;
    let status = cluster.kprov("status", &[])?;
    ensure!(status.contains("2 of 2 nodes ready, simulated"), "{status}");

    // Another kprov, one with containers, would have made this.
    let foreign = cluster.folder().join("nodes");
    std::fs::create_dir(&foreign)?;
    refuses(&cluster, "down", &[], &["take it down with the kprov that made it"])?;
    std::fs::remove_dir(&foreign)?;

    cluster.kprov("down", &[])?;
    ensure!(!cluster.folder().exists(), "a cluster that is down has left its folder behind");
    Ok(())
}

/// Runs what must fail, and say every one of `words`.
fn refuses(cluster: &TestCluster, verb: &str, arguments: &[&str], words: &[&str]) -> anyhow::Result<()> {
    let Err(said) = cluster.kprov(verb, arguments) else { bail!("kprov {verb} {arguments:?} did not fail") };
    let said = format!("{said:#}");
    match words.iter().find(|word| !said.contains(**word)) {
        Some(word) => bail!("`{word}` is not said by kprov {verb}: {said}"),
        None => Ok(()),
    }
}
