//! The cluster file, as tables.

use super::*;

const HEAD: &str = "apiVersion: kprov.dev/v1\nkind: Cluster\nname: dev\n";

#[test]
fn names_are_labels() {
    for good in ["a", "dev", "my-cluster-2", &"x".repeat(40)] {
        assert!(good.parse::<Name>().is_ok(), "{good}");
    }
    for bad in ["", "-a", "a-", "A", "a.b", "a/b", "../x", "ä", &"x".repeat(41)] {
        assert!(bad.parse::<Name>().is_err(), "{bad}");
    }
}

#[test]
fn what_is_left_out_is_filled_in_visibly() {
    let cluster = Cluster::from_yaml("dev.yaml", HEAD).unwrap();
    assert_eq!(cluster, Cluster::local("dev").into());
    let want = "apiVersion: kprov.dev/v1\nkind: Cluster\nname: dev\nnodeGraceSeconds: 50\nnodes: 1\nprovider: local\n\
                runtime: containers\nversion: \"1.37\"\n";
    assert_eq!(cluster.to_yaml(), want);
    assert_eq!(Cluster::from_yaml("again.yaml", want).unwrap(), cluster);
}

#[test]
fn a_file_moves_to_another_provider() {
    let text = format!(
        "{HEAD}provider: PROVIDER\nnodes: 2\nregion: eu-central-1\naccount: 012345678901\nnodeGroups:\n- name: web\n  \
         min: 2\n  max: 4\n"
    );
    let local = Cluster::from_yaml("c.yaml", &text.replace("PROVIDER", "local")).unwrap();
    assert_eq!(local, Cluster::local("dev").nodes(2).into());
    let eks = Cluster::from_yaml("c.yaml", &text.replace("PROVIDER", "eks")).unwrap();
    let want = Cluster::eks("dev", "eu-central-1").account("012345678901").node_group(NodeGroup::new("web").size(2, 4));
    assert_eq!(eks, want.into());
}

#[test]
fn examples_are_read_as_what_they_say() {
    assert_eq!(Cluster::from_yaml("e", &example("local").unwrap()).unwrap(), Cluster::local("dev").into());
    let eks = Cluster::eks("dev", "eu-central-1").node_group(NodeGroup::new("dev"));
    assert_eq!(Cluster::from_yaml("e", &example("eks").unwrap()).unwrap(), eks.into());
    assert_eq!(example("moon"), None);
}

#[test]
fn every_mistake_names_line_path_and_what_was_meant() {
    let eks = "provider: eks\nregion: eu-central-1\n";
    for (rest, want) in [
        ("nodez: 2\n", "c.yaml:4:1: unknown field \"nodez\"; did you mean `nodes`?"),
        ("zones: 2\n", "c.yaml:4:1: unknown field \"zones\"; its place is `network.zones`"),
        ("nodes: two\n", "c.yaml:4:8: nodes must be a whole number, found \"two\""),
        ("nodes: 10001\n", "c.yaml:4:8: nodes is 10001: it must be from 0 to 10000"),
        (
            "runtime: simulate\n",
            "c.yaml:4:10: runtime is \"simulate\": it must be containers or simulated; did you mean `simulated`?",
        ),
        ("provider: esk\n", "c.yaml:4:11: provider is \"esk\": it must be local or eks; did you mean `eks`?"),
        ("version: 1.20\n", "c.yaml:4:1: the local provider serves Kubernetes 1.37, not 1.20"),
        ("version: '1'\n", "c.yaml:4:10: version is \"1\": it must be a minor version in quotes, such as \"1.37\""),
        ("provider: eks\nnodeGroups: [{name: a}]\n", "c.yaml:1:1: region is missing; The region of AWS."),
        (
            "provider: eks\nregion: europe\nnodeGroups: [{name: a}]\n",
            "c.yaml:5:9: region is \"europe\": it must be a region of AWS, such as eu-central-1",
        ),
        (&format!("{eks}nodeGroups: []\n"), "c.yaml:6:1: nodeGroups is empty: a cluster needs a group of nodes"),
        (
            &format!("{eks}nodeGroups:\n  name: a\n"),
            "c.yaml:7:3: nodeGroups must be a list: begin each item with `- `, found a map",
        ),
        (&format!("{eks}nodeGroups:\n- name: a\n  min: 5\n"), "c.yaml:8:3: min 5 is more than max 3"),
        (&format!("{eks}nodeGroups:\n- {{name: a}}\n- {{name: a}}\n"), "c.yaml:8:4: two groups are named \"a\""),
        (
            &format!("{eks}account: 1234\nnodeGroups: [{{name: a}}]\n"),
            "c.yaml:6:10: account is \"1234\": it must be an account of AWS: 12 digits, in quotes",
        ),
        ("a: [\n", "c.yaml:4:4: not YAML: unclosed bracket '['"),
        ("---\nkind: Cluster\n", "c.yaml:5:1: a cluster file describes one cluster"),
    ] {
        let problems = Cluster::from_yaml("c.yaml", &format!("{HEAD}{rest}")).unwrap_err();
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(told, [want], "{rest}");
    }
    let told = Cluster::from_yaml("c.yaml", "name: A\n").unwrap_err();
    assert_eq!(told.len(), 3, "{told:?}");
}
