//! Claims.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;

use super::{Access, PersistentVolume, Storage, Terms};
use crate::build::amount::Bytes;
use crate::build::object::{Named, named};
use crate::build::text::{Key, LabelValue, Name, Of};
use crate::build::wraps::object;

object! {
    /// Asks for storage that outlives pods.
    ///
    /// ```
    /// use kprov::build::*;
    /// let data = PersistentVolumeClaim::new("data", "4Gi").class("fast");
    /// let db = Container::new("db", "mysql:8").mount(&data, "/var/lib/mysql");
    /// ```
    /// Source: <https://kubernetes.io/docs/concepts/storage/persistent-volumes/#persistentvolumeclaims>
    namespaced PersistentVolumeClaim(core::PersistentVolumeClaim)
}

/// Which volume fits.
///
/// ```
/// # use kprov::build::*;
/// let shared = PersistentVolumeClaim::new("shared", "4Gi").access(Access::ReadWriteMany).class("nfs");
/// let by_hand = PersistentVolumeClaim::new("by-hand", "4Gi").without_class().volume_label("disk", "ssd");
/// let this_one = PersistentVolumeClaim::new("this-one", "4Gi").volume("pv-1");
/// let raw = PersistentVolumeClaim::new("raw", "100Gi").block();
/// ```
impl PersistentVolumeClaim {
    /// At least that much, mounted for writing by one node at a time ([`Access::ReadWriteOnce`]), of the cluster's
    /// default class.
    #[must_use]
    #[track_caller]
    pub fn new(name: impl Of<Name>, size: impl Of<Bytes>) -> Self {
        let requests = BTreeMap::from([("storage".to_owned(), size.checked().into())]);
        let resources = core::VolumeResourceRequirements { requests: Some(requests), limits: None };
        let spec = core::PersistentVolumeClaimSpec {
            access_modes: Some(vec![Access::ReadWriteOnce.into()]),
            resources: Some(resources),
            ..core::PersistentVolumeClaimSpec::default()
        };
        let metadata = named(name.checked());
        Self(core::PersistentVolumeClaim { metadata, spec: Some(spec), ..core::PersistentVolumeClaim::default() })
    }

    fn spec(&mut self) -> &mut core::PersistentVolumeClaimSpec {
        self.0.spec.get_or_insert_default()
    }

    /// Of no class, also where the cluster has a default one: only volumes made by hand fit.
    #[must_use]
    pub fn without_class(mut self) -> Self {
        self.spec().storage_class_name = Some(String::new());
        self
    }

    /// Only a volume with this label; called again, with this one too.
    #[must_use]
    #[track_caller]
    pub fn volume_label(mut self, key: impl Of<Key>, value: impl Of<LabelValue>) -> Self {
        let labels = self.spec().selector.get_or_insert_default().match_labels.get_or_insert_default();
        labels.insert(key.checked().into(), value.checked().into());
        self
    }

    /// That volume and no other.
    #[must_use]
    #[track_caller]
    pub fn volume(mut self, volume: impl Named<PersistentVolume>) -> Self {
        self.spec().volume_name = Some(volume.object_name().into());
        self
    }
}

impl Storage for PersistentVolumeClaim {
    fn terms_mut(&mut self) -> Terms<'_> {
        let spec = self.spec();
        Terms { access_modes: &mut spec.access_modes, class: &mut spec.storage_class_name, mode: &mut spec.volume_mode }
    }
}
