//! One container of a pod.

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::amount::{Bytes, Cpu, Port};
use super::env::{EnvFrom, EnvValue};
use super::probe::{Hook, Liveness, Readiness};
use super::text::{DnsLabel, EnvName, Image, Key, Of, PortName};
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
/// # let _ = web;
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
    /// # let _ = web;
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

    /// Names a TCP port that the program listens on.
    ///
    /// Panics when the container has a port of that name already.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Container::new("web", "nginx:1.27").port("http", 80).port("metrics", 9090);
    /// # let _ = web;
    /// ```
    #[must_use]
    #[track_caller]
    pub fn port(self, name: impl Of<PortName>, number: impl Of<Port>) -> Self {
        self.add_port(Some(name.checked()), number.checked(), None)
    }

    /// Names a UDP port that the program listens on.
    #[must_use]
    #[track_caller]
    pub fn udp_port(self, name: impl Of<PortName>, number: impl Of<Port>) -> Self {
        self.add_port(Some(name.checked()), number.checked(), Some("UDP"))
    }

    /// Names an SCTP port that the program listens on.
    #[must_use]
    #[track_caller]
    pub fn sctp_port(self, name: impl Of<PortName>, number: impl Of<Port>) -> Self {
        self.add_port(Some(name.checked()), number.checked(), Some("SCTP"))
    }

    /// A TCP port without a name; services reach it by its number.
    #[must_use]
    #[track_caller]
    pub fn unnamed_port(self, number: impl Of<Port>) -> Self {
        self.add_port(None, number.checked(), None)
    }

    /// Names a TCP port that is also reached under a port of the node. A service is nearly always the better way: only one
    /// pod on a node can have that port.
    #[must_use]
    #[track_caller]
    pub fn host_port(self, name: impl Of<PortName>, number: impl Of<Port>, on_host: impl Of<Port>) -> Self {
        let on_host = on_host.checked().into();
        let mut container = self.add_port(Some(name.checked()), number.checked(), None);
        if let Some(port) = container.0.ports.iter_mut().flatten().last() {
            port.host_port = Some(on_host);
        }
        container
    }

    #[track_caller]
    fn add_port(mut self, name: Option<PortName>, number: Port, protocol: Option<&str>) -> Self {
        let name: Option<String> = name.map(Into::into);
        let ports = self.0.ports.get_or_insert_default();
        let taken = name.is_some() && ports.iter().any(|port| port.name == name);
        assert!(!taken, "container {} has a port named {} already", self.0.name, name.unwrap_or_default());
        ports.push(core::ContainerPort {
            name,
            container_port: number.into(),
            protocol: protocol.map(str::to_owned),
            ..core::ContainerPort::default()
        });
        self
    }

    /// Sets an environment variable, or sets it anew: to a text, a number, a [`super::Field`] of the pod, a key.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Container::new("web", "nginx:1.27").env("LEVEL", "info").env("WORKERS", 4).env("POD_IP", Field::PodIp);
    /// # let _ = web;
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
    /// # let _ = web;
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
    /// # let _ = web;
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
    /// # let _ = web;
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

    /// What it is promised: processor time (`250m` is a quarter of a core) and memory (`64Mi`).
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Container::new("web", "nginx:1.27").requests("100m", Bytes::mib(64));
    /// # let _ = web;
    /// ```
    #[must_use]
    #[track_caller]
    pub fn requests(self, cpu: impl Of<Cpu>, memory: impl Of<Bytes>) -> Self {
        self.request("cpu", cpu.checked()).request("memory", memory.checked())
    }

    /// What it may not exceed: it is slowed down at its processor time, and ended beyond its memory.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Container::new("web", "nginx:1.27").limits(Cpu::cores(1), "128Mi");
    /// # let _ = web;
    /// ```
    #[must_use]
    #[track_caller]
    pub fn limits(self, cpu: impl Of<Cpu>, memory: impl Of<Bytes>) -> Self {
        self.limit("cpu", cpu.checked()).limit("memory", memory.checked())
    }

    /// One thing that it is promised, such as `memory` or `ephemeral-storage`.
    #[must_use]
    #[track_caller]
    pub fn request(mut self, resource: impl Of<Key>, amount: impl Into<Quantity>) -> Self {
        let requests = self.0.resources.get_or_insert_default().requests.get_or_insert_default();
        requests.insert(resource.checked().into(), amount.into());
        self
    }

    /// One thing that it may not exceed, such as `memory` or `nvidia.com/gpu`.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let train = Container::new("train", "shop:1").limit("memory", Bytes::gib(1)).limit("nvidia.com/gpu", Cpu::cores(1));
    /// # let _ = train;
    /// ```
    #[must_use]
    #[track_caller]
    pub fn limit(mut self, resource: impl Of<Key>, amount: impl Into<Quantity>) -> Self {
        let limits = self.0.resources.get_or_insert_default().limits.get_or_insert_default();
        limits.insert(resource.checked().into(), amount.into());
        self
    }

    /// Decides whether the container gets traffic.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Container::new("web", "nginx:1.27").port("http", 80).readiness(Probe::http("/ready", "http"));
    /// # let _ = web;
    /// ```
    #[must_use]
    pub fn readiness(mut self, probe: impl Readiness) -> Self {
        self.0.readiness_probe = Some(probe.into());
        self
    }

    /// Decides whether the container is restarted.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Container::new("web", "nginx:1.27").liveness(Probe::tcp(80).failures(5));
    /// # let _ = web;
    /// ```
    #[must_use]
    pub fn liveness(mut self, probe: impl Liveness) -> Self {
        self.0.liveness_probe = Some(probe.into());
        self
    }

    /// Holds the other probes back until it has succeeded once.
    ///
    /// ```
    /// # use kprov::build::*;
    /// use std::time::Duration;
    /// let web = Container::new("web", "nginx:1.27").startup(Probe::tcp(80).period(Duration::from_secs(2)).failures(30));
    /// # let _ = web;
    /// ```
    #[must_use]
    pub fn startup(mut self, probe: impl Liveness) -> Self {
        self.0.startup_probe = Some(probe.into());
        self
    }

    /// What is done when the container has started.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Container::new("web", "nginx:1.27").post_start(Hook::exec(["/bin/register"]));
    /// # let _ = web;
    /// ```
    #[must_use]
    pub fn post_start(mut self, hook: Hook) -> Self {
        self.0.lifecycle.get_or_insert_default().post_start = Some(hook.into());
        self
    }

    /// What is done before the container is told to end.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Container::new("web", "nginx:1.27").pre_stop(Hook::exec(["nginx", "-s", "quit"]));
    /// # let _ = web;
    /// ```
    #[must_use]
    pub fn pre_stop(mut self, hook: Hook) -> Self {
        self.0.lifecycle.get_or_insert_default().pre_stop = Some(hook.into());
        self
    }

    /// Keeps standard input open, for `kubectl attach`.
    #[must_use]
    pub fn stdin(mut self) -> Self {
        self.0.stdin = Some(true);
        self
    }

    /// Gives the program a terminal, with standard input.
    #[must_use]
    pub fn tty(mut self) -> Self {
        self.0.tty = Some(true);
        self.stdin()
    }

    /// The file whose text becomes the reason when the container ends; `/dev/termination-log` without it.
    #[must_use]
    pub fn termination_message(mut self, path: impl Into<String>) -> Self {
        self.0.termination_message_path = Some(path.into());
        self
    }

    /// Takes the last lines of the log for the reason when a container fails and has written none.
    #[must_use]
    pub fn termination_message_from_log(mut self) -> Self {
        self.0.termination_message_policy = Some("FallbackToLogsOnError".to_owned());
        self
    }
}

fn texts(texts: impl IntoIterator<Item = impl Into<String>>) -> Vec<String> {
    texts.into_iter().map(Into::into).collect()
}
