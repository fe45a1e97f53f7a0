//! How a value at one place of an object is owned: as one piece, item by item, or entry by entry.

use std::borrow::Cow;

use serde_json::Value;

use super::element::Element;
use crate::structure::{Node, Ownership, Ref, Shape, Struct};

/// What the structure says of a place.
#[derive(Clone, Copy)]
pub(super) enum Type<'a> {
    /// A struct, owned field by field.
    Struct(&'a Struct),
    /// What a field, an item or an entry holds.
    Node(&'a Node),
    /// Nothing: maps are owned entry by entry, all else as one piece.
    Free,
}

/// How a value is owned.
#[derive(Clone, Copy)]
pub(super) enum Form<'a> {
    /// As one piece.
    Whole,
    /// Each item of a list.
    Items(Items<'a>),
    /// Each field of a struct or entry of a map.
    Fields(Fields<'a>),
}

/// A list whose items are told apart.
#[derive(Clone, Copy)]
pub(super) struct Items<'a> {
    /// The fields that tell them apart; none when their values do.
    keys: Option<&'a [Cow<'static, str>]>,
    pub(super) item: Type<'a>,
}

/// A struct or a map.
#[derive(Clone, Copy)]
pub(super) enum Fields<'a> {
    /// The fields of a struct.
    Struct(&'a Struct),
    /// The entries of a map, all of one type.
    Entries(Type<'a>),
}

impl<'a> Type<'a> {
    /// The type of a whole object.
    pub(super) fn root(structure: &'a Ref) -> Self {
        Self::Struct(structure)
    }

    /// How a value is owned here. What has no type of its own takes that of the value.
    pub(super) fn form(self, value: Option<&Value>) -> Form<'a> {
        match self {
            Self::Struct(inner) => Form::Fields(Fields::Struct(inner)),
            Self::Free if value.is_some_and(Value::is_object) => Form::Fields(Fields::Entries(Self::Free)),
            Self::Free => Form::Whole,
            Self::Node(node) => of_node(node, value),
        }
    }
}

fn of_node<'a>(node: &'a Node, value: Option<&Value>) -> Form<'a> {
    match (&node.shape, node.ownership()) {
        (Shape::List(item), Ownership::Set) => Form::Items(Items { keys: None, item: Type::Node(item) }),
        (Shape::List(item), Ownership::Keyed(keys)) => Form::Items(Items { keys: Some(keys), item: Type::Node(item) }),
        (Shape::Struct(inner) | Shape::SchemaOr(_, inner), Ownership::Granular) => Form::Fields(Fields::Struct(inner)),
        (Shape::Map(entry), Ownership::Granular) => Form::Fields(Fields::Entries(Type::Node(entry))),
        (Shape::Any, Ownership::Granular) => Type::Free.form(value),
        _ => Form::Whole,
    }
}

impl<'a> Fields<'a> {
    /// The type behind a name; `None` when the structure has no such field.
    pub(super) fn of(self, name: &str) -> Option<Type<'a>> {
        match self {
            Self::Entries(entry) => Some(entry),
            Self::Struct(inner) => match inner.field(name) {
                Some(field) => Some(Type::Node(&field.node)),
                None if inner.open || inner.fields.is_empty() => Some(Type::Free),
                None => None,
            },
        }
    }

    /// Whether the structure names the field.
    pub(super) fn names(self, name: &str) -> bool {
        matches!(self, Self::Struct(inner) if inner.field(name).is_some())
    }
}

impl Items<'_> {
    /// What tells an item apart. Errors are upstream's words.
    pub(super) fn element(self, item: &Value) -> Result<Element, String> {
        match self.keys {
            None => set_element(item),
            Some(keys) => self.keyed(keys, item),
        }
    }

    fn keyed(self, keys: &[Cow<'static, str>], item: &Value) -> Result<Element, String> {
        let map = match item {
            Value::Object(map) => map,
            Value::Null => return Err("associative list with keys may not have a null element".to_owned()),
            _ => return Err("associative list with keys may not have non-map elements".to_owned()),
        };
        let mut found: Vec<(String, Value)> = Vec::with_capacity(keys.len());
        for key in keys {
            if let Some(value) = map.get(key.as_ref()).or_else(|| self.default(key)) {
                found.push((key.clone().into_owned(), value.clone()));
            }
        }
        if found.is_empty() {
            let keys: Vec<_> = keys.iter().map(|key| format!("{key:?}")).collect();
            return Err(format!(
                "associative list with keys has an element that omits all key fields [{}] (and doesn't have default \
                 values for any key fields)",
                keys.join(" ")
            ));
        }
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(Element::Key(found))
    }

    /// The value that an absent key field stands for.
    fn default(&self, key: &str) -> Option<&Value> {
        match self.item {
            Type::Node(Node { shape: Shape::Struct(inner), .. }) => inner.field(key)?.node.default.as_ref(),
            _ => None,
        }
    }
}

fn set_element(item: &Value) -> Result<Element, String> {
    Err(match item {
        Value::Object(_) => "associative list without keys has an element that's a map type",
        Value::Array(_) => "not supported: associative list with lists as elements",
        Value::Null => "associative list without keys has an element that's an explicit null",
        scalar => return Ok(Element::Value(scalar.clone())),
    }
    .to_owned())
}

/// The items of a value that is to be a list; none when it is another.
pub(super) fn items(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The entries of a value that is to be a map; none when it is another.
pub(super) fn entries(value: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> + Clone {
    value.and_then(Value::as_object).into_iter().flatten()
}

/// Whether a map or list has nothing in it.
pub(super) fn is_empty(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::Array(list)) => list.is_empty(),
        _ => true,
    }
}
