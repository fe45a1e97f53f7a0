//! The local provider: clusters that live on this machine in one server process each.

mod config;
pub(crate) mod control;
mod observe;

mod perform;
mod plan;
pub(crate) mod process;
pub(crate) mod turn;

use kprov::client::Client;
use kprov::cluster::{LocalCluster, Name, Plan, Provider, Report};

pub(crate) use config::{Config, Wishes};
pub(crate) use observe::{Observed, node_is_ready, nodes};
pub(crate) use plan::Step;

use crate::home::Folder;

/// Clusters of this machine.
pub(crate) struct Local {
    /// What is asked for beside the cluster itself.
    pub(crate) wishes: Wishes,
}

/// Names of the nodes of a cluster that has so many.
pub(crate) fn node_names(count: u32) -> impl Iterator<Item = String> {
    (1..=count).map(|number| format!("node-{number}"))
}

impl Provider for Local {
    type Cluster = LocalCluster;
    type Observed = Observed;
    type Step = Step;
    type Access = Client;
    type Error = anyhow::Error;

    async fn observe(&self, cluster: &Name) -> anyhow::Result<Observed> {
        observe::observe(cluster).await
    }

    fn plan(&self, want: Option<&LocalCluster>, have: &Observed) -> Plan<Step> {
        Plan { steps: plan::steps(want, self.wishes, have) }
    }

    async fn perform(&self, step: &Step, report: &dyn Report) -> anyhow::Result<()> {
        perform::perform(step, report).await
    }

    async fn access(&self, cluster: &Name) -> anyhow::Result<Client> {
        Ok(Client::from_kubeconfig(&Folder::of(cluster)?.kubeconfig()).await?)
    }
}
