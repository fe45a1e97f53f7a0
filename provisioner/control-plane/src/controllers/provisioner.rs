//! Volumes that are made when a claim asks for one: folders of the node that its pod goes to.
//!
//! The folder itself is made by the node's agent when a pod first needs it, and goes with the volume. Its size is not
//! limited: it is as large as the node's disk.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use kprov_schema::{Key, Object, Resource};
use serde_json::{Value, json};

use super::binding::matching::{
    PROVISIONED_BY, PROVISIONERS, SELECTED_NODE, asked, class_of_claim, volume_name, waits,
};
use super::machinery::action::{Action, Note, Outcome, Report};
use super::machinery::meta::reference;
use super::machinery::snapshot::{Seen, Snapshot};
use super::machinery::{Config, Controller, Watch};
use crate::client::PatchKind;
use crate::informer::Unreadable;

/// Name by which storage classes ask for volumes of this machine.
pub const NAME: &str = "kprov.dev/local";

/// The names that are served: our own, and those of other clusters of one machine, so that classes written for these work.
const SERVED: &[&str] = &[NAME, "k8s.io/minikube-hostpath", "rancher.io/local-path"];

/// Whether volumes of a provisioner are made here.
#[must_use]
pub fn serves(provisioner: &str) -> bool {
    SERVED.contains(&provisioner)
}

/// The folder of a volume, where `nodes` is [`Config::nodes`].
///
/// Example: `nodes/one/claims/pvc-7`.
#[must_use]
pub fn place(nodes: &Path, node: &str, volume: &str) -> PathBuf {
    nodes.join(node).join("claims").join(volume)
}

/// Makes volumes for claims.
pub struct LocalVolumes {
    nodes: PathBuf,
}

type Claim = Seen<PersistentVolumeClaim>;

impl Controller for LocalVolumes {
    const NAME: &'static str = NAME;

    fn new(config: &Config, _: Timestamp) -> Self {
        Self { nodes: config.nodes.clone() }
    }

    fn watches() -> Vec<Watch> {
        vec![
            Watch::own::<PersistentVolumeClaim>(),
            Watch::reading::<PersistentVolume>(),
            Watch::reading::<StorageClass>(),
            Watch::new::<Node>(|change, world| {
                // A claim that found no node may find this one.
                let claims = || world.cache(&Resource::of::<PersistentVolumeClaim>()).all();
                let came = change.old.is_none();
                came.then(claims).unwrap_or_default().iter().map(|entry| entry.key.clone()).collect()
            }),
        ]
    }

    fn reconcile(&self, key: &Key, world: &Snapshot, _: Timestamp) -> Result<Outcome, Unreadable> {
        let Some(claim) = world.get::<PersistentVolumeClaim>(key)? else { return Ok(Outcome::nothing()) };
        let asks = PROVISIONERS.iter().any(|key| claim.raw.annotation(key).is_some_and(serves));
        if !asks || volume_name(&claim).is_some() || claim.raw.is_deleting() {
            return Ok(Outcome::nothing());
        }
        let Some(class) = world.get::<StorageClass>(&Key::new("", class_of_claim(&claim)))? else {
            return Ok(Outcome::nothing());
        };
        let volume = format!("pvc-{}", claim.raw.uid());
        if !serves(&class.provisioner) || world.get::<PersistentVolume>(&Key::new("", volume.as_str()))?.is_some() {
            return Ok(Outcome::nothing());
        }
        if let Some(why) = impossible(&claim) {
            let message = format!("failed to provision volume with StorageClass {:?}: {why}", class.raw.name());
            let note = Note::warning(reference(&claim.raw), "ProvisioningFailed", message);
            return Ok(vec![Action::Record(note)].into());
        }
        Ok(match node_for(&claim, &class, world)? {
            Place::On(node) => self.provision(&claim, &class, &node, &volume),
            Place::Nowhere => vec![choose_again(&claim)],
            Place::Later => Vec::new(),
        }
        .into())
    }
}

/// What is asked for and can't be.
fn impossible(claim: &PersistentVolumeClaim) -> Option<&'static str> {
    let asked = asked(claim);
    let filled = [
        (asked.volume_mode.as_deref() == Some("Block"), "only volumes of mode Filesystem are made"),
        (asked.selector.is_some(), "claim.Spec.Selector is not supported"),
        (
            asked.data_source.is_some() || asked.data_source_ref.is_some(),
            "volumes are made empty: dataSource is not supported",
        ),
    ];
    filled.into_iter().find(|(asked, _)| *asked).map(|(_, why)| why)
}

enum Place {
    On(Seen<Node>),
    /// The node that was chosen is gone.
    Nowhere,
    /// None is chosen yet, or there is none.
    Later,
}

/// The node that was chosen for a claim; any, when its class does not wait for that.
fn node_for(claim: &Claim, class: &StorageClass, world: &Snapshot) -> Result<Place, Unreadable> {
    if let Some(name) = claim.raw.annotation(SELECTED_NODE) {
        return Ok(world.get::<Node>(&Key::new("", name))?.map_or(Place::Nowhere, Place::On));
    }
    if waits(Some(class)) {
        return Ok(Place::Later);
    }
    let nodes = world.all::<Node>()?;
    let open = |node: &&Seen<Node>| {
        let spec = node.spec.as_ref();
        let closed = spec.is_some_and(|spec| spec.unschedulable == Some(true) || spec.taints.is_some());
        !node.raw.is_deleting() && !closed
    };
    Ok(nodes.iter().find(open).cloned().map_or(Place::Later, Place::On))
}

