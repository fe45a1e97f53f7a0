//! Service accounts: who programs in pods are.

use k8s_openapi::api::core::v1 as core;

use super::object::named;
use super::text::{Name, Of};
use super::wraps::object;

object! {
    /// Who the programs of a pod are when they talk to the API server.
    ///
    /// ```
    /// use kprov::build::*;
    /// let operator = ServiceAccount::new("operator");
    /// let pod = Deployment::new("operator", Container::new("operator", "shop:1")).service_account(&operator);
    /// ```
    namespaced ServiceAccount(core::ServiceAccount)
}

impl ServiceAccount {
    /// An account without rights: roles and their bindings give it some.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let reader = ServiceAccount::new("reader").namespace("shop");
    /// let web = Deployment::new("web", Container::new("web", "shop:1")).service_account(&reader);
    /// ```
    #[must_use]
    #[track_caller]
    pub fn new(name: impl Of<Name>) -> Self {
        Self(core::ServiceAccount { metadata: named(name.checked()), ..core::ServiceAccount::default() })
    }
}
