//! Volumes, and where they appear in a container.

mod files;
mod kinds;
mod network;

use k8s_openapi::api::core::v1 as core;

pub use files::{Downward, Files, InFile, MetaField, Projected};
pub use kinds::{Claimed, EmptyDir, Ephemeral, HostPath, HostPathType, ImageVolume};
pub use network::{Csi, NetworkDisk, Nfs};

use super::config::ConfigMap;
use super::object::Named;
use super::secret::Secret;
use super::storage::PersistentVolumeClaim;
use super::text::{DnsLabel, Of};
use super::wraps::part;

part! {
    /// A volume of a pod, of any kind.
    ///
    /// Its functions make the kinds, each with the settings that it has and no others. [`super::Container::mount`]
    /// brings a volume into the pod; a volume that is mounted twice is one volume. The disks of clouds, which once had
    /// kinds of their own (`awsElasticBlockStore`, `gcePersistentDisk`, `azureDisk` ..), are claimed from a storage class.
    ///
    /// ```
    /// use kprov::build::*;
    /// let logs = Volume::empty_dir("logs");
    /// let pod = Pod::new("web", Container::new("nginx", "nginx:1.27").mount(&logs, "/var/log/nginx"))
    ///     .container(Container::new("tail", "busybox").mount(&logs, Mount::at("/logs").read_only()));
    /// assert_eq!(pod.build().spec.unwrap().volumes.unwrap().len(), 1);
    /// ```
    /// Source: <https://kubernetes.io/docs/concepts/storage/volumes/>
    Volume(core::Volume)
}

impl Volume {
    /// Puts a volume among others unless it is there already.
    ///
    /// Panics when another volume has its name: the containers could not tell them apart.
    #[track_caller]
    pub(super) fn gather(volumes: &mut Vec<core::Volume>, volume: core::Volume) {
        match volumes.iter().find(|one| one.name == volume.name) {
            None => volumes.push(volume),
            Some(same) => assert!(
                *same == volume,
                "two different volumes are named {:?}: give one another name with `named(\"..\")`",
                volume.name
            ),
        }
    }
}

/// What can be mounted in a container: a volume, or an object that becomes one of the same name.
///
/// ```
/// # use kprov::build::*;
/// let site = ConfigMap::new("site").file("index.html", "hello");
/// let web = Container::new("web", "nginx:1.27").mount(&site, "/html").mount(Volume::empty_dir("cache"), "/cache");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be mounted",
    note = "mount a reference to a volume (`&Volume::empty_dir(\"cache\")`), a `ConfigMap`, a `Secret` or a `PersistentVolumeClaim`"
)]
pub trait Mountable {
    /// The volume.
    ///
    /// ```
    /// # use kprov::build::*;
    /// assert_eq!(Volume::empty_dir("cache").volume().build().name, "cache");
    /// ```
    #[track_caller]
    fn volume(self) -> Volume;
}

#[diagnostic::do_not_recommend]
impl Mountable for Volume {
    fn volume(self) -> Volume {
        self
    }
}

#[diagnostic::do_not_recommend]
impl Mountable for &Volume {
    fn volume(self) -> Volume {
        self.clone()
    }
}

#[diagnostic::do_not_recommend]
impl Mountable for &ConfigMap {
    fn volume(self) -> Volume {
        Volume::config_map(self).into()
    }
}

#[diagnostic::do_not_recommend]
impl Mountable for &Secret {
    fn volume(self) -> Volume {
        Volume::secret(self).into()
    }
}

#[diagnostic::do_not_recommend]
impl Mountable for &PersistentVolumeClaim {
    fn volume(self) -> Volume {
        Volume::claim(self).into()
    }
}

/// A volume's name made from the name of what it holds: dots are not allowed, nor more than 63 characters.
#[track_caller]
pub(super) fn name_after<K>(object: impl Named<K>) -> (String, String) {
    let object: String = object.object_name().into();
    let mut name = object.replace('.', "-");
    name.truncate(63);
    (name.trim_end_matches('-').to_owned(), object)
}

