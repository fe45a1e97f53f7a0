//! Behaviour of the built-in kinds, a file a family.

pub(crate) mod check;
pub(crate) mod claim;
pub mod config;
pub mod cronjob;
pub mod daemonset;
pub mod definition;
pub mod endpoint_slice;
pub mod endpoints;
pub mod event;
mod fields;
pub mod job;
mod job_status;
pub mod lease;
pub mod namespace;
pub mod node;
pub mod pod;
pub mod replication;
pub mod role;
pub mod role_binding;
pub(crate) mod scale;
pub mod service;
pub mod serviceaccount;
pub mod statefulset;
pub mod storage_class;
pub mod volume;
pub mod volume_claim;
pub mod workload;
