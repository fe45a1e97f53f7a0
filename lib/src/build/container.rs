//! One container of a pod.

mod life;
mod ports;
mod resources;

use k8s_openapi::api::core::v1 as core;

use super::env::{EnvFrom, EnvValue};
use super::text::{DnsLabel, EnvName, Image, Of};
use super::volume::{Mount, Mountable, Volume};
use super::wraps::conversions;

/// One container of a pod, and the volumes that it brings along.
///
/// ```
/// use kprov::build::*;
/// let cache = Volume::empty_dir("cache");
/// let web = Container::new("web", "nginx:1.27")
///     .port("http", 80)
///     .env("LEVEL", "info")
///     .mount(&cache, "/var/cache/nginx")
///     .requests("50m", "32Mi")
///     .limits(Cpu::millis(500), Bytes::mib(128))
///     .readiness(Probe::http("/", "http"));
/// assert_eq!(web.build().ports.unwrap()[0].container_port, 80);
/// ```
/// The k8s-openapi struct has no place for volumes: they go to the pod when the container does.
#[derive(Clone, Debug, PartialEq)]
pub struct Container(pub(super) core::Container, pub(super) Vec<core::Volume>);

conversions!(Container, core::Container, Vec::new());

/// When the node fetches an image.
///
/// ```
/// # use kprov::build::*;
/// let web = Container::new("web", "nginx:1.27").pull(Pull::IfNotPresent);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pull {
    /// Before every start; what holds for images without a tag or with `latest`.
    Always,
    /// When it has none of that name; what holds for the others.
    IfNotPresent,
    /// Never: it is already there, or the container does not start.
    Never,
}

/// The image and what is started of it.
///
/// ```
/// # use kprov::build::*;
/// let web = Container::new("web", "shop:1")
///     .image("registry.example.com/shop:2")
///     .pull(Pull::Always)
///     .command(["/bin/shop"])
///     .args(["serve", "--verbose"])
///     .working_dir("/srv");
/// ```
impl Container {
    /// A container of that image.
    #[must_use]
    #[track_caller]
    pub fn new(name: impl Of<DnsLabel>, image: impl Of<Image>) -> Self {
        let (name, image) = (name.checked().into(), Some(image.checked().into()));
        core::Container { name, image, ..core::Container::default() }.into()
    }

    /// Takes another image.
    #[must_use]
    #[track_caller]
    pub fn image(mut self, image: impl Of<Image>) -> Self {
        self.0.image = Some(image.checked().into());
        self
    }

    /// When the node fetches the image.
    #[must_use]
    pub fn pull(mut self, pull: Pull) -> Self {
        self.0.image_pull_policy = Some(format!("{pull:?}"));
        self
    }

    /// Replaces the image's entrypoint. No shell is put around it.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Container::new("web", "nginx:1.27").command(["sh", "-c", "exec nginx -g 'daemon off;'"]);
    /// ```
    #[must_use]
    pub fn command(mut self, command: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.0.command = Some(texts(command));
        self
    }

    /// Replaces the image's arguments.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.0.args = Some(texts(args));
        self
    }

    /// The folder that the program starts in.
    #[must_use]
    pub fn working_dir(mut self, folder: impl Into<String>) -> Self {
        self.0.working_dir = Some(folder.into());
        self
    }

    /// Sets an environment variable, or sets it anew: to a text, a number, a [`super::Field`] of the pod, a key.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Container::new("web", "nginx:1.27").env("LEVEL", "info").env("WORKERS", 4).env("POD_IP", Field::PodIp);
    /// ```
    #[must_use]
    #[track_caller]
    pub fn env(mut self, name: impl Of<EnvName>, value: impl EnvValue) -> Self {
        let variable = value.variable(name.checked().into());
        let variables = self.0.env.get_or_insert_default();
        match variables.iter_mut().find(|one| one.name == variable.name) {
            Some(old) => *old = variable,
            None => variables.push(variable),
        }
        self
    }

    /// Sets an environment variable for every key of a config map or secret.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Container::new("web", "nginx:1.27").env_from(&ConfigMap::new("settings").file("LEVEL", "info"));
    /// ```
    #[must_use]
    #[track_caller]
    pub fn env_from(mut self, source: impl Into<EnvFrom>) -> Self {
        self.0.env_from.get_or_insert_default().push(source.into().into());
        self
    }

    /// Makes a volume appear under a path, and brings it into the pod.
    ///
    /// A config map, secret or claim can be mounted directly. `Mount::at("/data").read_only()` says more.
    /// Panics when something else is mounted there already, or another volume has the same name.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let site = ConfigMap::new("site").file("index.html", "<h1>hello</h1>");
    /// let web = Container::new("web", "nginx:1.27").mount(&site, "/usr/share/nginx/html");
    /// ```
    #[must_use]
    #[track_caller]
    pub fn mount(mut self, volume: impl Mountable, at: impl Into<Mount>) -> Self {
        let volume: core::Volume = volume.volume().into();
        let mount = core::VolumeMount { name: volume.name.clone(), ..at.into().into() };
        self.add_mount(mount);
        Volume::gather(&mut self.1, volume);
        self
    }

    #[track_caller]
    pub(super) fn add_mount(&mut self, mount: core::VolumeMount) {
        let mounts = self.0.volume_mounts.get_or_insert_default();
        let taken = mounts.iter().find(|one| one.mount_path == mount.mount_path);
        if let Some(taken) = taken {
            panic!("container {} has volume {} at {} already", self.0.name, taken.name, taken.mount_path);
        }
        mounts.push(mount);
    }

    /// Gives the container a volume of `volumeMode: Block` as a device.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Container::new("web", "nginx:1.27").device(Volume::claim("raw"), "/dev/xvda");
    /// ```
    #[must_use]
    #[track_caller]
    pub fn device(mut self, volume: impl Mountable, path: impl Into<String>) -> Self {
        let volume: core::Volume = volume.volume().into();
        let device = core::VolumeDevice { name: volume.name.clone(), device_path: path.into() };
        self.0.volume_devices.get_or_insert_default().push(device);
        Volume::gather(&mut self.1, volume);
        self
    }
}

fn texts(texts: impl IntoIterator<Item = impl Into<String>>) -> Vec<String> {
    texts.into_iter().map(Into::into).collect()
}
