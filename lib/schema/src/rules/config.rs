//! Config maps with secrets: bags of data for pods.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use serde_json::{Map, Value};

use super::fields::{fill, text};
use crate::kind::{Column, Rules, Selectable, Write};
use crate::meta::{MetaRules, Repeats, all_invalid};
use crate::names;
use crate::status::FieldError;
use crate::table;

const CONFIG_DATA: &str = "Data contains the configuration data. Each key must consist of alphanumeric characters, '-', '_' or '.'. Values \
    with non-UTF-8 byte sequences must use the BinaryData field. The keys stored in Data must not overlap with the \
    keys in the BinaryData field, this is enforced during validation process.";
const SECRET_TYPE: &str = "Used to facilitate programmatic handling of secret data. More info: \
    https://kubernetes.io/docs/concepts/configuration/secret/#secret-types";
const SECRET_DATA: &str = "Data contains the secret data. Each key must consist of alphanumeric characters, '-', '_' or '.'. The serialized \
    form of the secret data is a base64 encoded string, representing the arbitrary (possibly non-string) data value \
    here. Described in https://tools.ietf.org/html/rfc4648#section-4";

/// The most bytes that all values may hold together.
const MAX_BYTES: usize = 1024 * 1024;

impl Rules for ConfigMap {
    const META: MetaRules = MetaRules::COMMON.repeating(Repeats::Both);
    const COLUMNS: &'static [Column<Self>] = &[
        table::name(),
        table::text("Data", CONFIG_DATA, |it, _| {
            (it.data.iter().flatten().count() + it.binary_data.iter().flatten().count()).into()
        }),
        table::age(),
    ];

    fn validate(&self, old: Option<&Self>, _: Write) -> Vec<FieldError> {
        let mut errors = Vec::new();
        if let Some(old) = old.filter(|old| old.immutable == Some(true)) {
            errors.extend(frozen("immutable", self.immutable != Some(true)));
            errors.extend(frozen("data", self.data != old.data));
            errors.extend(frozen("binaryData", self.binary_data != old.binary_data));
        }
        let mut bytes = 0;
        for (key, value) in self.data.iter().flatten() {
            let field = format!("data[{key}]");
            errors.extend(all_invalid(&field, key, names::config_map_key(key)));
            if self.binary_data.iter().flatten().any(|(other, _)| other == key) {
                errors.push(FieldError::invalid_text(field, key, "duplicate of key present in binaryData"));
            }
            bytes += value.len();
        }
        for (key, value) in self.binary_data.iter().flatten() {
            errors.extend(all_invalid(&format!("binaryData[{key}]"), key, names::config_map_key(key)));
            bytes += value.0.len();
        }
        if bytes > MAX_BYTES {
            errors.push(FieldError::too_long("[]", MAX_BYTES));
        }
        errors
    }
}

fn frozen(field: &str, changed: bool) -> Option<FieldError> {
    changed.then(|| FieldError::forbidden(field, "field is immutable when `immutable` is set"))
}

impl Rules for Secret {
    const META: MetaRules = MetaRules::COMMON.repeating(Repeats::Both);
    const COLUMNS: &'static [Column<Self>] = &[
        table::name(),
        table::text("Type", SECRET_TYPE, |it, _| text(&it.type_).into()),
        table::text("Data", SECRET_DATA, |it, _| it.data.iter().flatten().count().into()),
        table::age(),
    ];
    const SELECTABLE: &'static [Selectable] = &[Selectable::text("type")];

    fn fill_defaults(&mut self) {
        if let Some(texts) = self.string_data.take() {
            let data = self.data.get_or_insert_default();
            data.extend(texts.into_iter().map(|(key, text)| (key, ByteString(text.into_bytes()))));
        }
        fill(&mut self.type_, "Opaque");
    }

    fn validate(&self, old: Option<&Self>, _: Write) -> Vec<FieldError> {
        let mut errors = Vec::new();
        if let Some(old) = old {
            if text(&self.type_) != text(&old.type_) {
                errors.push(FieldError::invalid_text("type", text(&self.type_), "field is immutable"));
            }
            if old.immutable == Some(true) {
                errors.extend(frozen("immutable", self.immutable != Some(true)));
                errors.extend(frozen("data", self.data != old.data));
            }
        }
        let mut bytes = 0;
        for (key, value) in self.data.iter().flatten() {
            errors.extend(all_invalid(&format!("data[{key}]"), key, names::config_map_key(key)));
            bytes += value.0.len();
        }
        if bytes > MAX_BYTES {
            errors.push(FieldError::too_long("data", MAX_BYTES));
        }
        errors.extend(typed(self));
        errors
    }

    fn warnings(&self, _: Option<&Self>) -> Vec<String> {
        if text(&self.type_) != "kubernetes.io/tls" {
            return Vec::new();
        }
        let pair = (value(self, "tls.crt"), value(self, "tls.key"));
        pair.0.zip(pair.1).and_then(|(certificate, key)| pem_warning(certificate, key)).into_iter().collect()
    }
}

