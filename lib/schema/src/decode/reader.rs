//! One pass over a body, guided by structure: types are checked, unknown and repeated fields noted, scalars made canonical.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt::{self, Write};

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::scalar;
use crate::canonical;
use crate::quantity::QuantityError;
use crate::structure::{Node, Other, Ownership, Ref, Shape, Struct};

/// Upstream stops collecting complaints there.
const MOST_COMPLAINTS: usize = 100;

/// A field that a strict reading refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Complaint {
    /// The structure does not know it.
    Unknown(String),
    /// It stands there twice; the last counts.
    Repeated(String),
}

impl Complaint {
    /// The order in which upstream tells what is wrong with a custom resource.
    pub(super) fn custom_order(&self) -> (u8, String) {
        match self {
            Self::Repeated(_) => (0, String::new()),
            Self::Unknown(path) if path.starts_with("metadata.") => (1, String::new()),
            Self::Unknown(path) => (2, path.clone()),
        }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(path) => write!(f, "unknown field {path:?}"),
            Self::Repeated(path) => write!(f, "duplicate field {path:?}"),
        }
    }
}

/// What is noted while a body is read.
#[derive(Default)]
pub(super) struct Reading(RefCell<State>);

#[derive(Default)]
struct State {
    path: String,
    complaints: Vec<Complaint>,
    failure: Option<String>,
    /// Values without structure are looked into, too.
    untyped: bool,
    /// Depth of values that upstream reads by code of their own, in which nothing is complained about.
    muted: usize,
}

impl Reading {
    /// Reads a struct. Errors are texts for a 400.
    pub(super) fn read<'de, D: Deserializer<'de>>(
        &self,
        structure: &Ref,
        body: D,
    ) -> Result<Map<String, Value>, String> {
        let mut root = Node::of(Shape::Struct(structure.clone()));
        root.ownership = Ownership::Granular;
        let seed = Seed { reading: self, node: &root, owner: "", custom: false };
        match seed.deserialize(body) {
            Ok(Value::Object(map)) => Ok(map),
            Ok(_) => Ok(Map::new()),
            Err(error) => Err(self.0.borrow_mut().failure.take().unwrap_or_else(|| error.to_string())),
        }
    }

    /// Reads JSON of no known structure to its end.
    pub(super) fn anything<'de, R: serde_json::de::Read<'de>>(
        &self,
        body: &mut serde_json::Deserializer<R>,
    ) -> Result<Value, serde_json::Error> {
        self.0.borrow_mut().untyped = true;
        let seed = Seed { reading: self, node: &Node::of(Shape::Any), owner: "", custom: true };
        let value = seed.deserialize(&mut *body)?;
        body.end()?;
        Ok(value)
    }

    fn is_untyped(&self) -> bool {
        self.0.borrow().untyped
    }

    /// Everything that a strict reading refuses, in the order in which it stood in the body.
    pub(super) fn into_complaints(self) -> Vec<Complaint> {
        self.0.into_inner().complaints
    }

    fn complain(&self, make: fn(String) -> Complaint, key: &str) {
        let mut state = self.0.borrow_mut();
        let path = if state.path.is_empty() { key.to_owned() } else { format!("{}.{key}", state.path) };
        let complaint = make(path);
        let known = state.muted > 0 || state.complaints.contains(&complaint);
        if !known && state.complaints.len() < MOST_COMPLAINTS {
            state.complaints.push(complaint);
        }
    }

    fn fail<E: Error>(&self, text: String) -> E {
        let error = E::custom(&text);
        self.0.borrow_mut().failure.get_or_insert(text);
        error
    }

    /// Runs `inside` with the path one step deeper.
    fn step<T>(&self, step: fmt::Arguments<'_>, inside: impl FnOnce() -> T) -> T {
        let length = self.0.borrow().path.len();
        self.0.borrow_mut().path.write_fmt(step).expect("a String takes every text");
        let result = inside();
        self.0.borrow_mut().path.truncate(length);
        result
    }

    fn step_field<T>(&self, name: &str, inside: impl FnOnce() -> T) -> T {
        let dot = if self.0.borrow().path.is_empty() { "" } else { "." };
        self.step(format_args!("{dot}{name}"), inside)
    }
}

