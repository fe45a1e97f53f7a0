//! Kubernetes workloads and clusters as ordinary, checked Rust.
//!
//! Builders in [`build`] end in plain `k8s-openapi` structs, a [`Bundle`] holds what belongs together and checks it
//! with the server's own rules, and the client (feature `client`) applies it and waits until it is ready.
//!
//! ```
//! use kprov::Bundle;
//! use kprov::build::*;
//!
//! let secret = Secret::new("database").text("password", "s3cret");
//! let database = Container::new("postgres", "postgres:17")
//!     .port("sql", 5432)
//!     .env("POSTGRES_PASSWORD", secret.key("password"));
//! let database = StatefulSet::new("database", database)
//!     .claim(&PersistentVolumeClaim::new("data", "4Gi"), "/var/lib/postgresql/data");
//! let web = Container::new("web", "example.com/shop:1.4")
//!     .port("http", 8080)
//!     .env("DATABASE_HOST", database.service().name())
//!     .env("DATABASE_PASSWORD", secret.key("password"))
//!     .readiness(Probe::http("/healthz", "http"));
//! let web = Deployment::new("web", web).replicas(2);
//! let inside = web.expose("http");
//! let outside = Ingress::new("shop", Host::named("shop.example.com").path("/", &inside));
//!
//! let mut shop = Bundle::new("shop");
//! shop.add(secret).add(database.service()).add(database);
//! shop.add(inside).add(web).add(outside);
//! shop.validate().expect("the server would take it");
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
mod similar;

pub use bundle::{Bundle, Stage};
pub use k8s_openapi;
pub use kprov_schema as schema;
pub use kprov_schema::yaml;
pub use problem::{At, Problem, Severity, Source};
pub use similar::nearest;
