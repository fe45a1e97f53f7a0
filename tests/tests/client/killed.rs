//! `kprov apply` killed in the middle, at several points, and run again: it finishes.
#![allow(clippy::disallowed_types, reason = "starts kprov as a user does, and kills it")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use kprov::k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};

use super::{KPROV, Server};

/// A namespace, and config maps and secrets in it.
fn write(folder: &Path, maps: usize, secrets: usize) {
    let mut text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n".to_owned();
    let kinds = [("ConfigMap", maps), ("Secret", secrets)];
    for (kind, number) in kinds {
        for n in 0..number {
            text += &format!("---\napiVersion: v1\nkind: {kind}\nmetadata: {{name: x{n}, namespace: shop}}\n");
        }
    }
    std::fs::write(folder.join("all.yaml"), text).unwrap();
}

fn apply(server: &Server, folder: &Path) -> Command {
    let mut command = Command::new(KPROV);
    command.args(["apply", "--prune", "--name", "shop", "-f"]).arg(folder.join("all.yaml"));
    command.arg("--kubeconfig").arg(server.kubeconfig()).stdin(Stdio::null());
    command
}

/// Runs an apply and kills it when it has told of so many objects. Says whether it was killed before its end.
fn killed_after(lines: usize, mut command: Command) -> bool {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let heard = output.lines().take(lines).map_while(Result::ok).count();
    child.kill().unwrap();
    let ended = child.wait().unwrap();
    assert_eq!(heard, lines, "it told of {heard} objects only");
    !ended.success()
}

fn finished(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn there(server: &Server) -> (BTreeSet<String>, BTreeSet<String>) {
    let client = server.client.clone().in_namespace("shop");
    let maps: Vec<ConfigMap> = client.list().await.unwrap();
    let secrets: Vec<Secret> = client.list().await.unwrap();
    let maps = maps.into_iter().filter_map(|map| map.metadata.name).filter(|name| name.starts_with('x'));
    (maps.collect(), secrets.into_iter().filter_map(|secret| secret.metadata.name).collect())
}

fn names(number: usize) -> BTreeSet<String> {
    (0..number).map(|n| format!("x{n}")).collect()
}

#[tokio::test]
async fn an_apply_that_was_killed_is_finished_by_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut killed = 0;
    for lines in [0, 1, 2, 9, 20, 35] {
        let server = Server::start().await;
        write(folder.path(), 20, 20);
        killed += usize::from(killed_after(lines, apply(&server, folder.path())));
        let said = finished(apply(&server, folder.path()));
        assert_eq!(said.lines().count(), 41, "{said}");
        assert_eq!(there(&server).await, (names(20), names(20)), "killed after {lines} objects");
        let said = finished(apply(&server, folder.path()));
        assert!(said.lines().all(|line| line.ends_with(" unchanged")), "{said}");
    }
    // The last ones may have been faster than the signal.
    assert!(killed >= 3, "only {killed} were killed before their end");
}

#[tokio::test]
async fn a_prune_that_was_killed_is_finished_by_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    // Of a smaller bundle: killed while it applies, at the first deletion, in the middle of them.
    for lines in [2, 7, 15, 30] {
        let server = Server::start().await;
        write(folder.path(), 20, 20);
        finished(apply(&server, folder.path()));
        write(folder.path(), 5, 0);
        killed_after(lines, apply(&server, folder.path()));
        finished(apply(&server, folder.path()));
        assert_eq!(there(&server).await, (names(5), names(0)), "killed after {lines} objects");
    }
}

#[tokio::test]
async fn what_a_killed_apply_made_goes_with_the_next_prune() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    write(folder.path(), 20, 20);
    killed_after(10, apply(&server, folder.path()));
    // The bundle has changed before the next apply: what it made and has no more is found all the same.
    write(folder.path(), 0, 1);
    finished(apply(&server, folder.path()));
    assert_eq!(there(&server).await, (names(0), names(1)));
    std::fs::write(folder.path().join("all.yaml"), "---\n").unwrap();
    finished(apply(&server, folder.path()));
    let shop = server.client.of::<Namespace>().get_if_exists("shop").await.unwrap();
    assert!(shop.is_none_or(|shop| shop.metadata.deletion_timestamp.is_some()), "the namespace goes, too");
}