/// What is missing in the halves of a key pair, in the words of Go's TLS.
fn pem_warning(certificate: &[u8], key: &[u8]) -> Option<String> {
    let has = |bytes: &[u8], label: &str| String::from_utf8_lossy(bytes).contains(label);
    if !has(certificate, "-----BEGIN ") {
        return Some("tls: failed to find any PEM data in certificate input".to_owned());
    }
    if !has(certificate, "-----BEGIN CERTIFICATE-----") {
        return Some(
            "tls: failed to find \"CERTIFICATE\" PEM block in certificate input after skipping PEM blocks of the \
                     following types: []"
                .to_owned(),
        );
    }
    (!has(key, "-----BEGIN ")).then(|| "tls: failed to find any PEM data in key input".to_owned())
}

fn value<'a>(secret: &'a Secret, key: &str) -> Option<&'a [u8]> {
    secret.data.as_ref()?.get(key).map(|value| value.0.as_slice())
}

/// What a secret of its type must hold.
fn typed(secret: &Secret) -> Vec<FieldError> {
    let missing = |key: &str| FieldError::required(format!("data[{key}]"), "");
    let has = |key: &str| value(secret, key).is_some();
    match text(&secret.type_) {
        "kubernetes.io/service-account-token" => {
            const NAME: &str = "kubernetes.io/service-account.name";
            let name = secret.metadata.annotations.as_ref().and_then(|all| all.get(NAME));
            let absent = name.is_none_or(String::is_empty);
            absent.then(|| FieldError::required(format!("metadata.annotations[{NAME}]"), "")).into_iter().collect()
        }
        "kubernetes.io/dockercfg" => json_map(secret, ".dockercfg"),
        "kubernetes.io/dockerconfigjson" => json_map(secret, ".dockerconfigjson"),
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => {
            vec![missing("username"), missing("password")]
        }
        "kubernetes.io/ssh-auth" if value(secret, "ssh-privatekey").is_none_or(<[u8]>::is_empty) => {
            vec![missing("ssh-privatekey")]
        }
        "kubernetes.io/tls" => ["tls.crt", "tls.key"].iter().filter(|key| !has(key)).map(|key| missing(key)).collect(),
        _ => Vec::new(),
    }
}

fn json_map(secret: &Secret, key: &str) -> Vec<FieldError> {
    let field = format!("data[{key}]");
    let Some(bytes) = value(secret, key) else { return vec![FieldError::required(field, "")] };
    match serde_json::from_slice::<Option<Map<String, Value>>>(bytes) {
        Ok(_) => Vec::new(),
        Err(error) => {
            vec![FieldError::invalid_text(field, "<secret contents redacted>", &go_json_error(bytes, &error))]
        }
    }
}

/// A mistake in JSON in the words of Go's decoder.
fn go_json_error(bytes: &[u8], error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "unexpected end of JSON input".to_owned();
    }
    if error.is_data() {
        let found = match serde_json::from_slice::<Value>(bytes) {
            Ok(Value::Array(_)) => "array",
            Ok(Value::Bool(_)) => "bool",
            Ok(Value::Number(_)) => "number",
            _ => "string",
        };
        return format!("json: cannot unmarshal {found} into Go value of type map[string]interface {{}}");
    }
    let at = error.column().saturating_sub(1);
    let line = bytes.split(|byte| *byte == b'\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    let bad = line.get(at).copied().map_or(' ', char::from);
    format!("invalid character '{bad}' looking for beginning of value")
}
