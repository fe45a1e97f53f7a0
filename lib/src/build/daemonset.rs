//! Daemon sets, and replica sets, which rarely stand alone.

use k8s_openapi::api::apps::v1 as apps;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use super::amount::Portion;
use super::pod::Template;
use super::pods::Pods;
use super::text::{Name, Of};
use super::workload::{agreeing, workload};
use super::wraps::object;

object! {
    /// Keeps one pod on every node that fits.
    ///
    /// ```
    /// use kprov::build::*;
    /// let logs = Volume::host_path("logs", "/var/log");
    /// let agent = DaemonSet::new("agent", Container::new("agent", "fluent-bit:4").mount(&logs, "/logs"))
    ///     .toleration(Toleration::of("node-role.kubernetes.io/control-plane").no_schedule());
    /// assert!(agent.build().spec.template.spec.unwrap().tolerations.is_some());
    /// ```
    /// Source: <https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/>
    namespaced DaemonSet(apps::DaemonSet)
}
workload!(DaemonSet, template, history);

/// How its pods are replaced.
///
/// ```
/// # use kprov::build::*;
/// let agent = DaemonSet::new("agent", Container::new("agent", "fluent-bit:4")).rolling(0, "10%");
/// let by_hand = DaemonSet::new("agent", Container::new("agent", "fluent-bit:4")).on_delete();
/// ```
impl DaemonSet {
    /// One pod of that kind on every node; [`super::Placed::node_selector`] chooses nodes.
    #[must_use]
    #[track_caller]
    pub fn new(name: impl Of<Name>, pod: impl Into<Template>) -> Self {
        let (metadata, selector, template) = agreeing(name.checked(), pod.into());
        let spec = apps::DaemonSetSpec { selector, template, ..apps::DaemonSetSpec::default() };
        Self(apps::DaemonSet { metadata, spec, status: None })
    }

    /// Replaces pods step by step: this many more than nodes at a time, this many fewer. 0 and 1 without it.
    ///
    /// Panics when both are 0: nothing could ever be replaced.
    #[must_use]
    #[track_caller]
    pub fn rolling(mut self, surge: impl Of<Portion>, unavailable: impl Of<Portion>) -> Self {
        let (surge, unavailable) = Portion::step(surge.checked(), unavailable.checked());
        let rolling = apps::RollingUpdateDaemonSet { max_surge: Some(surge), max_unavailable: Some(unavailable) };
        let type_ = Some("RollingUpdate".to_owned());
        self.0.spec.update_strategy = Some(apps::DaemonSetUpdateStrategy { rolling_update: Some(rolling), type_ });
        self
    }

    /// Changes a pod only when somebody deletes it.
    #[must_use]
    pub fn on_delete(mut self) -> Self {
        let type_ = Some("OnDelete".to_owned());
        self.0.spec.update_strategy = Some(apps::DaemonSetUpdateStrategy { rolling_update: None, type_ });
        self
    }
}

object! {
    /// Keeps a number of equal pods and never changes them: what a [`super::Deployment`] is made of.
    ///
    /// ```
    /// use kprov::build::*;
    /// let web = ReplicaSet::new("web", Container::new("nginx", "nginx:1.27")).replicas(2);
    /// assert_eq!(web.build().spec.replicas, Some(2));
    /// ```
    /// Source: <https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/>
    namespaced ReplicaSet(apps::ReplicaSet)
}
workload!(ReplicaSet, replicas);

impl ReplicaSet {
    /// One pod of that kind.
    #[must_use]
    #[track_caller]
    pub fn new(name: impl Of<Name>, pod: impl Into<Template>) -> Self {
        let (metadata, selector, template) = agreeing(name.checked(), pod.into());
        let spec = apps::ReplicaSetSpec { selector, template: Some(template), ..apps::ReplicaSetSpec::default() };
        Self(apps::ReplicaSet { metadata, spec, status: None })
    }
}

impl Pods for ReplicaSet {
    fn pod(&self) -> (Option<&ObjectMeta>, Option<&core::PodSpec>) {
        let template = self.0.spec.template.as_ref();
        (template.and_then(|template| template.metadata.as_ref()), template.and_then(|template| template.spec.as_ref()))
    }

    fn pod_mut(&mut self) -> (&mut ObjectMeta, &mut core::PodSpec) {
        let template = self.0.spec.template.get_or_insert_default();
        (template.metadata.get_or_insert_default(), template.spec.get_or_insert_default())
    }

    fn pod_selector(&self) -> Option<&LabelSelector> {
        Some(&self.0.spec.selector)
    }
}
