//! Scalars as the API writes them: times, amounts and bytes in their one form.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::fmt::strtime;
use serde_json::Number;

use crate::quantity;

/// A time of RFC 3339 in the form in which the API shows it: UTC, whole seconds.
pub(super) fn time(text: &str) -> Result<String, String> {
    let instant = instant(text, "2006-01-02T15:04:05Z07:00", false)?;
    written("%Y-%m-%dT%H:%M:%SZ", instant)
}

/// A time of RFC 3339 with exactly six digits of a second.
pub(super) fn micro_time(text: &str) -> Result<String, String> {
    let instant = instant(text, "2006-01-02T15:04:05.000000Z07:00", true)?;
    written("%Y-%m-%dT%H:%M:%S.%6fZ", instant)
}

/// The elements of a time, as Go's layouts name them, with what must stand before each.
const ELEMENTS: [(&str, &str); 6] = [("", "2006"), ("-", "01"), ("-", "02"), ("T", "15"), (":", "04"), (":", "05")];

/// Reads strictly, where `jiff` alone would take more forms than the API does.
fn instant(text: &str, layout: &str, micros: bool) -> Result<Timestamp, String> {
    let refused = |rest: &str, element: &str| {
        format!("parsing time {text:?} as {layout:?}: cannot parse {rest:?} as {element:?}")
    };
    let mut rest = text;
    for (before, element) in ELEMENTS {
        rest = rest.strip_prefix(before).ok_or_else(|| refused(rest, before))?;
        let digits = rest.bytes().take(element.len()).take_while(u8::is_ascii_digit).count();
        rest = rest.get(element.len()..).filter(|_| digits == element.len()).ok_or_else(|| refused(rest, element))?;
    }
    let fraction = rest.strip_prefix('.').map_or(0, |digits| digits.bytes().take_while(u8::is_ascii_digit).count());
    if micros && fraction != 6 {
        return Err(refused(rest, ".000000"));
    }
    rest = if fraction > 0 { &rest[fraction + 1..] } else { rest };
    let zone = zone_length(rest).ok_or_else(|| refused(rest, "Z07:00"))?;
    if zone < rest.len() {
        return Err(format!("parsing time {text:?}: extra text: {:?}", &rest[zone..]));
    }
    text.parse().map_err(|_| format!("parsing time {text:?}: day out of range"))
}

/// Length of the `Z` or the offset that a text begins with.
fn zone_length(text: &str) -> Option<usize> {
    match text.as_bytes() {
        [b'Z', ..] => Some(1),
        [b'+' | b'-', a, b, b':', c, d, ..] if [a, b, c, d].iter().all(|digit| digit.is_ascii_digit()) => Some(6),
        _ => None,
    }
}

fn written(format: &str, instant: Timestamp) -> Result<String, String> {
    strtime::format(format, instant).map_err(|error| error.to_string())
}

/// An amount in its canonical form.
pub(super) fn amount(text: &str) -> Result<String, String> {
    quantity::canonical(text.trim()).map_err(|error| error.to_string())
}

/// A number as Go writes it: a whole one without a fraction. `None` for what JSON has no number for.
pub(crate) fn double(value: f64) -> Option<Number> {
    // Whole numbers up to here are exact in both forms.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[allow(clippy::cast_possible_truncation, reason = "whole and within the exact range")]
    let whole = || Number::from(value as i64);
    if value.fract() == 0.0 && value.abs() <= EXACT { Some(whole()) } else { Number::from_f64(value) }
}

/// Base64 in its canonical form; line breaks inside are passed over.
pub(super) fn base64(text: &str) -> Result<String, String> {
    let at = |at: usize| format!("illegal base64 data at input byte {at}");
    let mut significant = text.bytes().enumerate().filter(|(_, byte)| !matches!(byte, b'\r' | b'\n'));
    let (mut bytes, mut bits, mut held) = (Vec::with_capacity(text.len() / 4 * 3), 0_u32, 0_usize);
    while let Some((index, byte)) = significant.next() {
        if byte == b'=' {
            match held {
                0 | 1 => return Err(at(index)),
                2 => match significant.next() {
                    Some((_, b'=')) => {}
                    Some((wrong, _)) => return Err(at(wrong)),
                    None => return Err(at(text.len())),
                },
                _ => {}
            }
            if let Some((more, _)) = significant.next() {
                return Err(at(more));
            }
            bytes.extend((bits << (6 * (4 - held))).to_be_bytes()[1..held].iter());
            return Ok(STANDARD.encode(bytes));
        }
        bits = bits << 6 | sextet(byte).ok_or_else(|| at(index))?;
        held += 1;
        if held == 4 {
            bytes.extend(&bits.to_be_bytes()[1..]);
            (bits, held) = (0, 0);
        }
    }
    if held == 0 { Ok(STANDARD.encode(bytes)) } else { Err(at(text.len() - held)) }
}

