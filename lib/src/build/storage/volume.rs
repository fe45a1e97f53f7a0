//! Volumes made by hand.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;

use super::{Access, PersistentVolumeClaim, Reclaim, Storage, Terms};
use crate::build::amount::Bytes;
use crate::build::object::{Object, named};
use crate::build::placement::NodeRule;
use crate::build::text::{Name, Of};
use crate::build::wraps::{object, part};

object! {
    /// Storage that claims are bound to, made by hand.
    ///
    /// ```
    /// use kprov::build::*;
    /// let share = PersistentVolume::new("share", "100Gi", Source::nfs("10.0.0.7", "/exports/shop"))
    ///     .access(Access::ReadWriteMany)
    ///     .mount_option("nfsvers=4.1");
    /// let disk = PersistentVolume::new("disk", "1Ti", Source::local("/mnt/ssd1"))
    ///     .on_nodes(NodeRule::label("kubernetes.io/hostname").is_in(["node-1"]));
    /// ```
    /// Source: <https://kubernetes.io/docs/concepts/storage/persistent-volumes/>
    cluster PersistentVolume(core::PersistentVolume)
}

part! {
    /// What a volume consists of. Sources that have no function here are set by `edit`.
    ///
    /// ```
    /// use kprov::build::*;
    /// let disk = Source::csi("ebs.csi.aws.com", "vol-0eb2505986bf40ee1").file_system("ext4");
    /// ```
    Source(core::PersistentVolumeSpec)
}

/// Where it comes from.
///
/// ```
/// # use kprov::build::*;
/// let sources = [
///     Source::host_path("/srv/data"),
///     Source::local("/mnt/ssd1").file_system("xfs"),
///     Source::nfs("10.0.0.7", "/exports/shop"),
///     Source::csi("ebs.csi.aws.com", "vol-0eb2505986bf40ee1"),
/// ];
/// assert_eq!(sources[1].build().local.unwrap().fs_type.as_deref(), Some("xfs"));
/// ```
impl Source {
    fn of(set: impl FnOnce(&mut core::PersistentVolumeSpec)) -> Self {
        let mut spec = core::PersistentVolumeSpec::default();
        set(&mut spec);
        Self(spec)
    }

    /// A folder of whichever node the pod is on: for trying out on one node.
    #[must_use]
    pub fn host_path(path: impl Into<String>) -> Self {
        let path = path.into();
        Self::of(|spec| spec.host_path = Some(core::HostPathVolumeSource { path, type_: None }))
    }

    /// A disk of one node, which [`PersistentVolume::on_nodes`] names.
    #[must_use]
    pub fn local(path: impl Into<String>) -> Self {
        let path = path.into();
        Self::of(|spec| spec.local = Some(core::LocalVolumeSource { path, fs_type: None }))
    }

    /// A folder that an NFS server exports.
    #[must_use]
    pub fn nfs(server: impl Into<String>, path: impl Into<String>) -> Self {
        let (server, path) = (server.into(), path.into());
        Self::of(|spec| spec.nfs = Some(core::NFSVolumeSource { server, path, read_only: None }))
    }

    /// A volume that a CSI driver knows by that handle.
    #[must_use]
    #[track_caller]
    pub fn csi(driver: impl Of<Name>, handle: impl Into<String>) -> Self {
        let driver = driver.checked().into();
        let volume_handle = handle.into();
        Self::of(|spec| {
            spec.csi = Some(core::CSIPersistentVolumeSource { driver, volume_handle, ..<_>::default() });
        })
    }

    /// A disk of Google's cloud, by its name there. The cluster hands it to the CSI driver `pd.csi.storage.gke.io`.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let disk = PersistentVolume::new("data", "400Gi", Source::gce_disk("my-data-disk").file_system("ext4"));
    /// ```
    #[must_use]
    pub fn gce_disk(name: impl Into<String>) -> Self {
        let pd_name = name.into();
        Self::of(|spec| {
            spec.gce_persistent_disk = Some(core::GCEPersistentDiskVolumeSource { pd_name, ..<_>::default() });
        })
    }

    /// The file system of a disk, such as `ext4`.
    ///
    /// Panics when the volume is a folder, which is of a file system already.
    #[must_use]
    #[track_caller]
    pub fn file_system(mut self, kind: impl Into<String>) -> Self {
        let spec = &mut self.0;
        let csi = spec.csi.as_mut().map(|csi| &mut csi.fs_type);
        let local = spec.local.as_mut().map(|local| &mut local.fs_type);
        let gce = spec.gce_persistent_disk.as_mut().map(|disk| &mut disk.fs_type);
        let place = csi.or(local).or(gce);
        *place.expect("a folder is of a file system already: leave `file_system(..)` away") = Some(kind.into());
        self
    }
}

