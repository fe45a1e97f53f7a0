//! When a container is to be probed, and what the answers mean.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Probe};

use super::memory::{Health, later};
use super::view::{Doing, Role, View};

/// For how long a container that has just started is left alone, so that servers can begin to listen: the kubelet, too,
/// sees a container after a second.
const BEGINNING: Duration = Duration::from_secs(1);

/// What a probe is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeKind {
    /// Whether it has started; the others wait for it.
    Startup,
    /// Whether it has to be restarted.
    Liveness,
    /// Whether it is to be given work.
    Readiness,
}

impl ProbeKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Startup, Self::Liveness, Self::Readiness];

    /// As it stands in the middle of a sentence.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Liveness => "liveness",
            Self::Readiness => "readiness",
        }
    }

    /// As it stands at the beginning of a sentence.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }

    /// The probe of this kind that a container asks for.
    #[must_use]
    pub fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            Self::Startup => container.startup_probe.as_ref(),
            Self::Liveness => container.liveness_probe.as_ref(),
            Self::Readiness => container.readiness_probe.as_ref(),
        }
    }
}

/// What one kind of probe found out so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// When the last one began.
    pub begun: Option<Timestamp>,
    /// One is under way.
    pub under_way: bool,
    /// Successes since the last failure.
    pub successes: i32,
    /// Failures since the last success.
    pub failures: i32,
}

/// Seconds of a field that may be left out or wrong.
fn seconds(value: Option<i32>, default: u32) -> Duration {
    Duration::from_secs(value.and_then(|value| u64::try_from(value).ok()).unwrap_or_else(|| default.into()))
}

/// How long an answer may take.
#[must_use]
pub fn timeout(probe: &Probe) -> Duration {
    seconds(probe.timeout_seconds, 1).max(Duration::from_secs(1))
}

/// The probes of a container that are to be begun, with the time at which they are due.
///
/// `ending` tells that its pod is being taken down: then it matters only whether it still takes work.
#[must_use]
pub fn due(view: &View<'_>, ending: bool) -> Vec<(ProbeKind, Timestamp)> {
    let Doing::Running(since) = view.doing else { return Vec::new() };
    if matches!(view.role, Role::Init | Role::Ephemeral) {
        return Vec::new();
    }
    let health = view.health();
    let wanted = ProbeKind::ALL.into_iter().filter(|kind| match kind {
        ProbeKind::Startup => !ending && !view.is_started(),
        ProbeKind::Liveness => !ending && view.is_started(),
        ProbeKind::Readiness => view.is_started(),
    });
    let given_up = health.is_some_and(|health| health.failed.is_some());
    let due = wanted.filter(|kind| !given_up || *kind == ProbeKind::Readiness).filter_map(|kind| {
        let probe = kind.of(&view.spec)?;
        let tally = health.and_then(|health| health.tallies.get(&kind)).copied().unwrap_or_default();
        let delay = seconds(probe.initial_delay_seconds, 0).max(BEGINNING);
        let at = match tally.begun {
            Some(begun) => later(begun, seconds(probe.period_seconds, 10).max(Duration::from_secs(1))),
            None => later(since, delay),
        };
        (!tally.under_way).then_some((kind, at))
    });
    due.collect()
}

impl Health {
    /// What is known of a container before it is probed: what its last status says of it, as after a restart of the agent.
    #[must_use]
    pub fn of(view: &View<'_>) -> Self {
        Self {
            id: view.id().unwrap_or_default().to_owned(),
            started: view.spec.startup_probe.is_some() && view.is_started(),
            ready: view.spec.readiness_probe.is_some() && view.is_ready(),
            ..Self::default()
        }
    }

    /// A probe begins.
    pub fn begin(&mut self, kind: ProbeKind, now: Timestamp) {
        let tally = self.tallies.entry(kind).or_default();
        tally.begun = Some(now);
        tally.under_way = true;
    }

    /// A probe ends; `None` when it could not be made, which says nothing of the container.
    ///
    /// Source: kubelet `prober.worker`.
    pub fn end(&mut self, kind: ProbeKind, succeeded: Option<bool>, probe: &Probe) {
        let tally = self.tallies.entry(kind).or_default();
        tally.under_way = false;
        let Some(succeeded) = succeeded else { return };
        let (count, threshold) = if succeeded {
            (tally.successes, tally.failures) = (tally.successes.saturating_add(1), 0);
            (tally.successes, probe.success_threshold.unwrap_or(1))
        } else {
            (tally.successes, tally.failures) = (0, tally.failures.saturating_add(1));
            (tally.failures, probe.failure_threshold.unwrap_or(3))
        };
        if count < threshold {
            return;
        }
        match (kind, succeeded) {
            (ProbeKind::Startup, true) => self.started = true,
            (ProbeKind::Readiness, ready) => self.ready = ready,
            (ProbeKind::Startup | ProbeKind::Liveness, false) => self.failed = Some(kind),
            (ProbeKind::Liveness, true) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(kind: ProbeKind, answers: &str) -> (bool, bool, Option<ProbeKind>) {
        let probe = Probe { success_threshold: Some(2), failure_threshold: Some(3), ..Probe::default() };
        let mut health = Health::default();
        for answer in answers.chars() {
            let answer = match answer {
                '+' => Some(true),
                '-' => Some(false),
                _ => None,
            };
            health.end(kind, answer, &probe);
        }
        (health.started, health.ready, health.failed)
    }

    #[test]
    fn thresholds_count_in_a_row() {
        let live = ProbeKind::Liveness;
        for (kind, answers, wanted) in [
            (ProbeKind::Readiness, "+", (false, false, None)),
            (ProbeKind::Readiness, "+-+", (false, false, None)),
            (ProbeKind::Readiness, "-+?+", (false, true, None)),
            (ProbeKind::Readiness, "++--", (false, true, None)),
            (ProbeKind::Readiness, "++---", (false, false, None)),
            (live, "--+--", (false, false, None)),
            (live, "--?-", (false, false, Some(live))),
            (ProbeKind::Startup, "--++", (true, false, None)),
            (ProbeKind::Startup, "---", (false, false, Some(ProbeKind::Startup))),
        ] {
            assert_eq!(after(kind, answers), wanted, "{kind:?} {answers}");
        }
    }
}
