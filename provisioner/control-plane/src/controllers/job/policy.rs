//! What a Job makes of how its pods end: failure policy by pod, success policy by indexes.
//!
//! Source: upstream `pkg/controller/job/pod_failure_policy.go`, `success_policy.go`.

use k8s_openapi::api::batch::v1::{
    PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyOnPodConditionsPattern,
    PodFailurePolicyRule, SuccessPolicy,
};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::indexes::Indexes;

/// What a failed pod means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It counts towards the limits.
    Counts,
    /// It does not count.
    Ignored,
    /// Its index has failed.
    FailsIndex,
    /// The whole Job has failed, with the reason for people.
    FailsJob(String),
}

/// What the first rule says that matches a failed pod.
pub(super) fn verdict(policy: Option<&PodFailurePolicy>, pod: &Pod) -> Verdict {
    let rules = policy.into_iter().flat_map(|policy| policy.rules.iter().enumerate());
    let found = rules.filter_map(|(at, rule)| Some((at, rule, matched(rule, pod)?))).next();
    let Some((at, rule, what)) = found else { return Verdict::Counts };
    match &*rule.action {
        "Ignore" => Verdict::Ignored,
        "FailIndex" => Verdict::FailsIndex,
        "FailJob" => Verdict::FailsJob(format!("{what} matching FailJob rule at index {at}")),
        _ => Verdict::Counts,
    }
}

/// What a rule matches on a pod, for people.
fn matched(rule: &PodFailurePolicyRule, pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let name = format!("{}/{}", text(&pod.metadata.namespace), text(&pod.metadata.name));
    if let Some(codes) = &rule.on_exit_codes {
        let containers = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
        let (container, code) = containers.filter_map(|one| Some((&one.name, matching_code(one, codes)?))).next()?;
        return Some(format!("Container {container} for pod {name} failed with exit code {code}"));
    }
    let patterns = rule.on_pod_conditions.as_ref()?;
    let fits = |pattern: &PodFailurePolicyOnPodConditionsPattern, type_: &str, status: &str| {
        pattern.type_ == type_ && pattern.status.as_deref().unwrap_or("True") == status
    };
    let mut conditions = status.conditions.iter().flatten();
    let condition = conditions.find(|one| patterns.iter().any(|pattern| fits(pattern, &one.type_, &one.status)))?;
    Some(format!("Pod {name} has condition {}", condition.type_))
}

fn matching_code(container: &ContainerStatus, codes: &PodFailurePolicyOnExitCodesRequirement) -> Option<i32> {
    let code = container.state.as_ref()?.terminated.as_ref()?.exit_code;
    let named = codes.container_name.as_ref().is_none_or(|name| *name == container.name);
    let listed = codes.values.contains(&code);
    let fits = match &*codes.operator {
        "In" => listed,
        "NotIn" => !listed,
        _ => false,
    };
    (named && code != 0 && fits).then_some(code)
}

/// Which rule of a success policy is met.
pub(super) fn success(policy: Option<&SuccessPolicy>, completions: i32, succeeded: &Indexes) -> Option<String> {
    let policy = policy.filter(|_| !succeeded.is_empty())?;
    let met = policy.rules.iter().position(|rule| {
        let enough =
            |have: usize| rule.succeeded_count.is_some_and(|count| have >= usize::try_from(count).unwrap_or(0));
        match &rule.succeeded_indexes {
            None => enough(succeeded.len()),
            Some(required) => {
                let required = Indexes::parse(required, completions);
                let have = required.in_common(succeeded);
                !required.is_empty() && (have == required.len() || enough(have))
            }
        }
    })?;
    Some(format!("Matched rules at index {met}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_first_rule_that_matches_decides() {
        let policy: PodFailurePolicy = serde_json::from_value(json!({"rules": [
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {"action": "FailJob", "onExitCodes": {"containerName": "c", "operator": "In", "values": [42]}},
            {"action": "FailIndex", "onExitCodes": {"operator": "NotIn", "values": [1, 42]}},
        ]}))
        .unwrap();
        let judged = |code: i32, container: &str, conditions: Value| {
            let pod = json!({"metadata": {"namespace": "n", "name": "p"}, "status": {"conditions": conditions,
                "containerStatuses": [{"name": container, "image": "", "imageID": "", "ready": false, "restartCount": 0,
                    "state": {"terminated": {"exitCode": code}}}]}});
            verdict(Some(&policy), &serde_json::from_value(pod).unwrap())
        };
        let why = "Container c for pod n/p failed with exit code 42 matching FailJob rule at index 1";
        assert_eq!(judged(42, "c", json!([])), Verdict::FailsJob(why.into()));
        assert_eq!(judged(42, "d", json!([])), Verdict::Counts);
        assert_eq!(judged(7, "c", json!([])), Verdict::FailsIndex);
        assert_eq!(judged(1, "c", json!([])), Verdict::Counts);
        assert_eq!(judged(42, "c", json!([{"type": "DisruptionTarget", "status": "True"}])), Verdict::Ignored);
    }

    #[test]
    fn a_rule_asks_for_indexes_or_a_number_of_them() {
        for (rules, succeeded, wanted) in [
            (json!([{"succeededCount": 2}]), "0,3", Some(0)),
            (json!([{"succeededCount": 3}]), "0,3", None),
            (json!([{"succeededIndexes": "0-2"}, {"succeededIndexes": "1,3"}]), "1-3", Some(1)),
            (json!([{"succeededIndexes": "0-2", "succeededCount": 2}]), "1-3", Some(0)),
            (json!([{"succeededCount": 1}]), "", None),
        ] {
            let policy: SuccessPolicy = serde_json::from_value(json!({"rules": rules})).unwrap();
            let met = success(Some(&policy), 5, &Indexes::parse(succeeded, 5));
            assert_eq!(met, wanted.map(|at| format!("Matched rules at index {at}")), "{rules}");
        }
    }
}
