//! What this machine has: cores, memory, disk, and what its operating system calls itself.

use std::io;
use std::path::{Path, PathBuf};

use crate::agent::AgentConfig;
use crate::agent::machine::{Capacity, PODS, System, architecture};
use crate::agent::names::Resolver;

impl AgentConfig {
    /// An agent of this name for this machine, with its pods' files below `root`, which must exist.
    ///
    /// Errors: the machine can't be read.
    pub fn of_machine(name: impl Into<String>, root: impl Into<PathBuf>) -> io::Result<Self> {
        let root = root.into();
        Ok(Self {
            name: name.into(),
            capacity: capacity(&root)?,
            root: Some(root),
            cluster_domain: "cluster.local".to_owned(),
            system: system(),
            resolver: std::fs::read_to_string("/etc/resolv.conf")
                .map(|text| Resolver::parse(&text))
                .unwrap_or_default(),
            ..Self::default()
        })
    }
}

/// Reads the machine's capacity; `root` is on the disk that pods use.
fn capacity(root: &Path) -> io::Result<Capacity> {
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
fn system() -> System {
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
