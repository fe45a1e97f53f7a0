//! Integration tests of the schema crate.

#![allow(clippy::unwrap_used, reason = "a test that can't read its recording has failed")]

mod admission;
mod compare;
mod custom;
mod discovery;
mod limits;
mod managed;
mod patch;
mod pod_admission;
mod protobuf;
mod recordings;
mod replay;
mod rows;
mod structure;
mod table;
mod yaml;
