//! What the agent knows of one pod when it decides.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ContainerUser;

use super::failure::Reason;
use super::probe::{ProbeKind, Tally};
use crate::runtime::Container;

/// One reading of everything a decision depends on beside the pod itself.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Address of the node.
    pub host_ip: IpAddr,
    /// The pod's sandbox, if it has one.
    pub sandbox: Option<SandboxSeen>,
    /// The pod's containers, dead ones included.
    pub containers: Vec<ContainerSeen>,
    /// What the agent remembers.
    pub memory: Memory,
}

/// The sandbox as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxSeen {
    /// Whether its keeper is there.
    pub ready: bool,
    /// The pod's address; `None` until the network told it.
    pub address: Option<IpAddr>,
}

/// A container as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerSeen {
    /// The runtime's view.
    pub container: Container,
    /// What it left as its last words, once it has ended.
    pub message: Option<String>,
}

/// What the agent remembers of a pod between two decisions. Losing it costs back-off, never a container.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// By container name.
    pub containers: BTreeMap<String, ContainerMemory>,
    /// Whether the volumes and files are in place.
    pub volumes_ready: bool,
    /// Whether volumes and files were taken away again.
    pub torn_down: bool,
    /// Since when nothing is left on disk, logs included.
    pub cleared: Option<Timestamp>,
    /// Whether the API was asked to forget the pod.
    pub deletion_sent: bool,
    /// Why volumes, network or sandbox could not be made.
    pub setup: Option<Failure>,
    /// Ids of containers that were asked to stop, with the time they are killed at.
    pub stopping: BTreeMap<String, Timestamp>,
    /// What needs to be told once only.
    pub told: BTreeSet<String>,
}

/// What the agent remembers of one container.
#[derive(Clone, Debug, Default)]
pub struct ContainerMemory {
    /// Why it could not be started.
    pub failure: Option<Failure>,
    /// How long its restarts are held back.
    pub back_off: Option<BackOff>,
    /// What it was started with.
    pub facts: Option<Facts>,
    /// It is being stopped so that it starts again, whatever the restart policy says.
    pub restart: bool,
    /// What its probes found.
    pub health: Health,
    /// Why it could not be held to other amounts while it runs.
    pub unsized_for: Option<Failure>,
}

/// What probes found out about a container; without probes it is started and ready as soon as it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Id of the container it is about.
    pub id: String,
    /// Its startup probe has succeeded.
    pub started: bool,
    /// Its readiness probe succeeds.
    pub ready: bool,
    /// The probe that gave it up.
    pub failed: Option<ProbeKind>,
    /// What each kind of probe found.
    pub tallies: BTreeMap<ProbeKind, Tally>,
}

/// What a container was started with, for its status.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// Id of the container it is about.
    pub id: String,
    /// The reference in the pod.
    pub reference: String,
    /// Full name of the image.
    pub image: String,
    /// Digest of the image.
    pub image_id: String,
    /// Who it runs as.
    pub user: Option<ContainerUser>,
}

/// An attempt that failed, and when the next one is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Machine-readable.
    pub reason: Reason,
    /// For people.
    pub message: String,
    /// When it failed.
    pub at: Timestamp,
    /// How often in a row.
    pub count: u32,
    /// When to try again.
    pub retry_at: Timestamp,
}

/// First delay of a restart or a pull.
const FIRST: Duration = Duration::from_secs(10);
/// Longest delay; twice this without a failure and counting starts anew.
const LONGEST: Duration = Duration::from_secs(300);

impl Failure {
    /// The failure after `previous`: 10 s, 20 s, 40 s ... 300 s.
    #[must_use]
    pub fn after(previous: Option<&Self>, reason: Reason, message: String, now: Timestamp) -> Self {
        let count = previous.map_or(1, |failure| failure.count.saturating_add(1));
        let delay = FIRST.saturating_mul(1 << (count - 1).min(8)).min(LONGEST);
        Self { reason, message, at: now, count, retry_at: later(now, delay) }
    }

    /// A failure that is tried again at the same pace, however often it happened.
    #[must_use]
    pub fn steady(previous: Option<&Self>, reason: Reason, message: String, now: Timestamp) -> Self {
        Self { retry_at: later(now, FIRST), ..Self::after(previous, reason, message, now) }
    }

    /// A failure that others may mend soon: 0.5 s, 1 s, 2 s ... 128 s.
    #[must_use]
    pub fn soon(previous: Option<&Self>, reason: Reason, message: String, now: Timestamp) -> Self {
        let all = Self::after(previous, reason, message, now);
        let delay = Duration::from_millis(500).saturating_mul(1 << (all.count - 1).min(8));
        Self { retry_at: later(now, delay), ..all }
    }
}

/// How long the restarts of a container are held back: the first is at once, then 10 s, 20 s, 40 s ... 300 s.
///
/// Source: client-go `flowcontrol.Backoff` as the kubelet uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackOff {
    /// Delay after the last end of the container.
    pub delay: Duration,
    /// When this delay was set: the time of the last restart.
    pub set_at: Timestamp,
}

impl BackOff {
    /// Until when the container, which ended at `finished`, is held back; `None` when it may start at once.
    #[must_use]
    pub fn until(self, finished: Timestamp) -> Option<Timestamp> {
        (!self.is_over(finished)).then(|| later(finished, self.delay))
    }

    /// The back-off after one more restart.
    #[must_use]
    pub fn next(previous: Option<Self>, finished: Timestamp, now: Timestamp) -> Self {
        let delay = match previous {
            Some(one) if !one.is_over(finished) => one.delay.saturating_mul(2).min(LONGEST),
            _ => FIRST,
        };
        Self { delay, set_at: now }
    }

    fn is_over(self, finished: Timestamp) -> bool {
        finished > later(self.set_at, LONGEST * 2)
    }
}

/// `time` plus `wait`, the end of time at most.
#[must_use]
pub fn later(time: Timestamp, wait: Duration) -> Timestamp {
    time.checked_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("in range")
    }

    #[test]
    fn restarts_are_held_back_ever_longer_until_a_container_has_run_for_ten_minutes() {
        let mut back_off = None;
        let mut delays = Vec::new();
        let mut now = 0;
        for _ in 0..8 {
            let next = BackOff::next(back_off, at(now), at(now));
            delays.push(next.delay.as_secs());
            assert_eq!(next.until(at(now + 1)), Some(later(at(now + 1), next.delay)));
            now += i64::try_from(next.delay.as_secs()).expect("small") + 1;
            back_off = Some(next);
        }
        assert_eq!(delays, [10, 20, 40, 80, 160, 300, 300, 300]);
        let last = back_off.expect("set above");
        assert_eq!(last.until(at(now + 601)), None);
        assert_eq!(BackOff::next(back_off, at(now + 601), at(now + 601)).delay.as_secs(), 10);
    }

    #[test]
    fn failures_double_their_delay() {
        let mut last: Option<Failure> = None;
        let mut delays = Vec::new();
        for _ in 0..7 {
            let next = Failure::after(last.as_ref(), Reason::ErrImagePull, String::new(), at(0));
            delays.push(next.retry_at.as_second());
            last = Some(next);
        }
        assert_eq!(delays, [10, 20, 40, 80, 160, 300, 300]);
    }
}
