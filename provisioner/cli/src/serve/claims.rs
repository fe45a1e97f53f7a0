//! Storage of a cluster on this machine: the end of the folders behind volumes.
//!
//! The controller `provisioner` makes the volumes, agents make their folders. A folder goes here, before its volume does:
//! what is left after a crash is a released volume, which is looked at again.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::PersistentVolume;
use kprov_control_plane::client::{Client, DeleteOptions, Preconditions};
use kprov_control_plane::controllers::provisioner::{place, serves};
use kprov_control_plane::informer::{Caches, Informers};
use kprov_control_plane::world::World;
use kprov_schema::{Key, Object, Resource};
use tokio::sync::Notify;
use tokio::task::JoinSet;

const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
/// A folder that can't be removed is tried again after so long.
const RETRY: Duration = Duration::from_secs(30);

/// Removes folders of released volumes, then the volumes. Ends when it is dropped.
pub(super) struct Reclaiming {
    _informers: Informers,
    _task: JoinSet<()>,
}

impl Reclaiming {
    /// Starts; `nodes` is the folder of all nodes.
    pub(super) fn start(client: &Client, world: &World, nodes: PathBuf) -> Self {
        let informers = Informers::start(client, world, [Resource::of::<PersistentVolume>()]);
        let loop_ = Loop {
            client: Arc::clone(client),
            world: world.clone(),
            caches: informers.caches(),
            nodes,
            changed: Arc::default(),
        };
        let mut task = JoinSet::new();
        task.spawn(loop_.run());
        Self { _informers: informers, _task: task }
    }
}

#[derive(Default)]
struct Changed {
    volumes: Mutex<BTreeSet<Key>>,
    woken: Notify,
}

struct Loop {
    client: Client,
    world: World,
    caches: Arc<Caches>,
    nodes: PathBuf,
    changed: Arc<Changed>,
}

impl Loop {
    async fn run(self) {
        let changed = Arc::clone(&self.changed);
        self.caches[&Resource::of::<PersistentVolume>()].subscribe(move |change| {
            if let Some(entry) = &change.new {
                changed.volumes.lock().unwrap_or_else(PoisonError::into_inner).insert(entry.key.clone());
                changed.woken.notify_one();
            }
        });
        let (mut failed, mut retry) = (BTreeSet::new(), None);
        loop {
            let now = self.world.clock.now();
            let mut due = std::mem::take(&mut *self.changed.volumes.lock().unwrap_or_else(PoisonError::into_inner));
            if retry.is_some_and(|at| at <= now) {
                due.append(&mut failed);
                retry = None;
            }
            for key in due {
                if let Err(error) = self.reclaim(&key).await {
                    tracing::warn!(volume = %key, %error, "a released volume stays for now");
                    failed.insert(key);
                    retry = retry.or(Some(now + RETRY));
                }
            }
            let timer = async {
                match retry {
                    Some(at) => self.world.clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.changed.woken.notified() => {}
                () = timer => {}
            }
        }
    }

    async fn reclaim(&self, key: &Key) -> anyhow::Result<()> {
        let resource = Resource::of::<PersistentVolume>();
        let cached = self.caches[&resource].get(key).and_then(|entry| folder(&self.nodes, &entry.raw));
        if cached.is_none() {
            return Ok(());
        }
        // What is removed can't come back: the API server must say it too.
        let volume = match self.client.get(&resource, key).await {
            Err(status) if status.is_not_found() => return Ok(()),
            other => other?,
        };
        let Some(folder) = folder(&self.nodes, &volume) else { return Ok(()) };
        tokio::task::spawn_blocking(move || match std::fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
        .await??;
        let preconditions = Preconditions { uid: Some(volume.uid().0), resource_version: None };
        match self.client.delete(&resource, key, DeleteOptions { preconditions, ..DeleteOptions::default() }).await {
            Err(status) if !status.is_not_found() => Err(status.into()),
            _ => Ok(()),
        }
    }
}

/// The folder of a volume that shall go; `None` when it stays, or was not made here.
fn folder(nodes: &Path, volume: &Object) -> Option<PathBuf> {
    let ours = volume.annotation(PROVISIONED_BY).is_some_and(serves);
    let text = |path: &[&str]| volume.text(path).unwrap_or_default().to_owned();
    let goes = text(&["spec", "persistentVolumeReclaimPolicy"]) == "Delete" && text(&["status", "phase"]) == "Released";
    let folder = PathBuf::from(text(&["spec", "local", "path"]));
    let node = folder.strip_prefix(nodes).ok()?.components().next()?.as_os_str().to_str()?.to_owned();
    let expected = place(nodes, &node, volume.name());
    (ours && goes && !volume.is_deleting() && folder == expected).then_some(folder)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn volume(path: &str, policy: &str, phase: &str, by: &str) -> Option<PathBuf> {
        let value: Value = json!({
            "metadata": {"name": "pvc-7", "annotations": {PROVISIONED_BY: by}},
            "spec": {"local": {"path": path}, "persistentVolumeReclaimPolicy": policy},
            "status": {"phase": phase},
        });
        folder(Path::new("/nodes"), &Object::try_from(value).expect("a map"))
    }

    #[test]
    fn only_folders_that_were_made_for_released_volumes_are_removed() {
        let place = "/nodes/node-1/claims/pvc-7";
        assert_eq!(volume(place, "Delete", "Released", "kprov.dev/local"), Some(place.into()));
        for (path, policy, phase, by) in [
            (place, "Retain", "Released", "kprov.dev/local"),
            (place, "Delete", "Bound", "kprov.dev/local"),
            (place, "Delete", "Released", "somebody.else"),
            ("/nodes/node-1/claims", "Delete", "Released", "kprov.dev/local"),
            ("/nodes/node-1/claims/pvc-8", "Delete", "Released", "kprov.dev/local"),
            ("/nodes/../etc/claims/pvc-7", "Delete", "Released", "kprov.dev/local"),
            ("/etc", "Delete", "Released", "kprov.dev/local"),
            ("", "Delete", "Released", "kprov.dev/local"),
        ] {
            assert_eq!(volume(path, policy, phase, by), None, "{path} {policy} {phase} {by}");
        }
    }
}
