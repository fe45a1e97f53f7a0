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
use crate::api::subresource;
use crate::api::target::Target;
use crate::api::user::User;
use crate::api::write::{self, Proposal};
use crate::client::PatchKind;

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
        let Decoded { mut object, warnings } = patched(&decoding, &shown, how, patch, options)?;
        write::same_namespace(target, &mut object)?;
        write::same_name(target, &object)?;
        // Only a resourceVersion that the patch itself names is a precondition.
        if object.revision() == Some(old.revision) {
            object.remove(&["metadata", "resourceVersion"]);
        }
        let proposal = match part {
            Some(part) => writer.through(part, old, object)?,
            None => Proposal { object, warnings: Vec::new(), owners: Owners::Changed },
        };
        Ok(Proposal { warnings, ..proposal })
    })
    .await
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