fn sextet(byte: u8) -> Option<u32> {
    let value = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(value.into())
}

/// A span of time as Go reads it, such as `1h30m`, in the form in which it writes it: `1h30m0s`.
pub(super) fn duration(text: &str) -> Result<String, String> {
    let nanoseconds = nanoseconds(text).ok_or_else(|| format!("time: invalid duration {text:?}"))?;
    Ok(go_duration(nanoseconds))
}

/// Whether a text is a span of time.
pub(crate) fn is_duration(text: &str) -> bool {
    nanoseconds(text).is_some()
}

/// Nanoseconds; no more than Go's durations hold.
fn nanoseconds(text: &str) -> Option<i128> {
    let (negative, mut rest) =
        text.strip_prefix('-').map_or((false, text.strip_prefix('+').unwrap_or(text)), |r| (true, r));
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0_i128;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (amount, tail) = rest.split_at(digits);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, next) = tail.split_at(unit_end);
        let scale: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        total = total.checked_add(scaled(amount, scale)?)?;
        rest = next;
    }
    let total = if negative { -total } else { total };
    i64::try_from(total).is_ok().then_some(total)
}

fn scaled(amount: &str, scale: i128) -> Option<i128> {
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let (mut part, mut unit) = (0_i128, scale);
    for digit in fraction.chars() {
        unit /= 10;
        part += unit * i128::from(digit.to_digit(10)?);
    }
    whole.checked_mul(scale)?.checked_add(part)
}

pub(crate) fn go_duration(nanoseconds: i128) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let all = nanoseconds.unsigned_abs();
    let fraction = |value: u128, digits: usize| {
        let text = format!("{value:0digits$}");
        let kept = text.trim_end_matches('0');
        if kept.is_empty() { String::new() } else { format!(".{kept}") }
    };
    match all {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{all}ns"),
        1_000..1_000_000 => format!("{sign}{}{}µs", all / 1_000, fraction(all % 1_000, 3)),
        1_000_000..1_000_000_000 => format!("{sign}{}{}ms", all / 1_000_000, fraction(all % 1_000_000, 6)),
        _ => {
            let (seconds, rest) = (all / 1_000_000_000, fraction(all % 1_000_000_000, 9));
            let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
            match (hours, minutes) {
                (0, 0) => format!("{sign}{seconds}{rest}s"),
                (0, _) => format!("{sign}{minutes}m{seconds}{rest}s"),
                _ => format!("{sign}{hours}h{minutes}m{seconds}{rest}s"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written_in_one_form() {
        for (text, want) in [
            ("2026-01-02T03:04:05Z", Some("2026-01-02T03:04:05Z")),
            ("2026-01-02T03:04:05.999Z", Some("2026-01-02T03:04:05Z")),
            ("2026-01-02T03:04:05+01:00", Some("2026-01-02T02:04:05Z")),
            ("2026-01-02 03:04:05Z", None),
            ("2026-01-02T03:04:05", None),
            ("2026-01-02", None),
            ("", None),
        ] {
            assert_eq!(time(text).ok().as_deref(), want, "{text}");
        }
        assert_eq!(micro_time("2026-01-02T03:04:05.120000Z").as_deref(), Ok("2026-01-02T03:04:05.120000Z"));
        assert!(micro_time("2026-01-02T03:04:05Z").is_err());
    }

    #[test]
    fn durations_are_read_and_written_as_go_does() {
        for (text, want) in [
            ("1h30m", Some("1h30m0s")),
            ("90s", Some("1m30s")),
            ("1.5s", Some("1.5s")),
            ("100us", Some("100µs")),
            ("0", Some("0s")),
            ("5", None),
            ("", None),
            ("2562047h47m16.854775807s", Some("2562047h47m16.854775807s")),
            ("-2562047h47m16.854775808s", Some("-2562047h47m16.854775808s")),
            ("2562047h47m16.854775808s", None),
            ("9999999999999h", None),
            ("99999999999999999999999999999999999999h", None),
            ("2562047h2562047h", None),
        ] {
            assert_eq!(duration(text).ok().as_deref(), want, "{text}");
        }
    }

    #[test]
    fn base64_says_where_it_is_wrong() {
        assert_eq!(base64("djE=\n").as_deref(), Ok("djE="));
        assert_eq!(base64("djE=x").unwrap_err(), "illegal base64 data at input byte 4");
    }
}
