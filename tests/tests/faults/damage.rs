//! Damaged files of a cluster are named with the way out, and left as they are.

use std::fs;

use kprov_tests::cluster::TestCluster;
use kprov_tests::remains::Marks;
use nix::sys::signal::Signal;

use super::{KPROV, fails};

/// A stopped control plane with an object in it.
fn stopped(name: &str) -> TestCluster {
    let cluster = TestCluster::up(KPROV, name, &["--nodes", "0"]).unwrap();
    cluster.k("create configmap kept --from-literal=a=b").unwrap();
    cluster.end_server(Signal::SIGTERM).unwrap();
    cluster
}

/// Ways in which a disk, a copy or an editor spoils a file.
fn spoilt(good: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut flipped = good.to_vec();
    // Every page of the file has the fault, so one that is in use has it, too.
    flipped.iter_mut().skip(4096 + 100).step_by(512).for_each(|byte| *byte ^= 0x55);
    let mut header = good.to_vec();
    header[..64].fill(0);
    vec![
        ("flipped bytes", flipped),
        ("half of it", good[..good.len() / 2].to_vec()),
        ("no header", header),
        ("a text", b"apiVersion: v1\n".to_vec()),
    ]
}

#[test]
fn a_damaged_store_is_named_and_a_good_copy_is_the_way_out() {
    let cluster = stopped("damaged");
    let store = cluster.folder().join("store.redb");
    let good = fs::read(&store).unwrap();
    for (what, bytes) in spoilt(&good) {
        fs::write(&store, &bytes).unwrap();
        let said = fails(&mut cluster.kprov_command("up"), &[store.to_str().unwrap(), "move it away"]);
        assert!(said.contains("is damaged") || said.contains("is not a kprov store"), "{what}: {said}");
        assert!(fs::read(&store).unwrap() == bytes, "{what}: the file is as it was");
    }
    fs::write(&store, &good).unwrap();
    cluster.kprov("up", &[]).unwrap();
    assert!(cluster.k("get configmap kept -o jsonpath={.data.a}").unwrap().contains('b'));
}

#[test]
fn a_damaged_store_moved_away_leaves_an_empty_cluster_and_down_needs_no_store() {
    let cluster = stopped("moved");
    let store = cluster.folder().join("store.redb");
    fs::write(&store, "no store").unwrap();
    fails(&mut cluster.kprov_command("up"), &["store.redb"]);
    fs::rename(&store, store.with_extension("bad")).unwrap();
    cluster.kprov("up", &[]).unwrap();
    cluster.k("get namespace default").unwrap();
    assert!(cluster.k("get configmap kept").unwrap_err().to_string().contains("not found"));

    cluster.end_server(Signal::SIGTERM).unwrap();
    fs::write(&store, "no store").unwrap();
    let marks = Marks::of(&cluster).unwrap();
    cluster.kprov("down", &[]).unwrap();
    assert_eq!(marks.find().unwrap(), Default::default());
}

#[test]
fn damaged_keys_are_named() {
    let cluster = stopped("keys");
    let folder = cluster.folder().join("pki");
    let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!files.is_empty());
    for file in files {
        let good = fs::read(&file).unwrap();
        fs::write(&file, "-----BEGIN NOTHING-----\n").unwrap();
        fails(&mut cluster.kprov_command("up"), &[file.to_str().unwrap()]);
        assert_eq!(fs::read_to_string(&file).unwrap(), "-----BEGIN NOTHING-----\n", "it is left as it is");
        fs::write(&file, good).unwrap();
    }
    cluster.kprov("up", &[]).unwrap();
    cluster.k("get configmap kept").unwrap();
}
