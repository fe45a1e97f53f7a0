//! Resource quantities: amounts such as `100m`, `64Mi` or `1e3`.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

const NANO: i128 = 1_000_000_000;

/// How a quantity is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `12e6`
    DecimalExponent,
    /// `12Mi`
    BinarySi,
    /// `12M`
    DecimalSi,
}

/// Why a text is no quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not a number with a suffix.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    /// The suffix means nothing.
    #[error("unable to parse quantity's suffix")]
    Suffix,
    /// The number is none.
    #[error("unable to parse numeric part of quantity")]
    Numeric,
}

/// An amount with up to nine decimal places, and the way that it is written.
///
/// Amounts beyond about 1.7e29 saturate. Two quantities are equal when their amounts are, however written.
/// Example: `"1500m".parse::<Quantity>()?.value()` is 2, `"0.5"` prints as `500m`.
/// Source: <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>
#[derive(Clone, Debug)]
pub struct Quantity {
    nano: i128,
    format: Format,
    // Upstream keeps the text as it came when it is nearly canonical (`1.500`), until arithmetic drops it.
    text: Option<String>,
}

impl Default for Quantity {
    fn default() -> Self {
        Self { nano: 0, format: Format::DecimalSi, text: None }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nano == other.nano
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nano.cmp(&other.nano)
    }
}

impl Quantity {
    /// A whole number, written in decimal.
    #[must_use]
    pub fn whole(value: i64) -> Self {
        Self { nano: i128::from(value) * NANO, ..Self::default() }
    }

    /// Thousandths, written in decimal.
    #[must_use]
    pub fn milli(value: i64) -> Self {
        Self { nano: i128::from(value) * (NANO / 1000), ..Self::default() }
    }

    /// The amount in whole units, rounded away from zero; saturates.
    #[must_use]
    pub fn value(&self) -> i64 {
        saturate(round_away(self.nano, NANO))
    }

    /// The amount in thousandths, rounded away from zero; saturates.
    #[must_use]
    pub fn milli_value(&self) -> i64 {
        saturate(round_away(self.nano, NANO / 1000))
    }

    /// The whole number that it is; `None` when it has decimals or is too large.
    #[must_use]
    pub fn as_whole(&self) -> Option<i64> {
        if self.nano % NANO == 0 { i64::try_from(self.nano / NANO).ok() } else { None }
    }

    /// Whether thousandths express it exactly.
    #[must_use]
    pub fn is_whole_millis(&self) -> bool {
        self.nano % (NANO / 1000) == 0
    }

    /// -1, 0 or 1.
    #[must_use]
    pub fn sign(&self) -> i32 {
        match self.nano.cmp(&0) {
            Ordering::Less => -1,
            Ordering::Equal => 0,
            Ordering::Greater => 1,
        }
    }

    /// Whether it is nothing.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.nano == 0
    }

    /// Adds another amount; the format of the first that is not zero is kept.
    pub fn add(&mut self, other: &Self) {
        self.combine(other, i128::saturating_add);
    }

    /// Takes another amount away.
    pub fn sub(&mut self, other: &Self) {
        self.combine(other, i128::saturating_sub);
    }

    /// Rounds to thousandths, away from zero.
    pub fn round_up_to_milli(&mut self) {
        if !self.is_whole_millis() {
            self.nano = round_away(self.nano, NANO / 1000).saturating_mul(NANO / 1000);
            self.text = None;
        }
    }

    fn combine(&mut self, other: &Self, with: fn(i128, i128) -> i128) {
        if self.nano == 0 {
            self.format = other.format;
        }
        self.text = None;
        self.nano = with(self.nano, other.nano);
    }
}

/// The canonical text of a quantity, as a server stores it. Example: `0.5` becomes `500m`.
///
/// Errors: [`QuantityError`] with upstream's words.
pub fn canonical(text: &str) -> Result<String, QuantityError> {
    text.trim().parse::<Quantity>().map(|quantity| quantity.to_string())
}

impl From<&k8s_openapi::apimachinery::pkg::api::resource::Quantity> for Quantity {
    /// A text that is no quantity counts as nothing: decoding has refused those before.
    fn from(text: &k8s_openapi::apimachinery::pkg::api::resource::Quantity) -> Self {
        text.0.trim().parse().unwrap_or_default()
    }
}

