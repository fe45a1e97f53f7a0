//! The one table: a row says everything that sets a kind apart.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};

use crate::custom;
use crate::key::Resource;
use crate::meta::{self, MetaRules};
use crate::object::Object;
use crate::status::{FieldError, Status, quoted};
use crate::structure::{Served, schema};

mod behaviour;
mod carry;
mod reset;
mod rules;
mod subresource;
mod table;
mod typing;

pub use behaviour::{Behaviour, Behaviours, ColumnHead, Row};
pub use reset::{Reset, STATUS_ALONE};
pub use rules::{Column, Rules, Selectable, StoredAs, Write};
pub use subresource::Subresource;
pub use table::KINDS;
pub use typing::Typed;

use typing::Typing;

/// Whether objects of a kind live in namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One set for the whole cluster.
    Cluster,
    /// One set a namespace.
    Namespaced,
}

/// A scope as k8s-openapi's structs name theirs.
pub trait Scoped {
    /// The same as a value.
    const SCOPE: Scope;
}

impl Scoped for ClusterResourceScope {
    const SCOPE: Scope = Scope::Cluster;
}

impl Scoped for NamespaceResourceScope {
    const SCOPE: Scope = Scope::Namespaced;
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
    /// Subresources.
    pub subresources: Cow<'static, [Subresource]>,
    /// How its metadata is judged.
    pub meta: MetaRules,
    /// See [`Rules::STORED_AS`].
    pub stored_as: Option<StoredAs>,
    /// See [`Rules::DEPRECATED`].
    pub deprecated: Option<Cow<'static, str>>,
    /// See [`Rules::RESETS`].
    pub resets: &'static [(Write, Reset)],
    /// The names that its definition gives; the published schema has those of built-in kinds.
    names: Option<Arc<MadeNames>>,
    unknown_field: Option<fn(&str) -> String>,
    behaviour: Behaviours,
}

/// What a definition says of its kind.
pub(crate) struct Made {
    pub(crate) resource: Resource,
    pub(crate) kind: String,
    pub(crate) list_kind: String,
    pub(crate) scope: Scope,
    pub(crate) subresources: Vec<Subresource>,
    pub(crate) names: MadeNames,
    pub(crate) stored_as: StoredAs,
    pub(crate) deprecated: Option<String>,
}

/// The lesser names that a definition gives to its kind.
pub(crate) struct MadeNames {
    pub(crate) singular: String,
    pub(crate) short: Vec<String>,
    pub(crate) categories: Vec<String>,
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
    pub const fn of<T: Rules + k8s_openapi::ListableResource>() -> Self {
        Self {
            resource: Resource::of::<T>(),
            kind: Cow::Borrowed(T::KIND),
            list_kind: Cow::Borrowed(T::LIST_KIND),
            scope: <T::Scope as Scoped>::SCOPE,
            subresources: Cow::Borrowed(T::SUBRESOURCES),
            meta: T::META,
            stored_as: T::STORED_AS,
            deprecated: match T::DEPRECATED {
                Some(text) => Some(Cow::Borrowed(text)),
                None => None,
            },
            resets: T::RESETS,
            names: None,
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
            subresources: made.subresources.into(),
            meta: custom::META,
            stored_as: Some(made.stored_as),
            deprecated: made.deprecated.map(Cow::Owned),
            resets: STATUS_ALONE,
            names: Some(made.names.into()),
            unknown_field: Some(|field| format!("field label not supported: {field}")),
            behaviour: Behaviours::Made(behaviour),
        }
    }

    /// The lower-case singular name.
    #[must_use]
    pub fn singular(&self) -> String {
        self.names.as_ref().map_or_else(|| self.kind.to_ascii_lowercase(), |names| names.singular.clone())
    }

    /// Names for the command line, such as `deploy`.
    #[must_use]
    pub fn short_names(&self) -> Vec<Cow<'static, str>> {
        match &self.names {
            Some(names) => names.short.iter().map(|one| Cow::Owned(one.clone())).collect(),
            None => self.published().flat_map(|served| &served.short_names).map(|one| Cow::Borrowed(*one)).collect(),
        }
    }

    /// Groups of kinds that it belongs to, such as `all`.
    #[must_use]
    pub fn categories(&self) -> Vec<Cow<'static, str>> {
        match &self.names {
            Some(names) => names.categories.iter().map(|one| Cow::Owned(one.clone())).collect(),
            None => self.published().flat_map(|served| &served.categories).map(|one| Cow::Borrowed(*one)).collect(),
        }
    }

    fn published(&self) -> impl Iterator<Item = &'static Served> {
        schema().resource(&self.resource).into_iter()
    }

    /// What a write through a door can't own.
    #[must_use]
    pub fn reset(&self, write: Write) -> Reset {
        let own = self.resets.iter().find(|(door, _)| *door == write);
        own.map_or_else(|| Reset::usual(&self.subresources, write), |(_, reset)| *reset)
    }

    /// Whether a CustomResourceDefinition made it.
    #[must_use]
    pub fn is_custom(&self) -> bool {
        self.names.is_some()
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

    /// Whether an object may replace another one: those of some kinds have to name the version that they replace.
    pub fn may_replace(&self, object: &Object) -> Result<(), Status> {
        let named = !object.text(&["metadata", "resourceVersion"]).unwrap_or_default().is_empty();
        if named || self.meta.unconditional {
            return Ok(());
        }
        let why = "must be specified for an update";
        let error = FieldError::invalid("metadata.resourceVersion", &0.into(), why);
        let resource = self.stored_resource();
        Err(Status::invalid(&resource.group, &resource.plural, object.name(), &[error]))
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
