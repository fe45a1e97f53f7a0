//! Volumes that hold what containers write.

use k8s_openapi::api::core::v1 as core;

use super::{Volume, kind, name_after};
use crate::build::amount::Bytes;
use crate::build::container::Pull;
use crate::build::object::{Named, Object};
use crate::build::storage::PersistentVolumeClaim;
use crate::build::text::{DnsLabel, Image, Name, Of};

fn named(name: impl Of<DnsLabel>) -> core::Volume {
    core::Volume { name: name.checked().into(), ..core::Volume::default() }
}

kind! {
    /// An empty folder that lives as long as the pod; see [`Volume::empty_dir`].
    ///
    /// ```
    /// # use kprov::build::*;
    /// let cache = Volume::empty_dir("cache").in_memory();
    /// # let _ = cache;
    /// ```
    EmptyDir
}

impl EmptyDir {
    fn source(&mut self) -> &mut core::EmptyDirVolumeSource {
        self.0.empty_dir.get_or_insert_default()
    }

    /// Keeps it in memory, which counts against the containers' limits.
    #[must_use]
    pub fn in_memory(mut self) -> Self {
        self.source().medium = Some("Memory".to_owned());
        self
    }

    /// Evicts the pod when it holds more.
    #[must_use]
    #[track_caller]
    pub fn size_limit(mut self, size: impl Of<Bytes>) -> Self {
        self.source().size_limit = Some(size.checked().into());
        self
    }
}

kind! {
    /// A path of the node; see [`Volume::host_path`].
    ///
    /// ```
    /// # use kprov::build::*;
    /// let logs = Volume::host_path("logs", "/var/log");
    /// # let _ = logs;
    /// ```
    HostPath
}

/// What must be at a path of the node before the pod starts.
///
/// ```
/// # use kprov::build::*;
/// let logs = Volume::host_path("logs", "/var/log").must_be(HostPathType::Directory);
/// # let _ = logs;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostPathType {
    /// A folder, which is made when nothing is there.
    DirectoryOrCreate,
    /// A folder.
    Directory,
    /// A file, which is made when nothing is there.
    FileOrCreate,
    /// A file.
    File,
    /// A Unix socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

impl HostPath {
    /// What must be there before the pod starts; without it nothing is checked.
    #[must_use]
    pub fn must_be(mut self, what: HostPathType) -> Self {
        self.0.host_path.get_or_insert_default().type_ = Some(format!("{what:?}"));
        self
    }
}

kind! {
    /// Storage that a claim holds; see [`Volume::claim`].
    ///
    /// ```
    /// # use kprov::build::*;
    /// let data = Volume::claim("data").read_only();
    /// # let _ = data;
    /// ```
    Claimed
}

impl Claimed {
    /// For reading only, in all containers.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.0.persistent_volume_claim.get_or_insert_default().read_only = Some(true);
        self
    }
}

kind! {
    /// A folder of an NFS server; see [`Volume::nfs`].
    ///
    /// ```
    /// # use kprov::build::*;
    /// let data = Volume::nfs("data", "10.0.0.7", "/exports/data").read_only();
    /// # let _ = data;
    /// ```
    Nfs
}

impl Nfs {
    /// For reading only, in all containers.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.0.nfs.get_or_insert_default().read_only = Some(true);
        self
    }
}

kind! {
    /// A volume that a storage driver makes for the pod; see [`Volume::csi`].
    ///
    /// ```
    /// # use kprov::build::*;
    /// let vault = Volume::csi("vault", "secrets-store.csi.k8s.io").read_only();
    /// # let _ = vault;
    /// ```
    Csi
}

impl Csi {
    fn source(&mut self) -> &mut core::CSIVolumeSource {
        self.0.csi.get_or_insert_default()
    }

    /// Tells the driver something.
    #[must_use]
    pub fn attribute(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.source().volume_attributes.get_or_insert_default().insert(key.into(), value.into());
        self
    }

    /// The file system, such as `ext4`; the driver chooses without it.
    #[must_use]
    pub fn fs_type(mut self, fs_type: impl Into<String>) -> Self {
        self.source().fs_type = Some(fs_type.into());
        self
    }

    /// For reading only, in all containers.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.source().read_only = Some(true);
        self
    }
}

kind! {
    /// A disk that is reached over the network's own protocols; see [`Volume::iscsi`] and [`Volume::fibre_channel`].
    ///
    /// ```
    /// # use kprov::build::*;
    /// let disk = Volume::iscsi("disk", "10.0.0.8:3260", "iqn.2001-04.com.example:disk", 0).fs_type("ext4");
    /// # let _ = disk;
    /// ```
    NetworkDisk
}

impl NetworkDisk {
    /// The file system, such as `ext4`.
    #[must_use]
    pub fn fs_type(mut self, fs_type: impl Into<String>) -> Self {
        let fs_type = Some(fs_type.into());
        if let Some(disk) = &mut self.0.iscsi {
            disk.fs_type = fs_type;
        } else if let Some(disk) = &mut self.0.fc {
            disk.fs_type = fs_type;
        }
        self
    }

    /// For reading only, in all containers.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        if let Some(disk) = &mut self.0.iscsi {
            disk.read_only = Some(true);
        } else if let Some(disk) = &mut self.0.fc {
            disk.read_only = Some(true);
        }
        self
    }
}

kind! {
    /// A claim that lives as long as the pod; see [`Volume::ephemeral`].
    ///
    /// ```
    /// # use kprov::build::*;
    /// let scratch = Volume::ephemeral("scratch", PersistentVolumeClaim::new("scratch", "10Gi"));
    /// # let _ = scratch;
    /// ```
    Ephemeral
}

