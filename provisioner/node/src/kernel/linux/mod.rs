//! The Linux kernel: mounts, files that can't lead elsewhere, changes of files, and what the machine has.

mod machine;
pub mod mounts;
pub mod sub_path;
pub(crate) mod watch;
