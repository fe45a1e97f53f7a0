//! What workloads share: pods that they find by labels, a number of them, and services in front.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use super::amount::{Port, Target, Time};
use super::object::{Object, named};
use super::pod::Template;
use super::pods::Pods;
use super::service::Service;
use super::text::{DnsLabel, Key, LabelValue, Name, Of, PortName};

/// The label that goes by the name of a workload.
const NAME_LABEL: &str = "app.kubernetes.io/name";

/// What stands for a set of pods: in front of them comes a service, around them a policy or a budget.
///
/// ```
/// # use kprov::build::*;
/// let web = Deployment::new("web", Container::new("web", "nginx:1.27")).labelled("app", "web");
/// assert_eq!(web.selector()["app"], "web");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` selects no pods by labels of its own",
    note = "give a Deployment, StatefulSet, DaemonSet, ReplicaSet or a Pod with labels"
)]
pub trait Selects {
    /// What finds its pods.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Deployment::new("web", Container::new("web", "nginx:1.27")).labelled("app", "web");
    /// assert_eq!(web.label_selector().match_labels.unwrap()["app"], "web");
    /// ```
    fn label_selector(&self) -> LabelSelector;

    /// The labels that its pods carry, as a service wants them.
    ///
    /// Panics when it selects by expressions, which a service cannot.
    #[track_caller]
    fn selector(&self) -> BTreeMap<String, String> {
        let LabelSelector { match_labels, match_expressions } = self.label_selector();
        assert!(
            match_expressions.unwrap_or_default().is_empty(),
            "a service selects by labels alone, not by expressions"
        );
        match_labels.filter(|labels| !labels.is_empty()).expect("pods are found by labels: add one with `label(..)`")
    }
}

/// A workload that finds its pods by labels: Deployment, StatefulSet, DaemonSet, ReplicaSet.
///
/// Selector and labels are made from the name (`app.kubernetes.io/name`) and can't disagree.
///
/// ```
/// use kprov::build::*;
/// let web = Deployment::new("web", Container::new("nginx", "nginx:1.27").port("http", 80)).labelled("app", "nginx");
/// let service = web.expose("http").build();
/// assert_eq!(service.spec.unwrap().selector, web.build().spec.selector.match_labels);
/// ```
pub trait Workload: Object + Pods + Selects {
    /// What it finds its pods by, to change by hand.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let mut web = Deployment::new("web", Container::new("web", "nginx:1.27"));
    /// web.selector_mut().match_expressions = None;
    /// ```
    fn selector_mut(&mut self) -> &mut LabelSelector;

    /// How many seconds a pod must be ready before it counts, to change by hand.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let mut web = Deployment::new("web", Container::new("web", "nginx:1.27"));
    /// *web.min_ready_mut() = Some(5);
    /// ```
    fn min_ready_mut(&mut self) -> &mut Option<i32>;

    /// How many pods to keep; 1 without it.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Deployment::new("web", Container::new("web", "nginx:1.27").port("http", 80)).replicas(3);
    /// ```
    #[must_use]
    fn replicas(mut self, replicas: u16) -> Self
    where
        Self: Scaled,
    {
        *self.replicas_mut() = Some(i32::from(replicas));
        self
    }

    /// How long a new pod must be ready before it counts; 0 without it.
    ///
    /// ```
    /// # use kprov::build::*;
    /// use std::time::Duration;
    /// let web = Deployment::new("web", Container::new("web", "nginx:1.27").port("http", 80)).min_ready(Duration::from_secs(5));
    /// ```
    #[must_use]
    #[track_caller]
    fn min_ready(mut self, time: impl Time) -> Self {
        *self.min_ready_mut() = Some(time.whole_seconds());
        self
    }

    /// How many former versions are kept for a rollback; 10 without it.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Deployment::new("web", Container::new("web", "nginx:1.27")).history(3);
    /// ```
    #[must_use]
    fn history(mut self, versions: u16) -> Self
    where
        Self: Versioned,
    {
        *self.history_mut() = Some(i32::from(versions));
        self
    }

