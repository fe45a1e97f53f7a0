//! Where in a kind's structure a field has its place.

use kprov_schema::structure::{Ref, Shape};

/// Deeper places are nobody's mistake.
const DEEPEST: usize = 8;
/// Steps from where the field stands to where it belongs.
const FARTHEST: usize = 5;

/// The place of a field called `name` that is nearest to the struct at `parent`, as a path such as `spec.tls[].secretName`.
///
/// `parent` is a path as error messages write it; indices in it are kept in the answer where the way leads through them.
pub(super) fn nearest(root: &Ref, parent: &str, name: &str) -> Option<String> {
    let mut found = Vec::new();
    collect(root, &mut Vec::new(), name, &mut found);
    let here: Vec<&str> = parent.split('.').filter(|step| !step.is_empty()).collect();
    let scored = found.into_iter().filter_map(|path| {
        let shared = path.iter().zip(&here).take_while(|(one, other)| bare(one) == bare(other)).count();
        let steps = (here.len() - shared) + (path.len() - shared);
        // What it stands in is not where it belongs.
        (shared < path.len()).then(|| (steps, named(&path, &here[..shared])))
    });
    scored
        .filter(|(steps, _)| *steps <= FARTHEST)
        .min_by_key(|(steps, path)| (*steps, path.len()))
        .map(|(_, path)| path)
}

/// A step of a path without its index.
fn bare(step: &str) -> &str {
    step.split('[').next().unwrap_or(step)
}

/// The path with the indices of the part that is shared with where the field stands.
fn named(path: &[String], shared: &[&str]) -> String {
    let steps: Vec<&str> = (0..path.len()).map(|at| shared.get(at).copied().unwrap_or(path[at].as_str())).collect();
    steps.join(".")
}

/// Every path that ends in a field of that name; the root's own `metadata` and `status` are left out.
fn collect(inner: &Ref, at: &mut Vec<String>, name: &str, found: &mut Vec<Vec<String>>) {
    if at.len() >= DEEPEST {
        return;
    }
    for field in &inner.fields {
        if at.is_empty() && field.name == "status" {
            continue;
        }
        let (shape, list) = match &field.node.shape {
            Shape::List(item) => (&item.shape, true),
            shape => (shape, false),
        };
        at.push(field.name.to_string());
        if field.name == name {
            found.push(at.clone());
        }
        if let Shape::Struct(deeper) = shape {
            if list {
                let step = at.last_mut().expect("pushed above");
                step.push_str("[]");
            }
            collect(deeper, at, name, found);
        }
        at.pop();
    }
}
