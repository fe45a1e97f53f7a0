//! Kubernetes workloads and clusters as ordinary, checked Rust.
//!
//! Builders in [`build`] end in plain `k8s-openapi` structs, a [`Bundle`] holds what belongs together and checks it
//! with the server's own rules, and the client (feature `client`) applies it and waits until it is ready.
//!
//! ```
//! use kprov::Bundle;
//! use kprov::build::*;
//!
//! let web = Deployment::new("web", Container::new("nginx", "nginx:1.27").port("http", 80)).replicas(2);
//! let mut app = Bundle::new("shop");
//! app.add(web.expose("http").node_port());
//! app.add(web);
//! app.validate().expect("the server would take it");
//! ```

pub mod build;
mod bundle;
mod check;
#[cfg(feature = "client")]
pub mod client;
pub mod cluster;
pub mod diff;
pub mod manifest;
mod problem;

pub use bundle::{Bundle, Stage};
pub use k8s_openapi;
pub use kprov_schema as schema;
pub use kprov_schema::yaml;
pub use problem::{At, Problem, Severity, Source};
