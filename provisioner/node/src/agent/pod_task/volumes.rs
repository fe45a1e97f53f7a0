//! Volumes and files of a pod, and the tokens in them.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ServiceAccount, Volume};
use kprov_schema::{Key, Object, Resource, Subresource};
use serde_json::json;

use super::{PodEvent, PodTask, RETRY, Reason, blocking, later};
use crate::volumes::bound::Bound;
use crate::volumes::payload::{self, Material, TokenSpec};
use crate::volumes::{Content, Plugin, Prepared, VolumeError, host_path, mounts};

/// Tokens are renewed at this part of their life, at the latest after a day.
const TOKEN_LIFE: (i64, i64) = (80, 100);
const TOKEN_LONGEST: SignedDuration = SignedDuration::from_hours(24);

/// A token of a volume.
pub(super) struct Token {
    pub(super) text: String,
    pub(super) renew_at: Timestamp,
}

impl PodTask {
    pub(super) async fn set_up_volumes(&mut self) -> Result<(), Timestamp> {
        match self.make_volumes().await {
            Ok(()) => {
                self.memory.volumes_ready = true;
                self.memory.torn_down = false;
                self.memory.setup = None;
                Ok(())
            }
            Err(error) => {
                Err(self.setup_failed(Reason::FailedMount, PodEvent::warning("FailedMount", error.to_string())))
            }
        }
    }

    pub(super) async fn make_volumes(&mut self) -> Result<(), VolumeError> {
        let Some(folder) = self.folder() else { return Ok(()) };
        let volumes = self.pod.spec.as_ref().and_then(|spec| spec.volumes.clone()).unwrap_or_default();
        let mut all = Vec::with_capacity(volumes.len());
        for volume in &volumes {
            let fail = |message: String| VolumeError::new(&volume.name, message);
            let plugin = Plugin::of(volume).map_err(fail)?;
            let content = self.content(volume, plugin).await.map_err(fail)?;
            let group = self.pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref()?.fs_group);
            let group = group.and_then(|group| u32::try_from(group).ok());
            all.push((folder.volume(volume, plugin), Prepared { name: volume.name.clone(), content, group }));
        }
        let made = blocking(move || Ok(all.iter().try_for_each(|(path, one)| one.set_up(path)))).await;
        made.map_err(|error| VolumeError::new("", error))?
    }

    pub(super) async fn content(&mut self, volume: &Volume, plugin: Plugin) -> Result<Content, String> {
        if let Some(host) = &volume.host_path {
            let kind = host_path::Kind::parse(host.type_.as_deref().unwrap_or_default())?;
            return Ok(Content::Host { path: host.path.clone().into(), kind });
        }
        if let Some(claim) = &volume.persistent_volume_claim {
            let namespace = self.object.namespace();
            let bound = self.context.references.volume(&self.uid, &self.changed, namespace, &claim.claim_name);
            let context = self.pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
            let policy = context.and_then(|context| context.fs_group_change_policy.as_deref());
            return Bound::of(&bound.await?, policy == Some("OnRootMismatch")).map(Content::Bound);
        }
        let needs = payload::needs(volume);
        for spec in &needs.tokens {
            self.token(spec).await?;
        }
        let namespace = self.object.namespace().to_owned();
        let sources = self.context.references.sources(&self.uid, &self.changed, &namespace, &needs.names).await?;
        let tokens = self.tokens.iter().map(|(spec, token)| (spec.clone(), token.text.clone())).collect();
        let node = self.context.node_amounts();
        let pod = self.pod_now();
        let material = Material { pod: &pod, sources: &sources, tokens: &tokens, node: &node };
        match material.files(volume)? {
            Some(payload) => Ok(Content::Files { payload, memory: plugin.in_memory() }),
            None => crate::volumes::empty(&volume.empty_dir.clone().unwrap_or_default()),
        }
    }

    /// Asks for a token unless a fresh one is at hand.
    pub(super) async fn token(&mut self, spec: &TokenSpec) -> Result<(), String> {
        if self.tokens.contains_key(spec) {
            return Ok(());
        }
        let account = self.pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone());
        let account = account.filter(|name| !name.is_empty()).unwrap_or_else(|| "default".to_owned());
        let key = Key::new(self.object.namespace(), account);
        let audiences: Vec<&str> = [spec.audience.as_str()].into_iter().filter(|one| !one.is_empty()).collect();
        let bound = json!({"apiVersion": "v1", "kind": "Pod", "name": self.object.name(), "uid": self.uid.0});
        let body = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "metadata": {},
            "spec": {"audiences": audiences, "expirationSeconds": spec.seconds, "boundObjectRef": bound},
        });
        let object = Object::try_from(body).expect("a JSON map");
        let resource = Resource::of::<ServiceAccount>();
        let answer = self.context.client.create(&resource, &key, Some(Subresource::Token), object).await;
        let answer = answer.map_err(|status| format!("failed to fetch token: {status}"))?;
        let text = answer.text(&["status", "token"]).ok_or("failed to fetch token: the answer has none")?.to_owned();
        let expires = answer.text(&["status", "expirationTimestamp"]).and_then(|text| text.parse::<Timestamp>().ok());
        let expires = expires.ok_or("failed to fetch token: the answer does not say when it expires")?;
        let now = self.now();
        let part = expires.duration_since(now).as_secs() * TOKEN_LIFE.0 / TOKEN_LIFE.1;
        let life = SignedDuration::from_secs(part).min(TOKEN_LONGEST);
        let renew_at = now.checked_add(life).unwrap_or(Timestamp::MAX);
        self.tokens.insert(spec.clone(), Token { text, renew_at });
        Ok(())
    }

    pub(super) async fn tear_down(&mut self, logs: bool) -> Result<(), Timestamp> {
        self.context.references.release(&self.uid);
        self.tokens.clear();
        if let Some(folder) = self.folder() {
            let removed = blocking(move || {
                mounts::unmount_below(&folder.pod())?;
                remove_folder(&folder.pod())?;
                if logs { remove_folder(folder.logs()) } else { Ok(()) }
            });
            if let Err(error) = removed.await {
                tracing::warn!(pod = %self.object.key(), %error, "a pod's files can't be removed; trying again");
                return Err(later(self.now(), RETRY));
            }
        }
        self.memory.volumes_ready = false;
        self.memory.torn_down = true;
        if logs {
            let now = self.now();
            self.memory.cleared.get_or_insert(now);
        }
        Ok(())
    }
}

fn remove_folder(path: &std::path::Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
