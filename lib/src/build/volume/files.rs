//! Volumes of files that Kubernetes writes: config maps, secrets, facts about the pod, tokens.

use k8s_openapi::api::core::v1 as core;

use super::{Volume, kind, name_after};
use crate::build::amount::Time;
use crate::build::config::ConfigMap;
use crate::build::env::ResourceField;
use crate::build::object::Named;
use crate::build::secret::Secret;
use crate::build::text::{DataKey, DnsLabel, Key, Of};

kind! {
    /// The texts of a config map or secret as files; see [`Volume::config_map`] and [`Volume::secret`].
    ///
    /// ```
    /// # use kprov::build::*;
    /// let site = Volume::config_map("site").item("nginx.conf", "nginx.conf").mode(0o444);
    /// ```
    Files
}

/// Which files, and who may read them.
///
/// ```
/// # use kprov::build::*;
/// let site = Volume::config_map("site").item("nginx.conf", "conf.d/site.conf").mode(0o444).optional();
/// ```
impl Files {
    /// Only this key, under that path; called again, this one too.
    #[must_use]
    #[track_caller]
    pub fn item(mut self, key: impl Of<DataKey>, path: impl Into<String>) -> Self {
        let item = core::KeyToPath { key: key.checked().into(), path: path.into(), ..core::KeyToPath::default() };
        if let Some(source) = &mut self.0.config_map {
            source.items.get_or_insert_default().push(item);
        } else if let Some(source) = &mut self.0.secret {
            source.items.get_or_insert_default().push(item);
        }
        self
    }

    /// The files' permission bits, such as `0o400`; `0o644` without it.
    #[must_use]
    pub fn mode(mut self, mode: u16) -> Self {
        if let Some(source) = &mut self.0.config_map {
            source.default_mode = Some(i32::from(mode));
        } else if let Some(source) = &mut self.0.secret {
            source.default_mode = Some(i32::from(mode));
        }
        self
    }

    /// Starts the pod with no files when the object is not there.
    #[must_use]
    pub fn optional(mut self) -> Self {
        if let Some(source) = &mut self.0.config_map {
            source.optional = Some(true);
        } else if let Some(source) = &mut self.0.secret {
            source.optional = Some(true);
        }
        self
    }
}

/// A fact about the pod that can be written into a file. Addresses and nodes can't: they are told as
/// [`super::super::Field`]s in the environment.
///
/// ```
/// # use kprov::build::*;
/// let info = Volume::downward("podinfo").file("labels", MetaField::Labels);
/// ```
/// Source: <https://kubernetes.io/docs/concepts/workloads/pods/downward-api/#available-fields>
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetaField {
    /// The pod's name.
    PodName,
    /// The pod's namespace.
    PodNamespace,
    /// The pod's unique id.
    PodUid,
    /// All labels of the pod, one on a line, kept up to date.
    Labels,
    /// All annotations of the pod, one on a line, kept up to date.
    Annotations,
    /// A label of the pod.
    Label(Key),
    /// An annotation of the pod.
    Annotation(Key),
}

impl MetaField {
    fn path(&self) -> String {
        match self {
            Self::PodName => "metadata.name".to_owned(),
            Self::PodNamespace => "metadata.namespace".to_owned(),
            Self::PodUid => "metadata.uid".to_owned(),
            Self::Labels => "metadata.labels".to_owned(),
            Self::Annotations => "metadata.annotations".to_owned(),
            Self::Label(key) => format!("metadata.labels['{key}']"),
            Self::Annotation(key) => format!("metadata.annotations['{key}']"),
        }
    }

    fn file(&self, path: String) -> core::DownwardAPIVolumeFile {
        let field = core::ObjectFieldSelector { field_path: self.path(), api_version: None };
        core::DownwardAPIVolumeFile { path, field_ref: Some(field), ..core::DownwardAPIVolumeFile::default() }
    }
}

/// What can be written into a file.
///
/// ```
/// # use kprov::build::*;
/// let info = Volume::downward("podinfo").file("name", MetaField::PodName);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be written into a file",
    label = "files hold a `MetaField`",
    note = "addresses, nodes and accounts are told in the environment: `container.env(\"POD_IP\", Field::PodIp)`"
)]
pub trait InFile: Into<MetaField> {}
#[diagnostic::do_not_recommend]
impl InFile for MetaField {}

kind! {
    /// Facts about the pod as files; see [`Volume::downward`].
    ///
    /// ```
    /// # use kprov::build::*;
    /// let info = Volume::downward("podinfo").resource("limit", "web", ResourceField::memory_limit());
    /// ```
    Downward
}

/// What is written into which file.
///
/// ```
/// # use kprov::build::*;
/// let info = Volume::downward("podinfo")
///     .file("labels", MetaField::Labels)
///     .resource("memory", "web", ResourceField::memory_limit());
/// ```
impl Downward {
    fn push(mut self, file: core::DownwardAPIVolumeFile) -> Self {
        self.0.downward_api.get_or_insert_default().items.get_or_insert_default().push(file);
        self
    }

