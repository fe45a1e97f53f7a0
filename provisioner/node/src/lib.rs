//! The node agent: containers, images, volumes, pod network, service proxy and DNS.

#[cfg(target_os = "linux")]
pub mod echo;
#[cfg(target_os = "linux")]
pub mod images;
pub mod net;
pub mod runtime;