impl From<&Quantity> for k8s_openapi::apimachinery::pkg::api::resource::Quantity {
    fn from(quantity: &Quantity) -> Self {
        Self(quantity.to_string())
    }
}

fn saturate(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

fn round_away(value: i128, unit: i128) -> i128 {
    let whole = value / unit;
    if value % unit == 0 { whole } else { whole + value.signum() }
}

/// The parts of a quantity's text: `-12.5Mi` is negative, `12`, `5`, `Mi`.
struct Parts<'a> {
    negative: bool,
    whole: &'a str,
    decimals: &'a str,
    suffix: &'a str,
}

fn split(text: &str) -> Result<Parts<'_>, QuantityError> {
    if text.is_empty() {
        return Err(QuantityError::Format);
    }
    let negative = text.starts_with('-');
    let rest = text.strip_prefix(['-', '+']).unwrap_or(text).trim_start_matches('0');
    let (whole, rest) = rest.split_at(digits(rest));
    let (decimals, suffix) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(digits(rest)),
        None => ("", rest),
    };
    let whole = if whole.is_empty() { "0" } else { whole };
    let letters = suffix.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
    let number = letters.strip_prefix(['-', '+']).unwrap_or(letters);
    if digits(number) == number.len() {
        Ok(Parts { negative, whole, decimals, suffix })
    } else {
        Err(QuantityError::Format)
    }
}

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// Base, exponent and format that a suffix stands for.
fn suffix(suffix: &str) -> Result<(u32, i32, Format), QuantityError> {
    const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    const DECIMAL: [(&str, i32); 10] =
        [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
    if let Some(at) = BINARY.iter().position(|one| *one == suffix) {
        return Ok((2, 10 * (at as i32 + 1), Format::BinarySi));
    }
    if let Some((_, exponent)) = DECIMAL.iter().find(|(one, _)| *one == suffix) {
        return Ok((10, *exponent, Format::DecimalSi));
    }
    let exponent = suffix.strip_prefix(['e', 'E']).and_then(|number| i32::from_str(number).ok());
    exponent.map(|exponent| (10, exponent, Format::DecimalExponent)).ok_or(QuantityError::Suffix)
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let parts = split(text)?;
        let (base, exponent, mut format) = suffix(parts.suffix)?;
        let scale = parts.decimals.len() as i32;
        let shifted = format!("{}{}", parts.whole, parts.decimals);
        let mantissa = shifted.parse::<i128>().unwrap_or(i128::MAX);
        let mut nano = if base == 2 {
            scaled(mantissa.saturating_mul(1_i128 << exponent), 9 - scale)
        } else {
            scaled(mantissa, exponent.saturating_sub(scale).saturating_add(9))
        };
        if format == Format::BinarySi {
            nano = nano.min(i128::from(i64::MAX) * NANO);
            if nano > 0 && nano < NANO {
                format = Format::DecimalSi;
            }
        }
        let kept = is_kept(&shifted, &parts, exponent, format);
        let nano = if parts.negative { -nano } else { nano };
        Ok(Self { nano, format, text: kept.then(|| text.to_owned()) })
    }
}

/// A value times a power of ten, rounded up, saturating.
fn scaled(value: i128, exponent: i32) -> i128 {
    let power = 10_i128.checked_pow(exponent.unsigned_abs());
    match (exponent >= 0, power) {
        (true, Some(power)) => value.saturating_mul(power),
        (true, None) => {
            if value == 0 {
                0
            } else {
                i128::MAX
            }
        }
        (false, Some(power)) => round_away(value, power),
        (false, None) => i128::from(value != 0),
    }
}

/// Whether upstream's quick way of parsing keeps the text as it came.
fn is_kept(shifted: &str, parts: &Parts<'_>, exponent: i32, format: Format) -> bool {
    if shifted.parse::<i64>().is_err() {
        return false;
    }
    if format == Format::BinarySi {
        let room = 15 - parts.whole.len() as i32 - exponent * 3 / 10 - 1;
        let low_bits = shifted.parse::<i64>().unwrap_or_default() & 0x07;
        return parts.decimals.is_empty() && room >= 0 && low_bits != 0;
    }
    let scale = exponent.saturating_sub(parts.decimals.len() as i32);
    shifted.len() <= 18 && scale >= -9 && scale % 3 == 0 && !shifted.ends_with("000") && !shifted.starts_with('0')
}

