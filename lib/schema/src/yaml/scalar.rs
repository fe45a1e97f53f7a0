//! What a plain scalar means: YAML 1.1 as kubectl's reader has it.
//!
//! Source: the table of plain scalars in <https://yaml.org/type/>, with the differences that kubectl 1.32 shows: no
//! numbers to the base 60, dates stay texts, and a number with a digit too high for octal is a decimal one.

use serde_json::Number;

use super::Meaning;
use crate::decode::double;

/// What a plain scalar means. Errors: a number that JSON can't hold.
pub(super) fn plain(text: &str) -> Result<Meaning, String> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Meaning::Null),
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Ok(Meaning::Bool(true));
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Ok(Meaning::Bool(false));
        }
        ".nan" | ".NaN" | ".NAN" => return Err(format!("{text} is no number that JSON can hold")),
        _ => {}
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if [".inf", ".Inf", ".INF"].contains(&unsigned) {
        return Err(format!("{text} is no number that JSON can hold"));
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) {
        return Ok(Meaning::Text);
    }
    Ok(number(text).map_or(Meaning::Text, Meaning::Number))
}

/// A number in one of the forms that are known; `_` between digits is passed over.
pub(super) fn number(text: &str) -> Option<Number> {
    let text = if text.starts_with('.') { text.to_owned() } else { text.replace('_', "") };
    whole(&text).or_else(|| fraction(&text))
}

/// A whole number: decimal, `0x1f`, `0o17`, `017` or `0b11`.
fn whole(text: &str) -> Option<Number> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (base, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    // A sign here would be a second one.
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let size = u64::from_str_radix(digits, base).ok()?;
    if negative { 0_i64.checked_sub_unsigned(size).map(Number::from) } else { Some(size.into()) }
}

/// A number with a fraction or an exponent, or one that is too large to be whole.
fn fraction(text: &str) -> Option<Number> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let fits = |c: u8| c.is_ascii_digit() || matches!(c, b'.' | b'e' | b'E' | b'+' | b'-');
    let begins = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if !begins || !unsigned.bytes().all(fits) || !unsigned.bytes().any(|c| c.is_ascii_digit()) {
        return None;
    }
    text.parse::<f64>().ok().filter(|number| number.is_finite()).and_then(double)
}

/// Whether some reader of YAML might take a plain scalar for something else than a text.
pub(super) fn is_doubtful(text: &str) -> bool {
    !matches!(plain(text), Ok(Meaning::Text)) || text == "=" || text == "<<" || is_date(text) || is_base_60(text)
}

/// `2001-12-14` and what begins so.
fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.splitn(3, '-').collect();
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit());
    let begins = |part: &str| part.starts_with(|c: char| c.is_ascii_digit());
    matches!(parts[..], [year, month, rest] if year.len() == 4 && digits(year) && digits(month) && begins(rest))
}

/// `190:20:30`, which YAML 1.1 has for 685230.
fn is_base_60(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    digits.contains(':')
        && digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.bytes().all(|c| c.is_ascii_digit() || matches!(c, b':' | b'.' | b'_'))
}
