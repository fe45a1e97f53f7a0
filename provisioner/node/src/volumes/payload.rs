//! The files of config map, secret, downward API and projected volumes.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use k8s_openapi::api::core::v1::{
    ConfigMap, DownwardAPIVolumeFile, KeyToPath, Pod, Secret, ServiceAccountTokenProjection, Volume, VolumeProjection,
};
use kprov_schema::reference::IN_VOLUME;

use crate::agent::env::Sources;
use crate::agent::fields;
use crate::agent::references::Names;
use crate::agent::resources::{self, NodeAmounts};

/// Files by their path within the volume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    /// The files.
    pub files: BTreeMap<PathBuf, File>,
}

/// One file.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// What is in it.
    pub data: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// Owner; `None` is root.
    pub user: Option<u32>,
}

impl std::fmt::Debug for File {
    /// Its data may be secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes, mode {:o}", self.data.len(), self.mode)
    }
}

/// A token that a volume holds: audience and wanted life in seconds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenSpec {
    /// Audience; empty is the API server.
    pub audience: String,
    /// Wanted seconds.
    pub seconds: i64,
}

impl TokenSpec {
    /// As a projection asks for it.
    #[must_use]
    pub fn of(source: &ServiceAccountTokenProjection) -> Self {
        Self {
            audience: source.audience.clone().unwrap_or_default(),
            seconds: source.expiration_seconds.unwrap_or(3600),
        }
    }
}

/// What a volume's files are made of, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Config maps and secrets.
    pub names: Names,
    /// Tokens of the pod's service account.
    pub tokens: Vec<TokenSpec>,
}

/// What a volume's files are made of.
#[must_use]
pub fn needs(volume: &Volume) -> Needs {
    let sources = volume.projected.iter().flat_map(|one| one.sources.iter().flatten());
    let tokens = sources.filter_map(|source| source.service_account_token.as_ref()).map(TokenSpec::of);
    Needs { names: Names::of(IN_VOLUME, volume), tokens: tokens.collect() }
}

/// Whether files of a pod's volumes are made of its own fields, which change under it.
#[must_use]
pub fn shows_itself(pod: &Pod) -> bool {
    let mut volumes = pod.spec.iter().flat_map(|spec| &spec.volumes).flatten();
    volumes.any(|volume| {
        let mut sources = volume.projected.iter().flat_map(|one| &one.sources).flatten();
        volume.downward_api.is_some() || sources.any(|source| source.downward_api.is_some())
    })
}

/// Everything that files are taken from.
pub struct Material<'a> {
    /// The pod, for its fields.
    pub pod: &'a Pod,
    /// Config maps and secrets.
    pub sources: &'a Sources,
    /// Tokens.
    pub tokens: &'a BTreeMap<TokenSpec, String>,
    /// What the node can give, for resource fields.
    pub node: &'a NodeAmounts,
}

/// Mode of files that say nothing else.
const MODE: i32 = 0o644;

