//! What the control plane promises, tested from outside.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]

mod api;
mod definitions;
mod faces;
mod kinds;
mod owners;
mod pod_security;
mod policies;
mod quota;
mod roles;
mod store;
mod streams;
mod world;
