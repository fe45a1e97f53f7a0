//! What this machine does for clusters whose containers are real, in two arms: containers, and none.

#[cfg(not(containers))]
mod absent;
#[cfg(containers)]
mod real;

#[cfg(not(containers))]
use absent as arm;
#[cfg(containers)]
use real as arm;

pub(crate) use arm::{Machine, image, lacking, remove_containers, remove_network, shim};
