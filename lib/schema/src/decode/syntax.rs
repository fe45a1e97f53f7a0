//! What is wrong with a body that is not JSON, in the words that clients of Kubernetes know.

/// Where a character was not expected: the parser's words for it, and upstream's.
const PLACES: &[(&str, &str)] = &[
    ("key must be a string", "looking for beginning of object key string"),
    ("trailing comma", "looking for beginning of object key string"),
    ("expected `:`", "after object key"),
    ("expected `,` or `}`", "after object key:value pair"),
    ("expected `,` or `]`", "after array element"),
    ("trailing characters", "after top-level value"),
    ("control character", "in string literal"),
    ("invalid escape", "in string escape code"),
    ("invalid number", "in numeric literal"),
    ("expected value", "looking for beginning of value"),
];

/// The text of an error of the parser; errors of reading types are told in their own words.
pub(super) fn text(error: &serde_json::Error, body: &[u8]) -> String {
    if error.is_eof() {
        return "unexpected end of JSON input".to_owned();
    }
    let said = error.to_string();
    let place = PLACES.iter().find(|(theirs, _)| said.starts_with(theirs));
    match (place, character(error, body)) {
        (Some((_, place)), Some(character)) => format!("invalid character {character:?} {place}"),
        _ => said,
    }
}

/// The character that an error points at.
fn character(error: &serde_json::Error, body: &[u8]) -> Option<char> {
    let line = body.split(|byte| *byte == b'\n').nth(error.line().checked_sub(1)?)?;
    let rest = line.get(error.column().checked_sub(1)?..)?;
    String::from_utf8_lossy(rest).chars().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_as_upstream_tells_them() {
        for (body, want) in [
            ("{not json", "invalid character 'n' looking for beginning of object key string"),
            ("{\"bad", "unexpected end of JSON input"),
            ("", "unexpected end of JSON input"),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            ("{\"a\":1 \"b\":2}", "invalid character '\"' after object key:value pair"),
            ("{\"a\":1,}", "invalid character '}' looking for beginning of object key string"),
            ("[1 2]", "invalid character '2' after array element"),
            ("{} x", "invalid character 'x' after top-level value"),
            ("{\"a\":x}", "invalid character 'x' looking for beginning of value"),
            ("hello", "invalid character 'h' looking for beginning of value"),
        ] {
            let error = serde_json::from_str::<serde_json::Value>(body).unwrap_err();
            assert_eq!(text(&error, body.as_bytes()), want, "{body}");
        }
    }
}
