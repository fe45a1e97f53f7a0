//! References from an object to another one, by group, kind and name.

use super::check::{Errors, Path};
use crate::names;

/// What can stand in a URL path.
fn segment(text: &str) -> Vec<String> {
    names::path_segment(text, false)
}

/// Checks the group of a reference, when it has one.
pub(crate) fn group(errors: &mut Errors, at: &Path<'_>, group: Option<&str>) {
    if let Some(group) = group {
        errors.all(&at.child("apiGroup"), group, names::dns1123_subdomain(group));
    }
}

/// Checks parts of a reference that must be there, each with its field.
pub(crate) fn segments(errors: &mut Errors, at: &Path<'_>, parts: &[(&str, &str)]) {
    for (field, text) in parts {
        errors.filled_all(&at.child(field), text, segment);
    }
}
