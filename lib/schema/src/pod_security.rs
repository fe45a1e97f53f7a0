//! Pod Security: how far pods may go, by the three levels of Kubernetes and the version that a level is taken from.
//!
//! Source: <https://kubernetes.io/docs/concepts/security/pod-security-standards/>

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::core::v1::PodSpec;

use crate::status::FieldError;

mod baseline;
mod checks;
mod pod;
mod restricted;
mod words;

pub use checks::CHECKS;
pub use pod::{Container, Pod};

/// How much a pod is trusted, from the most to the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Everything is allowed.
    Privileged,
    /// What is known to lead out of a container is forbidden.
    Baseline,
    /// Best practice is demanded.
    Restricted,
}

impl Level {
    /// As labels name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Privileged, Self::Baseline, Self::Restricted].into_iter().find(|level| level.name() == text)
    }
}

/// The version of Kubernetes whose checks a level means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// Of 1.N, the N. One that is newer than all checks means the newest of each.
    Minor(u32),
    /// The newest checks.
    Latest,
}

impl Version {
    fn parse(text: &str) -> Option<Self> {
        if text == "latest" {
            return Some(Self::Latest);
        }
        let minor = text.strip_prefix("v1.")?;
        let plain = minor.bytes().all(|byte| byte.is_ascii_digit()) && (minor == "0" || !minor.starts_with('0'));
        minor.parse().ok().filter(|_| plain).map(Self::Minor)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Minor(minor) => write!(f, "v1.{minor}"),
            Self::Latest => f.write_str("latest"),
        }
    }
}

/// A level of a version: what pods are held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standard {
    /// How much pods are trusted.
    pub level: Level,
    /// Whose checks that means.
    pub version: Version,
}

impl fmt::Display for Standard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.level.name(), self.version)
    }
}

impl Standard {
    /// The newest checks of a level.
    #[must_use]
    pub const fn latest(level: Level) -> Self {
        Self { level, version: Version::Latest }
    }

    /// What of a pod this forbids; empty when it is allowed.
    ///
    /// `annotations` are the pod's, or its template's.
    #[must_use]
    pub fn forbids(self, annotations: Option<&BTreeMap<String, String>>, spec: &PodSpec) -> Forbidden {
        let pod = Pod { annotations, spec };
        let checks = CHECKS.iter().filter(|check| self.includes(check));
        Forbidden(checks.filter_map(|check| (check.at(self.version)?)(&pod)).collect())
    }

    /// Whether a check belongs to this level, and no stricter one has its place.
    fn includes(self, check: &Check) -> bool {
        let in_place_of = |other: &&Check| other.replaces == Some(check.id) && other.at(self.version).is_some();
        match self.level {
            Level::Privileged => false,
            Level::Baseline => check.level == Level::Baseline,
            Level::Restricted => !CHECKS.iter().any(|other| in_place_of(&other)),
        }
    }
}

/// One thing that levels look at.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// Upstream's name of it.
    pub id: &'static str,
    /// The first level that asks for it.
    pub level: Level,
    /// A baseline check that this one is the stricter form of.
    pub replaces: Option<&'static str>,
    /// From which minor version on it asks what, in order.
    pub versions: &'static [(u32, Judgement)],
}

/// What of a pod a check forbids.
pub type Judgement = fn(&Pod<'_>) -> Option<Violation>;

impl Check {
    /// What it asks at a version, if it is that old.
    fn at(&self, version: Version) -> Option<Judgement> {
        let old = |(since, _): &&(u32, Judgement)| Version::Minor(*since) <= version;
        self.versions.iter().rev().find(old).map(|(_, judgement)| *judgement)
    }
}

/// What a check forbids in a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// In a word or two, such as `host namespaces`.
    pub reason: &'static str,
    /// What of the pod, such as `hostNetwork=true`.
    pub detail: String,
}

/// Everything of a pod that a level forbids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forbidden(pub Vec<Violation>);

impl Forbidden {
    /// Whether the pod is allowed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is forbidden in short, as it is told of many pods: `host namespaces, privileged`.
    #[must_use]
    pub fn reasons(&self) -> String {
        self.0.iter().map(|one| one.reason).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Forbidden {
    /// With details: `host namespaces (hostNetwork=true), hostPort (container "c" uses hostPort 80)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, one) in self.0.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{} ({})", one.reason, one.detail)?;
        }
        Ok(())
    }
}

/// What the labels of a namespace ask of its pods.
///
/// ```
/// use kprov_schema::pod_security::Policy;
///
/// let labels = [("pod-security.kubernetes.io/enforce", "baseline"), ("pod-security.kubernetes.io/warn-version", "v1.31")];
/// let (policy, wrong) = Policy::of(labels);
/// assert!(wrong.is_empty());
/// assert_eq!(policy.enforce.to_string(), "baseline:latest");
/// assert_eq!(policy.warn.to_string(), "baseline:v1.31");
/// ```
/// Source: <https://kubernetes.io/docs/concepts/security/pod-security-admission/>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Pods that break it are refused.
    pub enforce: Standard,
    /// What breaks it is told about.
    pub warn: Standard,
}

const PREFIX: &str = "pod-security.kubernetes.io/";

impl Policy {
    /// Reads labels, with what is wrong with them. What can't be read asks for the most of pods that are to be refused,
    /// and for nothing where only advice would come of it.
    pub fn of<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> (Self, Vec<FieldError>) {
        let labels: BTreeMap<&str, &str> =
            labels.into_iter().filter_map(|(key, value)| Some((key.strip_prefix(PREFIX)?, value))).collect();
        let mut wrong = Vec::new();
        let enforce = mode(&labels, "enforce", Level::Restricted, &mut wrong);
        // Nothing here writes an audit log; its labels are held to the same form.
        mode(&labels, "audit", Level::Privileged, &mut wrong);
        let mut warn = mode(&labels, "warn", Level::Privileged, &mut wrong);
        let read = labels.get("enforce").is_some_and(|level| Level::parse(level).is_some());
        if !labels.contains_key("warn") && read && enforce.level > warn.level {
            warn.level = enforce.level;
            if !labels.contains_key("warn-version") {
                warn.version = enforce.version;
            }
        }
        (Self { enforce, warn }, wrong)
    }
}

/// What two labels say of one mode.
fn mode(labels: &BTreeMap<&str, &str>, name: &str, unread: Level, wrong: &mut Vec<FieldError>) -> Standard {
    let mut refuse = |label: &str, value: &str, why: &str| {
        wrong.push(FieldError::invalid_text(format!("metadata.labels[{PREFIX}{label}]"), value, why));
    };
    let mut standard = Standard::latest(Level::Privileged);
    if let Some(value) = labels.get(name) {
        standard.level = Level::parse(value).unwrap_or_else(|| {
            refuse(name, value, "must be one of privileged, baseline, restricted");
            unread
        });
    }
    let label = format!("{name}-version");
    if let Some(value) = labels.get(label.as_str()) {
        standard.version = Version::parse(value).unwrap_or_else(|| {
            refuse(&label, value, "must be \"latest\" or \"v1.x\"");
            Version::Latest
        });
    }
    standard
}

#[cfg(test)]
mod tests;
