//! What the programs in `examples/` send: each has a module that describes its objects, and a short `main` that sends
//! them. [`programs`] does what the tutorials did with the Python client, [`tutorials`] what their manifests say.

pub mod programs;
pub mod tutorials;

/// The programs of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
