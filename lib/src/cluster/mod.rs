//! Clusters as values: what is wanted, what is there, and the steps between.
//!
//! ```
//! use kprov::cluster::Cluster;
//!
//! let dev = Cluster::from_yaml("dev.yaml", "apiVersion: kprov.dev/v1\nkind: Cluster\nname: dev\nnodes: 2\n").unwrap();
//! assert_eq!(dev, Cluster::local("dev").nodes(2).into());
//! ```

use std::fmt;
use std::future::Future;

use serde::{Deserialize, Serialize};

mod fields;
mod file;
mod types;

pub use fields::json_schema;
pub use file::example;
pub use types::{
    Access, Cluster, EksCluster, Endpoint, Grant, Ingress, LocalCluster, Nat, Network, NodeGroup, Rights, Taint,
    VERSION,
};

/// A cluster's name: a DNS label, at most 40 characters, so that names of its parts fit.
///
/// ```
/// use kprov::cluster::Name;
///
/// let dev: Name = "dev".parse()?;
/// assert_eq!(dev.as_str(), "dev");
/// # Ok::<(), kprov::cluster::NameError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// Why a text is no cluster name.
///
/// ```
/// use kprov::cluster::Name;
///
/// assert!("Dev_1".parse::<Name>().unwrap_err().to_string().starts_with("\"Dev_1\" is no cluster name"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no cluster name: use 1 to 40 lower-case letters, digits and '-', beginning and ending with a letter or digit"
)]
pub struct NameError(String);

impl std::str::FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        let fits =
            text.len() <= 40 && text.chars().all(inner) && edge(text.chars().next()) && edge(text.chars().last());
        if fits { Ok(Self(text.to_owned())) } else { Err(NameError(text.to_owned())) }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Name {
    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether containers are real.
///
/// ```
/// use kprov::cluster::{Cluster, Runtime};
///
/// assert_eq!(Cluster::local("dev").simulated().runtime, Runtime::Simulated);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Runtime {
    /// Linux containers; needs root on Linux.
    #[default]
    Containers,
    /// Pods walk through their states without a process behind them; runs anywhere.
    Simulated,
}

/// The steps that lead from what is there to what is wanted; empty when nothing is to do.
///
/// ```
/// use kprov::cluster::Plan;
///
/// let plan = Plan { steps: vec!["create the folder", "start the server"] };
/// assert!(!plan.is_empty());
/// assert_eq!(plan.to_string(), "create the folder\nstart the server\n");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan<S> {
    /// In this order.
    pub steps: Vec<S>,
}

impl<S> Plan<S> {
    /// Whether nothing is to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

impl<S: fmt::Display> fmt::Display for Plan<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}

/// Hears how a long step goes on.
///
/// ```
/// use kprov::cluster::Report;
///
/// struct Lines;
///
/// impl Report for Lines {
///     fn says(&self, words: &str) {
///         println!("  {words}");
///     }
///
///     fn done(&self, step: &str) {
///         println!("{step}");
///     }
/// }
/// ```
pub trait Report: Sync {
    /// A step has come to a new point, told in a few words.
    fn says(&self, words: &str);
    /// A step is done.
    fn done(&self, step: &str) {
        let _ = step;
    }
}

/// Hears and says nothing.
///
/// ```
/// use kprov::cluster::{Quiet, Report};
///
/// Quiet.says("nobody hears it");
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Report for Quiet {
    fn says(&self, _: &str) {}
}

/// Brings clusters of one sort up and down.
///
/// ```
/// use std::convert::Infallible;
/// use kprov::cluster::{Name, Plan, Provider, Report};
///
/// /// Clusters that are remembered and nothing else.
/// struct Memory(std::sync::Mutex<Vec<String>>);
///
/// impl Provider for Memory {
///     type Cluster = Name;
///     type Observed = bool;
///     type Step = String;
///     type Access = String;
///     type Error = Infallible;
///
///     async fn observe(&self, cluster: &Name) -> Result<bool, Infallible> {
///         Ok(self.0.lock().unwrap().iter().any(|one| one == cluster.as_str()))
///     }
///
///     fn plan(&self, want: Option<&Name>, have: &bool) -> Plan<String> {
///         let missing = want.filter(|_| !have);
///         Plan { steps: missing.map(ToString::to_string).into_iter().collect() }
///     }
///
///     async fn perform(&self, step: &String, report: &dyn Report) -> Result<(), Infallible> {
///         self.0.lock().unwrap().push(step.clone());
///         Ok(report.done(step))
///     }
///
///     async fn access(&self, cluster: &Name) -> Result<String, Infallible> {
///         Ok(format!("memory://{cluster}"))
///     }
/// }
/// ```
pub trait Provider {
    /// What it can be asked for.
    type Cluster;
    /// What was found out about a cluster.
    type Observed;
    /// One step; its text says what it does.
    type Step: fmt::Display;
    /// How to reach a cluster.
    type Access;
    /// Why something did not work.
    type Error;

    /// Finds out what there is of a cluster. Changes nothing.
    fn observe(&self, cluster: &Name) -> impl Future<Output = Result<Self::Observed, Self::Error>>;
    /// The steps from `have` to `want`; `None` wants nothing to be left. Pure.
    fn plan(&self, want: Option<&Self::Cluster>, have: &Self::Observed) -> Plan<Self::Step>;
    /// Takes one step. Safe to run again after a crash.
    fn perform(&self, step: &Self::Step, report: &dyn Report) -> impl Future<Output = Result<(), Self::Error>>;
    /// How to reach a cluster that is up.
    fn access(&self, cluster: &Name) -> impl Future<Output = Result<Self::Access, Self::Error>>;
}

#[cfg(test)]
mod tests;
