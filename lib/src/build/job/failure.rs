//! What the failure of a job's pod means.

use k8s_openapi::api::batch::v1 as batch;

use crate::build::text::{DnsLabel, Of};
use crate::build::wraps::part;

/// What follows when a rule fits.
///
/// ```
/// # use kprov::build::*;
/// let rule = FailureRule::exit_code([42], Then::FailJob);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// The whole job has failed.
    FailJob,
    /// The pod's number has failed, in a job of numbered pods with retries of each number.
    FailIndex,
    /// Another pod is started, and the failure is not counted.
    Ignore,
    /// Another pod is started, and the failure is counted.
    Count,
}

part! {
    /// What the failure of a pod means, by its exit code or by what happened to it.
    ///
    /// ```
    /// use kprov::build::*;
    /// let job = Job::new("train", Container::new("train", "shop:1"))
    ///     .on_failure(FailureRule::disruption(Then::Ignore))
    ///     .on_failure(FailureRule::exit_code([42], Then::FailJob));
    /// assert_eq!(job.build().spec.unwrap().pod_failure_policy.unwrap().rules.len(), 2);
    /// ```
    /// Source: <https://kubernetes.io/docs/concepts/workloads/controllers/job/#pod-failure-policy>
    FailureRule(batch::PodFailurePolicyRule)
}

/// What a rule looks at.
///
/// ```
/// # use kprov::build::*;
/// let rules = [
///     FailureRule::other_exit_code([0, 42], Then::Count).of_container("train"),
///     FailureRule::condition("ConfigIssue", Then::FailJob),
/// ];
/// assert!(rules[0].build().on_exit_codes.is_some() && rules[1].build().on_pod_conditions.is_some());
/// ```
impl FailureRule {
    fn exit(codes: impl IntoIterator<Item = u8>, operator: &str, then: Then) -> Self {
        let requirement = batch::PodFailurePolicyOnExitCodesRequirement {
            operator: operator.to_owned(),
            values: codes.into_iter().map(i32::from).collect(),
            container_name: None,
        };
        Self(batch::PodFailurePolicyRule {
            action: format!("{then:?}"),
            on_exit_codes: Some(requirement),
            on_pod_conditions: None,
        })
    }

    /// A container ended with one of these codes; 0 is no failure.
    #[must_use]
    pub fn exit_code(codes: impl IntoIterator<Item = u8>, then: Then) -> Self {
        Self::exit(codes, "In", then)
    }

    /// A container ended with another code than these.
    #[must_use]
    pub fn other_exit_code(codes: impl IntoIterator<Item = u8>, then: Then) -> Self {
        Self::exit(codes, "NotIn", then)
    }

    /// The pod was driven away: by a drain, by a pod of higher priority, with its node.
    #[must_use]
    pub fn disruption(then: Then) -> Self {
        Self::condition("DisruptionTarget", then)
    }

    /// The pod got a condition of that type with status True.
    #[must_use]
    pub fn condition(type_: impl Into<String>, then: Then) -> Self {
        let pattern =
            batch::PodFailurePolicyOnPodConditionsPattern { type_: type_.into(), status: Some("True".to_owned()) };
        Self(batch::PodFailurePolicyRule {
            action: format!("{then:?}"),
            on_exit_codes: None,
            on_pod_conditions: Some(vec![pattern]),
        })
    }

    /// Looks at the exit code of this container only.
    ///
    /// Panics when the rule does not look at exit codes.
    #[must_use]
    #[track_caller]
    pub fn of_container(mut self, container: impl Of<DnsLabel>) -> Self {
        let codes = self.0.on_exit_codes.as_mut().expect("only a rule for exit codes looks at one container");
        codes.container_name = Some(container.checked().into());
        self
    }
}
