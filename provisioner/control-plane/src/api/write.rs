//! What every write has in common: shape, checks, commit with retries.

use std::sync::Arc;

use kprov_schema::kind::Write;
use kprov_schema::managed::same_but_times;
use kprov_schema::{Kind, Object, Status};
use serde_json::{Value, json};

use super::admission::{self, Charge, Effects, Intent};
use super::core::Core;
use super::errors;
use super::lifecycle;
use super::owners::{Owners, Writer};
use super::query::{self, WriteOptions};
use super::ready::{Ready, Shaped};
use super::target::Target;
use super::user::User;
use super::verbs::{Outcome, Written};
use crate::store::{CommitError, Expect, Stored, Txn};

/// How often a write that names no resourceVersion is tried again on what is there by then.
const TRIES: usize = 16;

/// The object does not decode into its kind.
pub(crate) fn unreadable(kind: &Kind, why: &str) -> Status {
    let (name, version) = (&kind.kind, kind.resource.api_version());
    errors::bad_request(format!("{name} in version \"{version}\" cannot be handled as a {name}: {why}"))
}

/// The namespace of an object is that of the path, or none is named.
pub(crate) fn same_namespace(target: &Target, object: &mut Object) -> Result<(), Status> {
    let wanted = target.key.namespace.as_str();
    let given = object.namespace();
    if !given.is_empty() && given != wanted && target.kind.is_namespaced() {
        return Err(errors::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    if given.is_empty() && !wanted.is_empty() {
        object.set(&["metadata", "namespace"], wanted.into());
    }
    Ok(())
}

/// The name of an object is that of the path.
pub(crate) fn same_name(target: &Target, object: &Object) -> Result<(), Status> {
    let wanted = target.key.name.as_str();
    let given = object.name();
    if given.is_empty() {
        return Err(errors::bad_request(format!(
            "the name of the object ({wanted} based on URL) was undeterminable: name must be provided"
        )));
    }
    if given != wanted {
        return Err(errors::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({wanted})"
        )));
    }
    Ok(())
}

/// A new state of an object, with advice that came up on the way.
pub(crate) struct Proposal {
    /// The object as it shall be.
    pub(crate) object: Object,
    /// Advice.
    pub(crate) warnings: Vec<String>,
    /// Who owns its fields.
    pub(crate) owners: Owners,
}

/// Changes the object of `target` into what `propose` makes of it.
///
/// `propose` is called again when the object changed in between, unless what it proposed names a resourceVersion.
pub(crate) async fn modify(
    core: &Core,
    user: &User,
    target: &Target,
    door: Write,
    options: &WriteOptions,
    mut propose: impl FnMut(&Arc<Stored>) -> Result<Proposal, Status>,
) -> Result<Written, Status> {
    for _ in 0..TRIES {
        let old = target.find(&core.store).ok_or_else(|| target.not_found())?;
        let proposal = propose(&old)?;
        let named = !proposal.object.text(&["metadata", "resourceVersion"]).unwrap_or_default().is_empty();
        let warnings = proposal.warnings.clone();
        let done = once(core, user, target, door, options, &old, proposal).await;
        if let Some(written) = done.map_err(|status| status.advised(&warnings))? {
            return Ok(written);
        }
        if named {
            break;
        }
    }
    Err(errors::modified(&target.kind.resource, &target.key.name))
}

/// One try; `None` when the object changed in between.
async fn once(
    core: &Core,
    user: &User,
    target: &Target,
    door: Write,
    options: &WriteOptions,
    old: &Arc<Stored>,
    proposal: Proposal,
) -> Result<Option<Written>, Status> {
    same_life(target, &proposal.object, old)?;
    let shaped = Shaped::of(&target.kind, proposal)?;
    let (live, had) = (Arc::new(old.object.without_managers()), old.object.managers());
    let intent = Intent { core, user, target, old: Some(&live), dry_run: options.dry_run };
    let Ready { mut object, managers, effects } =
        shaped.ready(&intent, &Writer { core, target, door, options }, had)?;
    // Times alone are no change.
    if object == *live && same_but_times(had, managers.as_ref()) {
        return Ok(Some(Written { outcome: Outcome::Stored(old.clone()), warnings: effects.warnings }));
    }
    let charge = Charge::of(&intent, &object, door)?;
    set_managers(&mut object, managers);
    if options.dry_run {
        charge.ops(&intent)?;
        return Ok(Some(Written { outcome: Outcome::Shown(object.into()), warnings: effects.warnings }));
    }
    commit(&intent, old, object, effects, &charge).await
}

