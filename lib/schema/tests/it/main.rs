//! Integration tests of the schema crate.

mod admission;
mod compare;
mod replay;
