//! The tasks of a node's pods, started by what the API says, woken by what the runtime says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use kprov_schema::{Object, Uid};
use tokio::task::AbortHandle;

use super::pod_task::{Handle, News, PodTask};
use super::reflector::Change;
use super::{Context, blocking, chain};
use crate::volumes::{folder, mounts};

/// One task a pod.
pub struct Tasks {
    context: Arc<Context>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pods: BTreeMap<Uid, (Handle, AbortHandle)>,
    /// Whether what is left of earlier pods was looked for.
    swept: bool,
    stopped: bool,
}

impl Tasks {
    /// No tasks yet.
    #[must_use]
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the lock")
    }

    /// Takes over what the API says.
    pub fn apply(self: &Arc<Self>, change: Change) {
        match change {
            Change::Put(object) => self.put(object),
            Change::Gone(object) => self.gone(&object.uid()),
            Change::All(list) => {
                let here: BTreeSet<Uid> = list.iter().map(|object| object.uid()).collect();
                let missing: Vec<Uid> = self.state().pods.keys().filter(|uid| !here.contains(*uid)).cloned().collect();
                missing.iter().for_each(|uid| self.gone(uid));
                list.into_iter().for_each(|object| self.put(object));
                if !std::mem::replace(&mut self.state().swept, true) {
                    tokio::spawn(sweep(self.context.clone(), here));
                }
            }
        }
    }

    /// Something of a pod changed in the runtime.
    pub fn wake(&self, pod: &Uid) {
        if let Some((handle, _)) = self.state().pods.get(pod) {
            handle.wake.notify_one();
        }
    }

    /// Other images are here: pods that wait for one may go on.
    pub fn images_changed(&self) {
        self.state().pods.values().for_each(|(handle, _)| handle.images.notify_one());
    }

    /// Ends all tasks where they are.
    pub fn stop(&self) {
        let mut state = self.state();
        state.stopped = true;
        for (_, (_, task)) in std::mem::take(&mut state.pods) {
            task.abort();
        }
    }

    fn gone(&self, pod: &Uid) {
        if let Some((handle, _)) = self.state().pods.get(pod) {
            handle.news.send_replace(News::Gone);
        }
    }

    fn put(self: &Arc<Self>, object: Arc<Object>) {
        let uid = object.uid();
        let mut state = self.state();
        if state.stopped {
            return;
        }
        if let Some((handle, _)) = state.pods.get(&uid) {
            handle.news.send_replace(News::Is(object));
            return;
        }
        let (task, handle) = match PodTask::new(self.context.clone(), object.clone()) {
            Ok(both) => both,
            Err(error) => return tracing::error!(pod = %object.key(), error, "the API sent a pod that can't be read"),
        };
        let (tasks, pod) = (Arc::downgrade(self), uid.clone());
        let running = tokio::spawn(async move {
            task.run().await;
            if let Some(tasks) = tasks.upgrade() {
                tasks.state().pods.remove(&pod);
            }
        });
        state.pods.insert(uid, (handle, running.abort_handle()));
    }
}

/// Removes what is left of pods that the API no longer has: they went while no agent ran.
async fn sweep(context: Arc<Context>, here: BTreeSet<Uid>) {
    let mut gone: BTreeSet<Uid> = BTreeSet::new();
    match context.runtime.inventory().await {
        Ok(all) => gone.extend(all.sandboxes.into_iter().map(|sandbox| sandbox.pod)),
        Err(error) => tracing::warn!(error = chain(&error), "what runs can't be listed: pods that are gone may run on"),
    }
    match context.network.attached().await {
        Ok(all) => gone.extend(all.into_iter().map(|(pod, _)| pod)),
        Err(error) => tracing::warn!(error = chain(&error), "attached pods can't be listed"),
    }
    for pod in gone.difference(&here) {
        tracing::info!(%pod, "a pod that the API no longer has is removed");
        if let Err(error) = context.runtime.remove_sandbox(pod).await {
            tracing::warn!(%pod, error = chain(&error), "it can't be removed");
        }
        if let Err(error) = context.network.detach(pod).await {
            tracing::warn!(%pod, error = chain(&error), "it can't be detached");
        }
    }
    let Some(root) = context.config.root.clone() else { return };
    if let Err(error) = blocking(move || sweep_folders(&root, &here)).await {
        tracing::warn!(%error, "files of pods that are gone can't be removed");
    }
}

/// Folders end in the uid of their pod.
fn sweep_folders(root: &std::path::Path, here: &BTreeSet<Uid>) -> std::io::Result<()> {
    for place in [folder::pods(root), folder::logs(root)] {
        let entries = match std::fs::read_dir(&place) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            other => other?,
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let uid = name.rsplit('_').next().unwrap_or_default().to_owned();
            if !here.contains(&Uid(uid)) {
                mounts::unmount_below(&entry.path())?;
                std::fs::remove_dir_all(entry.path())?;
            }
        }
    }
    Ok(())
}
