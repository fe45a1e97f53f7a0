//! What a container is promised, and what it may not exceed.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::Container;
use crate::build::amount::{Bytes, Cpu};
use crate::build::text::{Key, Of};

/// What it is promised, and what it may not exceed.
///
/// ```
/// # use kprov::build::*;
/// let web = Container::new("web", "shop:1").requests("100m", "64Mi").request("ephemeral-storage", Bytes::gib(1));
/// ```
impl Container {
    /// What it is promised: processor time (`250m` is a quarter of a core) and memory (`64Mi`).
    ///
    /// ```
    /// # use kprov::build::*;
    /// let web = Container::new("web", "nginx:1.27").requests("100m", Bytes::mib(64));
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
    /// ```
    #[must_use]
    #[track_caller]
    pub fn limit(mut self, resource: impl Of<Key>, amount: impl Into<Quantity>) -> Self {
        let limits = self.0.resources.get_or_insert_default().limits.get_or_insert_default();
        limits.insert(resource.checked().into(), amount.into());
        self
    }
}
