//! Typed builders. Each is the `k8s-openapi` struct itself with better hands, so one can go on by hand at any point
//! and come back: `into()`, `from`, `build()`, `edit(|raw| ..)`.
//!
//! `use kprov::build::*` brings the types and the traits with what they share.

mod account;
mod amount;
mod config;
mod container;
mod daemonset;
mod deployment;
mod env;
mod job;
mod networked;
mod object;
mod placement;
mod pod;
mod pods;
mod priority;
mod probe;
mod security;
mod service;
mod statefulset;
mod storage;
mod text;
mod volume;
mod workload;
mod wraps;

pub use account::ServiceAccount;
pub use amount::{Bytes, Cpu, Percent, Port, Portion, Target, Time};
pub use config::{ConfigMap, Secret};
pub use container::{Container, Pull};
pub use daemonset::{DaemonSet, ReplicaSet};
pub use deployment::Deployment;
pub use env::{ConfigMapKey, EnvFrom, EnvValue, Field, KeyOf, ResourceField, SecretKey};
pub use job::{Concurrency, CronJob, FailureRule, Job, JobTemplate, Jobs, Then, TimeZone};
pub use networked::{DnsPolicy, Networked};
pub use object::{Named, Namespaced, Object};
pub use placement::{LabelRule, Looked, NodeRule, Placed, Spread, Toleration, Topology};
pub use pod::{Pod, Template};
pub use pods::{Ends, Pods};
pub use priority::PriorityClass;
pub use probe::{Hook, Liveness, LivenessProbe, Probe, Readiness, ReadinessProbe};
pub use security::{AppArmor, Capability, Seccomp, Secured};
pub use service::Service;
pub use statefulset::{Retention, StatefulSet};
pub use storage::PersistentVolumeClaim;
pub use text::{DataKey, DnsLabel, EnvName, Image, Invalid, Key, LabelValue, Name, Of, PortName, Schedule, Text};
pub use volume::{
    Claimed, Csi, Downward, EmptyDir, Ephemeral, Files, HostPath, HostPathType, ImageVolume, InFile, MetaField, Mount,
    Mountable, NetworkDisk, Nfs, Projected, Propagation, Volume,
};
pub use workload::{Scaled, Selects, Versioned, Workload};
