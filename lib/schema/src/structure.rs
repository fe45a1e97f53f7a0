//! The fields of every kind: Kubernetes' published schema as a tree.
//!
//! [`schema`] parses the committed facts once, on first use. A custom resource's tree is made of the same types at run time.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use serde_json::Value;

use crate::key::Resource;

mod parse;

type Text = Cow<'static, str>;

/// The facts about definitions and their fields; the file explains itself.
pub(crate) const STRUCTURE: &str = include_str!("../data/structure.txt");
/// The facts about served kinds; the file explains itself.
const KINDS: &str = include_str!("../data/kinds.txt");

/// The published schema, parsed on first use.
#[must_use]
pub fn schema() -> &'static Schema {
    static SCHEMA: OnceLock<Schema> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        parse::schema(STRUCTURE, KINDS).expect("the committed facts are well formed: a test parses them")
    })
}

/// All definitions, with the kinds that upstream serves by default.
#[derive(Debug)]
pub struct Schema {
    structs: Vec<Struct>,
    names: HashMap<&'static str, u16>,
    kinds: Vec<Served>,
    by_kind: HashMap<&'static str, Vec<u16>>,
}

impl Schema {
    /// A definition by its full name, such as `io.k8s.api.core.v1.Pod`.
    #[must_use]
    pub fn definition(&self, name: &str) -> Option<Ref> {
        self.names.get(name).map(|index| Ref::Published(*index))
    }

    /// Every definition, by name.
    pub fn definitions(&self) -> impl Iterator<Item = &Struct> {
        self.structs.iter()
    }

    /// What upstream serves under a group, version and kind; the core group is empty.
    #[must_use]
    pub fn served(&self, group: &str, version: &str, kind: &str) -> Option<&Served> {
        let mut same_name = self.by_kind.get(kind)?.iter().map(|index| &self.kinds[usize::from(*index)]);
        same_name.find(|one| one.group == group && one.version == version)
    }

    /// What upstream serves under a group, version and plural name.
    #[must_use]
    pub fn resource(&self, resource: &Resource) -> Option<&Served> {
        self.kinds
            .iter()
            .find(|one| one.plural == resource.plural && one.group == resource.group && one.version == resource.version)
    }

    /// Every kind that upstream serves by default.
    #[must_use]
    pub fn kinds(&self) -> &[Served] {
        &self.kinds
    }

    /// The structure of a kind that has one, served under a path of its own or not (`Scale`, `DeleteOptions`).
    #[must_use]
    pub fn structure(&self, group: &str, version: &str, kind: &str) -> Option<Ref> {
        if let Some(served) = self.served(group, version, kind) {
            return Some(served.structure.clone());
        }
        let package = match group {
            "" => "core",
            other => other.split('.').next().unwrap_or(other),
        };
        self.definition(&format!("io.k8s.api.{package}.{version}.{kind}"))
            .or_else(|| self.definition(&format!("io.k8s.apimachinery.pkg.apis.meta.v1.{kind}")))
    }
}

/// A kind that upstream serves by default, as its discovery documents tell it.
#[derive(Clone, Debug)]
pub struct Served {
    /// API group, empty for the core group.
    pub group: &'static str,
    /// Version.
    pub version: &'static str,
    /// CamelCase name.
    pub kind: &'static str,
    /// Plural, lower-case name.
    pub plural: &'static str,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Verbs, alphabetical.
    pub verbs: Vec<&'static str>,
    /// Short names.
    pub short_names: Vec<&'static str>,
    /// Categories.
    pub categories: Vec<&'static str>,
    /// Group and version that objects are stored as; `None` for kinds that are not stored.
    pub storage: Option<(&'static str, &'static str)>,
    /// Its fields.
    pub structure: Ref,
    /// Subresources, alphabetical.
    pub subresources: Vec<ServedSubresource>,
}

/// A subresource as discovery tells it.
#[derive(Clone, Debug)]
pub struct ServedSubresource {
    /// Last part of its path, such as `status`.
    pub name: &'static str,
    /// Verbs, alphabetical.
    pub verbs: Vec<&'static str>,
    /// Group of the kind that it speaks.
    pub group: &'static str,
    /// Version of that kind.
    pub version: &'static str,
    /// That kind.
    pub kind: &'static str,
}

