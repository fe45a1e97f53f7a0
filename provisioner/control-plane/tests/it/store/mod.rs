//! What the store promises.

mod basics;
mod concurrent;
mod crash;
mod damage;
mod model;

use kprov_control_plane::store::{Committed, Expect, Prefix, Store, StoreKey, Txn};
use kprov_control_plane::world::memory::MemoryWorld;
use kprov_schema::{Object, Revision};
use serde_json::json;

pub(super) const FILE: &str = "store.redb";

pub(super) fn key(text: &str) -> StoreKey {
    StoreKey::parse(text).unwrap()
}

pub(super) fn pod(name: &str) -> StoreKey {
    key(&format!("/core/pods/default/{name}"))
}

pub(super) fn pods() -> Prefix {
    Prefix::Resource("/core/pods/".into())
}

pub(super) fn object(value: &str) -> Object {
    Object::try_from(json!({"kind": "Pod", "metadata": {"labels": {"is": value}}})).unwrap()
}

pub(super) fn open(memory: &MemoryWorld) -> Store {
    Store::open(&memory.world(), FILE).unwrap()
}

pub(super) async fn put(store: &Store, name: &str, value: &str) -> Committed {
    store.commit(Txn::put(pod(name), Expect::Any, object(value))).await.unwrap()
}

/// Names and values of all pods at a revision.
pub(super) fn names(store: &Store, at: Option<Revision>) -> Vec<(String, String)> {
    let page = store.list(&pods(), None, None, at).unwrap();
    page.items.iter().map(|one| (one.key.key().name, one.object.label("is").unwrap().to_owned())).collect()
}
