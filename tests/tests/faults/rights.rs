//! Who is not root is told what is missing, and has simulated clusters.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use kprov_tests::cluster::TestCluster;
use kprov_tests::remains::Marks;
use nix::unistd::{Gid, Uid, chown};

use super::{KPROV, fails};

/// The user `nobody` of every Linux.
const NOBODY: u32 = 65534;

/// A cluster's home that belongs to nobody, with a kprov in it that nobody can reach.
struct Foreign {
    cluster: TestCluster,
    kprov: PathBuf,
}

impl Foreign {
    fn new(name: &str) -> Self {
        let cluster = TestCluster::prepare(KPROV, name).unwrap();
        let kprov = cluster.home().join("kprov");
        fs::copy(KPROV, &kprov).unwrap();
        chown(cluster.home(), Some(Uid::from_raw(NOBODY)), Some(Gid::from_raw(NOBODY))).unwrap();
        Self { cluster, kprov }
    }

    fn kprov(&self, verb: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.kprov);
        command.arg(verb).args(["--name", self.cluster.name()]).args(arguments);
        command.env("KPROV_HOME", self.cluster.home()).env("KUBECONFIG", self.cluster.kubeconfig());
        command.uid(NOBODY).gid(NOBODY).current_dir("/");
        command
    }

    fn works(&self, verb: &str, arguments: &[&str]) {
        let out = self.kprov(verb, arguments).output().unwrap();
        assert!(out.status.success(), "{verb}: {}", String::from_utf8_lossy(&out.stderr));
    }
}

#[test]
fn who_is_not_root_is_offered_a_simulated_cluster_which_works() {
    let foreign = Foreign::new("plain");
    let cluster = &foreign.cluster;
    fails(&mut foreign.kprov("up", &[]), &["need root", "namespaces", "sudo", "`kprov up --simulated`"]);
    assert!(!cluster.folder().exists(), "nothing is made before it is known that it can work");

    foreign.works("up", &["--simulated", "--nodes", "2"]);
    cluster.k("wait --for=condition=Ready node --all --timeout=30s").unwrap();
    assert_eq!(cluster.k("get nodes --no-headers").unwrap().lines().count(), 2);
    cluster.k("create deployment web --image=nginx --replicas=3").unwrap();
    cluster.k("rollout status deployment/web --timeout=60s").unwrap();
    foreign.works("up", &[]);

    let marks = Marks::of(cluster).unwrap();
    assert!(!marks.find().unwrap().is_empty());
    foreign.works("down", &[]);
    assert_eq!(marks.find().unwrap(), Default::default());
}

#[test]
fn root_in_a_container_without_rights_is_told_so_too() {
    let cluster = TestCluster::prepare(KPROV, "bounded").unwrap();
    let up = |arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set=-all", "--inh-caps=-all", KPROV, "up", "--name", "bounded"]).args(arguments);
        command.env("KPROV_HOME", cluster.home()).env("KUBECONFIG", cluster.kubeconfig());
        command
    };
    fails(&mut up(&[]), &["CAP_NET_ADMIN, CAP_SYS_ADMIN", "`kprov up --simulated`"]);
    assert!(!cluster.folder().exists());
    assert!(up(&["--simulated"]).output().unwrap().status.success());
    cluster.k("wait --for=condition=Ready node --all --timeout=30s").unwrap();
}

#[test]
fn who_has_no_place_for_state_is_told_to_name_one() {
    let foreign = Foreign::new("homeless");
    let closed = tempfile::Builder::new().prefix("kp").tempdir().unwrap();
    let mut command = foreign.kprov("up", &["--simulated"]);
    command.env("KPROV_HOME", closed.path().join("state"));
    fails(&mut command, &[closed.path().to_str().unwrap(), "KPROV_HOME"]);
}
