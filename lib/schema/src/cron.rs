//! Schedules in the form of cron: `*/5 * * * *`, `@daily`, `@every 1h`.

use jiff::civil::DateTime;
use jiff::{SignedDuration, ToSpan};

/// When something is due.
///
/// Example: `cron::parse("30 4 * * mon")` is due on Mondays at half past four.
/// Source: <https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#schedule-syntax>
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// At every minute that the fields name.
    At(Fields),
    /// Again and again after the same time.
    Every(SignedDuration),
}

/// The minutes, hours and days of a schedule, a bit each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    any_day: bool,
    any_weekday: bool,
}

/// What a field may hold.
struct Bounds {
    min: u32,
    max: u32,
    names: &'static [&'static str],
    first_name: u32,
}

const MINUTES: Bounds = Bounds { min: 0, max: 59, names: &[], first_name: 0 };
const HOURS: Bounds = Bounds { min: 0, max: 23, names: &[], first_name: 0 };
const DAYS: Bounds = Bounds { min: 1, max: 31, names: &[], first_name: 0 };
const MONTHS: Bounds = Bounds {
    min: 1,
    max: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    first_name: 1,
};
const WEEKDAYS: Bounds =
    Bounds { min: 0, max: 6, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"], first_name: 0 };

/// Reads a schedule. Errors are upstream's texts.
pub fn parse(text: &str) -> Result<Schedule, String> {
    if text.is_empty() {
        return Err("empty spec string".to_owned());
    }
    let text = match text.strip_prefix("TZ=").or_else(|| text.strip_prefix("CRON_TZ=")) {
        Some(rest) => rest.split_once(' ').ok_or("invalid schedule format: no schedule behind the time zone")?.1.trim(),
        None => text,
    };
    if text.starts_with('@') { descriptor(text) } else { at(text) }
}

fn at(text: &str) -> Result<Schedule, String> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let [minutes, hours, days, months, weekdays] = fields[..] else {
        return Err(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
    };
    let (minutes, _) = field(minutes, &MINUTES)?;
    let (hours, _) = field(hours, &HOURS)?;
    let (days, any_day) = field(days, &DAYS)?;
    let (months, _) = field(months, &MONTHS)?;
    let (weekdays, any_weekday) = field(weekdays, &WEEKDAYS)?;
    Ok(Schedule::At(Fields { minutes, hours, days, months, weekdays, any_day, any_weekday }))
}

fn descriptor(text: &str) -> Result<Schedule, String> {
    match text {
        "@yearly" | "@annually" => at("0 0 1 1 *"),
        "@monthly" => at("0 0 1 * *"),
        "@weekly" => at("0 0 * * 0"),
        "@daily" | "@midnight" => at("0 0 * * *"),
        "@hourly" => at("0 * * * *"),
        _ => match text.strip_prefix("@every ") {
            Some(every) => duration(every)
                .map(Schedule::Every)
                .ok_or_else(|| format!("failed to parse duration {text}: time: invalid duration {every:?}")),
            None => Err(format!("unrecognized descriptor: {text}")),
        },
    }
}

/// A duration such as `1h30m`; never less than a second.
fn duration(text: &str) -> Option<SignedDuration> {
    let mut rest = text;
    let mut seconds = 0_f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let unit_end = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| digits + at);
        let unit = match &rest[digits..unit_end] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        seconds += number * unit;
        rest = &rest[unit_end..];
    }
    (!text.is_empty()).then(|| SignedDuration::from_secs((seconds as i64).max(1)))
}

/// The bits of a field, and whether it was a star.
fn field(text: &str, bounds: &Bounds) -> Result<(u64, bool), String> {
    let mut bits = 0;
    let mut star = false;
    for range in text.split(',').filter(|range| !range.is_empty()) {
        let (some, any) = self::range(range, bounds)?;
        bits |= some;
        star |= any;
    }
    Ok((bits, star))
}

fn range(text: &str, bounds: &Bounds) -> Result<(u64, bool), String> {
    let parts: Vec<&str> = text.split('/').collect();
    let ends: Vec<&str> = parts[0].split('-').collect();
    let mut star = matches!(ends[0], "*" | "?");
    let (start, mut end) = match ends[..] {
        _ if star => (bounds.min, bounds.max),
        [one] => (number(one, bounds)?, number(one, bounds)?),
        [low, high] => (number(low, bounds)?, number(high, bounds)?),
        _ => return Err(format!("too many hyphens: {text}")),
    };
    let step = match parts[..] {
        [_] => 1,
        [_, step] => {
            let step = whole(step)?;
            if ends.len() == 1 {
                end = bounds.max;
            }
            star &= step <= 1;
            step
        }
        _ => return Err(format!("too many slashes: {text}")),
    };
    if start < bounds.min {
        return Err(format!("beginning of range ({start}) below minimum ({}): {text}", bounds.min));
    }
    if end > bounds.max {
        return Err(format!("end of range ({end}) above maximum ({}): {text}", bounds.max));
    }
    if start > end {
        return Err(format!("beginning of range ({start}) beyond end of range ({end}): {text}"));
    }
    if step == 0 {
        return Err(format!("step of range should be a positive number: {text}"));
    }
    let bits = (start..=end).step_by(step as usize).fold(0, |bits, one| bits | 1_u64 << one);
    Ok((bits, star))
}

