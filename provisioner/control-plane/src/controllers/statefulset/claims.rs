//! The claims of a StatefulSet's pods: made before a pod, kept when it goes, unless the set says otherwise.

use std::ops::Range;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kprov_schema::{Key, Object, Resource};
use serde_json::{Value, json};

use super::{events, pod};
use crate::controllers::machinery::action::{Action, Note};
use crate::controllers::machinery::meta::{controlled_by, owner_references, reference, set_owners};
use crate::controllers::machinery::snapshot::{Seen, Snapshot};
use crate::controllers::machinery::status;
use crate::informer::{Change, Unreadable};

/// The claim templates of a set.
pub(super) fn templates(set: &Object) -> &[Value] {
    set.at(&["spec", "volumeClaimTemplates"]).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Name of a pod's claim.
pub(super) fn name(set: &Object, template: &str, ordinal: i32) -> String {
    format!("{template}-{}", pod::name(set, ordinal))
}

/// The sets whose claims have a changed claim's name.
pub(super) fn sets_of(change: &Change, world: &Snapshot) -> Vec<Key> {
    let Some(claim) = change.latest() else { return Vec::new() };
    let is_of = |set: &Object| {
        let names = templates(set).iter().filter_map(|one| one["metadata"]["name"].as_str());
        let mut pods = names.filter_map(|name| claim.key.name.strip_prefix(name)?.strip_prefix('-'));
        pods.any(|pod| pod::ordinal(&set.key(), pod).is_some())
    };
    let sets = world.cache(&Resource::of::<StatefulSet>()).in_namespace(&claim.key.namespace);
    sets.iter().filter(|set| is_of(&set.raw)).map(|set| set.key.clone()).collect()
}

/// The claims of a set, by the ordinals of its pods.
pub(super) struct Claims<'a> {
    pub(super) set: &'a Seen<StatefulSet>,
    pub(super) range: Range<i32>,
    pub(super) world: &'a Snapshot,
}

impl Claims<'_> {
    fn named(&self, ordinal: i32) -> impl Iterator<Item = (&Value, Key)> {
        let set = &self.set.raw;
        templates(set).iter().filter_map(move |one| {
            let name = name(set, one["metadata"]["name"].as_str()?, ordinal);
            Some((one, Key::new(set.namespace(), name)))
        })
    }

    fn there(&self, ordinal: i32) -> Result<Vec<Seen<PersistentVolumeClaim>>, Unreadable> {
        let found = self.named(ordinal).map(|(_, key)| self.world.get(&key));
        found.filter_map(Result::transpose).collect()
    }

    /// Makes those that are not there.
    pub(super) fn missing(&self, ordinal: i32) -> Result<Vec<Action>, Unreadable> {
        let (set, pod) = (&self.set.raw, pod::name(&self.set.raw, ordinal));
        let mut actions = Vec::new();
        for (template, key) in self.named(ordinal) {
            if self.world.get::<PersistentVolumeClaim>(&key)?.is_none() {
                actions.push(events::create_claim(set, &pod, of(set, template, &key)));
            }
        }
        Ok(actions)
    }

    /// The name of one that is on its way out.
    pub(super) fn going(&self, ordinal: i32) -> Result<Option<String>, Unreadable> {
        let going = self.there(ordinal)?.into_iter().find(|claim| claim.raw.is_deleting());
        Ok(going.map(|claim| claim.raw.name().to_owned()))
    }

    /// Whether a claim goes away with an earlier pod of the ordinal.
    pub(super) fn are_stale(&self, ordinal: i32) -> Result<bool, Unreadable> {
        let pod = pod::name(&self.set.raw, ordinal);
        let of_pod = |owner: &Value| owner["kind"] == "Pod" && owner["name"] == *pod;
        let goes = |claim: &Seen<PersistentVolumeClaim>| owner_references(&claim.raw).iter().any(of_pod);
        Ok(self.goes_when("whenScaled") && self.there(ordinal)?.iter().any(goes))
    }

    fn goes_when(&self, field: &str) -> bool {
        self.set.raw.text(&["spec", "persistentVolumeClaimRetentionPolicy", field]) == Some("Delete")
    }

    /// Ties a pod's claims to what they go with: the set, the pod or nothing.
    pub(super) fn owners(&self, ordinal: i32, pod: &Seen<Pod>) -> Result<Vec<Action>, Unreadable> {
        let set = &self.set.raw;
        let condemned = !self.range.contains(&ordinal);
        let owner = match (self.goes_when("whenScaled"), self.goes_when("whenDeleted")) {
            (true, _) if condemned => Some(&*pod.raw),
            (false, true) | (true, true) => Some(&**set),
            (_, false) => None,
        };
        let mut actions = Vec::new();
        for claim in self.there(ordinal)? {
            match Ties::of(&claim.raw, set, &pod.raw, owner) {
                Ties::Right => {}
                Ties::Wrong(owners) => actions.push(tie(&claim, owners)),
                Ties::Foreign => actions.extend(self.conflict(pod, claim.raw.name())),
            }
        }
        Ok(actions)
    }

    /// Tells, while the pod comes up, that a claim is somebody else's.
    fn conflict(&self, pod: &Pod, claim: &str) -> Option<Action> {
        let minds = self.goes_when("whenScaled") || self.goes_when("whenDeleted");
        let message = format!(
            "PersistentVolumeClaim {claim} has a conflicting OwnerReference that acts as a manging controller, the \
             retention policy is ignored for this claim"
        );
        let note = Note::warning(reference(&self.set.raw), "ConflictingController", message);
        (minds && status::phase(pod) == "Pending").then_some(Action::Record(note))
    }
}

