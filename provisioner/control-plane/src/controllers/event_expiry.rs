//! Events that nobody needs any more.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kprov_schema::{Key, Resource};

use super::machinery::action::{Action, Outcome};
use super::machinery::snapshot::Snapshot;
use super::machinery::{Config, Controller, Watch};
use crate::informer::Unreadable;

/// How long an event is kept after it happened last.
const KEPT: Duration = Duration::from_secs(3600);

/// Deletes old events.
pub struct EventExpiry;

impl Controller for EventExpiry {
    const NAME: &'static str = "event-expiry-controller";

    fn new(_: &Config, _: Timestamp) -> Self {
        Self
    }

    fn watches() -> Vec<Watch> {
        vec![Watch::own::<Event>()]
    }

    fn reconcile(&self, key: &Key, world: &Snapshot, now: Timestamp) -> Result<Outcome, Unreadable> {
        let Some(event) = world.get::<Event>(key)?.filter(|event| !event.raw.is_deleting()) else {
            return Ok(Outcome::nothing());
        };
        let seconds = [&event.last_timestamp, &event.metadata.creation_timestamp];
        let moments = seconds.into_iter().flatten().map(|time| time.0);
        let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref());
        let precise = [event.event_time.as_ref(), series].into_iter().flatten().map(|time| time.0);
        let Some(last) = moments.chain(precise).max() else { return Ok(Outcome::nothing()) };
        let end = last + KEPT;
        if end > now {
            return Ok(Outcome { actions: Vec::new(), recheck_at: Some(end) });
        }
        Ok(vec![Action::delete(Resource::of::<Event>(), key.clone(), &event.raw.uid())].into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_goes_an_hour_after_it_happened_last() {
        let event = |last: &str| {
            json!({"apiVersion": "v1", "kind": "Event", "involvedObject": {}, "lastTimestamp": last,
                "metadata": {"name": "e", "namespace": "n", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"}})
        };
        let now = "2026-01-01T01:30:00Z".parse().unwrap();
        let decide = |last| {
            let world = Snapshot::given(&EventExpiry::watches(), &[event(last)]);
            EventExpiry.reconcile(&Key::new("n", "e"), &world, now).unwrap()
        };
        assert_eq!(decide("2026-01-01T00:00:00Z").actions.len(), 1);
        let kept = decide("2026-01-01T01:00:00Z");
        assert_eq!((kept.actions.len(), kept.recheck_at), (0, Some("2026-01-01T02:00:00Z".parse().unwrap())));
    }
}
