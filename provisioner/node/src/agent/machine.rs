//! What this machine has: cores, memory, disk, and what its operating system calls itself.

/// What a node can offer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Cores.
    pub cpus: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Bytes of disk.
    pub disk_bytes: u64,
    /// Pods.
    pub pods: u64,
}

/// What the operating system calls itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct System {
    /// `amd64`, `arm64`: as Go names it.
    pub architecture: String,
    /// Kernel release.
    pub kernel: String,
    /// Distribution, such as `Debian GNU/Linux 12 (bookworm)`.
    pub os_image: String,
    /// Of this installation.
    pub machine_id: String,
    /// Of this boot.
    pub boot_id: String,
}

/// Pods that a node takes unless it is told otherwise.
pub const PODS: u64 = 110;

/// Go's name for an architecture.
#[must_use]
pub fn architecture(rust: &str) -> &str {
    match rust {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
