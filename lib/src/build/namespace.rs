//! Namespaces, and how strictly pods in them are judged.

use k8s_openapi::api::core::v1 as core;

use super::object::named;
use super::text::{DnsLabel, Name, Of};
use super::wraps::object;

object! {
    /// A name for a group of objects that belong together.
    ///
    /// ```
    /// use kprov::build::*;
    /// let shop = Namespace::new("shop").enforce(PodSecurity::Baseline).warn(PodSecurity::Restricted);
    /// let settings = ConfigMap::new("settings").namespace("shop");
    /// ```
    /// Source: <https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/>
    cluster Namespace(core::Namespace)
}

/// How strictly pods are judged.
///
/// ```
/// use kprov::build::*;
/// let shop = Namespace::new("shop").enforce(PodSecurity::Restricted);
/// ```
/// Source: <https://kubernetes.io/docs/concepts/security/pod-security-standards/>
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PodSecurity {
    /// Everything goes.
    Privileged,
    /// Known ways to become the node's administrator are refused.
    Baseline,
    /// Today's best practice; [`super::Secured::restricted`] makes pods that keep it.
    Restricted,
}

impl PodSecurity {
    fn label(self) -> &'static str {
        match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        }
    }
}

/// How strictly pods in it are judged; each of the three may have a level of its own.
///
/// ```
/// # use kprov::build::*;
/// let shop = Namespace::new("shop").enforce(PodSecurity::Baseline).audit(PodSecurity::Restricted);
/// ```
impl Namespace {
    /// An empty namespace.
    #[must_use]
    #[track_caller]
    pub fn new(name: impl Of<DnsLabel>) -> Self {
        let name: Name = name.checked().into();
        Self(core::Namespace { metadata: named(name), ..core::Namespace::default() })
    }

    /// Refuses pods below that level.
    #[must_use]
    pub fn enforce(self, level: PodSecurity) -> Self {
        self.judge("enforce", level)
    }

    /// Warns who makes pods below that level.
    #[must_use]
    pub fn warn(self, level: PodSecurity) -> Self {
        self.judge("warn", level)
    }

    /// Notes pods below that level in the audit log.
    #[must_use]
    pub fn audit(self, level: PodSecurity) -> Self {
        self.judge("audit", level)
    }

    fn judge(mut self, mode: &str, level: PodSecurity) -> Self {
        let labels = self.0.metadata.labels.get_or_insert_default();
        labels.insert(format!("pod-security.kubernetes.io/{mode}"), level.label().to_owned());
        labels.insert(format!("pod-security.kubernetes.io/{mode}-version"), "latest".to_owned());
        self
    }
}
