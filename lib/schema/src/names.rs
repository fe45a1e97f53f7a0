//! The texts that names, keys and ports may be, with upstream's exact complaints.
//!
//! Every function returns what is wrong; an empty list means that the text is fine.
//! Source: apimachinery `util/validation` together with `api/validate/content`.

mod address;

pub use address::{
    canonical_cidr, canonical_ip, cidr, cidr_warnings, ip, ip_warning, is_strict_part, masked, parse_cidr, parse_ip,
};

const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const SUBDOMAIN_WITH_UNDERSCORE: &str = r"_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*";
const KEY: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const KEY_RULE: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
                        alphanumeric character";
const SUBDOMAIN_RULE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or \
                              '.', and must start and end with an alphanumeric character";
const SUBDOMAIN_MAX: usize = 253;
const LABEL_MAX: usize = 63;

/// The complaint about a text that is too long.
#[must_use]
pub fn too_long(max: usize) -> String {
    format!("must be no more than {max} characters")
}

/// The complaint about a number outside `low..=high`.
#[must_use]
pub fn out_of_range(low: i64, high: i64) -> String {
    format!("must be between {low} and {high}, inclusive")
}

/// The complaint about a text that does not match a pattern, with examples that do.
#[must_use]
pub fn mismatch(rule: &str, pattern: &str, examples: &[&str]) -> String {
    if examples.is_empty() {
        return format!("{rule} (regex used for validation is '{pattern}')");
    }
    let shown: Vec<String> = examples.iter().map(|one| format!("'{one}', ")).collect();
    format!("{rule} (e.g. {}regex used for validation is '{pattern}')", shown.join(" or "))
}

fn framed(text: &str, edge: fn(u8) -> bool, inner: fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    match bytes {
        [] => false,
        [first, .., last] => edge(*first) && edge(*last) && bytes.iter().all(|byte| inner(*byte)),
        [only] => edge(*only),
    }
}

const fn lower_or_digit(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// Whether a text consists of DNS labels with dots between them, or of one alone.
///
/// Loops by hand: a `const fn` has no iterators.
const fn is_labels(text: &str, dots: bool) -> bool {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let starts = at == 0 || bytes[at - 1] == b'.';
        let ends = at + 1 == bytes.len() || bytes[at + 1] == b'.';
        let fine = match bytes[at] {
            b'.' => dots && !starts && !ends,
            b'-' => !starts && !ends,
            byte => lower_or_digit(byte),
        };
        if !fine {
            return false;
        }
        at += 1;
    }
    !bytes.is_empty()
}

/// Whether [`dns1123_label`] finds nothing wrong, for checks while a program is compiled.
#[must_use]
pub const fn is_dns1123_label(text: &str) -> bool {
    text.len() <= LABEL_MAX && is_labels(text, false)
}

/// Whether [`dns1123_subdomain`] finds nothing wrong, for checks while a program is compiled.
#[must_use]
pub const fn is_dns1123_subdomain(text: &str) -> bool {
    text.len() <= SUBDOMAIN_MAX && is_labels(text, true)
}

fn is_label(text: &str) -> bool {
    is_labels(text, false)
}

fn is_subdomain(text: &str) -> bool {
    is_labels(text, true)
}

fn is_key(text: &str) -> bool {
    framed(text, |byte| byte.is_ascii_alphanumeric(), |byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// A DNS label (RFC 1123), such as `web-1`.
#[must_use]
pub fn dns1123_label(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > LABEL_MAX {
        wrong.push(too_long(LABEL_MAX));
    }
    if !is_label(text) {
        wrong.push(if is_subdomain(text) {
            "must not contain dots".to_owned()
        } else {
            mismatch(
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start \
                 and end with an alphanumeric character",
                LABEL,
                &["my-name", "123-abc"],
            )
        });
    }
    wrong
}

/// A DNS subdomain (RFC 1123), such as `web.example.com`.
#[must_use]
pub fn dns1123_subdomain(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > SUBDOMAIN_MAX {
        wrong.push(too_long(SUBDOMAIN_MAX));
    }
    if !is_subdomain(text) {
        wrong.push(mismatch(SUBDOMAIN_RULE, SUBDOMAIN, &["example.com"]));
    }
    wrong
}

/// A DNS subdomain whose labels may also hold underscores.
#[must_use]
pub fn dns1123_subdomain_with_underscore(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > SUBDOMAIN_MAX {
        wrong.push(too_long(SUBDOMAIN_MAX));
    }
    let fine = text.split('.').all(|label| {
        let rest = label.strip_prefix('_').unwrap_or(label);
        framed(rest, lower_or_digit, |byte| lower_or_digit(byte) || byte == b'-' || byte == b'_')
    });
    if !fine {
        wrong.push(mismatch(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and \
             must start and end with an alphanumeric character",
            SUBDOMAIN_WITH_UNDERSCORE,
            &["example.com"],
        ));
    }
    wrong
}

/// A DNS subdomain behind `*.`, such as `*.example.com`.
#[must_use]
pub fn wildcard_dns1123_subdomain(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > SUBDOMAIN_MAX {
        wrong.push(too_long(SUBDOMAIN_MAX));
    }
    if !text.strip_prefix("*.").is_some_and(is_subdomain) {
        wrong.push(mismatch(
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist \
             of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
            &format!(r"\*\.{SUBDOMAIN}"),
            &["*.example.com"],
        ));
    }
    wrong
}

/// A DNS label of the older form (RFC 1035): it starts with a letter.
#[must_use]
pub fn dns1035_label(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > LABEL_MAX {
        wrong.push(too_long(LABEL_MAX));
    }
    if !(is_label(text) && text.starts_with(|first: char| first.is_ascii_lowercase())) {
        wrong.push(mismatch(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic \
             character, and end with an alphanumeric character",
            "[a-z]([-a-z0-9]*[a-z0-9])?",
            &["my-name", "abc-123"],
        ));
    }
    wrong
}

/// A label key or another qualified name, such as `example.com/owner` or `app`.
#[must_use]
pub fn qualified(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let part = || mismatch(KEY_RULE, KEY, &["MyName", "my.name", "123-abc"]);
    let name = match text.split('/').collect::<Vec<_>>()[..] {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                wrong.push("prefix part must be non-empty".to_owned());
            } else {
                wrong.extend(prefix_subdomain(prefix));
            }
            name
        }
        _ => {
            let end = " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
            return vec![format!("a valid label key {}{end}", part())];
        }
    };
    if name.is_empty() {
        wrong.push("name part must be non-empty".to_owned());
    } else if name.len() > LABEL_MAX {
        wrong.push(format!("name part must be no more than {LABEL_MAX} bytes"));
    }
    if !is_key(name) {
        wrong.push(format!("name part {}", part()));
    }
    wrong
}

