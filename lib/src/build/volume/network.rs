//! Volumes that are reached over the network: NFS, storage drivers, iSCSI, Fibre Channel.

use k8s_openapi::api::core::v1 as core;

use super::kinds::named;
use super::{Volume, kind};
use crate::build::text::{DnsLabel, Name, Of};

kind! {
    /// A folder of an NFS server; see [`Volume::nfs`].
    ///
    /// ```
    /// # use kprov::build::*;
    /// let data = Volume::nfs("data", "10.0.0.7", "/exports/data").read_only();
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
    /// ```
    Csi
}

/// What the driver is told.
///
/// ```
/// # use kprov::build::*;
/// let certs = Volume::csi("certs", "csi.cert-manager.io")
///     .attribute("csi.cert-manager.io/issuer-name", "ca")
///     .fs_type("ext4")
///     .read_only();
/// ```
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
    /// ```
    NetworkDisk
}

/// How it is mounted.
///
/// ```
/// # use kprov::build::*;
/// let disk = Volume::iscsi("disk", "10.0.0.8:3260", "iqn.2001-04.com.example:disk", 0).fs_type("xfs").read_only();
/// ```
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

impl Volume {
    /// A folder of an NFS server, which must be there.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let it = Volume::nfs("data", "10.0.0.7", "/exports/data");
    /// ```
    #[must_use]
    #[track_caller]
    pub fn nfs(name: impl Of<DnsLabel>, server: impl Into<String>, path: impl Into<String>) -> Nfs {
        let source = core::NFSVolumeSource { server: server.into(), path: path.into(), read_only: None };
        Nfs(core::Volume { nfs: Some(source), ..named(name) })
    }

    /// A disk by iSCSI: the portal's address, the target's qualified name, the number of the unit.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let disk = Volume::iscsi("disk", "10.0.0.8:3260", "iqn.2001-04.com.example:disk", 0);
    /// ```
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
    ///
    /// ```
    /// # use kprov::build::*;
    /// let disk = Volume::fibre_channel("disk", ["50060e801049cfd1"], 2);
    /// ```
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
    /// ```
    #[must_use]
    #[track_caller]
    pub fn csi(name: impl Of<DnsLabel>, driver: impl Of<Name>) -> Csi {
        let source = core::CSIVolumeSource { driver: driver.checked().into(), ..core::CSIVolumeSource::default() };
        Csi(core::Volume { csi: Some(source), ..named(name) })
    }
}
