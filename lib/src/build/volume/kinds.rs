//! Volumes that hold what containers write.

use k8s_openapi::api::core::v1 as core;

use super::{Volume, kind, name_after};
use crate::build::amount::Bytes;
use crate::build::container::Pull;
use crate::build::object::{Named, Object};
use crate::build::storage::PersistentVolumeClaim;
use crate::build::text::{DnsLabel, Image, Of};

pub(super) fn named(name: impl Of<DnsLabel>) -> core::Volume {
    core::Volume { name: name.checked().into(), ..core::Volume::default() }
}

kind! {
    /// An empty folder that lives as long as the pod; see [`Volume::empty_dir`].
    ///
    /// ```
    /// # use kprov::build::*;
    /// let cache = Volume::empty_dir("cache").in_memory();
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
    ///
    /// ```
    /// # use kprov::build::*;
    /// let cache = Volume::empty_dir("cache").size_limit("64Mi");
    /// ```
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
    /// ```
    HostPath
}

/// What must be at a path of the node before the pod starts.
///
/// ```
/// # use kprov::build::*;
/// let logs = Volume::host_path("logs", "/var/log").must_be(HostPathType::Directory);
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
    ///
    /// ```
    /// # use kprov::build::*;
    /// let socket = Volume::host_path("socket", "/run/app.sock").must_be(HostPathType::Socket);
    /// ```
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
    /// A claim that lives as long as the pod; see [`Volume::ephemeral`].
    ///
    /// ```
    /// # use kprov::build::*;
    /// let scratch = Volume::ephemeral("scratch", PersistentVolumeClaim::new("scratch", "10Gi"));
    /// ```
    Ephemeral
}

kind! {
    /// The files of a container image; see [`Volume::image`].
    ///
    /// ```
    /// # use kprov::build::*;
    /// let model = Volume::image("model", "registry.example.com/models/small:1").pull(Pull::Always);
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
    /// ```
    #[must_use]
    #[track_caller]
    pub fn claim(claim: impl Named<PersistentVolumeClaim>) -> Claimed {
        let (name, claim_name) = name_after(claim);
        let source = core::PersistentVolumeClaimVolumeSource { claim_name, read_only: None };
        Claimed(core::Volume { name, persistent_volume_claim: Some(source), ..core::Volume::default() })
    }

    /// A claim that is made with the pod and deleted with it; the claim's own name is not used.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let it = Volume::ephemeral("scratch", PersistentVolumeClaim::new("scratch", Bytes::gib(10)));
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
    /// ```
    #[must_use]
    #[track_caller]
    pub fn image(name: impl Of<DnsLabel>, image: impl Of<Image>) -> ImageVolume {
        let source = core::ImageVolumeSource { reference: Some(image.checked().into()), pull_policy: None };
        ImageVolume(core::Volume { image: Some(source), ..named(name) })
    }
}
