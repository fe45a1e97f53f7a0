//! Tests of the node's rooms against the real kernel. They need root.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![cfg(target_os = "linux")]

mod agent;
mod images;
mod net;
