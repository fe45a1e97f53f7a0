//! The bridge of one cluster on its host, which every node is plugged into.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::link::Links;
use super::{MOST_NODES, NetError, netns};

const FIRST_NODE: u32 = 10;

/// One cluster's own subnet of its host: the host has the first address, nodes follow from the tenth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Underlay {
    /// Name of the bridge on the host.
    pub bridge: String,
    /// Its subnet.
    pub subnet: Ipv4Net,
    #[serde(skip)]
    root: PathBuf,
}

impl Underlay {
    /// Opens the cluster's underlay, or makes it with a subnet of 10.213.0.0/16 that the host does not use yet.
    ///
    /// `root` is the folder of the cluster's network state. May be called again after a crash.
    pub fn open(cluster: &str, root: &Path) -> Result<Self, NetError> {
        let what = || format!("making the network of cluster {cluster}");
        let found = load(root).and_then(|found| match found {
            Some(found) => Ok(found),
            None => choose(cluster, root),
        });
        let underlay = found.map_err(|error| NetError::system(what(), error))?;
        underlay.build().map_err(|error| NetError::system(what(), error))?;
        Ok(underlay)
    }

    fn build(&self) -> io::Result<()> {
        let mut links = Links::here();
        let bridge = links.bridge(&self.bridge)?;
        links.address(bridge, self.net_of(self.host()))
    }

    /// Address of the host in the subnet: where pods and nodes reach the API server.
    #[must_use]
    pub fn host(&self) -> Ipv4Addr {
        self.nth(1)
    }

    /// Address of a node, by its index from 0.
    #[must_use]
    pub fn node(&self, index: u32) -> Ipv4Addr {
        self.nth(FIRST_NODE + index)
    }

    /// An address with the subnet's length.
    #[must_use]
    pub fn net_of(&self, address: Ipv4Addr) -> Ipv4Net {
        Ipv4Net::new(address, self.subnet.prefix_len()).expect("the length comes from a valid subnet")
    }

    /// Folder of a node's network state.
    #[must_use]
    pub fn folder(&self, node: &str) -> PathBuf {
        self.root.join(node)
    }

    /// Name of the host's end of a node's link.
    #[must_use]
    pub fn node_link(&self, index: u32) -> String {
        format!("{}n{index}", self.bridge)
    }

    fn nth(&self, n: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.subnet.network()) + n)
    }
}

/// Takes everything away that belongs to the network state in `root`: links, namespaces, files. Safe to run again.
pub fn purge(root: &Path) -> Result<(), NetError> {
    let what = || format!("removing the network of {}", root.display());
    let work = || -> io::Result<()> {
        if let Some(underlay) = load(root)? {
            let mut links = Links::here();
            (0..MOST_NODES).try_for_each(|index| links.delete_if_there(&underlay.node_link(index)))?;
            links.delete_if_there(&underlay.bridge)?;
        }
        for node in folders(root)? {
            for namespace in files(&node.join("pods"))? {
                netns::remove(&namespace)?;
            }
            netns::remove(&node.join("node"))?;
        }
        match fs::remove_dir_all(root) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    };
    work().map_err(|error| NetError::system(what(), error))
}

fn load(root: &Path) -> io::Result<Option<Underlay>> {
    let path = root.join("underlay.json");
    match fs::read(&path) {
        Ok(bytes) => {
            let found: Underlay = serde_json::from_slice(&bytes)
                .map_err(|error| io::Error::other(format!("{} is damaged: {error}", path.display())))?;
            Ok(Some(Underlay { root: root.to_owned(), ..found }))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn choose(cluster: &str, root: &Path) -> io::Result<Underlay> {
    let taken = Links::here().addresses()?;
    let free = (0..=255).map(|third| Ipv4Net::new_assert(Ipv4Addr::new(10, 213, third, 0), 24)).find(|subnet| {
        taken.iter().all(|address| !subnet.contains(&address.addr()) && !address.trunc().contains(&subnet.network()))
    });
    let subnet = free.ok_or_else(|| io::Error::other("every subnet of 10.213.0.0/16 is in use on this machine"))?;
    // A cluster is its name and its folder: two users' clusters of one name must not share a bridge.
    let digest = Sha256::digest(format!("{cluster}\0{}", root.display()));
    let bridge = format!("kp{:02x}{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2], digest[3]);
    let underlay = Underlay { bridge, subnet, root: root.to_owned() };
    fs::create_dir_all(root)?;
    let text = serde_json::to_vec_pretty(&underlay)?;
    fs::write(root.join("underlay.new"), text)?;
    fs::rename(root.join("underlay.new"), root.join("underlay.json"))?;
    Ok(underlay)
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn folders(folder: &Path) -> io::Result<Vec<PathBuf>> {
    Ok(entries(folder)?.into_iter().filter(|path| path.is_dir()).collect())
}

/// The files of a folder, none when it is not there.
pub(super) fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    Ok(entries(folder)?.into_iter().filter(|path| !path.is_dir()).collect())
}
