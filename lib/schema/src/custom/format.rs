//! The formats that a text may be asked to have.

mod codes;

use std::net::{IpAddr, Ipv6Addr};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::civil::Date;

/// Whether a text has a format.
type Check = fn(&str) -> bool;

/// Formats that are checked; a name that is not here asks for nothing.
const FORMATS: &[(&str, Check)] = &[
    ("bsonobjectid", codes::is_object_id),
    ("byte", |text| STANDARD.decode(text).is_ok()),
    ("cidr", is_network),
    ("creditcard", codes::is_credit_card),
    ("date", |text| text.len() == 10 && text.parse::<Date>().is_ok()),
    ("date-time", |text| text.contains(['T', 't']) && text.parse::<Timestamp>().is_ok()),
    ("datetime", |text| text.contains(['T', 't']) && text.parse::<Timestamp>().is_ok()),
    ("duration", |text| crate::decode::is_duration(text)),
    ("email", codes::is_email),
    ("hexcolor", codes::is_hex_color),
    ("hostname", is_host_name),
    ("ipv4", is_ipv4),
    ("ipv6", |text| text.parse::<Ipv6Addr>().is_ok()),
    ("isbn", codes::is_isbn),
    ("isbn10", codes::is_isbn10),
    ("isbn13", codes::is_isbn13),
    ("mac", is_hardware_address),
    ("password", |_| true),
    ("rgbcolor", codes::is_rgb_color),
    ("ssn", codes::is_social_security_number),
    ("uri", is_uri),
    ("uuid", |text| is_uuid(text, None)),
    ("uuid3", |text| is_uuid(text, Some('3'))),
    ("uuid4", |text| is_uuid(text, Some('4'))),
    ("uuid5", |text| is_uuid(text, Some('5'))),
];

/// Formats of numbers, with those that say nothing of a text.
const OTHERS: &[&str] = &["double", "float", "int32", "int64", "k8s-long-name", "k8s-short-name"];

/// Whether upstream knows a format.
pub(crate) fn is_known(format: &str) -> bool {
    FORMATS.iter().any(|(name, _)| *name == format) || OTHERS.contains(&format)
}

/// Whether a text has a format.
pub(super) fn fits(format: &str, text: &str) -> bool {
    FORMATS.iter().find(|(name, _)| *name == format).is_none_or(|(_, check)| check(text))
}

/// Leading zeros are taken, as upstream takes them here.
fn is_ipv4(text: &str) -> bool {
    let part =
        |part: &str| part.len() <= 3 && part.bytes().all(|byte| byte.is_ascii_digit()) && part.parse::<u8>().is_ok();
    text.split('.').count() == 4 && text.split('.').all(part)
}

fn is_network(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let most = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    length.parse::<u8>().is_ok_and(|length| length <= most)
}

fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 255 && text.split('.').all(label)
}

fn is_hardware_address(text: &str) -> bool {
    let parts: Vec<&str> = text.split([':', '-']).collect();
    [6, 8, 20].contains(&parts.len())
        && parts.iter().all(|part| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn is_uri(text: &str) -> bool {
    let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
    text.starts_with('/')
        || (!scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)))
}

fn is_uuid(text: &str, version: Option<char>) -> bool {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    digits.len() == 32
        && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        && version.is_none_or(|version| digits.chars().nth(12) == Some(version))
}
