//! Typed builders. Each is the `k8s-openapi` struct itself with better hands, so one can go on by hand at any point
//! and come back: `into()`, `from`, `build()`, `edit(|raw| ..)`.
//!
//! `use kprov::build::*` brings the types and the traits with what they share.

mod amount;
mod config;
mod container;
mod deployment;
mod env;
mod object;
mod placement;
mod pod;
mod pods;
mod probe;
mod service;
mod storage;
mod text;
mod volume;
mod workload;
mod wraps;

pub use amount::{Bytes, Cpu, Percent, Port, Portion, Target, Time};
pub use config::{ConfigMap, Secret};
pub use container::{Container, Pull};
pub use deployment::Deployment;
pub use env::{ConfigMapKey, EnvFrom, EnvValue, Field, KeyOf, ResourceField, SecretKey};
pub use object::{Named, Namespaced, Object};
pub use pod::{Pod, Template};
pub use pods::Pods;
pub use probe::{Hook, Liveness, LivenessProbe, Probe, Readiness, ReadinessProbe};
pub use service::Service;
pub use storage::PersistentVolumeClaim;
pub use text::{DataKey, DnsLabel, EnvName, Image, Invalid, Key, LabelValue, Name, Of, PortName, Schedule, Text};
pub use volume::{
    Claimed, Csi, Downward, EmptyDir, Ephemeral, Files, HostPath, HostPathType, ImageVolume, MetaField, Mount,
    Mountable, Nfs, Projected, Propagation, Volume,
};
pub use workload::{Selects, Workload};
