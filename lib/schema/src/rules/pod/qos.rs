//! A pod's quality of service class.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};

use super::defaults::Amounts;
use crate::quantity::Quantity;

/// `Guaranteed`, `Burstable` or `BestEffort`.
///
/// Source: <https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/>
#[must_use]
pub fn class(spec: &PodSpec) -> &'static str {
    let mut sums = Sums { guaranteed: true, ..Sums::default() };
    match &spec.resources {
        Some(resources) if is_set(resources) => sums.read_pod(resources),
        _ => spec.containers.iter().chain(spec.init_containers.iter().flatten()).for_each(|one| sums.read(one)),
    }
    sums.class()
}

fn is_set(resources: &ResourceRequirements) -> bool {
    let filled = |amounts: &Option<Amounts>| amounts.as_ref().is_some_and(|amounts| !amounts.is_empty());
    filled(&resources.requests) || filled(&resources.limits)
}

#[derive(Default)]
struct Sums {
    requests: BTreeMap<String, Quantity>,
    limits: BTreeMap<String, Quantity>,
    guaranteed: bool,
}

impl Sums {
    fn read(&mut self, container: &Container) {
        let none = ResourceRequirements::default();
        let resources = container.resources.as_ref().unwrap_or(&none);
        add(&mut self.requests, resources.requests.as_ref());
        let limited = add(&mut self.limits, resources.limits.as_ref());
        self.guaranteed &= limited == 2;
    }

    fn read_pod(&mut self, resources: &ResourceRequirements) {
        add(&mut self.requests, resources.requests.as_ref());
        if resources.limits.as_ref().is_some_and(|limits| !limits.is_empty()) {
            let limited = add(&mut self.limits, resources.limits.as_ref());
            self.guaranteed &= limited == 2;
        }
    }

    fn class(&self) -> &'static str {
        if self.requests.is_empty() && self.limits.is_empty() {
            "BestEffort"
        } else if self.guaranteed && self.requests == self.limits {
            "Guaranteed"
        } else {
            "Burstable"
        }
    }
}

/// Adds the processor and memory of a list; says how many of the two it had.
fn add(sums: &mut BTreeMap<String, Quantity>, amounts: Option<&Amounts>) -> usize {
    let mut found = 0;
    for (name, amount) in amounts.into_iter().flatten() {
        let amount = Quantity::from(amount);
        if matches!(name.as_str(), "cpu" | "memory") && amount.sign() > 0 {
            sums.entry(name.clone()).or_default().add(&amount);
            found += 1;
        }
    }
    found
}
