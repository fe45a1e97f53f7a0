//! The Linux kernel: mounts, files that can't lead elsewhere, changes of files, and what the machine has.

mod machine;
pub mod mounts;
pub mod sub_path;
pub(crate) mod watch;

/// Whether SELinux is on, be it that it enforces or that it only tells.
pub(crate) fn has_selinux() -> bool {
    std::path::Path::new("/sys/fs/selinux/enforce").exists()
}
