//! Typed builders. Each is the `k8s-openapi` struct itself with better hands, so one can go on by hand at any point
//! and come back: `into()`, `from`, `build()`, `edit(|raw| ..)`.
//!
//! `use kprov::build::*` brings the types and the traits with what they share.
//!
//! ```
//! use kprov::build::*;
//! use kprov::k8s_openapi::api::apps::v1 as apps;
//!
//! let web = Deployment::new("web", Container::new("nginx", "nginx:1.27").port("http", 80)).replicas(2);
//! let mut raw: apps::Deployment = web.into();
//! raw.spec.paused = Some(true);
//! let web = Deployment::from(raw).label("tier", "front");
//! ```

mod account;
mod amount;
mod aws_auth;
mod config;
mod container;
mod daemonset;
mod deployment;
mod endpoint_slice;
mod env;
mod files;
mod ingress;
mod job;
mod namespace;
mod network_policy;
mod networked;
mod object;
mod placement;
mod pod;
mod pods;
mod policy;
mod priority;
mod probe;
mod quota;
mod rbac;
mod secret;
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
pub use aws_auth::{AwsAuth, IamArn};
pub use config::ConfigMap;
pub use container::{Container, Pull};
pub use daemonset::{DaemonSet, ReplicaSet};
pub use deployment::Deployment;
pub use endpoint_slice::EndpointSlice;
pub use env::{ConfigMapKey, EnvFrom, EnvValue, Field, KeyOf, ResourceField, SecretKey};
pub use ingress::{Backend, Backs, Host, HostName, Ingress, IngressClass};
pub use job::{Concurrency, CronJob, FailureRule, Job, JobTemplate, Jobs, Then, TimeZone};
pub use namespace::{Namespace, PodSecurity};
pub use network_policy::{Guarded, Network, NetworkPolicy, Peer, Traffic};
pub use networked::{DnsPolicy, Networked};
pub use object::{Named, Namespaced, Object};
pub use placement::{LabelRule, Looked, NodeRule, Placed, Spread, Toleration, Topology};
pub use pod::{Pod, Template};
pub use pods::{Ends, Pods};
pub use policy::{HorizontalPodAutoscaler, PodDisruptionBudget};
pub use priority::PriorityClass;
pub use probe::{Hook, Liveness, LivenessProbe, Probe, Readiness, ReadinessProbe};
pub use quota::{Limit, LimitRange, ResourceQuota};
pub use rbac::{Bindable, ClusterRole, ClusterRoleBinding, Right, Role, RoleBinding, Rule, Subject, Urls, Verb};
pub use secret::Secret;
pub use security::{AppArmor, Capability, Seccomp, Secured};
pub use service::{
    Any, Balanced, ClusterIp, ExternalName, Headless, LoadBalancer, NodePort, OnNodes, Reached, Selector, Service,
    ServiceSort,
};
pub use statefulset::{Retention, StatefulSet};
pub use storage::{Access, PersistentVolume, PersistentVolumeClaim, Reclaim, Source, Storage, StorageClass, Terms};
pub use text::{DataKey, DnsLabel, EnvName, Image, Invalid, Key, LabelValue, Name, Of, PortName, Schedule, Text};
pub use volume::{
    Claimed, Csi, Downward, EmptyDir, Ephemeral, Files, HostPath, HostPathType, ImageVolume, InFile, MetaField, Mount,
    Mountable, NetworkDisk, Nfs, Projected, Propagation, Volume,
};
pub use workload::{Scaled, Selects, Versioned, Workload};