part! {
    /// Where a volume appears in a container, and how.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let it = Mount::at("/usr/share/nginx/html").sub_path("html").read_only();
    /// ```
    Mount(core::VolumeMount)
}

/// Whether mounts made later are seen on the other side.
///
/// ```
/// # use kprov::build::*;
/// let mounts = Volume::host_path("mounts", "/mnt");
/// let web = Container::new("web", "nginx:1.27").mount(&mounts, Mount::at("/mnt").propagation(Propagation::HostToContainer));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// In neither direction; what holds without it.
    None,
    /// Mounts of the host appear in the container.
    HostToContainer,
    /// In both directions; the container must be privileged.
    Bidirectional,
}

/// How the container sees the volume.
///
/// ```
/// # use kprov::build::*;
/// let html = Mount::at("/usr/share/nginx/html").read_only().sub_path("site/html");
/// let logs = Mount::at("/logs").sub_path_expr("logs/$(POD_NAME)");
/// let driver = Mount::at("/mnt").propagation(Propagation::Bidirectional);
/// ```
impl Mount {
    /// The whole volume at that path, for reading and writing.
    #[must_use]
    pub fn at(path: impl Into<String>) -> Self {
        Self(core::VolumeMount { mount_path: path.into(), ..core::VolumeMount::default() })
    }

    /// For reading only.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.0.read_only = Some(true);
        self
    }

    /// One folder or file of the volume, which is made when it is missing. It does not follow later changes of a
    /// config map or secret.
    #[must_use]
    pub fn sub_path(mut self, path: impl Into<String>) -> Self {
        self.0.sub_path = Some(path.into());
        self
    }

    /// The same with environment variables in it: `logs/$(POD_NAME)`.
    #[must_use]
    pub fn sub_path_expr(mut self, path: impl Into<String>) -> Self {
        self.0.sub_path_expr = Some(path.into());
        self
    }

    /// Whether mounts made later are seen on the other side.
    #[must_use]
    pub fn propagation(mut self, propagation: Propagation) -> Self {
        self.0.mount_propagation = Some(format!("{propagation:?}"));
        self
    }
}

impl From<&str> for Mount {
    fn from(path: &str) -> Self {
        Self::at(path)
    }
}

impl From<String> for Mount {
    fn from(path: String) -> Self {
        Self::at(path)
    }
}

/// Declares a kind of volume: what all kinds can do.
macro_rules! kind {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name(core::Volume);

        /// ```
        /// # use kprov::build::*;
        /// let one = Volume::empty_dir("cache").named("scratch");
        /// assert_eq!(one.build().name, "scratch");
        /// ```
        impl $name {
            /// Gives the volume another name.
            #[must_use]
            #[track_caller]
            pub fn named(mut self, name: impl Of<DnsLabel>) -> Self {
                self.0.name = name.checked().into();
                self
            }

            /// The k8s-openapi struct.
            #[must_use]
            pub fn build(&self) -> core::Volume {
                self.0.clone()
            }
        }

        impl From<$name> for Volume {
            fn from(volume: $name) -> Self {
                Self(volume.0)
            }
        }

        impl From<$name> for core::Volume {
            fn from(volume: $name) -> Self {
                volume.0
            }
        }

        impl PartialEq<Volume> for $name {
            fn eq(&self, other: &Volume) -> bool {
                self.0 == other.0
            }
        }

        #[diagnostic::do_not_recommend]
        impl $crate::build::Mountable for $name {
            fn volume(self) -> Volume {
                self.into()
            }
        }

        #[diagnostic::do_not_recommend]
        impl $crate::build::Mountable for &$name {
            fn volume(self) -> Volume {
                self.clone().into()
            }
        }
    };
}
use kind;

impl Volume {
    /// Gives the volume another name.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let site = Volume::from(Volume::config_map("site-v2")).named("site");
    /// ```
    #[must_use]
    #[track_caller]
    pub fn named(mut self, name: impl Of<DnsLabel>) -> Self {
        self.0.name = name.checked().into();
        self
    }
}