fn number(text: &str, bounds: &Bounds) -> Result<u32, String> {
    let named = bounds.names.iter().position(|name| name.eq_ignore_ascii_case(text));
    named.map_or_else(|| whole(text), |at| Ok(at as u32 + bounds.first_name))
}

fn whole(text: &str) -> Result<u32, String> {
    let why = || format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax");
    let number: i64 = text.parse().map_err(|_| why())?;
    if number < 0 {
        return Err(format!("negative number ({number}) not allowed: {text}"));
    }
    u32::try_from(number).map_err(|_| why())
}

impl Schedule {
    /// The first time after another that it is due, on the same clock on the wall; `None` when there is none in five years.
    #[must_use]
    pub fn next(&self, after: DateTime) -> Option<DateTime> {
        match self {
            Self::Every(every) => after.checked_add(*every).ok(),
            Self::At(fields) => fields.next(after),
        }
    }
}

fn has(bits: u64, one: i8) -> bool {
    bits & (1 << one) != 0
}

impl Fields {
    fn next(&self, after: DateTime) -> Option<DateTime> {
        let mut time = after.with().second(0).subsec_nanosecond(0).build().ok()?.checked_add(1.minute()).ok()?;
        let last_year = after.year().checked_add(5)?;
        while time.year() <= last_year {
            if !has(self.months, time.month()) {
                time = time.first_of_month().checked_add(1.month()).ok()?.start_of_day();
            } else if !self.is_day(time) {
                time = time.start_of_day().checked_add(1.day()).ok()?;
            } else if !has(self.hours, time.hour()) {
                time = time.with().minute(0).build().ok()?.checked_add(1.hour()).ok()?;
            } else if !has(self.minutes, time.minute()) {
                time = time.checked_add(1.minute()).ok()?;
            } else {
                return Some(time);
            }
        }
        None
    }

    /// When both days are limited, either is enough.
    fn is_day(&self, time: DateTime) -> bool {
        let day = has(self.days, time.day());
        let weekday = has(self.weekdays, time.weekday().to_sunday_zero_offset());
        if self.any_day || self.any_weekday { day && weekday } else { day || weekday }
    }
}

/// Whether a name is one of the time zone database. Example: `Europe/Berlin`.
#[must_use]
pub fn is_time_zone(name: &str) -> bool {
    const NAMES: &str = include_str!("../data/timezones.txt");
    NAMES.lines().any(|one| one == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_wrong() {
        let cases = [
            ("a b", "expected exactly 5 fields, found 2: [a b]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("x * * * *", "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax"),
            ("@hourlyx", "unrecognized descriptor: @hourlyx"),
        ];
        for (text, why) in cases {
            assert_eq!(parse(text), Err(why.to_owned()), "{text}");
        }
    }

    #[test]
    fn time_zones_do_not_nest() {
        assert!(parse("TZ=UTC 0 0 * * *").is_ok() && parse("CRON_TZ=UTC @daily").is_ok());
        let zones = "TZ=UTC ".repeat(500_000);
        let error = parse(&format!("{zones}0 0 * * *")).unwrap_err();
        assert!(error.starts_with("expected exactly 5 fields, found 500004: [TZ=UTC TZ=UTC"), "{}", &error[..60]);
    }

    #[test]
    fn finds_the_next_time() {
        let cases = [
            ("*/5 * * * *", "2026-01-01T00:03:10", "2026-01-01T00:05:00"),
            ("30 4 * * mon", "2026-01-01T00:00:00", "2026-01-05T04:30:00"),
            ("0 0 31 * *", "2026-01-31T00:00:00", "2026-03-31T00:00:00"),
            ("0 0 13 * fri", "2026-01-01T00:00:00", "2026-01-02T00:00:00"),
            ("@yearly", "2026-01-01T00:00:00", "2027-01-01T00:00:00"),
            ("@every 1h30m", "2026-01-01T00:00:00", "2026-01-01T01:30:00"),
        ];
        for (text, after, want) in cases {
            let next = parse(text).unwrap().next(after.parse().unwrap());
            assert_eq!(next, Some(want.parse().unwrap()), "{text}");
        }
        assert_eq!(parse("0 0 30 2 *").unwrap().next("2026-01-01T00:00:00".parse().unwrap()), None);
    }

    #[test]
    fn knows_time_zones() {
        assert!(is_time_zone("Europe/Berlin") && is_time_zone("UTC"));
        assert!(!is_time_zone("UPPER"));
    }
}
