//! Priority classes: one of them at most is the default, and those of the system stay.
//!
//! Source: `plugin/pkg/admission/priority`, `pkg/registry/scheduling/priorityclass/storage`.

use kprov_schema::rules::priority_class::SYSTEM_CLASSES;
use kprov_schema::{Object, Status};

use super::{Intent, pod};
use crate::api::errors;

pub(super) fn only_default(intent: &Intent<'_>, class: &mut Object) -> Result<(), Status> {
    if !pod::is_default(class) {
        return Ok(());
    }
    match pod::default_priority(intent)? {
        Some(other) if intent.old.is_none() || other.name() != class.name() => {
            let message =
                format!("PriorityClass {} is already marked as default. Only one default can exist", other.name());
            Err(errors::forbidden(&intent.target.kind.resource, class.name(), &message))
        }
        _ => Ok(()),
    }
}

pub(super) fn may_go(intent: &Intent<'_>) -> Result<(), Status> {
    let name = &intent.target.key.name;
    if SYSTEM_CLASSES.iter().any(|class| class.name == name) {
        let message = "this is a system priority class and cannot be deleted";
        return Err(errors::forbidden(&intent.target.kind.resource, name, message));
    }
    Ok(())
}