/// Who gets it, and what becomes of it.
///
/// ```
/// # use kprov::build::*;
/// let data = PersistentVolumeClaim::new("data", "100Gi").namespace("shop");
/// let disk = PersistentVolume::new("disk", "100Gi", Source::local("/dev/sdb"))
///     .class("local")
///     .block()
///     .reclaim(Reclaim::Retain)
///     .reserved_for(&data)
///     .on_nodes(NodeRule::label("kubernetes.io/hostname").is_in(["node-1"]));
/// let share = PersistentVolume::new("share", "1Ti", Source::nfs("10.0.0.7", "/exports"))
///     .access(Access::ReadWriteMany)
///     .mount_option("nfsvers=4.1");
/// ```
impl PersistentVolume {
    /// A volume of that size, mounted for writing by one node at a time ([`Access::ReadWriteOnce`]).
    #[must_use]
    #[track_caller]
    pub fn new(name: impl Of<Name>, size: impl Of<Bytes>, source: Source) -> Self {
        let spec = core::PersistentVolumeSpec {
            capacity: Some(BTreeMap::from([("storage".to_owned(), size.checked().into())])),
            access_modes: Some(vec![Access::ReadWriteOnce.into()]),
            ..source.0
        };
        Self(core::PersistentVolume { metadata: named(name.checked()), spec: Some(spec), status: None })
    }

    fn spec(&mut self) -> &mut core::PersistentVolumeSpec {
        self.0.spec.get_or_insert_default()
    }

    /// What becomes of it when its claim goes; without it, it stays.
    #[must_use]
    pub fn reclaim(mut self, policy: Reclaim) -> Self {
        self.spec().persistent_volume_reclaim_policy = Some(policy.into());
        self
    }

    /// Is emptied when its claim goes, and offered anew: host paths and NFS only, and deprecated for them as well.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let scratch = PersistentVolume::new("scratch", "1Gi", Source::nfs("10.0.0.7", "/scratch")).recycle();
    /// ```
    /// Source: <https://kubernetes.io/docs/concepts/storage/persistent-volumes/#recycle>
    #[must_use]
    pub fn recycle(mut self) -> Self {
        self.spec().persistent_volume_reclaim_policy = Some("Recycle".to_owned());
        self
    }

    /// Mounts it with that option too, such as `nfsvers=4.1`.
    #[must_use]
    pub fn mount_option(mut self, option: impl Into<String>) -> Self {
        self.spec().mount_options.get_or_insert_default().push(option.into());
        self
    }

    /// It is reached only from nodes that keep the rule; called again, this rule too.
    #[must_use]
    pub fn on_nodes(mut self, rule: NodeRule) -> Self {
        let affinity = self.spec().node_affinity.get_or_insert_default();
        let terms = &mut affinity.required.get_or_insert_default().node_selector_terms;
        if terms.is_empty() {
            terms.push(core::NodeSelectorTerm::default());
        }
        let rule = core::NodeSelectorRequirement::from(rule);
        for term in terms {
            term.match_expressions.get_or_insert_default().push(rule.clone());
        }
        self
    }

    /// Kept for that claim and no other.
    #[must_use]
    pub fn reserved_for(mut self, claim: &PersistentVolumeClaim) -> Self {
        self.spec().claim_ref = Some(core::ObjectReference {
            name: Some(claim.name().to_owned()),
            namespace: Some(claim.meta().namespace.clone().unwrap_or_else(|| "default".to_owned())),
            ..core::ObjectReference::default()
        });
        self
    }
}

impl Storage for PersistentVolume {
    fn terms_mut(&mut self) -> Terms<'_> {
        let spec = self.spec();
        Terms { access_modes: &mut spec.access_modes, class: &mut spec.storage_class_name, mode: &mut spec.volume_mode }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn disks_say_their_file_system() {
        let spec = |source: Source| serde_json::to_value(source.file_system("xfs").build()).unwrap();
        assert_eq!(spec(Source::csi("ebs.csi.aws.com", "vol-1"))["csi"]["fsType"], "xfs");
        assert_eq!(spec(Source::local("/dev/sdb")), json!({"local": {"path": "/dev/sdb", "fsType": "xfs"}}));
        assert_eq!(spec(Source::gce_disk("d")), json!({"gcePersistentDisk": {"pdName": "d", "fsType": "xfs"}}));
    }

    #[test]
    #[should_panic(expected = "a folder is of a file system already")]
    fn a_folder_has_no_file_system_of_its_own() {
        let _ = Source::nfs("10.0.0.7", "/exports").file_system("ext4");
    }

    #[test]
    fn a_volume_is_offered_anew() {
        let scratch = PersistentVolume::new("scratch", "1Gi", Source::host_path("/scratch")).recycle();
        assert_eq!(scratch.build().spec.unwrap().persistent_volume_reclaim_policy.as_deref(), Some("Recycle"));
    }
}
