//! Environment variables and where their values come from.

use std::marker::PhantomData;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::config::ConfigMap;
use super::object::{Named, Object};
use super::secret::Secret;
use super::text::{DataKey, DnsLabel, Key, Name, Of};
use super::wraps::part;

/// What an environment variable can be set to: a text, a number, a [`Field`] of the pod, a [`ResourceField`] of a
/// container, or a key of a config map or a secret.
///
/// ```
/// use kprov::build::*;
/// let secret = Secret::new("db").text("password", "s3cret");
/// let container = Container::new("web", "nginx:1.27")
///     .env("LEVEL", "info")
///     .env("WORKERS", 4)
///     .env("POD_IP", Field::PodIp)
///     .env("MEMORY_MIB", ResourceField::memory_limit().in_units(Bytes::mib(1)))
///     .env("PASSWORD", secret.key("password"));
/// ```
#[diagnostic::on_unimplemented(
    message = "an environment variable can't be set to `{Self}`",
    note = "give a text, a number, a `Field` of the pod, `secret.key(\"..\")` or `config_map.key(\"..\")`"
)]
pub trait EnvValue {
    /// The variable of that name.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let variable = "info".variable("LEVEL".to_owned());
    /// assert_eq!((variable.name.as_str(), variable.value.as_deref()), ("LEVEL", Some("info")));
    /// ```
    fn variable(self, name: String) -> core::EnvVar;
}

macro_rules! plain {
    ($($type:ty),*) => {$(
        #[diagnostic::do_not_recommend]
        impl EnvValue for $type {
            fn variable(self, name: String) -> core::EnvVar {
                core::EnvVar { name, value: Some(self.to_string()), value_from: None }
            }
        }
    )*};
}
plain!(&str, String, &String, bool, i32, i64, u16, u32, u64, usize);

fn from_source(name: String, source: core::EnvVarSource) -> core::EnvVar {
    core::EnvVar { name, value: None, value_from: Some(source) }
}

/// A fact about the pod that its containers can be told.
///
/// ```
/// # use kprov::build::*;
/// let web = Container::new("web", "nginx:1.27").env("POD_IP", Field::PodIp).env("TIER", Field::Label("tier".parse()?));
/// # Ok::<(), Invalid>(())
/// ```
/// Source: <https://kubernetes.io/docs/concepts/workloads/pods/downward-api/#available-fields>
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// The pod's name.
    PodName,
    /// The pod's namespace.
    PodNamespace,
    /// The pod's unique id.
    PodUid,
    /// The pod's address.
    PodIp,
    /// The pod's addresses of both families, with a comma between them.
    PodIps,
    /// The address of the pod's node.
    HostIp,
    /// The addresses of the pod's node, with a comma between them.
    HostIps,
    /// The name of the pod's node.
    NodeName,
    /// The name of the pod's service account.
    ServiceAccount,
    /// A label of the pod.
    Label(Key),
    /// An annotation of the pod.
    Annotation(Key),
}

impl Field {
    /// The path that the API knows it by.
    ///
    /// ```
    /// # use kprov::build::*;
    /// assert_eq!(Field::PodIp.path(), "status.podIP");
    /// ```
    #[must_use]
    pub fn path(&self) -> String {
        match self {
            Self::PodName => "metadata.name".to_owned(),
            Self::PodNamespace => "metadata.namespace".to_owned(),
            Self::PodUid => "metadata.uid".to_owned(),
            Self::PodIp => "status.podIP".to_owned(),
            Self::PodIps => "status.podIPs".to_owned(),
            Self::HostIp => "status.hostIP".to_owned(),
            Self::HostIps => "status.hostIPs".to_owned(),
            Self::NodeName => "spec.nodeName".to_owned(),
            Self::ServiceAccount => "spec.serviceAccountName".to_owned(),
            Self::Label(key) => format!("metadata.labels['{key}']"),
            Self::Annotation(key) => format!("metadata.annotations['{key}']"),
        }
    }
}

#[diagnostic::do_not_recommend]
impl EnvValue for Field {
    fn variable(self, name: String) -> core::EnvVar {
        let field = core::ObjectFieldSelector { field_path: self.path(), api_version: None };
        from_source(name, core::EnvVarSource { field_ref: Some(field), ..core::EnvVarSource::default() })
    }
}

