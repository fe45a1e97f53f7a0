//! Claims get their volumes: a fitting one that is there, or one that a provisioner is asked to make.
//!
//! A binding is written volume first, and only onto the volume as it was seen: of two claims that want it one is refused
//! and looks again. What follows finds the volume taken and only completes it.
//! Source: `pkg/controller/volume/persistentvolume`

pub mod matching;
mod volumes;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use kprov_schema::rules::storage_class::DEFAULT;
use kprov_schema::{Key, Resource, Subresource};
use serde_json::{Value, json};

use super::machinery::action::{Action, Note, Outcome};
use super::machinery::meta::reference;
use super::machinery::snapshot::{Seen, Snapshot};
use super::machinery::{Config, Controller, Watch};
use super::protection;
use crate::client::PatchKind;
use crate::informer::{Change, Unreadable};
use matching::{
    BIND_COMPLETED, BOUND_BY_CONTROLLER, PROVISIONERS, SELECTED_NODE, Where, asked, class_of_claim, find, has,
    is_bound, is_for, satisfies, volume_name, waits,
};
pub use volumes::VolumePhases;

type Claim = Seen<PersistentVolumeClaim>;
type Volume = Seen<PersistentVolume>;

/// Binds claims.
pub struct ClaimBinding;

impl Controller for ClaimBinding {
    const NAME: &'static str = "persistentvolume-controller";

    fn new(_: &Config, _: Timestamp) -> Self {
        Self
    }

    fn watches() -> Vec<Watch> {
        vec![
            Watch::own::<PersistentVolumeClaim>(),
            Watch::new::<PersistentVolume>(claims_of_volume),
            Watch::new::<StorageClass>(claims_of_class),
            Watch::new::<Pod>(claims_of_pod),
        ]
    }

    fn reconcile(&self, key: &Key, world: &Snapshot, _: Timestamp) -> Result<Outcome, Unreadable> {
        let Some(claim) = world.get::<PersistentVolumeClaim>(key)? else { return Ok(Outcome::nothing()) };
        let actions = match (volume_name(&claim), has(&claim.metadata, BIND_COMPLETED)) {
            (None, false) => unbound(&claim, world)?,
            (Some(name), false) => asking(&claim, name, world)?,
            (None, true) => lost(
                &claim,
                "ClaimLost",
                "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!",
            ),
            (Some(name), true) => bound(&claim, name, world)?,
        };
        Ok(actions.into())
    }
}

fn class(claim: &PersistentVolumeClaim, world: &Snapshot) -> Result<Option<Seen<StorageClass>>, Unreadable> {
    world.get::<StorageClass>(&Key::new("", class_of_claim(claim)))
}

/// A claim that takes what fits.
fn unbound(claim: &Claim, world: &Snapshot) -> Result<Vec<Action>, Unreadable> {
    let class = class(claim, world)?;
    let later = waits(class.as_deref());
    let volumes = world.all::<PersistentVolume>()?;
    if let Some(volume) = find(claim, &volumes, if later { Where::Later } else { Where::Anywhere }) {
        return Ok(bind(claim, volume));
    }
    if let Some(default) = default_class(claim, world)? {
        return Ok(vec![patch_claim(claim, json!({"spec": {"storageClassName": default}}))]);
    }
    if later && !has(&claim.metadata, SELECTED_NODE) {
        return Ok(told(claim, first_consumer(claim, world)?));
    }
    match class {
        Some(class) => Ok(provision(claim, &class)),
        None if class_of_claim(claim).is_empty() => {
            let why = "no persistent volumes available for this claim and no storage class is set";
            Ok(told(claim, Note::normal(reference(&claim.raw), "FailedBinding", why)))
        }
        None => {
            let why = format!("storageclass.storage.k8s.io {:?} not found", class_of_claim(claim));
            Ok(vec![Action::Record(Note::warning(reference(&claim.raw), "ProvisioningFailed", why))])
        }
    }
}

/// The default class, for a claim that says nothing of classes: it was made before there was one.
fn default_class(claim: &Claim, world: &Snapshot) -> Result<Option<String>, Unreadable> {
    if asked(claim).storage_class_name.is_some() || !class_of_claim(claim).is_empty() {
        return Ok(None);
    }
    let classes = world.all::<StorageClass>()?;
    let is_default = |class: &&Seen<StorageClass>| DEFAULT.iter().any(|key| class.raw.annotation(key) == Some("true"));
    let age = |class: &&Seen<StorageClass>| {
        (std::cmp::Reverse(class.metadata.creation_timestamp.clone()), class.raw.name().to_owned())
    };
    Ok(classes.iter().filter(is_default).min_by_key(age).map(|class| class.raw.name().to_owned()))
}

