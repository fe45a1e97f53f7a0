//! Stateful sets.

use k8s_openapi::api::apps::v1 as apps;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::amount::Portion;
use super::container::Container;
use super::object::Object;
use super::pod::Template;
use super::service::{Headless, Service};
use super::storage::PersistentVolumeClaim;
use super::text::{DnsLabel, Name, Of};
use super::volume::Mount;
use super::workload::{Selects, agreeing, container_ports, workload};
use super::wraps::object;

object! {
    /// Keeps numbered pods with names, addresses and storage of their own: `db-0`, `db-1`.
    ///
    /// Their names are found through a headless service, which [`StatefulSet::service`] makes.
    ///
    /// ```
    /// use kprov::Bundle;
    /// use kprov::build::*;
    /// let data = PersistentVolumeClaim::new("data", "4Gi");
    /// let db = StatefulSet::new("db", Container::new("mysql", "mysql:8").port("mysql", 3306))
    ///     .replicas(3)
    ///     .claim(&data, "/var/lib/mysql");
    /// let mut app = Bundle::new("shop");
    /// app.add(db.service()).add(db);
    /// assert_eq!(app.objects().len(), 2);
    /// ```
    /// Source: <https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/>
    namespaced StatefulSet(apps::StatefulSet)
}
workload!(StatefulSet, template, replicas, history);

/// What becomes of a stateful set's claims.
///
/// ```
/// # use kprov::build::*;
/// let db = StatefulSet::new("db", Container::new("db", "mysql:8")).claims(Retention::Delete, Retention::Retain);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// They stay, with what is in them.
    Retain,
    /// They go, with what is in them.
    Delete,
}

impl StatefulSet {
    /// One pod of that kind, behind a headless service of the same name.
    #[must_use]
    #[track_caller]
    pub fn new(name: impl Of<DnsLabel>, pod: impl Into<Template>) -> Self {
        let name: Name = name.checked().into();
        let service_name = Some(name.to_string());
        let (metadata, selector, template) = agreeing(name, pod.into());
        let spec = apps::StatefulSetSpec { selector, template, service_name, ..apps::StatefulSetSpec::default() };
        Self(apps::StatefulSet { metadata, spec, status: None })
    }

    /// Gives the headless service another name.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let db = StatefulSet::new("db", Container::new("db", "mysql:8").port("mysql", 3306)).service_name("db-peers");
    /// assert_eq!(db.service().name(), "db-peers");
    /// ```
    #[must_use]
    #[track_caller]
    pub fn service_name(mut self, name: impl Of<DnsLabel>) -> Self {
        self.0.spec.service_name = Some(name.checked().into());
        self
    }

    /// The headless service that the pods are found by: `db-0.db`. It has all ports of the containers.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let db = StatefulSet::new("db", Container::new("db", "mysql:8").port("mysql", 3306));
    /// assert_eq!(db.service().build().spec.unwrap().cluster_ip.as_deref(), Some("None"));
    /// ```
    #[must_use]
    #[track_caller]
    pub fn service(&self) -> Service<Headless> {
        let name: DnsLabel = self
            .0
            .spec
            .service_name
            .as_deref()
            .unwrap_or(self.name())
            .parse()
            .unwrap_or_else(|error| panic!("{error}"));
        let ports = container_ports(self);
        let several = ports.len() > 1;
        let ports: Vec<core::ServicePort> = ports.into_iter().map(|port| service_port(port, several)).collect();
        let service = Service::new(name, self.selector()).headless();
        service.edit(|raw| raw.spec.get_or_insert_default().ports = (!ports.is_empty()).then_some(ports))
    }

