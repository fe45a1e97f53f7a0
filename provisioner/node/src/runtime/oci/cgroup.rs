//! Control groups, of version 1 or 2, by their files.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};

use crate::runtime::Limits;

/// How this machine has its control groups mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Setup {
    /// One hierarchy a set of controllers, also where version 2 is mounted beside them.
    V1(Vec<PathBuf>),
    /// One hierarchy.
    V2(PathBuf),
}

impl Setup {
    /// Reads the mounts of this process.
    pub(super) fn detect() -> io::Result<Self> {
        Self::parse(&fs::read_to_string("/proc/self/mountinfo")?)
            .ok_or_else(|| io::Error::other("no control groups are mounted at /sys/fs/cgroup"))
    }

    fn parse(mounts: &str) -> Option<Self> {
        let mut v1 = vec![];
        let mut v2 = None;
        for line in mounts.lines() {
            let (left, right) = line.split_once(" - ")?;
            let point = PathBuf::from(left.split(' ').nth(4)?);
            match right.split(' ').next()? {
                "cgroup" if point.starts_with("/sys/fs/cgroup") && !v1.contains(&point) => v1.push(point),
                "cgroup2" if point == Path::new("/sys/fs/cgroup") => v2 = Some(point),
                _ => {}
            }
        }
        match (v1.is_empty(), v2) {
            (false, _) => Some(Self::V1(v1)),
            (true, Some(point)) => Some(Self::V2(point)),
            (true, None) => None,
        }
    }

    pub(super) fn is_v2(&self) -> bool {
        matches!(self, Self::V2(_))
    }

    /// Root folders of the hierarchies.
    pub(super) fn roots(&self) -> &[PathBuf] {
        match self {
            Self::V1(roots) => roots,
            Self::V2(root) => std::slice::from_ref(root),
        }
    }

    /// Names of version 1's hierarchies that show a container its own limits.
    pub(super) fn shown(&self) -> Vec<&Path> {
        const SHOWN: &[&str] = &["cpu", "cpuacct", "cpuset", "memory", "pids"];
        let named = |root: &&PathBuf| {
            root.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.split(',').any(|c| SHOWN.contains(&c)))
        };
        match self {
            Self::V1(roots) => roots.iter().filter(named).map(PathBuf::as_path).collect(),
            Self::V2(_) => vec![],
        }
    }
}

/// One control group and what is below it, in every hierarchy.
#[derive(Clone, Debug)]
pub(super) struct Cgroup {
    setup: Setup,
    /// Path below the roots, such as `/kprov/default/node-1/burstable/pod1/c1`.
    path: String,
}

