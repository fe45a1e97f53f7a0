//! The OpenAPI v2 document, made from what the v3 documents are made from.
//!
//! Clients from before v3 check and explain objects by it, in JSON or in protobuf. It is written piece by piece, so that
//! it is never in memory as a whole tree.
//! Source: <https://kubernetes.io/docs/concepts/overview/kubernetes-api/#openapi-v2>

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{schemas, versioned};
use crate::discovery::Entry;
use crate::version::RELEASE;

mod convert;
mod message;

/// How the document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// JSON.
    Json,
    /// The protobuf messages of gnostic.
    Protobuf,
}

/// The document over everything that is served, in a form.
#[must_use]
pub fn document(entries: &[Entry], form: Form) -> Vec<u8> {
    let mut versions: Vec<(&str, &str)> = entries.iter().map(|entry| (&*entry.group, &*entry.version)).collect();
    versions.sort_unstable();
    versions.dedup();
    let mut writer = Writer::new(form);
    for (group, version) in &versions {
        let (paths, _) = versioned(entries, group, version).unwrap_or_default();
        writer.members("paths", paths.into_iter().map(|(path, item)| (path, convert::path_item(item))));
    }
    let mut written = BTreeSet::new();
    for (group, version) in &versions {
        let (_, roots) = versioned(entries, group, version).unwrap_or_default();
        let found = schemas::reachable(roots, entries).into_iter().filter(|(name, _)| written.insert(name.clone()));
        let found: Vec<(String, Value)> = found.collect();
        writer.members("definitions", found.into_iter().map(|(name, schema)| (name, convert::schema(schema))));
    }
    writer.end()
}

/// Writes members of the document's two large maps, one after the other.
struct Writer {
    form: Form,
    head: Value,
    /// The map that members were written to last, in JSON.
    open: Option<&'static str>,
    out: Vec<u8>,
}

impl Writer {
    fn new(form: Form) -> Self {
        let head = json!({
            "swagger": "2.0",
            "info": {"title": "Kubernetes", "version": RELEASE},
            "securityDefinitions": {"BearerToken": {"type": "apiKey", "name": "authorization", "in": "header"}},
            "security": [{"BearerToken": []}],
        });
        let out = match form {
            Form::Json => b"{".to_vec(),
            Form::Protobuf => Vec::new(),
        };
        Self { form, head, open: None, out }
    }

    fn members(&mut self, map: &'static str, members: impl Iterator<Item = (String, Value)>) {
        for (name, value) in members {
            match self.form {
                Form::Json => self.json_member(map, &name, &value),
                // Equal messages one after the other are merged, so every member may come in a map of its own.
                Form::Protobuf => {
                    let one: Map<String, Value> = [(name, value)].into_iter().collect();
                    self.out.extend(message::document(&json!({ map: one })));
                }
            }
        }
    }

    fn json_member(&mut self, map: &'static str, name: &str, value: &Value) {
        if self.open == Some(map) {
            self.out.push(b',');
        } else {
            self.close();
            self.out.extend(format!("\"{map}\":{{").as_bytes());
            self.open = Some(map);
        }
        self.out.extend(Value::from(name).to_string().as_bytes());
        self.out.push(b':');
        self.out.extend(value.to_string().as_bytes());
    }

    fn close(&mut self) {
        if self.open.take().is_some() {
            self.out.extend(b"},");
        }
    }

    fn end(mut self) -> Vec<u8> {
        match self.form {
            Form::Json => {
                self.close();
                // What is left of the document, without the brace that it begins with.
                self.out.extend(&self.head.to_string().as_bytes()[1..]);
            }
            Form::Protobuf => {
                let head = message::document(&self.head);
                self.out.splice(0..0, head);
            }
        }
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_a_map_may_come_one_by_one() {
        let mut writer = Writer::new(Form::Json);
        writer.members("paths", [("/a".to_owned(), json!({}))].into_iter());
        writer.members("paths", [("/b".to_owned(), json!({}))].into_iter());
        writer.members("definitions", [("D".to_owned(), json!({"type": "object"}))].into_iter());
        let document: Value = serde_json::from_slice(&writer.end()).unwrap();
        assert_eq!(document["paths"], json!({"/a": {}, "/b": {}}));
        assert_eq!(document["definitions"]["D"]["type"], "object");
        assert_eq!(document["info"]["version"], RELEASE);
    }
}
