//! Integration tests of the library.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod mistakes;
mod roundtrip;
mod validation;
