//! From what there is to what is wanted, in steps.

use std::fmt;

use kprov::cluster::{LocalCluster, Name};

use super::{Config, Observed, Wishes, node_names};

/// One step. Each may be taken again after a crash in the middle of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Write what the cluster should be; port `None` chooses a free one.
    Configure { cluster: LocalCluster, wishes: Wishes },
    /// Start the server.
    Start(Name),
    /// Wait until the server answers.
    AwaitServer(Name),
    /// Enter the cluster into the user's kubeconfig.
    AddContext(Name),
    /// Start a node that is off.
    StartNode(Name, String),
    /// Wait until so many nodes are ready.
    AwaitNodes(Name, u32),
    /// Stop the server; containers go on.
    Stop(Name),
    /// Kill the containers, remove their file systems and cgroups.
    RemoveContainers(Name),
    /// Remove links and network namespaces.
    RemoveNetwork(Name),
    /// Take the cluster out of the user's kubeconfig.
    RemoveContext(Name),
    /// Remove all files.
    RemoveFolder(Name),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configure { cluster, .. } => {
                write!(f, "configure cluster {} with {} nodes", cluster.name, cluster.nodes)
            }
            Self::Start(name) => write!(f, "start the server of cluster {name}"),
            Self::AwaitServer(name) => write!(f, "wait for the API server of cluster {name}"),
            Self::AddContext(name) => write!(f, "add context kprov-{name} to the kubeconfig"),
            Self::StartNode(name, node) => write!(f, "start {node} of cluster {name}"),
            Self::AwaitNodes(name, nodes) => write!(f, "wait for {nodes} ready nodes of cluster {name}"),
            Self::Stop(name) => write!(f, "stop the server of cluster {name}"),
            Self::RemoveContainers(name) => write!(f, "remove the containers of cluster {name}"),
            Self::RemoveNetwork(name) => write!(f, "remove the network of cluster {name}"),
            Self::RemoveContext(name) => write!(f, "remove context kprov-{name} from the kubeconfig"),
            Self::RemoveFolder(name) => write!(f, "remove the files of cluster {name}"),
        }
    }
}

pub(super) fn steps(want: Option<&LocalCluster>, wishes: Wishes, have: &Observed) -> Vec<Step> {
    match want {
        Some(cluster) => up(cluster, wishes, have),
        None => down(have),
    }
}

fn up(cluster: &LocalCluster, wishes: Wishes, have: &Observed) -> Vec<Step> {
    let name = || cluster.name.clone();
    let known = have.config.as_ref().ok().and_then(Option::as_ref);
    let wishes = wishes.or(known);
    let as_wanted = known.is_some_and(|known| *known == Config::of(cluster, wishes));
    let goes_on = as_wanted && have.running;
    let mut steps = Vec::new();
    if !as_wanted {
        if have.running {
            steps.push(Step::Stop(name()));
        }
        steps.push(Step::Configure { cluster: cluster.clone(), wishes });
    }
    if !goes_on {
        steps.push(Step::Start(name()));
    }
    if !(goes_on && have.ready) {
        steps.push(Step::AwaitServer(name()));
    }
    if !(goes_on && have.context == Ok(true)) {
        steps.push(Step::AddContext(name()));
    }
    let off: Vec<String> = node_names(cluster.nodes).filter(|node| have.off.contains(node)).collect();
    let all_on = off.is_empty();
    steps.extend(off.into_iter().map(|node| Step::StartNode(name(), node)));
    if !(goes_on && all_on && have.ready && have.ready_nodes >= cluster.nodes as usize) {
        steps.push(Step::AwaitNodes(name(), cluster.nodes));
    }
    steps
}

