//! What can be said of pods wherever they are described: alone, in a template, in every workload.

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use super::account::ServiceAccount;
use super::amount::Time;
use super::container::Container;
use super::object::Named;
use super::secret::Secret;
use super::security;
use super::text::{Key, LabelValue, Name, Of};
use super::volume::{Mountable, Volume};

/// Everything that has the description of a pod.
///
/// ```
/// use kprov::build::*;
/// let web = Deployment::new("web", Container::new("web", "nginx:1.27"))
///     .init(Container::new("migrate", "shop:1").args(["migrate"]))
///     .sidecar(Container::new("log", "fluent-bit:4"))
///     .pod_annotation("example.com/scrape", "true");
/// assert_eq!(web.build().spec.template.spec.unwrap().init_containers.unwrap().len(), 2);
/// ```
pub trait Pods: Sized {
    /// The pods' metadata and description; `None` is what nothing has been said about yet.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Pod::new("web", Container::new("web", "nginx:1.27"));
    /// assert_eq!(web.pod().1.unwrap().containers[0].name, "web");
    /// ```
    fn pod(&self) -> (Option<&ObjectMeta>, Option<&core::PodSpec>);

    /// The pods' metadata and description, to change by hand.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let mut web = Pod::new("web", Container::new("web", "nginx:1.27"));
    /// web.pod_mut().1.set_hostname_as_fqdn = Some(true);
    /// ```
    fn pod_mut(&mut self) -> (&mut ObjectMeta, &mut core::PodSpec);

    /// What the workload selects its pods by; the labels in it can't be changed on the pods alone.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Deployment::new("web", Container::new("web", "nginx:1.27")).labelled("app", "web");
    /// assert_eq!(web.pod_selector(), Some(&web.label_selector()));
    /// ```
    fn pod_selector(&self) -> Option<&LabelSelector> {
        None
    }

    /// Changes the pods' description by hand, for what has no method.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Deployment::new("web", Container::new("web", "nginx:1.27").port("http", 80)).edit_pod(|pod| pod.host_users = Some(false));
    /// ```
    #[must_use]
    fn edit_pod(mut self, change: impl FnOnce(&mut core::PodSpec)) -> Self {
        change(self.pod_mut().1);
        self
    }

    /// Adds a container, with its volumes.
    ///
    /// Panics when the pod has a container of that name, or another volume of one of the names.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Deployment::new("web", Container::new("web", "nginx:1.27").port("http", 80)).container(Container::new("log", "fluent-bit:4"));
    /// ```
    #[must_use]
    #[track_caller]
    fn container(mut self, container: Container) -> Self {
        let spec = self.pod_mut().1;
        let container = admit(spec, container);
        spec.containers.push(container);
        self
    }

    /// Adds a container that must end well before the next one, and the pod's main containers, start.
    ///
    /// Panics as [`Pods::container`] does, and when it has a probe or a hook: those are for what goes on running.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Deployment::new("web", Container::new("web", "nginx:1.27").port("http", 80)).init(Container::new("migrate", "shop:1").args(["migrate"]));
    /// ```
    #[must_use]
    #[track_caller]
    fn init(mut self, container: Container) -> Self {
        let raw = container.as_ref();
        let lasting = raw.readiness_probe.is_some() || raw.liveness_probe.is_some() || raw.startup_probe.is_some();
        assert!(
            !lasting && raw.lifecycle.is_none(),
            "init container {} has probes or hooks, which are for containers that go on running: make it a `sidecar`",
            raw.name
        );
        let spec = self.pod_mut().1;
        let container = admit(spec, container);
        spec.init_containers.get_or_insert_default().push(container);
        self
    }

    /// Adds a container that starts before the main ones, runs beside them and ends after them.
    ///
    /// Panics as [`Pods::container`] does.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Deployment::new("web", Container::new("web", "nginx:1.27").port("http", 80)).sidecar(Container::new("log", "fluent-bit:4").readiness(Probe::tcp(2020)));
    /// ```
    #[must_use]
    #[track_caller]
    fn sidecar(mut self, container: Container) -> Self {
        let spec = self.pod_mut().1;
        let mut container = admit(spec, container);
        container.restart_policy = Some("Always".to_owned());
        spec.init_containers.get_or_insert_default().push(container);
        self
    }

    /// Adds a volume that no container mounts through [`Container::mount`].
    ///
    /// Panics when another volume has its name.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Deployment::new("web", Container::new("web", "nginx:1.27").port("http", 80)).volume(Volume::empty_dir("cache"));
    /// ```
    #[must_use]
    #[track_caller]
    fn volume(mut self, volume: impl Mountable) -> Self {
        let volume = volume.volume().into();
        Volume::gather(self.pod_mut().1.volumes.get_or_insert_default(), volume);
        self
    }

    /// Adds a label to the pods.
    ///
    /// Panics when the workload selects by a label of that key: it would no longer find its pods.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Deployment::new("web", Container::new("web", "nginx:1.27").port("http", 80)).pod_label("version", "v1");
    /// ```
    #[must_use]
    #[track_caller]
    fn pod_label(mut self, key: impl Of<Key>, value: impl Of<LabelValue>) -> Self {
        let (key, value): (String, String) = (key.checked().into(), value.checked().into());
        let selected = self.pod_selector().and_then(|selector| selector.match_labels.as_ref()?.get(&key));
        if let Some(selected) = selected.filter(|selected| **selected != value) {
            panic!("the pods are selected by {key}={selected}: say `labelled(\"{key}\", \"{value}\")` instead");
        }
        self.pod_mut().0.labels.get_or_insert_default().insert(key, value);
        self
    }