impl Cgroup {
    pub(super) fn new(setup: Setup, path: &str) -> Self {
        Self { setup, path: format!("/{}", path.trim_matches('/')) }
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn folders(&self) -> impl Iterator<Item = PathBuf> {
        self.setup.roots().iter().map(|root| root.join(&self.path[1..]))
    }

    /// Moves a process into it, making it where it is not there.
    pub(super) fn join(&self, pid: i32) -> io::Result<()> {
        // A new group of the cpuset hierarchy takes no process before it is told its processors.
        let able = |root: &&PathBuf| root.file_name().is_none_or(|n| !n.to_string_lossy().contains("cpuset"));
        for root in self.setup.roots().iter().filter(able) {
            let folder = root.join(&self.path[1..]);
            fs::create_dir_all(&folder)?;
            fs::write(folder.join("cgroup.procs"), pid.to_string())?;
        }
        Ok(())
    }

    /// Kills every process in it and below, also those that make new ones faster than they could be killed one by one.
    pub(super) fn kill(&self) -> io::Result<()> {
        if self.tell("cgroup.kill", "1")? {
            return Ok(());
        }
        let frozen = self.tell("freezer.state", "FROZEN")?;
        let killed = self.kill_each();
        // What is frozen dies as it thaws.
        if frozen {
            self.tell("freezer.state", "THAWED")?;
        }
        killed
    }

    /// Writes to a file of the control group; whether a hierarchy has such a file.
    fn tell(&self, file: &str, word: &str) -> io::Result<bool> {
        let mut told = false;
        for path in self.folders().map(|folder| folder.join(file)) {
            match fs::OpenOptions::new().write(true).open(&path).and_then(|mut file| file.write_all(word.as_bytes())) {
                Ok(()) => told = true,
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(told)
    }

    /// New ones are looked for until none appears.
    fn kill_each(&self) -> io::Result<()> {
        let mut killed = BTreeSet::new();
        loop {
            let mut pids = BTreeSet::new();
            for folder in self.folders() {
                collect_pids(&folder, &mut pids)?;
            }
            pids.retain(|pid| killed.insert(*pid));
            if pids.is_empty() {
                return Ok(());
            }
            for pid in pids.into_iter().filter_map(Pid::from_raw) {
                match kill_process(pid, Signal::KILL) {
                    Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                    Err(e) => return Err(e.into()),
                }
            }
        }
    }

    /// Holds it to other amounts of processor and memory.
    pub(super) fn resize(&self, limits: &Limits) -> io::Result<()> {
        for folder in self.folders() {
            for (file, value) in sizes(self.setup.is_v2(), limits) {
                if folder.join(file).exists() {
                    write(&folder.join(file), &value)?;
                }
            }
            if folder.join(V1_MEMORY).exists() {
                resize_v1_memory(&folder, limits.memory_limit_bytes)?;
            }
        }
        Ok(())
    }

    /// How many of its processes the kernel has killed for want of memory.
    pub(super) fn oom_kills(&self) -> io::Result<u64> {
        for folder in self.folders() {
            for file in ["memory.oom_control", "memory.events"] {
                if let Some(text) = read_if_there(&folder.join(file))? {
                    return Ok(counter(&text, "oom_kill"));
                }
            }
        }
        Ok(0)
    }

    /// Removes it and what is below. `false` when something in it has not gone yet.
    pub(super) fn remove(&self) -> io::Result<bool> {
        let mut gone = true;
        for folder in self.folders() {
            gone &= remove_tree(&folder)?;
        }
        Ok(gone)
    }
}

/// Microseconds that a quota of processor time is measured over.
pub(super) const PERIOD_MICROS: u64 = 100_000;

/// Version 1's weight of a container: 1024 for a core. The least there is without a request.
pub(super) fn shares(millis: Option<u64>) -> u64 {
    millis.unwrap_or(0).saturating_mul(1024).div_euclid(1000).clamp(2, 262_144)
}

/// Microseconds of processor time in each [`PERIOD_MICROS`].
pub(super) fn quota(millis: u64) -> u64 {
    (millis.saturating_mul(PERIOD_MICROS) / 1000).max(1000)
}

/// Files of a control group with what is to stand in them; version 1's memory is [`resize_v1_memory`]'s.
fn sizes(v2: bool, limits: &Limits) -> Vec<(&'static str, String)> {
    let shares = shares(limits.cpu_request_millis);
    let quota = limits.cpu_limit_millis.map(quota);
    if v2 {
        let memory = limits.memory_limit_bytes.map_or_else(|| "max".to_owned(), |bytes| bytes.to_string());
        let quota = quota.map_or_else(|| "max".to_owned(), |quota| quota.to_string());
        // The weights 1 to 10000 of version 2 stand for the shares 2 to 262144 of version 1.
        let weight = 1 + (shares - 2) * 9999 / 262_142;
        vec![
            ("cpu.weight", weight.to_string()),
            ("cpu.max", format!("{quota} {PERIOD_MICROS}")),
            ("memory.max", memory),
        ]
    } else {
        let quota = quota.map_or_else(|| "-1".to_owned(), |quota| quota.to_string());
        vec![("cpu.shares", shares.to_string()), ("cpu.cfs_quota_us", quota)]
    }
}

const V1_MEMORY: &str = "memory.limit_in_bytes";

/// The limit of memory may never be above that of memory and swap together, where both are counted.
fn resize_v1_memory(folder: &Path, bytes: Option<u64>) -> io::Result<()> {
    let value = bytes.map_or_else(|| "-1".to_owned(), |bytes| bytes.to_string());
    let both = folder.join("memory.memsw.limit_in_bytes");
    let now = fs::read_to_string(folder.join(V1_MEMORY))?.trim().parse().unwrap_or(u64::MAX);
    let grows = bytes.is_none_or(|bytes| bytes > now);
    if grows && both.exists() {
        write(&both, &value)?;
    }
    write(&folder.join(V1_MEMORY), &value)?;
    if !grows && both.exists() {
        write(&both, &value)?;
    }
    Ok(())
}

fn write(file: &Path, value: &str) -> io::Result<()> {
    fs::write(file, value).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())))
}