/// How a claim's owners stand to what its set asks for.
enum Ties {
    Right,
    Wrong(Vec<Value>),
    /// Somebody else controls it.
    Foreign,
}

impl Ties {
    fn of(claim: &Object, set: &Object, pod: &Object, owner: Option<&Object>) -> Self {
        let before = owner_references(claim);
        let of = |owner: &Value, of: &Object| owner["kind"] == of.kind() && owner["name"] == of.name();
        let ours = |owner: &Value| of(owner, set) || of(owner, pod);
        // What names an earlier life of either is left to the garbage collector.
        let stale = |owner: &Value| {
            of(owner, set) && owner["uid"] != *set.uid().0 || of(owner, pod) && owner["uid"] != *pod.uid().0
        };
        if before.iter().any(stale) {
            return Self::Right;
        }
        let mut after: Vec<Value> = before.iter().filter(|owner| !ours(owner)).cloned().collect();
        if after.iter().any(|owner| owner["controller"] == true) {
            return if after.len() == before.len() { Self::Foreign } else { Self::Wrong(after) };
        }
        after.extend(owner.map(controlled_by));
        if after == before { Self::Right } else { Self::Wrong(after) }
    }
}

fn tie(claim: &Seen<PersistentVolumeClaim>, owners: Vec<Value>) -> Action {
    set_owners(&Resource::of::<PersistentVolumeClaim>(), &claim.raw, owners)
}

/// A claim of a template, with what the set selects as labels.
fn of(set: &Object, template: &Value, key: &Key) -> Object {
    let mut claim = Object::try_from(template.clone()).unwrap_or_else(|_| Object::from(serde_json::Map::new()));
    claim.set(&["apiVersion"], json!("v1"));
    claim.set(&["kind"], json!("PersistentVolumeClaim"));
    claim.set(&["metadata", "name"], json!(key.name));
    claim.set(&["metadata", "namespace"], json!(key.namespace));
    claim.remove(&["status"]);
    let selected = set.at(&["spec", "selector", "matchLabels"]).and_then(Value::as_object);
    for (label, value) in selected.into_iter().flatten() {
        claim.set(&["metadata", "labels", label], value.clone());
    }
    claim
}
