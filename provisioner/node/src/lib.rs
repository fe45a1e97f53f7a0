//! The node agent: containers, images, volumes, pod network, service proxy and DNS.

#[cfg(target_os = "linux")]
pub mod agent;
#[cfg(target_os = "linux")]
pub mod echo;
#[cfg(target_os = "linux")]
pub mod images;
#[cfg(target_os = "linux")]
pub mod logs;
pub mod net;
pub mod runtime;
#[cfg(target_os = "linux")]
pub mod volumes;
#[cfg(target_os = "linux")]
mod watch;