/// What a claim waits for whose volume depends on where its pod goes.
fn first_consumer(claim: &Claim, world: &Snapshot) -> Result<Note, Unreadable> {
    let pods = world.in_namespace::<Pod>(claim.raw.namespace())?;
    let waiting = pods.iter().filter(|pod| {
        let spec = pod.spec.as_ref();
        spec.is_some_and(|spec| spec.node_name.as_deref().unwrap_or_default().is_empty())
            && claims_in(pod).any(|key| key == claim.raw.key())
    });
    let names: Vec<&str> = waiting.map(|pod| pod.raw.name()).collect();
    let about = reference(&claim.raw);
    Ok(match names.as_slice() {
        [] => Note::normal(about, "WaitForFirstConsumer", "waiting for first consumer to be created before binding"),
        [one] => Note::normal(about, "WaitForPodScheduled", format!("waiting for pod {one} to be scheduled")),
        all => {
            Note::normal(about, "WaitForPodScheduled", format!("waiting for pods {} to be scheduled", all.join(",")))
        }
    })
}

/// Asks the provisioner of a class for a volume.
fn provision(claim: &Claim, class: &StorageClass) -> Vec<Action> {
    let provisioner = class.provisioner.as_str();
    if provisioner.starts_with("kubernetes.io/") {
        let why = format!("no volume plugin matched name: {provisioner}");
        return vec![Action::Record(Note::warning(reference(&claim.raw), "ProvisioningFailed", why))];
    }
    let said = PROVISIONERS.iter().all(|key| claim.raw.annotation(key) == Some(provisioner));
    let message = format!(
        "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the system \
         administrator. If volume creation is delayed, please verify that the provisioner is running and correctly \
         registered."
    );
    let annotations: serde_json::Map<String, Value> =
        PROVISIONERS.iter().map(|key| ((*key).to_owned(), provisioner.into())).collect();
    let ask = (!said).then(|| patch_claim(claim, json!({"metadata": {"annotations": annotations}})));
    let note = Note::normal(reference(&claim.raw), "ExternalProvisioning", message);
    ask.into_iter().chain([Action::Record(note)]).collect()
}

/// A claim that asks for a volume by name.
fn asking(claim: &Claim, name: &str, world: &Snapshot) -> Result<Vec<Action>, Unreadable> {
    let Some(volume) = world.get::<PersistentVolume>(&Key::new("", name))? else {
        return Ok(pending(claim));
    };
    let taken = volume.spec.as_ref().is_some_and(|spec| spec.claim_ref.is_some());
    let refuse = |reason, why: String| told(claim, Note::warning(reference(&claim.raw), reason, why));
    if taken && !is_for(&volume, claim) {
        return Ok(refuse("FailedBinding", format!("volume {name:?} already bound to a different claim.")));
    }
    if let (false, Err(why)) = (taken, satisfies(&volume, claim)) {
        return Ok(refuse("VolumeMismatch", format!("Cannot bind to requested volume {name:?}: {why}")));
    }
    Ok(bind(claim, &volume))
}

/// A claim that was bound before.
fn bound(claim: &Claim, name: &str, world: &Snapshot) -> Result<Vec<Action>, Unreadable> {
    let Some(volume) = world.get::<PersistentVolume>(&Key::new("", name))? else {
        return Ok(lost(claim, "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!"));
    };
    let taken = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    if taken.is_some_and(|other| other.uid.as_deref() != Some(claim.raw.uid().0.as_str())) {
        let why = "Two claims are bound to the same volume, this one is bound incorrectly";
        return Ok(lost(claim, "ClaimMisbound", why));
    }
    Ok(bind(claim, &volume))
}

/// Everything that lacks of a binding: the volume is taken, then the claim is told.
fn bind(claim: &Claim, volume: &Volume) -> Vec<Action> {
    let mut actions = Vec::new();
    let spec = volume.spec.clone().unwrap_or_default();
    let reference = reference(&claim.raw);
    if spec.claim_ref.as_ref().is_none_or(|one| one.uid != reference.uid) {
        let mut patch = json!({"spec": {"claimRef": reference}});
        if !is_for(volume, claim) {
            patch["metadata"] = json!({"annotations": {BOUND_BY_CONTROLLER: "yes"}});
        }
        actions.push(patch_object::<PersistentVolume>(&volume.raw, patch));
    }
    actions.extend(volumes::phase(volume, "Bound", ""));
    let mut annotations = serde_json::Map::new();
    let by_controller = volume_name(claim) != Some(volume.raw.name());
    for (needed, key) in [(by_controller, BOUND_BY_CONTROLLER), (true, BIND_COMPLETED)] {
        if needed && !has(&claim.metadata, key) {
            annotations.insert(key.to_owned(), "yes".into());
        }
    }
    if by_controller || !annotations.is_empty() {
        let patch = json!({"metadata": {"annotations": annotations}, "spec": {"volumeName": volume.raw.name()}});
        actions.push(patch_claim(claim, patch));
    }
    if claim.raw.text(&["status", "phase"]) != Some("Bound") {
        let capacity = spec.capacity.unwrap_or_default();
        let mut status = json!({"phase": "Bound", "accessModes": spec.access_modes, "capacity": capacity});
        if let Some(attributes) = spec.volume_attributes_class_name {
            status["currentVolumeAttributesClassName"] = attributes.into();
        }
        actions.push(status_of(claim, status));
    }
    actions
}

