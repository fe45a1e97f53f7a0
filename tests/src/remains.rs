//! What of a cluster there is on this machine, seen from outside of kprov.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use netlink_bindings::nftables::{self, Nfgenmsg};
use netlink_socket2::NetlinkSocket;
use serde_json::Value;

use crate::cluster::TestCluster;

/// By what the parts of one cluster are known. Taken while the cluster is up, it also finds parts that outlive it.
#[derive(Clone, Debug)]
pub struct Marks {
    home: PathBuf,
    cgroup: String,
    bridge: Option<String>,
}

impl Marks {
    /// The marks of a cluster.
    ///
    /// Errors: its network's record is there and can't be read.
    pub fn of(cluster: &TestCluster) -> anyhow::Result<Self> {
        let record = cluster.folder().join("net/underlay.json");
        let bridge = match fs::read(&record) {
            Err(_) => None,
            Ok(bytes) => {
                let record: Value = serde_json::from_slice(&bytes).context("reading the network's record")?;
                Some(record["bridge"].as_str().context("the network has no bridge")?.to_owned())
            }
        };
        let cgroup = format!("kprov/{}", cluster.name());
        Ok(Self { home: cluster.home().to_owned(), cgroup, bridge })
    }

    /// Everything that bears a mark: processes, mounts (pinned namespaces among them), links, control groups, files;
    /// beside it every packet filter of the host that is kprov's: those of a cluster live in its nodes' namespaces.
    pub fn find(&self) -> anyhow::Result<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        found.extend(self.processes()?.iter().map(|(pid, command)| format!("process {pid} {command}")));
        let home = self.home.to_str().context("the home is no text")?;
        for mount in fs::read_to_string("/proc/self/mountinfo")?.lines().filter(|line| line.contains(home)) {
            found.insert(format!("mount {}", mount.split(' ').nth(4).unwrap_or_default()));
        }
        for link in fs::read_dir("/sys/class/net")? {
            let name = link?.file_name().to_string_lossy().into_owned();
            if self.bridge.as_ref().is_some_and(|bridge| name.starts_with(bridge)) {
                found.insert(format!("link {name}"));
            }
        }
        for root in cgroup_mounts()? {
            self.cgroups(&root, &mut found);
        }
        let tables = tables().context("asking for the host's packet filters")?;
        found.extend(tables.iter().filter(|name| name.contains("kprov")).map(|name| format!("table {name}")));
        let clusters = self.home.join("clusters");
        for entry in fs::read_dir(&clusters).into_iter().flatten() {
            found.insert(format!("file {}", entry?.path().display()));
        }
        Ok(found)
    }

    /// The cluster's processes with their command lines, those in its containers too.
    pub fn processes(&self) -> anyhow::Result<BTreeMap<i32, String>> {
        let home = self.home.to_str().context("the home is no text")?;
        let mut found = BTreeMap::new();
        for process in fs::read_dir("/proc")?.flatten() {
            let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            // A process that ends while it is looked at has nothing to show.
            let text = |name: &str| fs::read(process.path().join(name)).unwrap_or_default();
            let command = String::from_utf8_lossy(&text("cmdline")).replace('\0', " ");
            let inside = String::from_utf8_lossy(&text("cgroup")).contains(&format!("/{}/", self.cgroup));
            if command.contains(home) || inside {
                found.insert(pid, command);
            }
        }
        Ok(found)
    }

    fn cgroups(&self, folder: &Path, found: &mut BTreeSet<String>) {
        // A group may go while it is looked at.
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            if path.ends_with(&self.cgroup) {
                found.insert(format!("cgroup {}", path.display()));
            } else {
                self.cgroups(&path, found);
            }
        }
    }
}

fn cgroup_mounts() -> anyhow::Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let kinds = |line: &&str| matches!(line.split(' ').nth(2), Some("cgroup" | "cgroup2"));
    Ok(mounts.lines().filter(kinds).filter_map(|line| line.split(' ').nth(1)).map(PathBuf::from).collect())
}

/// Names of the nftables tables of this process's network namespace.
fn tables() -> anyhow::Result<Vec<String>> {
    let mut socket = NetlinkSocket::new();
    let request = nftables::Request::new().op_gettable_dump(&Nfgenmsg::default());
    let mut replies = socket.request(&request)?;
    let mut names = Vec::new();
    while let Some(reply) = replies.recv() {
        let (_, attributes) = reply.map_err(|error| anyhow::anyhow!("{error}"))?;
        let name = attributes.get_name().map_err(|error| anyhow::anyhow!("{error}"))?;
        names.push(name.to_string_lossy().into_owned());
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a namespace of its own, which ends with its thread.
    #[test]
    fn tables_are_found() {
        let thread = std::thread::Builder::new().spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            assert_eq!(tables().unwrap(), Vec::<String>::new());
            let table = kprov_node::net::nft::Table { name: "kprov".into(), ..Default::default() };
            kprov_node::net::nft::replace(&table).unwrap();
            assert_eq!(tables().unwrap(), ["kprov"]);
        });
        thread.unwrap().join().unwrap();
    }
}
