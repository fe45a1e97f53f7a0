//! CustomResourceDefinitions at work: their names are accepted, their kinds are served, and when one is deleted its
//! objects go first.
//!
//! One task follows the definitions. What it decides is in `names`; the registry that it makes is swapped as a whole.
//! A kind is served before its definition says that it is established, so whoever waited for that finds it.

mod names;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{Timestamp, ToSpan};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kprov_schema::kind::Write;
use kprov_schema::{KINDS, Key, Kind, Object, Resource, Status, conditions, custom};
use serde_json::{Value, json};

use super::core::Core;
use super::errors;
use super::owners::Owners;
use super::query::{Deletion, ListOptions, WriteOptions};
use super::registry::{Defined, Registry};
use super::target::Target;
use super::user::User;
use super::verbs::deletecollection::delete_collection;
use super::write::{self, Proposal};
use crate::store::{Moved, Prefix, Stored};

/// What holds a definition until its objects are gone.
const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";
/// Seconds until a definition whose objects could not be deleted is looked at again.
const AGAIN_SECONDS: i64 = 5;

fn resource() -> Resource {
    Resource::of::<CustomResourceDefinition>()
}

/// What changes in a definition when its deletion begins.
pub(crate) fn end(definition: &mut Object, now: Timestamp) {
    let mut finalizers = write::finalizers(definition);
    if !finalizers.iter().any(|one| one == FINALIZER) {
        finalizers.push(FINALIZER.to_owned());
    }
    write::set_finalizers(definition, &finalizers);
    let message = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
    set_condition(definition, ("Terminating", "True", "InstanceDeletionPending", message), now);
}

/// Says something of a definition.
fn set_condition(definition: &mut Object, (kind, status, reason, message): (&str, &str, &str, &str), now: Timestamp) {
    let since = errors::seconds(now);
    let new = json!({
        "type": kind, "status": status, "lastTransitionTime": since, "reason": reason, "message": message,
    });
    conditions::set_in(definition, new);
}

/// Serves what is established already; called before the server is ready.
pub(crate) fn load(core: &Core) -> Result<(), Status> {
    let definitions = core.all::<CustomResourceDefinition>()?;
    Kinds::default().serve(core, definitions.iter().map(|stored| &*stored.object));
    Ok(())
}

/// The kinds that are served, by definition: one that stays as it is keeps its very rows.
#[derive(Default)]
struct Kinds(BTreeMap<String, (Value, Defined)>);

impl Kinds {
    fn serve<'a>(&mut self, core: &Core, definitions: impl Iterator<Item = &'a Object>) {
        let mut kept = BTreeMap::new();
        for definition in definitions.filter(|one| conditions::is_true(one, "Established")) {
            let name = definition.name().to_owned();
            let basis = basis(definition);
            let old = self.0.remove(&name).filter(|(old, _)| *old == basis);
            let kinds = old.map_or_else(|| kinds(&basis), |(_, old)| old.kinds);
            kept.insert(name, (basis, Defined { kinds, ending: definition.is_deleting() }));
        }
        self.0 = kept;
        core.serve(Registry::with(self.0.values().map(|(_, defined)| defined)));
    }
}

/// What a definition's kinds are made from: its specification under the names that were accepted.
fn basis(definition: &Object) -> Value {
    let mut spec = definition.at(&["spec"]).cloned().unwrap_or_default();
    if let Some(names) = definition.at(&["status", "acceptedNames"]) {
        spec["names"] = names.clone();
    }
    json!({"metadata": {"name": definition.name()}, "spec": spec})
}

fn kinds(basis: &Value) -> Vec<Arc<Kind>> {
    let Ok(definition) = Object::try_from(basis.clone()) else { return Vec::new() };
    let versions = basis["spec"]["versions"].as_array().into_iter().flatten();
    let served = versions.filter(|version| version["served"] == Value::Bool(true));
    let made = served.filter_map(|version| {
        let version = version["name"].as_str().unwrap_or_default();
        let made = custom::kind(&definition, version);
        made.inspect_err(|why| tracing::error!(definition = definition.name(), version, why, "can't be served")).ok()
    });
    made.map(Arc::new).collect()
}

/// Follows the definitions until the server stops.
pub(crate) async fn follow(core: Arc<Core>) {
    let mut moved = core.store.moved_in(&Prefix::resource(&resource()));
    let mut work = Work { user: User::component("system:apiserver"), kinds: Kinds::default() };
    loop {
        let head = core.store.head();
        let waits = match work.round(&core).await {
            Ok(waits) => waits,
            Err(status) => {
                tracing::warn!(%status, "definitions can't be attended to, trying again");
                true
            }
        };
        let mut anything = core.store.moved();
        let again = core.world.clock.now() + AGAIN_SECONDS.seconds();
        let closed = tokio::select! {
            closed = reached(&mut moved, head) => closed,
            closed = reached(&mut anything, core.store.head()), if waits => closed,
            () = core.world.clock.sleep_until(again), if waits => false,
            () = core.stopping() => true,
        };
        if closed {
            return;
        }
    }
}

