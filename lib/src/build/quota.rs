//! How much a namespace, a pod or a container may have.

use std::collections::BTreeMap;

use k8s_openapi::Resource;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::amount::{Bytes, Cpu};
use super::object::named;
use super::text::{Name, Of};
use super::wraps::{object, part};

object! {
    /// How much all objects of a namespace may have together.
    ///
    /// ```
    /// use kprov::build::*;
    /// let quota = ResourceQuota::new("shop").pods(20).requests("4", "8Gi").count::<ConfigMap>(50);
    /// ```
    /// Source: <https://kubernetes.io/docs/concepts/policy/resource-quotas/>
    namespaced ResourceQuota(core::ResourceQuota)
}

/// What is limited.
///
/// ```
/// # use kprov::build::*;
/// let quota = ResourceQuota::new("shop")
///     .requests("4", "8Gi")
///     .limits("8", "16Gi")
///     .storage("100Gi")
///     .hard("requests.nvidia.com/gpu", Cpu::cores(2));
/// assert_eq!(quota.build().spec.unwrap().hard.unwrap()["requests.nvidia.com/gpu"].0, "2");
/// ```
impl ResourceQuota {
    /// A quota that so far limits nothing.
    #[must_use]
    #[track_caller]
    pub fn new(name: impl Of<Name>) -> Self {
        let spec = Some(core::ResourceQuotaSpec::default());
        Self(core::ResourceQuota { metadata: named(name.checked()), spec, status: None })
    }

    /// How much of a resource by its name, such as `requests.nvidia.com/gpu`.
    #[must_use]
    pub fn hard(mut self, resource: impl Into<String>, most: impl Into<Quantity>) -> Self {
        let spec = self.0.spec.get_or_insert_default();
        spec.hard.get_or_insert_default().insert(resource.into(), most.into());
        self
    }

    /// How many pods that have not ended.
    #[must_use]
    pub fn pods(self, most: u32) -> Self {
        self.hard("pods", Quantity(most.to_string()))
    }

    /// How many objects of a kind: a k8s-openapi type or a builder.
    #[must_use]
    pub fn count<K: Resource>(self, most: u32) -> Self {
        let group = if K::GROUP.is_empty() { String::new() } else { format!(".{}", K::GROUP) };
        self.hard(format!("count/{}{group}", K::URL_PATH_SEGMENT), Quantity(most.to_string()))
    }

    /// How much processor time and memory the pods may ask for together.
    #[must_use]
    #[track_caller]
    pub fn requests(self, cpu: impl Of<Cpu>, memory: impl Of<Bytes>) -> Self {
        self.hard("requests.cpu", cpu.checked()).hard("requests.memory", memory.checked())
    }

    /// How far the limits of the pods may go together.
    #[must_use]
    #[track_caller]
    pub fn limits(self, cpu: impl Of<Cpu>, memory: impl Of<Bytes>) -> Self {
        self.hard("limits.cpu", cpu.checked()).hard("limits.memory", memory.checked())
    }

    /// How much storage the claims may ask for together.
    #[must_use]
    #[track_caller]
    pub fn storage(self, most: impl Of<Bytes>) -> Self {
        self.hard("requests.storage", most.checked())
    }
}

object! {
    /// What containers, pods and claims of a namespace get when they say nothing, and what they may say.
    ///
    /// ```
    /// use kprov::build::*;
    /// let limits = LimitRange::new("shop", Limit::container().default("500m", "128Mi").max("2", "1Gi"))
    ///     .limit(Limit::claim("1Gi", "100Gi"));
    /// ```
    /// Source: <https://kubernetes.io/docs/concepts/policy/limit-range/>
    namespaced LimitRange(core::LimitRange)
}

part! {
    /// One limit of a [`LimitRange`].
    ///
    /// ```
    /// use kprov::build::*;
    /// let limits = LimitRange::new("shop", Limit::container().default("500m", "128Mi"));
    /// ```
    Limit(core::LimitRangeItem)
}

#[track_caller]
fn both(cpu: impl Of<Cpu>, memory: impl Of<Bytes>) -> Option<BTreeMap<String, Quantity>> {
    let (cpu, memory) = (cpu.checked().into(), memory.checked().into());
    Some(BTreeMap::from([("cpu".to_owned(), cpu), ("memory".to_owned(), memory)]))
}

/// Of what, and how much.
///
/// ```
/// # use kprov::build::*;
/// let container = Limit::container().default("500m", "128Mi").default_request("100m", "64Mi").min("10m", "16Mi");
/// let pod = Limit::pod().max("4", "8Gi");
/// let claim = Limit::claim("1Gi", "100Gi");
/// ```
impl Limit {
    fn of(kind: &str) -> Self {
        Self(core::LimitRangeItem { type_: kind.to_owned(), ..core::LimitRangeItem::default() })
    }

    /// Of each container.
    #[must_use]
    pub fn container() -> Self {
        Self::of("Container")
    }

    /// Of all containers of a pod together, which have no defaults.
    #[must_use]
    pub fn pod() -> Self {
        Self::of("Pod")
    }

    /// Of each claim: how small and how large it may be.
    #[must_use]
    #[track_caller]
    pub fn claim(least: impl Of<Bytes>, most: impl Of<Bytes>) -> Self {
        let mut limit = Self::of("PersistentVolumeClaim");
        limit.0.min = Some(BTreeMap::from([("storage".to_owned(), least.checked().into())]));
        limit.0.max = Some(BTreeMap::from([("storage".to_owned(), most.checked().into())]));
        limit
    }

    /// The limits of a container that says none.
    ///
    /// Panics when it is not about containers.
    #[must_use]
    #[track_caller]
    pub fn default(mut self, cpu: impl Of<Cpu>, memory: impl Of<Bytes>) -> Self {
        self.must_be_of_containers();
        self.0.default = both(cpu, memory);
        self
    }

    /// What a container asks for that says nothing.
    ///
    /// Panics when it is not about containers.
    #[must_use]
    #[track_caller]
    pub fn default_request(mut self, cpu: impl Of<Cpu>, memory: impl Of<Bytes>) -> Self {
        self.must_be_of_containers();
        self.0.default_request = both(cpu, memory);
        self
    }

    /// What must be asked for at least.
    #[must_use]
    #[track_caller]
    pub fn min(mut self, cpu: impl Of<Cpu>, memory: impl Of<Bytes>) -> Self {
        self.0.min = both(cpu, memory);
        self
    }

    /// How far limits may go.
    #[must_use]
    #[track_caller]
    pub fn max(mut self, cpu: impl Of<Cpu>, memory: impl Of<Bytes>) -> Self {
        self.0.max = both(cpu, memory);
        self
    }

    #[track_caller]
    fn must_be_of_containers(&self) {
        assert!(self.0.type_ == "Container", "only containers have defaults: `Limit::container().default(..)`");
    }
}

impl LimitRange {
    /// A range with one limit.
    #[must_use]
    #[track_caller]
    pub fn new(name: impl Of<Name>, limit: Limit) -> Self {
        let spec = Some(core::LimitRangeSpec { limits: vec![limit.0] });
        Self(core::LimitRange { metadata: named(name.checked()), spec })
    }

    /// Adds a limit.
    #[must_use]
    pub fn limit(mut self, limit: Limit) -> Self {
        self.0.spec.get_or_insert_default().limits.push(limit.0);
        self
    }
}