fn prefix_subdomain(prefix: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if prefix.len() > SUBDOMAIN_MAX {
        wrong.push(format!("prefix part must be no more than {SUBDOMAIN_MAX} bytes"));
    }
    if !is_subdomain(prefix) {
        wrong.push(format!("prefix part {}", mismatch(SUBDOMAIN_RULE, SUBDOMAIN, &["example.com"])));
    }
    wrong
}

/// The value of a label; the empty text is one.
#[must_use]
pub fn label_value(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > LABEL_MAX {
        wrong.push(format!("must be no more than {LABEL_MAX} bytes"));
    }
    if !text.is_empty() && !is_key(text) {
        wrong.push(mismatch(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must \
             start and end with an alphanumeric character",
            &format!("({KEY})?"),
            &["MyValue", "my_value", "12345"],
        ));
    }
    wrong
}

/// A domain of two or more labels; a final dot is accepted. The second part is the value to show beside the complaint.
#[must_use]
pub fn fully_qualified_domain(text: &str) -> Vec<(String, String)> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let wrong = dns1123_subdomain(name);
    if !wrong.is_empty() {
        return vec![(name.to_owned(), wrong.join(","))];
    }
    if !name.contains('.') {
        let rule = "should be a domain with at least two segments separated by dots";
        return vec![(name.to_owned(), rule.to_owned())];
    }
    for label in name.split('.') {
        let wrong = dns1123_label(label);
        if !wrong.is_empty() {
            return vec![(label.to_owned(), wrong.join(","))];
        }
    }
    Vec::new()
}

/// A domain of three or more labels.
#[must_use]
pub fn fully_qualified_name(text: &str) -> Vec<String> {
    let wrong = dns1123_subdomain(text);
    if !wrong.is_empty() {
        return vec![wrong.join(",")];
    }
    if text.split('.').count() < 3 {
        return vec!["should be a domain with at least three segments separated by dots".to_owned()];
    }
    Vec::new()
}

/// An identifier of the C language.
#[must_use]
pub fn c_identifier(text: &str) -> Vec<String> {
    let head = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let fine = text.as_bytes().split_first().is_some_and(|(first, rest)| {
        head(*first) && rest.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
    });
    if fine {
        return Vec::new();
    }
    vec![mismatch(
        "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric \
         characters or '_'",
        "[A-Za-z_][A-Za-z0-9_]*",
        &["my_name", "MY_NAME", "MyName"],
    )]
}

/// The name of an environment variable: printable ASCII without `=`.
#[must_use]
pub fn env_var(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.is_empty() {
        wrong.push("environment variable name must be non-empty".to_owned());
    }
    if text.bytes().any(|byte| !(b' '..=b'~').contains(&byte) || byte == b'=') {
        wrong.push(
            "a valid environment variable name must consist only of printable ASCII characters other than '='"
                .to_owned(),
        );
    }
    wrong
}

/// A key of a `ConfigMap` or `Secret`.
#[must_use]
pub fn config_map_key(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > SUBDOMAIN_MAX {
        wrong.push(too_long(SUBDOMAIN_MAX));
    }
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if text.is_empty() || !text.bytes().all(inner) {
        wrong.push(mismatch(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
            "[-._a-zA-Z0-9]+",
            &["key.name", "KEY_NAME", "key-name"],
        ));
    }
    match text {
        "." => wrong.push("must not be '.'".to_owned()),
        ".." => wrong.push("must not be '..'".to_owned()),
        _ if text.starts_with("..") => wrong.push("must not start with '..'".to_owned()),
        _ => {}
    }
    wrong
}

