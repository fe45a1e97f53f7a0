//! What client-side apply left behind, for who goes on with server-side apply.
//!
//! Source: apimachinery `util/managedfields/internal/lastappliedmanager.go` and `lastappliedupdater.go`.

use serde_json::Value;

use super::{Element, Entry, Scene, Set, compare, fields_of};
use crate::object::Object;

/// The manager whose objects may come from client-side apply.
const KUBECTL: &str = "kubectl";
const ANNOTATION: &[&str] = &["metadata", "annotations", "kubectl.kubernetes.io/last-applied-configuration"];

/// The conflicts that stay when kubectl may take back what it applied by itself before.
pub(super) fn not_allowed(
    scene: &Scene<'_>,
    live: &Object,
    conflicts: Vec<(Entry, Vec<Element>)>,
) -> Vec<(Entry, Vec<Element>)> {
    let allowed = (scene.manager == KUBECTL).then(|| own(scene, live)).flatten();
    let Some(allowed) = allowed else { return conflicts };
    conflicts.into_iter().filter(|(_, path)| !allowed.has(path)).collect()
}

/// What the annotation names and is still so.
fn own(scene: &Scene<'_>, live: &Object) -> Option<Set> {
    let last: Object = serde_json::from_str(live.text(ANNOTATION)?).ok()?;
    if last.api_version() != scene.api_version {
        return None;
    }
    let comparison = compare(&scene.structure, &last, live);
    let fields = fields_of(&scene.structure, &last);
    Some(fields.difference(&comparison.modified).difference(&comparison.added).difference(&comparison.removed))
}

/// Keeps the annotation in step with what kubectl applies, where there is one.
pub(super) fn follow(scene: &Scene<'_>, object: &mut Object, config: &Object) {
    if scene.manager != KUBECTL || object.text(ANNOTATION).unwrap_or_default().is_empty() {
        return;
    }
    let mut config = config.clone();
    config.remove(ANNOTATION);
    // The line's end is Go's.
    object.set(ANNOTATION, format!("{}\n", Value::from(config)).into());
}
