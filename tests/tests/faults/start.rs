//! What stands in the way of a start is named, and when it is gone the start succeeds.

use std::fs;
use std::net::TcpListener;

use kprov_tests::cluster::TestCluster;
use kprov_tests::remains::Marks;

use super::{KPROV, fails};

const ALONE: &[&str] = &["--nodes", "0"];

fn is_up(cluster: &TestCluster) {
    assert_eq!(cluster.kprov("up", &["--dry-run"]).unwrap(), "", "nothing is left to do");
    cluster.k("get namespace default").unwrap();
}

#[test]
fn a_port_in_use_is_named() {
    let cluster = TestCluster::prepare(KPROV, "port").unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let up = || {
        let mut command = cluster.kprov_command("up");
        command.args(["--nodes", "0", "--port", &port]);
        command
    };
    fails(&mut up(), &[&format!("127.0.0.1:{port}"), "in use", "--port"]);
    let processes = Marks::of(&cluster).unwrap().find().unwrap();
    assert!(!processes.iter().any(|part| part.starts_with("process")), "{processes:?}");
    drop(taken);
    assert!(up().status().unwrap().success());
    is_up(&cluster);
}

#[test]
fn another_port_is_the_way_out_of_a_port_in_use() {
    let cluster = TestCluster::prepare(KPROV, "port2").unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    fails(cluster.kprov_command("up").args(["--nodes", "0", "--port", &port]), &[&port]);
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    cluster.kprov("up", &["--nodes", "0", "--port", &free]).unwrap();
    is_up(&cluster);
}

#[test]
fn a_second_server_on_the_same_folder_is_refused() {
    let cluster = TestCluster::up(KPROV, "second", ALONE).unwrap();
    let pid = cluster.server().unwrap().to_string();
    let folder = cluster.folder();
    let mut second = std::process::Command::new(KPROV);
    second.args(["serve", "--only", "api", "--data"]).arg(&folder);
    fails(&mut second, &[&format!("process {pid} serves"), folder.to_str().unwrap()]);
    assert_eq!(cluster.server().unwrap().to_string(), pid);
    is_up(&cluster);
}

#[test]
fn commands_on_one_cluster_wait_for_each_other() {
    let cluster = TestCluster::prepare(KPROV, "turns").unwrap();
    let both = [(); 2].map(|()| cluster.kprov_command("up").args(ALONE).spawn().unwrap());
    for mut up in both {
        assert!(up.wait().unwrap().success());
    }
    is_up(&cluster);
    let down = cluster.kprov_command("down").spawn().unwrap();
    let up = cluster.kprov_command("up").args(ALONE).spawn().unwrap();
    for mut one in [down, up] {
        assert!(one.wait().unwrap().success());
    }
    let down = cluster.kprov("down", &[]).unwrap();
    assert!(down.contains("is gone") || down.contains("There is no cluster"), "{down}");
}

#[test]
fn a_kubeconfig_that_is_none_is_left_alone() {
    for (index, text) in ["just text\n", "clusters: [\n", "- a\n- list\n"].into_iter().enumerate() {
        let cluster = TestCluster::prepare(KPROV, &format!("config{index}")).unwrap();
        fs::write(cluster.kubeconfig(), text).unwrap();
        let file = cluster.kubeconfig().to_str().unwrap().to_owned();
        fails(cluster.kprov_command("up").args(ALONE), &[&file, "no kubeconfig", "KUBECONFIG"]);
        assert_eq!(fs::read_to_string(cluster.kubeconfig()).unwrap(), text);
        fails(&mut cluster.kprov_command("down"), &[&file, "no kubeconfig", "KUBECONFIG"]);
        assert_eq!(fs::read_to_string(cluster.kubeconfig()).unwrap(), text);
        let status = cluster.kprov("status", &[]).unwrap();
        assert!(status.contains(cluster.name()), "{status}");

        fs::write(cluster.kubeconfig(), "apiVersion: v1\nkind: Config\nextra: mine\n").unwrap();
        cluster.kprov("up", ALONE).unwrap();
        is_up(&cluster);
        cluster.kprov("down", &[]).unwrap();
        assert!(fs::read_to_string(cluster.kubeconfig()).unwrap().contains("extra: mine"));
    }
}

#[test]
fn names_that_are_none_and_clusters_that_are_not_there() {
    let cluster = TestCluster::prepare(KPROV, "nowhere").unwrap();
    for name in ["A_b", "", "a/b", "..", "-a"] {
        for verb in ["up", "down", "status"] {
            let mut command = std::process::Command::new(KPROV);
            command.arg(verb).arg(format!("--name={name}")).env("KPROV_HOME", cluster.home());
            fails(&mut command, &[&format!("invalid value '{name}' for '--name"), "lower"]);
        }
    }
    for verb in ["kubeconfig", "image list"] {
        fails(&mut cluster.kprov_command(verb), &["there is no cluster nowhere", "kprov up --name nowhere"]);
    }
    assert!(cluster.kprov("status", &[]).unwrap().contains("no such cluster"));
    for _ in 0..2 {
        assert!(cluster.kprov("down", &[]).unwrap().contains("no cluster nowhere"));
    }
    assert_eq!(fs::read_dir(cluster.home()).unwrap().count(), 0, "asking makes nothing");
}

#[test]
fn up_again_changes_nothing_and_down_again_is_fine() {
    let cluster = TestCluster::up(KPROV, "twice", &["--simulated"]).unwrap();
    let look = || {
        let kubeconfig = fs::metadata(cluster.kubeconfig()).unwrap().modified().unwrap();
        let config = fs::metadata(cluster.folder().join("cluster.json")).unwrap().modified().unwrap();
        (cluster.server().unwrap(), kubeconfig, config)
    };
    let before = look();
    for arguments in [&[][..], &["--simulated"], &["--nodes", "1"]] {
        assert!(cluster.kprov("up", arguments).unwrap().contains("is up already"));
    }
    assert_eq!(look(), before, "the same server, and no file was written");
    assert!(cluster.kprov("down", &[]).unwrap().contains("is gone"));
    assert!(cluster.kprov("down", &[]).unwrap().contains("no cluster twice"));
}