/// The name of an HTTP header.
#[must_use]
pub fn http_header(text: &str) -> Vec<String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Vec::new();
    }
    vec![mismatch(
        "a valid HTTP header must consist of alphanumeric characters or '-'",
        "[-A-Za-z0-9]+",
        &["X-Header-Name"],
    )]
}

/// A share such as `25%`.
#[must_use]
pub fn percent(text: &str) -> Vec<String> {
    let digits = text.strip_suffix('%').unwrap_or_default();
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Vec::new();
    }
    vec![mismatch(
        "a valid percent string must be a numeric string followed by an ending '%'",
        "[0-9]+%",
        &["1%", "93%"],
    )]
}

/// A port number, 1 to 65535.
#[must_use]
pub fn port_number(port: i64) -> Vec<String> {
    if (1..=65535).contains(&port) { Vec::new() } else { vec![out_of_range(1, 65535)] }
}

/// The name of a port (RFC 6335), lower case only.
#[must_use]
pub fn port_name(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > 15 {
        wrong.push(too_long(15));
    }
    if text.is_empty() || !text.bytes().all(|byte| lower_or_digit(byte) || byte == b'-') {
        wrong.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !text.bytes().any(|byte| byte.is_ascii_lowercase()) {
        wrong.push("must contain at least one letter (a-z)".to_owned());
    }
    if text.contains("--") {
        wrong.push("must not contain consecutive hyphens".to_owned());
    }
    if text.starts_with('-') || text.ends_with('-') {
        wrong.push("must not begin or end with a hyphen".to_owned());
    }
    wrong
}

/// A name that can stand in a URL path; `prefix` when something is put behind it.
#[must_use]
pub fn path_segment(text: &str, prefix: bool) -> Vec<String> {
    if !prefix && (text == "." || text == "..") {
        return vec![format!("may not be '{text}'")];
    }
    ['/', '%'].iter().filter(|bad| text.contains(**bad)).map(|bad| format!("may not contain '{bad}'")).collect()
}

/// What a kind's names must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// A DNS subdomain: the rule of most kinds.
    Subdomain,
    /// A DNS label (RFC 1123).
    Label,
    /// A DNS label that starts with a letter (RFC 1035).
    Label1035,
    /// Whatever can stand in a URL path, such as `system:node`.
    Path,
    /// A key of a config map.
    ConfigKey,
    /// A label key, with or without a prefix.
    Qualified,
    /// An IP address in its canonical form.
    Address,
}

impl NameRule {
    /// What is wrong with a name; `prefix` when a generated ending is put behind it.
    #[must_use]
    pub fn check(self, name: &str, prefix: bool) -> Vec<String> {
        let masked;
        let text = if prefix && name.len() > 1 && name.ends_with('-') {
            masked = format!("{}a", &name[..name.len() - 2]);
            masked.as_str()
        } else {
            name
        };
        match self {
            Self::Subdomain => dns1123_subdomain(text),
            Self::Label => dns1123_label(text),
            Self::Label1035 => dns1035_label(text),
            Self::Path => path_segment(name, prefix),
            Self::ConfigKey => config_map_key(name),
            Self::Qualified => qualified(name),
            Self::Address => canonical_ip(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_subdomains() {
        for fine in ["a", "a-b", "1", "a1"] {
            assert!(dns1123_label(fine).is_empty(), "{fine}");
        }
        assert_eq!(dns1123_label("a.b"), ["must not contain dots"]);
        for bad in ["", "-a", "a-", "A", "a_b", "a b", "é"] {
            assert_eq!(dns1123_label(bad).len(), 1, "{bad}");
        }
        assert_eq!(dns1123_label(&"a".repeat(64)), ["must be no more than 63 characters"]);
        for bad in ["a..b", ".a", "a."] {
            assert_eq!(dns1123_subdomain(bad).len(), 1, "{bad}");
        }
        assert!(dns1123_subdomain_with_underscore("_a.b_c").is_empty());
        assert!(wildcard_dns1123_subdomain("*.a.b").is_empty());
        assert!(!wildcard_dns1123_subdomain("*").is_empty());
    }

    #[test]
    fn qualified_names() {
        assert!(qualified("example.com/A_b").is_empty());
        assert_eq!(qualified("").len(), 2);
        assert_eq!(qualified("/a"), ["prefix part must be non-empty"]);
        assert!(qualified("a/b/c")[0].starts_with("a valid label key must consist"));
        assert_eq!(qualified("Example/a").len(), 1);
    }

    #[test]
    fn generated_names_may_end_in_a_dash() {
        assert!(NameRule::Subdomain.check("web-", true).is_empty());
        assert!(!NameRule::Subdomain.check("web-", false).is_empty());
        assert_eq!(NameRule::Path.check("..", false), ["may not be '..'"]);
        assert_eq!(NameRule::Path.check("a/b%", false), ["may not contain '/'", "may not contain '%'"]);
    }
}
