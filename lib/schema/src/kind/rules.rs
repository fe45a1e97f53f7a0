//! What a row says of a kind, over its typed struct.

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Kind, Reset, Scoped, Subresource};
use crate::key::Resource;
use crate::meta::MetaRules;
use crate::object::Object;
use crate::status::FieldError;

/// Behaviour of a kind over its typed struct. Every method is pure.
pub trait Rules: k8s_openapi::Resource<Scope: Scoped> + Serialize + DeserializeOwned + 'static {
    /// Its subresources.
    const SUBRESOURCES: &'static [Subresource] = &[];
    /// What `kubectl get` prints.
    const COLUMNS: &'static [Column<Self>];
    /// Fields for selectors, beside `metadata.name` and `metadata.namespace`.
    const SELECTABLE: &'static [Selectable] = &[];
    /// What is said of a field that selectors may not name, where upstream has words of its own for the kind.
    const UNKNOWN_FIELD: Option<fn(&str) -> String> = None;
    /// How its metadata is judged.
    const META: MetaRules = MetaRules::COMMON;
    /// The resource whose store it shares, when it is a second face of the same objects.
    const STORED_AS: Option<StoredAs> = None;
    /// The `Warning` that every call gets, for a kind that is on its way out.
    const DEPRECATED: Option<&'static str> = None;
    /// What writes through a door can't own, where that is not the usual: status on the main door, spec on that of status.
    const RESETS: &'static [(Write, Reset)] = &[];
    /// Notes what stands in the object though it is empty, where the typed struct can't tell that from nothing.
    fn note_empty(&mut self, object: &Object) {
        let _ = object;
    }
    /// Fills in what the client left out. Idempotent.
    fn fill_defaults(&mut self) {}
    /// Fills in what the typed struct always writes, so that no difference ever shows it.
    fn fill_untyped(object: &mut Object) {
        let _ = object;
    }
    /// Before validation: drops what clients may not set, keeps status, raises the generation.
    fn prepare(&mut self, old: Option<&Self>, write: Write) {
        let _ = (old, write);
    }
    /// Everything wrong with it, in upstream's order and words.
    fn validate(&self, old: Option<&Self>, write: Write) -> Vec<FieldError> {
        let _ = (old, write);
        Vec::new()
    }
    /// Advice that goes back as `Warning` headers when the object itself is written, not one of its subresources.
    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let _ = old;
        Vec::new()
    }
    /// What is special about its row in a Table, by which clients colour or leave out rows.
    fn row_conditions(&self) -> Vec<Value> {
        Vec::new()
    }
}

/// A column that `kubectl get` prints.
pub struct Column<T: 'static> {
    /// Heading, such as `Up-to-date`.
    pub name: &'static str,
    /// `string`, `integer`, `boolean`, `date` or `number`.
    pub kind: &'static str,
    /// `name` for the first column, else empty.
    pub format: &'static str,
    /// 0 is always shown, 1 only by `-o wide`.
    pub priority: i32,
    /// The column's description in a Table.
    pub description: &'static str,
    /// The cell for an object, at the time given.
    pub cell: fn(&T, Timestamp) -> Value,
}

/// A field that a field selector may name. It is read without parsing the object: watches ask for it all the time.
pub struct Selectable {
    /// Path, such as `spec.nodeName`.
    pub field: &'static str,
    /// The object's value there; empty when unset.
    pub value: fn(&Object, &str) -> String,
}

impl Selectable {
    /// The text at the path of the field's own name.
    #[must_use]
    pub const fn text(field: &'static str) -> Self {
        Self { field, value: |object, field| at_path(object, field).and_then(Value::as_str).unwrap_or_default().into() }
    }

    /// The truth at the path of the field's own name; `false` when unset.
    #[must_use]
    pub const fn truth(field: &'static str) -> Self {
        Self { field, value: |object, field| (at_path(object, field) == Some(&Value::Bool(true))).to_string() }
    }

    /// The whole number at the path of the field's own name; `0` when unset.
    #[must_use]
    pub const fn number(field: &'static str) -> Self {
        Self {
            field,
            value: |object, field| at_path(object, field).and_then(Value::as_i64).unwrap_or_default().to_string(),
        }
    }
}

fn at_path<'a>(object: &'a Object, path: &str) -> Option<&'a Value> {
    let mut fields = path.split('.');
    let first = object.map().get(fields.next()?)?;
    fields.try_fold(first, |value, field| value.get(field))
}

/// Where objects of a kind are stored, when that is as another kind: a pure renaming, both ways.
#[derive(Clone)]
pub struct StoredAs {
    /// The resource that names the store's keys.
    pub resource: Resource,
    /// From the kind as served to the kind as stored.
    pub write: fn(&Kind, &mut Object),
    /// From the kind as stored to the kind as served.
    pub read: fn(&Kind, &mut Object),
}

/// Which door a write came through: it decides what may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// The object itself: status is kept as it was.
    Main,
    /// `/status`: everything but status is kept as it was.
    Status,
    /// Another subresource.
    Other(Subresource),
}