part! {
    /// What a container asks for or may not exceed.
    ///
    /// ```
    /// # use kprov::build::*;
    /// // The limit in whole cores, rounded up.
    /// let web = Container::new("web", "shop:1").env("GOMAXPROCS", ResourceField::cpu_limit());
    /// ```
    /// Source: <https://kubernetes.io/docs/concepts/workloads/pods/downward-api/#downwardapi-resourceFieldRef>
    ResourceField(core::ResourceFieldSelector)
}

/// Which amount, and how it is counted.
///
/// ```
/// # use kprov::build::*;
/// let web = Container::new("web", "shop:1")
///     .env("CPU_MILLIS", ResourceField::cpu_request().in_units(Cpu::millis(1)))
///     .env("MEMORY_BYTES", ResourceField::memory_request())
///     .env("MEMORY_LIMIT", ResourceField::memory_limit())
///     .env("DISK_BYTES", ResourceField::storage_request())
///     .env("DISK_LIMIT", ResourceField::storage_limit())
///     .env("CACHE_CORES", ResourceField::cpu_limit().of_container("cache"));
/// ```
impl ResourceField {
    fn new(resource: &str) -> Self {
        Self(core::ResourceFieldSelector { resource: resource.to_owned(), ..core::ResourceFieldSelector::default() })
    }

    /// The limit of processor time, or the node's cores when there is none.
    #[must_use]
    pub fn cpu_limit() -> Self {
        Self::new("limits.cpu")
    }

    /// The limit of memory, or the node's memory when there is none.
    #[must_use]
    pub fn memory_limit() -> Self {
        Self::new("limits.memory")
    }

    /// The limit of storage on the node.
    #[must_use]
    pub fn storage_limit() -> Self {
        Self::new("limits.ephemeral-storage")
    }

    /// The processor time that is asked for.
    #[must_use]
    pub fn cpu_request() -> Self {
        Self::new("requests.cpu")
    }

    /// The memory that is asked for.
    #[must_use]
    pub fn memory_request() -> Self {
        Self::new("requests.memory")
    }

    /// The storage on the node that is asked for.
    #[must_use]
    pub fn storage_request() -> Self {
        Self::new("requests.ephemeral-storage")
    }

    /// Of another container of the pod; files need to name one.
    #[must_use]
    #[track_caller]
    pub fn of_container(mut self, container: impl Of<DnsLabel>) -> Self {
        self.0.container_name = Some(container.checked().into());
        self
    }

    /// Counted in `Cpu::millis(1)` or `Bytes::mib(1)` instead of whole cores and single bytes.
    #[must_use]
    pub fn in_units(mut self, unit: impl Into<Quantity>) -> Self {
        self.0.divisor = Some(unit.into());
        self
    }
}

#[diagnostic::do_not_recommend]
impl EnvValue for ResourceField {
    fn variable(self, name: String) -> core::EnvVar {
        let source = core::EnvVarSource { resource_field_ref: Some(self.0), ..core::EnvVarSource::default() };
        from_source(name, source)
    }
}

/// One text in a config map or a secret.
///
/// `secret.key("password")` makes it from a [`Secret`] that is at hand and has that key; [`KeyOf::new`] speaks of one
/// that is elsewhere.
///
/// ```
/// # use kprov::build::*;
/// let db = Secret::new("db").text("password", "s3cret");
/// assert_eq!(db.key("password"), KeyOf::new("db", "password"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyOf<K> {
    pub(super) name: Name,
    pub(super) key: DataKey,
    pub(super) optional: Option<bool>,
    kind: PhantomData<K>,
}

/// One text in a secret.
///
/// ```
/// # use kprov::build::*;
/// let web = Container::new("web", "shop:1").env("PASSWORD", SecretKey::new("mysql-pass", "password"));
/// ```
pub type SecretKey = KeyOf<Secret>;

/// One text in a config map.
///
/// ```
/// # use kprov::build::*;
/// let web = Container::new("web", "shop:1").env("LEVEL", ConfigMapKey::new("settings", "level"));
/// ```
pub type ConfigMapKey = KeyOf<ConfigMap>;

