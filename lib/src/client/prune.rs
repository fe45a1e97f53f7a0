//! Deletes what left a bundle: what it made, and nothing else; a namespace only when it takes nothing else along.

use std::collections::{BTreeMap, BTreeSet};

use kprov_schema::Object;
use kprov_schema::structure::schema;
use kube::api::{DeleteParams, Preconditions};
use kube::core::Request;
use serde_json::Value;

use super::Client;
use super::error::ClientError;
use super::inventory::{PART_OF, Reach, Set, group_kind, is_namespace, is_ours};
use super::place::{Id, Place};
use super::report::{Did, Outcome, Progress, Report};
use crate::bundle::Stage;

impl Client {
    /// Deletes what the bundle made and does not have any more, then forgets where that was.
    pub(super) async fn prune(
        &self,
        set: &Set,
        reach: &Reach,
        kept: &[Id],
        dry_run: bool,
        report: &mut Report,
        tell: &mut (dyn FnMut(Progress<'_>) + Send),
    ) -> Result<(), ClientError> {
        let mut leaving = self.leaving(set, reach, kept).await?;
        leaving.sort_by_key(|(id, ..)| std::cmp::Reverse((Stage::of_kind(&id.api_version, &id.kind), set.is_in(id))));
        let mut kept = kept.to_vec();
        for (id, place, object) in leaving {
            let did = match why_it_stays(&id, set, &kept) {
                Some(why) => {
                    kept.push(id.clone());
                    Did { object: id, outcome: Outcome::Unchanged, warnings: vec![why] }
                }
                // What could not be deleted would be forgotten.
                None if set.is_in(&id) && !report.is_complete() => Did::new(id, Outcome::Skipped),
                None => {
                    let removed = self.remove(&id, &place, &object, dry_run).await;
                    Did::new(id, removed.unwrap_or_else(Outcome::Failed))
                }
            };
            tell(Progress::Did(&did));
            report.objects.push(did);
        }
        if !dry_run && report.is_complete() {
            self.narrow(set, reach, &Reach::of(kept.iter())).await?;
        }
        Ok(())
    }

    /// What the bundle made and has no more.
    pub(super) async fn leaving(
        &self,
        set: &Set,
        reach: &Reach,
        kept: &[Id],
    ) -> Result<Vec<(Id, Place, Object)>, ClientError> {
        let kept: BTreeSet<_> = kept.iter().map(Id::thing).collect();
        let mut leaving = BTreeMap::new();
        for kind in &reach.kinds {
            let (group, kind) = group_kind(kind);
            let Some(place) = self.kind_of_group(group, kind).await? else { continue };
            let everywhere = [String::new()].into();
            let namespaces: &BTreeSet<String> = if place.namespaced { &reach.namespaces } else { &everywhere };
            for namespace in namespaces {
                for object in self.all(&place, Some(namespace), &format!("{PART_OF}={}", set.id)).await? {
                    let (id, _) = self.locate(&object).await?;
                    if has_left(&object, &set.id) && !kept.contains(&id.thing()) {
                        leaving.insert(id, (place.clone(), object));
                    }
                }
            }
        }
        Ok(leaving.into_iter().map(|(id, (place, object))| (id, place, object)).collect())
    }

    /// A kind in the version in which it is published, or which the server prefers; `None` when it is not served any more.
    async fn kind_of_group(&self, group: &str, kind: &str) -> Result<Option<Place>, ClientError> {
        let published = schema().kinds().iter().find(|served| served.group == group && served.kind == kind);
        let version = match published {
            Some(served) if group.is_empty() => Some(served.version.to_owned()),
            Some(served) => Some(format!("{group}/{}", served.version)),
            None => self.preferred(group).await?,
        };
        let Some(version) = version else { return Ok(None) };
        match self.place(&version, kind).await {
            Ok(place) => Ok(Some(place)),
            Err(ClientError::UnknownKind { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// One of the same name that was made since stays.
    async fn remove(&self, id: &Id, place: &Place, object: &Object, dry_run: bool) -> Result<Outcome, ClientError> {
        if dry_run {
            return Ok(Outcome::Deleted);
        }
        self.delete_this(id, place, object, None).await
    }

    /// Deletes this very object, as it was read when its `revision` is given.
    pub(super) async fn delete_this(
        &self,
        id: &Id,
        place: &Place,
        object: &Object,
        revision: Option<String>,
    ) -> Result<Outcome, ClientError> {
        let doing = format!("delete {id}");
        let this = Preconditions { uid: Some(object.uid().0), resource_version: revision };
        let params = DeleteParams::background().preconditions(this);
        let request = Request::new(place.path(Some(&id.namespace))).delete(&id.name, &params);
        let request = request.map_err(|error| self.failed(&doing, kube::Error::BuildRequest(error)))?;
        match self.send(&doing, request).await {
            Ok(_) => Ok(Outcome::Deleted),
            Err(error) if error.is_not_found() => Ok(Outcome::Missing),
            Err(error) => Err(error),
        }
    }
}

/// Why a namespace that left the bundle is not deleted: what the bundle has would go with it.
fn why_it_stays(id: &Id, set: &Set, kept: &[Id]) -> Option<String> {
    if !is_namespace(id) {
        return None;
    }
    let inside = kept.iter().find(|kept| kept.namespace == id.name).map(Id::to_string);
    let inventory = || (set.is_in(id) && !kept.is_empty()).then(|| set.to_string());
    let inside = inside.or_else(inventory)?;
    Some(format!("it left the bundle and stays, because {inside} is in it"))
}

/// Whether the bundle made an object that may be deleted: labelled, applied by kprov, nobody else's.
fn has_left(object: &Object, set: &str) -> bool {
    let owners = object.at(&["metadata", "ownerReferences"]).and_then(Value::as_array);
    let controlled = owners.into_iter().flatten().any(|owner| owner["controller"] == true);
    object.label(PART_OF) == Some(set) && is_ours(object) && !controlled && !object.is_deleting()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_the_bundle_made_is_deleted() {
        let ours = json!([{"manager": "kprov", "operation": "Apply"}]);
        let cases = [
            ("made by the bundle", json!({"labels": {PART_OF: "s"}, "managedFields": ours}), true),
            ("another bundle's", json!({"labels": {PART_OF: "t"}, "managedFields": ours}), false),
            ("without the label", json!({"managedFields": ours}), false),
            (
                "labelled by somebody else",
                json!({"labels": {PART_OF: "s"}, "managedFields": [{"manager": "kubectl", "operation": "Apply"}]}),
                false,
            ),
            (
                "written by kprov, but not applied",
                json!({"labels": {PART_OF: "s"}, "managedFields": [{"manager": "kprov", "operation": "Update"}]}),
                false,
            ),
            (
                "the work of a controller that copies labels",
                json!({"labels": {PART_OF: "s"}, "managedFields": ours, "ownerReferences": [{"controller": true}]}),
                false,
            ),
            (
                "on its way out",
                json!({"labels": {PART_OF: "s"}, "managedFields": ours, "deletionTimestamp": "2026-01-01T00:00:00Z"}),
                false,
            ),
        ];
        for (case, metadata, leaves) in cases {
            let object = Object::try_from(json!({ "metadata": metadata })).unwrap();
            assert_eq!(has_left(&object, "s"), leaves, "{case}");
        }
    }
}
