//! The arithmetic of rollouts: how large each ReplicaSet of a Deployment may be next.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// What a Deployment asks for, in numbers of pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Pods asked for.
    pub desired: i32,
    /// Pods beyond `desired` that a rollout may make.
    pub surge: i32,
    /// Pods below `desired` that a rollout may be without.
    pub unavailable: i32,
    /// Whether pods are replaced gradually; else all at once.
    pub rolling: bool,
}

impl Limits {
    /// The limits of a Deployment.
    ///
    /// Surge percentages round up, unavailable ones down; if both come to 0, one pod may be unavailable.
    #[must_use]
    pub fn of(deployment: &Deployment) -> Self {
        let spec = &deployment.spec;
        let strategy = spec.strategy.clone().unwrap_or_default();
        let desired = spec.replicas.unwrap_or(1);
        let rolling = strategy.type_.as_deref() != Some("Recreate");
        if !rolling {
            return Self { desired, surge: 0, unavailable: 0, rolling };
        }
        let rolling_update = strategy.rolling_update.unwrap_or_default();
        let surge = scaled(rolling_update.max_surge.as_ref(), desired, true);
        let mut unavailable = scaled(rolling_update.max_unavailable.as_ref(), desired, false);
        if surge == 0 && unavailable == 0 {
            unavailable = 1;
        }
        Self { desired, surge, unavailable: unavailable.min(desired), rolling }
    }

    /// The most pods that may exist.
    #[must_use]
    pub fn most(&self) -> i32 {
        self.desired + self.surge
    }

    /// The fewest pods that must be available.
    #[must_use]
    pub fn least(&self) -> i32 {
        self.desired - self.unavailable
    }

    /// The next size of the newest set: up to what surge allows, never beyond what is asked for.
    #[must_use]
    pub fn newest(&self, current: i32, total: i32) -> i32 {
        if !self.rolling {
            return self.desired;
        }
        if total >= self.most() { current } else { current + (self.most() - total).min(self.desired - current) }
    }
}

/// A number or a percentage of `of`; 0 when absent or malformed.
#[must_use]
pub fn scaled(value: Option<&IntOrString>, of: i32, round_up: bool) -> i32 {
    match value {
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(text)) => {
            let percent: i64 = text.strip_suffix('%').and_then(|number| number.parse().ok()).unwrap_or(0);
            let hundredths = percent * i64::from(of);
            let whole = if round_up { (hundredths + 99).div_euclid(100) } else { hundredths.div_euclid(100) };
            i32::try_from(whole).unwrap_or(i32::MAX)
        }
        None => 0,
    }
}

/// The size of one set as scaling in proportion sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// Pods that it asks for.
    pub replicas: i32,
    /// The most pods of the Deployment when it was last sized; `None` when not known.
    pub most_before: Option<i32>,
}

/// New sizes for sets of a rollout whose Deployment was resized, in the order given: largest first.
///
/// `pods_now` stands in for an unknown earlier size.
#[must_use]
pub fn proportional(limits: Limits, shares: &[Share], pods_now: i32) -> Vec<i32> {
    let total: i32 = shares.iter().map(|share| share.replicas).sum();
    let allowed = if limits.desired > 0 { limits.most() } else { 0 };
    let to_add = allowed - total;
    let mut added = 0;
    let mut sizes: Vec<i32> = shares
        .iter()
        .map(|share| {
            let proportion = proportion(limits, share, pods_now, to_add, added);
            added += proportion;
            share.replicas + proportion
        })
        .collect();
    if let Some(first) = sizes.first_mut() {
        *first = (*first + to_add - added).max(0);
    }
    sizes
}

fn proportion(limits: Limits, share: &Share, pods_now: i32, to_add: i32, added: i32) -> i32 {
    if share.replicas == 0 || to_add == 0 || to_add == added {
        return 0;
    }
    let fraction = fraction(limits, share, pods_now);
    if to_add > 0 { fraction.min(to_add - added) } else { fraction.max(to_add - added) }
}

fn fraction(limits: Limits, share: &Share, pods_now: i32) -> i32 {
    if limits.desired == 0 {
        return -share.replicas;
    }
    let before = share.most_before.filter(|most| *most != 0).unwrap_or(pods_now);
    if before == 0 {
        return 0;
    }
    let exact = f64::from(share.replicas) * f64::from(limits.most()) / f64::from(before);
    #[allow(clippy::cast_possible_truncation, reason = "sizes of sets fit an i32")]
    let rounded = exact.round() as i32;
    rounded - share.replicas
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn limits(strategy: serde_json::Value, replicas: i32) -> Limits {
        let deployment = json!({"spec": {"replicas": replicas, "strategy": strategy, "selector": {}, "template": {}}});
        Limits::of(&serde_json::from_value(deployment).unwrap())
    }

    #[test]
    fn percentages_round_surge_up_and_unavailable_down() {
        let quarter = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}});
        for (replicas, most, least) in [(1, 2, 1), (2, 3, 2), (3, 4, 3), (4, 5, 3), (8, 10, 6), (0, 0, 0)] {
            let limits = limits(quarter.clone(), replicas);
            assert_eq!((limits.most(), limits.least()), (most, least), "{replicas}");
        }
        let neither = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": "1%"}});
        assert_eq!(limits(neither, 3).unavailable, 1);
    }

    #[test]
    fn the_newest_set_grows_into_the_surge() {
        let limits = limits(json!({"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}), 4);
        for (current, total, next) in [(0, 4, 1), (1, 4, 2), (1, 5, 1), (3, 3, 4), (4, 4, 4)] {
            assert_eq!(limits.newest(current, total), next);
        }
    }

    #[test]
    fn resizing_keeps_proportions() {
        let quarter = json!({"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}});
        let share = |replicas| Share { replicas, most_before: Some(5) };
        assert_eq!(proportional(limits(quarter.clone(), 8), &[share(3), share(2)], 5), [6, 4]);
        assert_eq!(proportional(limits(quarter.clone(), 0), &[share(3), share(2)], 5), [0, 0]);
        assert_eq!(proportional(limits(quarter, 2), &[share(3), share(2)], 5), [2, 1]);
    }
}
