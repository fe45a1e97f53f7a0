//! Changes parts of an object.

use kprov_schema::decode::{Decoded, Target as Decoding};
use kprov_schema::kind::Write;
use kprov_schema::patch::{Format, apply};
use kprov_schema::{Object, Status};

use super::Written;
use crate::api::body_in::validation;
use crate::api::core::Core;
use crate::api::owners::{Owners, Writer};
use crate::api::query::WriteOptions;
use crate::api::subresource::{self, Part};
use crate::api::target::Target;
use crate::api::user::User;
use crate::api::write::{self, Proposal};
use crate::client::PatchKind;
use crate::store::Stored;

/// Patches the object of `target`, or the part that it names. `patch` is the text of the patch.
pub(crate) async fn patch(
    core: &Core,
    user: &User,
    target: &Target,
    how: PatchKind,
    patch: &[u8],
    options: &WriteOptions,
) -> Result<Written, Status> {
    let part = target.part.map(subresource::part).transpose()?;
    let door = part.map_or(Write::Main, |part| part.door);
    let decoding = subresource::decoding(target)?;
    let writer = Writer { core, target, door, options };
    write::modify(core, user, target, door, options, |old| {
        let shown = match part {
            Some(part) => (part.show)(&target.kind, &old.object),
            None => Object::clone(&old.object),
        };
        let Decoded { object, warnings } = patched(&decoding, &shown, how, patch, options)?;
        let proposal = proposed(&writer, part, old, object).map_err(|status| status.advised(&warnings))?;
        Ok(Proposal { warnings, ..proposal })
    })
    .await
}

/// What a patched object is proposed as.
fn proposed(writer: &Writer<'_>, part: Option<&Part>, old: &Stored, mut object: Object) -> Result<Proposal, Status> {
    write::same_namespace(writer.target, &mut object)?;
    write::same_name(writer.target, &object)?;
    // Only a resourceVersion that the patch itself names is a precondition.
    if object.revision() == Some(old.revision) {
        object.remove(&["metadata", "resourceVersion"]);
    }
    match part {
        Some(part) => writer.through(part, old, object),
        None => Ok(Proposal { object, warnings: Vec::new(), owners: Owners::Changed }),
    }
}

/// The object that a patch makes.
fn patched(
    decoding: &Decoding,
    object: &Object,
    how: PatchKind,
    patch: &[u8],
    options: &WriteOptions,
) -> Result<Decoded, Status> {
    let format = match how {
        PatchKind::Json => Format::Json,
        PatchKind::Merge => Format::Merge,
        PatchKind::Strategic => Format::Strategic,
    };
    apply(decoding, object, format, patch, validation(options.validation))
}
