//! The OpenAPI v2 document in protobuf, as far as kubectl falls back to it.
//!
//! For a kind that has no v3 document kubectl asks here whether its patches take `fieldValidation` and `dryRun`. The
//! paths, patch parameters and kinds are those of the v3 documents; definitions are left to v3.
//! Source: <https://github.com/google/gnostic-models/blob/main/openapiv2/OpenAPIv2.proto>

use serde_json::{Map, Value};

use crate::version::RELEASE;

/// Field numbers of the messages that are written, by message.
mod field {
    pub(super) const DOCUMENT_SWAGGER: u32 = 1;
    pub(super) const DOCUMENT_INFO: u32 = 2;
    pub(super) const DOCUMENT_PATHS: u32 = 8;
    pub(super) const INFO_TITLE: u32 = 1;
    pub(super) const INFO_VERSION: u32 = 2;
    pub(super) const PATHS_PATH: u32 = 2;
    pub(super) const NAMED_NAME: u32 = 1;
    pub(super) const NAMED_VALUE: u32 = 2;
    pub(super) const ITEM_PATCH: u32 = 8;
    pub(super) const OPERATION_PARAMETERS: u32 = 8;
    pub(super) const OPERATION_EXTENSION: u32 = 13;
    pub(super) const PARAMETERS_ITEM_PARAMETER: u32 = 1;
    pub(super) const PARAMETER_NON_BODY: u32 = 2;
    pub(super) const NON_BODY_QUERY: u32 = 3;
    pub(super) const QUERY_IN: u32 = 2;
    pub(super) const QUERY_NAME: u32 = 4;
    pub(super) const ANY_YAML: u32 = 2;
}

/// Length-delimited fields, one after the other.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn with(mut self, number: u32, bytes: &[u8]) -> Self {
        self.number(u64::from(number << 3 | 2));
        self.number(bytes.len() as u64);
        self.0.extend(bytes);
        self
    }

    fn number(&mut self, mut value: u64) {
        while value > 0x7f {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push((value & 0x7f) as u8);
    }
}

/// The document over the paths of v3 documents.
pub(super) fn encode<'a>(paths: impl Iterator<Item = (&'a String, &'a Value)>) -> Vec<u8> {
    let info = Message::default().with(field::INFO_TITLE, b"Kubernetes").with(field::INFO_VERSION, RELEASE.as_bytes());
    let items = paths.filter_map(|(path, item)| Some((path, item.get("patch")?.as_object()?)));
    let named = items.map(|(path, patch)| {
        let item = Message::default().with(field::ITEM_PATCH, &operation(patch));
        Message::default().with(field::NAMED_NAME, path.as_bytes()).with(field::NAMED_VALUE, &item.0)
    });
    let paths = named.fold(Message::default(), |paths, one| paths.with(field::PATHS_PATH, &one.0));
    Message::default()
        .with(field::DOCUMENT_SWAGGER, b"2.0")
        .with(field::DOCUMENT_INFO, &info.0)
        .with(field::DOCUMENT_PATHS, &paths.0)
        .0
}

fn operation(patch: &Map<String, Value>) -> Vec<u8> {
    let parameters = patch.get("parameters").and_then(Value::as_array).into_iter().flatten();
    let queries = parameters.filter(|one| one["in"] == "query").filter_map(|one| one["name"].as_str());
    let operation = queries.fold(Message::default(), |operation, name| {
        let query = Message::default().with(field::QUERY_IN, b"query").with(field::QUERY_NAME, name.as_bytes());
        let non_body = Message::default().with(field::NON_BODY_QUERY, &query.0);
        let parameter = Message::default().with(field::PARAMETER_NON_BODY, &non_body.0);
        let item = Message::default().with(field::PARAMETERS_ITEM_PARAMETER, &parameter.0);
        operation.with(field::OPERATION_PARAMETERS, &item.0)
    });
    const KIND: &str = "x-kubernetes-group-version-kind";
    let Some(kind) = patch.get(KIND) else { return operation.0 };
    // JSON is YAML.
    let any = Message::default().with(field::ANY_YAML, kind.to_string().as_bytes());
    let named = Message::default().with(field::NAMED_NAME, KIND.as_bytes()).with(field::NAMED_VALUE, &any.0);
    operation.with(field::OPERATION_EXTENSION, &named.0).0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lengths_of_more_than_one_byte_are_written_low_bits_first() {
        let message = Message::default().with(13, &[7; 300]).0;
        assert_eq!(message[..3], [0x6a, 0xac, 0x02]);
        assert_eq!(message.len(), 303);
    }

    #[test]
    fn only_patches_are_told() {
        let paths = json!({"/a": {"get": {}}, "/b": {"patch": {"parameters": [{"in": "query", "name": "dryRun"}]}}});
        let bytes = encode(paths.as_object().unwrap().iter());
        let told = String::from_utf8_lossy(&bytes);
        assert!(told.contains("/b") && told.contains("dryRun") && !told.contains("/a"), "{told}");
    }
}
