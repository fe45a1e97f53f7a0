//! What this machine has: cores, memory, disk, and what its operating system calls itself.

use std::io;
use std::path::Path;

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

/// Reads the machine's capacity; `root` is on the disk that pods use.
pub fn capacity(root: &Path) -> io::Result<Capacity> {
    let cpus = std::thread::available_parallelism()?.get() as u64;
    let memory_bytes = memory(&std::fs::read_to_string("/proc/meminfo")?)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/meminfo has no MemTotal"))?;
    let disk = nix::sys::statvfs::statvfs(root)?;
    Ok(Capacity { cpus, memory_bytes, disk_bytes: disk.blocks() * disk.fragment_size(), pods: PODS })
}

fn memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// Reads what the operating system says of itself. What a machine does not say is empty.
#[must_use]
pub fn system() -> System {
    let read = |path: &str| std::fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
    let boot_id = read("/proc/sys/kernel/random/boot_id");
    let machine_id = read("/etc/machine-id");
    System {
        architecture: architecture(std::env::consts::ARCH).to_owned(),
        kernel: read("/proc/sys/kernel/osrelease"),
        os_image: pretty_name(&read("/etc/os-release")).unwrap_or_else(|| "Linux".to_owned()),
        machine_id,
        boot_id,
    }
}

/// Go's name for an architecture.
#[must_use]
pub fn architecture(rust: &str) -> &str {
    match rust {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn pretty_name(release: &str) -> Option<String> {
    let value = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(value.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings() {
        assert_eq!(memory("MemTotal:       16 kB\nMemFree: 1 kB\n"), Some(16384));
        assert_eq!(memory(""), None);
        assert_eq!(pretty_name("NAME=x\nPRETTY_NAME=\"X 1\"\n").as_deref(), Some("X 1"));
        let here = capacity(Path::new("/")).expect("a machine can be read");
        assert!(here.cpus > 0 && here.memory_bytes > 0 && here.disk_bytes > 0);
    }
}