kind! {
    /// The files of a container image; see [`Volume::image`].
    ///
    /// ```
    /// # use kprov::build::*;
    /// let model = Volume::image("model", "registry.example.com/models/small:1").pull(Pull::Always);
    /// # let _ = model;
    /// ```
    ImageVolume
}

impl ImageVolume {
    /// When the node fetches the image.
    #[must_use]
    pub fn pull(mut self, pull: Pull) -> Self {
        self.0.image.get_or_insert_default().pull_policy = Some(format!("{pull:?}"));
        self
    }
}

impl Volume {
    /// An empty folder that containers of a pod share and that lives as long as the pod.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let it = Volume::empty_dir("cache").in_memory().size_limit(Bytes::mib(64));
    /// # let _ = it;
    /// ```
    #[must_use]
    #[track_caller]
    pub fn empty_dir(name: impl Of<DnsLabel>) -> EmptyDir {
        EmptyDir(core::Volume { empty_dir: Some(core::EmptyDirVolumeSource::default()), ..named(name) })
    }

    /// A path of the node that the pod happens to run on. Whoever may use it may change the node.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let it = Volume::host_path("logs", "/var/log").must_be(HostPathType::Directory);
    /// # let _ = it;
    /// ```
    #[must_use]
    #[track_caller]
    pub fn host_path(name: impl Of<DnsLabel>, path: impl Into<String>) -> HostPath {
        let source = core::HostPathVolumeSource { path: path.into(), type_: None };
        HostPath(core::Volume { host_path: Some(source), ..named(name) })
    }

    /// Storage that a claim holds, under the claim's name.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Container::new("web", "shop:1").mount(Volume::claim("data").read_only(), "/data");
    /// # let _ = web;
    /// ```
    #[must_use]
    #[track_caller]
    pub fn claim(claim: impl Named<PersistentVolumeClaim>) -> Claimed {
        let (name, claim_name) = name_after(claim);
        let source = core::PersistentVolumeClaimVolumeSource { claim_name, read_only: None };
        Claimed(core::Volume { name, persistent_volume_claim: Some(source), ..core::Volume::default() })
    }

    /// A folder of an NFS server, which must be there.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let it = Volume::nfs("data", "10.0.0.7", "/exports/data");
    /// # let _ = it;
    /// ```
    #[must_use]
    #[track_caller]
    pub fn nfs(name: impl Of<DnsLabel>, server: impl Into<String>, path: impl Into<String>) -> Nfs {
        let source = core::NFSVolumeSource { server: server.into(), path: path.into(), read_only: None };
        Nfs(core::Volume { nfs: Some(source), ..named(name) })
    }

    /// A disk by iSCSI: the portal's address, the target's qualified name, the number of the unit.
    #[must_use]
    #[track_caller]
    pub fn iscsi(name: impl Of<DnsLabel>, portal: impl Into<String>, iqn: impl Into<String>, lun: u8) -> NetworkDisk {
        let source = core::ISCSIVolumeSource {
            target_portal: portal.into(),
            iqn: iqn.into(),
            lun: i32::from(lun),
            ..core::ISCSIVolumeSource::default()
        };
        NetworkDisk(core::Volume { iscsi: Some(source), ..named(name) })
    }

    /// A disk by Fibre Channel: the targets' world wide names, the number of the unit.
    #[must_use]
    #[track_caller]
    pub fn fibre_channel(
        name: impl Of<DnsLabel>,
        targets: impl IntoIterator<Item = impl Into<String>>,
        lun: u8,
    ) -> NetworkDisk {
        let targets = targets.into_iter().map(Into::into).collect();
        let source = core::FCVolumeSource {
            target_wwns: Some(targets),
            lun: Some(i32::from(lun)),
            ..core::FCVolumeSource::default()
        };
        NetworkDisk(core::Volume { fc: Some(source), ..named(name) })
    }

    /// A volume that a storage driver makes for this pod alone.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let it = Volume::csi("vault", "secrets-store.csi.k8s.io").attribute("secretProviderClass", "db");
    /// # let _ = it;
    /// ```
    #[must_use]
    #[track_caller]
    pub fn csi(name: impl Of<DnsLabel>, driver: impl Of<Name>) -> Csi {
        let source = core::CSIVolumeSource { driver: driver.checked().into(), ..core::CSIVolumeSource::default() };
        Csi(core::Volume { csi: Some(source), ..named(name) })
    }

    /// A claim that is made with the pod and deleted with it; the claim's own name is not used.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let it = Volume::ephemeral("scratch", PersistentVolumeClaim::new("scratch", Bytes::gib(10)));
    /// # let _ = it;
    /// ```
    #[must_use]
    #[track_caller]
    pub fn ephemeral(name: impl Of<DnsLabel>, claim: PersistentVolumeClaim) -> Ephemeral {
        let mut metadata = claim.meta().clone();
        metadata.name = None;
        let template = core::PersistentVolumeClaimTemplate {
            metadata: (metadata != Default::default()).then_some(metadata),
            spec: claim.build().spec.unwrap_or_default(),
        };
        let source = core::EphemeralVolumeSource { volume_claim_template: Some(template) };
        Ephemeral(core::Volume { ephemeral: Some(source), ..named(name) })
    }

    /// The files of a container image, for reading.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let it = Volume::image("model", "registry.example.com/models/small:1");
    /// # let _ = it;
    /// ```
    #[must_use]
    #[track_caller]
    pub fn image(name: impl Of<DnsLabel>, image: impl Of<Image>) -> ImageVolume {
        let source = core::ImageVolumeSource { reference: Some(image.checked().into()), pull_policy: None };
        ImageVolume(core::Volume { image: Some(source), ..named(name) })
    }
}
