//! The node agent: containers, images, volumes, pod network, service proxy and DNS.

pub mod net;
pub mod runtime;
