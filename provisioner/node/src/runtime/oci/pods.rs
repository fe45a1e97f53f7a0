//! Makes, finds and removes the sandboxes of pods.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Weak};

use kprov_schema::Uid;

use super::folder::{PodFolder, SandboxRecord, load, names_in, save};
use super::link::{Pod, Reader};
use super::wire::Ask;
use super::{Inner, blocking, clear_cgroup, shim, spawn, system};
use crate::runtime::{RuntimeError, Sandbox, SandboxSpec};

impl Inner {
    /// Finds a pod again that an earlier agent made.
    pub(super) async fn adopt(self: &Arc<Self>, path: &Path) -> Result<(), RuntimeError> {
        let folder = PodFolder(path.to_owned());
        let record: Option<SandboxRecord> = load(&folder.sandbox()).map_err(system("can't read a sandbox"))?;
        // The record is the first thing in a folder: without it nothing was begun.
        let Some(record) = record else { return self.discard(folder.0).await };
        let pod = Arc::new(Pod::new(record, folder, self.setup.clone()));
        match pod.connect().await {
            Ok(Some(reader)) => {
                self.drop_strays(&pod).await?;
                self.hold(pod, Some(reader));
            }
            // A shim that greets with an error has made nothing, and ends.
            Err(error) if error.kind() == io::ErrorKind::Other => {
                tracing::warn!(pod = %pod.record.spec.pod, %error, "a sandbox could not be made before the restart");
                pod.lost(self.config.world.clock.now()).await;
                self.hold(pod, None);
            }
            Ok(None) => {
                pod.recall().map_err(system("can't read a container"))?;
                pod.lost(self.config.world.clock.now()).await;
                self.hold(pod, None);
            }
            Err(error) => {
                let what = format!("can't reach the shim of pod {}", pod.record.spec.pod);
                return Err(system(what)(error));
            }
        }
        Ok(())
    }

    /// Deletes folders of containers that the shim has forgotten already.
    async fn drop_strays(&self, pod: &Pod) -> Result<(), RuntimeError> {
        let parent = pod.folder.0.join("containers");
        for id in names_in(&parent).map_err(system("can't read a pod's folder"))? {
            if pod.container(&id).is_none() {
                self.discard(parent.join(id)).await?;
            }
        }
        Ok(())
    }

    /// Puts a pod among the others and follows its shim.
    fn hold(self: &Arc<Self>, pod: Arc<Pod>, reader: Option<Reader>) {
        let uid = pod.record.spec.pod.clone();
        self.pods.lock().expect("no holder panics").insert(uid.clone(), Arc::clone(&pod));
        let Some(reader) = reader else { return };
        let (weak, clock, told_uid): (Weak<Self>, _, _) =
            (Arc::downgrade(self), Arc::clone(&self.config.world.clock), uid.clone());
        let told = move || {
            if let Some(inner) = weak.upgrade() {
                inner.tell(&told_uid);
            }
        };
        let task = tokio::spawn(pod.follow(reader, move || clock.now(), told));
        self.tasks.lock().expect("no holder panics").insert(uid, task);
    }

    pub(super) async fn create_sandbox(self: Arc<Self>, spec: SandboxSpec) -> Result<Sandbox, RuntimeError> {
        let gate = self.gate(&spec.pod);
        let _gate = gate.lock().await;
        if let Some(pod) = self.pod(&spec.pod) {
            let lost = || {
                RuntimeError::Refused(format!(
                    "the sandbox of pod {} has lost its keeper: it must be removed first",
                    spec.pod
                ))
            };
            return pod.is_alive().then(|| pod.sandbox()).ok_or_else(lost);
        }
        for name in spec.sysctls.keys() {
            shim::check_sysctl(name, &spec).map_err(RuntimeError::Refused)?;
        }
        let folder = PodFolder::of(&self.config.root, &spec.pod)
            .ok_or_else(|| RuntimeError::Refused(format!("{:?} is no pod uid", spec.pod.0)))?;
        if spec.cgroup.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(RuntimeError::Refused(format!("{:?} is no control group", spec.cgroup)));
        }
        let cgroup = format!("/{}/{}", self.config.cgroup.trim_matches('/'), spec.cgroup);
        let record = SandboxRecord { spec, created_at: self.config.world.clock.now(), cgroup };
        let pod = Arc::new(Pod::new(record, folder, self.setup.clone()));
        match self.start_shim(&pod).await {
            Ok(reader) => {
                let sandbox = pod.sandbox();
                self.tell(&sandbox.pod);
                self.hold(pod, Some(reader));
                Ok(sandbox)
            }
            Err(error) => {
                self.clear(&pod).await?;
                Err(system(format!("can't make the sandbox of pod {}", pod.record.spec.pod))(error))
            }
        }
    }

    async fn start_shim(&self, pod: &Pod) -> io::Result<Reader> {
        let (folder, record, exe) = (pod.folder.clone(), pod.record.clone(), self.config.exe.clone());
        blocking(move || {
            fs::create_dir_all(&folder.0)?;
            fs::create_dir_all(&record.spec.log_dir)?;
            save(&folder.sandbox(), &record)?;
            spawn::spawn(&exe, &folder)
        })
        .await?;
        match pod.connect().await? {
            Some(reader) => Ok(reader),
            None => {
                let log = fs::read_to_string(pod.folder.0.join("shim.log")).unwrap_or_default();
                Err(io::Error::other(format!("the shim ended at once: {}", log.trim())))
            }
        }
    }

    pub(super) async fn remove_sandbox(&self, uid: &Uid) -> Result<(), RuntimeError> {
        let gate = self.gate(uid);
        let _gate = gate.lock().await;
        if let Some(pod) = self.pod(uid) {
            let ids: Vec<String> = pod.containers().into_iter().map(|c| c.id).collect();
            if let Err(fault) = pod.ask(Ask::End).await {
                // A shim that ended by itself leaves the rest to us.
                tracing::debug!(pod = %uid, ?fault, "a shim did not end its pod");
            }
            self.clear(&pod).await?;
            for id in ids {
                self.release(&id).await?;
            }
            self.pods.lock().expect("no holder panics").remove(uid);
            self.tasks.lock().expect("no holder panics").remove(uid);
            self.tell(uid);
        }
        self.gates.lock().expect("no holder panics").remove(uid);
        Ok(())
    }

    /// Kills and removes what a pod has on the machine, whoever kept it.
    async fn clear(&self, pod: &Pod) -> Result<(), RuntimeError> {
        clear_cgroup(&pod.cgroup, &self.config.world).await?;
        self.discard(pod.folder.0.clone()).await
    }
}
