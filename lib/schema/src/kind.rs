//! The one table: a row says everything that sets a kind apart.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Event, Namespace, Node, Pod, PodTemplate, ReplicationController, Secret, Service,
    ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::events;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::custom::{self, ScalePaths};
use crate::key::Resource;
use crate::meta::{self, MetaRules};
use crate::object::Object;
use crate::status::{FieldError, Status, quoted};
use crate::structure::{Ref, schema};

/// Whether objects of a kind live in namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One set for the whole cluster.
    Cluster,
    /// One set a namespace.
    Namespaced,
}

/// Parts of an object that have a path of their own below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are Kubernetes' own subresources")]
pub enum Subresource {
    Status,
    Scale,
    Binding,
    Eviction,
    Log,
    Token,
    Finalize,
    EphemeralContainers,
    Resize,
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

/// Behaviour of a kind over its typed struct. Every method is pure.
pub trait Rules: k8s_openapi::Resource + Serialize + DeserializeOwned + 'static {
    /// Names for the command line, such as `deploy`.
    const SHORT: &'static [&'static str] = &[];
    /// Groups of kinds that it belongs to, such as `all`.
    const CATEGORIES: &'static [&'static str] = &[];
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

/// Where objects of a kind are stored, when that is as another kind: a pure renaming, both ways.
#[derive(Clone)]
pub struct StoredAs {
    /// The resource that names the store's keys.
    pub resource: Resource,
    /// From the kind as served to the kind as stored.
    pub write: fn(&mut Object),
    /// From the kind as stored to the kind as served.
    pub read: fn(&mut Object),
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

/// A typed view of an object, parsed in this crate so that its code is compiled once.
pub trait Typed: Sized + k8s_openapi::Resource {
    /// Reads an object. Errors name the field and what was wrong.
    fn from_object(object: &Object) -> Result<Self, String>;
    /// Writes `self` as an object, with `apiVersion` and `kind`.
    fn to_object(&self) -> Object;
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
    /// See [`Rules::row_conditions`].
    pub conditions: Vec<Value>,
}

/// The typed rules of a kind behind one face, over objects as they travel.
///
/// `Err` means that the object does not decode into the kind; its text names the field.
pub trait Behaviour: Send + Sync {
    /// Its fields.
    fn structure(&self) -> Ref;
    /// See [`Rules::fill_defaults`]. Changes only what the rules changed: unknown fields stay.
    fn fill_defaults(&self, object: &mut Object) -> Result<(), String>;
    /// See [`Rules::prepare`].
    fn prepare(&self, object: &mut Object, old: Option<&Object>, write: Write) -> Result<(), String>;
    /// See [`Rules::validate`].
    fn validate(&self, object: &Object, old: Option<&Object>, write: Write) -> Result<Vec<FieldError>, String>;
    /// See [`Rules::warnings`].
    fn warnings(&self, object: &Object, old: Option<&Object>) -> Result<Vec<String>, String>;
    /// The heads of its columns.
    fn columns(&self) -> Vec<ColumnHead>;
    /// The object's row: its cells, one a column, with what is special about it.
    fn row(&self, object: &Object, now: Timestamp) -> Result<Row, String>;
    /// Fields that a selector may name.
    fn selectable(&self) -> Vec<Cow<'static, str>>;
    /// The object's value of such a field; `None` when the field can't be selected by.
    fn field(&self, object: &Object, field: &str) -> Option<String>;
    /// The schema that a custom resource's definition gives.
    fn open_api(&self) -> Option<&Value> {
        None
    }
    /// Where the numbers of a custom resource's scale stand.
    fn scale_paths(&self) -> Option<&ScalePaths> {
        None
    }
}

struct Typing<T>(PhantomData<fn() -> T>);

/// Carries what the rules changed between two typed writings over to the object, and nothing else.
fn carry(object: &mut Map<String, Value>, before: &Map<String, Value>, after: &Map<String, Value>) {
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        object.remove(key);
    }
    for (key, new) in after {
        match (before.get(key), object.get_mut(key)) {
            (Some(old), _) if old == new => {}
            (Some(Value::Object(old)), Some(Value::Object(inner))) if new.is_object() => {
                carry(inner, old, new.as_object().expect("checked to be a map"));
            }
            // What is absent stays absent but for what changed: a required field would appear, empty, with the rest.
            (Some(Value::Object(old)), None) if new.is_object() => {
                let mut made = Map::new();
                carry(&mut made, old, new.as_object().expect("checked to be a map"));
                object.insert(key.clone(), Value::Object(made));
            }
            (Some(Value::Array(old)), Some(Value::Array(items))) if same_length(new, old, items) => {
                let news = new.as_array().expect("same_length checked that it is a list");
                for ((item, old), new) in items.iter_mut().zip(old).zip(news) {
                    carry_item(item, old, new);
                }
            }
            _ => {
                object.insert(key.clone(), new.clone());
            }
        }
    }
}

