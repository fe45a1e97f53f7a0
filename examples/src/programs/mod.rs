//! The tutorials' Python programs as Rust. Each sends the same objects, by at most half of the code: see
//! `tests/programs.rs`.

pub mod aws_auth;
pub mod claim;
pub mod deployment;
pub mod ingress;
pub mod naked_pod;
pub mod service;
