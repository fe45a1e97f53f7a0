//! `kprov up --demo` ends with a URL that both pods answer, and `kprov down` leaves nothing.

use std::collections::BTreeSet;
use std::fs;

use kprov_tests::cluster::TestCluster;

use super::{KPROV, http_get};

/// What a cluster could leave behind on a machine.
fn remains() -> Vec<String> {
    let mut found = Vec::new();
    for mount in fs::read_to_string("/proc/self/mounts").unwrap().lines() {
        found.push(format!("mount {}", mount.split(' ').nth(1).unwrap_or_default()));
    }
    for link in fs::read_dir("/sys/class/net").unwrap() {
        found.push(format!("link {}", link.unwrap().file_name().display()));
    }
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let command = fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
        if command.contains("kprov") && !command.contains("cargo") && !command.contains("/deps/") {
            found.push(format!("process {} {}", process.file_name().display(), command.replace('\0', " ")));
        }
    }
    found.retain(|line| line.contains("kp"));
    for line in fs::read_to_string("/proc/self/cgroup").unwrap().lines() {
        let controllers = line.split(':').nth(1).unwrap_or_default();
        let root = if controllers.is_empty() { "unified" } else { controllers.trim_start_matches("name=") };
        let folder = std::path::Path::new("/sys/fs/cgroup").join(root).join("kprov");
        if let Ok(clusters) = fs::read_dir(folder) {
            found.extend(clusters.flatten().map(|cluster| format!("cgroup {root} {}", cluster.file_name().display())));
        }
    }
    found
}

fn of_cluster(found: &[String], name: &str, home: &str) -> Vec<String> {
    found
        .iter()
        .filter(|line| line.contains(&format!("{name} ")) || line.ends_with(name) || line.contains(home))
        .cloned()
        .collect()
}

#[test]
fn the_demo_answers_from_both_pods_and_down_leaves_nothing() {
    let cluster = TestCluster::prepare(KPROV, "demo").unwrap();
    let home = cluster.home().to_str().unwrap().to_owned();
    let said = cluster.kprov("up", &["--demo"]).unwrap();
    let url = said.lines().find_map(|line| line.split("http://").nth(1)).expect("a URL is printed");
    let address = url.trim_end_matches('/');
    let hosts: BTreeSet<String> = (0..20)
        .map(|_| {
            let body = http_get(address).unwrap();
            body.lines().find(|line| line.starts_with("Hostname:")).expect("it says who answers").to_owned()
        })
        .collect();
    assert_eq!(hosts.len(), 2, "both pods answer: {hosts:?}");
    assert!(!of_cluster(&remains(), "demo", &home).is_empty(), "the search for remains finds a running cluster");

    assert_eq!(cluster.kprov("up", &["--dry-run"]).unwrap(), "", "nothing is left to do");
    let uids = "get pods -o jsonpath={.items[*].metadata.uid}";
    let before = cluster.k(uids).unwrap();
    cluster.kprov("up", &["--demo"]).unwrap();
    assert_eq!(cluster.k(uids).unwrap(), before, "a second up changes nothing");

    cluster.kprov("down", &[]).unwrap();
    assert_eq!(of_cluster(&remains(), "demo", &home), Vec::<String>::new());
    assert!(!cluster.folder().exists());
    assert!(!fs::read_to_string(cluster.kubeconfig()).unwrap().contains("kprov-demo"));
}

#[test]
fn two_clusters_live_side_by_side() {
    let one = TestCluster::up(KPROV, "one", &["--demo"]).unwrap();
    let two = TestCluster::up(KPROV, "two", &["--demo"]).unwrap();
    for cluster in [&one, &two] {
        assert!(cluster.k("get pods").unwrap().contains("demo-"));
    }
    two.kprov("down", &[]).unwrap();
    one.k("wait --for=condition=Available deployment/demo --timeout=30s").unwrap();
}
