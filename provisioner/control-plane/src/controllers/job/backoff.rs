//! How long a Job waits before it replaces failed pods: 10 s, doubled by each failure since the last success.
//!
//! Source: upstream `pkg/controller/job/backoff_utils.go`.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use crate::controllers::machinery::status;

const FIRST: Duration = Duration::from_secs(10);
const LAST: Duration = Duration::from_secs(600);

/// When a pod may be made after so many failures, the last of them at `last`.
pub(super) fn due(failures: u32, last: Timestamp) -> Timestamp {
    last + FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LAST)
}

/// When the next pod may be made, given how the others ended; `None`: at once.
pub(super) fn after<'a>(
    succeeded: impl Iterator<Item = &'a Pod>,
    failed: impl Iterator<Item = &'a Pod>,
) -> Option<Timestamp> {
    let success = succeeded.filter_map(ended_at).max();
    let since: Vec<Timestamp> =
        failed.filter_map(ended_at).filter(|at| success.is_none_or(|success| *at > success)).collect();
    let last = since.iter().max()?;
    Some(due(u32::try_from(since.len()).unwrap_or(u32::MAX), *last))
}

/// When a pod ended: its last container, else when it stopped being ready, else when it was deleted or made.
pub(super) fn ended_at(pod: &Pod) -> Option<Timestamp> {
    let not_ready = || {
        let ready = status::condition(pod, "Ready").filter(|ready| ready.status == "False")?;
        ready.last_transition_time.as_ref().map(|time| time.0)
    };
    let deleted = || {
        let at = pod.metadata.deletion_timestamp.as_ref()?.0;
        let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or(0);
        Some(at - Duration::from_secs(u64::try_from(grace).unwrap_or(0)))
    };
    let made = || pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    containers_ended_at(pod).or_else(not_ready).or_else(deleted).or_else(made)
}

fn containers_ended_at(pod: &Pod) -> Option<Timestamp> {
    let sidecars: Vec<&str> = pod
        .spec
        .iter()
        .flat_map(|spec| spec.init_containers.iter().flatten())
        .filter(|container| container.restart_policy.as_deref() == Some("Always"))
        .map(|container| container.name.as_str())
        .collect();
    let status = pod.status.as_ref()?;
    let beside = status.init_container_statuses.iter().flatten().filter(|one| sidecars.contains(&one.name.as_str()));
    let all = status.container_statuses.iter().flatten().chain(beside);
    let ended = |one: &ContainerStatus| Some(one.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref()?.0);
    let moments: Option<Vec<Timestamp>> = all.map(ended).collect();
    moments?.into_iter().max()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ended(second: i64) -> Pod {
        let at = Timestamp::from_second(second).unwrap().to_string();
        let status = json!({"containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": false,
            "restartCount": 0, "state": {"terminated": {"exitCode": 1, "finishedAt": at}}}]});
        serde_json::from_value(json!({"metadata": {}, "status": status})).unwrap()
    }

    #[test]
    fn failures_since_the_last_success_double_the_wait() {
        for (succeeded, failed, wanted) in [
            (vec![], vec![], None),
            (vec![], vec![100], Some(110)),
            (vec![], vec![100, 120, 90], Some(160)),
            (vec![110], vec![100, 120], Some(130)),
            (vec![130], vec![100, 120], None),
            (vec![], (0..20).collect(), Some(619)),
        ] {
            let pods = |seconds: &[i64]| seconds.iter().map(|second| ended(*second)).collect::<Vec<_>>();
            let (succeeded, failed) = (pods(&succeeded), pods(&failed));
            let due = after(succeeded.iter(), failed.iter());
            assert_eq!(due.map(|at| at.as_second()), wanted);
        }
    }
}