impl Material<'_> {
    /// The files of a volume; `None` when it is of another sort.
    ///
    /// Errors: a text for the pod's events.
    pub fn files(&self, volume: &Volume) -> Result<Option<Payload>, String> {
        let mut all = Payload::default();
        if let Some(source) = &volume.config_map {
            refuse_user(source.default_user)?;
            let map = self.config_map(&source.name, source.optional)?;
            all.add_config_map(map, source.items.as_deref(), source.default_mode.unwrap_or(MODE), source.optional)?;
        } else if let Some(source) = &volume.secret {
            refuse_user(source.default_user)?;
            let name = source.secret_name.as_deref().unwrap_or_default();
            let secret = self.secret(name, source.optional)?;
            all.add_secret(secret, source.items.as_deref(), source.default_mode.unwrap_or(MODE), source.optional)?;
        } else if let Some(source) = &volume.downward_api {
            self.downward(&mut all, source.items.as_deref(), source.default_mode.unwrap_or(MODE))?;
        } else if let Some(source) = &volume.projected {
            refuse_user(source.default_user)?;
            for one in source.sources.iter().flatten() {
                self.project(&mut all, one, source.default_mode.unwrap_or(MODE))?;
            }
        } else {
            return Ok(None);
        }
        Ok(Some(all))
    }

    fn project(&self, all: &mut Payload, source: &VolumeProjection, mode: i32) -> Result<(), String> {
        if let Some(one) = &source.config_map {
            all.add_config_map(self.config_map(&one.name, one.optional)?, one.items.as_deref(), mode, one.optional)
        } else if let Some(one) = &source.secret {
            all.add_secret(self.secret(&one.name, one.optional)?, one.items.as_deref(), mode, one.optional)
        } else if let Some(one) = &source.downward_api {
            self.downward(all, one.items.as_deref(), mode)
        } else if let Some(one) = &source.service_account_token {
            self.token(all, one, mode)
        } else {
            Err("this projected source is not supported by this node".to_owned())
        }
    }

    fn token(&self, all: &mut Payload, source: &ServiceAccountTokenProjection, mode: i32) -> Result<(), String> {
        let token = self.tokens.get(&TokenSpec::of(source)).ok_or("failed to fetch token: it was not requested")?;
        let context = self.pod.spec.as_ref().and_then(|spec| spec.security_context.clone()).unwrap_or_default();
        // The token is its user's alone: with a group the group may read it, else the single user that the pod runs as.
        let (mode, user) = match (context.fs_group, common_user(self.pod)) {
            (Some(_), _) => (0o600, None),
            (None, Some(user)) => (0o600, Some(user)),
            (None, None) => (u32::try_from(mode).unwrap_or(0o644), None),
        };
        all.add(&source.path, File { data: token.clone().into_bytes(), mode, user })
    }

    fn downward(&self, all: &mut Payload, items: Option<&[DownwardAPIVolumeFile]>, mode: i32) -> Result<(), String> {
        for item in items.unwrap_or_default() {
            let text = match (&item.field_ref, &item.resource_field_ref) {
                (Some(one), _) => fields::field(self.pod, &one.field_path)?,
                (None, Some(one)) => {
                    let name = one.container_name.as_deref().unwrap_or_default();
                    let spec = self.pod.spec.as_ref();
                    let container = spec.and_then(|spec| resources::container(spec, name));
                    let (container, _) = container.ok_or_else(|| format!("container {name} not found"))?;
                    resources::field(&container, &one.resource, one.divisor.as_ref(), self.node)?
                }
                (None, None) => return Err(format!("file {} has no source", item.path)),
            };
            let mode = item.mode.unwrap_or(mode);
            all.add(
                &item.path,
                File { data: text.into_bytes(), mode: u32::try_from(mode).unwrap_or(0o644), user: None },
            )?;
        }
        Ok(())
    }

    fn config_map(&self, name: &str, optional: Option<bool>) -> Result<Option<&ConfigMap>, String> {
        match self.sources.config_maps.get(name).and_then(Option::as_ref) {
            None if optional != Some(true) => Err(format!("configmap {name:?} not found")),
            found => Ok(found),
        }
    }

    fn secret(&self, name: &str, optional: Option<bool>) -> Result<Option<&Secret>, String> {
        match self.sources.secrets.get(name).and_then(Option::as_ref) {
            None if optional != Some(true) => Err(format!("secret {name:?} not found")),
            found => Ok(found),
        }
    }
}

fn refuse_user(user: Option<i64>) -> Result<(), String> {
    user.map_or(Ok(()), |_| Err("defaultUser is not supported by this node".to_owned()))
}

/// The user that every container of a pod runs as, if it is one.
fn common_user(pod: &Pod) -> Option<u32> {
    let spec = pod.spec.as_ref()?;
    let of_pod = spec.security_context.as_ref().and_then(|context| context.run_as_user);
    let all = spec.init_containers.iter().flatten().chain(&spec.containers);
    let mut users = all.map(|one| one.security_context.as_ref().and_then(|own| own.run_as_user).or(of_pod));
    let first = users.next()??;
    users.all(|user| user == Some(first)).then(|| u32::try_from(first).ok())?
}

impl Payload {
    fn add(&mut self, path: &str, file: File) -> Result<(), String> {
        let path = Path::new(path);
        if path.components().any(|part| !matches!(part, Component::Normal(_))) || path.as_os_str().is_empty() {
            return Err(format!(
                "invalid path {:?}: it must be relative and stay in its volume",
                path.display().to_string()
            ));
        }
        self.files.insert(path.to_owned(), file);
        Ok(())
    }

    fn add_config_map(
        &mut self,
        map: Option<&ConfigMap>,
        items: Option<&[KeyToPath]>,
        mode: i32,
        optional: Option<bool>,
    ) -> Result<(), String> {
        let Some(map) = map else { return Ok(()) };
        let texts = map.data.iter().flatten().map(|(key, text)| (key.as_str(), text.as_bytes()));
        let bytes = map.binary_data.iter().flatten().map(|(key, bytes)| (key.as_str(), bytes.0.as_slice()));
        self.add_all(&texts.chain(bytes).collect(), items, mode, optional, "config map")
    }

