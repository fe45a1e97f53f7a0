//! How many pods may be gone at once, and how many there are when the load changes.

use std::ops::RangeInclusive;

use k8s_openapi::api::autoscaling::v2 as autoscaling;
use k8s_openapi::api::policy::v1 as policy;

use super::amount::{Percent, Portion};
use super::object::{Object, named};
use super::text::{Name, Of};
use super::workload::{Scaled, Selects};
use super::wraps::object;

object! {
    /// How many of a workload's pods an eviction may take at once.
    ///
    /// ```
    /// use kprov::build::*;
    /// let zk = StatefulSet::new("zk", Container::new("zk", "zookeeper:3")).replicas(3);
    /// let budget = PodDisruptionBudget::max_unavailable("zk", &zk, 1);
    /// let other = PodDisruptionBudget::min_available("zk", &zk, "50%");
    /// ```
    /// Source: <https://kubernetes.io/docs/tasks/run-application/configure-pdb/>
    namespaced PodDisruptionBudget(policy::PodDisruptionBudget)
}

impl PodDisruptionBudget {
    /// At most that many pods are gone at once.
    #[must_use]
    #[track_caller]
    pub fn max_unavailable(name: impl Of<Name>, pods: &impl Selects, most: impl Of<Portion>) -> Self {
        let mut budget = Self::about(name, pods);
        budget.0.spec.get_or_insert_default().max_unavailable = Some(most.checked().into());
        budget
    }

    /// At least that many pods stay.
    #[must_use]
    #[track_caller]
    pub fn min_available(name: impl Of<Name>, pods: &impl Selects, least: impl Of<Portion>) -> Self {
        let mut budget = Self::about(name, pods);
        budget.0.spec.get_or_insert_default().min_available = Some(least.checked().into());
        budget
    }

    #[track_caller]
    fn about(name: impl Of<Name>, pods: &impl Selects) -> Self {
        let selector = Some(pods.label_selector());
        let spec = Some(policy::PodDisruptionBudgetSpec { selector, ..policy::PodDisruptionBudgetSpec::default() });
        Self(policy::PodDisruptionBudget { metadata: named(name.checked()), spec, status: None })
    }

    /// Lets pods that are not ready be evicted whatever the budget says.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let zk = StatefulSet::new("zk", Container::new("zk", "zookeeper:3"));
    /// let budget = PodDisruptionBudget::max_unavailable("zk", &zk, 1).unready_may_go();
    /// ```
    #[must_use]
    pub fn unready_may_go(mut self) -> Self {
        let spec = self.0.spec.get_or_insert_default();
        spec.unhealthy_pod_eviction_policy = Some("AlwaysAllow".to_owned());
        self
    }
}

object! {
    /// Changes the number of a workload's pods with their load.
    ///
    /// ```
    /// use kprov::build::*;
    /// let web = Deployment::new("web", Container::new("web", "shop:1").requests("100m", "64Mi"));
    /// let scaler = HorizontalPodAutoscaler::new("web", &web, 2..=10).cpu(Percent::new(60));
    /// ```
    /// Source: <https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/>
    namespaced HorizontalPodAutoscaler(autoscaling::HorizontalPodAutoscaler)
}

impl HorizontalPodAutoscaler {
    /// Between so many and so many pods of a workload; it aims at 80 % of their CPU requests unless told otherwise.
    ///
    /// Panics when the range is empty or begins with 0.
    #[must_use]
    #[track_caller]
    pub fn new<W: Object + Scaled>(name: impl Of<Name>, workload: &W, pods: RangeInclusive<u16>) -> Self {
        assert!(
            *pods.start() > 0 && !pods.is_empty(),
            "an autoscaler keeps 1 or more pods and at least as many at most: write 2..=10, not {pods:?}"
        );
        let target = autoscaling::CrossVersionObjectReference {
            api_version: Some(W::API_VERSION.to_owned()),
            kind: W::KIND.to_owned(),
            name: workload.name().to_owned(),
        };
        let spec = autoscaling::HorizontalPodAutoscalerSpec {
            scale_target_ref: target,
            min_replicas: Some(i32::from(*pods.start())),
            max_replicas: i32::from(*pods.end()),
            ..autoscaling::HorizontalPodAutoscalerSpec::default()
        };
        Self(autoscaling::HorizontalPodAutoscaler { metadata: named(name.checked()), spec, status: None })
    }

    /// Aims at this share of what the containers ask for in CPU.
    #[must_use]
    pub fn cpu(self, share: Percent) -> Self {
        self.resource("cpu", share)
    }

    /// Aims at this share of what the containers ask for in memory.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Deployment::new("web", Container::new("web", "shop:1").requests("100m", "64Mi"));
    /// let scaler = HorizontalPodAutoscaler::new("web", &web, 2..=10).cpu(Percent::new(60)).memory(Percent::new(70));
    /// ```
    #[must_use]
    pub fn memory(self, share: Percent) -> Self {
        self.resource("memory", share)
    }

    fn resource(mut self, name: &str, share: Percent) -> Self {
        let target = autoscaling::MetricTarget {
            type_: "Utilization".to_owned(),
            average_utilization: Some(share.number()),
            ..autoscaling::MetricTarget::default()
        };
        let resource = Some(autoscaling::ResourceMetricSource { name: name.to_owned(), target });
        let metric = autoscaling::MetricSpec { type_: "Resource".to_owned(), resource, ..<_>::default() };
        self.0.spec.metrics.get_or_insert_default().push(metric);
        self
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::build::{Container, Deployment};

    #[test]
    fn an_autoscaler_names_its_workload() {
        let web = Deployment::new("web", Container::new("web", "shop:1"));
        let scaler = HorizontalPodAutoscaler::new("web", &web, 1..=3).memory(Percent::new(70));
        let spec = serde_json::to_value(scaler).unwrap()["spec"].clone();
        assert_eq!(spec["scaleTargetRef"], json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}));
        assert_eq!(spec["metrics"][0]["resource"]["target"], json!({"type": "Utilization", "averageUtilization": 70}));
    }

    #[test]
    #[should_panic(expected = "write 2..=10, not 3..=2")]
    fn an_empty_range_is_a_mistake() {
        let web = Deployment::new("web", Container::new("web", "shop:1"));
        #[allow(clippy::reversed_empty_ranges, reason = "the mistake itself")]
        let _ = HorizontalPodAutoscaler::new("web", &web, 3..=2);
    }
}
