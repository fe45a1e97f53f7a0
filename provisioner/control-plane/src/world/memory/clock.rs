//! A clock that stands still until it is moved.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::oneshot;

use crate::world::Clock;

/// A clock that stands still until it is moved. It begins on 1 January 2030.
#[derive(Debug)]
pub struct ManualClock(Mutex<Time>);

#[derive(Debug)]
struct Time {
    now: Timestamp,
    sleepers: BTreeMap<(Timestamp, u64), oneshot::Sender<()>>,
    asleep: u64,
}

impl Default for ManualClock {
    fn default() -> Self {
        let now = Timestamp::from_second(1_893_456_000).expect("the year 2030 is a time");
        Self(Mutex::new(Time { now, sleepers: BTreeMap::new(), asleep: 0 }))
    }
}

impl ManualClock {
    /// Moves it on; wakes everybody whose time has come.
    pub fn advance(&self, by: Duration) {
        let until = self.time().now.saturating_add(by).unwrap_or(Timestamp::MAX);
        self.advance_to(until);
    }

    /// Moves it on to a time; a time that has passed moves nothing.
    pub fn advance_to(&self, until: Timestamp) {
        let mut time = self.time();
        let now = time.now.max(until);
        time.now = now;
        let later = time.sleepers.split_off(&(now, u64::MAX));
        let woken = std::mem::replace(&mut time.sleepers, later);
        drop(time);
        for sleeper in woken.into_values() {
            // One that stopped waiting is not there to be woken.
            let _ = sleeper.send(());
        }
    }

    /// The next time that somebody sleeps until.
    #[must_use]
    pub fn next_wake(&self) -> Option<Timestamp> {
        let mut time = self.time();
        time.sleepers.retain(|_, sleeper| !sleeper.is_closed());
        time.sleepers.keys().next().map(|(until, _)| *until)
    }

    fn time(&self) -> MutexGuard<'_, Time> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.time().now
    }

    fn sleep_until(&self, until: Timestamp) -> BoxFuture<'static, ()> {
        let mut time = self.time();
        if until <= time.now {
            return Box::pin(std::future::ready(()));
        }
        time.sleepers.retain(|_, sleeper| !sleeper.is_closed());
        time.asleep += 1;
        let (sender, woken) = oneshot::channel();
        let place = (until, time.asleep);
        time.sleepers.insert(place, sender);
        Box::pin(async move {
            if woken.await.is_err() {
                // The clock is gone: its time will not come.
                std::future::pending::<()>().await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn wakes_those_whose_time_has_come() {
        let clock = ManualClock::default();
        let start = clock.now();
        let mut soon = clock.sleep_until(start.saturating_add(Duration::from_secs(1)).unwrap());
        let mut late = clock.sleep_until(start.saturating_add(Duration::from_secs(9)).unwrap());
        assert!(soon.as_mut().now_or_never().is_none());
        clock.advance(Duration::from_secs(1));
        assert!(soon.now_or_never().is_some());
        assert!(late.as_mut().now_or_never().is_none());
        clock.advance_to(clock.next_wake().expect("one still sleeps"));
        assert!(late.now_or_never().is_some());
        assert_eq!(clock.next_wake(), None);
    }
}