fn counter(text: &str, name: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|v| v.trim().parse().ok()).unwrap_or(0)
}

fn read_if_there(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if is_gone(&e) => Ok(None),
        Err(e) => Err(e),
    }
}

/// A group that is removed while its file is open reads as "no such device".
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error())
}

fn children(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if is_gone(&e) => return Ok(vec![]),
        Err(e) => return Err(e),
    };
    let mut folders = vec![];
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            folders.push(entry.path());
        }
    }
    Ok(folders)
}

fn collect_pids(folder: &Path, pids: &mut BTreeSet<i32>) -> io::Result<()> {
    if let Some(text) = read_if_there(&folder.join("cgroup.procs"))? {
        pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
    }
    children(folder)?.iter().try_for_each(|child| collect_pids(child, pids))
}

fn remove_tree(folder: &Path) -> io::Result<bool> {
    let mut gone = true;
    for child in children(folder)? {
        gone &= remove_tree(&child)?;
    }
    match fs::remove_dir(folder) {
        Ok(()) => Ok(gone),
        Err(e) if is_gone(&e) => Ok(gone),
        Err(e) if e.kind() == io::ErrorKind::ResourceBusy || e.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(false),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setup_is_read_from_the_mounts() {
        let v2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";
        assert_eq!(Setup::parse(v2), Some(Setup::V2("/sys/fs/cgroup".into())));
        let hybrid = "31 30 0:27 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n\
                      32 31 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
                      33 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                      34 31 0:30 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n";
        let setup = Setup::parse(hybrid).unwrap();
        assert_eq!(setup, Setup::V1(vec!["/sys/fs/cgroup/cpu,cpuacct".into(), "/sys/fs/cgroup/freezer".into()]));
        assert_eq!(setup.shown(), [Path::new("/sys/fs/cgroup/cpu,cpuacct")]);
        assert_eq!(Setup::parse("1 0 8:1 / / rw - ext4 /dev/vda rw\n"), None);
    }

    #[test]
    fn sizes_are_written_in_the_words_of_the_version() {
        let limits = |request, limit, memory| Limits {
            cpu_request_millis: request,
            cpu_limit_millis: limit,
            memory_limit_bytes: memory,
            ..Limits::default()
        };
        let some = limits(Some(150), Some(300), Some(64 << 20));
        let text = |v2, limits: &Limits| {
            sizes(v2, limits).iter().map(|(file, value)| format!("{file}={value}")).collect::<Vec<_>>().join(", ")
        };
        assert_eq!(text(false, &some), "cpu.shares=153, cpu.cfs_quota_us=30000");
        assert_eq!(text(true, &some), "cpu.weight=6, cpu.max=30000 100000, memory.max=67108864");
        assert_eq!(text(false, &Limits::default()), "cpu.shares=2, cpu.cfs_quota_us=-1");
        assert_eq!(text(true, &Limits::default()), "cpu.weight=1, cpu.max=max 100000, memory.max=max");
        assert_eq!(quota(u64::MAX), u64::MAX / 1000, "an absurd amount is a large one");
    }

    #[test]
    fn kills_for_want_of_memory_are_counted() {
        assert_eq!(counter("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n", "oom_kill"), 2);
        assert_eq!(counter("low 0\noom 1\noom_kill 1\noom_group_kill 0\n", "oom_kill"), 1);
        assert_eq!(counter("low 0\n", "oom_kill"), 0);
    }
}
