//! What tests and recipes share: images built from Debian packages, clusters of their own, measured runs.

pub mod bench;
pub mod cluster;
pub mod difference;
pub mod https;
pub mod images;
pub mod portable;
pub mod remains;
pub mod server;
