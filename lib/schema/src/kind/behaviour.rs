//! The rules of a kind behind one face, whatever its typed struct is.

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::Write;
use crate::custom::ScalePaths;
use crate::object::Object;
use crate::status::FieldError;
use crate::structure::Ref;

/// The typed rules of a kind behind one face, over objects as they travel.
///
/// `Err` means that the object does not decode into the kind; its text names the field.
pub trait Behaviour: Send + Sync {
    /// Its fields.
    fn structure(&self) -> Ref;
    /// See [`super::Rules::fill_defaults`]. Changes only what the rules changed: unknown fields stay.
    fn fill_defaults(&self, object: &mut Object) -> Result<(), String>;
    /// See [`super::Rules::prepare`].
    fn prepare(&self, object: &mut Object, old: Option<&Object>, write: Write) -> Result<(), String>;
    /// See [`super::Rules::validate`].
    fn validate(&self, object: &Object, old: Option<&Object>, write: Write) -> Result<Vec<FieldError>, String>;
    /// See [`super::Rules::warnings`].
    fn warnings(&self, object: &Object, old: Option<&Object>) -> Result<Vec<String>, String>;
    /// The heads of its columns.
    fn columns(&self) -> Vec<ColumnHead>;
    /// The object's row: its cells, one a column, with what is special about it.
    fn row(&self, object: &Object, now: Timestamp) -> Result<Row, String>;
    /// Fields that a selector may name.
    fn selectable(&self) -> Vec<Cow<'static, str>>;
    /// The object's value of such a field; `None` when the field can't be selected by.
    fn field(&self, object: &Object, field: &str) -> Option<String>;
    /// Makes an object that was stored under another schema of the kind what it is under this one.
    fn reread(&self, object: &mut Object) {
        let _ = object;
    }
    /// The schema that a custom resource's definition gives.
    fn open_api(&self) -> Option<&Value> {
        None
    }
    /// Where the numbers of a custom resource's scale stand.
    fn scale_paths(&self) -> Option<&ScalePaths> {
        None
    }
}

/// A column without its typed cell: what a Table's head says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnHead {
    /// Heading.
    pub name: Cow<'static, str>,
    /// `string`, `integer`, `boolean`, `date` or `number`.
    pub kind: Cow<'static, str>,
    /// `name` or empty.
    pub format: Cow<'static, str>,
    /// 0 or 1.
    pub priority: i32,
    /// Description.
    pub description: Cow<'static, str>,
}

/// A row of a Table without its object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// Cells, one a column.
    pub cells: Vec<Value>,
    /// See [`super::Rules::row_conditions`].
    pub conditions: Vec<Value>,
}

/// Where a row's behaviour lives: built in, or made at run time from a definition.
#[derive(Clone)]
pub enum Behaviours {
    /// Built into the program.
    BuiltIn(&'static dyn Behaviour),
    /// Made from a CustomResourceDefinition.
    Made(Arc<dyn Behaviour>),
}

impl Deref for Behaviours {
    type Target = dyn Behaviour;
    fn deref(&self) -> &Self::Target {
        match self {
            Self::BuiltIn(behaviour) => *behaviour,
            Self::Made(behaviour) => behaviour.as_ref(),
        }
    }
}
