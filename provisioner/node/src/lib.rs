//! The node agent: containers, images, volumes, pod network, service proxy, DNS and ingress.
//!
//! What needs the Linux kernel is behind the switch `containers`: the feature of that name, on Linux. Without it nodes are
//! simulated, which needs nothing of the system.

pub mod agent;
pub mod echo;
#[cfg(containers)]
pub mod images;
pub mod ingress;
mod kernel;
pub mod logs;
pub mod net;
pub mod runtime;
pub mod volumes;

/// Whether this library has real containers: built with the feature `containers`, for Linux.
pub const CONTAINERS: bool = cfg!(containers);
