//! What the agent asks of the Linux kernel, in two arms: the kernel, and none.

#[cfg(not(containers))]
mod absent;
#[cfg(containers)]
mod linux;

#[cfg(not(containers))]
use absent as arm;
#[cfg(containers)]
use linux as arm;

pub(crate) use arm::{has_selinux, watch};
pub use arm::{mounts, sub_path};
