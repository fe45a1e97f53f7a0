//! An object as it travels: a JSON map with every field that the client sent.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::key::{Key, Revision, Uid};

/// A Kubernetes object as JSON, unknown fields included.
///
/// The value is always a map. Reading goes through the accessors below; what needs a typed view uses
/// [`crate::Typed`], whose result is never stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub struct Object(Map<String, Value>);

impl TryFrom<Value> for Object {
    type Error = String;
    fn try_from(value: Value) -> Result<Self, String> {
        match value {
            Value::Object(map) => Ok(Self(map)),
            other => Err(format!("an object must be a map, not {other}")),
        }
    }
}

impl From<Object> for Value {
    fn from(object: Object) -> Self {
        Self::Object(object.0)
    }
}

impl From<Map<String, Value>> for Object {
    fn from(map: Map<String, Value>) -> Self {
        Self(map)
    }
}

impl Object {
    /// The whole map.
    #[must_use]
    pub fn map(&self) -> &Map<String, Value> {
        &self.0
    }

    /// The whole map, to change.
    pub fn map_mut(&mut self) -> &mut Map<String, Value> {
        &mut self.0
    }

    /// The value at a path of field names, such as `["spec", "nodeName"]`.
    #[must_use]
    pub fn at(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.0.get(*first)?, |value, field| value.get(*field))
    }

    /// The text at a path; `None` when absent or not a text.
    #[must_use]
    pub fn text(&self, path: &[&str]) -> Option<&str> {
        self.at(path)?.as_str()
    }

    /// Sets the value at a path, making the maps on the way.
    pub fn set(&mut self, path: &[&str], value: Value) {
        let Some((last, parents)) = path.split_last() else { return };
        let mut map = &mut self.0;
        for field in parents {
            let next = map.entry((*field).to_owned()).or_insert_with(|| json!({}));
            if !next.is_object() {
                *next = json!({});
            }
            let Value::Object(inner) = next else { return };
            map = inner;
        }
        map.insert((*last).to_owned(), value);
    }

    /// Removes and returns the value at a path.
    pub fn remove(&mut self, path: &[&str]) -> Option<Value> {
        let (last, parents) = path.split_last()?;
        let mut map = &mut self.0;
        for field in parents {
            map = map.get_mut(*field)?.as_object_mut()?;
        }
        map.remove(*last)
    }

    /// `apiVersion`, empty when absent.
    #[must_use]
    pub fn api_version(&self) -> &str {
        self.text(&["apiVersion"]).unwrap_or_default()
    }

    /// `kind`, empty when absent.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.text(&["kind"]).unwrap_or_default()
    }

    /// `metadata.name`, empty when absent.
    #[must_use]
    pub fn name(&self) -> &str {
        self.text(&["metadata", "name"]).unwrap_or_default()
    }

    /// `metadata.namespace`, empty when absent.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.text(&["metadata", "namespace"]).unwrap_or_default()
    }

    /// `metadata.managedFields`: who owns which fields.
    #[must_use]
    pub fn managers(&self) -> Option<&Value> {
        self.at(&["metadata", "managedFields"])
    }

    /// The object without [`Self::managers`], which are long and no rule's matter.
    #[must_use]
    pub fn without_managers(&self) -> Self {
        let bare = |(name, value): (&String, &Value)| match value {
            Value::Object(map) if name == "metadata" => {
                let kept = map.iter().filter(|(name, _)| *name != "managedFields");
                (name.clone(), Value::Object(kept.map(|(name, value)| (name.clone(), value.clone())).collect()))
            }
            _ => (name.clone(), value.clone()),
        };
        Self(self.0.iter().map(bare).collect())
    }

    /// Namespace and name.
    #[must_use]
    pub fn key(&self) -> Key {
        Key::new(self.namespace(), self.name())
    }

    /// `metadata.uid`, empty when absent.
    #[must_use]
    pub fn uid(&self) -> Uid {
        Uid(self.text(&["metadata", "uid"]).unwrap_or_default().to_owned())
    }

    /// `metadata.resourceVersion` as a revision; `None` when absent, empty or not a number.
    #[must_use]
    pub fn revision(&self) -> Option<Revision> {
        self.text(&["metadata", "resourceVersion"]).and_then(|text| u64::from_str(text).ok()).map(Revision)
    }

    /// `metadata.generation`, 0 when absent.
    #[must_use]
    pub fn generation(&self) -> i64 {
        self.at(&["metadata", "generation"]).and_then(Value::as_i64).unwrap_or_default()
    }

    /// Whether deletion has begun.
    #[must_use]
    pub fn is_deleting(&self) -> bool {
        self.at(&["metadata", "deletionTimestamp"]).is_some_and(|value| !value.is_null())
    }

    /// `metadata.labels` as pairs.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs(&["metadata", "labels"])
    }

    /// `metadata.annotations` as pairs.
    pub fn annotations(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs(&["metadata", "annotations"])
    }

    /// The value of one label.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.text(&["metadata", "labels", key])
    }

    /// The value of one annotation.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.text(&["metadata", "annotations", key])
    }

    /// `metadata.finalizers`.
    pub fn finalizers(&self) -> impl Iterator<Item = &str> {
        self.at(&["metadata", "finalizers"]).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    }

    fn pairs(&self, path: &[&str]) -> impl Iterator<Item = (&str, &str)> {
        self.at(path)
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_and_removes_along_a_path() {
        let mut object = Object::try_from(json!({"metadata": {"name": "a"}})).expect("a map");
        object.set(&["spec", "nodeName"], json!("n"));
        assert_eq!(object.text(&["spec", "nodeName"]), Some("n"));
        assert_eq!(object.remove(&["spec", "nodeName"]), Some(json!("n")));
        assert_eq!(object.at(&["spec", "nodeName"]), None);
        assert!(Object::try_from(json!([])).is_err());
    }
}