    /// Finds its pods by this label instead of the one made from its name; called again, by this one too.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Deployment::new("web", Container::new("web", "nginx:1.27").port("http", 80)).labelled("app", "nginx").labelled("tier", "front");
    /// assert_eq!(web.selector().len(), 2);
    /// ```
    #[must_use]
    #[track_caller]
    fn labelled(mut self, key: impl Of<Key>, value: impl Of<LabelValue>) -> Self {
        let before = self.label_selector();
        let made = name_label(self.name());
        let labels = self.selector_mut().match_labels.get_or_insert_default();
        if *labels == made {
            labels.clear();
            drop_labels(self.meta_mut(), &made);
            drop_labels(self.pod_mut().0, &made);
        }
        let (key, value): (String, String) = (key.checked().into(), value.checked().into());
        self.selector_mut().match_labels.get_or_insert_default().insert(key.clone(), value.clone());
        let after = self.label_selector();
        let (metadata, spec) = self.pod_mut();
        metadata.labels.get_or_insert_default().insert(key, value);
        super::placement::reselect(spec, &before, &after);
        self
    }

    /// A service of the workload's name for the containers' port of that name, on the same number.
    ///
    /// Panics when no container has such a port: that is a mistake in the program, not in its input.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Deployment::new("web", Container::new("web", "nginx:1.27").port("http", 80));
    /// let service = web.expose("http").build();
    /// assert_eq!(service.spec.unwrap().ports.unwrap()[0].port, 80);
    /// ```
    #[must_use]
    #[track_caller]
    fn expose(&self, port: impl Of<PortName>) -> Service {
        let port = port.checked();
        let number = u16::try_from(container_port(self, port.as_str()).container_port).unwrap_or_default();
        self.expose_on(number, port)
    }

    /// A service of the workload's name that answers on another port than its containers.
    ///
    /// Panics when the target is a name that no container's port has.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Deployment::new("web", Container::new("web", "nginx:1.27").port("http", 80));
    /// let service = web.expose_on(8080, "http").build();
    /// assert_eq!(service.spec.unwrap().ports.unwrap()[0].port, 8080);
    /// ```
    #[must_use]
    #[track_caller]
    fn expose_on(&self, port: impl Of<Port>, target: impl Of<Target>) -> Service {
        let target = target.checked();
        let found = match &target {
            Target::Name(name) => Some(container_port(self, name.as_str())),
            Target::Number(_) => None,
        };
        let service_port = core::ServicePort {
            name: found.and_then(|found| found.name.clone()),
            port: port.checked().into(),
            protocol: found.and_then(|found| found.protocol.clone()),
            target_port: Some(target.into()),
            ..core::ServicePort::default()
        };
        let name: DnsLabel = self.name().parse().unwrap_or_else(|error| panic!("{error}"));
        let service = Service::new(name, self.selector());
        service.edit(|raw| raw.spec.get_or_insert_default().ports = Some(vec![service_port]))
    }
}

/// A workload of which there is a number of pods.
///
/// ```
/// # use kprov::build::*;
/// fn twice<W: Workload + Scaled>(workload: W) -> W {
///     workload.replicas(2)
/// }
/// let web = twice(Deployment::new("web", Container::new("web", "nginx:1.27")));
/// ```
#[diagnostic::on_unimplemented(
    message = "a `{Self}` has no number of pods",
    label = "its nodes decide how many there are",
    note = "choose nodes with `node_selector(..)`, or take a `Deployment`"
)]
pub trait Scaled {
    /// How many pods to keep, to change by hand.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let mut web = Deployment::new("web", Container::new("web", "nginx:1.27"));
    /// *web.replicas_mut() = None;
    /// ```
    fn replicas_mut(&mut self) -> &mut Option<i32>;
}

/// A workload that keeps former versions of its pods' description.
///
/// ```
/// # use kprov::build::*;
/// let web = Deployment::new("web", Container::new("web", "nginx:1.27")).history(3);
/// ```
#[diagnostic::on_unimplemented(
    message = "a `{Self}` keeps no former versions",
    note = "take a `Deployment`, which makes a new replica set for every version"
)]
pub trait Versioned {
    /// How many former versions are kept, to change by hand.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let mut web = Deployment::new("web", Container::new("web", "nginx:1.27"));
    /// *web.history_mut() = Some(3);
    /// ```
    fn history_mut(&mut self) -> &mut Option<i32>;
}

