//! The local provider: clusters that live on this machine in one server process each.

mod config;
pub(crate) mod control;
mod observe;

mod perform;
mod plan;
pub(crate) mod process;

use kprov::client::Client;
use kprov::cluster::{Cluster, Name, Plan, Provider, Report};

pub(crate) use config::Config;
pub(crate) use observe::{Observed, node_is_ready, nodes};
pub(crate) use plan::Step;

use crate::home::Folder;

/// Clusters of this machine.
pub(crate) struct Local {
    /// Port asked for by hand, for a cluster that has none yet.
    pub(crate) port: Option<u16>,
}

impl Provider for Local {
    type Observed = Observed;
    type Step = Step;
    type Access = Client;
    type Error = anyhow::Error;

    async fn observe(&self, cluster: &Name) -> anyhow::Result<Observed> {
        observe::observe(cluster).await
    }

    fn plan(&self, want: Option<&Cluster>, have: &Observed) -> Plan<Step> {
        Plan { steps: plan::steps(want, self.port, have) }
    }

    async fn perform(&self, step: &Step, report: &dyn Report) -> anyhow::Result<()> {
        perform::perform(step, report).await
    }

    async fn access(&self, cluster: &Name) -> anyhow::Result<Client> {
        Ok(Client::from_kubeconfig(&Folder::of(cluster)?.kubeconfig()).await?)
    }
}
