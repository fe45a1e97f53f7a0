//! Looks for everything that is wrong with objects before they are sent anywhere.
//!
//! First the server's own door, which says what the server would say; then what objects mean for each other.

use std::sync::Arc;

use kprov_schema::custom;
use kprov_schema::decode::Validation;
use kprov_schema::{KINDS, Kind, Object};

use crate::manifest::Origin;
use crate::problem::{Problem, Severity};

mod field_hints;
mod fields;
mod heads;
mod places;
mod pod_security;
mod references;
mod removed;
pub(crate) mod server;
pub(crate) mod syntax;

/// An object with where it was read, if it was.
#[derive(Clone, Copy)]
pub(crate) struct Item<'a> {
    pub(crate) object: &'a Object,
    pub(crate) origin: Option<&'a Origin>,
}

impl Item<'_> {
    /// `Kind/name`, as problems call it.
    pub(crate) fn title(&self) -> String {
        let object = self.object;
        let generated = object.text(&["metadata", "generateName"]).unwrap_or_default();
        let name = if object.name().is_empty() { generated } else { object.name() };
        match (object.kind(), name) {
            ("", name) => name.to_owned(),
            (kind, "") => kind.to_owned(),
            (kind, name) => format!("{kind}/{name}"),
        }
    }

    /// A problem at the place of a field, or of the part of its path that is there.
    pub(crate) fn problem(&self, severity: Severity, path: &str, message: impl Into<String>) -> Problem {
        let mut problem = Problem::new(severity, message);
        problem.object = self.title();
        path.clone_into(&mut problem.path);
        match self.origin {
            Some(origin) => problem.at(&origin.source, origin.node.find(path).at),
            None => problem,
        }
    }
}

/// The kinds that objects may be of: the table's own and those that definitions in the bundle make.
pub(crate) struct Kinds {
    made: Vec<Arc<Kind>>,
}

impl Kinds {
    pub(crate) fn with(objects: &[Object]) -> Self {
        let definitions = objects.iter().filter(|object| object.kind() == "CustomResourceDefinition");
        let made = definitions.flat_map(|definition| {
            let versions = definition.at(&["spec", "versions"]).and_then(|all| all.as_array()).into_iter().flatten();
            let names = versions.filter_map(|version| version["name"].as_str());
            // A definition that makes no kind is told about where it is checked itself.
            names.filter_map(|version| custom::kind(definition, version).ok()).map(Arc::new).collect::<Vec<_>>()
        });
        Self { made: made.collect() }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Kind> {
        KINDS.iter().chain(self.made.iter().map(Arc::as_ref))
    }

    pub(crate) fn of(&self, object: &Object) -> Option<&Kind> {
        self.all().find(|kind| kind.kind == object.kind() && kind.resource.api_version() == object.api_version())
    }
}

/// Everything that is wrong, object by object: errors first, then what they mean for each other.
pub(crate) fn check(objects: &[Object], origins: &[Option<Origin>]) -> Vec<Problem> {
    let kinds = Kinds::with(objects);
    let items: Vec<Item<'_>> =
        objects.iter().zip(origins).map(|(object, origin)| Item { object, origin: origin.as_ref() }).collect();
    let mut problems = references::equal_names(&items);
    for item in &items {
        problems.extend(one(&kinds, *item));
    }
    problems.extend(references::check(&kinds, &items));
    problems
}

fn one(kinds: &Kinds, item: Item<'_>) -> Vec<Problem> {
    match kinds.of(item.object) {
        Some(kind) => known(kind, item),
        None => heads::unknown(kinds, item),
    }
}

/// An object of a kind in the table: what the server would say, with what was probably meant.
fn known(kind: &Kind, item: Item<'_>) -> Vec<Problem> {
    let answer = server::answer(kind, item.object, Validation::Strict);
    let (mut structural, mut problems) = (Vec::new(), Vec::new());
    if let Err(refusal) = &answer
        && refusal.status.code == 400
    {
        structural = fields::check(kind, item);
        problems = fields::told(item, &structural, refusal);
    }
    let mismatched = structural.iter().any(|finding| finding.is_mismatch);
    // With unknown fields put aside the server would go on to the rest.
    let rest = match answer {
        Err(refusal) if refusal.status.code == 400 && !mismatched => {
            server::answer(kind, item.object, Validation::Ignore)
        }
        other => other,
    };
    match rest {
        Err(refusal) => {
            let meant: Vec<&str> = structural.iter().filter_map(|finding| finding.meant.as_deref()).collect();
            let errors = refusal.errors.iter().filter(|error| !meant.iter().any(|path| error.field.starts_with(path)));
            problems.extend(errors.map(|error| field_hints::problem(item, error)));
        }
        Ok(accepted) => {
            problems.extend(accepted.warnings.iter().map(|text| {
                let path = text.split([':', ' ']).next().unwrap_or_default();
                item.problem(Severity::Warning, path, text)
            }));
        }
    }
    problems
}
