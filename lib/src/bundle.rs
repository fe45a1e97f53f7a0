//! What belongs together: an ordered set of objects under one name.

use std::path::Path;

use kprov_schema::kind::Write;
use kprov_schema::yaml::{self, YamlError};
use kprov_schema::{FieldError, KINDS, Kind, Object};
use serde::Serialize;
use serde_json::Value;

use crate::manifest::{Manifest, Manifests, Origin};
use crate::problem::{Problem, Severity};

/// An ordered set of objects with one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Bundle {
    name: String,
    objects: Vec<Object>,
    /// Where each of the objects was read; `None` for those that a program made.
    origins: Vec<Option<Origin>>,
}

impl Bundle {
    /// An empty bundle.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), objects: Vec::new(), origins: Vec::new() }
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
        self.push(Object::try_from(value).expect("a Kubernetes struct is a map"), None);
        self
    }

    fn push(&mut self, object: Object, origin: Option<Origin>) {
        self.objects.push(object);
        self.origins.push(origin);
    }

    /// Every error that the server would find without looking at other objects.
    ///
    /// Errors: all of them, object by object; kinds that the bundled server does not know are not checked.
    pub fn validate(&self) -> Result<(), Vec<Problem>> {
        let checked = self.objects.iter().zip(&self.origins);
        let problems: Vec<Problem> = checked.flat_map(|(object, origin)| problems(object, origin.as_ref())).collect();
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// The objects as YAML documents.
    pub fn to_yaml(&self) -> Result<String, YamlError> {
        let documents: Result<Vec<String>, YamlError> = self.objects.iter().map(yaml::to_string).collect();
        Ok(documents?.join("---\n"))
    }

    /// Reads YAML documents, lists or JSON; a `List` stands for its items.
    ///
    /// Errors: all of what can't be read, with line and column.
    pub fn from_yaml(name: impl Into<String>, text: &str) -> Result<Self, Vec<Problem>> {
        Self::from_manifests(name, Manifests::parse("<text>", text))
    }

    /// Reads files, folders, and for `-` standard input, as [`Manifests::read`] does.
    ///
    /// Errors: all of what can't be read, with file, line and column.
    pub fn read<P: AsRef<Path>>(
        name: impl Into<String>,
        paths: impl IntoIterator<Item = P>,
        recursive: bool,
    ) -> Result<Self, Vec<Problem>> {
        Self::from_manifests(name, Manifests::read(paths, recursive))
    }

    /// A bundle of what was read. Errors: the problems of reading it, if there are any.
    pub fn from_manifests(name: impl Into<String>, read: Manifests) -> Result<Self, Vec<Problem>> {
        if !read.problems.is_empty() {
            return Err(read.problems);
        }
        let mut bundle = Self::new(name);
        for Manifest { object, origin } in read.all {
            bundle.push(object, Some(origin));
        }
        Ok(bundle)
    }
}

/// The row of the table that an object belongs to.
fn kind_of(object: &Object) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.kind == object.kind() && kind.resource.api_version() == object.api_version())
}

fn problems(object: &Object, origin: Option<&Origin>) -> Vec<Problem> {
    let Some(kind) = kind_of(object) else { return Vec::new() };
    let name = format!("{}/{}", object.kind(), object.name());
    let problem = |path: &str, message: String| {
        let mut problem = Problem::new(Severity::Error, message);
        problem.object.clone_from(&name);
        problem.path = path.to_owned();
        match origin {
            Some(origin) => problem.at(&origin.source, origin.node.find(path).at),
            None => problem,
        }
    };
    let mut object = object.clone();
    if kind.is_namespaced() && object.namespace().is_empty() {
        object.set(&["metadata", "namespace"], Value::String("default".to_owned()));
    }
    let checked = kind.fill_defaults(&mut object).and_then(|()| kind.validate(&object, None, Write::Main));
    match checked {
        Ok(errors) => errors.iter().map(|error: &FieldError| problem(&error.field, error.to_string())).collect(),
        Err(message) => vec![problem("", message)],
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
        assert!(Bundle::from_yaml("b", "kind: A\n---\n- kind: B\n").unwrap_err()[0].message.contains("is a map"));
    }

    #[test]
    fn mistakes_are_found_in_the_servers_words() {
        let bundle = Bundle::from_yaml("b", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: A_b}\n").unwrap();
        let problems = bundle.validate().unwrap_err();
        assert_eq!(problems.len(), 1);
        assert!(problems[0].message.starts_with("metadata.name: Invalid value: \"A_b\""), "{}", problems[0]);
    }
}
