//! Storage classes.

use k8s_openapi::api::storage::v1 as storage;

use super::Reclaim;
use crate::build::object::named;
use crate::build::text::{Name, Of};
use crate::build::wraps::object;

object! {
    /// A way to make volumes for claims.
    ///
    /// ```
    /// use kprov::build::*;
    /// let fast = StorageClass::new("fast", "ebs.csi.aws.com").parameter("type", "io1").reclaim(Reclaim::Retain);
    /// let data = PersistentVolumeClaim::new("data", "4Gi").class(&fast);
    /// ```
    /// Source: <https://kubernetes.io/docs/concepts/storage/storage-classes/>
    cluster StorageClass(storage::StorageClass)
}

/// How volumes are made, and for whom.
///
/// ```
/// # use kprov::build::*;
/// let fast = StorageClass::new("fast", "ebs.csi.aws.com")
///     .parameter("type", "gp3")
///     .reclaim(Reclaim::Retain)
///     .wait_for_first_consumer()
///     .growing()
///     .mount_option("noatime")
///     .by_default();
/// ```
impl StorageClass {
    /// A class whose volumes that provisioner makes.
    #[must_use]
    #[track_caller]
    pub fn new(name: impl Of<Name>, provisioner: impl Into<String>) -> Self {
        let metadata = named(name.checked());
        Self(storage::StorageClass { metadata, provisioner: provisioner.into(), ..storage::StorageClass::default() })
    }

    /// Tells the provisioner something more.
    #[must_use]
    pub fn parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.parameters.get_or_insert_default().insert(name.into(), value.into());
        self
    }

    /// What becomes of its volumes when their claims go; without it, they go too.
    #[must_use]
    pub fn reclaim(mut self, policy: Reclaim) -> Self {
        self.0.reclaim_policy = Some(policy.into());
        self
    }

    /// Makes a volume only when a pod wants it, near the node of that pod.
    #[must_use]
    pub fn wait_for_first_consumer(mut self) -> Self {
        self.0.volume_binding_mode = Some("WaitForFirstConsumer".to_owned());
        self
    }

    /// Lets claims grow.
    #[must_use]
    pub fn growing(mut self) -> Self {
        self.0.allow_volume_expansion = Some(true);
        self
    }

    /// Mounts its volumes with that option too.
    #[must_use]
    pub fn mount_option(mut self, option: impl Into<String>) -> Self {
        self.0.mount_options.get_or_insert_default().push(option.into());
        self
    }

    /// Takes the claims that name no class.
    #[must_use]
    pub fn by_default(mut self) -> Self {
        let annotations = self.0.metadata.annotations.get_or_insert_default();
        annotations.insert("storageclass.kubernetes.io/is-default-class".to_owned(), "true".to_owned());
        self
    }
}
