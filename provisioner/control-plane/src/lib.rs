//! The bundled control plane: store, API server, controllers and scheduler.
//!
//! Layers only look down, as `ARCHITECTURE.md` says and `tests/tests/tidy` holds. Nothing but `api` touches
//! the store; everything else speaks through [`client::Client`].

pub mod api;
pub mod client;
pub mod controllers;
pub mod informer;
pub mod pki;
pub mod scheduler;
pub mod store;
pub mod world;
