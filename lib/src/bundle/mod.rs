//! What belongs together: an ordered set of objects under one name.

use std::collections::BTreeMap;
use std::path::Path;

use kprov_schema::decode::Validation;
use kprov_schema::yaml::{self, YamlError};
use kprov_schema::{Object, Status};
use serde::Serialize;
use serde_json::{Value, json};

use crate::check::{self, Kinds, server};
use crate::diff::Diff;
use crate::manifest::{Manifest, Manifests, Origin};
use crate::problem::{Problem, Severity};

mod stage;

pub use stage::Stage;

/// An ordered set of objects with one name.
///
/// ```
/// use kprov::Bundle;
/// use kprov::build::*;
///
/// let mut app = Bundle::new("shop").label("app.kubernetes.io/part-of", "shop");
/// app.add(ConfigMap::new("settings").file("greeting", "hello"));
/// assert_eq!(app.find("ConfigMap", "settings").unwrap().label("app.kubernetes.io/part-of"), Some("shop"));
/// let again = Bundle::from_yaml("shop", &app.to_yaml().unwrap()).unwrap();
/// assert_eq!(again.objects(), app.objects());
/// ```
#[derive(Clone, Debug)]
pub struct Bundle {
    name: String,
    labels: BTreeMap<String, String>,
    objects: Vec<Object>,
    /// Where each of the objects was read; `None` for those that a program made.
    origins: Vec<Option<Origin>>,
}

impl PartialEq for Bundle {
    /// Equal names, labels and objects; where those were read does not matter.
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.labels, &self.objects) == (&other.name, &other.labels, &other.objects)
    }
}