    /// Gives every pod a claim of its own, named after this one and the pod, mounted in the first container.
    ///
    /// Panics when that container has something else there already.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let data = PersistentVolumeClaim::new("data", "4Gi");
    /// let db = StatefulSet::new("db", Container::new("db", "mysql:8")).claim(&data, "/var/lib/mysql");
    /// ```
    #[must_use]
    #[track_caller]
    pub fn claim(mut self, claim: &PersistentVolumeClaim, at: impl Into<Mount>) -> Self {
        let first = self.0.spec.template.spec.iter_mut().flat_map(|spec| spec.containers.first_mut()).next();
        mount(first.expect("a claim is mounted in a container: add one first"), claim.name(), at.into());
        self.add_claim(claim)
    }

    /// The same, mounted in the container of that name. For a second container the claim stays one.
    ///
    /// Panics when there is no such container.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let data = PersistentVolumeClaim::new("data", "4Gi");
    /// let db = StatefulSet::new("db", Container::new("db", "mysql:8"))
    ///     .container(Container::new("copy", "busybox"))
    ///     .claim_in("copy", &data, Mount::at("/copy").read_only());
    /// ```
    #[must_use]
    #[track_caller]
    pub fn claim_in(
        mut self,
        container: impl Of<DnsLabel>,
        claim: &PersistentVolumeClaim,
        at: impl Into<Mount>,
    ) -> Self {
        let container = container.checked();
        let mut containers = self
            .0
            .spec
            .template
            .spec
            .iter_mut()
            .flat_map(|spec| spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()));
        let found = containers.find(|one| one.name == container.as_str());
        let found = found.unwrap_or_else(|| panic!("the pods have no container named {container}"));
        mount(found, claim.name(), at.into());
        drop(containers);
        self.add_claim(claim)
    }

    #[track_caller]
    fn add_claim(mut self, claim: &PersistentVolumeClaim) -> Self {
        let claims = self.0.spec.volume_claim_templates.get_or_insert_default();
        match claims.iter().find(|one| one.metadata.name == claim.meta().name) {
            None => claims.push(claim.build()),
            Some(same) => assert!(same == claim.as_ref(), "two different claims are named {:?}", claim.name()),
        }
        self
    }

    /// Starts and ends all pods at once instead of one after the other.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let cache = StatefulSet::new("cache", Container::new("cache", "redis:7")).replicas(5).parallel();
    /// ```
    #[must_use]
    pub fn parallel(mut self) -> Self {
        self.0.spec.pod_management_policy = Some("Parallel".to_owned());
        self
    }

    fn rolling_update(&mut self) -> &mut apps::RollingUpdateStatefulSetStrategy {
        let strategy = self.0.spec.update_strategy.get_or_insert_default();
        strategy.type_ = Some("RollingUpdate".to_owned());
        strategy.rolling_update.get_or_insert_default()
    }

    /// Changes only pods of this number and above: a step of a change that is tried out.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let db = StatefulSet::new("db", Container::new("db", "mysql:8")).replicas(3).partition(2);
    /// ```
    #[must_use]
    pub fn partition(mut self, first: u16) -> Self {
        self.rolling_update().partition = Some(i32::from(first));
        self
    }

    /// How many pods a change may take away at once; 1 without it.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let cache = StatefulSet::new("cache", Container::new("cache", "redis:7")).replicas(5).max_unavailable("40%");
    /// ```
    #[must_use]
    #[track_caller]
    pub fn max_unavailable(mut self, unavailable: impl Of<Portion>) -> Self {
        self.rolling_update().max_unavailable = Some(unavailable.checked().into());
        self
    }

    /// Changes a pod only when somebody deletes it.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let db = StatefulSet::new("db", Container::new("db", "mysql:8")).on_delete();
    /// ```
    #[must_use]
    pub fn on_delete(mut self) -> Self {
        let type_ = Some("OnDelete".to_owned());
        self.0.spec.update_strategy = Some(apps::StatefulSetUpdateStrategy { type_, rolling_update: None });
        self
    }

    /// What becomes of the claims when the set is deleted, and of those of pods that are no longer wanted. Both stay
    /// without it.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let cache = StatefulSet::new("cache", Container::new("cache", "redis:7")).claims(Retention::Delete, Retention::Retain);
    /// ```
    #[must_use]
    pub fn claims(mut self, when_deleted: Retention, when_scaled: Retention) -> Self {
        self.0.spec.persistent_volume_claim_retention_policy =
            Some(apps::StatefulSetPersistentVolumeClaimRetentionPolicy {
                when_deleted: Some(format!("{when_deleted:?}")),
                when_scaled: Some(format!("{when_scaled:?}")),
            });
        self
    }

    /// Counts the pods from this number on instead of 0.
    ///
    /// ```
    /// # use kprov::build::*;
    /// // Pods cache-5, cache-6 and cache-7.
    /// let cache = StatefulSet::new("cache", Container::new("cache", "redis:7")).replicas(3).first_ordinal(5);
    /// ```
    #[must_use]
    pub fn first_ordinal(mut self, first: u16) -> Self {
        self.0.spec.ordinals = Some(apps::StatefulSetOrdinals { start: Some(i32::from(first)) });
        self
    }
}