fn same_length(new: &Value, old: &[Value], items: &[Value]) -> bool {
    new.as_array().is_some_and(|news| news.len() == old.len() && items.len() == old.len())
}

fn carry_item(item: &mut Value, old: &Value, new: &Value) {
    match (item, old, new) {
        (_, old, new) if old == new => {}
        (Value::Object(item), Value::Object(old), Value::Object(new)) => carry(item, old, new),
        (item, _, new) => *item = new.clone(),
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

impl<T: k8s_openapi::Resource + Serialize + DeserializeOwned> Typed for T {
    fn from_object(object: &Object) -> Result<Self, String> {
        parse(object)
    }

    fn to_object(&self) -> Object {
        Object::from(written(self).expect("a Kubernetes object serializes to a map"))
    }
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

/// One row of the table with its typed struct erased; a custom resource becomes the same value at run time.
///
/// It dereferences to its [`Behaviour`]: `kind.fill_defaults(&mut object)`.
#[derive(Clone)]
pub struct Kind {
    /// Group, version and plural.
    pub resource: Resource,
    /// CamelCase name, such as `Deployment`.
    pub kind: Cow<'static, str>,
    /// CamelCase name of a list of it.
    pub list_kind: Cow<'static, str>,
    /// Namespaced or not.
    pub scope: Scope,
    /// Short names.
    pub short_names: Cow<'static, [&'static str]>,
    /// Categories.
    pub categories: Cow<'static, [&'static str]>,
    /// Subresources.
    pub subresources: Cow<'static, [Subresource]>,
    /// How its metadata is judged.
    pub meta: MetaRules,
    /// See [`Rules::STORED_AS`].
    pub stored_as: Option<StoredAs>,
    /// See [`Rules::DEPRECATED`].
    pub deprecated: Option<&'static str>,
    /// The singular name, where it is not the kind in lower case.
    singular: Option<Cow<'static, str>>,
    unknown_field: Option<fn(&str) -> String>,
    behaviour: Behaviours,
}

/// What a definition says of its kind's names.
pub(crate) struct Made {
    pub(crate) resource: Resource,
    pub(crate) kind: String,
    pub(crate) list_kind: String,
    pub(crate) singular: String,
    pub(crate) scope: Scope,
    pub(crate) short_names: Vec<&'static str>,
    pub(crate) categories: Vec<&'static str>,
    pub(crate) subresources: Vec<Subresource>,
}

impl Deref for Kind {
    type Target = dyn Behaviour;
    fn deref(&self) -> &Self::Target {
        &*self.behaviour
    }
}

impl Kind {
    /// The row of a built-in kind.
    #[must_use]
    pub const fn of<T: Rules + k8s_openapi::ListableResource>(scope: Scope) -> Self {
        Self {
            resource: Resource::of::<T>(),
            kind: Cow::Borrowed(T::KIND),
            list_kind: Cow::Borrowed(T::LIST_KIND),
            scope,
            short_names: Cow::Borrowed(T::SHORT),
            categories: Cow::Borrowed(T::CATEGORIES),
            subresources: Cow::Borrowed(T::SUBRESOURCES),
            meta: T::META,
            stored_as: T::STORED_AS,
            deprecated: T::DEPRECATED,
            singular: None,
            unknown_field: T::UNKNOWN_FIELD,
            behaviour: Behaviours::BuiltIn(const { &Typing::<T>(PhantomData) }),
        }
    }

    /// The row of a custom resource.
    pub(crate) fn made(made: Made, behaviour: Arc<dyn Behaviour>) -> Self {
        Self {
            resource: made.resource,
            kind: made.kind.into(),
            list_kind: made.list_kind.into(),
            scope: made.scope,
            short_names: made.short_names.into(),
            categories: made.categories.into(),
            subresources: made.subresources.into(),
            meta: custom::META,
            stored_as: None,
            deprecated: None,
            singular: Some(made.singular.into()),
            unknown_field: Some(|field| format!("field label not supported: {field}")),
            behaviour: Behaviours::Made(behaviour),
        }
    }

    /// The lower-case singular name.
    #[must_use]
    pub fn singular(&self) -> String {
        self.singular.as_ref().map_or_else(|| self.kind.to_ascii_lowercase(), ToString::to_string)
    }

    /// Whether objects live in namespaces.
    #[must_use]
    pub fn is_namespaced(&self) -> bool {
        self.scope == Scope::Namespaced
    }

    /// Drops what clients may not set, keeps what they may not change, raises the generation.
    ///
    /// An update that names no version takes that of the object it replaces, where the kind allows that.
    /// `Err` means that the object does not decode into the kind; its text names the field.
    pub fn prepare(&self, object: &mut Object, old: Option<&Object>, write: Write) -> Result<(), String> {
        const VERSION: &[&str] = &["metadata", "resourceVersion"];
        let old_version = old.filter(|_| self.meta.unconditional).and_then(|old| old.text(VERSION));
        if let Some(version) = old_version.filter(|_| object.text(VERSION).unwrap_or_default().is_empty()) {
            object.set(VERSION, version.into());
        }
        self.behaviour.prepare(object, old, write)
    }

    /// Everything wrong with an object, metadata included, in upstream's order.
    ///
    /// `Err` means that the object does not decode into the kind; its text names the field.
    pub fn validate(&self, object: &Object, old: Option<&Object>, write: Write) -> Result<Vec<FieldError>, String> {
        let mut errors = match old {
            None => meta::validate_create(object, self.meta, self.is_namespaced()),
            Some(old) => meta::validate_update(object, old, self.meta, self.is_namespaced()),
        };
        errors.extend(self.behaviour.validate(object, old, write)?);
        if errors.is_empty() && old.is_none() {
            errors = meta::validate_common(object, self.is_namespaced());
        }
        Ok(errors)
    }

    /// The status of an object with mistakes. It names the group that the object is stored in.
    #[must_use]
    pub fn invalid(&self, name: &str, errors: &[FieldError]) -> Status {
        Status::invalid(&self.stored_resource().group, &self.kind, name, errors)
    }

    /// The resource that names the keys of its objects in the store.
    #[must_use]
    pub fn stored_resource(&self) -> &Resource {
        self.stored_as.as_ref().map_or(&self.resource, |stored| &stored.resource)
    }

    /// Whether field selectors may name `field`; `Err` says that they may not, in upstream's words.
    pub fn knows_field(&self, field: &str) -> Result<(), String> {
        let selectable = self.behaviour.selectable();
        if ["metadata.name", "metadata.namespace"].contains(&field) || selectable.iter().any(|one| one == field) {
            return Ok(());
        }
        Err(match self.unknown_field {
            Some(words) => words(field),
            None if selectable.is_empty() => format!(
                "{} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
                quoted(field)
            ),
            None => format!("field label not supported: {field}"),
        })
    }

    /// The object's value of a field that selectors may name; empty when unset.
    #[must_use]
    pub fn field_value(&self, object: &Object, field: &str) -> String {
        match field {
            "metadata.name" => object.name().to_owned(),
            "metadata.namespace" => object.namespace().to_owned(),
            _ => self.behaviour.field(object, field).unwrap_or_default(),
        }
    }
}

/// Every built-in kind, by group, then by name.
pub const KINDS: &[Kind] = &[
    Kind::of::<ConfigMap>(Scope::Namespaced),
    Kind::of::<Endpoints>(Scope::Namespaced),
    Kind::of::<Event>(Scope::Namespaced),
    Kind::of::<Namespace>(Scope::Cluster),
    Kind::of::<Node>(Scope::Cluster),
    Kind::of::<Pod>(Scope::Namespaced),
    Kind::of::<PodTemplate>(Scope::Namespaced),
    Kind::of::<ReplicationController>(Scope::Namespaced),
    Kind::of::<Secret>(Scope::Namespaced),
    Kind::of::<Service>(Scope::Namespaced),
    Kind::of::<ServiceAccount>(Scope::Namespaced),
    Kind::of::<ControllerRevision>(Scope::Namespaced),
    Kind::of::<DaemonSet>(Scope::Namespaced),
    Kind::of::<Deployment>(Scope::Namespaced),
    Kind::of::<ReplicaSet>(Scope::Namespaced),
    Kind::of::<StatefulSet>(Scope::Namespaced),
    Kind::of::<CronJob>(Scope::Namespaced),
    Kind::of::<Job>(Scope::Namespaced),
    Kind::of::<Lease>(Scope::Namespaced),
    Kind::of::<EndpointSlice>(Scope::Namespaced),
    Kind::of::<events::v1::Event>(Scope::Namespaced),
];
