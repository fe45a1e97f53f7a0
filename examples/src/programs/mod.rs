//! The programs of `examples/` that do what the tutorials did with the Python client, so that tests can have their objects.
//!
//! The same programs in Python, for today's API, are in `python/`.
#![allow(dead_code, reason = "nobody calls their main here")]

#[path = "../../examples/aws_auth.rs"]
pub mod aws_auth;
#[path = "../../examples/claim.rs"]
pub mod claim;
#[path = "../../examples/deployment.rs"]
pub mod deployment;
#[path = "../../examples/ingress.rs"]
pub mod ingress;
#[path = "../../examples/naked_pod.rs"]
pub mod naked_pod;
#[path = "../../examples/service.rs"]
pub mod service;
