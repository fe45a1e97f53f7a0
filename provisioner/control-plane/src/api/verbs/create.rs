//! Creates an object.

use kprov_schema::kind::Write;
use kprov_schema::{Object, Status, meta};

use super::{Outcome, Written};
use crate::api::admission::{Charge, Intent};
use crate::api::core::Core;
use crate::api::errors;
use crate::api::owners::{Owners, Writer};
use crate::api::query::WriteOptions;
use crate::api::ready::{Ready, Shaped};
use crate::api::target::Target;
use crate::api::user::User;
use crate::api::write::{self, Proposal};
use crate::store::{CommitError, Expect};

/// How often a generated name is drawn before giving up.
const DRAWS: usize = 8;
/// Random characters behind a `generateName`, and how much of that is kept.
const SUFFIX: usize = 5;
const BASE_MAX: usize = 63 - SUFFIX;

/// Creates `object` in the collection of `target`.
pub(crate) async fn create(
    core: &Core,
    user: &User,
    target: &Target,
    mut object: Object,
    options: &WriteOptions,
    owners: Owners,
) -> Result<Written, Status> {
    begin(core, target, &mut object)?;
    let base = object.text(&["metadata", "generateName"]).unwrap_or_default().to_owned();
    if !object.name().is_empty() || base.is_empty() {
        return once(core, user, target, new(object, owners), options).await;
    }
    let mut last = None;
    for _ in 0..DRAWS {
        let mut object = object.clone();
        object.set(&["metadata", "name"], generate(core, &base).into());
        match once(core, user, target, new(object, owners.clone()), options).await {
            Err(status) if status.already_exists() => last = Some(status),
            done => return done,
        }
    }
    Err(last.unwrap_or_else(|| errors::internal("no name could be generated")))
}

fn new(object: Object, owners: Owners) -> Proposal {
    Proposal { object, warnings: Vec::new(), owners }
}

fn generate(core: &Core, base: &str) -> String {
    let base: String = base.chars().take(BASE_MAX).collect();
    format!("{base}{}", core.world.suffix(SUFFIX))
}

/// What is asked of an object before anything else, with what the server says about it itself.
fn begin(core: &Core, target: &Target, object: &mut Object) -> Result<(), Status> {
    if core.registry().is_ending(&target.kind.resource) {
        return Err(errors::ending(&target.kind.resource));
    }
    write::same_namespace(target, object)?;
    if !object.text(&["metadata", "resourceVersion"]).unwrap_or_default().is_empty() {
        return Err(errors::plain(500, "resourceVersion should not be set on objects to be created"));
    }
    meta::clear_for_create(object);
    object.remove(&["metadata", "resourceVersion"]);
    object.set(&["metadata", "uid"], core.world.uuid().into());
    object.set(&["metadata", "creationTimestamp"], errors::seconds(core.world.clock.now()));
    Ok(())
}

async fn once(
    core: &Core,
    user: &User,
    target: &Target,
    proposal: Proposal,
    options: &WriteOptions,
) -> Result<Written, Status> {
    let kind = &target.kind;
    let shaped = Shaped::of(kind, proposal)?;
    let target = target.named(shaped.name());
    let intent = Intent { core, user, target: &target, old: None, dry_run: options.dry_run };
    let writer = Writer { core, target: &target, door: Write::Main, options };
    let Ready { mut object, managers, mut effects } = shaped.ready(&intent, &writer, None)?;
    let charge = Charge::of(&intent, &object, Write::Main)?;
    write::set_managers(&mut object, managers);
    if options.dry_run {
        charge.ops(&intent)?;
        if let Some(found) = core.store.get(&target.place()) {
            let status = errors::already_exists(&kind.resource, &target.key.name, found.object.is_deleting());
            return Err(status.advised(&effects.warnings));
        }
        return Ok(Written { outcome: Outcome::Shown(object.into()), warnings: effects.warnings });
    }
    match charge.commit(&intent, &mut effects, target.put(Expect::Absent, object)).await? {
        Ok(mut done) => {
            let stored = target.left(&mut done).ok_or_else(|| errors::internal("a put left nothing"))?;
            Ok(Written { outcome: Outcome::Stored(stored), warnings: effects.warnings })
        }
        Err(CommitError::Conflict { found, .. }) => {
            let deleting = found.is_some_and(|found| found.object.is_deleting());
            Err(errors::already_exists(&kind.resource, &target.key.name, deleting).advised(&effects.warnings))
        }
        Err(error) => Err(errors::uncommitted(&error)),
    }
}
