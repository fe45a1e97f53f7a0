//! Typed builders. Each ends in the `k8s-openapi` struct, so one can go on by hand at any point.

mod config;
mod pod;
mod service;
mod workload;

pub use config::ConfigMap;
pub use pod::{Container, Env, Pod};
pub use service::Service;
pub use workload::Deployment;