impl fmt::Display for Quantity {
    /// The canonical text: the largest unit that needs no decimals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.text {
            Some(text) => f.write_str(text),
            None if self.nano == 0 => f.write_str("0"),
            None if self.is_written_in_binary() => write_binary(f, self.nano / NANO),
            None => write_decimal(f, self.nano, self.format),
        }
    }
}

impl Quantity {
    fn is_written_in_binary(&self) -> bool {
        self.format == Format::BinarySi && self.nano % NANO == 0 && self.nano.abs() >= 1024 * NANO
    }
}

fn write_binary(f: &mut fmt::Formatter<'_>, mut value: i128) -> fmt::Result {
    let mut suffixes = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].iter();
    let mut suffix = suffixes.next().expect("the list has seven");
    while value % 1024 == 0 {
        let Some(next) = suffixes.next() else { break };
        suffix = next;
        value /= 1024;
    }
    write!(f, "{value}{suffix}")
}

fn write_decimal(f: &mut fmt::Formatter<'_>, mut value: i128, format: Format) -> fmt::Result {
    let mut exponent = -9;
    while value % 1000 == 0 && (exponent < 18 || format == Format::DecimalExponent) {
        value /= 1000;
        exponent += 3;
    }
    match (format, exponent) {
        (_, 0) => write!(f, "{value}"),
        (Format::DecimalExponent, _) => write!(f, "{value}e{exponent}"),
        _ => {
            const SUFFIXES: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
            write!(f, "{value}{}", SUFFIXES[((exponent + 9) / 3) as usize])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_the_canonical_text() {
        let cases = [
            ("0", "0"),
            ("0.5", "500m"),
            ("1000m", "1"),
            ("1.500", "1.500"),
            ("1.5", "1500m"),
            ("1024Ki", "1Mi"),
            ("1.5Gi", "1536Mi"),
            ("100Ki", "100Ki"),
            ("0.5Ki", "512"),
            ("1e3", "1e3"),
            ("1000e0", "1e3"),
            ("12E", "12E"),
            ("0.0000000001", "1n"),
            ("-1", "-1"),
            ("64Mi", "64Mi"),
            ("1000", "1k"),
            ("010", "010"),
            ("1500M", "1500M"),
            ("20Ei", "9223372036854775807"),
            ("2048Mi", "2Gi"),
            ("1025", "1025"),
        ];
        for (text, want) in cases {
            assert_eq!(canonical(text).as_deref(), Ok(want), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_quantity() {
        assert_eq!(canonical(""), Err(QuantityError::Format));
        assert_eq!(canonical("has space"), Err(QuantityError::Format));
        assert_eq!(canonical("1.5.5"), Err(QuantityError::Format));
        assert_eq!(canonical("1mi"), Err(QuantityError::Suffix));
        assert_eq!(canonical("1KB"), Err(QuantityError::Format));
    }

    #[test]
    fn amounts_beyond_every_bound_saturate() {
        let read = |text: &str| text.parse::<Quantity>().unwrap();
        assert_eq!(read("1.5e-2147483648").to_string(), "1e-9");
        assert!(read("1.5e2147483647") >= read("1e30"));
        for text in ["1e30", "-1e30", "170141183460469231731687303715.884105727"] {
            let mut most = read(text);
            let before = most.clone();
            most.round_up_to_milli();
            assert!(most.nano.unsigned_abs() >= before.nano.unsigned_abs(), "{text}");
            most.add(&before);
            assert_eq!(most.sign(), before.sign(), "{text}");
        }
    }

    #[test]
    fn counts_adds_and_compares() {
        let mut sum: Quantity = "1500m".parse().unwrap();
        assert_eq!((sum.value(), sum.milli_value(), sum.as_whole()), (2, 1500, None));
        sum.add(&"0.5".parse().unwrap());
        assert_eq!(sum.to_string(), "2");
        assert!(sum < "2001m".parse().unwrap());
        assert_eq!("1Ki".parse::<Quantity>().unwrap(), Quantity::whole(1024));
        let mut none = Quantity::default();
        none.add(&"1Gi".parse().unwrap());
        assert_eq!(none.to_string(), "1Gi");
    }
}