impl<K> KeyOf<K> {
    /// A key of an object that is made elsewhere: nobody checks that it is there.
    #[must_use]
    #[track_caller]
    pub fn new(object: impl Named<K>, key: impl Of<DataKey>) -> Self {
        Self { name: object.object_name(), key: key.checked(), optional: None, kind: PhantomData }
    }

    /// Starts the container without it when it is not there.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Container::new("web", "shop:1").env("LEVEL", ConfigMapKey::new("settings", "level").optional());
    /// ```
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.optional = Some(true);
        self
    }

    fn parts(self) -> (String, String, Option<bool>) {
        (self.name.into(), self.key.into(), self.optional)
    }
}

impl<K: Object> KeyOf<K> {
    /// A key that the object must have.
    #[track_caller]
    pub(super) fn present<'a>(object: &K, key: DataKey, mut keys: impl Iterator<Item = &'a String> + Clone) -> Self {
        if !keys.clone().any(|one| one == key.as_str()) {
            let first = keys.next().map_or("none", String::as_str).to_owned();
            let listed = keys.fold(first, |listed, one| listed + ", " + one);
            panic!("{} {} has no key {:?}; its keys: {listed}", K::KIND, object.name(), key.as_str());
        }
        Self::new(object, key)
    }
}

#[diagnostic::do_not_recommend]
impl EnvValue for SecretKey {
    fn variable(self, name: String) -> core::EnvVar {
        let (object, key, optional) = self.parts();
        let selector = core::SecretKeySelector { name: object, key, optional };
        from_source(name, core::EnvVarSource { secret_key_ref: Some(selector), ..core::EnvVarSource::default() })
    }
}

#[diagnostic::do_not_recommend]
impl EnvValue for ConfigMapKey {
    fn variable(self, name: String) -> core::EnvVar {
        let (object, key, optional) = self.parts();
        let selector = core::ConfigMapKeySelector { name: object, key, optional };
        from_source(name, core::EnvVarSource { config_map_key_ref: Some(selector), ..core::EnvVarSource::default() })
    }
}

part! {
    /// All texts of a config map or a secret as environment variables of the same names.
    ///
    /// ```
    /// use kprov::build::*;
    /// let settings = ConfigMap::new("settings").file("LEVEL", "info");
    /// let container = Container::new("web", "nginx:1.27")
    ///     .env_from(&settings)
    ///     .env_from(EnvFrom::secret("db").prefix("DB_"));
    /// ```
    EnvFrom(core::EnvFromSource)
}

/// Of which object, and under which names.
///
/// ```
/// # use kprov::build::*;
/// let web = Container::new("web", "shop:1")
///     .env_from(EnvFrom::config_map("settings").optional())
///     .env_from(EnvFrom::secret("db").prefix("DB_"));
/// ```
impl EnvFrom {
    /// Everything in a config map.
    #[must_use]
    #[track_caller]
    pub fn config_map(object: impl Named<ConfigMap>) -> Self {
        let config_map_ref = core::ConfigMapEnvSource { name: object.object_name().into(), optional: None };
        Self(core::EnvFromSource { config_map_ref: Some(config_map_ref), ..core::EnvFromSource::default() })
    }

    /// Everything in a secret.
    #[must_use]
    #[track_caller]
    pub fn secret(object: impl Named<Secret>) -> Self {
        let secret_ref = core::SecretEnvSource { name: object.object_name().into(), optional: None };
        Self(core::EnvFromSource { secret_ref: Some(secret_ref), ..core::EnvFromSource::default() })
    }

    /// Puts a text before the names of the variables.
    #[must_use]
    #[track_caller]
    pub fn prefix(mut self, prefix: impl Of<super::EnvName>) -> Self {
        self.0.prefix = Some(prefix.checked().into());
        self
    }

    /// Starts the container without them when the object is not there.
    #[must_use]
    pub fn optional(mut self) -> Self {
        if let Some(source) = &mut self.0.config_map_ref {
            source.optional = Some(true);
        }
        if let Some(source) = &mut self.0.secret_ref {
            source.optional = Some(true);
        }
        self
    }
}

impl From<&ConfigMap> for EnvFrom {
    fn from(object: &ConfigMap) -> Self {
        Self::config_map(object)
    }
}

impl From<&Secret> for EnvFrom {
    fn from(object: &Secret) -> Self {
        Self::secret(object)
    }
}
