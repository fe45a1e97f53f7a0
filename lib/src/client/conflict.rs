//! Fields that two managers want: which, whose, and what to do.

use std::fmt;

use kprov_schema::Status;
use serde_json::Value;

use super::place::Id;

/// An apply that met fields of other managers.
///
/// ```
/// use kprov::client::{ClientError, Conflict};
///
/// fn owners(error: &ClientError) -> Vec<&str> {
///     match error {
///         ClientError::Conflict(conflict) => conflict.fields.iter().map(|(_, manager)| manager.as_str()).collect(),
///         _ => Vec::new(),
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The object.
    pub object: Id,
    /// The fields, each with the manager that owns it.
    pub fields: Vec<(String, String)>,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.fields.len() == 1 { "a field belongs" } else { "fields belong" };
        write!(f, "{}: {noun} to others", self.object)?;
        for (field, manager) in &self.fields {
            write!(f, "\n  {field} -> {manager}")?;
        }
        write!(f, "\n  leave the fields out of the manifest, or take them over by force (`--force-conflicts`)")
    }
}

impl Conflict {
    /// Reads the server's answer; `None` when it says something else.
    pub(super) fn of(object: &Id, status: &Status) -> Option<Self> {
        let fields: Vec<(String, String)> = status.causes().filter_map(owned).collect();
        (status.code == 409 && !fields.is_empty()).then(|| Self { object: object.clone(), fields })
    }
}

/// The field and the manager of one cause: `conflict with "helm" using apps/v1`.
fn owned(cause: &Value) -> Option<(String, String)> {
    if cause["reason"] != "FieldManagerConflict" {
        return None;
    }
    let said = cause["message"].as_str()?;
    let said = said.strip_prefix("conflict with ").unwrap_or(said);
    let field = cause["field"].as_str().unwrap_or_default().trim_start_matches('.');
    let manager = match said.strip_prefix('"').and_then(|rest| rest.split_once('"')) {
        Some((name, rest)) if !rest.trim().is_empty() => format!("{name} ({})", rest.trim()),
        Some((name, _)) => name.to_owned(),
        None => said.to_owned(),
    };
    Some((field.to_owned(), manager))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_conflict_shows_field_and_manager() {
        let status = Status::from_json(&json!({
            "kind": "Status", "code": 409, "reason": "Conflict", "message": "Apply failed with 1 conflict",
            "details": {"causes": [
                {"reason": "FieldManagerConflict", "message": "conflict with \"kubectl-edit\" using apps/v1", "field": ".spec.replicas"},
                {"reason": "FieldManagerConflict", "message": "conflict with \"helm\"", "field": ".data.a"},
            ]}
        }));
        let id = Id {
            api_version: "apps/v1".to_owned(),
            kind: "Deployment".to_owned(),
            namespace: "default".to_owned(),
            name: "web".to_owned(),
        };
        let said = Conflict::of(&id, &status.unwrap()).unwrap().to_string();
        assert!(said.contains("Deployment default/web: fields belong to others"), "{said}");
        assert!(said.contains("\n  spec.replicas -> kubectl-edit (using apps/v1)\n  data.a -> helm\n"), "{said}");
        assert_eq!(Conflict::of(&id, &Status::failure(409, "AlreadyExists", "x")), None);
    }
}