#[track_caller]
fn mount(container: &mut core::Container, claim: &str, at: Mount) {
    let mut built = Container::from(std::mem::take(container));
    built.add_mount(core::VolumeMount { name: claim.to_owned(), ..at.into() });
    *container = built.into();
}

/// A service port for a container's port; among several, each needs a name.
fn service_port(port: &core::ContainerPort, several: bool) -> core::ServicePort {
    use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
    let number = port.container_port;
    let target = port.name.clone().map_or(IntOrString::Int(number), IntOrString::String);
    let made = several.then(|| format!("port-{number}"));
    core::ServicePort {
        name: port.name.clone().or(made),
        port: number,
        protocol: port.protocol.clone(),
        target_port: Some(target),
        ..core::ServicePort::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::build::{Pods, Workload};

    #[test]
    fn a_stateful_set_brings_its_service_and_its_claims() {
        let www = PersistentVolumeClaim::new("www", "2Gi");
        let web = Container::new("nginx", "nginx").port("web", 80).unnamed_port(9000);
        let set = StatefulSet::new("web", web).labelled("app", "nginx").service_name("nginx").claim(&www, "/www");
        let service = serde_json::to_value(set.service()).unwrap();
        assert_eq!(service["metadata"]["name"], "nginx");
        assert_eq!(service["spec"]["clusterIP"], "None");
        assert_eq!(service["spec"]["selector"], json!({"app": "nginx"}));
        let ports = json!([{"name": "web", "port": 80, "targetPort": "web"},
                           {"name": "port-9000", "port": 9000, "targetPort": 9000}]);
        assert_eq!(service["spec"]["ports"], ports);
        let set = serde_json::to_value(set).unwrap();
        assert_eq!(set["spec"]["volumeClaimTemplates"][0]["metadata"]["name"], "www");
        let mounts = &set["spec"]["template"]["spec"]["containers"][0]["volumeMounts"];
        assert_eq!(*mounts, json!([{"name": "www", "mountPath": "/www"}]));
        assert_eq!(set["spec"]["template"]["spec"]["volumes"], json!(null));
    }

    #[test]
    fn one_claim_in_two_containers() {
        let data = PersistentVolumeClaim::new("data", "1Gi");
        let set = StatefulSet::new("db", Container::new("db", "mysql"))
            .container(Container::new("copy", "busybox"))
            .claim(&data, "/data")
            .claim_in("copy", &data, Mount::at("/copy").read_only());
        assert_eq!(set.build().spec.volume_claim_templates.unwrap().len(), 1);
    }

    #[test]
    #[should_panic(expected = "the pods have no container named bd")]
    fn a_claim_for_nobody_is_a_mistake() {
        let data = PersistentVolumeClaim::new("data", "1Gi");
        let _ = StatefulSet::new("db", Container::new("db", "mysql")).claim_in("bd", &data, "/data");
    }
}