/// The containers' port of that name.
#[track_caller]
pub(super) fn container_port<'a>(workload: &'a (impl Object + Pods), name: &str) -> &'a core::ContainerPort {
    let ports = container_ports(workload);
    let Some(found) = ports.iter().find(|port| port.name.as_deref() == Some(name)) else {
        let names: Vec<&str> = ports.iter().filter_map(|port| port.name.as_deref()).collect();
        let listed =
            if names.is_empty() { "none is named".to_owned() } else { format!("its ports: {}", names.join(", ")) };
        panic!("no container of {} has a port named {name:?}; {listed}", workload.name());
    };
    found
}

/// All ports of the containers and sidecars.
pub(super) fn container_ports(pods: &impl Pods) -> Vec<&core::ContainerPort> {
    let Some(spec) = pods.pod().1 else { return Vec::new() };
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    containers.flat_map(|container| container.ports.iter().flatten()).collect()
}

/// The label that a selector made here goes by.
///
/// The value of a label has at most 63 characters and a name may have more: its end tells workloads apart.
pub(super) fn name_label(name: &str) -> BTreeMap<String, String> {
    let end = &name[name.ceil_char_boundary(name.len().saturating_sub(63))..];
    BTreeMap::from([(NAME_LABEL.to_owned(), end.trim_start_matches(['-', '.']).to_owned())])
}

/// Drops labels that were made; one of the same key that was given since has another value, and stays.
fn drop_labels(metadata: &mut ObjectMeta, made: &BTreeMap<String, String>) {
    if let Some(labels) = &mut metadata.labels {
        labels.retain(|key, value| made.get(key) != Some(value));
    }
    metadata.labels = metadata.labels.take().filter(|labels| !labels.is_empty());
}

/// Metadata, selector and template of a new workload, which agree.
#[track_caller]
pub(super) fn agreeing(name: Name, template: Template) -> (ObjectMeta, LabelSelector, core::PodTemplateSpec) {
    let labels = name_label(name.as_str());
    let selector = LabelSelector { match_labels: Some(labels.clone()), match_expressions: None };
    let mut template = template.0;
    template.metadata.get_or_insert_default().labels.get_or_insert_default().extend(labels.clone());
    if let Some(spec) = &mut template.spec {
        super::placement::reselect(spec, &LabelSelector::default(), &selector);
    }
    (ObjectMeta { labels: Some(labels), ..named(name) }, selector, template)
}

/// Implements [`Workload`] and what it needs for a kind with `spec.selector`; `template` when it has `spec.template`,
/// `replicas` and `history` when it has those.
macro_rules! workload {
    ($name:ident $(, $has:ident)*) => {
        #[diagnostic::do_not_recommend]
        impl $crate::build::Selects for $name {
            fn label_selector(&self) -> LabelSelector {
                self.0.spec.selector.clone()
            }
        }

        impl $crate::build::Workload for $name {
            fn selector_mut(&mut self) -> &mut LabelSelector {
                &mut self.0.spec.selector
            }

            fn min_ready_mut(&mut self) -> &mut Option<i32> {
                &mut self.0.spec.min_ready_seconds
            }
        }

        $($crate::build::workload::workload!(@ $has $name);)*
    };
    (@ template $name:ident) => {
        $crate::build::pods::pods!($name);
    };
    (@ replicas $name:ident) => {
        #[diagnostic::do_not_recommend]
        impl $crate::build::Scaled for $name {
            fn replicas_mut(&mut self) -> &mut Option<i32> {
                &mut self.0.spec.replicas
            }
        }
    };
    (@ history $name:ident) => {
        #[diagnostic::do_not_recommend]
        impl $crate::build::Versioned for $name {
            fn history_mut(&mut self) -> &mut Option<i32> {
                &mut self.0.spec.revision_history_limit
            }
        }
    };
}
pub(super) use workload;
