//! Behaviour of the built-in kinds, a file a family.

pub mod pod;
pub mod workload;