fn lost(claim: &Claim, reason: &'static str, why: &str) -> Vec<Action> {
    if claim.raw.text(&["status", "phase"]) == Some("Lost") {
        return Vec::new();
    }
    let status = status_of(claim, json!({"phase": "Lost", "accessModes": null, "capacity": null}));
    vec![status, Action::Record(Note::warning(reference(&claim.raw), reason, why))]
}

/// An event, for a claim that stays pending.
fn told(claim: &Claim, note: Note) -> Vec<Action> {
    [Action::Record(note)].into_iter().chain(pending(claim)).collect()
}

fn pending(claim: &Claim) -> Vec<Action> {
    let is_pending = claim.raw.text(&["status", "phase"]) == Some("Pending");
    let status = || status_of(claim, json!({"phase": "Pending", "accessModes": null, "capacity": null}));
    (!is_pending).then(status).into_iter().collect()
}

fn status_of(claim: &Claim, status: Value) -> Action {
    Action::Patch {
        resource: Resource::of::<PersistentVolumeClaim>(),
        key: claim.raw.key(),
        subresource: Some(Subresource::Status),
        kind: PatchKind::Merge,
        patch: json!({"metadata": {"uid": claim.raw.uid().0}, "status": status}),
    }
}

fn patch_claim(claim: &Claim, patch: Value) -> Action {
    patch_object::<PersistentVolumeClaim>(&claim.raw, patch)
}

/// Patches an object, provided that it has not changed since.
fn patch_object<T: k8s_openapi::Resource>(object: &kprov_schema::Object, mut patch: Value) -> Action {
    patch["metadata"]["uid"] = object.uid().0.into();
    patch["metadata"]["resourceVersion"] = object.at(&["metadata", "resourceVersion"]).cloned().unwrap_or_default();
    Action::Patch { resource: Resource::of::<T>(), key: object.key(), subresource: None, kind: PatchKind::Merge, patch }
}

/// The claim that a volume is for or was, and those that may want it.
fn claims_of_volume(change: &Change, world: &Snapshot) -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::new();
    for entry in change.sides() {
        let named = |field| entry.raw.text(&["spec", "claimRef", field]).unwrap_or_default();
        match named("name") {
            "" => {}
            name => keys.push(Key::new(named("namespace"), name)),
        }
    }
    let name = change.latest().map(|entry| entry.key.name.clone());
    let free = change.new.as_ref().is_some_and(|entry| entry.raw.text(&["status", "phase"]) == Some("Available"));
    let claims = world.cache(&Resource::of::<PersistentVolumeClaim>()).all();
    let concerned = claims.iter().filter(|entry| match entry.raw.text(&["spec", "volumeName"]).unwrap_or_default() {
        "" => free,
        wanted => Some(wanted) == name.as_deref(),
    });
    keys.extend(concerned.map(|entry| entry.key.clone()));
    keys
}

/// The claims without a volume that a class concerns: those of it, and those of none.
fn claims_of_class(change: &Change, world: &Snapshot) -> Vec<Key> {
    let Some(class) = change.latest() else { return Vec::new() };
    let claims = world.cache(&Resource::of::<PersistentVolumeClaim>()).all();
    let concerned = claims.iter().filter(|entry| {
        let Ok(claim) = entry.typed::<PersistentVolumeClaim>() else { return true };
        let of = class_of_claim(&claim);
        !is_bound(&claim) && (of.is_empty() || of == class.key.name)
    });
    concerned.map(|entry| entry.key.clone()).collect()
}

/// The claims that a pod names, when it comes or gets its node.
fn claims_of_pod(change: &Change, world: &Snapshot) -> Vec<Key> {
    let node = |entry: Option<&std::sync::Arc<crate::informer::Entry>>| {
        entry.map(|entry| entry.raw.text(&["spec", "nodeName"]).map(str::to_owned))
    };
    if node(change.old.as_ref()) == node(change.new.as_ref()) {
        return Vec::new();
    }
    let pod = change.latest().and_then(|entry| entry.typed::<Pod>().ok());
    let claims = world.cache(&Resource::of::<PersistentVolumeClaim>());
    let unbound = |key: &Key| {
        let claim = claims.get(key).and_then(|entry| entry.typed::<PersistentVolumeClaim>().ok());
        claim.is_some_and(|claim| !is_bound(&claim))
    };
    pod.iter().flat_map(|pod| claims_in(pod).collect::<Vec<_>>()).filter(unbound).collect()
}

/// The claims that a pod names, and those that are made for its ephemeral volumes.
fn claims_in(pod: &Pod) -> impl Iterator<Item = Key> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    protection::volumes(pod).filter_map(move |volume| Some(Key::new(namespace, protection::claim_name(pod, volume)?)))
}