    /// Writes a fact into a file.
    #[must_use]
    pub fn file(self, path: impl Into<String>, field: impl InFile) -> Self {
        let file = field.into().file(path.into());
        self.push(file)
    }

    /// Writes a container's limit or request into a file.
    #[must_use]
    #[track_caller]
    pub fn resource(self, path: impl Into<String>, container: impl Of<DnsLabel>, field: ResourceField) -> Self {
        let field = field.of_container(container).into();
        let file =
            core::DownwardAPIVolumeFile { path: path.into(), resource_field_ref: Some(field), ..Default::default() };
        self.push(file)
    }
}

kind! {
    /// Several sources in one folder; see [`Volume::projected`].
    ///
    /// ```
    /// # use kprov::build::*;
    /// use std::time::Duration;
    /// let all = Volume::projected("all").secret("db").token("token", "vault", Duration::from_secs(3600));
    /// ```
    Projected
}

/// What comes together in the folder.
///
/// ```
/// # use kprov::build::*;
/// use std::time::Duration;
/// let all = Volume::projected("all")
///     .config_map("settings")
///     .secret("db")
///     .file("name", MetaField::PodName)
///     .token("token", "vault", Duration::from_secs(3600))
///     .mode(0o400);
/// ```
impl Projected {
    fn push(mut self, source: core::VolumeProjection) -> Self {
        self.0.projected.get_or_insert_default().sources.get_or_insert_default().push(source);
        self
    }

    /// Adds the texts of a config map.
    #[must_use]
    #[track_caller]
    pub fn config_map(self, object: impl Named<ConfigMap>) -> Self {
        let config_map = core::ConfigMapProjection { name: object.object_name().into(), ..Default::default() };
        self.push(core::VolumeProjection { config_map: Some(config_map), ..Default::default() })
    }

    /// Adds the texts of a secret.
    #[must_use]
    #[track_caller]
    pub fn secret(self, object: impl Named<Secret>) -> Self {
        let secret = core::SecretProjection { name: object.object_name().into(), ..Default::default() };
        self.push(core::VolumeProjection { secret: Some(secret), ..Default::default() })
    }

    /// Adds a fact about the pod.
    #[must_use]
    pub fn file(self, path: impl Into<String>, field: impl InFile) -> Self {
        let downward = core::DownwardAPIProjection { items: Some(vec![field.into().file(path.into())]) };
        self.push(core::VolumeProjection { downward_api: Some(downward), ..Default::default() })
    }

    /// Adds a token of the pod's service account for one audience, renewed in time. At least ten minutes.
    #[must_use]
    #[track_caller]
    pub fn token(self, path: impl Into<String>, audience: impl Into<String>, lifetime: impl Time) -> Self {
        let token = core::ServiceAccountTokenProjection {
            path: path.into(),
            audience: Some(audience.into()),
            expiration_seconds: Some(lifetime.whole_seconds()),
            ..Default::default()
        };
        self.push(core::VolumeProjection { service_account_token: Some(token), ..Default::default() })
    }

    /// The files' permission bits, such as `0o400`; `0o644` without it.
    #[must_use]
    pub fn mode(mut self, mode: u16) -> Self {
        self.0.projected.get_or_insert_default().default_mode = Some(i32::from(mode));
        self
    }
}

impl Volume {
    /// A file for every key of a config map, kept up to date, under the config map's name.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let it = Volume::config_map("site").item("nginx.conf", "nginx.conf").mode(0o444);
    /// ```
    #[must_use]
    #[track_caller]
    pub fn config_map(object: impl Named<ConfigMap>) -> Files {
        let (name, object) = name_after(object);
        let source = core::ConfigMapVolumeSource { name: object, ..Default::default() };
        Files(core::Volume { name, config_map: Some(source), ..Default::default() })
    }

    /// A file for every key of a secret, kept in memory and up to date, under the secret's name.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let it = Volume::secret("db").mode(0o400);
    /// ```
    #[must_use]
    #[track_caller]
    pub fn secret(object: impl Named<Secret>) -> Files {
        let (name, object) = name_after(object);
        let source = core::SecretVolumeSource { secret_name: Some(object), ..Default::default() };
        Files(core::Volume { name, secret: Some(source), ..Default::default() })
    }

    /// Facts about the pod as files.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let it = Volume::downward("podinfo").file("labels", MetaField::Labels);
    /// ```
    #[must_use]
    #[track_caller]
    pub fn downward(name: impl Of<DnsLabel>) -> Downward {
        let source = core::DownwardAPIVolumeSource::default();
        Downward(core::Volume { name: name.checked().into(), downward_api: Some(source), ..Default::default() })
    }

    /// Several sources in one folder.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let it = Volume::projected("all").config_map("settings").secret("db").file("name", MetaField::PodName);
    /// ```
    #[must_use]
    #[track_caller]
    pub fn projected(name: impl Of<DnsLabel>) -> Projected {
        let source = core::ProjectedVolumeSource::default();
        Projected(core::Volume { name: name.checked().into(), projected: Some(source), ..Default::default() })
    }
}
