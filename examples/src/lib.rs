//! What this crate is for stands in its manifest.
