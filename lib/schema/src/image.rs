//! References to container images, taken apart.

/// An image reference's parts. Example: `quay.io/a/b:1.2` has the name `quay.io/a/b` and the tag `1.2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageName {
    /// Registry and repository as they were written, without tag and digest.
    pub name: String,
    /// The tag; `latest` when there is neither tag nor digest.
    pub tag: Option<String>,
    /// The digest, such as `sha256:…`.
    pub digest: Option<String>,
}

/// Takes an image reference apart; `None` when it is malformed.
///
/// Source: <https://github.com/distribution/reference>
#[must_use]
pub fn parse(image: &str) -> Option<ImageName> {
    let (rest, digest) = match image.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (image, None),
    };
    let slash = rest.rfind('/').map_or(0, |at| at + 1);
    let (name, tag) = match rest[slash..].find(':') {
        Some(at) => (&rest[..slash + at], Some(&rest[slash + at + 1..])),
        None => (rest, None),
    };
    let well_formed = is_name(name) && tag.is_none_or(is_tag) && digest.is_none_or(is_digest);
    if !well_formed || is_bare_digest(image) {
        return None;
    }
    let latest = (tag.is_none() && digest.is_none()).then_some("latest");
    Some(ImageName { name: name.to_owned(), tag: tag.or(latest).map(str::to_owned), digest: digest.map(str::to_owned) })
}

fn is_bare_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_name(name: &str) -> bool {
    let (domain, path) = match name.split_once('/') {
        Some((first, rest)) if is_domain_part(first) => (Some(first), rest),
        _ => (None, name),
    };
    // The default registry keeps names of one part below `library/`, which counts.
    let length = path.len() + if domain.is_none() && !path.contains('/') { "library/".len() } else { 0 };
    !path.is_empty() && length <= 255 && domain.is_none_or(is_domain) && path.split('/').all(is_component)
}

/// Whether the first part of a name is a registry's address and no part of the path.
fn is_domain_part(part: &str) -> bool {
    part.contains(['.', ':']) || part == "localhost" || part.chars().any(|c| c.is_ascii_uppercase())
}

fn is_domain(domain: &str) -> bool {
    let bracket = domain.rfind(']').map_or(0, |at| at + 1);
    let (host, port) = match domain[bracket..].find(':') {
        Some(at) => (&domain[..bracket + at], Some(&domain[bracket + at + 1..])),
        None => (domain, None),
    };
    let host_ok = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => !address.is_empty() && address.chars().all(|c| c.is_ascii_hexdigit() || c == ':'),
        None => host.split('.').all(is_domain_label),
    };
    host_ok && port.is_none_or(|port| !port.is_empty() && port.chars().all(|c| c.is_ascii_digit()))
}

fn is_domain_label(label: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '-';
    !label.is_empty() && label.chars().all(inner) && !label.starts_with('-') && !label.ends_with('-')
}

/// Lower-case words joined by one dot, one or two underscores, or any number of dashes.
fn is_component(component: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separators: Vec<&str> = component.split(is_word).filter(|part| !part.is_empty()).collect();
    component.starts_with(is_word)
        && component.ends_with(is_word)
        && separators.iter().all(|one| matches!(*one, "." | "_" | "__") || one.chars().all(|c| c == '-'))
}

fn is_tag(tag: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    tag.len() <= 128 && tag.starts_with(word) && tag.chars().all(|c| word(c) || c == '.' || c == '-')
}

fn is_digest(digest: &str) -> bool {
    let Some((algorithm, hex)) = digest.split_once(':') else { return false };
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic()) && part.chars().all(|c| c.is_ascii_alphanumeric())
    };
    algorithm.split(['-', '_', '+', '.']).all(part) && hex.len() >= 32 && hex.chars().all(|c| c.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_references_apart() {
        let tag = |image: &str| parse(image).map(|parts| parts.tag);
        assert_eq!(tag("nginx"), Some(Some("latest".into())));
        assert_eq!(tag("nginx:1.16"), Some(Some("1.16".into())));
        assert_eq!(tag("localhost:5000/a/b"), Some(Some("latest".into())));
        assert_eq!(tag("quay.io/a/b:v1"), Some(Some("v1".into())));
        assert_eq!(tag(&format!("a@sha256:{}", "0".repeat(64))), Some(None));
        for bad in ["", "Upper", "has space", "a:", "-dash", "ends-", "a/b/", "../x", &"a".repeat(64), "a@sha256:1"] {
            assert_eq!(tag(bad), None, "{bad}");
        }
        assert_eq!(tag("Registry/a"), Some(Some("latest".into())));
    }
}
