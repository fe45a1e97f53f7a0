//! Faults of the machine and mistakes of its user: each is told clearly, and nothing is lost. Needs root and kubectl.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_types, reason = "starts kprov and kubectl as a user does")]

mod damage;
mod disk;
mod input;
mod limits;
mod midway;
mod rights;
mod start;

use std::process::Command;

const KPROV: &str = env!("CARGO_BIN_EXE_kprov-under-test");

/// Runs what must fail, and returns what it said. Every one of `words` must be in it.
fn fails(command: &mut Command, words: &[&str]) -> String {
    let out = command.output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(!out.status.success(), "{command:?} succeeded: {said}");
    assert!(!said.contains("panicked"), "{command:?}: {said}");
    for word in words {
        assert!(said.contains(word), "`{word}` is not said by {command:?}: {said}");
    }
    said
}
