//! Optional fields read as upstream reads them: absent and empty are the same.

use serde_json::{Value, json};

use crate::meta::all_invalid;
use crate::names;
use crate::status::FieldError;

/// A text, empty when absent.
pub(crate) fn text(field: &Option<String>) -> &str {
    field.as_deref().unwrap_or_default()
}

/// A list, empty when absent.
pub(crate) fn items<T>(field: &Option<Vec<T>>) -> &[T] {
    field.as_deref().unwrap_or_default()
}

/// A number, 0 when absent.
pub(crate) fn number(field: Option<i32>) -> i32 {
    field.unwrap_or_default()
}

/// Fills in a text that is absent or empty.
pub(crate) fn fill(field: &mut Option<String>, value: &str) {
    if text(field).is_empty() {
        *field = Some(value.to_owned());
    }
}

/// What is wrong with a port number.
pub(crate) fn port(port: i32, field: String) -> Vec<FieldError> {
    let wrong = names::port_number(i64::from(port));
    wrong.iter().map(|why| FieldError::invalid(field.clone(), &json!(port), why)).collect()
}

/// What is wrong with a transport protocol.
pub(crate) fn protocol(protocol: &str, field: String) -> Option<FieldError> {
    match protocol {
        "" => Some(FieldError::required(field, "")),
        "SCTP" | "TCP" | "UDP" => None,
        other => Some(FieldError::not_supported(field, &json!(other), &["SCTP", "TCP", "UDP"])),
    }
}

/// What is wrong with an application protocol, if there is one.
pub(crate) fn app_protocol(protocol: &Option<String>, field: &str) -> Vec<FieldError> {
    let check = |text: &String| all_invalid(field, text, names::qualified(text));
    protocol.as_ref().map(check).unwrap_or_default()
}

/// What is wrong with the address of an endpoint, or with an external address.
pub(crate) fn endpoint_ip(address: &str, field: &str) -> Vec<FieldError> {
    let Some(ip) = names::parse_ip(address) else {
        return vec![FieldError::invalid_text(field, address, "must be a valid IP address")];
    };
    let (link_local, link_local_multicast) = match ip {
        std::net::IpAddr::V4(four) => (four.is_link_local(), four.octets().starts_with(&[224, 0, 0])),
        std::net::IpAddr::V6(six) => (six.is_unicast_link_local(), six.segments()[0] & 0xff0f == 0xff02),
    };
    let unspecified = format!("may not be unspecified ({address})");
    let rules = [
        (ip.is_unspecified(), unspecified.as_str()),
        (ip.is_loopback(), "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        (link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        (link_local_multicast, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
    ];
    let broken = rules.iter().filter(|(broken, _)| *broken);
    broken.map(|(_, why)| FieldError::invalid_text(field, address, why)).collect()
}

/// A list of texts as JSON, for a complaint.
pub(crate) fn listed(texts: &[String]) -> Value {
    if texts.is_empty() { Value::Null } else { json!(texts) }
}
