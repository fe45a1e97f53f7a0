//! Clusters as values: what is wanted, what is there, and the steps between.

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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// Why a text is no cluster name.
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
pub trait Report: Sync {
    /// A step has come to a new point, told in a few words.
    fn says(&self, words: &str);
    /// A step is done.
    fn done(&self, step: &str) {
        let _ = step;
    }
}

/// Hears and says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Report for Quiet {
    fn says(&self, _: &str) {}
}

/// Brings clusters of one sort up and down.
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
