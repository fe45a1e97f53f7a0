//! Deletes an object, or begins to.

use std::sync::Arc;

use kprov_schema::{Kind, Object, Status};

use crate::api::admission::{self, Effects, Intent};
use crate::api::core::Core;
use crate::api::errors;
use crate::api::lifecycle::{self, Step};
use crate::api::query::Deletion;
use crate::api::target::Target;
use crate::api::user::User;
use crate::client::Preconditions;
use crate::store::{CommitError, Expect, Stored, Txn};

/// How often a deletion is tried again when the object changed in between.
const TRIES: usize = 16;

/// What a deletion did.
pub(crate) enum Deleted {
    /// The object is gone; its last state.
    Gone(Arc<Object>),
    /// The object stays for now.
    Stays(Arc<Object>),
}

/// Deletes the object of `target`; advice that comes up is added to `warnings`.
pub(crate) async fn delete(
    core: &Core,
    user: &User,
    target: &Target,
    deletion: &Deletion,
    warnings: &mut Vec<String>,
) -> Result<Deleted, Status> {
    let before = warnings.len();
    delete_if(core, user, target, deletion, |intent| {
        warnings.truncate(before);
        admission::admit_deletion(intent, warnings)
    })
    .await
}

/// Deletes the object of `target` if nothing is said against it as it is by then.
pub(crate) async fn delete_if(
    core: &Core,
    user: &User,
    target: &Target,
    deletion: &Deletion,
    mut may_go: impl FnMut(&Intent<'_>) -> Result<(), Status>,
) -> Result<Deleted, Status> {
    for _ in 0..TRIES {
        let old = target.find(&core.store).ok_or_else(|| target.not_found())?;
        let intent = Intent { core, user, target, old: Some(&old.object), dry_run: deletion.dry_run };
        may_go(&intent)?;
        meets(&target.kind, &old.object, &deletion.options.preconditions)?;
        if let Some(done) = once(core, target, &old, deletion).await? {
            return Ok(done);
        }
    }
    Err(errors::modified(&target.kind.resource, &target.key.name))
}

/// One try; `None` when the object changed in between.
async fn once(core: &Core, target: &Target, old: &Arc<Stored>, deletion: &Deletion) -> Result<Option<Deleted>, Status> {
    let now = core.world.clock.now();
    match lifecycle::step(&target.kind, &old.object, &deletion.options, now) {
        Step::Wait => Ok(Some(Deleted::Stays(old.object.clone()))),
        Step::Mark(new) => mark(core, target, old, new, deletion.dry_run).await,
        Step::MarkAndGo(new) => go(core, target, old, Some(new), deletion.dry_run).await,
        Step::Go => go(core, target, old, None, deletion.dry_run).await,
    }
}

async fn mark(
    core: &Core,
    target: &Target,
    old: &Arc<Stored>,
    new: Object,
    dry_run: bool,
) -> Result<Option<Deleted>, Status> {
    if dry_run {
        return Ok(Some(Deleted::Stays(new.into())));
    }
    match core.store.commit(target.put(Expect::At(old.revision), new)).await {
        Ok(mut done) => {
            let marked = target.left(&mut done).ok_or_else(|| errors::internal("a put left nothing"))?;
            Ok(Some(Deleted::Stays(marked.object.clone())))
        }
        Err(CommitError::Conflict { .. }) => Ok(None),
        Err(error) => Err(errors::uncommitted(&error)),
    }
}

/// Deletes an object, which may be marked with it: a crash leaves none that is marked and does not go.
async fn go(
    core: &Core,
    target: &Target,
    old: &Arc<Stored>,
    marked: Option<Object>,
    dry_run: bool,
) -> Result<Option<Deleted>, Status> {
    // An object that is marked so already need not be marked once more.
    let marked = marked.filter(|new| *new != *old.object);
    let last = marked.clone().unwrap_or_else(|| Object::clone(&old.object));
    if dry_run {
        return Ok(Some(Deleted::Gone(last.into())));
    }
    let mut effects = Effects::default();
    admission::release(core, &target.kind, &old.object, &mut effects);
    let expect = Expect::At(old.revision);
    let txn = match marked {
        Some(marked) => target.last(expect, marked),
        None => Txn::delete(target.place(), expect),
    };
    match effects.settle(core, txn).await {
        Ok(done) => Ok(Some(Deleted::Gone(lifecycle::stamped(last, done.revision).into()))),
        Err(CommitError::Conflict { .. }) => Ok(None),
        Err(error) => Err(errors::uncommitted(&error)),
    }
}

/// Whether the object is the one, in the state, that the client means.
pub(crate) fn meets(kind: &Kind, object: &Object, preconditions: &Preconditions) -> Result<(), Status> {
    let refuse = |message: String| Err(errors::precondition(kind, object.name(), &message));
    let uid = object.uid().0;
    if let Some(wanted) = preconditions.uid.as_ref().filter(|wanted| **wanted != uid) {
        return refuse(format!(
            "the UID in the precondition ({wanted}) does not match the UID in record ({uid}). The object might have \
             been deleted and then recreated"
        ));
    }
    let version = object.text(&["metadata", "resourceVersion"]).unwrap_or_default();
    match &preconditions.resource_version {
        Some(wanted) if wanted != version => refuse(format!(
            "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record \
             ({version}). The object might have been modified"
        )),
        _ => Ok(()),
    }
}