/// The scheduler is asked for another node.
fn choose_again(claim: &Claim) -> Action {
    let version = claim.raw.at(&["metadata", "resourceVersion"]).cloned().unwrap_or_default();
    Action::Patch {
        resource: Resource::of::<PersistentVolumeClaim>(),
        key: claim.raw.key(),
        subresource: None,
        kind: PatchKind::Merge,
        patch: json!({"metadata": {"resourceVersion": version, "annotations": {SELECTED_NODE: null}}}),
    }
}

impl LocalVolumes {
    fn provision(&self, claim: &Claim, class: &StorageClass, node: &Seen<Node>, name: &str) -> Vec<Action> {
        let (about, key) = (reference(&claim.raw), claim.raw.key());
        let begins = format!("External provisioner is provisioning volume for claim {:?}", key.to_string());
        let failed = format!("failed to provision volume with StorageClass {:?}: {{}}", class_of_claim(claim));
        let report = Report {
            success: Note::normal(about.clone(), "ProvisioningSucceeded", "Successfully provisioned volume {}"),
            failure: Note::warning(about.clone(), "ProvisioningFailed", failed),
        };
        vec![
            Action::Record(Note::normal(about, "Provisioning", begins)),
            Action::Create {
                resource: Resource::of::<PersistentVolume>(),
                object: self.volume(claim, class, node, name),
                report: Some(report),
            },
        ]
    }

    fn volume(&self, claim: &Claim, class: &StorageClass, node: &Seen<Node>, name: &str) -> Object {
        let spec = asked(claim);
        let storage = spec.resources.as_ref().and_then(|all| all.requests.as_ref()).and_then(|all| all.get("storage"));
        let hostname = node.raw.label("kubernetes.io/hostname").unwrap_or_else(|| node.raw.name());
        let term = json!({"matchExpressions": [
            {"key": "kubernetes.io/hostname", "operator": "In", "values": [hostname]}]});
        let body = json!({
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name, "annotations": {PROVISIONED_BY: class.provisioner}},
            "spec": {
                "capacity": {"storage": storage},
                "accessModes": spec.access_modes,
                "claimRef": reference(&claim.raw),
                "persistentVolumeReclaimPolicy": class.reclaim_policy.as_deref().unwrap_or("Delete"),
                "storageClassName": class_of_claim(claim),
                "volumeMode": "Filesystem",
                "local": {"path": place(&self.nodes, node.raw.name(), name)},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}},
            },
        });
        Object::try_from(body).expect("written as a map")
    }
}

/// The storage class that claims without a class get in a cluster on this machine.
#[must_use]
pub fn standard_class() -> Object {
    let body: Value = json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "standard", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": NAME,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
    });
    Object::try_from(body).expect("written as a map")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(claim: &Value, mode: &str) -> Vec<Action> {
        let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "c"},
            "provisioner": NAME, "volumeBindingMode": mode, "reclaimPolicy": "Retain"});
        let node = json!({"apiVersion": "v1", "kind": "Node",
            "metadata": {"name": "one", "labels": {"kubernetes.io/hostname": "host-one"}}});
        let world = Snapshot::given(&LocalVolumes::watches(), &[claim.clone(), class, node]);
        let controller = LocalVolumes { nodes: "/data/nodes".into() };
        controller.reconcile(&Key::new("n", "x"), &world, Timestamp::UNIX_EPOCH).unwrap().actions
    }

    fn claim(annotations: Value, more: Value) -> Value {
        let mut annotations = annotations;
        annotations[PROVISIONERS[1]] = json!(NAME);
        let mut spec = json!({"storageClassName": "c", "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": "x", "namespace": "n", "uid": "7", "annotations": annotations}, "spec": spec})
    }

    #[test]
    fn a_volume_is_made_on_the_node_that_was_chosen() {
        let chosen = claim(json!({SELECTED_NODE: "one"}), json!({}));
        let actions = decide(&chosen, "WaitForFirstConsumer");
        let [Action::Record(_), Action::Create { object, .. }] = actions.as_slice() else { panic!("{actions:?}") };
        assert_eq!(object.text(&["spec", "local", "path"]), Some("/data/nodes/one/claims/pvc-7"));
        assert_eq!(object.text(&["spec", "claimRef", "uid"]), Some("7"));
        assert_eq!(object.text(&["spec", "persistentVolumeReclaimPolicy"]), Some("Retain"));
        let term = &object.at(&["spec", "nodeAffinity", "required", "nodeSelectorTerms"]).unwrap()[0];
        assert_eq!(term["matchExpressions"][0]["values"], json!(["host-one"]));
    }

    #[test]
    fn nothing_is_made_before_it_is_known_where_or_when_it_can_not_be() {
        assert!(decide(&claim(json!({}), json!({})), "WaitForFirstConsumer").is_empty());
        assert_eq!(decide(&claim(json!({}), json!({})), "Immediate").len(), 2);
        assert!(decide(&claim(json!({}), json!({"volumeName": "v"})), "Immediate").is_empty());
        let gone = decide(&claim(json!({SELECTED_NODE: "two"}), json!({})), "WaitForFirstConsumer");
        assert!(matches!(gone.as_slice(), [Action::Patch { .. }]));
        let blocks = decide(&claim(json!({}), json!({"volumeMode": "Block"})), "Immediate");
        let [Action::Record(note)] = blocks.as_slice() else { panic!("{blocks:?}") };
        assert_eq!(
            note.message,
            "failed to provision volume with StorageClass \"c\": only volumes of mode Filesystem are made"
        );
    }
}