async fn commit(
    intent: &Intent<'_>,
    old: &Arc<Stored>,
    object: Object,
    mut effects: Effects,
    charge: &Charge,
) -> Result<Option<Written>, Status> {
    let Intent { core, target, .. } = intent;
    let expect = Expect::At(old.revision);
    let goes = lifecycle::is_finished(&target.kind, &object);
    let shown = goes.then(|| Arc::new(object.clone()));
    if goes {
        // What it gains with this write it does not live to have.
        effects.forget();
        admission::release(core, &target.kind, &old.object, &mut effects);
    }
    let txn = if goes { Txn::delete(target.place(), expect) } else { target.put(expect, object) };
    match charge.commit(intent, &mut effects, txn).await? {
        Ok(mut done) => {
            let warnings = effects.warnings;
            if let Some(shown) = shown {
                return Ok(Some(Written { outcome: Outcome::Shown(shown), warnings }));
            }
            let stored = target.left(&mut done).ok_or_else(|| errors::internal("a put left nothing"))?;
            Ok(Some(Written { outcome: Outcome::Stored(stored), warnings }))
        }
        Err(CommitError::Conflict { .. }) => Ok(None),
        Err(error) => Err(errors::uncommitted(&error)),
    }
}

/// What the client names of the object's identity must be what is there.
fn same_life(target: &Target, object: &Object, old: &Arc<Stored>) -> Result<(), Status> {
    let resource = &target.kind.resource;
    let name = &target.key.name;
    let uid = object.uid();
    if !uid.0.is_empty() && uid != old.object.uid() {
        let (namespace, plural) = (&target.key.namespace, &resource.plural);
        let place = if namespace.is_empty() { name.clone() } else { format!("{namespace}/{name}") };
        let message = format!(
            "StorageError: invalid object, Code: 4, Key: /registry/{plural}/{place}, ResourceVersion: 0, \
             AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            old.object.uid()
        );
        return Err(errors::conflict(resource, &resource.plural, name, &message));
    }
    let given = object.text(&["metadata", "resourceVersion"]).unwrap_or_default();
    if query::revision(given)?.is_some_and(|revision| revision.0 != 0 && revision != old.revision) {
        return Err(errors::modified(resource, name));
    }
    Ok(())
}

/// Where an object says who owns its fields.
pub(crate) const MANAGERS: &[&str] = &["metadata", "managedFields"];

/// Says who owns the object's fields; nobody is not said.
pub(crate) fn set_managers(object: &mut Object, managers: Option<Value>) {
    match managers {
        Some(managers) => object.set(MANAGERS, managers),
        None => {
            object.remove(MANAGERS);
        }
    }
}

/// `metadata.finalizers` as a list of texts.
pub(crate) fn finalizers(object: &Object) -> Vec<String> {
    object.finalizers().map(str::to_owned).collect()
}

/// Sets `metadata.finalizers`; an empty list is left out.
pub(crate) fn set_finalizers(object: &mut Object, finalizers: &[String]) {
    if finalizers.is_empty() {
        object.remove(&["metadata", "finalizers"]);
    } else {
        object.set(&["metadata", "finalizers"], json!(finalizers));
    }
}

/// Whether a list at a path is absent or empty.
pub(crate) fn is_empty_list(object: &Object, path: &[&str]) -> bool {
    object.at(path).and_then(Value::as_array).is_none_or(Vec::is_empty)
}
