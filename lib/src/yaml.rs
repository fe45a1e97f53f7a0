//! YAML as kubectl reads and writes it.
//!
//! Equal keys are errors, `0644` is octal, and texts that YAML 1.1 takes for booleans or numbers are quoted.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What is wrong with a text, with its line and column in the message.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct YamlError(String);

impl YamlError {
    pub(crate) fn new(message: String) -> Self {
        Self(message)
    }
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        legacy_octal_numbers: true,
        budget: serde_saphyr::budget! { max_documents: 100_000, max_nodes: 10_000_000 },
    }
}

/// Reads one document.
///
/// Errors: what is wrong, with line and column. Example: `kprov::yaml::from_str::<i32>("0644")` is 420.
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, YamlError> {
    serde_saphyr::from_str_with_options(text, options()).map_err(|error| YamlError(error.to_string()))
}

/// Reads every document of a text; empty ones are left out.
pub fn documents(text: &str) -> Result<Vec<Value>, YamlError> {
    let all: Vec<Value> =
        serde_saphyr::from_multiple_with_options(text, options()).map_err(|error| YamlError(error.to_string()))?;
    Ok(all.into_iter().filter(|document| !document.is_null()).collect())
}

/// Writes one document, without a leading `---`.
pub fn to_string<T: Serialize>(value: &T) -> Result<String, YamlError> {
    serde_saphyr::to_string(value).map_err(|error| YamlError(error.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_what_kubectl_reads() {
        assert_eq!(from_str::<Value>("mode: 0644").unwrap(), json!({"mode": 420}));
        assert_eq!(documents("a: 1\n---\n---\nb: 2\n").unwrap(), [json!({"a": 1}), json!({"b": 2})]);
        let error = from_str::<Value>("a: 1\na: 2\n").unwrap_err().to_string();
        assert!(error.contains("duplicate"), "{error}");
    }

    #[test]
    fn texts_stay_texts() {
        for text in ["yes", "on", "y", "012345678901", "1e3", "null", "~", "0x1f", "1.0", "", "- a", "multi\nline\n"] {
            let written = to_string(&json!({ "value": text })).unwrap();
            assert_eq!(from_str::<Value>(&written).unwrap(), json!({ "value": text }), "{written}");
        }
    }
}