    /// Adds an annotation to the pods.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Deployment::new("web", Container::new("web", "nginx:1.27")).pod_annotation("example.com/scrape", "true");
    /// ```
    #[must_use]
    #[track_caller]
    fn pod_annotation(mut self, key: impl Of<Key>, value: impl Into<String>) -> Self {
        self.pod_mut().0.annotations.get_or_insert_default().insert(key.checked().into(), value.into());
        self
    }

    /// Who the programs are when they talk to the API server.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Deployment::new("web", Container::new("web", "nginx:1.27").port("http", 80)).service_account(&ServiceAccount::new("web"));
    /// ```
    #[must_use]
    #[track_caller]
    fn service_account(mut self, account: impl Named<ServiceAccount>) -> Self {
        self.pod_mut().1.service_account_name = Some(account.object_name().into());
        self
    }

    /// Gives the containers no token of the service account.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Deployment::new("web", Container::new("web", "nginx:1.27")).no_account_token();
    /// ```
    #[must_use]
    fn no_account_token(mut self) -> Self {
        self.pod_mut().1.automount_service_account_token = Some(false);
        self
    }

    /// Fetches images with what this secret says about a registry.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Deployment::new("web", Container::new("web", "nginx:1.27").port("http", 80)).pull_secret("registry");
    /// ```
    #[must_use]
    #[track_caller]
    fn pull_secret(mut self, secret: impl Named<Secret>) -> Self {
        let reference = core::LocalObjectReference { name: secret.object_name().into() };
        self.pod_mut().1.image_pull_secrets.get_or_insert_default().push(reference);
        self
    }

    /// How long containers may take to end when they are told to; 30 s without it.
    ///
    /// ```
    /// # use kprov::build::*;
    /// use std::time::Duration;
    /// let web = Deployment::new("web", Container::new("web", "nginx:1.27").port("http", 80)).grace(Duration::from_secs(60));
    /// ```
    #[must_use]
    #[track_caller]
    fn grace(mut self, time: impl Time) -> Self {
        self.pod_mut().1.termination_grace_period_seconds = Some(time.whole_seconds());
        self
    }

    /// Lets the containers see each other's processes.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Pod::new("web", Container::new("web", "nginx:1.27")).container(Container::new("debug", "busybox")).share_processes();
    /// ```
    #[must_use]
    fn share_processes(mut self) -> Self {
        self.pod_mut().1.share_process_namespace = Some(true);
        self
    }

    /// Tells the containers nothing of services in their environment; DNS knows them anyway.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Deployment::new("web", Container::new("web", "nginx:1.27")).no_service_links();
    /// ```
    #[must_use]
    fn no_service_links(mut self) -> Self {
        self.pod_mut().1.enable_service_links = Some(false);
        self
    }

    /// The class of container runtime, where nodes have several.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let foreign = Deployment::new("foreign", Container::new("run", "shop:1")).runtime_class("gvisor");
    /// ```
    #[must_use]
    #[track_caller]
    fn runtime_class(mut self, class: impl Of<Name>) -> Self {
        self.pod_mut().1.runtime_class_name = Some(class.checked().into());
        self
    }

    /// Leaves containers that have ended as they are.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let once = Pod::new("once", Container::new("report", "shop:1")).never_restart();
    /// ```
    #[must_use]
    fn never_restart(mut self) -> Self
    where
        Self: Ends,
    {
        self.pod_mut().1.restart_policy = Some("Never".to_owned());
        self
    }

    /// Starts containers again, in the same pod, that have ended with another code than 0.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let load = Job::new("load", Container::new("load", "shop:1")).restart_on_failure();
    /// ```
    #[must_use]
    fn restart_on_failure(mut self) -> Self
    where
        Self: Ends,
    {
        self.pod_mut().1.restart_policy = Some("OnFailure".to_owned());
        self
    }
}

/// What has pods that may end by themselves.
///
/// ```
/// # use kprov::build::*;
/// let once = Pod::new("once", Container::new("hello", "busybox")).never_restart();
/// ```
#[diagnostic::on_unimplemented(
    message = "the pods of a `{Self}` never end by themselves: their containers always start again",
    label = "the API allows no other restart policy here",
    note = "what runs to its end is a `Job`, a `CronJob` or a `Pod`"
)]
pub trait Ends {}

/// Takes a container's volumes into a pod, and gives the container back.
#[track_caller]
pub(super) fn admit(spec: &mut core::PodSpec, container: Container) -> core::Container {
    let Container(mut container, volumes) = container;
    let taken =
        spec.containers.iter().chain(spec.init_containers.iter().flatten()).any(|one| one.name == container.name);
    assert!(!taken, "the pod has a container named {} already", container.name);
    security::join(spec, &mut container);
    for volume in volumes {
        Volume::gather(spec.volumes.get_or_insert_default(), volume);
    }
    container
}

/// Implements [`Pods`] for a workload with `spec.template` and `spec.selector`.
macro_rules! pods {
    ($name:ident) => {
        impl $crate::build::Pods for $name {
            fn pod(
                &self,
            ) -> (
                Option<&k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta>,
                Option<&k8s_openapi::api::core::v1::PodSpec>,
            ) {
                let template = &self.0.spec.template;
                (template.metadata.as_ref(), template.spec.as_ref())
            }

            fn pod_mut(
                &mut self,
            ) -> (
                &mut k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
                &mut k8s_openapi::api::core::v1::PodSpec,
            ) {
                let template = &mut self.0.spec.template;
                (template.metadata.get_or_insert_default(), template.spec.get_or_insert_default())
            }

            fn pod_selector(&self) -> Option<&k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector> {
                Some(&self.0.spec.selector)
            }
        }
    };
}
pub(super) use pods;
