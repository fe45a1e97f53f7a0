//! Tests of the node's rooms: the agent on simulated containers, and what needs the real kernel. That needs root.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod agent;
#[cfg(containers)]
mod images;
mod ingress;
#[cfg(containers)]
mod net;
