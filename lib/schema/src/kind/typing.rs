//! Typed rules over objects as they travel: the object is read, changed, and only the changes are carried over.

use std::borrow::Cow;
use std::marker::PhantomData;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::carry::carry;
use super::{Behaviour, ColumnHead, Row, Rules, Write};
use crate::object::Object;
use crate::status::FieldError;
use crate::structure::{Ref, schema};

/// A typed view of an object, parsed in this crate so that its code is compiled once.
pub trait Typed: Sized + k8s_openapi::Resource {
    /// Reads an object. Errors name the field and what was wrong.
    fn from_object(object: &Object) -> Result<Self, String>;
    /// Writes `self` as an object, with `apiVersion` and `kind`.
    fn to_object(&self) -> Object;
}

impl<T: k8s_openapi::Resource + Serialize + DeserializeOwned> Typed for T {
    fn from_object(object: &Object) -> Result<Self, String> {
        parse(object)
    }

    fn to_object(&self) -> Object {
        Object::from(written(self).expect("a Kubernetes object serializes to a map"))
    }
}

/// The behaviour that `T`'s rules describe.
pub(super) struct Typing<T>(pub(super) PhantomData<fn() -> T>);

impl<T: Rules> Behaviour for Typing<T> {
    fn structure(&self) -> Ref {
        schema()
            .structure(T::GROUP, T::VERSION, T::KIND)
            .expect("the published schema has every built-in kind: a test looks")
    }

    fn fill_defaults(&self, object: &mut Object) -> Result<(), String> {
        T::fill_untyped(object);
        change::<T>(object, |typed| {
            typed.fill_defaults();
            Ok(())
        })
    }

    fn prepare(&self, object: &mut Object, old: Option<&Object>, write: Write) -> Result<(), String> {
        let old = old.map(read::<T>).transpose()?;
        change::<T>(object, |typed| {
            typed.prepare(old.as_ref(), write);
            Ok(())
        })
    }

    fn validate(&self, object: &Object, old: Option<&Object>, write: Write) -> Result<Vec<FieldError>, String> {
        let old = old.map(read::<T>).transpose()?;
        Ok(read::<T>(object)?.validate(old.as_ref(), write))
    }

    fn warnings(&self, object: &Object, old: Option<&Object>) -> Result<Vec<String>, String> {
        let old = old.map(read::<T>).transpose()?;
        Ok(read::<T>(object)?.warnings(old.as_ref()))
    }

    fn columns(&self) -> Vec<ColumnHead> {
        T::COLUMNS
            .iter()
            .map(|column| ColumnHead {
                name: Cow::Borrowed(column.name),
                kind: Cow::Borrowed(column.kind),
                format: Cow::Borrowed(column.format),
                priority: column.priority,
                description: Cow::Borrowed(column.description),
            })
            .collect()
    }

    fn row(&self, object: &Object, now: Timestamp) -> Result<Row, String> {
        let typed: T = read(object)?;
        let cells = T::COLUMNS.iter().map(|column| (column.cell)(&typed, now)).collect();
        Ok(Row { cells, conditions: typed.row_conditions() })
    }

    fn selectable(&self) -> Vec<Cow<'static, str>> {
        T::SELECTABLE.iter().map(|one| Cow::Borrowed(one.field)).collect()
    }

    fn field(&self, object: &Object, field: &str) -> Option<String> {
        let one = T::SELECTABLE.iter().find(|one| one.field == field)?;
        Some((one.value)(object, field))
    }
}

fn parse<T: DeserializeOwned>(object: &Object) -> Result<T, String> {
    T::deserialize(object.map()).map_err(|error| error.to_string())
}

fn written<T: Serialize>(typed: &T) -> Result<Map<String, Value>, String> {
    match serde_json::to_value(typed).map_err(|error| error.to_string())? {
        Value::Object(map) => Ok(map),
        other => Err(format!("an object must be a map, not {other}")),
    }
}

fn read<T: Rules>(object: &Object) -> Result<T, String> {
    let mut typed: T = parse(object)?;
    typed.note_empty(object);
    Ok(typed)
}

fn change<T: Rules>(object: &mut Object, change: impl FnOnce(&mut T) -> Result<(), String>) -> Result<(), String> {
    let mut typed: T = read(object)?;
    let before = written(&typed)?;
    change(&mut typed)?;
    let after = written(&typed)?;
    carry(object.map_mut(), &before, &after);
    Ok(())
}