/// A definition: in the published schema, or made at run time.
#[derive(Clone)]
pub enum Ref {
    /// In [`schema`].
    Published(u16),
    /// Made from a CustomResourceDefinition.
    Made(Arc<Struct>),
}

impl Deref for Ref {
    type Target = Struct;
    fn deref(&self) -> &Struct {
        match self {
            Self::Published(index) => &schema().structs[usize::from(*index)],
            Self::Made(made) => made,
        }
    }
}

impl fmt::Debug for Ref {
    // The tree is recursive, so a reference shows no more than where it leads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Published(index) => write!(f, "@{index}"),
            Self::Made(made) => write!(f, "@{}", made.name),
        }
    }
}

/// A definition with its fields.
#[derive(Clone, Debug, Default)]
pub struct Struct {
    /// Full name, such as `io.k8s.api.core.v1.Container`.
    pub name: Text,
    /// Whether server-side apply owns it as one piece.
    pub atomic: bool,
    /// Whether fields that are not listed are kept.
    pub open: bool,
    /// Fields, sorted by name; those of embedded structs included.
    pub fields: Vec<Field>,
    /// Structs whose fields stand in this one but are messages of their own in protobuf, with their numbers there.
    pub embedded: Vec<(u32, Ref)>,
}

impl Struct {
    /// A definition made at run time. Fields may come in any order.
    #[must_use]
    pub fn made(name: impl Into<Text>, mut fields: Vec<Field>, open: bool, atomic: bool) -> Ref {
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        Ref::Made(Arc::new(Self { name: name.into(), atomic, open, fields, embedded: Vec::new() }))
    }

    /// A field by its JSON name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.binary_search_by(|field| field.name.as_ref().cmp(name)).ok().map(|index| &self.fields[index])
    }

    /// The last part of its name, such as `Container`.
    #[must_use]
    pub fn short_name(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or_default()
    }
}

/// A field of a definition.
#[derive(Clone, Debug)]
pub struct Field {
    /// JSON name.
    pub name: Text,
    /// Number in protobuf; 0 when it has none, or belongs to an embedded struct.
    pub tag: u32,
    /// Whether the schema lists it as required.
    pub required: bool,
    /// What an empty value becomes.
    pub presence: Presence,
    /// What it holds.
    pub node: Node,
}

/// What an empty or absent value becomes when an object is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// An empty value is kept, since absent and empty differ.
    pub pointer: bool,
    /// An empty value is left out, but for structs, which are always written.
    pub omit_empty: bool,
    /// A struct without any content is left out.
    pub omit_zero: bool,
}

/// What a field, an item or a map's value holds.
#[derive(Clone, Debug)]
pub struct Node {
    /// The sort of value.
    pub shape: Shape,
    /// How server-side apply owns it.
    pub ownership: Ownership,
    /// How a strategic merge patch changes it.
    pub patch: PatchRule,
    /// Values that are allowed, if only some are.
    pub allowed: Vec<Text>,
    /// The value that an absent one stands for, known where a list key needs it.
    pub default: Option<Value>,
    /// Whether `null` is a value of its own (custom resources only).
    pub nullable: bool,
}

impl Node {
    /// A node with nothing special about it.
    #[must_use]
    pub fn of(shape: Shape) -> Self {
        Self {
            shape,
            ownership: Ownership::Whole,
            patch: PatchRule::default(),
            allowed: Vec::new(),
            default: None,
            nullable: false,
        }
    }

    /// How server-side apply owns the value, the definition's own rule included.
    #[must_use]
    pub fn ownership(&self) -> &Ownership {
        match (&self.shape, &self.ownership) {
            (Shape::Struct(inner), Ownership::Granular) if inner.atomic => &Ownership::Whole,
            (_, Ownership::Apart) => &Ownership::Granular,
            (_, ownership) => ownership,
        }
    }

    /// The struct that it holds, if it holds one.
    #[must_use]
    pub fn as_struct(&self) -> Option<&Struct> {
        match &self.shape {
            Shape::Struct(inner) => Some(inner),
            _ => None,
        }
    }
}

