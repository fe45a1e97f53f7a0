//! Pods on their own, and the templates that workloads make pods from.

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use super::amount::Time;
use super::container::Container;
use super::object::named;
use super::pods::{Ends, Pods, admit};
use super::text::{Name, Of};
use super::workload::Selects;
use super::wraps::{object, part};

part! {
    /// What a workload makes pods from. A [`Container`] alone is one already.
    ///
    /// ```
    /// use kprov::build::*;
    /// let template = Template::new(Container::new("web", "nginx:1.27")).pod_label("tier", "front");
    /// let web = Deployment::new("web", template);
    /// ```
    Template(core::PodTemplateSpec)
}

impl Template {
    /// Pods of one container, so far.
    #[must_use]
    #[track_caller]
    pub fn new(container: Container) -> Self {
        let mut spec = core::PodSpec::default();
        let container = admit(&mut spec, container);
        spec.containers.push(container);
        Self(core::PodTemplateSpec { metadata: None, spec: Some(spec) })
    }
}

impl From<Container> for Template {
    fn from(container: Container) -> Self {
        Self::new(container)
    }
}

impl From<core::PodSpec> for Template {
    fn from(spec: core::PodSpec) -> Self {
        Self(core::PodTemplateSpec { metadata: None, spec: Some(spec) })
    }
}

impl Pods for Template {
    fn pod(&self) -> (Option<&ObjectMeta>, Option<&core::PodSpec>) {
        (self.0.metadata.as_ref(), self.0.spec.as_ref())
    }

    fn pod_mut(&mut self) -> (&mut ObjectMeta, &mut core::PodSpec) {
        (self.0.metadata.get_or_insert_default(), self.0.spec.get_or_insert_default())
    }
}

object! {
    /// A pod on its own: nothing brings it back when its node is lost.
    ///
    /// ```
    /// use kprov::build::*;
    /// let pod = Pod::new("once", Container::new("hello", "busybox").command(["echo", "hello"]));
    /// assert_eq!(pod.build().metadata.name.as_deref(), Some("once"));
    /// ```
    namespaced Pod(core::Pod)
}

impl Pod {
    /// A pod without labels: what is to find it gives it one with [`super::Object::label`].
    #[must_use]
    #[track_caller]
    pub fn new(name: impl Of<Name>, pod: impl Into<Template>) -> Self {
        let core::PodTemplateSpec { metadata, spec } = pod.into().0;
        let metadata = ObjectMeta { name: named(name.checked()).name, ..metadata.unwrap_or_default() };
        Self(core::Pod { metadata, spec, status: None })
    }

    /// How long the pod may run; then it is ended and has failed.
    ///
    /// ```
    /// # use kprov::build::*;
    /// use std::time::Duration;
    /// let once = Pod::new("once", Container::new("report", "shop:1")).never_restart().deadline(Duration::from_secs(600));
    /// ```
    #[must_use]
    #[track_caller]
    pub fn deadline(mut self, time: impl Time) -> Self {
        self.0.spec.get_or_insert_default().active_deadline_seconds = Some(time.whole_seconds());
        self
    }
}

#[diagnostic::do_not_recommend]
impl Ends for Pod {}

impl Pods for Pod {
    fn pod(&self) -> (Option<&ObjectMeta>, Option<&core::PodSpec>) {
        (Some(&self.0.metadata), self.0.spec.as_ref())
    }

    fn pod_mut(&mut self) -> (&mut ObjectMeta, &mut core::PodSpec) {
        (&mut self.0.metadata, self.0.spec.get_or_insert_default())
    }
}

#[diagnostic::do_not_recommend]
impl Selects for Pod {
    fn label_selector(&self) -> LabelSelector {
        LabelSelector { match_labels: self.0.metadata.labels.clone(), match_expressions: None }
    }
}