/// Works from what exists, so that a cluster whose configuration is damaged can still be removed.
fn down(have: &Observed) -> Vec<Step> {
    let name = || have.name.clone();
    let mut steps = Vec::new();
    if have.running {
        steps.push(Step::Stop(name()));
    }
    if have.folder {
        steps.extend([Step::RemoveContainers(name()), Step::RemoveNetwork(name())]);
    }
    if have.context == Ok(true) || have.folder {
        steps.push(Step::RemoveContext(name()));
    }
    if have.folder {
        steps.push(Step::RemoveFolder(name()));
    }
    steps
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use expect_test::{Expect, expect};
    use kprov::cluster::Plan;

    use super::*;

    fn nothing() -> Observed {
        Observed {
            name: "dev".parse().unwrap(),
            folder: false,
            config: Ok(None),
            running: false,
            ready: false,
            ready_nodes: 0,
            off: BTreeSet::new(),
            context: Ok(false),
        }
    }

    fn everything() -> Observed {
        Observed {
            folder: true,
            config: Ok(Some(Config { nodes: 2, simulated: false, port: 6443, node_grace: 50 })),
            running: true,
            ready: true,
            ready_nodes: 2,
            context: Ok(true),
            ..nothing()
        }
    }

    fn wanted(nodes: u32) -> LocalCluster {
        LocalCluster::new("dev".parse().unwrap()).nodes(nodes)
    }

    fn check(want: Option<&LocalCluster>, have: &Observed, expected: Expect) {
        expected.assert_eq(&Plan { steps: steps(want, Wishes::default(), have) }.to_string());
    }

    #[test]
    fn a_new_cluster_takes_every_step_and_a_second_up_none() {
        check(
            Some(&wanted(2)),
            &nothing(),
            expect![[r#"
            configure cluster dev with 2 nodes
            start the server of cluster dev
            wait for the API server of cluster dev
            add context kprov-dev to the kubeconfig
            wait for 2 ready nodes of cluster dev
        "#]],
        );
        check(Some(&wanted(2)), &everything(), expect![""]);
    }

    #[test]
    fn up_after_a_crash_takes_the_steps_that_are_left() {
        let stopped = Observed { running: false, ready: false, ready_nodes: 0, ..everything() };
        check(
            Some(&wanted(2)),
            &stopped,
            expect![[r#"
            start the server of cluster dev
            wait for the API server of cluster dev
            add context kprov-dev to the kubeconfig
            wait for 2 ready nodes of cluster dev
        "#]],
        );
        let starting = Observed { ready: false, ready_nodes: 0, context: Ok(false), ..everything() };
        check(
            Some(&wanted(2)),
            &starting,
            expect![[r#"
            wait for the API server of cluster dev
            add context kprov-dev to the kubeconfig
            wait for 2 ready nodes of cluster dev
        "#]],
        );
    }

    #[test]
    fn another_number_of_nodes_restarts_the_server() {
        check(
            Some(&wanted(3)),
            &everything(),
            expect![[r#"
            stop the server of cluster dev
            configure cluster dev with 3 nodes
            start the server of cluster dev
            wait for the API server of cluster dev
            add context kprov-dev to the kubeconfig
            wait for 3 ready nodes of cluster dev
        "#]],
        );
    }

    #[test]
    fn up_starts_nodes_that_are_off_and_only_those_that_are_wanted() {
        let off = BTreeSet::from(["node-2".to_owned(), "node-3".to_owned()]);
        let have = Observed { off, ready_nodes: 1, ..everything() };
        check(
            Some(&wanted(2)),
            &have,
            expect![[r#"
            start node-2 of cluster dev
            wait for 2 ready nodes of cluster dev
        "#]],
        );
    }

    #[test]
    fn another_patience_with_nodes_restarts_the_server() {
        let wishes = Wishes { node_grace: Some(5), ..Wishes::default() };
        let first = steps(Some(&wanted(2)), wishes, &everything()).swap_remove(1);
        let kept = Wishes { port: Some(6443), ..wishes };
        assert_eq!(first, Step::Configure { cluster: wanted(2), wishes: kept });
    }

    #[test]
    fn down_removes_what_exists_and_nothing_else() {
        check(
            None,
            &everything(),
            expect![[r#"
            stop the server of cluster dev
            remove the containers of cluster dev
            remove the network of cluster dev
            remove context kprov-dev from the kubeconfig
            remove the files of cluster dev
        "#]],
        );
        check(
            None,
            &Observed { folder: true, config: Err("damaged".into()), ..nothing() },
            expect![[r#"
            remove the containers of cluster dev
            remove the network of cluster dev
            remove context kprov-dev from the kubeconfig
            remove the files of cluster dev
        "#]],
        );
        check(None, &nothing(), expect![""]);
    }
}
