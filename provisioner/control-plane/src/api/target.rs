//! What a request is about, as the verbs see it.

use std::sync::Arc;

use kprov_schema::{Key, Kind, Object, Status, Subresource};

use super::errors;
use super::query::ListOptions;
use crate::store::{Committed, Expect, Prefix, Store, StoreKey, Stored, Txn};

/// A kind with an object of it, or a part of that object.
#[derive(Clone)]
pub(crate) struct Target {
    /// The kind.
    pub(crate) kind: Arc<Kind>,
    /// The object; the name is empty for a collection, the namespace too when it spans all.
    pub(crate) key: Key,
    /// The part of the object.
    pub(crate) part: Option<Subresource>,
}

impl Target {
    /// Where the object is kept.
    pub(crate) fn place(&self) -> StoreKey {
        StoreKey::new(self.kind.stored_resource(), &self.key)
    }

    /// The object as it is served; `None` when it is not there.
    pub(crate) fn find(&self, store: &Store) -> Option<Arc<Stored>> {
        store.get(&self.place()).map(|stored| served(&self.kind, stored))
    }

    /// The transaction that stores an object as it is served.
    pub(crate) fn put(&self, expect: Expect, object: Object) -> Txn {
        Txn::put(self.place(), expect, self.kept(object))
    }

    /// A transaction that writes the object for the last time and deletes it.
    pub(crate) fn last(&self, expect: Expect, object: Object) -> Txn {
        Txn::last(self.place(), expect, self.kept(object))
    }

    /// An object as it is stored.
    fn kept(&self, mut object: Object) -> Object {
        if let Some(stored) = &self.kind.stored_as {
            (stored.write)(&self.kind, &mut object);
        }
        object
    }

    /// What a transaction that begins with [`Self::put`] left, as it is served.
    pub(crate) fn left(&self, done: &mut Committed) -> Option<Arc<Stored>> {
        done.stored.first_mut()?.take().map(|stored| served(&self.kind, stored))
    }

    /// Where the objects of the collection are kept; `only` narrows it to one name within its namespace.
    pub(crate) fn places(&self, only: Option<&str>) -> Prefix {
        let resource = self.kind.stored_resource();
        let spans = self.kind.is_namespaced() && self.key.namespace.is_empty();
        match only {
            Some(name) if !spans && !name.is_empty() => {
                Prefix::Object(StoreKey::new(resource, &Key::new(self.key.namespace.clone(), name)))
            }
            _ if self.key.namespace.is_empty() => Prefix::resource(resource),
            _ => Prefix::namespace(resource, &self.key.namespace),
        }
    }

    /// The same kind and namespace, another name.
    pub(crate) fn named(&self, name: &str) -> Self {
        Self { key: Key::new(self.key.namespace.clone(), name), ..self.clone() }
    }

    /// That the object is not there.
    pub(crate) fn not_found(&self) -> Status {
        errors::not_found(&self.kind.resource, &self.key.name)
    }
}

/// A stored object as `kind` serves it: two kinds may be faces of the same objects.
pub(crate) fn served(kind: &Kind, stored: Arc<Stored>) -> Arc<Stored> {
    let Some(face) = &kind.stored_as else { return stored };
    let mut object = Object::clone(&stored.object);
    (face.read)(kind, &mut object);
    if object == *stored.object {
        return stored;
    }
    Arc::new(stored.shown_as(object))
}

/// Which objects of a collection count.
#[derive(Clone)]
pub(crate) struct Selector {
    kind: Arc<Kind>,
    labels: kprov_schema::selector::Labels,
    fields: kprov_schema::selector::Fields,
}

impl Selector {
    /// Reads the selectors of a list or watch.
    pub(crate) fn read(kind: &Arc<Kind>, options: &ListOptions) -> Result<Self, Status> {
        let labels = kprov_schema::selector::Labels::parse(&options.labels).map_err(errors::bad_request)?;
        let fields = kprov_schema::selector::Fields::parse_for(kind, &options.fields)?;
        Ok(Self { kind: kind.clone(), labels, fields })
    }

    /// A stored object as the selector's kind serves it.
    pub(crate) fn served(&self, stored: Arc<Stored>) -> Arc<Stored> {
        served(&self.kind, stored)
    }

    /// Whether it selects everything.
    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }

    /// The only name that it can select.
    pub(crate) fn only_name(&self) -> Option<&str> {
        self.fields.exact("metadata.name")
    }

    /// Whether an object is selected.
    pub(crate) fn selects(&self, object: &kprov_schema::Object) -> bool {
        (self.labels.is_everything() || self.labels.match_object(object))
            && (self.fields.is_everything() || self.fields.match_object(&self.kind, object))
    }
}
