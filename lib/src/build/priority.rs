//! Priority classes.

use k8s_openapi::api::scheduling::v1 as scheduling;

use super::object::named;
use super::text::{Name, Of};
use super::wraps::object;

object! {
    /// How important pods are: the scheduler makes room for those of a higher value.
    ///
    /// ```
    /// use kprov::build::*;
    /// let shop = PriorityClass::new("shop", 1000);
    /// let web = Deployment::new("web", Container::new("web", "nginx:1.27")).priority_class(&shop);
    /// ```
    /// Source: <https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/>
    cluster PriorityClass(scheduling::PriorityClass)
}

impl PriorityClass {
    /// A class of that value, at most 1,000,000,000.
    #[must_use]
    #[track_caller]
    pub fn new(name: impl Of<Name>, value: i32) -> Self {
        Self(scheduling::PriorityClass { metadata: named(name.checked()), value: Some(value), ..Default::default() })
    }
}