/// The sort of a value.
#[derive(Clone, Debug)]
pub enum Shape {
    /// A text.
    Text,
    /// True or false.
    Bool,
    /// A whole number of 32 bits.
    Int32,
    /// A whole number of 64 bits.
    Int64,
    /// A number with a fraction.
    Double,
    /// Bytes, in JSON as base64.
    Bytes,
    /// A time to the second.
    Time,
    /// A time to the microsecond.
    MicroTime,
    /// A span of time as Go writes it, such as `1h0m0s`.
    Duration,
    /// An amount, such as `100m` or `1Gi`.
    Quantity,
    /// A whole number or a text such as `25%`.
    IntOrText,
    /// Anything; kept as it is.
    Any,
    /// A struct.
    Struct(Ref),
    /// A list.
    List(Box<Node>),
    /// A list of texts that is a message of its own in protobuf.
    Wrapped,
    /// A map from texts.
    Map(Box<Node>),
    /// A JSON schema, or what else may stand in its place.
    SchemaOr(Other, Ref),
}

/// What may stand in place of a JSON schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Other {
    /// A list of schemas.
    Schemas,
    /// True or false.
    Bool,
    /// A list of texts.
    Texts,
}

/// How server-side apply owns a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// As one piece.
    Whole,
    /// Each field or entry by itself.
    Granular,
    /// The same, whatever the definition says of itself.
    Apart,
    /// Each item of a list by its value.
    Set,
    /// Each item of a list by these fields of it.
    Keyed(Vec<Text>),
}

/// How a strategic merge patch changes a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatchRule {
    /// The field that items are told apart by.
    pub key: Option<Text>,
    /// Lists are merged, not replaced.
    pub merge: bool,
    /// Fields that a `$retainKeys` directive does not name are dropped.
    pub retain_keys: bool,
    /// The value is replaced as one piece.
    pub replace: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_fields_keys_and_presence() {
        let pod = schema().structure("", "v1", "Pod").expect("pods are served");
        let spec = pod.field("spec").expect("a field");
        assert!(!spec.presence.pointer && spec.presence.omit_empty);
        let containers = spec.node.as_struct().expect("a struct").field("containers").expect("a field");
        assert!(containers.required && containers.patch_merges("name"));
        assert_eq!(containers.node.ownership, Ownership::Keyed(vec!["name".into()]));
        let Shape::List(item) = &containers.node.shape else { panic!("a list") };
        let ports = item.as_struct().expect("a struct").field("ports").expect("a field");
        assert_eq!(ports.node.ownership, Ownership::Keyed(vec!["containerPort".into(), "protocol".into()]));
        assert_eq!(ports.node.patch.key.as_deref(), Some("containerPort"));
        let Shape::List(port) = &ports.node.shape else { panic!("a list") };
        let protocol = port.as_struct().expect("a struct").field("protocol").expect("a field");
        assert_eq!(protocol.node.default, Some(Value::from("TCP")));
    }

    #[test]
    fn embedded_fields_stand_in_the_struct() {
        let volume = schema().definition("io.k8s.api.core.v1.Volume").expect("a definition");
        let empty = volume.field("emptyDir").expect("embedded");
        assert_eq!((empty.tag, volume.embedded[0].0), (0, 2));
        let container = schema().definition("io.k8s.api.core.v1.EphemeralContainer").expect("a definition");
        assert!(container.field("image").is_some() && container.field("targetContainerName").is_some());
    }

    #[test]
    fn every_kind_has_its_structure() {
        assert!(schema().kinds().len() > 60);
        for kind in schema().kinds() {
            assert!(!kind.structure.fields.is_empty(), "{}", kind.kind);
        }
        for (group, version, kind) in
            [("autoscaling", "v1", "Scale"), ("policy", "v1", "Eviction"), ("", "v1", "DeleteOptions")]
        {
            assert!(schema().structure(group, version, kind).is_some(), "{kind}");
        }
    }

    impl Field {
        fn patch_merges(&self, key: &str) -> bool {
            self.node.patch.merge && self.node.patch.key.as_deref() == Some(key)
        }
    }
}