/// What is in it.
///
/// ```
/// use kprov::Bundle;
/// use kprov::build::*;
///
/// let mut app = Bundle::new("shop");
/// app.add(Deployment::new("web", Container::new("web", "shop:1")));
/// app.add(Namespace::new("shop"));
/// assert_eq!((app.name(), app.objects()[0].kind()), ("shop", "Deployment"));
/// assert_eq!(app.in_order()[0].kind(), "Namespace");
/// assert!(app.origin(0).is_none(), "a program made it");
/// ```
impl Bundle {
    /// An empty bundle.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), labels: BTreeMap::new(), objects: Vec::new(), origins: Vec::new() }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives a label to every object and to the pods that they make; selectors stay as they are.
    ///
    /// A label that an object sets itself is not changed. Objects added later get it as well.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        let (key, value) = (key.into(), value.into());
        self.objects.iter_mut().for_each(|object| give_label(object, &key, &value));
        self.labels.insert(key, value);
        self
    }

    /// Its objects, in the order in which they were added.
    #[must_use]
    pub fn objects(&self) -> &[Object] {
        &self.objects
    }

    /// Its objects in the order in which they are applied: what others need comes first.
    ///
    /// Namespaces, definitions, what limits and admits, configuration, storage, rights, services, workloads, routes.
    #[must_use]
    pub fn in_order(&self) -> Vec<&Object> {
        let mut all: Vec<&Object> = self.objects.iter().collect();
        all.sort_by_key(|object| Stage::of(object));
        all
    }

    /// The first object of a kind and name, in whatever namespace.
    #[must_use]
    pub fn find(&self, kind: &str, name: &str) -> Option<&Object> {
        self.objects.iter().find(|object| object.kind() == kind && object.name() == name)
    }

    /// Where an object was read; `None` when a program made it.
    #[must_use]
    pub fn origin(&self, index: usize) -> Option<&Origin> {
        self.origins.get(index)?.as_ref()
    }

    /// Adds an object: a builder or a struct of `k8s-openapi`.
    pub fn add<K: k8s_openapi::Resource + Serialize>(&mut self, object: K) -> &mut Self {
        let value = serde_json::to_value(object).expect("a Kubernetes struct serializes");
        self.push(Object::try_from(value).expect("a Kubernetes struct is a map"), None);
        self
    }

    /// Adds an object of any kind, such as a custom resource.
    ///
    /// ```
    /// use kprov::{Bundle, schema::Object};
    /// use serde_json::json;
    ///
    /// let widget = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 3}});
    /// let mut app = Bundle::new("shop");
    /// app.add_object(Object::try_from(widget)?);
    /// # Ok::<(), String>(())
    /// ```
    pub fn add_object(&mut self, object: Object) -> &mut Self {
        self.push(object, None);
        self
    }

    /// Adds the objects of another bundle, as they are in it.
    ///
    /// ```
    /// use kprov::Bundle;
    /// use kprov::build::*;
    ///
    /// let mut app = Bundle::new("shop").label("team", "shop");
    /// let mut base = Bundle::new("base");
    /// base.add(Namespace::new("shop"));
    /// app.extend(base);
    /// assert_eq!(app.objects()[0].label("team"), Some("shop"));
    /// ```
    pub fn extend(&mut self, other: Self) -> &mut Self {
        for (object, origin) in other.objects.into_iter().zip(other.origins) {
            self.push(object, origin);
        }
        self
    }

    fn push(&mut self, mut object: Object, origin: Option<Origin>) {
        for (key, value) in &self.labels {
            give_label(&mut object, key, value);
        }
        self.objects.push(object);
        self.origins.push(origin);
    }

    /// Everything that is or may be wrong, errors first.
    ///
    /// Errors are what the server would say without looking at other objects, and an object that is there twice.
    /// Warnings and notes are the server's advice, and names and selectors that lead nowhere within the bundle.
    ///
    /// ```
    /// use kprov::{Bundle, Severity};
    ///
    /// let text = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {selector: {app: wbe}, ports: [{port: 80}]}\n";
    /// let problems = Bundle::from_yaml("shop", text).unwrap().check();
    /// assert!(problems.iter().all(|problem| problem.severity < Severity::Error), "it would be taken: {problems:?}");
    /// ```
    #[must_use]
    pub fn check(&self) -> Vec<Problem> {
        let mut problems = check::check(&self.objects, &self.origins);
        problems.sort_by_key(|problem| std::cmp::Reverse(problem.severity));
        problems
    }

    /// The errors of [`Bundle::check`].
    ///
    /// Errors: all of them. Kinds that kprov does not know are checked as far as their structure is published.
    ///
    /// ```
    /// let text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replica: 2}\n";
    /// let problems = kprov::Bundle::from_yaml("shop", text).unwrap().validate().unwrap_err();
    /// assert!(problems.iter().any(|problem| problem.to_string().contains("did you mean `replicas`?")));
    /// ```
    pub fn validate(&self) -> Result<(), Vec<Problem>> {
        let mut problems = self.check();
        problems.retain(|problem| problem.severity == Severity::Error);
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// What the server would answer to those objects that it would not create, as it would write it.
    ///
    /// ```
    /// let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: A_b}\n";
    /// let bundle = kprov::Bundle::from_yaml("shop", text).unwrap();
    /// let (object, status) = &bundle.refusals()[0];
    /// assert_eq!((object.name(), status.code), ("A_b", 422));
    /// ```
    #[must_use]
    pub fn refusals(&self) -> Vec<(&Object, Status)> {
        let kinds = Kinds::with(&self.objects);
        let answer = |object| server::answer(kinds.of(object)?, object, Validation::Strict).err();
        self.objects.iter().filter_map(|object| Some((object, answer(object)?.status))).collect()
    }

    /// What leads from another bundle to this one.
    ///
    /// ```
    /// use kprov::Bundle;
    /// use kprov::build::*;
    ///
    /// let shop = |replicas| {
    ///     let mut shop = Bundle::new("shop");
    ///     shop.add(Deployment::new("web", Container::new("web", "shop:1")).replicas(replicas));
    ///     shop
    /// };
    /// assert_eq!(shop(3).diff(&shop(2)).to_string(), "~ Deployment/web\n~   spec.replicas: 2 -> 3\n");
    /// ```
    #[must_use]
    pub fn diff(&self, from: &Self) -> Diff {
        Diff::between(&from.objects, &self.objects)
    }

    /// The objects as YAML documents.
    ///
    /// Errors: what does not serialize, which no object that was read or built does.
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
    ///
    /// ```no_run
    /// let app = kprov::Bundle::read("shop", ["base/", "web.yaml"], false).unwrap();
    /// ```
    pub fn read<P: AsRef<Path>>(
        name: impl Into<String>,
        paths: impl IntoIterator<Item = P>,
        recursive: bool,
    ) -> Result<Self, Vec<Problem>> {
        Self::from_manifests(name, Manifests::read(paths, recursive))
    }

    /// A bundle of what was read. Errors: the problems of reading it, if there are any.
    ///
    /// ```
    /// use kprov::{Bundle, manifest::Manifests};
    ///
    /// let app = Bundle::from_manifests("shop", Manifests::parse("web.yaml", "kind: A\n---\nkind: B\n")).unwrap();
    /// assert_eq!(app.origin(1).unwrap().source.name, "web.yaml");
    /// ```
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

/// Where kinds keep the metadata of the pods that they make.
const POD_METADATA: &[(&str, &[&str])] = &[
    ("Deployment", &["spec", "template", "metadata"]),
    ("ReplicaSet", &["spec", "template", "metadata"]),
    ("ReplicationController", &["spec", "template", "metadata"]),
    ("StatefulSet", &["spec", "template", "metadata"]),
    ("DaemonSet", &["spec", "template", "metadata"]),
    ("Job", &["spec", "template", "metadata"]),
    ("CronJob", &["spec", "jobTemplate", "spec", "template", "metadata"]),
];

fn give_label(object: &mut Object, key: &str, value: &str) {
    let pods = POD_METADATA.iter().find(|(kind, _)| *kind == object.kind()).map(|(_, path)| *path);
    for path in std::iter::once(&["metadata"][..]).chain(pods) {
        let mut labels =
            object.at(path).and_then(|metadata| metadata.get("labels")).cloned().unwrap_or_else(|| json!({}));
        if let Value::Object(map) = &mut labels {
            map.entry(key).or_insert_with(|| Value::from(value));
            let path: Vec<&str> = path.iter().copied().chain(["labels"]).collect();
            object.set(&path, labels);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Bundle {
        Bundle::from_yaml("b", text).unwrap()
    }

    #[test]
    fn documents_lists_and_mistakes() {
        let bundle = read("kind: A\n---\nkind: List\nitems: [{kind: B}, {kind: C}]\n---\n");
        let kinds: Vec<&str> = bundle.objects().iter().map(Object::kind).collect();
        assert_eq!(kinds, ["A", "B", "C"]);
        let problems = Bundle::from_yaml("b", "kind: A\n---\n- kind: B\n").unwrap_err();
        assert!(problems[0].message.contains("is a map"));
    }

    #[test]
    fn mistakes_are_found_in_the_servers_words() {
        let problems = read("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: A_b}\n").validate().unwrap_err();
        assert_eq!(problems.len(), 1);
        assert!(problems[0].message.starts_with("metadata.name: Invalid value: \"A_b\""), "{}", problems[0]);
    }

    #[test]
    fn labels_reach_pods_and_no_selector() {
        let text = "kind: Deployment\nmetadata: {name: d, labels: {tier: own}}\nspec:\n  selector: {matchLabels: {a: b}}\n  \
                    template: {metadata: {labels: {a: b}}}\n";
        let bundle = read(text).label("tier", "front").label("part", "shop");
        let object = &bundle.objects()[0];
        assert_eq!(object.at(&["metadata", "labels"]), Some(&json!({"tier": "own", "part": "shop"})));
        let pods = object.at(&["spec", "template", "metadata", "labels"]);
        assert_eq!(pods, Some(&json!({"a": "b", "tier": "front", "part": "shop"})));
        assert_eq!(object.at(&["spec", "selector", "matchLabels"]), Some(&json!({"a": "b"})));
    }

    #[test]
    fn what_others_need_is_applied_first() {
        let kinds = [
            ("networking.k8s.io/v1", "Ingress"),
            ("apps/v1", "Deployment"),
            ("example.com/v1", "Widget"),
            ("v1", "Secret"),
            ("v1", "Namespace"),
            ("v1", "Service"),
            ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
        ];
        let text: Vec<String> =
            kinds.iter().map(|(version, kind)| format!("apiVersion: {version}\nkind: {kind}\n")).collect();
        let bundle = read(&text.join("---\n"));
        let order: Vec<&str> = bundle.in_order().into_iter().map(Object::kind).collect();
        let want = ["Namespace", "CustomResourceDefinition", "Secret", "Service", "Deployment", "Widget", "Ingress"];
        assert_eq!(order, want);
    }

    #[test]
    fn a_definition_in_the_bundle_checks_its_objects() {
        let text = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget, listKind: WidgetList}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties: {size: {type: integer, maximum: 5}}
---
apiVersion: example.com/v1
kind: Widget
metadata: {name: w}
spec: {size: 9}
---
apiVersion: example.com/v1
kind: Widget
metadata: {name: x}
spec: {sise: 1}
"#;
        let told: Vec<String> = read(text).validate().unwrap_err().iter().map(ToString::to_string).collect();
        assert!(told.iter().any(|one| one.contains("Widget/w: spec.size: Invalid value: 9")), "{told:?}");
        assert!(told.iter().any(|one| one.contains("did you mean `size`?")), "{told:?}");
    }
}
