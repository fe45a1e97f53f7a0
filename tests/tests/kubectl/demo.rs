//! `kprov up --demo` ends with a URL that both pods answer, and `kprov down` leaves nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

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

/// Who answers at the demo's address, asked often enough that every pod has its turn.
fn hosts(address: &str) -> BTreeSet<String> {
    let host = |_| {
        let body = http_get(address).unwrap();
        body.lines().find(|line| line.starts_with("Hostname:")).expect("it says who answers").to_owned()
    };
    (0..20).map(host).collect()
}

/// Brings a cluster up with the demo, and returns the address that it prints.
fn up_with_demo(cluster: &TestCluster) -> String {
    let said = cluster.kprov("up", &["--demo"]).unwrap();
    let url = said.lines().find_map(|line| line.split("http://").nth(1)).expect("a URL is printed");
    url.trim_end_matches('/').to_owned()
}

/// Every object with its revision. Leases are renewed by the clock, events tell of what was.
fn revisions(cluster: &TestCluster) -> BTreeSet<String> {
    let listed = cluster.k("api-resources --verbs=list -o name").unwrap();
    let kinds: Vec<&str> =
        listed.lines().filter(|kind| !kind.starts_with("leases.") && !kind.starts_with("events")).collect();
    assert!(kinds.contains(&"pods"), "{listed}");
    let columns =
        "{range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name} {.metadata.resourceVersion}{\"\\n\"}{end}";
    let kinds = kinds.join(",");
    let told = cluster.kubectl(&["get", &kinds, "-A", "-o", &format!("jsonpath={columns}")]).unwrap();
    told.lines().map(str::to_owned).collect()
}

/// What a running server writes, the network namespace of its node, and what kubectl writes.
const RUNNING: &[&str] = &["store.redb", "serve.log", "nodes", "node-1", "cache"];

/// The files of a cluster and the kubeconfig besides [`RUNNING`], with what is in them and when that was written.
fn files(cluster: &TestCluster) -> BTreeMap<PathBuf, ((i64, i64), Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![cluster.home().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name());
            let kind = entry.file_type().unwrap();
            if kind.is_dir() && !RUNNING.iter().any(|one| name == *one) {
                folders.push(path);
            } else if kind.is_file() && !RUNNING.iter().any(|one| name == *one) {
                let about = entry.metadata().unwrap();
                found.insert(path.clone(), ((about.mtime(), about.mtime_nsec()), fs::read(path).unwrap()));
            }
        }
    }
    found
}

#[test]
fn the_demo_answers_from_both_pods_and_down_leaves_nothing() {
    let cluster = TestCluster::prepare(KPROV, "demo").unwrap();
    let home = cluster.home().to_str().unwrap().to_owned();
    let address = up_with_demo(&cluster);
    let answered = hosts(&address);
    assert_eq!(answered.len(), 2, "both pods answer: {answered:?}");
    assert!(!of_cluster(&remains(), "demo", &home).is_empty(), "the search for remains finds a running cluster");

    assert_eq!(cluster.kprov("up", &["--dry-run"]).unwrap(), "", "nothing is left to do");
    cluster.k("rollout status deployment/demo --timeout=30s").unwrap();
    let before = (revisions(&cluster), files(&cluster));
    assert!(before.1.keys().any(|file| file.ends_with("cluster.json")), "{:?}", before.1.keys());
    assert_eq!(up_with_demo(&cluster), address);
    let after = (revisions(&cluster), files(&cluster));
    let changed: Vec<_> = before.0.symmetric_difference(&after.0).collect();
    assert!(changed.is_empty(), "a second up changes objects: {changed:?}");
    let written: Vec<_> =
        before.1.keys().chain(after.1.keys()).filter(|file| before.1.get(*file) != after.1.get(*file)).collect();
    assert!(written.is_empty(), "a second up writes files: {written:?}");

    cluster.kprov("down", &[]).unwrap();
    assert_eq!(of_cluster(&remains(), "demo", &home), Vec::<String>::new());
    assert!(!cluster.folder().exists());
    assert!(!fs::read_to_string(cluster.kubeconfig()).unwrap().contains("kprov-demo"));
}

#[test]
fn two_clusters_live_side_by_side() {
    let one = TestCluster::prepare(KPROV, "one").unwrap();
    let two = TestCluster::prepare(KPROV, "two").unwrap();
    let clusters = [&one, &two].map(|cluster| (cluster, up_with_demo(cluster)));
    let answered = clusters.each_ref().map(|(_, address)| hosts(address));
    assert!(answered.iter().all(|hosts| hosts.len() == 2) && answered[0].is_disjoint(&answered[1]), "{answered:?}");
    two.kprov("down", &[]).unwrap();
    assert_eq!(hosts(&clusters[0].1), answered[0], "the pods of the one that is left go on");
    let left = http_get(&clusters[1].1).unwrap_or_default();
    assert!(!left.contains("Hostname:"), "the one that is gone answers: {left}");
}