/// Reads one value as `node` says.
struct Seed<'a> {
    reading: &'a Reading,
    node: &'a Node,
    /// Name of the struct whose field this is.
    owner: &'a str,
    /// Inside a custom resource wrong types are its schema's matter, and nulls are kept.
    custom: bool,
}

impl<'a> Seed<'a> {
    fn of(&self, node: &'a Node) -> Self {
        Seed { reading: self.reading, node, owner: self.owner, custom: self.custom }
    }

    fn mismatch<E: Error>(&self, found: &str) -> E {
        if let Shape::Quantity = self.node.shape {
            return self.reading.fail(QuantityError::Format.to_string());
        }
        let path = without_indices(&self.reading.0.borrow().path);
        let owner = self.owner;
        self.reading.fail(format!(
            "json: cannot unmarshal {found} into Go struct field {owner}.{path} of type {}",
            go_type(self.node)
        ))
    }

    /// A scalar that does not fit: refused, or kept for a custom resource's schema to judge.
    fn misfit<E: Error>(&self, found: &str, value: impl Into<Value>) -> Result<Value, E> {
        if self.custom { Ok(value.into()) } else { Err(self.mismatch(found)) }
    }

    fn number<E: Error>(&self, number: Number) -> Result<Value, E> {
        let fits = match self.node.shape {
            Shape::Int32 | Shape::IntOrText => number.as_i64().is_some_and(|whole| i32::try_from(whole).is_ok()),
            Shape::Int64 => number.as_i64().is_some(),
            Shape::Double if !self.custom => {
                let canonical = number.as_f64().and_then(scalar::double);
                return canonical.map(Value::Number).ok_or_else(|| self.mismatch("number"));
            }
            Shape::Double | Shape::Any => true,
            Shape::Quantity => return self.scalar(scalar::amount, &number.to_string()),
            _ => return self.misfit("number", number),
        };
        if fits { Ok(Value::Number(number)) } else { self.misfit(&format!("number {number}"), number) }
    }

    fn scalar<E: Error>(&self, read: fn(&str) -> Result<String, String>, text: &str) -> Result<Value, E> {
        match read(text) {
            Ok(canonical) => Ok(Value::from(canonical)),
            Err(_) if self.custom => Ok(Value::from(text)),
            Err(error) => Err(self.reading.fail(error)),
        }
    }