    fn add_secret(
        &mut self,
        secret: Option<&Secret>,
        items: Option<&[KeyToPath]>,
        mode: i32,
        optional: Option<bool>,
    ) -> Result<(), String> {
        let Some(secret) = secret else { return Ok(()) };
        let data = secret.data.iter().flatten().map(|(key, bytes)| (key.as_str(), bytes.0.as_slice()));
        self.add_all(&data.collect(), items, mode, optional, "secret")
    }

    fn add_all(
        &mut self,
        data: &BTreeMap<&str, &[u8]>,
        items: Option<&[KeyToPath]>,
        mode: i32,
        optional: Option<bool>,
        kind: &str,
    ) -> Result<(), String> {
        let file = |bytes: &[u8], mode: i32| File {
            data: bytes.to_vec(),
            mode: u32::try_from(mode).unwrap_or(0o644),
            user: None,
        };
        let Some(items) = items.filter(|items| !items.is_empty()) else {
            return data.iter().try_for_each(|(key, bytes)| self.add(key, file(bytes, mode)));
        };
        for item in items {
            match data.get(item.key.as_str()) {
                Some(bytes) => self.add(&item.path, file(bytes, item.mode.unwrap_or(mode)))?,
                None if optional == Some(true) => {}
                None => return Err(format!("references non-existent {kind} key: {}", item.key)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn files(volume: Value) -> Result<Vec<(String, String, u32)>, String> {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "ns", "labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "1"}}}]},
        }))
        .expect("a pod");
        let sources = Sources {
            config_maps: [
                (
                    "cm".to_owned(),
                    Some(
                        serde_json::from_value(json!({"data": {"k": "v"}, "binaryData": {"b": "AA=="}}))
                            .expect("a map"),
                    ),
                ),
                ("absent".to_owned(), None),
            ]
            .into(),
            secrets: [(
                "s".to_owned(),
                Some(serde_json::from_value(json!({"data": {"k": "czM="}})).expect("a secret")),
            )]
            .into(),
        };
        let tokens = [(TokenSpec { audience: String::new(), seconds: 3607 }, "eyJ".to_owned())].into();
        let material = Material { pod: &pod, sources: &sources, tokens: &tokens, node: &NodeAmounts::default() };
        let mut volume = volume;
        volume["name"] = json!("v");
        let payload = material.files(&serde_json::from_value(volume).expect("a volume"))?.expect("a volume of files");
        let text = |file: &File| String::from_utf8_lossy(&file.data).into_owned();
        Ok(payload.files.iter().map(|(path, file)| (path.display().to_string(), text(file), file.mode)).collect())
    }

    #[test]
    fn sources() {
        let list = |wanted: &[(&str, &str, u32)]| {
            Ok(wanted
                .iter()
                .map(|(path, text, mode)| ((*path).to_owned(), (*text).to_owned(), *mode))
                .collect::<Vec<_>>())
        };
        let cases = [
            (json!({"configMap": {"name": "cm"}}), list(&[("b", "\0", 0o644), ("k", "v", 0o644)])),
            (
                json!({"configMap": {"name": "cm", "items": [{"key": "k", "path": "deep/er", "mode": 256}]}}),
                list(&[("deep/er", "v", 0o400)]),
            ),
            (
                json!({"configMap": {"name": "cm", "items": [{"key": "x", "path": "y"}]}}),
                Err("references non-existent config map key: x".to_owned()),
            ),
            (json!({"configMap": {"name": "absent"}}), Err("configmap \"absent\" not found".to_owned())),
            (json!({"configMap": {"name": "absent", "optional": true}}), list(&[])),
            (json!({"secret": {"secretName": "s", "defaultMode": 256}}), list(&[("k", "s3", 0o400)])),
            (json!({"secret": {"secretName": "no"}}), Err("secret \"no\" not found".to_owned())),
            (
                json!({"downwardAPI": {"items": [
                    {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
                    {"path": "cpu", "resourceFieldRef": {"containerName": "c", "resource": "limits.cpu"}},
                ]}}),
                list(&[("cpu", "1", 0o644), ("labels", "a=\"b\"", 0o644)]),
            ),
            (
                json!({"projected": {"sources": [
                    {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                    {"configMap": {"name": "cm", "items": [{"key": "k", "path": "ca.crt"}]}},
                    {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
                ]}}),
                list(&[("ca.crt", "v", 0o644), ("namespace", "ns", 0o644), ("token", "eyJ", 0o644)]),
            ),
        ];
        for (volume, wanted) in cases {
            assert_eq!(files(volume.clone()), wanted, "{volume}");
        }
        assert!(files(json!({"configMap": {"name": "cm", "items": [{"key": "k", "path": "../x"}]}})).is_err());
    }
}