async fn reached(moved: &mut Moved, head: kprov_schema::Revision) -> bool {
    moved.beyond(head).await.is_err()
}

struct Work {
    user: User,
    kinds: Kinds,
}

impl Work {
    /// Attends to every definition once; the answer is whether one waits for its objects to go.
    async fn round(&mut self, core: &Arc<Core>) -> Result<bool, Status> {
        let now = core.world.clock.now();
        let before = core.all::<CustomResourceDefinition>()?;
        let decided = names::accept(before.iter().map(|stored| &*stored.object), now);
        let after = before.iter().zip(&decided).map(|(stored, new)| new.as_ref().unwrap_or(&stored.object));
        self.kinds.serve(core, after);
        for (stored, new) in before.iter().zip(&decided) {
            if let Some(new) = new {
                self.write(core, stored, new.clone()).await?;
            }
        }
        let mut waits = false;
        for stored in before.iter().filter(|stored| stored.object.finalizers().any(|one| one == FINALIZER)) {
            if stored.object.is_deleting() {
                waits |= !self.end(core, stored).await?;
            }
        }
        Ok(waits)
    }

    /// Writes a definition's status; one that changed in between is looked at again in the next round.
    async fn write(&self, core: &Core, stored: &Stored, new: Object) -> Result<(), Status> {
        self.modify(core, stored, Write::Status, new).await
    }

    async fn modify(&self, core: &Core, stored: &Stored, door: Write, new: Object) -> Result<(), Status> {
        let kind = core.kind(&resource())?;
        let target = Target { kind, key: stored.key.key(), part: None };
        let mut new = new;
        new.set(&["metadata", "resourceVersion"], stored.revision.to_string().into());
        let propose =
            |_: &Arc<Stored>| Ok(Proposal { object: new.clone(), warnings: Vec::new(), owners: Owners::Changed });
        let options = WriteOptions { manager: "kube-apiserver".to_owned(), ..WriteOptions::default() };
        match write::modify(core, &self.user, &target, door, &options, propose).await {
            Err(status) if !status.is_conflict() && !status.is_not_found() => Err(status),
            _ => Ok(()),
        }
    }

    /// Deletes the objects of a definition, then lets it go; the answer is whether it went.
    async fn end(&self, core: &Arc<Core>, stored: &Stored) -> Result<bool, Status> {
        let mut definition = Object::clone(&stored.object);
        let now = core.world.clock.now();
        match self.kinds.0.get(definition.name()).and_then(|(_, defined)| defined.kinds.first()).cloned() {
            Some(kind) if !is_built_in(&kind) => {
                let target = Target { kind, key: Key::new("", ""), part: None };
                let said =
                    ("Terminating", "True", "InstanceDeletionInProgress", "CustomResource deletion is in progress");
                let before = definition.clone();
                set_condition(&mut definition, said, now);
                if definition != before {
                    // The next round sees this write, and goes on.
                    self.write(core, stored, definition).await?;
                    return Ok(false);
                }
                let options = ListOptions::default();
                delete_collection(core, &self.user, &target, &options, &Deletion::default()).await?;
                let left = core.store.list(&target.places(None), None, Some(1), None).map_err(errors::unreadable)?;
                if !left.items.is_empty() {
                    return Ok(false);
                }
                let said = ("Terminating", "False", "InstanceDeletionCompleted", "removed all instances");
                set_condition(&mut definition, said, now);
            }
            Some(_) => {
                let message = "instances overlap with built-in resources in storage";
                set_condition(&mut definition, ("Terminating", "False", "OverlappingBuiltInResource", message), now);
            }
            None => {
                let message = "resource was never established";
                set_condition(&mut definition, ("Terminating", "False", "NeverEstablished", message), now);
            }
        }
        let mut finalizers = write::finalizers(&definition);
        finalizers.retain(|one| one != FINALIZER);
        write::set_finalizers(&mut definition, &finalizers);
        self.modify(core, stored, Write::Main, definition).await?;
        Ok(true)
    }
}

/// Whether objects of the kind are kept where those of a built-in one are.
fn is_built_in(kind: &Kind) -> bool {
    let own = (&kind.resource.group, &kind.resource.plural);
    KINDS.iter().any(|built_in| (&built_in.resource.group, &built_in.resource.plural) == own)
}
