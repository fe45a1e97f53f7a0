//! What kprov promised before it was killed still holds after it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod adopt;
mod creates;
mod stream;

const KPROV: &str = env!("CARGO_BIN_EXE_kprov-under-test");
