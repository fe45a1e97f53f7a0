//! Claims for storage that outlives pods.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;

use super::amount::Bytes;
use super::object::named;
use super::text::{Name, Of};
use super::wraps::object;

object! {
    /// A claim for storage that outlives pods; without a class it takes the cluster's default one.
    ///
    /// ```
    /// use kprov::build::*;
    /// let data = PersistentVolumeClaim::new("data", "4Gi");
    /// let db = Container::new("db", "mysql:8").mount(&data, "/var/lib/mysql");
    /// # let _ = db;
    /// ```
    namespaced PersistentVolumeClaim(core::PersistentVolumeClaim)
}

impl PersistentVolumeClaim {
    /// At least that much, mounted for writing by one node at a time (`ReadWriteOnce`).
    #[must_use]
    #[track_caller]
    pub fn new(name: impl Of<Name>, size: impl Of<Bytes>) -> Self {
        let requests = BTreeMap::from([("storage".to_owned(), size.checked().into())]);
        let resources = core::VolumeResourceRequirements { requests: Some(requests), limits: None };
        let spec = core::PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            resources: Some(resources),
            ..core::PersistentVolumeClaimSpec::default()
        };
        let metadata = named(name.checked());
        Self(core::PersistentVolumeClaim { metadata, spec: Some(spec), ..core::PersistentVolumeClaim::default() })
    }
}