    fn structure<'de, A: MapAccess<'de>>(
        &self,
        structure: &Struct,
        custom: bool,
        mut map: A,
    ) -> Result<Value, A::Error> {
        let mut read = Map::new();
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            let Some(field) = structure.field(&key) else {
                if structure.open {
                    read.insert(key.into_owned(), map.next_value()?);
                } else {
                    self.reading.complain(Complaint::Unknown, &key);
                    map.next_value::<IgnoredAny>()?;
                }
                continue;
            };
            if read.contains_key(key.as_ref()) {
                self.reading.complain(Complaint::Repeated, &key);
            }
            let seed = Seed { reading: self.reading, node: &field.node, owner: structure.short_name(), custom };
            let value = self.reading.step_field(&key, || map.next_value_seed(seed))?;
            // A null that is no value, and that no default will replace, counts as absent in a custom resource, too.
            let kept = custom && (field.node.nullable || field.node.default.is_some());
            if kept || !value.is_null() {
                read.insert(key.into_owned(), value);
            }
        }
        Ok(Value::Object(read))
    }

    fn entries<'de, A: MapAccess<'de>>(&self, item: &Node, mut map: A) -> Result<Value, A::Error> {
        let mut read = Map::new();
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            if read.contains_key(key.as_ref()) {
                self.reading.complain(Complaint::Repeated, &key);
            }
            let value = self.reading.step_field(&key, || map.next_value_seed(self.of(item)))?;
            read.insert(key.into_owned(), self.present(item, value));
        }
        Ok(Value::Object(read))
    }

    fn items<'de, A: SeqAccess<'de>>(&self, item: &Node, mut list: A) -> Result<Value, A::Error> {
        let mut read = Vec::new();
        loop {
            let step = self.reading.step(format_args!("[{}]", read.len()), || list.next_element_seed(self.of(item)))?;
            let Some(value) = step else { return Ok(Value::Array(read)) };
            read.push(self.present(item, value));
        }
    }

    /// A null item or entry is a value that was never set.
    fn present(&self, node: &Node, value: Value) -> Value {
        if value.is_null() && !self.custom { canonical::zero(node) } else { value }
    }

    /// Values that upstream reads by code of their own, which does not complain.
    fn muted<T>(&self, inside: impl FnOnce() -> T) -> T {
        self.reading.0.borrow_mut().muted += 1;
        let result = inside();
        self.reading.0.borrow_mut().muted -= 1;
        result
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a value of type {}", go_type(self.node))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        match self.node.shape {
            Shape::Bool | Shape::Any | Shape::SchemaOr(Other::Bool, _) => Ok(Value::Bool(value)),
            _ => self.misfit("bool", value),
        }
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        self.number(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        self.number(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        match Number::from_f64(value) {
            Some(number) => self.number(number),
            None => Err(self.mismatch("number")),
        }
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        match self.node.shape {
            Shape::Text | Shape::IntOrText | Shape::Any => Ok(Value::from(value)),
            Shape::Bytes => self.scalar(scalar::base64, value),
            Shape::Time => self.scalar(scalar::time, value),
            Shape::MicroTime => self.scalar(scalar::micro_time, value),
            Shape::Duration => self.scalar(scalar::duration, value),
            Shape::Quantity => self.scalar(scalar::amount, value),
            _ => self.misfit("string", value),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Value, A::Error> {
        match &self.node.shape {
            Shape::List(item) => self.items(item, list),
            Shape::Wrapped | Shape::SchemaOr(Other::Texts, _) => self.items(&Node::of(Shape::Text), list),
            Shape::SchemaOr(Other::Schemas, schema) => {
                let item = Node::of(Shape::Struct(schema.clone()));
                self.muted(|| self.items(&item, list))
            }
            Shape::Any if self.reading.is_untyped() => self.items(self.node, list),
            Shape::Any => all(list),
            _ if self.custom => all(list),
            _ => Err(self.mismatch("array")),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value, A::Error> {
        match &self.node.shape {
            Shape::Struct(inner) => self.structure(inner, matches!(inner, Ref::Made(_)), map),
            Shape::Map(item) => self.entries(item, map),
            Shape::SchemaOr(_, schema) => self.muted(|| self.structure(schema, false, map)),
            Shape::Any if self.reading.is_untyped() => self.entries(self.node, map),
            Shape::Any => anything(map),
            _ if self.custom => anything(map),
            _ => Err(self.mismatch("object")),
        }
    }
}

fn all<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Value, A::Error> {
    let mut items = Vec::new();
    while let Some(item) = list.next_element()? {
        items.push(item);
    }
    Ok(Value::Array(items))
}

fn anything<'de, A: MapAccess<'de>>(map: A) -> Result<Value, A::Error> {
    serde::Deserialize::deserialize(MapAccessDeserializer::new(map))
}

fn without_indices(path: &str) -> String {
    let mut inside = false;
    path.chars()
        .filter(|c| {
            inside = (inside || *c == '[') && *c != ']';
            !inside && *c != ']'
        })
        .collect()
}

/// The name that Go's decoder gives to a type.
fn go_type(node: &Node) -> String {
    match &node.shape {
        Shape::Text | Shape::Time | Shape::MicroTime | Shape::Duration | Shape::Quantity | Shape::IntOrText => {
            "string".to_owned()
        }
        Shape::Bool => "bool".to_owned(),
        Shape::Int32 => "int32".to_owned(),
        Shape::Int64 => "int64".to_owned(),
        Shape::Double => "float64".to_owned(),
        Shape::Bytes => "[]uint8".to_owned(),
        Shape::Any => "interface {}".to_owned(),
        Shape::Struct(inner) => {
            let mut parts = inner.name.rsplit('.');
            let name = parts.next().unwrap_or_default();
            format!("{}.{name}", parts.next().unwrap_or("v1"))
        }
        Shape::List(item) => format!("[]{}", go_type(item)),
        Shape::Wrapped => "[]string".to_owned(),
        Shape::Map(item) => format!("map[string]{}", go_type(item)),
        Shape::SchemaOr(..) => "v1.JSONSchemaProps".to_owned(),
    }
}
