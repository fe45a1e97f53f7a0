//! A full disk stops writes with a clear error, loses nothing, and is forgotten as soon as there is space.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use http::{Method, StatusCode};
use kprov_tests::cluster::TestCluster;
use kprov_tests::https::{Access, Answer, Connection};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::Signal;
use serde_json::json;

use super::{KPROV, fails};

const OBJECTS: &str = "/api/v1/namespaces/default/configmaps";

/// A disk of 24 MB.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("kp").tempdir().unwrap();
        mount(Some("tmpfs"), folder.path(), Some("tmpfs"), MsFlags::empty(), Some("size=24m,mode=0755")).unwrap();
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Fills it with a file of its own until nothing fits.
    fn fill(&self) {
        let mut ballast = File::options().create(true).append(true).open(self.path().join("ballast")).unwrap();
        for size in [1 << 20, 4096] {
            while ballast.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn free(&self) {
        fs::remove_file(self.path().join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        umount2(self.path(), MntFlags::MNT_DETACH).ok();
    }
}

async fn create(connection: &mut Connection, name: &str, bytes: usize) -> Answer {
    let object = json!({"metadata": {"name": name}, "data": {"text": "x".repeat(bytes)}}).to_string();
    connection.send(Method::POST, OBJECTS, object).await.unwrap()
}

/// Every one of them is there.
async fn check(connection: &mut Connection, acknowledged: &[String]) {
    for name in acknowledged {
        let answer = connection.get(&format!("{OBJECTS}/{name}")).await.unwrap();
        assert_eq!(answer.status, StatusCode::OK, "{name}: {}", answer.text());
    }
}

async fn connect(cluster: &TestCluster) -> Connection {
    Access::from_kubeconfig(&cluster.folder().join("admin.kubeconfig")).unwrap().connect().await.unwrap()
}

#[tokio::test]
async fn a_full_disk_refuses_writes_loses_nothing_and_goes_on_with_space() {
    let disk = SmallDisk::new();
    let cluster = TestCluster::prepare_in(disk.path(), KPROV, "full").unwrap();
    cluster.kprov("up", &["--nodes", "0"]).unwrap();
    let mut connection = connect(&cluster).await;
    let mut acknowledged = Vec::new();
    disk.fill();
    let refused = loop {
        let name = format!("large-{}", acknowledged.len());
        let answer = create(&mut connection, &name, 200_000).await;
        if answer.status != StatusCode::CREATED {
            break answer;
        }
        acknowledged.push(name);
        assert!(acknowledged.len() < 1000, "the disk is not full");
    };
    let store = cluster.folder().join("store.redb");
    assert!(refused.status.is_server_error(), "{}", refused.text());
    let status = refused.json().unwrap();
    let message = status["message"].as_str().unwrap();
    for words in ["no space is left", store.to_str().unwrap(), "nothing that was acknowledged is lost"] {
        assert!(message.contains(words), "{words} in {message}");
    }
    check(&mut connection, &acknowledged).await;

    disk.free();
    for name in ["after-1", "after-2"] {
        let answer = create(&mut connection, name, 100).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        acknowledged.push(name.to_owned());
    }
    cluster.end_server(Signal::SIGKILL).unwrap();
    cluster.kprov("up", &[]).unwrap();
    check(&mut connect(&cluster).await, &acknowledged).await;
}

#[tokio::test]
async fn a_start_on_a_full_disk_fails_clearly_or_works_and_loses_nothing() {
    let disk = SmallDisk::new();
    let cluster = TestCluster::prepare_in(disk.path(), KPROV, "tight").unwrap();
    disk.fill();
    fails(cluster.kprov_command("up").args(["--nodes", "0"]), &["o space", disk.path().to_str().unwrap()]);
    disk.free();
    cluster.kprov("up", &["--nodes", "0"]).unwrap();
    let created = create(&mut connect(&cluster).await, "kept", 1000).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.text());

    cluster.end_server(Signal::SIGKILL).unwrap();
    disk.fill();
    let mut up = cluster.kprov_command("up");
    let out = up.output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() || said.contains("o space"), "{said}");
    disk.free();
    cluster.kprov("up", &[]).unwrap();
    check(&mut connect(&cluster).await, &["kept".to_owned()]).await;
}
