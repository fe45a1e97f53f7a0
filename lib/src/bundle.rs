//! What belongs together: an ordered set of objects under one name.

use kprov_schema::kind::Write;
use kprov_schema::{FieldError, KINDS, Kind, Object};
use serde::Serialize;
use serde_json::Value;

use crate::yaml::{self, YamlError};

/// An ordered set of objects with one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Bundle {
    name: String,
    objects: Vec<Object>,
}

/// What the server would say about one object of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `Kind/name`.
    pub object: String,
    /// The error, in the server's words.
    pub message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.object, self.message)
    }
}

impl Bundle {
    /// An empty bundle.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), objects: Vec::new() }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its objects, in the order in which they were added.
    #[must_use]
    pub fn objects(&self) -> &[Object] {
        &self.objects
    }

    /// Adds an object.
    pub fn add<K: k8s_openapi::Resource + Serialize>(&mut self, object: K) -> &mut Self {
        let value = serde_json::to_value(object).expect("a Kubernetes struct serializes");
        self.objects.push(Object::try_from(value).expect("a Kubernetes struct is a map"));
        self
    }

    /// Every error that the server would find without looking at other objects.
    ///
    /// Errors: all of them, object by object; kinds that the bundled server does not know are not checked.
    pub fn validate(&self) -> Result<(), Vec<Problem>> {
        let problems: Vec<Problem> = self.objects.iter().flat_map(problems).collect();
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// The objects as YAML documents.
    pub fn to_yaml(&self) -> Result<String, YamlError> {
        let documents: Result<Vec<String>, YamlError> = self.objects.iter().map(yaml::to_string).collect();
        Ok(documents?.join("---\n"))
    }

    /// Reads YAML documents; a `List` stands for its items.
    ///
    /// Errors: what is no YAML, with line and column, and documents that are no map.
    pub fn from_yaml(name: impl Into<String>, text: &str) -> Result<Self, YamlError> {
        let mut bundle = Self::new(name);
        for document in yaml::documents(text)? {
            bundle.add_document(document)?;
        }
        Ok(bundle)
    }

    fn add_document(&mut self, document: Value) -> Result<(), YamlError> {
        let is_list = document["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
        match document {
            Value::Object(mut list) if is_list && list.get("items").is_some_and(Value::is_array) => {
                if let Some(Value::Array(items)) = list.remove("items") {
                    return items.into_iter().try_for_each(|item| self.add_document(item));
                }
            }
            Value::Object(map) => self.objects.push(Object::from(map)),
            other => return Err(YamlError::new(format!("an object is a map, and this is none: {other}"))),
        }
        Ok(())
    }
}

/// The row of the table that an object belongs to.
fn kind_of(object: &Object) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.kind == object.kind() && kind.resource.api_version() == object.api_version())
}

fn problems(object: &Object) -> Vec<Problem> {
    let Some(kind) = kind_of(object) else { return Vec::new() };
    let name = format!("{}/{}", object.kind(), object.name());
    let problem = |message: String| Problem { object: name.clone(), message };
    let mut object = object.clone();
    if kind.is_namespaced() && object.namespace().is_empty() {
        object.set(&["metadata", "namespace"], Value::String("default".to_owned()));
    }
    let checked = kind.fill_defaults(&mut object).and_then(|()| kind.validate(&object, None, Write::Main));
    match checked {
        Ok(errors) => errors.iter().map(FieldError::to_string).map(problem).collect(),
        Err(message) => vec![problem(message)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_lists_and_mistakes() {
        let text = "kind: A\n---\nkind: List\nitems: [{kind: B}, {kind: C}]\n---\n";
        let kinds: Vec<String> =
            Bundle::from_yaml("b", text).unwrap().objects().iter().map(|object| object.kind().to_owned()).collect();
        assert_eq!(kinds, ["A", "B", "C"]);
        assert!(Bundle::from_yaml("b", "kind: A\n---\n- kind: B\n").unwrap_err().to_string().contains("is a map"));
    }

    #[test]
    fn mistakes_are_found_in_the_servers_words() {
        let bundle = Bundle::from_yaml("b", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: A_b}\n").unwrap();
        let problems = bundle.validate().unwrap_err();
        assert_eq!(problems.len(), 1);
        assert!(problems[0].message.starts_with("metadata.name: Invalid value: \"A_b\""), "{}", problems[0]);
    }
}
