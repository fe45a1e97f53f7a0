//! The texts that addresses with their ranges may be, with upstream's exact complaints.
//!
//! Source: apimachinery `util/validation/ip.go`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Reads an address as upstream's lenient parser does: octets may have leading zeros.
#[must_use]
pub fn parse_ip(text: &str) -> Option<IpAddr> {
    if text.contains(':') {
        return Ipv6Addr::from_str(text).ok().map(|address| match address.to_ipv4_mapped() {
            Some(four) => IpAddr::V4(four),
            None => IpAddr::V6(address),
        });
    }
    let octets: Option<Vec<u8>> = text.split('.').map(octet).collect();
    let octets: [u8; 4] = octets?.try_into().ok()?;
    Some(IpAddr::V4(Ipv4Addr::from(octets)))
}

fn octet(text: &str) -> Option<u8> {
    let fine = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    fine.then(|| text.parse::<u64>().ok().and_then(|number| u8::try_from(number).ok())).flatten()
}

/// Reads an address range leniently: the address as written, and the length of the prefix.
#[must_use]
pub fn parse_cidr(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = text.split_once('/')?;
    let address = parse_ip(address)?;
    if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let length: u8 = length.parse().ok()?;
    (length <= if address.is_ipv4() && !text.contains(':') { 32 } else { 128 }).then_some((address, length))
}

/// An IP address in a field that has been there since before the rules got strict.
#[must_use]
pub fn ip(text: &str) -> Vec<String> {
    if parse_ip(text).is_none() {
        return vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()];
    }
    match IpAddr::from_str(text) {
        Err(_) => vec!["must not have leading 0s".to_owned()],
        Ok(IpAddr::V6(six)) if six.to_ipv4_mapped().is_some() => {
            vec!["must not be an IPv4-mapped IPv6 address".to_owned()]
        }
        Ok(_) => Vec::new(),
    }
}

/// An IP address in its one canonical form.
#[must_use]
pub fn canonical_ip(text: &str) -> Vec<String> {
    let wrong = ip(text);
    if !wrong.is_empty() {
        return wrong;
    }
    match parse_ip(text).map(|address| address.to_string()) {
        Some(canonical) if canonical != text => vec![format!("must be in canonical form ({canonical:?})")],
        _ => Vec::new(),
    }
}

/// An address range in a field that has been there since before the rules got strict.
#[must_use]
pub fn cidr(text: &str) -> Vec<String> {
    let Some((address, length)) = parse_cidr(text) else {
        return vec!["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)".to_owned()];
    };
    let (written, digits) = text.split_once('/').unwrap_or((text, ""));
    if IpAddr::from_str(written).is_err() || (digits.len() > 1 && digits.starts_with('0')) {
        return vec!["must not have leading 0s in IP or prefix length".to_owned()];
    }
    if written.contains(':') && address.is_ipv4() {
        return vec!["must not have an IPv4-mapped IPv6 address".to_owned()];
    }
    if masked(address, length) != address {
        return vec!["must not have bits set beyond the prefix length".to_owned()];
    }
    Vec::new()
}

/// An address range in its one canonical form.
#[must_use]
pub fn canonical_cidr(text: &str) -> Vec<String> {
    let wrong = cidr(text);
    if !wrong.is_empty() {
        return wrong;
    }
    match parse_cidr(text).map(|(address, length)| format!("{address}/{length}")) {
        Some(canonical) if canonical != text => vec![format!("must be in canonical form ({canonical:?})")],
        _ => Vec::new(),
    }
}

/// The first address of a range.
#[must_use]
pub fn masked(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(four) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length.min(32))).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from(u32::from(four) & mask))
        }
        IpAddr::V6(six) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length.min(128))).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from(u128::from(six) & mask))
        }
    }
}

/// Whether an address range lies within another one that is larger.
#[must_use]
pub fn is_strict_part((part, part_length): (IpAddr, u8), (whole, whole_length): (IpAddr, u8)) -> bool {
    part.is_ipv4() == whole.is_ipv4()
        && whole_length < part_length
        && masked(part, whole_length) == masked(whole, whole_length)
}

/// Advice about an address that is valid but not written canonically.
#[must_use]
pub fn ip_warning(field: &str, text: &str) -> Option<String> {
    let address = parse_ip(text)?;
    let six = text.contains(':');
    if IpAddr::from_str(text).is_err() || (six && address.is_ipv4()) {
        return Some(format!("{field}: non-standard IP address {text:?} is invalid: use \"{address}\""));
    }
    (six && address.to_string() != text)
        .then(|| format!("{field}: IPv6 address {text:?} should be in RFC 5952 canonical format (\"{address}\")"))
}

/// Advice about an address range that is valid but not written canonically.
#[must_use]
pub fn cidr_warnings(field: &str, text: &str) -> Vec<String> {
    let Some((address, length)) = parse_cidr(text) else { return Vec::new() };
    let first = masked(address, length);
    let mut warnings = Vec::new();
    if first != address {
        let whole = if address.is_ipv4() { 32 } else { 128 };
        warnings.push(format!(
            "{field}: CIDR value {text:?} is ambiguous in this context (should be \"{first}/{length}\" or \
             \"{address}/{whole}\"?)"
        ));
    }
    let (written, digits) = text.split_once('/').unwrap_or((text, ""));
    let six = written.contains(':');
    if IpAddr::from_str(written).is_err() || (digits.len() > 1 && digits.starts_with('0')) || (six && address.is_ipv4())
    {
        warnings.push(format!("{field}: non-standard CIDR value {text:?} is invalid: use \"{first}/{length}\""));
    }
    if warnings.is_empty() && six && format!("{address}/{length}") != text {
        warnings.push(format!(
            "{field}: IPv6 CIDR value {text:?} should be in RFC 5952 canonical format (\"{address}/{length}\")"
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(ip("010.0.0.1"), ["must not have leading 0s"]);
        assert_eq!(ip("::ffff:1.2.3.4"), ["must not be an IPv4-mapped IPv6 address"]);
        assert!(ip("2001:DB8::1").is_empty());
        assert_eq!(canonical_ip("2001:DB8::1"), [r#"must be in canonical form ("2001:db8::1")"#]);
        assert!(ip("300.1.1.1")[0].starts_with("must be a valid IP"));
        assert!(cidr("10.0.0.0/8").is_empty());
        assert_eq!(cidr("10.0.0.1/8"), ["must not have bits set beyond the prefix length"]);
        assert_eq!(cidr("10.0.0.0/08"), ["must not have leading 0s in IP or prefix length"]);
        assert!(cidr("10.0.0.0/33")[0].starts_with("must be a valid CIDR"));
        let part = |part: &str, whole: &str| is_strict_part(parse_cidr(part).unwrap(), parse_cidr(whole).unwrap());
        assert!(part("10.1.0.0/16", "10.0.0.0/8"));
        assert!(!part("10.0.0.0/8", "10.0.0.0/8"));
        assert!(!part("11.0.0.0/16", "10.0.0.0/8"));
        assert!(!part("2001:db8::/64", "10.0.0.0/8"));
        assert_eq!(masked("10.1.2.3".parse().unwrap(), 0).to_string(), "0.0.0.0");
    }
}
