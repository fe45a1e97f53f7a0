//! Replaces an object.

use kprov_schema::kind::Write;
use kprov_schema::{Object, Status};

use super::Written;
use crate::api::core::Core;
use crate::api::owners::{Owners, Writer};
use crate::api::query::WriteOptions;
use crate::api::subresource;
use crate::api::target::Target;
use crate::api::user::User;
use crate::api::write::{self, Proposal};

/// Replaces the object of `target`, or the part that it names.
pub(crate) async fn update(
    core: &Core,
    user: &User,
    target: &Target,
    mut object: Object,
    options: &WriteOptions,
) -> Result<Written, Status> {
    write::same_namespace(target, &mut object)?;
    write::same_name(target, &object)?;
    let Some(part) = target.part else {
        return write::modify(core, user, target, Write::Main, options, |_| {
            target.kind.may_replace(&object)?;
            Ok(Proposal { object: object.clone(), warnings: Vec::new(), owners: Owners::Changed })
        })
        .await;
    };
    let part = subresource::part(part)?;
    let writer = Writer { core, target, door: part.door, options };
    write::modify(core, user, target, part.door, options, |old| {
        if part.door == Write::Status {
            target.kind.may_replace(&object)?;
        }
        writer.through(part, old, object.clone())
    })
    .await
}
